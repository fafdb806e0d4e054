//! Invariant 10: one seed, one history.

use crate::world::{Violation, World};

/// Runs a seed twice and compares every line of the two histories, their hashes, and how they ended.
pub fn check(seed: u64) -> Result<(), Violation> {
    let run = || {
        let mut world = World::of_seed(seed, true, false);
        let outcome = world.run();
        (outcome, world.trace.hash(), world.trace.take_text())
    };
    let (first, second) = (run(), run());
    if first == second {
        return Ok(());
    }
    let lines = first.2.lines().zip(second.2.lines()).enumerate();
    let at = lines.into_iter().find(|(_, (a, b))| a != b);
    let detail = match at {
        Some((line, (a, b))) => format!("seed {seed}, line {line}: `{a}` and then `{b}`"),
        None => format!("seed {seed}: the histories end differently"),
    };
    Err(Violation::new("10 determinism", detail))
}
