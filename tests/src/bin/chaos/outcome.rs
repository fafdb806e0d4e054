//! What came of a run, and whether all held.

use std::time::Duration;

use dynode_bench::audit::verdict::Verdict;

use crate::faults::Kind;
use crate::load::Seconds;

/// Faults that began together, and their end.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Seconds since the clients began.
    pub(crate) from: f64,
    /// The heal.
    pub(crate) until: f64,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) text: String,
    /// Partitions that had a quorum of owners which hear each other.
    pub(crate) with_quorum: usize,
    /// Seconds from the heal until all was whole; `Ok(None)`: it cannot be told here.
    pub(crate) whole: Result<Option<Duration>, String>,
    pub(crate) notes: Vec<String>,
}

/// A run.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) nodes: Vec<String>,
    pub(crate) network: &'static str,
    pub(crate) partitions: usize,
    pub(crate) whole_within: Duration,
    pub(crate) events: Vec<Event>,
    pub(crate) skipped: Vec<String>,
    pub(crate) seconds: Seconds,
    /// Seconds that the clients wrote for, whole ones: the first is left out, as it began with connecting.
    pub(crate) measured: std::ops::Range<usize>,
    pub(crate) verdict: Verdict,
    /// Whether the owners' copies were seen to be equal at the end, when nobody wrote any more; `false`: it cannot be told.
    pub(crate) equal: Result<bool, String>,
    /// What should not have happened: processes that ended by themselves, faults that could not be done.
    pub(crate) troubles: Vec<String>,
}

/// One of the things that must hold.
pub(crate) struct Held {
    pub(crate) what: &'static str,
    pub(crate) held: bool,
    /// A figure that says how far.
    pub(crate) figure: String,
}

impl Outcome {
    /// Whether some partition had a quorum throughout this second. From a fault's beginning until all is whole what the
    /// fault left counts.
    pub(crate) fn had_quorum(&self, second: usize) -> bool {
        let (from, until) = (second as f64, second as f64 + 1.0);
        let overlaps = |event: &&Event| event.from < until && event.end() > from;
        self.events.iter().filter(overlaps).all(|event| event.with_quorum > 0)
    }

    /// Seconds without a single answer, though there was a quorum.
    pub(crate) fn silent(&self) -> Vec<usize> {
        let seconds = self.measured.clone();
        let done = |second: usize| self.seconds.all.get(second).map_or(0, |s| s.done);
        seconds.filter(|second| done(*second) == 0 && self.had_quorum(*second)).collect()
    }

    /// The longest time from a heal until all was whole.
    pub(crate) fn slowest(&self) -> Option<Duration> {
        self.events.iter().filter_map(|event| event.whole.clone().ok().flatten()).max()
    }

    /// All that must hold.
    pub(crate) fn held(&self) -> Vec<Held> {
        let none = |what, count: usize| Held { what, held: count == 0, figure: count.to_string() };
        let verdict = &self.verdict;
        let late = |event: &&Event| match &event.whole {
            Ok(took) => took.is_some_and(|took| took > self.whole_within),
            Err(_) => true,
        };
        let late = self.events.iter().filter(late).count();
        let slowest =
            self.slowest().map_or("cannot be told".to_string(), |took| format!("{:.1} s at most", took.as_secs_f64()));
        let silent = self.silent();
        let least = self.measured.clone().filter_map(|s| self.seconds.all.get(s)).map(|s| s.done).min().unwrap_or(0);
        let mut held = vec![
            none("acknowledged writes lost", verdict.lost.len()),
            none("replaced values resurrected", verdict.resurrected.len()),
            none("false words", verdict.false_words.len()),
            none("strange values", verdict.strange.len()),
            none("strict reads that missed what was acknowledged before", verdict.missed.len()),
            none("keys that cannot be read at the end", verdict.unread.len()),
            Held {
                what: "whole in time after each fault",
                held: late == 0,
                figure: if late == 0 { slowest } else { format!("{late} of {} not", self.events.len()) },
            },
            Held {
                what: "seconds without an answer while there was a quorum",
                held: silent.is_empty(),
                figure: format!("{}; the poorest second had {least}", silent.len()),
            },
            Held {
                what: "owners' copies equal at the end",
                held: self.equal.is_ok(),
                figure: self
                    .equal
                    .clone()
                    .map_or_else(|why| why, |seen| if seen { "yes" } else { "cannot be told" }.into()),
            },
        ];
        held.push(none("what should not have happened", self.troubles.len()));
        held
    }

    /// Whether all of it held.
    pub(crate) fn all_held(&self) -> bool {
        self.held().iter().all(|held| held.held)
    }
}

impl Event {
    /// When all was whole, or was given up.
    pub(crate) fn end(&self) -> f64 {
        self.until + self.whole.clone().ok().flatten().map_or(0.0, |took| took.as_secs_f64())
    }
}
