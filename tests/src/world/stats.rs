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
}

impl Stats {
    /// Counts one more fault.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Stats) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.turns += other.turns;
        self.messages += other.messages;
        self.settled_us_max = self.settled_us_max.max(other.settled_us_max);
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
