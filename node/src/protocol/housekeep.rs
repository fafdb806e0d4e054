//! What a node does by itself: rounds of digests, syncs in the modes that do not sync every turn, and keeping metadata
//! small (index entries that every owner contains, contexts that the clock has caught up with, scans that nobody reads).

use dynode_ring::{NodeId, PartitionId};
use dynode_storage::{Clock, Engine, EngineError};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::{Durability, Effects, Micros, Node, Time};
use crate::limits;

/// When what is due.
pub(super) struct Rounds {
    next: Time,
    next_digests: Time,
    next_sync: Time,
    /// The owned partition with which the next round begins.
    cursor: u16,
}

impl Rounds {
    pub(super) fn new(now: Time, rng: &mut Pcg64) -> Rounds {
        // Nodes that start together should not march in step.
        let offset = |rng: &mut Pcg64, span: Micros| Micros(rng.random_range(0..span.0));
        Rounds {
            next: now + offset(rng, limits::HOUSEKEEP_EVERY),
            next_digests: now + offset(rng, limits::SYNC_EVERY),
            next_sync: now,
            cursor: 0,
        }
    }

    /// Clocks are to be compared with the next look around, and not in a second.
    pub(super) fn compare_soon(&mut self, now: Time) {
        self.next_digests = now;
    }

    pub(super) fn next(&self) -> Time {
        self.next
    }
}

impl<E: Engine> Node<E> {
    pub(super) fn housekeep(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        if now < self.housekeeping.next {
            return Ok(());
        }
        self.housekeeping.next = now + limits::HOUSEKEEP_EVERY;
        self.look_at_breakers(now, out)?;
        self.sync_if_due(now)?;
        if now >= self.housekeeping.next_digests {
            let span = self.jittered(limits::SYNC_EVERY);
            self.housekeeping.next_digests = now + span;
            self.source.drop_idle(now);
            let peers: Vec<NodeId> = self.up.iter().copied().filter(|peer| self.is_up(*peer)).collect();
            self.compare_buckets(&peers, out);
            peers.into_iter().try_for_each(|peer| self.digest_round(now, peer, out))?;
        }
        self.tend_phases(now, out)?;
        let slice = self.next_slice();
        for partition in slice {
            self.tidy(partition, out)?;
            self.consider_closing(now, partition, out)?;
        }
        self.walk(now, out)?;
        self.scrub(now, out)?;
        let held: Vec<PartitionId> = self.hints.partitions().collect();
        held.into_iter().try_for_each(|partition| self.let_go(partition, out))
    }

    /// In the modes that do not sync every turn: so that peers can be told, and a power cut takes little.
    fn sync_if_due(&mut self, now: Time) -> Result<(), EngineError> {
        let every = match self.config.durability {
            Durability::Group => return Ok(()),
            Durability::Interval(every) => every,
            Durability::Os => limits::SYNC_EVERY,
        };
        if now >= self.housekeeping.next_sync {
            self.housekeeping.next_sync = now + every;
            if self.store.has_unsynced() {
                self.store.commit(true)?;
            }
        }
        Ok(())
    }

    /// A tenth of the owned partitions, so that each is looked at once a second.
    fn next_slice(&mut self) -> Vec<PartitionId> {
        let owned = self.held_here();
        let count = owned.len().div_ceil((limits::SYNC_EVERY.0 / limits::HOUSEKEEP_EVERY.0) as usize);
        let start = owned.partition_point(|p| p.0 < self.housekeeping.cursor);
        let slice: Vec<PartitionId> = owned.iter().cycle().skip(start).take(count).copied().collect();
        self.housekeeping.cursor = slice.last().map_or(0, |p| p.0.wrapping_add(1));
        slice
    }

    fn tidy(&mut self, partition: PartitionId, out: &mut Effects) -> Result<(), EngineError> {
        self.end_rebuild(partition, out)?;
        let Some(copy) = self.store.find(partition)? else { return Ok(()) };
        let (indexed, unstripped) = (copy.indexed(), copy.maybe_unstripped());
        if indexed > 0 {
            let others = self.other_owners(partition);
            let heard: Vec<&Clock> =
                others.iter().filter_map(|peer| self.sync.heard.get(&(partition, *peer))).collect();
            if heard.len() == others.len() {
                self.store.collect(partition, &heard)?;
            }
            if indexed > self.config.index_entries_max && !heard.is_empty() {
                self.store.cut_index(partition, &heard)?;
            }
        }
        if unstripped {
            self.store.strip(partition, limits::STRIP_KEYS)?;
        }
        Ok(())
    }
}
