//! Going by another layout, once it is decided: partitions that get other owners begin on their way ([`super::phases`]), and
//! what is under way goes on under it.

use std::collections::BTreeSet;

use dynode_ring::PartitionId;
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Engine, EngineError};

use super::agree::Decision;
use super::operation::{Operation, Then, UnderWay};
use super::{Effects, Liveness, Micros, Node, Observation, Time};
use crate::limits;

/// How long an operation that has met another layout waits before it asks again.
pub(super) fn again_after(waited: Micros) -> Micros {
    Micros(waited.0 / 2).clamp(limits::LAYOUT_AGAIN_FIRST, limits::LAYOUT_AGAIN_MOST)
}

impl<E: Engine> Node<E> {
    /// Is every partition stable under the present layout, as far as this node knows? Only then is the next one chosen.
    pub fn is_settled(&self) -> bool {
        self.phases.is_settled()
    }

    /// A layout was decided, and is stored with this turn's batch: this node goes by it from now on, and takes no write under
    /// the one before any more.
    pub(super) fn adopt(&mut self, now: Time, decision: &Decision, out: &mut Effects) -> Result<(), EngineError> {
        let layout = decision.layout.clone();
        out.observe(Observation::Adopted {
            epoch: layout.epoch(),
            members: layout.members().len(),
            is_member: layout.member(self.config.node).is_some(),
            forced: decision.forced.is_some(),
        });
        let gone = self.config.layout.members().iter().map(|m| m.id).filter(|id| layout.member(*id).is_none());
        self.left_down.extend(gone.filter(|id| self.up.contains(id) && self.swim.liveness(*id) == Liveness::Down));
        self.left_down.retain(|id| layout.member(*id).is_none());
        self.swim.set_members(now, layout.members().iter().map(|m| m.id));
        let held: BTreeSet<PartitionId> = self.held_here().into_iter().collect();
        let (epoch_before, owned_before) = (self.config.layout.epoch(), std::mem::take(&mut self.owned));
        self.config.layout = layout;
        self.owned = self.config.layout.owned_by(self.config.node).collect();
        self.sync.came = self.owned.iter().copied().filter(|partition| !held.contains(partition)).collect();
        self.begin_phases(decision);
        self.forget_words_of_others();
        self.begin_ownerships(decision, epoch_before, &owned_before)?;
        // The engine names only what is committed, and a copy that came into being in this turn may be one to hold. The layout
        // is not stored without what it means for the copies.
        self.store.commit(false)?;
        self.hold_what_is_not_owned(now)?;
        self.housekeeping.compare_soon(now);
        self.begin_transfers(now)?;
        for partition in self.asked_partitions() {
            self.ask_anew(now, partition, out)?;
        }
        Ok(())
    }

    /// What was said under another layout counts no more: a copy leaves on the word of *these* owners only.
    fn forget_words_of_others(&mut self) {
        if broken(Rule::Epoch) {
            return;
        }
        self.sync.forget_words();
        self.recovery = super::recovery::Recovery::default();
    }

    /// Copies that this node no longer owns are held, and handed off, like hints.
    fn hold_what_is_not_owned(&mut self, now: Time) -> Result<(), EngineError> {
        for partition in self.store.stored_partitions()? {
            match self.owns(partition) {
                true => self.hints.remove(partition),
                false if !self.hints.holds(partition) => {
                    self.hints.found(partition, self.store.stored_bytes(partition), now);
                }
                false => {}
            }
        }
        Ok(())
    }

    /// Where this node has not been an owner all the time: its copies lack what was acknowledged while it was none. To have
    /// held a partition as a *former* owner is not enough: once it was stable, it was written without this node, which may
    /// have been away then. Where it has been one all the time, and others come or go, its copies may lack what was
    /// acknowledged by the others. On a disk that does not know its past, and in copies that may lack what they have
    /// acknowledged themselves, that is so in any case.
    fn begin_ownerships(
        &mut self,
        decision: &Decision,
        epoch_before: u64,
        owned_before: &[PartitionId],
    ) -> Result<(), EngineError> {
        let me = self.config.node;
        let (follows, knows_past) = (decision.follows_closely(epoch_before), self.store.knows_its_lives());
        for partition in self.held_here() {
            let forgets = broken(Rule::Returns) && self.store.find(partition)?.is_some();
            if self.store.quarantine(partition).is_some() || forgets {
                continue;
            }
            let owned = owned_before.binary_search(&partition).is_ok();
            let before = decision.before.binary_search_by_key(&partition, |(p, _)| *p);
            let before = before.ok().map(|at| &decision.before[at].1);
            let owned_last = match before {
                Some(owners) => owners.contains(&me),
                None => owned || !follows,
            };
            if follows && owned && owned_last {
                if let Some(owners) = before {
                    // Of two a write needs both, and of one that one.
                    let stays = owners.len() > 2 && self.config.layout.owns(me, partition) && !broken(Rule::Stays);
                    self.store.owners_change(partition, stays)?;
                }
            } else if !owned_last && knows_past || self.store.find(partition)?.is_some_and(|copy| !copy.may_lack()) {
                self.store.begin_ownership(partition)?;
            }
        }
        Ok(())
    }

    /// The partitions in which clients' operations wait for others.
    fn asked_partitions(&self) -> BTreeSet<PartitionId> {
        let of = |op: &UnderWay| match &op.operation {
            Operation::Put(put) => Some(put.partition()),
            Operation::Get(get) => Some(get.partition),
            _ => None,
        };
        self.operations.values().filter_map(of).collect()
    }

    /// A partition has other owners, or other ones answer reads: reads of it begin anew, and writes go to all who count now.
    pub(super) fn ask_anew(&mut self, now: Time, partition: PartitionId, out: &mut Effects) -> Result<(), EngineError> {
        let is_here = |op: &UnderWay| match &op.operation {
            Operation::Put(put) => put.partition() == partition,
            Operation::Get(get) => get.partition == partition,
            _ => false,
        };
        let ids: Vec<u64> = self.operations.iter().filter(|(_, op)| is_here(op)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(UnderWay { alarm, held, mut operation }) = self.operations.remove(&id) else { continue };
            let (then, next) = match &mut operation {
                Operation::Get(get) => {
                    // Under another number: answers to what was asked before say nothing of the owners that there are now.
                    let id = self.new_id();
                    (self.get_anew(now, id, get, out)?, id)
                }
                Operation::Put(put) => (self.put_anew(now, id, put, out), id),
                _ => (Then::Wait(None), id),
            };
            self.alarms.remove(&(alarm, id));
            match then {
                Then::Done => {
                    self.client_operations -= usize::from(operation.is_of_client());
                    self.held_bytes -= held;
                }
                Then::Wait(again) => {
                    let alarm = again.unwrap_or(alarm);
                    self.operations.insert(next, UnderWay { alarm, held, operation });
                    self.alarms.insert((alarm, next));
                }
            }
        }
        Ok(())
    }
}
