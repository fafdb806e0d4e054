//! Invariant 7: a copy leaves a node only when every owner contains it.
//!
//! Looked at from outside, after each event that a node takes: whatever a copy of a partition that the node does not own
//! contained before and does not contain now must be in the synced clock of every owner. An owner that had it and lost
//! it to a fault since, or had to set it aside, is not blamed: nobody may know of that yet, and invariant 1 watches what remains.

use dynode::protocol::{Durability, Node};
use dynode_ring::PartitionId;
use dynode_storage::Clock;

use crate::world::disk::Disk;
use crate::world::journal::Op;
use crate::world::{Outcome, Violation, World};

const NAME: &str = "7 a copy leaves only when every owner contains it";

impl World {
    /// The clocks of a node's copies that may leave: of partitions that it does not own.
    pub(crate) fn foreign_clocks(&self, node: &mut Node<Disk>) -> Result<Vec<(PartitionId, Clock)>, Violation> {
        let (mut foreign, id) = (Vec::new(), node.id());
        let layout = node.layout().clone();
        // Where owners change, a copy may be set aside by a node that still takes itself for an owner.
        for partition in layout.partition_ids().filter(|p| self.changes_owners() || !layout.owns(id, *p)) {
            if let Some(copy) = Violation::unless_found(node.store().find(partition))? {
                foreign.push((partition, copy.clock().clone()));
            }
        }
        Ok(foreign)
    }

    /// A node has taken an event: is what has left its foreign copies in every owner's?
    pub(crate) fn check_leaving(
        &mut self,
        at: usize,
        node: &mut Node<Disk>,
        before: &[(PartitionId, Clock)],
    ) -> Result<(), Violation> {
        for (partition, was) in before {
            let now = Violation::unless_found(node.store().find(*partition))?;
            let left = now.map_or_else(|| was.clone(), |copy| was.minus(copy.clock()));
            let is_set_aside = self.changes_owners() && self.hosts[at].set_aside.contains(partition);
            let is_foreign = !node.layout().owns(node.id(), *partition);
            // Damage is no leaving: see `World::found_rot`.
            if left.is_empty() || self.hosts[at].rotten.contains(partition) || !(is_foreign || is_set_aside) {
                continue;
            }
            self.trace.line(self.now, |t| format!("n{at} lets go of its copy of p{partition}: {}", t.clock(&left)));
            self.hosts[at].has_left(*partition, &left);
            if is_set_aside {
                self.set_aside_outside(at, *partition, &left)?;
                continue;
            }
            for owner in node.layout().owners(*partition).to_vec() {
                let Some(host) = self.hosts.iter().position(|h| h.id == owner) else { continue };
                // One that goes by a later layout need not be an owner any more: then others are.
                let is_beyond = self.hosts[host].epoch > self.hosts[at].epoch;
                if is_beyond || self.hosts[host].set_aside.contains(partition) {
                    continue;
                }
                let lacks = left.minus(&self.hosts[host].ever_synced(*partition));
                if !lacks.is_empty() {
                    let what =
                        format!("n{at} let go of its copy of partition {partition}: owner n{host} lacks {lacks}");
                    return Err(Violation::new(NAME, what));
                }
            }
        }
        Ok(())
    }

    /// A former member was away while the lives that it wrote in were closed, and has set its copy aside. What only it had is
    /// not among the copies any more; that must not be what several had acknowledged.
    fn set_aside_outside(&mut self, at: usize, partition: PartitionId, left: &Clock) -> Result<(), Violation> {
        self.stats.fault("former member set a copy aside");
        let mut before = vec![Clock::new(); self.layout.partitions() as usize];
        before[usize::from(partition.0)] = left.clone();
        // The process has its disk in its hands: what was there when it started says nothing.
        self.hosts[at].forget_clocks();
        let gone = self.gone(&before);
        let several = |op: &&Op| op.outcome == Outcome::Done && op.acks.owners + op.acks.stand_ins > 1;
        let several = gone.iter().map(|(id, _)| self.journal.op(*id)).find(several);
        if let Some(op) = several.filter(|_| self.disks_lost == 0 && self.plan.durability == Durability::Group) {
            let what = format!("#{} was acknowledged by several, and n{at} has set the last copy of it aside", op.id);
            return Err(Violation::new("1 no acknowledged write is lost", what));
        }
        self.take(&before);
        Ok(())
    }
}
