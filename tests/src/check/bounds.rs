//! Invariant 9: everything is bounded: operations, syncs, scans, messages, contexts, siblings.

use bytes::Bytes;
use dynode::limits;
use dynode_client::wire::limits::{BODY_BYTES_MAX, CONTEXT_BYTES_MAX, SIBLINGS_MAX};

use crate::world::journal::OpId;
use crate::world::network::Letter;
use crate::world::plan::SECOND;
use crate::world::{Violation, World};

const NAME: &str = "9 bounded";

impl World {
    /// What nodes hold in memory.
    pub(crate) fn check_bounds(&mut self) -> Result<(), Violation> {
        let peers = self.plan.nodes - 1;
        // Every node may have a round of digests with each peer for as long as one waits for its answer, and begins a
        // round at least every half of a second.
        let rounds = peers * (2 * limits::DIGEST_TIMEOUT.0 / limits::SYNC_EVERY.0 + 4) as usize;
        let of_clients = self.clients.len() * (limits::TIMEOUT_MAX.0 / SECOND) as usize;
        let operations_max = of_clients.min(self.plan.operations_max)
            + limits::PULLS_MAX
            + limits::REPAIRS_MAX
            + limits::CLOSINGS_MAX
            + rounds;
        // Of each partition: the other owners' clocks, or for a stand-in all owners'; what is lacked; what is pulled;
        // what recovery waits for.
        let owners = usize::from(self.plan.replicas).min(self.plan.nodes);
        let sides = if self.changes_owners() { 2 } else { 1 };
        let entries_max = self.layout.partitions() as usize * (3 * owners * sides + 4);
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            let load = node.load();
            let foreign_max = node.layout().partition_ids().filter(|p| !node.layout().owns(host.id, *p)).count();
            let too_much = [
                ("operations", load.operations, operations_max),
                ("alarms", load.alarms, load.operations),
                ("scans served", load.scans_served, limits::SCANS_MAX),
                ("deltas served", load.deltas_served, limits::DELTAS_MAX),
                ("pulls", load.pulling, limits::PULLS_MAX),
                ("repairs", load.repairs, limits::REPAIRS_MAX),
                ("entries of sync", load.sync_entries, entries_max),
                ("copies held for others", load.hints, foreign_max),
                ("bytes held for nobody", if load.hints == 0 { load.hint_bytes as usize } else { 0 }, 0),
            ];
            if let Some((what, found, most)) = too_much.iter().find(|(_, found, most)| found > most) {
                return Err(Violation::new(NAME, format!("n{at} has {found} {what}; {most} are the most")));
            }
        }
        Ok(())
    }

    /// What is sent.
    pub(crate) fn check_size(&self, letter: &Letter) {
        assert!(letter.body.len() <= BODY_BYTES_MAX, "{} with {} bytes", letter.message.name(), letter.body.len());
    }

    /// What a read returns.
    pub(crate) fn check_siblings(&self, read: OpId, writers: &[OpId], context: &Bytes) -> Result<(), Violation> {
        // Each node counts what it has itself when it takes a write, as an owner or a stand-in: siblings that meet later
        // may be more. One that has lost what it had begins to count anew.
        let lost = |name| self.stats.faults.get(name).copied().unwrap_or(0) as usize;
        // So does a new owner.
        let owners = self.plan.nodes * self.layouts.seen.len().max(1);
        let counts = owners + lost("disk lost") + lost("old backup");
        if writers.len() > SIBLINGS_MAX * counts {
            return Err(Violation::new(NAME, format!("#{read} found {} siblings", writers.len())));
        }
        if context.len() > CONTEXT_BYTES_MAX {
            return Err(Violation::new(NAME, format!("#{read} returned a context of {} bytes", context.len())));
        }
        Ok(())
    }
}
