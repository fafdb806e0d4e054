//! A copy that is damaged: contained at once, set aside, rebuilt from the other owners.
//!
//! What cannot be read must not look absent, so from the moment that damage is found nobody gets a word from the copy:
//! in the same turn it is discarded and begins a new life, *rebuilding*. Such a copy takes writes and syncs, but answers no
//! read and coordinates nothing: clients' requests go on to another owner. It counts again when it is no longer recovering.
//! Where there is no other owner the copy is shelved: left as it is, and not shown.
//!
//! Two copies with equal clocks and different content ([`Observation::ContentDiffers`]) are both read against the set
//! hash that they keep ([`super::scrub`]); whoever is wrong is contained. When both are right by their own word, and all
//! other owners agree with each other, the odd one gives way; else it is reported, until people decide.

use std::collections::{BTreeMap, BTreeSet};

use dynode_client::wire::{ErrorCode, Failure};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::quarantine::Quarantine;
use dynode_storage::{Engine, EngineError};
use serde_json::{Value, json};

use super::{Effects, Node, Observation, Operation, Time, failure};

/// What is known of copies that differ where they should not.
#[derive(Default)]
pub(super) struct Differences {
    /// What others told that differs from this node's copy at an equal clock: hashes of clock and content. At most one
    /// entry for each other owner of each owned partition.
    told: BTreeMap<(PartitionId, NodeId), (u64, u64)>,
    /// Copies that were read since and are as their set hash says, with that hash.
    sound: BTreeMap<PartitionId, u64>,
}

impl Differences {
    fn forget(&mut self, partition: PartitionId) {
        self.told.retain(|(p, _), _| *p != partition);
        self.sound.remove(&partition);
    }

    /// What is remembered, for checks of bounds.
    pub(super) fn len(&self) -> usize {
        self.told.len() + self.sound.len()
    }

    /// Partitions whose copies differ, although this node's is as it says it is.
    fn divergent(&self) -> BTreeSet<PartitionId> {
        self.told.keys().map(|(p, _)| *p).filter(|p| self.sound.contains_key(p)).collect()
    }

    /// The copy was read whole and has this set hash.
    pub(super) fn is_sound(&mut self, partition: PartitionId, content: u64) {
        if self.told.range((partition, NodeId(0))..=(partition, NodeId(u64::MAX))).next().is_some() {
            self.sound.insert(partition, content);
        }
    }
}

impl<E: Engine> Node<E> {
    /// Why this node says nothing of its copy of a partition, where it does not.
    pub(super) fn withheld(&self, partition: PartitionId) -> Option<Failure> {
        let why = match self.store.quarantine(partition)? {
            Quarantine::Rebuilding => "is being rebuilt from the other owners",
            Quarantine::Shelved => "is damaged, and there is no other",
        };
        let detail = format!("this node's copy of partition {partition} {why}: ask another node");
        Some(failure(ErrorCode::Unavailable, detail))
    }

    /// As [`Node::withheld`], where not even writes are taken.
    pub(super) fn shelved(&self, partition: PartitionId) -> Option<Failure> {
        self.withheld(partition).filter(|_| self.store.quarantine(partition) == Some(Quarantine::Shelved))
    }

    /// Takes a damaged copy out of use, and begins to rebuild it where that is possible.
    pub(super) fn contain(
        &mut self,
        now: Time,
        partition: PartitionId,
        detail: String,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        if self.store.quarantine(partition) == Some(Quarantine::Shelved) {
            return Ok(());
        }
        self.counters.copies_damaged += 1;
        self.sync.forget(partition);
        self.hints.remove(partition);
        self.source.forget(partition);
        self.scrub.forget(partition);
        self.differences.forget(partition);
        for under_way in self.operations.values_mut() {
            // What is answered to a round that began before promises nothing to the new copy.
            if let Operation::Digests(round) = &mut under_way.operation {
                round.forget(partition);
            }
        }
        let is_owner = self.owns(partition);
        if is_owner && self.other_owners(partition).is_empty() {
            self.store.shelve(partition);
            out.observe(Observation::Shelved { partition, detail });
            return Ok(());
        }
        let aside = self.store.rebuild(partition)?;
        if !is_owner {
            self.store.end_rebuild(partition); // a stand-in's copy is empty in good faith
        }
        out.observe(Observation::Discarded { partition, detail, aside });
        self.housekeeping.compare_soon(now);
        Ok(())
    }

    /// Ends the quarantine of a copy that contains what enough other owners have told since ([`super::recovery`]).
    pub(super) fn end_rebuild(&mut self, partition: PartitionId, out: &mut Effects) -> Result<(), EngineError> {
        if self.store.quarantine(partition) != Some(Quarantine::Rebuilding) {
            return Ok(());
        }
        if !self.is_recovering(partition)? && self.store.find(partition)?.is_some_and(|copy| !copy.is_scanning()) {
            self.store.end_rebuild(partition);
            self.counters.copies_rebuilt += 1;
            out.observe(Observation::Rebuilt { partition });
        }
        Ok(())
    }

    /// A peer's copy with an equal clock has another content.
    pub(super) fn content_differs(
        &mut self,
        now: Time,
        partition: PartitionId,
        peer: NodeId,
        told: (u64, u64),
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        self.counters.content_differs += 1;
        out.observe(Observation::ContentDiffers { partition, peer });
        self.differences.told.insert((partition, peer), told);
        let others = self.other_owners(partition);
        let agree = others.iter().all(|o| self.differences.told.get(&(partition, *o)) == Some(&told));
        if agree && others.len() >= 2 {
            let detail = "all other owners agree, at the same clock, on another content".into();
            return self.contain(now, partition, detail, out);
        }
        let own = self.store.find(partition)?.map(|copy| copy.told_content());
        if self.differences.sound.get(&partition).copied() != own {
            self.differences.sound.remove(&partition);
            self.scrub.soon(partition);
        }
        Ok(())
    }

    /// A peer's copy with an equal clock has an equal content.
    pub(super) fn content_agrees(&mut self, partition: PartitionId, peer: NodeId) {
        if self.differences.told.remove(&(partition, peer)).is_some() && self.differences.divergent().is_empty() {
            self.differences.sound.clear();
        }
    }

    /// What of the damage is of interest to people.
    pub(super) fn damage_report(&self) -> Value {
        let with = |which| {
            let partitions = self.store.quarantined().filter(|(_, q)| *q == which).map(|(p, _)| p.0);
            partitions.collect::<Vec<u16>>()
        };
        json!({
            "rebuilding": with(Quarantine::Rebuilding),
            "shelved": with(Quarantine::Shelved),
            "divergent": self.differences.divergent().iter().map(|p| p.0).collect::<Vec<u16>>(),
            "writes_refused": self.writes_refused,
        })
    }
}

#[cfg(test)]
mod tests;
