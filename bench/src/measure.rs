//! Measurements: histograms by operation and by error, kept by one thread at a time and merged when an interval ends.
//!
//! Nothing here is shared, so recording takes no lock. Values are nanoseconds, to three significant digits.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::workload::Op;

/// The largest latency that is told apart: an hour. What takes longer is recorded as an hour.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Three digits: a p99.99 of 12.3 ms is not 12.4 ms, at 270 KB a histogram.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// The quantiles of every report.
pub const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// An empty histogram of latencies.
pub fn histogram() -> Histogram<u64> {
    let made = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS);
    made.expect("the bounds are constants that a histogram takes")
}

/// Latencies of one kind of operation, or of one kind of its errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The operation.
    pub op: Op,
    /// The kind of error; `None`: those that went well.
    pub error: Option<&'static str>,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

/// What one thread, or all of them together, have measured.
#[derive(Debug, Clone, Default)]
pub struct Record {
    series: Vec<Series>,
    lag: Option<Histogram<u64>>,
    /// Operations begun, whatever became of them; the parts of a read-modify-write are not counted.
    pub begun: u64,
    /// Operations of the open loop that started late because all slots were in flight: the target's doing.
    pub held_back: u64,
    /// Operations of the open loop that were due before the end, but never started.
    pub never_started: u64,
    /// Reads that found several siblings.
    pub siblings: u64,
    /// When the last operation ended, in nanoseconds since the start.
    pub last_end: u64,
}

impl Record {
    /// An operation that went well.
    pub fn done(&mut self, op: Op, latency: u64) {
        self.series(op, None).latency.saturating_record(latency);
    }

    /// An operation that did not.
    pub fn failed(&mut self, op: Op, kind: &'static str, latency: u64) {
        self.series(op, Some(kind)).latency.saturating_record(latency);
    }

    /// How late the generator itself started an operation.
    pub fn late(&mut self, lag: u64) {
        self.lag.get_or_insert_with(histogram).saturating_record(lag);
    }

    /// What has been measured, in the order of operations, errors after what went well.
    pub fn all(&self) -> Vec<&Series> {
        let mut all: Vec<&Series> = self.series.iter().filter(|s| !s.latency.is_empty()).collect();
        all.sort_by_key(|s| (s.op, s.error));
        all
    }

    /// One kind, when there is any of it.
    pub fn of(&self, op: Op, error: Option<&str>) -> Option<&Histogram<u64>> {
        self.series.iter().find(|s| s.op == op && s.error == error && !s.latency.is_empty()).map(|s| &s.latency)
    }

    /// The generator's own lateness, in an open loop.
    pub fn lag(&self) -> Option<&Histogram<u64>> {
        self.lag.as_ref().filter(|lag| !lag.is_empty())
    }

    /// The number of errors of all kinds.
    pub fn errors(&self) -> u64 {
        self.series.iter().filter(|s| s.error.is_some()).map(|s| s.latency.len()).sum()
    }

    /// Adds what another has measured.
    pub fn merge(&mut self, other: &Record) {
        for theirs in &other.series {
            let ours = self.series(theirs.op, theirs.error);
            ours.latency.add(&theirs.latency).expect("all histograms have the same bounds");
        }
        if let Some(lag) = &other.lag {
            self.lag.get_or_insert_with(histogram).add(lag).expect("all histograms have the same bounds");
        }
        self.begun += other.begun;
        self.held_back += other.held_back;
        self.never_started += other.never_started;
        self.siblings += other.siblings;
        self.last_end = self.last_end.max(other.last_end);
    }

    /// What has been measured since the last call. Leaves histograms behind for what comes next.
    pub fn take(&mut self) -> Record {
        let next = Record {
            series: self.series.iter().map(|s| Series { op: s.op, error: s.error, latency: histogram() }).collect(),
            lag: self.lag.as_ref().map(|_| histogram()),
            ..Record::default()
        };
        std::mem::replace(self, next)
    }

    fn series(&mut self, op: Op, error: Option<&'static str>) -> &mut Series {
        // A handful at most: going through them is cheaper than hashing.
        let at = self.series.iter().position(|s| s.op == op && s.error == error);
        let at = at.unwrap_or_else(|| {
            self.series.push(Series { op, error, latency: histogram() });
            self.series.len() - 1
        });
        &mut self.series[at]
    }
}

/// The figures of one histogram, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// How many.
    pub count: u64,
    /// How many a second.
    pub rate: f64,
    /// Mean.
    pub mean_ns: f64,
    /// Least.
    pub min_ns: u64,
    /// Half were at most this.
    pub p50_ns: u64,
    /// 90 %.
    pub p90_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// 99.9 %.
    pub p99_9_ns: u64,
    /// 99.99 %.
    pub p99_99_ns: u64,
    /// Most.
    pub max_ns: u64,
}

impl Stats {
    /// Of what was measured in `seconds`.
    pub fn of(latency: &Histogram<u64>, seconds: f64) -> Stats {
        if latency.is_empty() {
            return Stats::default();
        }
        let at = |q: f64| latency.value_at_quantile(q).min(latency.max());
        Stats {
            count: latency.len(),
            rate: if seconds > 0.0 { latency.len() as f64 / seconds } else { 0.0 },
            mean_ns: latency.mean(),
            min_ns: latency.min(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            p99_99_ns: at(0.9999),
            max_ns: latency.max(),
        }
    }

    /// Mean, the quantiles of [`QUANTILES`], and the maximum, with their names.
    pub fn figures(&self) -> [(&'static str, f64); 7] {
        [
            ("mean", self.mean_ns),
            ("p50", self.p50_ns as f64),
            ("p90", self.p90_ns as f64),
            ("p99", self.p99_ns as f64),
            ("p99.9", self.p99_9_ns as f64),
            ("p99.99", self.p99_99_ns as f64),
            ("max", self.max_ns as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_threads_is_as_if_one_had_measured_all() {
        let (mut one, mut a, mut b) = (Record::default(), Record::default(), Record::default());
        for i in 0..20_000_u64 {
            let latency = 1_000 + i * i % 7_777_777;
            let part = if i % 3 == 0 { &mut a } else { &mut b };
            for record in [part, &mut one] {
                record.begun += 1;
                if i % 50 == 0 {
                    record.failed(Op::Read, "timed_out", latency);
                } else {
                    record.done(if i % 2 == 0 { Op::Read } else { Op::Update }, latency);
                }
                record.late(i);
            }
        }
        a.merge(&b);
        assert_eq!(a.begun, 20_000);
        assert_eq!(a.errors(), 400);
        assert_eq!(a.all(), one.all());
        assert_eq!(a.lag(), one.lag());
        assert_eq!(a.all().iter().map(|s| s.latency.len()).sum::<u64>(), 20_000);
    }

    #[test]
    fn taking_leaves_nothing_behind_and_loses_nothing() {
        let mut record = Record::default();
        let mut total = Record::default();
        for i in 0..100 {
            record.begun += 1;
            record.done(Op::Read, 1_000 * (i + 1));
            if i % 10 == 9 {
                total.merge(&record.take());
                assert!(record.all().is_empty());
            }
        }
        assert_eq!(total.of(Op::Read, None).map(|h| h.len()), Some(100));
        assert_eq!(total.begun, 100);
    }

    #[test]
    fn figures_of_a_known_distribution() {
        let mut latency = histogram();
        for i in 1..=10_000_u64 {
            latency.saturating_record(i * 1_000);
        }
        let stats = Stats::of(&latency, 2.0);
        assert_eq!(stats.count, 10_000);
        assert!((stats.rate - 5_000.0).abs() < 1e-9);
        for (value, wanted) in
            [(stats.p50_ns, 5.0e6), (stats.p90_ns, 9.0e6), (stats.p99_ns, 9.9e6), (stats.p99_99_ns, 9.999e6)]
        {
            assert!((value as f64 / wanted - 1.0).abs() < 1e-3, "{value} for {wanted}");
        }
        assert!((stats.max_ns as f64 / 1e7 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn an_hour_and_more_is_an_hour() {
        let mut record = Record::default();
        record.done(Op::Read, u64::MAX);
        let stats = Stats::of(record.of(Op::Read, None).unwrap_or(&histogram()), 1.0);
        assert!((stats.max_ns as f64 / LATENCY_NS_MAX as f64 - 1.0).abs() < 1e-3);
    }
}
