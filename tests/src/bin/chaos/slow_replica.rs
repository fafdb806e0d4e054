//! `slow-replica`: the tail latency of quorum reads and writes at a part of the peak load, with one of three replicas
//! paused, killed, or behind a slow link; each beside the healthy phases before and after it, since machines drift.
//!
//! The load is an open loop, so a request counts from when it was due. Requests that failed are in the quantiles, with the
//! time that they took to fail. All phases go through the same proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use dynode::cli::table::Side::{Left, Right};
use dynode::cli::table::{Cell, Table};
use dynode::cli::units;
use dynode_bench::cli::{Cli as BenchCli, Command as BenchCommand};
use dynode_bench::measure::{Record, histogram};
use dynode_bench::plan::Plan;
use dynode_bench::run;
use dynode_bench::workload::Op;
use owo_colors::OwoColorize;
use serde_json::json;
use tests::processes::proxy::{End, Proxy};
use tests::processes::{Cluster, Place, free_ports, wait_until_equal};

use crate::args::SlowArgs;
use crate::subject;

const NODES: usize = 3;
const PARTITIONS: u32 = 64;

/// The one that suffers.
const VICTIM: usize = 1;

/// The p99 beside a fault, at most, of that without.
const RATIO_MAX: f64 = 2.0;

const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// Under way at once in the open loop: more than the rate and the slow link together ask for, so that what waits, waits for
/// the cluster and not for the generator.
const IN_FLIGHT: usize = 8192;

const HEALTHY: &str = "healthy";

/// Undisturbed after each phase.
const REST: Duration = Duration::from_secs(1);

/// What one kind of operation took in one phase.
struct Measured {
    phase: &'static str,
    /// Just after the fault began, or later.
    onset: bool,
    op: &'static str,
    count: u64,
    errors: BTreeMap<&'static str, u64>,
    ms: [f64; 3],
}

/// Measures and prints. Whether every p99 was near enough to the healthy one, onsets aside.
pub(crate) async fn run(args: &SlowArgs) -> Result<bool, String> {
    let dir = tempfile::Builder::new().prefix("dynode-chaos-").tempdir().map_err(|e| e.to_string())?;
    let mut bed = Bed::start(args, dir.path()).await?;
    let peak = bed.peak().await?;
    let rate = peak * args.load;
    if !args.json {
        let (peak, rate) = (units::count(peak as u64), units::count(rate as u64));
        anstream::println!("{}  peak {peak} requests/s, measured at {rate}", "slow-replica".bold());
    }
    let mut all = bed.phase(HEALTHY, rate, None).await?;
    let read_ms = all.iter().find(|m| m.op == "read").map_or(1.0, |m| m.ms[0]);
    // Half of it there, half of it back.
    let delay = Duration::from_secs_f64(read_ms / 1000.0 * f64::from(args.slower) / 2.0);

    bed.cluster.pause(VICTIM)?;
    all.extend(bed.phase("one paused", rate, Some(args.onset)).await?);
    bed.cluster.go_on(VICTIM)?;
    all.extend(bed.rest_and_healthy(rate).await?);

    bed.cluster.kill(VICTIM);
    all.extend(bed.phase("one killed", rate, Some(args.onset)).await?);
    bed.cluster.start(VICTIM)?;
    bed.cluster.wait_until_up(VICTIM).await?;
    all.extend(bed.rest_and_healthy(rate).await?);

    for (phase, clients) in [("one slow to nodes", false), ("one slow to all", true)] {
        bed.slow(delay, clients);
        all.extend(bed.phase(phase, rate, Some(args.onset)).await?);
        bed.proxy.heal(false);
        all.extend(bed.rest_and_healthy(rate).await?);
    }
    bed.cluster.stop_all().await?;

    let judged = |m: &&Measured| !m.onset && m.phase != HEALTHY;
    let near = all.iter().filter(judged).all(|m| ratio(m, &all) <= RATIO_MAX);
    if args.json {
        let text = serde_json::to_string_pretty(&as_json(&all, peak, rate, delay, near)).map_err(|e| e.to_string())?;
        anstream::println!("{text}");
        return Ok(near);
    }
    anstream::println!(
        "slow is {} more each way, {} times the healthy median read there and back\n",
        units::time(delay),
        args.slower
    );
    anstream::println!("{}", table(&all));
    let words = format!("p99 at most {RATIO_MAX} × that of the healthy phases before and after, onsets aside");
    anstream::println!(
        "{}",
        if near { format!("{} {words}", "✓".green()) } else { format!("{} not every {words}", "✗".red()) }
    );
    Ok(near)
}

/// A p99 beside the mean of those of the healthy phases before and after; a healthy one's beside the first.
fn ratio(measured: &Measured, all: &[Measured]) -> f64 {
    let at = all.iter().position(|m| std::ptr::eq(m, measured)).unwrap_or(0);
    let healthy = |m: &&Measured| m.phase == HEALTHY && m.op == measured.op;
    let first = all.iter().find(healthy);
    let (before, after) = match measured.phase {
        HEALTHY => (first, first),
        _ => (all[..at].iter().rfind(healthy), all[at..].iter().find(healthy)),
    };
    let near: Vec<f64> = before.into_iter().chain(after).map(|m| m.ms[1]).collect();
    let mean = near.iter().sum::<f64>() / near.len().max(1) as f64;
    if mean > 0.0 { measured.ms[1] / mean } else { f64::INFINITY }
}

/// The nodes, the proxy before them, and the load generator.
struct Bed<'a> {
    args: &'a SlowArgs,
    cluster: Cluster,
    proxy: Proxy,
}

impl<'a> Bed<'a> {
    async fn start(args: &'a SlowArgs, dir: &std::path::Path) -> Result<Bed<'a>, String> {
        let ports = free_ports(2 * NODES)?;
        let addr = |at: usize| format!("127.0.0.1:{}", ports[at]);
        let place =
            |i| Place { name: format!("n{}", i + 1), addr: addr(i), listen: addr(NODES + i), prefix: Vec::new() };
        let mut cluster = Cluster::at(dir, (0..NODES).map(place).collect(), PARTITIONS, &args.durability)?;
        let proxy = subject::proxy(&cluster)?;
        cluster.start_all().await?;
        Ok(Bed { args, cluster, proxy })
    }

    /// Loads the records, and gives the requests a second that a closed loop gets.
    async fn peak(&self) -> Result<f64, String> {
        let (records, in_flight) = (self.args.records, self.args.in_flight);
        self.measure(format!("load --records {records} --value-size 128 --in-flight {in_flight}")).await?;
        let (_, peak) = self.measure(self.workload(&format!("--in-flight {in_flight}"), self.args.duration)).await?;
        Ok(peak)
    }

    /// One phase; with `onset` its first part apart.
    async fn phase(&self, phase: &'static str, rate: f64, onset: Option<Duration>) -> Result<Vec<Measured>, String> {
        let mut all = Vec::new();
        let parts = onset.map(|onset| (true, onset)).into_iter().chain([(false, self.args.duration)]);
        for (is_onset, duration) in parts {
            let (record, _) =
                self.measure(self.workload(&format!("--rate {rate:.0} --in-flight {IN_FLIGHT}"), duration)).await?;
            all.extend(
                [("read", Op::Read), ("write", Op::Update)]
                    .map(|(name, op)| measured(phase, is_onset, name, op, &record)),
            );
        }
        Ok(all)
    }

    fn workload(&self, pace: &str, duration: Duration) -> String {
        let (records, ms) = (self.args.records, duration.as_millis());
        format!("run --workload a --distribution uniform --records {records} --value-size 128 {pace} --duration {ms}ms")
    }

    /// Runs the load generator as its command line says.
    async fn measure(&self, line: String) -> Result<(Record, f64), String> {
        let nodes = self.cluster.nodes.iter().flat_map(|node| ["--node".to_string(), node.addr.clone()]);
        let timeout = format!("{}ms", self.args.timeout.as_millis());
        let words = ["dynode-bench".to_string()].into_iter().chain(line.split(' ').map(str::to_string)).chain(nodes);
        let strict = self.args.strict.then(|| "--strict".to_string());
        let words = words.chain(["--timeout".to_string(), timeout]).chain(strict);
        let parsed = BenchCli::try_parse_from(words).map_err(|e| e.to_string())?;
        let plan = match &parsed.command {
            BenchCommand::Load(args) => Plan::load(args, "chaos"),
            BenchCommand::Run(args) => Plan::run(args, "chaos"),
            _ => Err("neither load nor run".into()),
        }?;
        let work = move || {
            let cluster = plan.cluster.ok_or("a run without a cluster")?;
            run::run(&plan.pace, &Arc::new(cluster), &plan.workload, &plan.limits, &mut |_| {})
                .map_err(|e| e.to_string())
        };
        let outcome = tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())??;
        let done: u64 = outcome.record.all().iter().filter(|s| s.error.is_none()).map(|s| s.latency.len()).sum();
        Ok((outcome.record, done as f64 / outcome.seconds.max(1e-9)))
    }

    fn slow(&self, delay: Duration, clients: bool) {
        let others = (0..NODES).filter(|node| *node != VICTIM).map(End::Node);
        for other in others.chain(clients.then_some(End::Clients)) {
            self.proxy.change(End::Node(VICTIM), other, |way| way.delay = delay);
            self.proxy.change(other, End::Node(VICTIM), |way| way.delay = delay);
        }
    }

    /// Waits until all is as it was, and measures that.
    async fn rest_and_healthy(&self, rate: f64) -> Result<Vec<Measured>, String> {
        wait_until_equal(&self.cluster.nodes, WHOLE_WITHIN).await?;
        tokio::time::sleep(REST).await;
        self.phase(HEALTHY, rate, None).await
    }
}

fn measured(phase: &'static str, onset: bool, name: &'static str, op: Op, record: &Record) -> Measured {
    let mut latency = histogram();
    let mut errors = BTreeMap::new();
    for series in record.all().into_iter().filter(|series| series.op == op) {
        if let Some(kind) = series.error {
            errors.insert(kind, series.latency.len());
        }
        let added = latency.add(&series.latency);
        debug_assert!(added.is_ok(), "all histograms have the same bounds");
    }
    let ms = [0.5, 0.99, 0.999].map(|q| latency.value_at_quantile(q) as f64 / 1e6);
    Measured { phase, onset, op: name, count: latency.len(), errors, ms }
}

fn table(all: &[Measured]) -> String {
    let columns = [
        ("phase", Left),
        ("", Left),
        ("requests", Right),
        ("p50", Right),
        ("p99", Right),
        ("p99.9", Right),
        ("p99 / healthy", Right),
        ("errors", Left),
    ];
    let mut table = Table::new(columns).indented(2);
    for m in all {
        let ms = |ms: f64| Cell::from(units::time(Duration::from_secs_f64(ms / 1000.0)));
        let ratio = ratio(m, all);
        let ratio_text = format!("{ratio:.2}");
        let errors: Vec<String> =
            m.errors.iter().map(|(kind, count)| format!("{} {kind}", units::count(*count))).collect();
        table.row([
            if m.onset { Cell::faint(format!("{}: onset", m.phase)) } else { m.phase.into() },
            m.op.into(),
            units::count(m.count).into(),
            ms(m.ms[0]),
            ms(m.ms[1]),
            ms(m.ms[2]),
            match (m.onset || m.phase == HEALTHY, ratio <= RATIO_MAX) {
                (true, _) => Cell::faint(ratio_text),
                (false, true) => Cell::good(ratio_text),
                (false, false) => Cell::bad(ratio_text),
            },
            Cell::notable(errors.join(", ")),
        ]);
    }
    table.render()
}

fn as_json(all: &[Measured], peak: f64, rate: f64, delay: Duration, near: bool) -> serde_json::Value {
    let one = |m: &Measured| {
        json!({ "phase": m.phase, "onset": m.onset, "op": m.op, "requests": m.count, "errors": m.errors, "p50_ms": m.ms[0],
            "p99_ms": m.ms[1], "p99_9_ms": m.ms[2], "p99_to_healthy": ratio(m, all) })
    };
    json!({
        "held": near,
        "peak_per_second": peak,
        "rate_per_second": rate,
        "slow_ms_each_way": delay.as_secs_f64() * 1000.0,
        "phases": all.iter().map(one).collect::<Vec<_>>(),
    })
}
