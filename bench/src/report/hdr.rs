//! The HdrHistogram log: every interval's histograms, tagged by operation, as the usual viewers read them.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::run::Interval;

/// The log's unit of maxima: milliseconds, as the histograms hold nanoseconds.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// Writes a log of intervals to a file, each as it comes.
pub struct HdrLog<W: Write> {
    out: W,
    begun: Option<SystemTime>,
    failed: Option<String>,
}

impl HdrLog<std::io::BufWriter<std::fs::File>> {
    /// Makes the file.
    pub fn create(path: &Path, begun: SystemTime) -> Result<Self, String> {
        let file = std::fs::File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(HdrLog::new(std::io::BufWriter::new(file), begun))
    }
}

impl<W: Write> HdrLog<W> {
    /// A log of a run that began at `begun`.
    pub fn new(out: W, begun: SystemTime) -> HdrLog<W> {
        HdrLog { out, begun: Some(begun), failed: None }
    }

    /// Writes one interval. An error is kept until [`HdrLog::end`].
    pub fn interval(&mut self, interval: &Interval) {
        if self.failed.is_none() {
            self.failed = self.write(interval).err();
        }
    }

    /// Ends the log, and says whether all of it is written.
    pub fn end(mut self) -> Result<W, String> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.out.flush().map_err(|e| e.to_string())?;
        Ok(self.out)
    }

    fn write(&mut self, interval: &Interval) -> Result<(), String> {
        let mut serializer = V2DeflateSerializer::new();
        // A new writer an interval, as the crate's own borrows its parts; only the first writes a header.
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(MAX_VALUE_DIVISOR);
        if let Some(begun) = self.begun.take() {
            builder.add_comment("[Logged by dynode-bench: latencies in nanoseconds, maxima in milliseconds]");
            builder.with_start_time(begun).with_base_time(begun);
        }
        let mut text = Vec::new();
        let mut writer = builder.begin_log_with(&mut text, &mut serializer).map_err(|e| e.to_string())?;
        let from = Duration::from_nanos(interval.from);
        let length = Duration::from_nanos(interval.until.saturating_sub(interval.from));
        for series in interval.record.all() {
            let name = series.error.map_or(series.op.to_string(), |error| format!("{}:{error}", series.op));
            let written = writer.write_histogram(&series.latency, from, length, Tag::new(&name));
            written.map_err(|e| format!("cannot write the HdrHistogram log: {e:?}"))?;
        }
        self.out.write_all(&text).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::measure::Record;
    use crate::workload::Op;

    #[test]
    fn a_log_reads_back_with_tags_times_and_counts() {
        let mut log = HdrLog::new(Vec::new(), UNIX_EPOCH + Duration::from_secs(1_000));
        for number in 0..3_u64 {
            let mut record = Record::default();
            (0..=number).for_each(|i| record.done(Op::Read, 1_000_000 * (i + 1)));
            record.failed(Op::Update, "timed_out", 5_000_000);
            let (from, until) = (number * 1_000_000_000, (number + 1) * 1_000_000_000);
            log.interval(&Interval { number, from, until, record });
        }
        let bytes = log.end().expect("in memory");
        let mut intervals = Vec::new();
        let mut headers = 0;
        for entry in IntervalLogIterator::new(&bytes) {
            match entry.expect("a line that the crate reads") {
                LogEntry::Interval(i) => intervals.push(i),
                LogEntry::StartTime(t) | LogEntry::BaseTime(t) => {
                    headers += 1;
                    assert_eq!(t, Duration::from_secs(1_000));
                }
            }
        }
        assert_eq!(headers, 2);
        let read: Vec<_> = intervals.iter().filter(|i| i.tag().is_some_and(|t| t.as_str() == "read")).collect();
        assert_eq!((intervals.len(), read.len()), (6, 3));
        assert_eq!(read[2].start_timestamp(), Duration::from_secs(2));
        assert_eq!(read[2].duration(), Duration::from_secs(1));
        let coded = base64::engine::general_purpose::STANDARD.decode(read[2].encoded_histogram()).expect("base64");
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut coded.as_slice()).expect("a histogram");
        assert_eq!(histogram.len(), 3);
        assert!(intervals.iter().any(|i| i.tag().is_some_and(|t| t.as_str() == "update:timed_out")));
    }
}
