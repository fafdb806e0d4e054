//! Invariant 5: sessions hold. A read that asks for at least what its client has seen shows no less, at any `r`: what the
//! client had read or written is there, or was replaced; and nothing of what that had replaced is there.
//!
//! And a retry with the id of its request is no sibling of itself.

use crate::world::journal::OpId;
use crate::world::{Violation, World};

impl World {
    /// A read has returned these writes' values.
    pub(crate) fn check_session(&self, read: OpId, found: &[OpId]) -> Result<(), Violation> {
        let op = self.journal.op(read);
        let Some(known) = self.clients[op.client].at_least.as_ref().filter(|_| op.in_session) else { return Ok(()) };
        // What faults have taken is nowhere to be seen, and no longer replaces what it had replaced.
        if self.journal.ops.iter().any(|op| op.taken && (known.seen.has(op.id) || known.seen.has(op.value_id()))) {
            return Ok(());
        }
        let short = |what: String| Err(Violation::new("5 sessions hold", what));
        // Of several attempts at one put a client need not have seen all.
        let once = |value: &&OpId| !self.journal.repeated.has(**value);
        if let Some(old) = found.iter().filter(once).find(|v| known.seen.has(**v) && !known.values.contains(v)) {
            return short(format!("#{read} shows #{old}, which its client knows to be replaced"));
        }
        let gone = |value: &&OpId| !found.contains(value) && !self.journal.replaced.has(**value);
        match known.values.iter().filter(once).find(gone) {
            Some(value) => short(format!("#{read} does not show #{value}, which its client had seen")),
            None => Ok(()),
        }
    }

    /// No read shows two attempts at the same put.
    pub(crate) fn check_no_twins(&self, read: OpId, found: &[OpId]) -> Result<(), Violation> {
        let mut sorted = found.to_vec();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let what = format!("#{read} shows the value of #{} twice", pair[0]);
                Err(Violation::new("a retry is no sibling of itself", what))
            }
            None => Ok(()),
        }
    }
}
