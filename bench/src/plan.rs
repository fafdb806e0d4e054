//! What a command line means, checked: from here on nothing can be asked for that makes no sense.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::{Arrivals, GetArgs, LengthArgs, LoadArgs, MicroArgs, OutputArgs, PaceArgs, RunArgs, StoreArgs};
use crate::clock::nanos;
use crate::dynode::Cluster;
use crate::report::Config;
use crate::run::Pace;
use crate::run::lane::Limits;
use crate::workload::{Distribution, Mix, Workload};

/// What dynode takes as a value.
pub const VALUE_BYTES_MAX: u64 = 8 << 20;

/// Records at most: YCSB's `latest` adds up a term for each, and its hash folds ten thousand million onto them.
pub const RECORDS_MAX: u64 = 10_000_000_000;

/// In flight in a closed loop.
const CLOSED_IN_FLIGHT: u64 = 64;
/// At most in flight in an open loop.
const OPEN_IN_FLIGHT: u64 = 1_024;
/// Room for requests on a connection at least, so that the client's own always have some.
const IN_FLIGHT_MIN: usize = 1_024;
/// Measured when nothing is said.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// The shortest interval: each costs a few histograms.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// A run to be made.
#[derive(Debug)]
pub struct Plan {
    /// The store; `None`: none at all.
    pub cluster: Option<Cluster>,
    /// The operations.
    pub workload: Arc<Workload>,
    /// How fast.
    pub pace: Pace,
    /// Until when.
    pub limits: Arc<Limits>,
    /// What goes into the report.
    pub config: Config,
    /// What comes out.
    pub output: OutputArgs,
}

struct Parts<'a> {
    mix: Mix,
    distribution: Distribution,
    records: u64,
    value_size: u64,
    replace: bool,
    operations: Option<u64>,
    duration: Option<Duration>,
    store: &'a StoreArgs,
    pace: &'a PaceArgs,
    output: &'a OutputArgs,
}

impl Plan {
    /// `load`. `run` is a word that no other run has.
    pub fn load(args: &LoadArgs, run: &str) -> Result<Plan, String> {
        if !args.pace.warmup.is_zero() {
            return Err("--warmup makes no sense with load: every record is inserted once".into());
        }
        Parts {
            mix: Mix::Load,
            distribution: Distribution::Uniform,
            records: args.records,
            value_size: args.value_size,
            replace: args.replace,
            operations: Some(args.records),
            duration: None,
            store: &args.store,
            pace: &args.pace,
            output: &args.output,
        }
        .plan(run)
    }

    /// `run`.
    pub fn run(args: &RunArgs, run: &str) -> Result<Plan, String> {
        let (operations, duration) = length(&args.length);
        Parts {
            mix: args.workload,
            distribution: args.distribution.unwrap_or(args.workload.distribution()),
            records: args.records,
            value_size: args.value_size,
            replace: false,
            operations,
            duration,
            store: &args.store,
            pace: &args.pace,
            output: &args.output,
        }
        .plan(run)
    }

    /// `put`.
    pub fn put(args: &MicroArgs, run: &str) -> Result<Plan, String> {
        let (operations, duration) = length(&args.length);
        Parts {
            mix: Mix::Put,
            distribution: Distribution::Uniform,
            records: 1, // none is read
            value_size: args.value_size,
            replace: false,
            operations,
            duration,
            store: &args.store,
            pace: &args.pace,
            output: &args.output,
        }
        .plan(run)
    }

    /// `get`.
    pub fn get(args: &GetArgs, run: &str) -> Result<Plan, String> {
        let (operations, duration) = length(&args.length);
        Parts {
            mix: Mix::Get,
            distribution: args.distribution,
            records: args.records,
            value_size: args.value_size,
            replace: false,
            operations,
            duration,
            store: &args.store,
            pace: &args.pace,
            output: &args.output,
        }
        .plan(run)
    }
}

impl Parts<'_> {
    fn plan(self, run: &str) -> Result<Plan, String> {
        let Parts { mix, distribution, records, value_size, operations, duration, pace, output, .. } = self;
        if records == 0 || records > RECORDS_MAX {
            return Err(format!("--records must be from 1 to {RECORDS_MAX}"));
        }
        if value_size > VALUE_BYTES_MAX {
            return Err(format!("--value-size must be at most {VALUE_BYTES_MAX} bytes (8 MiB), what dynode takes"));
        }
        if operations == Some(0) {
            return Err("--operations must be at least 1".into());
        }
        if duration.is_some_and(|d| d.is_zero()) {
            return Err("--duration must be more than 0".into());
        }
        if output.interval < INTERVAL_MIN {
            return Err(format!("--interval must be at least {} ms", INTERVAL_MIN.as_millis()));
        }
        let in_flight = pace.in_flight.unwrap_or(if pace.rate.is_some() { OPEN_IN_FLIGHT } else { CLOSED_IN_FLIGHT });
        if in_flight < pace.threads {
            return Err(format!(
                "--in-flight {in_flight} is over all threads and must be at least --threads {}",
                pace.threads
            ));
        }
        let pace = Pace {
            in_flight: in_flight as usize,
            rate: pace.rate,
            poisson: pace.arrivals == Arrivals::Poisson,
            warmup: pace.warmup,
            duration,
            operations,
            threads: pace.threads as usize,
            seed: pace.seed,
            interval: output.interval,
        };
        let warmup = nanos(pace.warmup);
        let end = duration.map(|d| warmup.saturating_add(nanos(d)));
        let workload = Workload {
            mix,
            distribution,
            records,
            expected_inserts: expected_inserts(mix, &pace),
            value_size: value_size as usize,
            replace: self.replace,
            fresh_prefix: format!("put-{run}-"),
            insertions: Workload::insertions_from(mix, records),
        };
        let cluster = (!output.dry).then(|| cluster(self.store, pace.in_flight));
        let config = config(&workload, &pace, self.store, cluster.is_some());
        let limits = Arc::new(Limits::new(warmup, end, operations));
        Ok(Plan { cluster, workload: Arc::new(workload), pace, limits, config, output: output.clone() })
    }
}

/// Where to go, with room for so many requests in flight.
pub fn cluster(store: &StoreArgs, in_flight: usize) -> Cluster {
    Cluster {
        nodes: store.nodes.clone(),
        bucket: store.bucket.clone(),
        r: store.r,
        w: store.w,
        strict: store.strict,
        timeout: store.timeout,
        connections: store.connections as usize,
        in_flight: in_flight.max(IN_FLIGHT_MIN),
    }
}

/// Operations and duration; one of them at least.
fn length(args: &LengthArgs) -> (Option<u64>, Option<Duration>) {
    match (args.operations, args.duration) {
        (None, None) => (None, Some(DURATION_DEFAULT)),
        given => given,
    }
}

/// YCSB knows the number of operations; a run by time guesses it, from the rate or, in a closed loop, not at all.
fn expected_inserts(mix: Mix, pace: &Pace) -> u64 {
    if mix == Mix::Load {
        return 0;
    }
    let by_rate = pace.rate.zip(pace.duration).map(|(rate, time)| rate * (pace.warmup + time).as_secs_f64());
    let operations = pace.operations.map(|n| n as f64).or(by_rate).unwrap_or(0.0);
    (operations * mix.insertions()) as u64
}

fn config(workload: &Workload, pace: &Pace, store: &StoreArgs, any_store: bool) -> Config {
    Config {
        workload: workload.mix,
        distribution: workload.distribution,
        records: workload.records,
        value_size: workload.value_size,
        nodes: if any_store { store.nodes.clone() } else { Vec::new() },
        bucket: store.bucket.clone(),
        r: store.r.to_string(),
        w: store.w.to_string(),
        strict: store.strict,
        timeout_ms: u64::try_from(store.timeout.as_millis()).unwrap_or(u64::MAX),
        connections: store.connections as usize,
        threads: pace.threads,
        in_flight: pace.in_flight,
        rate: pace.rate,
        poisson: pace.poisson,
        warmup_seconds: pace.warmup.as_secs_f64(),
        duration_seconds: pace.duration.map(|d| d.as_secs_f64()),
        operations: pace.operations,
        seed: pace.seed,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(line: &str) -> Result<Plan, String> {
        let cli = Cli::try_parse_from(std::iter::once("dynode-bench").chain(line.split(' ')));
        match cli.map_err(|e| e.to_string())?.command {
            Command::Load(args) => Plan::load(&args, "r"),
            Command::Run(args) => Plan::run(&args, "r"),
            Command::Put(args) => Plan::put(&args, "r"),
            Command::Get(args) => Plan::get(&args, "r"),
            other => Err(format!("not a run: {other:?}")),
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let closed = plan("run --workload a").expect("a plan");
        assert_eq!((closed.pace.in_flight, closed.pace.threads, closed.pace.operations), (64, 1, None));
        assert_eq!(closed.pace.duration, Some(DURATION_DEFAULT));
        assert_eq!((closed.workload.records, closed.workload.value_size), (100_000, 1_000));
        assert_eq!(closed.config.nodes, ["127.0.0.1:7100"]);
        let open = plan("run --workload d --rate 2k/s").expect("a plan");
        assert_eq!((open.pace.in_flight, open.pace.rate), (1_024, Some(2_000.0)));
        assert_eq!(open.workload.distribution, Distribution::Latest);
        assert_eq!(open.workload.expected_inserts, 1_000);
        let load = plan("load --records 5k").expect("a plan");
        assert_eq!((load.pace.operations, load.pace.duration), (Some(5_000), None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_word_what_to_do() {
        for (line, word) in [
            ("run --workload a --records 0", "--records"),
            ("run --workload a --operations 0", "--operations"),
            ("put --duration 0s", "--duration"),
            ("put --value-size 9M", "8 MiB"),
            ("put --threads 8 --in-flight 4", "--in-flight"),
            ("put --interval 1ms", "--interval"),
            ("load --warmup 3s", "--warmup"),
        ] {
            assert!(plan(line).is_err_and(|e| e.contains(word)), "{line}");
        }
        assert!(plan("run --workload e").is_ok());
    }
}
