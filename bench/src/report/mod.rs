//! The report of a run: everything it was and everything it measured, as JSON that later versions can read.

pub mod compare;
pub mod hdr;
pub mod table;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::measure::{Record, Stats, histogram};
use crate::run::limit::Load;
use crate::run::{Interval, Outcome};
use crate::units;
use crate::workload::{Distribution, Mix};

/// The version of the JSON. A report with another one is refused; new fields do not need a new one.
pub const FORMAT: u32 = 1;

/// What a run was told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The operations.
    pub workload: Mix,
    /// Which records they are about.
    pub distribution: Distribution,
    /// Records that were loaded before.
    pub records: u64,
    /// Bytes of a value.
    pub value_size: usize,
    /// The nodes to begin with; none: no store at all.
    pub nodes: Vec<String>,
    /// The bucket.
    pub bucket: String,
    /// Copies to read.
    pub r: String,
    /// Copies to write.
    pub w: String,
    /// Owners only.
    pub strict: bool,
    /// Time for one request, in milliseconds.
    pub timeout_ms: u64,
    /// Connections of a thread to a node.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Operations in flight, or at most so many in an open loop.
    pub in_flight: usize,
    /// Operations a second in an open loop; none: closed loop.
    pub rate: Option<f64>,
    /// Arrivals at random.
    pub poisson: bool,
    /// Seconds before measuring.
    pub warmup_seconds: f64,
    /// Seconds to measure.
    pub duration_seconds: Option<f64>,
    /// Operations to measure.
    pub operations: Option<u64>,
    /// Where chance begins.
    pub seed: u64,
}

/// Latencies of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// The operation.
    pub op: String,
    /// The kind of error; none: those that went well.
    pub error: Option<String>,
    /// The figures.
    #[serde(flatten)]
    pub stats: Stats,
    /// All of them: an HdrHistogram of nanoseconds, V2 without compression, in base64.
    pub histogram: String,
}

/// One interval in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Its beginning, in seconds since the start (warm-up included).
    pub from_seconds: f64,
    /// Its length.
    pub seconds: f64,
    /// Operations that ended in it.
    pub operations: u64,
    /// Errors among them.
    pub errors: u64,
    /// Median of those that went well.
    pub p50_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// Most.
    pub max_ns: u64,
}

/// All there is to say about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// See [`FORMAT`].
    pub format: u32,
    /// Of dynode-bench.
    pub version: String,
    /// Of the source, when it was known.
    pub commit: Option<String>,
    /// What the person who ran it calls it.
    pub label: Option<String>,
    /// When it started.
    pub started: String,
    /// The same, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// What it was told to do.
    pub config: Config,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Operations; a read-modify-write is one.
    pub operations: u64,
    /// Operations a second, errors included.
    pub rate: f64,
    /// Errors of all kinds. The one of a part of a read-modify-write counts for the part and for the whole.
    pub errors: u64,
    /// By operation and error.
    pub latencies: Vec<Latencies>,
    /// Details of a few errors.
    pub first_errors: Vec<String>,
    /// Reads that found several siblings.
    pub siblings: u64,
    /// Open loop: started late as all slots were in flight.
    pub held_back: u64,
    /// Open loop: due before the end, never started.
    pub never_started: u64,
    /// How busy the generator was.
    pub generator: Load,
    /// Why the figures are about the generator or its machine rather than the target, when they are.
    pub complaints: Vec<String>,
    /// It was ended before its time.
    pub stopped: bool,
    /// How it went on.
    pub intervals: Vec<Moment>,
}

/// What a report says of itself.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// See [`Report::commit`].
    pub commit: Option<String>,
    /// See [`Report::label`].
    pub label: Option<String>,
    /// See [`Report::started_unix_ms`].
    pub started_unix_ms: u64,
}

impl Report {
    /// Of a run that has ended.
    pub fn new(origin: Origin, config: Config, outcome: &Outcome, intervals: Vec<Moment>) -> Report {
        let record = &outcome.record;
        let latencies = record.all().into_iter().map(|series| Latencies {
            op: series.op.to_string(),
            error: series.error.map(str::to_string),
            stats: Stats::of(&series.latency, outcome.seconds),
            histogram: encode(&series.latency),
        });
        let generator = Load::of(outcome);
        Report {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            commit: origin.commit,
            label: origin.label,
            started: units::moment(origin.started_unix_ms),
            started_unix_ms: origin.started_unix_ms,
            config,
            seconds: outcome.seconds,
            operations: record.begun,
            rate: if outcome.seconds > 0.0 { record.begun as f64 / outcome.seconds } else { 0.0 },
            errors: record.errors(),
            latencies: latencies.collect(),
            first_errors: outcome.first_errors.iter().map(ToString::to_string).collect(),
            siblings: record.siblings,
            held_back: record.held_back,
            never_started: record.never_started,
            complaints: generator.complaints(),
            generator,
            stopped: outcome.stopped,
            intervals,
        }
    }

    /// Reads a report.
    pub fn from_json(text: &str) -> Result<Report, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let not_one = |e| format!("this is not a report that `dynode-bench … --json FILE` wrote: {e}");
        let version: Version = serde_json::from_str(text).map_err(not_one)?;
        if version.format != FORMAT {
            let theirs = version.format;
            return Err(format!("the report has format {theirs}, and this dynode-bench reads format {FORMAT}"));
        }
        serde_json::from_str(text).map_err(not_one)
    }

    /// Latencies of one kind.
    pub fn of(&self, op: &str, error: Option<&str>) -> Option<&Latencies> {
        self.latencies.iter().find(|l| l.op == op && l.error.as_deref() == error)
    }
}

impl Moment {
    /// Of an interval.
    pub fn of(interval: &Interval) -> Moment {
        let well = well(&interval.record);
        let stats = Stats::of(&well, 1.0);
        Moment {
            from_seconds: interval.from as f64 / 1e9,
            seconds: (interval.until - interval.from) as f64 / 1e9,
            operations: interval.record.begun,
            errors: interval.record.errors(),
            p50_ns: stats.p50_ns,
            p99_ns: stats.p99_ns,
            max_ns: stats.max_ns,
        }
    }
}

/// All latencies of what went well, together.
pub fn well(record: &Record) -> Histogram<u64> {
    let mut all = histogram();
    for series in record.all().into_iter().filter(|s| s.error.is_none()) {
        all.add(&series.latency).expect("all histograms have the same bounds");
    }
    all
}

/// A histogram as text.
pub fn encode(latency: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    let written = V2Serializer::new().serialize(latency, &mut bytes);
    written.expect("a histogram of these bounds fits in memory");
    STANDARD.encode(bytes)
}

/// A histogram from text.
pub fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("not base64: {e}"))?;
    let read = Deserializer::new().deserialize(&mut bytes.as_slice());
    read.map_err(|e| format!("not an HdrHistogram: {e:?}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::ThreadTime;
    use crate::run::LaneTime;
    use crate::target::{Changed, Failed};
    use crate::workload::Op;

    pub(crate) fn config() -> Config {
        Config {
            workload: Mix::A,
            distribution: Distribution::Zipfian,
            records: 1_000,
            value_size: 1_000,
            nodes: vec!["127.0.0.1:7100".into()],
            bucket: "bench".into(),
            r: "quorum".into(),
            w: "quorum".into(),
            strict: false,
            timeout_ms: 5_000,
            connections: 1,
            threads: 1,
            in_flight: 64,
            rate: None,
            poisson: false,
            warmup_seconds: 0.0,
            duration_seconds: Some(10.0),
            operations: None,
            seed: 1,
        }
    }

    /// Latencies of 1 ms to 10 ms times `slowness`, `slowness` errors.
    pub(crate) fn report(slowness: u64) -> Report {
        let mut record = Record::default();
        for i in 0..1_000 {
            record.begun += 1;
            record.done(if i % 2 == 0 { Op::Read } else { Op::Update }, slowness * 10_000 * (100 + i));
        }
        for _ in 1..slowness {
            record.begun += 1;
            record.failed(Op::Update, "overloaded", 2_000_000);
        }
        let lane = LaneTime { wall: 10, thread: ThreadTime { busy: Some(5), waited: Some(0) } };
        let failed = Failed { kind: "overloaded", changed: Changed::Nothing, detail: "too much is waiting".into() };
        let outcome = Outcome {
            record,
            seconds: 10.0 * slowness as f64,
            lanes: vec![lane],
            first_errors: if slowness > 1 { vec![failed] } else { Vec::new() },
            stopped: false,
        };
        let origin = Origin { started_unix_ms: 1_735_689_600_000, ..Origin::default() };
        Report::new(origin, config(), &outcome, Vec::new())
    }

    #[test]
    fn json_there_and_back_is_the_same() {
        let report = report(2);
        let text = serde_json::to_string_pretty(&report).expect("JSON");
        assert_eq!(Report::from_json(&text), Ok(report));
        assert!(text.contains("\"p99.9_ns\"") || text.contains("\"p99_9_ns\""));
    }

    #[test]
    fn histograms_keep_every_count() {
        let mut latency = histogram();
        (1..50_000_u64).for_each(|i| latency.saturating_record(i * i));
        assert_eq!(decode(&encode(&latency)), Ok(latency));
        assert!(decode("%").is_err() && decode("AAAA").is_err());
    }

    #[test]
    fn what_is_no_report_is_refused_with_a_reason() {
        assert!(Report::from_json("[1]").is_err_and(|e| e.contains("not a report")));
        assert!(Report::from_json("{\"format\": 99}").is_err_and(|e| e.contains("format 99")));
        assert!(Report::from_json("{\"format\": 1}").is_err_and(|e| e.contains("missing field")));
    }
}
