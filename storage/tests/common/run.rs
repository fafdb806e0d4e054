//! Running many seeds, and saying which one failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::world::{Counts, World};

/// One random run; panics when a law is broken.
pub fn run(seed: u64) -> Counts {
    let mut world = World::new(seed);
    let steps = 20 + world.rng.below(380);
    world.live(steps);
    world.heal();
    world.check();
    world.counts
}

/// Does it panic? Quietly, where a failure is expected.
pub fn fails<T>(what: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(what)).is_err()
}

/// The seeds to run: `SEED=n` one, `SEEDS=n` so many, `FROM=n` from there on.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    match (number("SEED"), number("FROM").unwrap_or(0)) {
        (Some(seed), _) => seed..seed + 1,
        (None, from) => from..from + number("SEEDS").unwrap_or(default),
    }
}

/// Runs all seeds on two threads and panics with the least that failed.
pub fn run_all(seeds: std::ops::Range<u64>) -> Counts {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let total = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < seeds.end
                    && failed.lock().unwrap().is_empty()
                {
                    match catch_unwind(|| run(seed)) {
                        Ok(counts) => *total.lock().unwrap() += counts,
                        Err(_) => failed.lock().unwrap().push(seed),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    assert!(failed.is_empty(), "seeds that broke a law: {failed:?}; run one with SEED=n, and TRACE=1 to see all of it");
    total.into_inner().unwrap()
}
