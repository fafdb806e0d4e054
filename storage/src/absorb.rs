//! Taking in what another copy said: entries of a delta, pages of a scan.

use std::collections::BTreeSet;

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::clock::{Clock, DotRange};
use crate::codec::{self, Claim, Corrupt, Entry, Part};
use crate::engine::{Engine, EngineError, Space};
use crate::key::ObjectKey;
use crate::object::Object;
use crate::place::{object_at, object_key, partition_end, partition_start};
use crate::rules::{Rule, broken};
use crate::store::{Refused, Store, damaged};

/// What came of taking in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Absorbed {
    /// Entries taken in.
    pub entries: usize,
    /// Dots that were new.
    pub dots: usize,
}

impl<E: Engine> Store<E> {
    /// Takes in the entries of a delta.
    pub fn absorb_delta(
        &mut self,
        partition: PartitionId,
        entries: Vec<Entry>,
    ) -> Result<Result<Absorbed, Refused>, EngineError> {
        let mut done = Absorbed::default();
        for entry in entries {
            match self.apply(partition, &entry.key, entry.object, &entry.dots)? {
                Ok(new) => done.dots += new,
                Err(Refused) => return Ok(Err(Refused)),
            }
            done.entries += 1;
        }
        Ok(Ok(done))
    }

    /// Takes in the end of a delta: its source has these nodes' lives below these closed, and this copy has taken in all that
    /// the source contained. Returns whether that is news.
    pub fn absorb_closed(&mut self, partition: PartitionId, closed: &[(NodeId, u64)]) -> Result<bool, EngineError> {
        self.live_beyond(partition, closed)?;
        let copy = self.copy(partition)?;
        let news = closed.iter().fold(false, |news, (node, life)| copy.close(*node, *life) || news);
        if news {
            self.touch(partition);
        }
        Ok(news)
    }

    /// Takes in a page of a scan that speaks of all keys after `before` up to `after` (`done`: to the partition's end).
    /// A page without a claim has entries with dots, as a delta has. One with a claim lists every key of its range: what
    /// this copy has beyond them, and the source has seen, is gone. With the last page the source's clock is taken over.
    ///
    /// [`Refused`]: the page was made for a copy that contained more than this one does, or does not join on to what
    /// this one has taken in; the scan is to be begun anew.
    pub fn absorb_page(
        &mut self,
        partition: PartitionId,
        before: &Bytes,
        after: &Bytes,
        done: bool,
        parts: Vec<Part>,
    ) -> Result<Result<Absorbed, Refused>, EngineError> {
        let (mut entries, mut claim) = (Vec::new(), None);
        for part in parts {
            match part {
                Part::Entry(entry) => entries.push(entry),
                Part::Claim(c) => claim = Some(c),
                Part::Closed(_) => {} // a page has a claim for that
            }
        }
        let Some(claim) = claim else {
            let mut seen = Clock::new();
            entries.iter().for_each(|entry| seen.merge(&entry.object.context));
            let absorbed = self.absorb_delta(partition, entries)?;
            // Also where it was refused half way: what came before that has its effect.
            self.copy(partition)?.indexed_page(&seen);
            self.touch(partition);
            return Ok(absorbed);
        };
        let mut absorbed = Absorbed { entries: entries.len(), dots: 0 };
        self.copy(partition)?;
        self.hear(partition, &claim.clock)?;
        if !self.joins(partition, before, &claim)? {
            return Ok(Err(Refused));
        }
        if let Some((engine, turn, copy)) = self.loaded(partition) {
            // All of the page or nothing: its values are not complete without the word of how far the scan has come.
            for entry in &entries {
                if !copy.has_known(engine, turn, &entry.key, &entry.object)? {
                    return Ok(Err(Refused));
                }
            }
        }
        self.make_room(partition, &claim.clock)?;
        let unlisted = self.unlisted(partition, before, (!done).then_some(after), &entries)?;
        self.touch(partition);
        let Some((engine, turn, copy)) = self.loaded(partition) else { return Ok(Err(Refused)) };
        for entry in entries {
            if let Err(Refused) = copy.apply_scanned(engine, turn, &entry.key, entry.object, &claim.clock)? {
                return Ok(Err(Refused));
            }
        }
        if !broken(Rule::Absence) {
            for key in unlisted {
                // Nothing can be refused: nothing comes.
                let _ = copy.apply_scanned(engine, turn, &key, Object::default(), &claim.clock)?;
            }
        }
        if done {
            let before = copy.clock().len();
            copy.claim(turn, &claim);
            // What was named before may be closed now.
            absorbed.dots = usize::try_from(copy.clock().len().saturating_sub(before)).unwrap_or(usize::MAX);
        } else {
            copy.scanned(after, &claim.clock);
        }
        Ok(Ok(absorbed))
    }

    /// Was everything before this page taken in: the keys up to `before` with the scan's pages, and the dots above the
    /// source's watermark with the entries that came first? What is claimed without them would be lost.
    fn joins(&mut self, partition: PartitionId, before: &Bytes, claim: &Claim) -> Result<bool, EngineError> {
        let copy = self.copy(partition)?;
        let missing = claim.clock.missing_in(copy.clock());
        let above = |r: &DotRange| r.last > claim.watermark.base(r.actor);
        let unindexed = missing.iter().any(above) || !copy.clock().covers(&claim.remains);
        let covered = copy.clock().covers(&claim.clock);
        let behind = before.is_empty() || covered || copy.scans.reach(before, &claim.clock);
        Ok(behind && !unindexed)
    }

    /// Where the list of unfinished scans is full, drops one, and first tells the objects that depend on it what it says.
    fn make_room(&mut self, partition: PartitionId, clock: &Clock) -> Result<(), EngineError> {
        let Some(dropped) = self.copy(partition)?.scans.most_dispensable(clock) else { return Ok(()) };
        self.commit(false)?;
        let from = partition_start(partition);
        let to = [&object_at(partition, &dropped.upto)[..], &[0]].concat();
        let (mut keys, mut wrong) = (Vec::new(), false);
        let Some((engine, turn, copy)) = self.loaded(partition) else { return Ok(()) };
        engine.scan(Space::Objects, &from, &to, &mut |at, value| {
            match object_key(at).zip(codec::decode_object(Bytes::copy_from_slice(value)).ok()) {
                Some((key, object)) if object.dots().any(|d| !copy.clock().has(d)) => keys.push((key, object)),
                Some(_) => {}
                None => wrong = true,
            }
            !wrong
        })?;
        if wrong {
            return Err(damaged(partition, Space::Objects, &Corrupt("an object record")));
        }
        for (key, stored) in keys {
            let told = Object { values: stored.values.clone(), context: stored.context.union(&dropped.clock) };
            copy.store(turn, &key, object_at(partition, key.as_bytes()), &stored, told);
        }
        copy.scans.remove(&dropped);
        copy.checkpoint_due = true;
        self.touch(partition);
        Ok(())
    }

    /// The keys of this copy in `(before, after]` that are not among the entries.
    fn unlisted(
        &mut self,
        partition: PartitionId,
        before: &Bytes,
        after: Option<&Bytes>,
        entries: &[Entry],
    ) -> Result<Vec<ObjectKey>, EngineError> {
        self.commit(false)?;
        let listed: BTreeSet<&ObjectKey> = entries.iter().map(|e| &e.key).collect();
        let behind = |key: &[u8]| [&object_at(partition, key)[..], &[0]].concat();
        let from = if before.is_empty() { partition_start(partition).to_vec() } else { behind(before) };
        let to = after.map_or_else(|| partition_end(partition), |key| behind(key));
        let (mut keys, mut wrong) = (Vec::new(), false);
        self.engine.scan(Space::Objects, &from, &to, &mut |at, _| {
            let key = object_key(at);
            wrong = key.is_none();
            keys.extend(key.filter(|k| !listed.contains(k)));
            !wrong
        })?;
        if wrong {
            return Err(damaged(partition, Space::Objects, &Corrupt("a key")));
        }
        Ok(keys)
    }
}
