//! Doing what the command line says, and putting out what came of it.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::audit::Run;
use crate::audit::journal::Journal;
use crate::audit::survey::survey;
use crate::audit::verdict::Verdict;
use crate::audit::writers::{self, Tally};
use crate::cli::{AuditArgs, Command, CompareArgs};
use crate::clock::{self, SystemClock, nanos, unix_ms, wall};
use crate::dynode::Dynode;
use crate::plan::{self, Plan};
use crate::report::compare::compare;
use crate::report::hdr::HdrLog;
use crate::report::table::table;
use crate::report::{Moment, Origin, Report};
use crate::run::lane::Limits;
use crate::run::progress::Progress;
use crate::run::{self, Interval};
use crate::target::{Connect, Nowhere};
use crate::units::count;

/// Does it. `false`: it was done, and something is wrong with what was found; an error: it could not be done.
pub fn execute(command: Command) -> Result<bool, String> {
    let run = format!("{:x}", unix_ms(wall()));
    match command {
        Command::Load(args) => measure(&Plan::load(&args, &run)?),
        Command::Run(args) => measure(&Plan::run(&args, &run)?),
        Command::Put(args) => measure(&Plan::put(&args, &run)?),
        Command::Get(args) => measure(&Plan::get(&args, &run)?),
        Command::Audit(args) => audit(&args, run),
        Command::Compare(args) => compare_files(&args),
    }
}

fn measure(plan: &Plan) -> Result<bool, String> {
    let limits = plan.limits.clone();
    stop_on_interrupt(move || limits.stop())?;
    match &plan.cluster {
        Some(cluster) => measure_on(plan, &Arc::new(cluster.clone())),
        None => measure_on(plan, &Arc::new(Nowhere::new(plan.workload.value_size))),
    }
}

fn measure_on<K: Connect>(plan: &Plan, connect: &Arc<K>) -> Result<bool, String> {
    let output = &plan.output;
    let begun = wall();
    let mut log = output.hdr.as_ref().map(|path| HdrLog::create(path, begun)).transpose()?;
    let progress = Progress::new(&plan.pace, !output.quiet);
    let mut moments = Vec::new();
    let mut each = |interval: &Interval| {
        progress.show(interval);
        moments.push(Moment::of(interval));
        if let Some(log) = &mut log {
            log.interval(interval);
        }
    };
    let outcome = run::run(&plan.pace, connect, &plan.workload, &plan.limits, &mut each);
    progress.end();
    let outcome = outcome.map_err(|e| e.to_string())?;
    if let Some(log) = log {
        log.end()?;
    }
    if outcome.record.begun == 0 {
        return Err("nothing was measured: the run was stopped before its warm-up was over".into());
    }
    let origin = Origin { commit: output.commit.clone(), label: output.label.clone(), started_unix_ms: unix_ms(begun) };
    let report = Report::new(origin, plan.config.clone(), &outcome, moments);
    let text = if output.quiet { String::new() } else { table(&report) };
    put_out(&text, output.json.as_deref(), &report)?;
    Ok(report.errors == 0 || output.allow_errors)
}

fn audit(args: &AuditArgs, name: String) -> Result<bool, String> {
    if args.value_size > plan::VALUE_BYTES_MAX {
        return Err(format!("--value-size must be at most {} bytes (8 MiB)", plan::VALUE_BYTES_MAX));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start a runtime: {e}"))?;
    let mut cluster = plan::cluster(&args.store, args.writers as usize);
    let earlier = args.check.as_deref().map(Journal::load).transpose()?;
    if let Some(earlier) = &earlier {
        cluster.bucket.clone_from(&earlier.bucket);
    }
    let interrupted = Arc::new(Limits::new(0, None, None));
    let signal = interrupted.clone();
    stop_on_interrupt(move || signal.stop())?;

    let verdict = runtime.block_on(async {
        let clock = || SystemClock::new(clock::instant());
        let target = cluster.connect().await.map_err(|e| format!("cannot reach the cluster: {e}"))?;
        let journal = match earlier {
            Some(journal) => journal,
            None => {
                let journal = write_audit(args, name, target.clone(), &interrupted).await?;
                if let Some(path) = &args.journal {
                    journal.save(path)?;
                }
                journal
            }
        };
        // With the connections of the writers, which know all nodes: those of the command line may be down by now.
        let found = survey(&target.with_r(args.final_r), &clock(), &journal, args.settle).await;
        Ok::<_, String>(Verdict::new(&journal, &found))
    })?;
    let text = if args.quiet { String::new() } else { verdict.render() };
    put_out(&text, args.json.as_deref(), &verdict)?;
    Ok(verdict.passed)
}

async fn write_audit(
    args: &AuditArgs,
    name: String,
    target: Dynode,
    interrupted: &Arc<Limits>,
) -> Result<Journal, String> {
    let run = Run { name, keys: args.keys };
    let plan = writers::Plan {
        run: run.clone(),
        writers: args.writers,
        value_size: args.value_size as usize,
        rate: args.rate,
        seed: args.seed,
    };
    let limits = Rc::new(Limits::new(0, Some(nanos(args.duration)), args.writes));
    let tally = Rc::new(Tally::default());
    let mut journal = Journal::new(run, &args.store.bucket, unix_ms(wall()));
    journal.is_strict = plan::cluster(&args.store, 1).is_register();
    let started = clock::instant();
    let clock = SystemClock::new(started);
    let work = writers::write(target, clock, plan, limits.clone(), journal, tally.clone());
    let bar = audit_bar(args);
    let watch = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            bar.set_position(started.elapsed().as_secs());
            bar.set_message(format!(
                "{} acknowledged, {} unknown, {} failed",
                count(tally.acknowledged.get()),
                count(tally.unknown.get()),
                count(tally.failed.get())
            ));
            if interrupted.stopped() {
                limits.stop();
            }
        }
    };
    let journal = tokio::select! {
        journal = work => journal,
        () = watch => return Err("the audit's watch ended, which is a bug of dynode-bench".into()),
    };
    bar.finish_and_clear();
    if journal.writes.is_empty() {
        return Err("nothing was written: no read and no write of the audit came through".into());
    }
    Ok(journal)
}

fn audit_bar(args: &AuditArgs) -> ProgressBar {
    let target = if args.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(args.duration.as_secs().max(1)), target);
    let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn compare_files(args: &CompareArgs) -> Result<bool, String> {
    let read = |path: &Path| -> Result<Report, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Report::from_json(&text).map_err(|e| format!("{}: {e}", path.display()))
    };
    let comparison = compare(&read(&args.first)?, &read(&args.second)?);
    anstream::print!("{}", comparison.render());
    let Some(share) = args.fail_over else { return Ok(true) };
    let worse = comparison.worse_than(share);
    for line in &worse {
        let by = if line.worse().is_finite() { format!("{:.0} %", line.worse() * 100.0) } else { "new".into() };
        anstream::eprintln!("worse than allowed: {} {} ({by})", line.what, line.figure);
    }
    Ok(worse.is_empty())
}

/// The text to people, the JSON to its file or to stdout, and then the text to stderr.
fn put_out(text: &str, json: Option<&Path>, value: &impl serde::Serialize) -> Result<(), String> {
    let to_stdout = json == Some(Path::new("-"));
    if to_stdout {
        anstream::eprint!("{text}");
    } else {
        anstream::print!("{text}");
    }
    let Some(path) = json else { return Ok(()) };
    let mut json = serde_json::to_string_pretty(value).map_err(|e| format!("cannot make JSON: {e}"))?;
    json.push('\n');
    if to_stdout {
        use std::io::Write;
        return std::io::stdout().write_all(json.as_bytes()).map_err(|e| format!("cannot write the JSON: {e}"));
    }
    std::fs::write(path, json).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Ctrl-C ends the run and reports what there is; a second one ends the process.
fn stop_on_interrupt(stop: impl Fn() + Send + 'static) -> Result<(), String> {
    let say = |e: std::io::Error| format!("cannot wait for Ctrl-C: {e}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(say)?;
    let wait = move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop();
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(130);
            }
        });
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(wait).map_err(say)?;
    Ok(())
}
