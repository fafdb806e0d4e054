//! What a run did, in numbers.

use std::collections::BTreeMap;

/// Counts of a run, or of many together.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Runs.
    pub seeds: u64,
    /// Simulated time in microseconds.
    pub simulated: u64,
    /// Turns of nodes.
    pub turns: u64,
    /// Messages between nodes that arrived.
    pub messages: u64,
    /// Operations, by kind and outcome.
    pub operations: BTreeMap<&'static str, u64>,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What nodes counted, added up.
    pub counters: BTreeMap<&'static str, u64>,
    /// The longest time in microseconds from the end of the faults until all copies were equal and nothing was left.
    pub settled_us_max: u64,
    /// The run that took the longest for it: how long, and its seed.
    pub slowest: (u64, u64),
    /// In how many runs it took no longer than so many seconds.
    pub settled_within: BTreeMap<u64, u64>,
}

impl Stats {
    /// Counts one more fault.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// A run has come into order after so many microseconds.
    pub fn settled(&mut self, took: u64) {
        let within = [1, 2, 5, 10, 20, 40].into_iter().find(|s| took <= s * 1_000_000).unwrap_or(60);
        *self.settled_within.entry(within).or_default() += 1;
        self.settled_us_max = self.settled_us_max.max(took);
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Stats) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.turns += other.turns;
        self.messages += other.messages;
        self.settled_us_max = self.settled_us_max.max(other.settled_us_max);
        self.slowest = self.slowest.max(other.slowest);
        other.settled_within.iter().for_each(|(s, n)| *self.settled_within.entry(*s).or_default() += n);
        let maps = [
            (&mut self.operations, &other.operations),
            (&mut self.faults, &other.faults),
            (&mut self.counters, &other.counters),
        ];
        for (mine, theirs) in maps {
            theirs.iter().for_each(|(name, n)| *mine.entry(name).or_default() += n);
        }
    }
}
