//! What is not even begun: requests under another layout, of partitions that are not here, past their time, or too many.

use dynode_client::wire::{ErrorCode, Failure};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::Engine;
use dynode_storage::rules::{Rule, broken};

use super::{Effects, Micros, Node, Observation, ReplyTo, failure, timeout};
use crate::limits;

impl<E: Engine> Node<E> {
    /// Checks that a peer goes by the same layout and speaks of a partition that there is.
    pub(super) fn agrees(
        &mut self,
        peer: NodeId,
        epoch: u64,
        partition: u16,
        out: &mut Effects,
    ) -> Result<PartitionId, Failure> {
        let ours = self.config.layout.epoch();
        if epoch != ours && !broken(Rule::Epoch) {
            out.observe(Observation::OtherLayout { peer, theirs: epoch });
            self.saw_epoch(peer, epoch, out);
            return Err(failure(ErrorCode::OtherLayout, format!("this node goes by epoch {ours}, not {epoch}")));
        }
        match PartitionId(partition) {
            p if u32::from(partition) < self.config.layout.partitions() => Ok(p),
            p => Err(failure(ErrorCode::OtherLayout, format!("there is no partition {p}"))),
        }
    }

    /// As [`Node::agrees`], of a partition that this node owns.
    pub(super) fn agrees_to_own(
        &mut self,
        peer: NodeId,
        epoch: u64,
        partition: u16,
        out: &mut Effects,
    ) -> Result<PartitionId, Failure> {
        match self.agrees(peer, epoch, partition, out)? {
            p if self.owns(p) => Ok(p),
            p => Err(failure(ErrorCode::OtherLayout, format!("this node does not own partition {p}"))),
        }
    }

    /// As [`Node::agrees`]; a refusal is answered, and `None` says that there is nothing more to do.
    pub(super) fn agreed(
        &mut self,
        peer: NodeId,
        epoch: u64,
        partition: u16,
        reply_to: ReplyTo,
        out: &mut Effects,
    ) -> Option<PartitionId> {
        self.agrees(peer, epoch, partition, out).map_err(|refusal| out.reply(reply_to, refusal)).ok()
    }

    /// Refuses what a node that stops, or has too much under way, does not take on, and what is past its time.
    pub(super) fn admit(&mut self, timeout_ms: u32) -> Result<(), Failure> {
        if self.stood_still > Micros(0) && self.stood_still >= timeout(timeout_ms) {
            self.counters.expired += 1;
            let detail = format!(
                "this node stood still for {} ms: whoever asked has most likely given up; nothing was changed",
                self.stood_still.0 / 1000
            );
            return Err(failure(ErrorCode::Unavailable, detail));
        }
        if self.draining {
            return Err(failure(ErrorCode::Unavailable, "this node is stopping: ask another"));
        }
        if self.client_operations >= self.config.operations_max {
            let detail = format!("{} operations are under way: try again later", self.client_operations);
            return Err(failure(ErrorCode::Overloaded, detail));
        }
        if self.held_bytes >= limits::OPERATION_BYTES_MAX {
            let detail = format!("operations under way hold {} bytes of values: try again later", self.held_bytes);
            return Err(failure(ErrorCode::Overloaded, detail));
        }
        Ok(())
    }
}
