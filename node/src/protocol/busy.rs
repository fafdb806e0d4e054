//! How much sync does at once: less while clients wait, be it for what this node coordinates or for its part in what others do.

use dynode_storage::Engine;
use dynode_storage::rules::{Rule, broken};

use super::sync::SyncState;
use super::{Micros, Node, Time};
use crate::limits;

impl SyncState {
    /// So many bytes came: sync moves no more than its share, however many pulls there are. `took`: while clients wait, for how
    /// long the answer was under way, with the time that it took to take in the one before. What is slow, is slow for clients too:
    /// so sync works for no more than a part of the time, whatever the machine, its disk and its other work.
    pub(super) fn pay(&mut self, now: Time, bytes: usize, took: Option<Micros>) {
        if broken(Rule::Greedy) {
            return;
        }
        let bytes = Micros(bytes as u64 * 1_000_000 / limits::SYNC_BYTES_A_SECOND);
        let rest = took.map_or(Micros(0), |took| Micros(took.0 * limits::SYNC_REST_BUSY).min(limits::SYNC_REST_MAX));
        self.paid_until = self.paid_until.max(now) + bytes.max(rest);
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

    /// The values in one part of an answer, whether it is taken in here or given.
    pub(super) fn answer_bytes(&self, now: Time) -> usize {
        if self.is_busy(now) { limits::ANSWER_BYTES_BUSY } else { limits::ANSWER_BYTES }
    }

    /// Pulls under way at once.
    pub(super) fn pulls_max(&self, now: Time) -> usize {
        if self.is_busy(now) { limits::PULLS_BUSY } else { limits::PULLS_MAX }
    }
}
