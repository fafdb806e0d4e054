//! Simulated clusters: a fixed set of seeds, and fresh ones every time.
//!
//! `SIM_SEEDS=20000 cargo test -p tests --release --test simulation` runs more of the fresh ones.

use std::time::{SystemTime, UNIX_EPOCH};

use tests::check::determinism;
use tests::runner::{Options, run_range};

/// The same seeds in every run: a change that breaks one of them did it.
const FIXED: std::ops::Range<u64> = 0..500;

/// Fresh seeds unless `SIM_SEEDS` says otherwise: some ten seconds.
const FRESH: u64 = 500;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn hold(seeds: std::ops::Range<u64>) {
    let options = Options { go_on: true, ..Options::default() };
    let (_, failed) = run_range(seeds, options, threads(), &|_| {});
    for f in &failed {
        eprintln!("seed {}: {}: {}", f.seed, f.violation.invariant, f.violation.detail);
        eprintln!("replay: cargo run -p tests --release --bin sim -- --seed {} --trace", f.seed);
    }
    assert!(failed.is_empty(), "{} seeds failed, the first is {}", failed.len(), failed[0].seed);
}

#[test]
fn the_fixed_seeds_hold() {
    hold(FIXED);
}

#[test]
fn fresh_seeds_hold() {
    let count = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(FRESH);
    let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1_000_000, |t| t.as_millis() as u64);
    hold(first..first + count);
}

#[test]
fn a_seed_run_twice_is_the_same_byte_for_byte() {
    for seed in 0..25 {
        assert_eq!(determinism::check(seed), Ok(()));
    }
}
