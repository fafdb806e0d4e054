//! Runs simulated clusters from seeds.

use std::io::IsTerminal;
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use dynode_storage::rules::Rule;
use tests::runner::{Break, Changes, Failed, Options, run_range, run_seed};
use tests::world::plan::MS;
use tests::world::stats::Stats;

/// Runs simulated clusters from seeds, and looks for what must never be.
#[derive(Parser)]
struct Args {
    /// Run one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run the seeds A, A + 1, .. up to but not B.
    #[arg(long, value_name = "A..B", default_value = "0..1000")]
    seeds: String,
    /// Print a line an event (with --seed).
    #[arg(long)]
    trace: bool,
    /// Break a rule, which must be found: one of `storage/src/rules.rs` (round, fill, .. forgot), send-first, unfenced,
    /// no-request-ids, no-sessions.
    #[arg(long = "break", value_name = "RULE")]
    broken: Option<String>,
    /// Threads; as many as there are cores unless said otherwise.
    #[arg(long)]
    threads: Option<usize>,
    /// So many nodes in every run, whatever its seed says.
    #[arg(long)]
    nodes: Option<usize>,
    /// Of sixteen operations, so many let stand-ins count, whatever the seeds say; 0: all are strict.
    #[arg(long, value_name = "0..16")]
    sloppy: Option<u32>,
    /// Heavy loss, flapping, lopsided splits, slow nodes and failing disks about so often, in milliseconds; 0: never.
    #[arg(long, value_name = "MS")]
    spell_every: Option<u64>,
    /// Objects rot on disks, too
    #[arg(long)]
    rot: bool,
    /// Operators change who owns what in every run, whatever its seed says
    #[arg(long, conflicts_with = "still")]
    changes: bool,
    /// Nobody changes who owns what: the seeds mean what they meant before
    #[arg(long)]
    still: bool,
    /// Runs without what came with stand-ins: the seeds mean what they meant before.
    #[arg(long)]
    plain: bool,
    /// Do not stop at the first failure.
    #[arg(long)]
    go_on: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool, String> {
    let wrong = args.broken.as_deref().map(parse_break).transpose()?;
    let options = Options {
        wrong,
        nodes: args.nodes,
        plain: args.plain,
        sloppy: args.sloppy,
        spell_every: args.spell_every.map(|ms| ms * MS),
        rot: args.rot,
        changes: match (args.changes, args.still) {
            (true, _) => Changes::Always,
            (_, true) => Changes::Never,
            _ => Changes::Drawn,
        },
        go_on: args.go_on,
        echo: args.trace,
    };
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    if let Some(seed) = args.seed {
        return Ok(match run_seed(seed, options) {
            Ok((stats, hash)) => {
                print_summary(&stats, began.elapsed().as_secs_f64());
                println!("history  {hash:016x}");
                true
            }
            Err(failed) => {
                print_failure(&failed, args);
                false
            }
        });
    }
    let (from, to) = args.seeds.split_once("..").ok_or("--seeds wants A..B")?;
    let parse = |s: &str| s.parse::<u64>().map_err(|e| format!("`{s}` is not a seed: {e}"));
    let seeds = parse(from)?..parse(to)?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (count, is_terminal) = (seeds.end.saturating_sub(seeds.start), std::io::stderr().is_terminal());
    let progress = |done: u64| {
        if is_terminal && done.is_multiple_of(50) {
            eprint!("\r{done} of {count} seeds, {:.0} a second ", done as f64 / began.elapsed().as_secs_f64());
        }
    };
    let (stats, failed) = run_range(seeds, Options { echo: false, ..options }, threads, &progress);
    if is_terminal {
        eprint!("\r{:60}\r", "");
    }
    print_summary(&stats, began.elapsed().as_secs_f64());
    failed.iter().for_each(|f| print_failure(f, args));
    Ok(failed.is_empty())
}

fn parse_break(name: &str) -> Result<Break, String> {
    match name {
        "send-first" => return Ok(Break::SendFirst),
        "unfenced" => return Ok(Break::Unfenced),
        "no-request-ids" => return Ok(Break::NoRequestIds),
        "no-sessions" => return Ok(Break::NoSessions),
        _ => {}
    }
    let rule = Rule::ALL.iter().find(|(_, known)| *known == name);
    rule.map(|(rule, _)| Break::Rule(*rule)).ok_or_else(|| format!("there is no rule `{name}`"))
}

/// What makes a seed mean the run that it meant.
fn drawn_as(args: &Args) -> String {
    let flags = [("changes", args.changes), ("still", args.still), ("plain", args.plain), ("rot", args.rot)];
    let flags = flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| format!(" --{flag}"));
    let nodes = args.nodes.map(|nodes| format!(" --nodes {nodes}"));
    let sloppy = args.sloppy.map(|sloppy| format!(" --sloppy {sloppy}"));
    let spells = args.spell_every.map(|ms| format!(" --spell-every {ms}"));
    let broken = args.broken.as_ref().map(|rule| format!(" --break {rule}"));
    flags.chain(nodes).chain(sloppy).chain(spells).chain(broken).collect()
}

fn print_failure(failed: &Failed, args: &Args) {
    let commit =
        Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok().filter(|o| o.status.success());
    let commit = commit.map_or_else(|| "unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    println!("\nFAILED   seed {} at commit {commit}", failed.seed);
    println!("         invariant: {}", failed.violation.invariant);
    println!("         {}", failed.violation.detail);
    println!("replay   cargo run -p tests --release --bin sim -- --seed {}{} --trace", failed.seed, drawn_as(args));
}

fn print_summary(stats: &Stats, real: f64) {
    let simulated = stats.simulated as f64 / 1e6;
    println!("seeds            {}", stats.seeds);
    println!("simulated time   {simulated:.0} s");
    println!("real time        {real:.1} s");
    println!("ratio            {:.0} simulated seconds a second", simulated / real);
    println!("turns            {}", stats.turns);
    println!("messages         {}", stats.messages);
    println!("slowest recovery {:.1} s (seed {})", stats.slowest.0 as f64 / 1e6, stats.slowest.1);
    println!("whole again, of {} times", stats.settled_within.values().sum::<u64>());
    stats.settled_within.iter().for_each(|(s, n)| println!("  {:<28} {n:>12}", format!("within {s} s")));
    for (title, counts) in
        [("operations", &stats.operations), ("faults", &stats.faults), ("nodes counted", &stats.counters)]
    {
        println!("{title}");
        counts.iter().for_each(|(name, n)| println!("  {name:<28} {n:>12}"));
    }
}
