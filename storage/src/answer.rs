//! What a copy says to one that is behind: a delta from the index where that reaches back far enough, else a scan.
//!
//! An answer never says more than what is synced, so the store is synced first. Entries, clock and watermark of a scan
//! come from one snapshot. An answer is bounded; each part of it is valid by itself, so that an interruption costs only
//! what was under way.

use std::collections::VecDeque;

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::clock::{Clock, DotRange};
use crate::codec::{self, Claim, Corrupt, Entry, Part};
use crate::copy::Copy;
use crate::dot::Dot;
use crate::engine::{Engine, EngineError, Space, View};
use crate::key::ObjectKey;
use crate::object::{Object, Payload};
use crate::place::{object_at, object_key, partition_end};
use crate::reading::{Reading, above_watermark, read_index};
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
    pub(crate) fn is_spent(&self, bytes: usize, keys: usize) -> bool {
        keys > 0 && (bytes >= self.bytes || keys >= self.keys)
    }
}

/// Index entries read for a delta of one key: where more is missing it is left to the sync of all.
const READS_FOR_ONE_KEY: u64 = 8192;

/// A part of a delta from the index.
#[derive(Debug, Default)]
pub struct Delta {
    /// The entries that the asker lacks.
    pub entries: Vec<Entry>,
    /// The rest did not fit, or is not found yet.
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
    reading: Reading,
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
    /// The next part of what a copy with the clock `asker` lacks, from the index; `None` when the index does not reach back
    /// so far. Where there is no copy nothing is lacking. `reading` remembers what was found for the parts before; without
    /// it the same comes of it, later.
    pub fn delta(
        &mut self,
        partition: PartitionId,
        asker: &Clock,
        reading: &mut Reading,
        budget: Budget,
    ) -> Result<Option<Delta>, EngineError> {
        let Some((engine, copy)) = self.synced(partition)? else { return Ok(Some(Delta::default())) };
        if !reaches_back(copy, asker) {
            return Ok(None);
        }
        let mut delta = reading.part(engine, copy, asker, budget)?;
        if !delta.more {
            delta.closed = copy.clock().closed_beyond(asker);
        }
        Ok(Some(delta))
    }

    /// As [`Store::delta`], of one key. `more` and no entry: too much else is missing to find its dots.
    pub fn delta_of(
        &mut self,
        partition: PartitionId,
        asker: &Clock,
        key: &ObjectKey,
    ) -> Result<Option<Delta>, EngineError> {
        let Some((engine, copy)) = self.synced(partition)? else { return Ok(Some(Delta::default())) };
        if !reaches_back(copy, asker) {
            return Ok(None);
        }
        let mut missing: VecDeque<DotRange> = above_watermark(copy, copy.missing_in(asker)).collect();
        let count = missing.iter().fold(0u64, |n, r| n.saturating_add(r.last - r.first + 1));
        if count > READS_FOR_ONE_KEY {
            return Ok(Some(Delta { more: true, ..Delta::default() }));
        }
        let mut dots = Vec::new();
        read_index(engine, copy, &mut missing, usize::MAX, &mut |dot, of| dots.extend((of == *key).then_some(dot)))?;
        let mut delta = Delta::default();
        if !dots.is_empty() {
            dots.sort_unstable();
            let (mut entry, _) = entry(engine, copy, asker, key.clone(), dots)?;
            if broken(Rule::Dots) {
                entry.dots.clear();
            }
            delta.entries.push(entry);
        }
        Ok(Some(delta))
    }

    /// The copy, with all that it says synced.
    fn synced(&mut self, partition: PartitionId) -> Result<Option<(&E, &Copy)>, EngineError> {
        self.commit(true)?;
        self.find(partition)?;
        Ok(self.loaded(partition).map(|(engine, _, copy)| (engine, &*copy)))
    }

    /// Begins a scan of the partition: everything the copy holds, as of now.
    pub fn scan(&mut self, partition: PartitionId) -> Result<Scan<E::Snapshot>, EngineError> {
        self.commit(true)?;
        let source = self.copy(partition)?.clone();
        Ok(Scan { partition, view: self.engine.snapshot(), source, reading: Reading::new() })
    }
}

impl<S: View> Scan<S> {
    /// The clock of the scan's start.
    pub fn clock(&self) -> &Clock {
        self.source.clock()
    }

    /// The next page for an asker with this clock that has taken in everything up to `after`. First whatever the index
    /// still has and the asker lacks, with its dots; then the keys in order, values only where the asker lacks them.
    /// With no parts and not done the index was not read far enough yet.
    pub fn page(&mut self, asker: &Clock, after: &Bytes, budget: Budget) -> Result<Page, EngineError> {
        let indexed = self.reading.part(&self.view, &self.source, asker, budget)?;
        if indexed.more || !indexed.entries.is_empty() {
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
            content: self.source.content(),
        };
        page.parts.push(Part::Claim(claim));
        Ok(page)
    }
}

/// What the copy holds of a key, for an asker that is told these dots of it; and about how many bytes that is.
pub(crate) fn entry<V: View>(
    view: &V,
    copy: &Copy,
    asker: &Clock,
    key: ObjectKey,
    dots: Vec<Dot>,
) -> Result<(Entry, usize), EngineError> {
    let bytes = view.get(Space::Objects, &object_at(copy.partition(), key.as_bytes()))?;
    let stored = bytes.map_or(Ok(Object::default()), codec::decode_object);
    let object = copy.fill(&key, stored.map_err(|e| damaged(copy.partition(), Space::Objects, &e))?);
    let object = without_known(object, asker);
    let size = key.as_bytes().len() + held(&object) + 24 * dots.len();
    Ok((Entry { key, object, dots }, size))
}

/// Is all that the asker lacks still in the copy's index?
fn reaches_back(copy: &Copy, asker: &Clock) -> bool {
    asker.covers(copy.watermark()) || broken(Rule::Delta)
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
