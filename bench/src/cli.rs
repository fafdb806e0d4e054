//! The command line, as it is written; `plan.rs` checks what it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::dynode::Quorum;
use crate::units::{parse_count, parse_duration, parse_rate, parse_share};
use crate::workload::{Distribution, Mix, YCSB_VALUE_SIZE};

/// Load generator for dynode: YCSB workloads, latencies without coordinated omission, and an audit of acknowledged
/// writes.
///
/// A first measurement: `dynode-bench load --records 100k`, then `dynode-bench run --workload a --duration 30s`. The
/// closed loop (the default) finds the highest throughput; for latencies give a `--rate` well below it: they then
/// count from when an operation was due, not from when the generator got round to it.
#[derive(Debug, Parser)]
#[command(name = "dynode-bench", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Insert the records of the YCSB workloads: keys `user<hash of 0..n>`
    ///
    /// Insertions are blind: loading a second time leaves siblings, unless --replace is given.
    Load(LoadArgs),
    /// Run a YCSB workload over records that were loaded before
    Run(RunArgs),
    /// Put fresh keys, blind
    Put(MicroArgs),
    /// Get records that were loaded before
    Get(GetArgs),
    /// Write, and check at the end that no acknowledged write is missing
    ///
    /// Writers put unique values that say what they replace, and keep a journal; nodes may be killed meanwhile. At the
    /// end every key is read. Exit code 1 if an acknowledged write is lost, a replaced value is back, or a write that
    /// was called failed is there. The bucket must keep siblings, as buckets do by default.
    Audit(AuditArgs),
    /// Compare two reports that --json wrote
    Compare(CompareArgs),
}

/// Where, and how consistently.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct StoreArgs {
    /// A node to begin with; repeat it for more
    #[arg(long = "node", value_name = "HOST:PORT", default_value = "127.0.0.1:7100")]
    pub nodes: Vec<String>,
    /// The bucket
    #[arg(long, default_value = "bench")]
    pub bucket: String,
    /// Copies to read: one, quorum, all or a number
    #[arg(long, value_name = "QUORUM", default_value = "quorum")]
    pub r: Quorum,
    /// Copies that must acknowledge a write: one, quorum, all or a number
    #[arg(long, value_name = "QUORUM", default_value = "quorum")]
    pub w: Quorum,
    /// Count owners only, no stand-ins
    #[arg(long)]
    pub strict: bool,
    /// Time for one request, the client's retries included
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub timeout: Duration,
    /// Connections of each thread to each node
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64), default_value = "1")]
    pub connections: u64,
}

/// How fast and how long.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pace")]
pub struct PaceArgs {
    /// Operations in flight, over all threads; in an open loop at most so many [default: 64; with --rate 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub in_flight: Option<u64>,
    /// Open loop: start so many operations a second, whatever becomes of those before
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// How the operations of the open loop arrive
    #[arg(long, value_enum, default_value = "constant", requires = "rate")]
    pub arrivals: Arrivals,
    /// Run so long before measuring
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    pub warmup: Duration,
    /// Threads, each with connections of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024), default_value = "1")]
    pub threads: u64,
    /// Where chance begins: one seed and one thread is one sequence of operations
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
}

/// When to end.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pace")]
pub struct LengthArgs {
    /// Measure so many operations [default: until --duration is over]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub operations: Option<u64>,
    /// Measure so long [default: 10s without --operations]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
}

/// Arrivals of the open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// At random, independent of each other.
    Poisson,
}

/// What comes out.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the report as JSON; `-` is stdout (the table then goes to stderr)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write each interval's histograms as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Length of the intervals in the log and the JSON
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    pub interval: Duration,
    /// What to call this run in its report
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The commit that is measured, for the report
    #[arg(long, value_name = "HASH", env = "DYNODE_COMMIT")]
    pub commit: Option<String>,
    /// No progress and no table
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit code 0 even if there were errors
    #[arg(long)]
    pub allow_errors: bool,
    /// No store: every operation succeeds at once. Measures the generator itself
    #[arg(long)]
    pub dry: bool,
}

/// `load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Records
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "100k")]
    pub records: u64,
    /// Bytes of a value; YCSB's records have 10 fields of 100 bytes
    #[arg(long, value_name = "BYTES", value_parser = parse_count, default_value_t = YCSB_VALUE_SIZE as u64)]
    pub value_size: u64,
    /// Write over what is there, instead of beside it
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pace: PaceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The YCSB core workload
    #[arg(long, value_enum)]
    pub workload: Mix,
    /// Records that were loaded
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "100k")]
    pub records: u64,
    /// Which records are asked for [default: that of the workload]
    #[arg(long, value_enum)]
    pub distribution: Option<Distribution>,
    /// Bytes of a value; YCSB's records have 10 fields of 100 bytes
    #[arg(long, value_name = "BYTES", value_parser = parse_count, default_value_t = YCSB_VALUE_SIZE as u64)]
    pub value_size: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub length: LengthArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pace: PaceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `put`.
#[derive(Debug, Clone, Args)]
pub struct MicroArgs {
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", value_parser = parse_count, default_value = "128")]
    pub value_size: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub length: LengthArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pace: PaceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `get`.
#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// Records that were loaded
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "100k")]
    pub records: u64,
    /// Which records are asked for
    #[arg(long, value_enum, default_value = "uniform")]
    pub distribution: Distribution,
    /// Bytes of a value, for the report
    #[arg(long, value_name = "BYTES", value_parser = parse_count, default_value = "128")]
    pub value_size: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub length: LengthArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pace: PaceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Write so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// Write so often, if that is over sooner
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub writes: Option<u64>,
    /// Keys; fewer mean more writers at the same key
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value = "100")]
    pub keys: u32,
    /// Writers at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), default_value = "32")]
    pub writers: u32,
    /// Writes a second, all writers together [default: as many as it takes]
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Bytes of a value at least
    #[arg(long, value_name = "BYTES", value_parser = parse_count, default_value = "128")]
    pub value_size: u64,
    /// Where chance begins
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Read keys that are not right again for so long: hand-offs may still be under way
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub settle: Duration,
    /// Copies to read at the end
    #[arg(long, value_name = "QUORUM", default_value = "quorum")]
    pub final_r: Quorum,
    /// Write the journal, for --check
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Write nothing; check the cluster against the journal of an earlier audit
    #[arg(long, value_name = "FILE", conflicts_with_all = ["journal", "duration", "writes", "keys", "writers", "rate", "seed"])]
    pub check: Option<PathBuf>,
    /// Write the verdict as JSON; `-` is stdout (the text then goes to stderr)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress and no text
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
}

/// `compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The first report
    pub first: PathBuf,
    /// The second, which is judged
    pub second: PathBuf,
    /// Exit code 1 if a rate, mean, median, p90 or p99 is worse by more than this, or errors are
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub fail_over: Option<f64>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_people_write_is_understood() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        for line in [
            "dynode-bench load --records 1_000 --value-size 128",
            "dynode-bench run --workload a --duration 30s --rate 5k/s --arrivals poisson --r one --w all",
            "dynode-bench put --value-size 128 --in-flight 64 --operations 2M --node a:1 --node b:2",
            "dynode-bench get --distribution zipfian --json -",
            "dynode-bench audit --duration 30s --journal j.jsonl",
            "dynode-bench audit --check j.jsonl",
            "dynode-bench compare a.json b.json --fail-over 10%",
        ] {
            if let Err(e) = parse(line) {
                panic!("{line}: {e}");
            }
        }
        for line in [
            "dynode-bench",
            "dynode-bench run",
            "dynode-bench run --workload g",
            "dynode-bench run --workload load",
            "dynode-bench put --in-flight 0",
            "dynode-bench put --rate 0",
            "dynode-bench put --arrivals poisson",
            "dynode-bench get --r none",
            "dynode-bench audit --check j.jsonl --keys 3",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
