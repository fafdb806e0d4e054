//! How much sync does at once: less while clients wait, be it for what this node coordinates or for its part in what others do.

use dynode_ring::PartitionId;
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Engine, EngineError};

use super::sync::SyncState;
use super::{Micros, Node, Time};
use crate::limits;

impl SyncState {
    /// So many bytes came: sync moves no more than its share, however many pulls there are; and it rests for as long as the answer
    /// says, if no longer than is good for it.
    pub(super) fn pay(&mut self, now: Time, bytes: usize, rest: Micros) {
        if broken(Rule::Greedy) {
            return;
        }
        let bytes = Micros(bytes as u64 * 1_000_000 / limits::SYNC_BYTES_A_SECOND);
        self.paid_until = self.paid_until.max(now) + bytes.max(rest.min(limits::SYNC_REST_MAX));
    }

    /// No more is asked for before that.
    pub(super) fn rest_until(&self) -> Time {
        Time(self.paid_until.0.saturating_sub(limits::SYNC_BURST.0))
    }
}

impl<E: Engine> Node<E> {
    /// Do clients wait?
    pub(super) fn is_busy(&self, now: Time) -> bool {
        (self.client_operations > 0 || now - self.last_served < limits::BUSY_FOR) && !broken(Rule::Greedy)
    }

    /// How long sync rests after an answer for this partition, which was under way for so long, with the time that it took to
    /// take in the one before. While clients wait, what is slow is slow for them too: so sync works for no more than a part of
    /// the time, whatever the machine, its disk and its other work.
    pub(super) fn rest_after(
        &mut self,
        now: Time,
        partition: PartitionId,
        took: Micros,
    ) -> Result<Micros, EngineError> {
        let rest = match (self.is_busy(now), self.comes_by_layout(partition)?) {
            (false, _) => 0,
            (true, false) => limits::SYNC_REST_BUSY,
            (true, true) => limits::SYNC_REST_MOVING,
        };
        Ok(Micros(took.0 * rest))
    }

    /// The values in one part of an answer that this node asks for.
    pub(super) fn asked_bytes(&mut self, now: Time, partition: PartitionId) -> Result<usize, EngineError> {
        Ok(match (self.is_busy(now), self.comes_by_layout(partition)?) {
            (true, true) => limits::ANSWER_BYTES_MOVING,
            _ => self.answer_bytes(now),
        })
    }

    /// Is the copy on its way to this node by a change of owners? One that was lost is another matter.
    fn comes_by_layout(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        Ok(self.sync.came.contains(&partition) && self.is_recovering(partition)?)
    }

    /// The values in one part of an answer, whether it is taken in here or given.
    pub(super) fn answer_bytes(&self, now: Time) -> usize {
        if self.is_busy(now) { limits::ANSWER_BYTES_BUSY } else { limits::ANSWER_BYTES }
    }

    /// Pulls under way at once.
    pub(super) fn pulls_max(&self, now: Time) -> usize {
        if self.is_busy(now) { limits::PULLS_BUSY } else { limits::PULLS_MAX }
    }
}
