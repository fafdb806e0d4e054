//! Invariant 1: no acknowledged write is lost. It is in the final siblings, or some write that had seen it came after.
//!
//! What the world asks for is more: every write that reached a copy, acknowledged or not, is there in the end, unless a
//! fault took the last copy of it; and faults may not take what was promised (see `faults`). And an acknowledgement means
//! what it says at the moment it leaves: under `group`, synced on as many owners and stand-ins as it names.

use dynode::protocol::Durability;
use dynode_client::wire::Message;
use dynode_storage::{Clock, Dot};

use super::Live;
use crate::world::journal::{Kind, OpId};
use crate::world::{Violation, World};

impl World {
    /// A node says to a client that a write is done: is it?
    pub(crate) fn check_reply(&mut self, at: usize, op: OpId, message: &Message) -> Result<(), Violation> {
        let Message::PutDone(done) = message else { return Ok(()) };
        let op = self.journal.op(op);
        // Under an older layout there may be fewer owners.
        let sizes = self.layouts.seen.values().map(|(_, layout)| layout.replicas().min(layout.members().len()));
        let needed = sizes.filter_map(|n| op.quorum.of(n)).min().map_or(op.copies, |least| least.min(op.copies));
        let (id, strict) = (op.id, op.strict);
        let short = |what: String| Err(Violation::new("1 no acknowledged write is lost", what));
        // Of several attempts at one put any may be the one that is acknowledged.
        let dots: Vec<Dot> = match op.dot.filter(|_| !op.void) {
            Some(dot) => vec![dot],
            None => self.journal.attempts(op.value_id()).filter(|op| !op.void).filter_map(|op| op.dot).collect(),
        };
        if dots.is_empty() {
            return short(format!("#{id} is acknowledged by n{at} and was never done"));
        }
        let (owners, stand_ins) = (usize::from(done.acks.owners), usize::from(done.acks.stand_ins));
        let counted = if strict { owners } else { owners + stand_ins };
        if counted < needed {
            return short(format!(
                "#{id} is acknowledged by {owners} owners and {stand_ins} stand-ins, needed {needed}"
            ));
        }
        if self.plan.durability != Durability::Group || self.disks_lost > 0 {
            return Ok(());
        }
        let partition = self.journal.keys[self.journal.op(id).key].partition(self.layout.partitions());
        let (mut on_owners, mut elsewhere) = (0, 0);
        let has = |clock: &Clock| dots.iter().any(|dot| clock.has(*dot));
        for host in self.hosts.iter_mut().filter_map(|h| has(&h.clock(partition, true)).then_some(h.id)) {
            match self.layout.owns(host, partition) {
                true => on_owners += 1,
                false => elsewhere += 1,
            }
        }
        // Who is an owner changes, and former owners may have let go of it; it is the register that shows whether the right
        // ones have it.
        let owners = if self.changes_owners() { 0 } else { owners };
        // A stand-in may have let go of it since: then every owner has it.
        if on_owners < owners || on_owners + elsewhere < needed {
            let said = format!("#{id} is acknowledged by {owners} owners and {stand_ins} stand-ins");
            return short(format!("{said}, and synced on {on_owners} owners and {elsewhere} others, needed {needed}"));
        }
        Ok(())
    }

    /// The power of a machine has failed: is all there that it had told its peers of?
    pub(crate) fn check_told(&mut self, at: usize, told: &[Clock]) -> Result<(), Violation> {
        for (partition, told) in self.layout.partition_ids().zip(told) {
            if !self.hosts[at].clock(partition, true).covers(told) {
                let what = format!("n{at} told of writes in partition {partition} that a power cut has taken from it");
                return Err(Violation::new("1 no acknowledged write is lost", what));
            }
        }
        Ok(())
    }

    pub(crate) fn check_nothing_lost(&mut self, live: &Live) -> Result<(), Violation> {
        for (op, dot) in self.journal.writes().filter(|(op, _)| !op.taken) {
            let partition = self.journal.keys[op.key].partition(self.layout.partitions());
            let owner = self.layout.owners(partition)[0];
            let host = self.hosts.iter_mut().find(|h| h.id == owner);
            if !host.is_some_and(|h| h.clock(partition, false).has(dot)) {
                let what = format!("write #{} ({:?}) is in no clock", op.id, op.outcome);
                return Err(Violation::new("1 no acknowledged write is lost", what));
            }
            if op.kind != Kind::Put || live[op.key].contains(&op.value_id()) {
                continue;
            }
            let replaced = self
                .journal
                .ops
                .iter()
                .any(|later| !later.void && (later.observed.has(op.id) || later.observed.has(op.value_id())));
            if !replaced {
                let what = format!("put #{} ({:?}) is gone, and nobody had seen it", op.id, op.outcome);
                return Err(Violation::new("1 no acknowledged write is lost", what));
            }
        }
        Ok(())
    }
}
