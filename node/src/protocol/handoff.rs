//! Hinted handoff: copies that this node does not own, held in the place of owners that could not be reached.
//!
//! A stand-in's copy is a copy like any other. While it is here, rounds of digests go to the partition's owners
//! (`sync`); an owner that lacks something is told to pull it; and the copy leaves when every owner has said, under this
//! very layout, that its synced clock contains all of it. Nothing else makes it leave: not time, and not its size. A word
//! is taken anew in every round, and counts no longer than the connection on which it came: an owner that lost its disk
//! since must not be believed.
//!
//! Its size is bounded all the same: over its budget a stand-in declines what the write's quorum does not need
//! (Dynamo, section 4.6, and Cassandra's hint windows leave open what happens then; here no write is refused for it).

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_client::wire::Handoff;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Clock, Engine, EngineError};

use super::{Effects, Node, Observation, Time};

/// The copies held for others.
#[derive(Default)]
pub(super) struct Hints {
    held: BTreeMap<PartitionId, Held>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    /// About how many bytes of writes it took; for a copy that was found at the start, as the engine knows it.
    bytes: u64,
    /// Since when; for a copy that was found at the start, since then.
    since: Time,
}

impl Hints {
    /// A copy that was here at the node's start.
    pub(super) fn found(&mut self, partition: PartitionId, bytes: u64, now: Time) {
        self.add(partition, bytes, now);
    }

    fn add(&mut self, partition: PartitionId, bytes: u64, now: Time) {
        self.held.entry(partition).or_insert(Held { bytes: 0, since: now }).bytes += bytes;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, partition: PartitionId) {
        self.bytes -= self.held.remove(&partition).map_or(0, |held| held.bytes);
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.held.keys().copied()
    }

    /// With about how many bytes each has.
    pub(super) fn copies(&self) -> impl Iterator<Item = (PartitionId, u64)> + '_ {
        self.held.iter().map(|(partition, held)| (*partition, held.bytes))
    }

    pub(super) fn holds(&self, partition: PartitionId) -> bool {
        self.held.contains_key(&partition)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Since when the oldest is held.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.held.values().map(|held| held.since).min()
    }
}

impl<E: Engine> Node<E> {
    /// A write was taken into a copy that this node holds for others.
    pub(super) fn took_hint(&mut self, now: Time, partition: PartitionId, bytes: usize) {
        self.hints.add(partition, bytes as u64, now);
        self.counters.hinted += 1;
    }

    /// May a hint be declined? Only over the budget, and never where the write's quorum needs it.
    pub(super) fn declines_hint(&self, partition: PartitionId, required: bool) -> bool {
        !required && !self.owns(partition) && self.hints.bytes() >= self.config.hint_bytes_max
    }

    /// The partitions whose copies here are to be compared with `owner`'s.
    pub(super) fn to_hand_off(&self, owner: NodeId) -> Vec<PartitionId> {
        self.hints.partitions().filter(|p| self.config.layout.owns(owner, *p)).collect()
    }

    /// The connection to a peer is gone: what it said of the partitions that are held here counts no more.
    pub(super) fn forget_words_of(&mut self, peer: NodeId) {
        let hints = &self.hints;
        self.sync.heard.retain(|(partition, owner), _| *owner != peer || !hints.holds(*partition));
    }

    /// Has this owner said that its synced clock contains the copy held here?
    pub(super) fn has_handed_to(&mut self, partition: PartitionId, owner: NodeId) -> Result<bool, EngineError> {
        let Some(copy) = self.store.find(partition)? else { return Ok(true) };
        Ok(self.sync.heard.get(&(partition, owner)).is_some_and(|clock| clock.covers(copy.clock())))
    }

    /// An owner told its synced clock of a partition that is held here in its place; true if it lacks something.
    pub(super) fn heard_of_owner(
        &mut self,
        partition: PartitionId,
        owner: NodeId,
        clock: Clock,
        out: &mut Effects,
    ) -> Result<bool, EngineError> {
        self.begin_life_if_behind(partition, &clock, out)?;
        self.sync.heard.insert((partition, owner), clock);
        Ok(!self.has_handed_to(partition, owner)?)
    }

    /// Lets go of the copy if every owner contains it.
    pub(super) fn let_go(&mut self, partition: PartitionId, out: &mut Effects) -> Result<(), EngineError> {
        let owners = self.config.layout.owners(partition).to_vec();
        for owner in &owners {
            if !self.has_handed_to(partition, *owner)? && !broken(Rule::Drop) {
                return Ok(());
            }
        }
        self.store.discard(partition)?;
        self.hints.remove(partition);
        self.sync.forget(partition);
        self.counters.handed_off += 1;
        let may_go = self.hints.len() == 0 && self.is_settled() && !self.is_member();
        out.observe(Observation::HandedOff { partition, may_go });
        Ok(())
    }

    /// A stand-in says that this node lacks something of what it holds: pull it.
    pub(super) fn take_back(
        &mut self,
        now: Time,
        peer: NodeId,
        m: &Handoff,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        for partition in &m.partitions {
            if let Ok(partition) = self.agrees_to_own(peer, m.epoch, *partition, out) {
                self.sync.want(partition, peer);
            }
        }
        self.begin_pulls(now, out)
    }

    pub(super) fn offer(&self, owner: NodeId, partitions: Vec<u16>, out: &mut Effects) {
        if !partitions.is_empty() {
            out.send(owner, 0, Handoff { epoch: self.config.layout.epoch(), partitions }, Bytes::new());
        }
    }
}
