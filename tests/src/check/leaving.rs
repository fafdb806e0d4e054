//! Invariant 7: a copy leaves a node only when every owner contains it.
//!
//! Looked at from outside, after each event that a node takes: whatever a copy of a partition that the node does not own
//! contained before and does not contain now must be in the synced clock of every owner. An owner that had it and lost
//! it to a fault since, or had to set it aside, is not blamed: nobody may know of that yet, and invariant 1 watches what remains.

use dynode::protocol::Node;
use dynode_ring::PartitionId;
use dynode_storage::Clock;

use crate::world::disk::Disk;
use crate::world::{Violation, World};

const NAME: &str = "7 a copy leaves only when every owner contains it";

impl World {
    /// The clocks of a node's copies of partitions that it does not own.
    pub(crate) fn foreign_clocks(&self, node: &mut Node<Disk>) -> Result<Vec<(PartitionId, Clock)>, Violation> {
        let (mut foreign, id) = (Vec::new(), node.id());
        for partition in self.layout.partition_ids().filter(|p| !self.layout.owns(id, *p)) {
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
            // Damage is no leaving: see `World::found_rot`.
            if left.is_empty() || self.hosts[at].rotten.contains(partition) {
                continue;
            }
            self.trace.line(self.now, |t| format!("n{at} lets go of its copy of p{partition}: {}", t.clock(&left)));
            for owner in self.layout.owners(*partition).to_vec() {
                let Some(host) = self.hosts.iter().position(|h| h.id == owner) else { continue };
                if self.hosts[host].set_aside.contains(partition) {
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
}
