//! Invariant 2: nothing comes back. What a write had seen and replaced never reappears once that write is in the copies.

use dynode_storage::Clock;

use super::Live;
use crate::world::{Violation, World};

impl World {
    pub(crate) fn check_nothing_back(&mut self, live: &Live) -> Result<(), Violation> {
        for (op, dot) in self.journal.writes() {
            let partition = self.journal.keys[op.key].partition(self.layout.partitions());
            let owner = self.layout.owners(partition)[0];
            let host = self.hosts.iter_mut().find(|h| h.id == owner);
            // A write that faults have taken may be gone with its effect; that its life is closed does not bring it back.
            let clock = host.map_or_else(Clock::new, |h| h.clock(partition, false));
            if op.taken && (clock.is_closed(dot.actor) || !clock.has(dot)) {
                continue;
            }
            // Whoever has seen a value has not seen the attempts at it that came later.
            if let Some(value) = live[op.key].iter().find(|v| op.observed.has(**v) && !self.journal.repeated.has(**v)) {
                let what = format!("#{value} is there, though #{} had seen it and replaced it", op.id);
                return Err(Violation::new("2 nothing comes back", what));
            }
        }
        Ok(())
    }
}
