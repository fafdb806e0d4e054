//! Invariant 9: everything is bounded: operations, syncs, scans, messages, contexts, siblings.

use bytes::Bytes;
use dynode::limits;
use dynode_client::wire::limits::{BODY_BYTES_MAX, CONTEXT_BYTES_MAX, SIBLINGS_MAX};

use crate::world::network::Letter;
use crate::world::journal::OpId;
use crate::world::{Violation, World};

const NAME: &str = "9 bounded";

impl World {
    /// What nodes hold in memory.
    pub(crate) fn check_bounds(&mut self) -> Result<(), Violation> {
        let peers = self.plan.nodes - 1;
        // Every node may have a round of digests with each peer for as long as one waits for its answer, and begins a
        // round at least every half of a second.
        let rounds = peers * (2 * limits::DIGEST_TIMEOUT.0 / limits::SYNC_EVERY.0 + 4) as usize;
        let most = self.journal.ops.len() + limits::PULLS_MAX + limits::REPAIRS_MAX + rounds;
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            if node.operations() > most {
                return Err(Violation::new(NAME, format!("n{at} has {} operations under way", node.operations())));
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
        // Each owner counts what it has itself when it takes a write: siblings that meet later may be more.
        if writers.len() > SIBLINGS_MAX * usize::from(self.plan.replicas) {
            return Err(Violation::new(NAME, format!("#{read} found {} siblings", writers.len())));
        }
        if context.len() > CONTEXT_BYTES_MAX {
            return Err(Violation::new(NAME, format!("#{read} returned a context of {} bytes", context.len())));
        }
        Ok(())
    }
}
