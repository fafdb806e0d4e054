//! What a copy says to one that is behind: a delta from the index where that reaches back far enough, else a scan.
//!
//! An answer never says more than what is synced, so the store is synced first. Entries, clock and watermark of a scan
//! come from one snapshot. An answer is bounded; each part of it is valid by itself, so that an interruption costs only
//! what was under way.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::clock::{Clock, DotRange};
use crate::codec::{self, Claim, Corrupt, Entry, Part};
use crate::copy::Copy;
use crate::dot::Dot;
use crate::engine::{Engine, EngineError, Space, View};
use crate::key::ObjectKey;
use crate::object::{Object, Payload};
use crate::place::{index_at, index_dot, object_at, object_key, partition_end};
use crate::rules::{Rule, broken};
use crate::store::{Store, damaged};

/// How large one part of an answer may get. One key is always sent, however little is allowed: an answer that moves
/// nothing would be asked for again and again.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// About so many bytes of keys and values.
    pub bytes: usize,
    /// At most so many keys.
    pub keys: usize,
}

impl Budget {
    fn is_spent(&self, bytes: usize, keys: usize) -> bool {
        keys > 0 && (bytes >= self.bytes || keys >= self.keys)
    }
}

/// So many index entries are looked at for one part of an answer. Within the bound every entry carries all the dots of
/// its key that the asker lacks; beyond it (an owner away for a million writes of one partition) the rest follows with
/// the next part.
const INDEX_READ_MAX: u64 = 1 << 20;

/// A delta from the index.
#[derive(Debug, Default)]
pub struct Delta {
    /// The entries that the asker lacks.
    pub entries: Vec<Entry>,
    /// The rest did not fit.
    pub more: bool,
    /// With the last part of an answer about all keys: what this copy knows to be closed and the asker does not. Once the
    /// asker has taken in the entries it contains all that this copy does, and may say the same.
    pub closed: Vec<(NodeId, u64)>,
}

impl Delta {
    /// As it travels.
    pub fn into_parts(self) -> Vec<Part> {
        let closed = Some(self.closed).filter(|c| !c.is_empty()).map(Part::Closed);
        self.entries.into_iter().map(Part::Entry).chain(closed).collect()
    }
}

/// A scan of a partition, as the source keeps it: a snapshot, and the clock at that moment.
pub struct Scan<S> {
    partition: PartitionId,
    view: S,
    /// The source as it was: some of its objects may come from scans of its own that are not finished.
    source: Copy,
}

/// A page of a scan.
#[derive(Debug)]
pub struct Page {
    /// What the asker is to take in; a claim stands last on the last page.
    pub parts: Vec<Part>,
    /// The last key that the page speaks of, in order.
    pub after: Bytes,
    /// The partition's end was reached.
    pub done: bool,
}

impl<E: Engine> Store<E> {
    /// What a copy with the clock `asker` lacks, from the index; `None` when the index does not reach back so far. Where
    /// there is no copy nothing is lacking.
    /// `only`: nothing but this key.
    pub fn delta(
        &mut self,
        partition: PartitionId,
        asker: &Clock,
        only: Option<&ObjectKey>,
        budget: Budget,
    ) -> Result<Option<Delta>, EngineError> {
        self.commit(true)?;
        self.find(partition)?;
        let Some((engine, _, copy)) = self.loaded(partition) else { return Ok(Some(Delta::default())) };
        if !asker.covers(copy.watermark()) && !broken(Rule::Delta) {
            return Ok(None);
        }
        let mut delta = entries(engine, copy, asker, only, budget, &copy.missing_in(asker))?;
        if !delta.more && only.is_none() {
            delta.closed = copy.clock().closed_beyond(asker);
        }
        Ok(Some(delta))
    }

    /// Begins a scan of the partition: everything the copy holds, as of now.
    pub fn scan(&mut self, partition: PartitionId) -> Result<Scan<E::Snapshot>, EngineError> {
        self.commit(true)?;
        let source = self.copy(partition)?.clone();
        Ok(Scan { partition, view: self.engine.snapshot(), source })
    }
}

impl<S: View> Scan<S> {
    /// The clock of the scan's start.
    pub fn clock(&self) -> &Clock {
        self.source.clock()
    }

    /// The next page for an asker with this clock that has taken in everything up to `after`. First whatever the index
    /// still has and the asker lacks, with its dots; then the keys in order, values only where the asker lacks them.
    pub fn page(&self, asker: &Clock, after: &Bytes, budget: Budget) -> Result<Page, EngineError> {
        let watermark = self.source.watermark();
        let missing: Vec<DotRange> = self
            .source
            .missing_in(asker)
            .into_iter()
            .map(|r| DotRange { first: r.first.max(watermark.base(r.actor).saturating_add(1)), ..r })
            .filter(|r| r.first <= r.last)
            .collect();
        let indexed = entries(&self.view, &self.source, asker, None, budget, &missing)?;
        if !indexed.entries.is_empty() {
            let parts = indexed.entries.into_iter().map(Part::Entry).collect();
            return Ok(Page { parts, after: after.clone(), done: false });
        }
        self.keys(asker, after, budget)
    }

    fn keys(&self, asker: &Clock, after: &Bytes, budget: Budget) -> Result<Page, EngineError> {
        let mut page = Page { parts: Vec::new(), after: after.clone(), done: true };
        let mut size = 0;
        let mut wrong = None;
        let mut from = object_at(self.partition, after);
        if !after.is_empty() {
            from.push(0);
        }
        self.view.scan(Space::Objects, &from, &partition_end(self.partition), &mut |at, value| {
            if budget.is_spent(size, page.parts.len()) {
                page.done = false;
                return false;
            }
            let stored = codec::decode_object(Bytes::copy_from_slice(value));
            let Some((key, mut object)) = object_key(at).zip(stored.ok()) else {
                wrong = Some(Corrupt("an object record"));
                return false;
            };
            if object.dots().any(|d| !self.clock().has(d)) {
                // It came with a scan of the source's own: only that knows what these values have seen.
                self.source.scans.of(&key).for_each(|clock| object.context.merge(clock));
            }
            let object = without_known(object, asker);
            size += at.len() + held(&object);
            page.after = key.as_bytes().clone();
            // The context is the scan's clock, which comes once, with the claim; what is beyond it comes along.
            page.parts.push(Part::Entry(Entry { key, object, dots: Vec::new() }));
            true
        })?;
        if let Some(wrong) = wrong {
            return Err(damaged(self.partition, Space::Objects, &wrong));
        }
        let claim = Claim {
            clock: self.clock().clone(),
            watermark: self.source.watermark().clone(),
            remains: self.source.remains.clone(),
        };
        page.parts.push(Part::Claim(claim));
        Ok(page)
    }
}

/// Reads the index entries of `missing` and the objects of their keys.
fn entries<V: View>(
    view: &V,
    copy: &Copy,
    asker: &Clock,
    only: Option<&ObjectKey>,
    budget: Budget,
    missing: &[DotRange],
) -> Result<Delta, EngineError> {
    let mut wanted: BTreeMap<ObjectKey, Vec<Dot>> = BTreeMap::new();
    let mut looked_at = 0;
    let mut delta = Delta::default();
    for range in missing {
        let at = |counter| index_at(copy.partition(), Dot { actor: range.actor, counter });
        let (from, to) = (at(range.first), at(range.last.saturating_add(1)));
        let mut wrong = None;
        let mut found = 0;
        view.scan(Space::Index, &from, &to, &mut |at, value| {
            if looked_at == INDEX_READ_MAX {
                delta.more = true;
                return false;
            }
            looked_at += 1;
            found += 1;
            match index_dot(at).zip(codec::decode_index(Bytes::copy_from_slice(value)).ok()) {
                Some((dot, (key, _))) if only.is_none_or(|k| *k == key) => wanted.entry(key).or_default().push(dot),
                Some(_) => {}
                None => wrong = Some(Corrupt("an index entry")),
            }
            wrong.is_none()
        })?;
        // Every dot above the watermark has its entry: a hole would be a write that nobody can be told of.
        if wrong.is_none() && !delta.more && found != range.last - range.first + 1 && !broken(Rule::Delta) {
            wrong = Some(Corrupt("the index lacks an entry of the clock"));
        }
        if let Some(wrong) = wrong {
            return Err(damaged(copy.partition(), Space::Index, &wrong));
        }
        if delta.more {
            break;
        }
    }
    if delta.more && only.is_some() {
        return Ok(delta); // one key's dots among too many others: left to the sync of all
    }
    let mut size = 0;
    for (key, dots) in wanted {
        if budget.is_spent(size, delta.entries.len()) {
            delta.more = true;
            break;
        }
        let bytes = view.get(Space::Objects, &object_at(copy.partition(), key.as_bytes()))?;
        let stored = bytes.map_or(Ok(Object::default()), codec::decode_object);
        let object = copy.fill(&key, stored.map_err(|e| damaged(copy.partition(), Space::Objects, &e))?);
        let object = without_known(object, asker);
        size += key.as_bytes().len() + held(&object) + 24 * dots.len();
        let dots = if broken(Rule::Dots) && only.is_some() { Vec::new() } else { dots };
        delta.entries.push(Entry { key, object, dots });
    }
    Ok(delta)
}

/// Leaves out the values that the asker has, or had and let go.
pub fn without_known(mut object: Object, asker: &Clock) -> Object {
    for sibling in object.values.iter_mut().filter(|s| asker.has(s.dot)) {
        sibling.value = Payload::Known;
    }
    object
}

fn held(object: &Object) -> usize {
    object.values.iter().map(|s| 20 + s.value.bytes().map_or(0, Bytes::len)).sum()
}
