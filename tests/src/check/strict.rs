//! Invariant 4: with `r + w > n` a read sees every write acknowledged before it began.
//!
//! What counts is how many owners took part, as the replies say: a sloppy write that enough owners acknowledged binds as a
//! strict one does, and stand-ins never count. While owners change, that holds of strict operations of majorities: a new owner
//! counts in reads once it contains what a majority must have acknowledged, and former owners that have not heard of the change
//! answer what a minority can.

use dynode::protocol::Durability;
use dynode_client::wire::Quorum;

use crate::world::journal::{Kind, Op, OpId};
use crate::world::{Violation, World};

/// So many of a key's last acknowledged writes are looked for: older ones were, by the reads before.
const LOOKED_AT: usize = 50;

impl World {
    /// A read has returned these values: is everything in them that has to be, and nothing that must be gone?
    pub(crate) fn check_strict(&self, read: OpId, found: &[OpId]) -> Result<(), Violation> {
        // In the other modes a power cut may take what was acknowledged.
        if self.plan.durability != Durability::Group {
            return Ok(());
        }
        let get = self.journal.op(read);
        // A copy that has lost what it acknowledged answers reads that do not ask for more, and is counted among them.
        if !get.strict && self.disks_lost > 0 {
            return Ok(());
        }
        let owners = self.layout.owners(self.journal.keys[get.key].partition(self.layout.partitions())).len();
        let counts = |op: &Op| match self.changes_owners() {
            false => usize::from(op.acks.owners + get.acks.owners) > owners,
            true => op.strict && get.strict && self.intersects(op.quorum, get.quorum),
        };
        let binding = |op: &&Op| op.ended < get.began && counts(op);
        let recent = self.journal.acknowledged[get.key].iter().rev().take(LOOKED_AT).map(|id| self.journal.op(*id));
        // What damage took from its only copy is nowhere to be read.
        for op in recent.filter(binding).filter(|op| !op.taken) {
            let value = op.value_id();
            let missed = op.kind == Kind::Put && !found.contains(&value) && !self.journal.replaced.has(value);
            // Whoever has seen a value has not seen the attempts at it that came later.
            let once = |value: &&OpId| !self.journal.repeated.has(**value);
            if missed || found.iter().filter(once).any(|value| op.observed.has(*value)) {
                let what = format!("read #{read} did not see write #{}, acknowledged before it began", op.id);
                return Err(Violation::new("4 strict quorums are strict", what));
            }
        }
        Ok(())
    }

    /// Are `w` and `r` majorities, whatever layout there was?
    fn intersects(&self, w: Quorum, r: Quorum) -> bool {
        let sizes = self.layouts.seen.values().map(|(_, layout)| layout.replicas().min(layout.members().len()));
        sizes.into_iter().all(|n| match (w.of(n), r.of(n)) {
            (Some(w), Some(r)) => w > n / 2 && r > n / 2,
            _ => true, // none such succeeds
        })
    }
}
