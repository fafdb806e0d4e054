//! What became of many items: counts, latencies, troubles; as a table and as JSON.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{Finished, Outcome, Trouble};
use crate::cli::table::{Cell, Table};
use crate::cli::units;

/// Troubles that are kept with their names: a list that people read, and programs up to here.
const TROUBLES_MAX: usize = 1000;

/// Troubles named in a table.
const TROUBLES_SHOWN: usize = 10;

/// Latencies are kept up to an hour, with three digits.
const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

/// What became of many items.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Items carried.
    pub done: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// From first to last.
    pub time: Duration,
    /// Done or left out, but worth a word: how many of each kind.
    pub notes: BTreeMap<&'static str, u64>,
    /// Not done: how many of each kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Nothing got through any more: further items were not tried.
    pub gave_up: bool,
    /// The first of the errors with their names.
    pub troubles: Vec<Trouble>,
    latency: Option<Histogram<u64>>,
    began: Instant,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

impl Tally {
    /// Nothing yet; the time begins.
    pub fn new() -> Tally {
        Tally {
            done: 0,
            bytes: 0,
            retries: 0,
            time: Duration::ZERO,
            notes: BTreeMap::new(),
            errors: BTreeMap::new(),
            gave_up: false,
            troubles: Vec::new(),
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3).ok(),
            began: Instant::now(),
        }
    }

    /// Counts one.
    pub fn take(&mut self, finished: Finished) {
        let Finished { bytes, latency, retries, note, outcome } = finished;
        self.retries += u64::from(retries);
        if let Some(note) = note {
            *self.notes.entry(note).or_default() += 1;
        }
        match outcome {
            Outcome::LeftOut => {}
            Outcome::Done => {
                self.done += 1;
                self.bytes += bytes;
                if let Some(histogram) = &mut self.latency {
                    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
                }
            }
            Outcome::Failed(trouble) => {
                *self.errors.entry(trouble.kind).or_default() += 1;
                if self.troubles.len() < TROUBLES_MAX {
                    self.troubles.push(trouble);
                }
            }
        }
    }

    pub(super) fn ended(mut self) -> Tally {
        self.time = self.began.elapsed();
        self
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The latency that this part (0 to 1) of the items did not exceed.
    pub fn latency(&self, part: f64) -> Duration {
        let micros = self.latency.as_ref().map_or(0, |histogram| histogram.value_at_quantile(part));
        Duration::from_micros(micros)
    }

    /// Takes in another tally, whose time follows on this one's.
    pub fn add(&mut self, other: Tally) {
        self.done += other.done;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.time += other.time;
        self.gave_up |= other.gave_up;
        other.notes.into_iter().for_each(|(note, count)| *self.notes.entry(note).or_default() += count);
        other.errors.into_iter().for_each(|(kind, count)| *self.errors.entry(kind).or_default() += count);
        let room = TROUBLES_MAX.saturating_sub(self.troubles.len());
        self.troubles.extend(other.troubles.into_iter().take(room));
        if let (Some(histogram), Some(others)) = (&mut self.latency, &other.latency) {
            // Both have the same bounds.
            let _ = histogram.add(others);
        }
    }

    /// `p50 1.2 ms  p90 …`.
    pub fn latencies(&self) -> String {
        let figures = QUANTILES.iter().map(|(name, part)| format!("{name} {}", units::time(self.latency(*part))));
        figures.collect::<Vec<_>>().join("   ")
    }

    /// The summary for people. `verb` is what was done: `imported`.
    pub fn render(&self, verb: &str) -> String {
        let mut table = Table::pairs();
        table.pair(verb, units::counted(self.done, "file"));
        table.pair("bytes", units::bytes(self.bytes));
        table.pair("time", units::time(self.time));
        let rate = units::rate("files", self.done, self.time);
        table.pair("rate", format!("{rate}, {}", units::byte_rate(self.bytes, self.time)));
        if self.done > 0 {
            table.pair("latency", self.latencies());
        }
        if self.retries > 0 {
            table.pair("retries", units::count(self.retries));
        }
        for (note, count) in &self.notes {
            table.pair("note", Cell::notable(format!("{}: {}", note.replace('_', " "), units::count(*count))));
        }
        match self.failed() {
            0 => table.pair("errors", Cell::good("0")),
            failed => table.pair("errors", Cell::bad(units::count(failed))),
        };
        for (kind, count) in &self.errors {
            table.pair("", Cell::bad(format!("{}: {}", kind.replace('_', " "), units::count(*count))));
        }
        let mut text = table.render();
        if !self.troubles.is_empty() {
            text.push('\n');
        }
        for trouble in self.troubles.iter().take(TROUBLES_SHOWN) {
            text.push_str(&format!("{}: {}\n", trouble.name, trouble.detail));
        }
        let more = self.failed().saturating_sub(TROUBLES_SHOWN as u64);
        if more > 0 {
            text.push_str(&format!("and {} more; --json names {TROUBLES_MAX}\n", units::count(more)));
        }
        if self.gave_up {
            text.push_str(
                "Nothing got through any more: the rest was not tried. See `dynode status` for who is down.\n",
            );
        }
        text
    }

    /// The summary for programs.
    pub fn as_json(&self) -> Value {
        let latency: serde_json::Map<String, Value> = QUANTILES
            .iter()
            .map(|(name, part)| (format!("{name}_us"), json!(self.latency(*part).as_micros() as u64)))
            .collect();
        json!({
            "files": self.done,
            "bytes": self.bytes,
            "seconds": self.time.as_secs_f64(),
            "latency": latency,
            "retries": self.retries,
            "notes": self.notes,
            "gave_up": self.gave_up,
            "errors": self.failed(),
            "errors_by_kind": self.errors,
            "troubles": self.troubles,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(millis: u64) -> Finished {
        let latency = Duration::from_millis(millis);
        Finished { bytes: 10, latency, retries: 0, note: None, outcome: Outcome::Done }
    }

    #[test]
    fn all_is_counted_and_errors_are_named() {
        let mut tally = Tally::new();
        (1..=100).for_each(|n| tally.take(finished(n)));
        tally.take(Finished::failed(Trouble::new("missing", b"a/b", "not found")));
        tally.take(Finished::left_out("skipped_large"));
        assert_eq!((tally.done, tally.bytes, tally.failed()), (100, 1000, 1));
        let p50 = tally.latency(0.5).as_millis();
        assert!((49..=51).contains(&p50), "{p50}");
        let text = anstream::adapter::strip_str(&tally.render("imported")).to_string();
        for words in ["100 files", "missing: 1", "a/b: not found", "skipped large: 1"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let document = tally.as_json();
        assert_eq!((&document["files"], &document["errors_by_kind"]["missing"]), (&json!(100), &json!(1)));
        let mut both = tally.clone();
        both.add(tally);
        assert_eq!((both.done, both.failed(), both.notes["skipped_large"]), (200, 2, 2));
    }
}
