//! The demo: three nodes as processes, real files, a `kill -9` half-way, everything read back and compared, the copies
//! equal again within seconds, and no trace of what was deleted.
//!
//! | file | what |
//! | --- | --- |
//! | `cluster` | real processes: start, kill, stop, and the end of all of them whatever happens |
//! | `files` | what is imported |
//! | `steps` | what is done, and what must hold |
//! | `report` | the table at the end |
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "files, processes and clocks are real here")]

#[allow(dead_code, reason = "shared with the tests of real processes")]
mod files;
mod report;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use owo_colors::OwoColorize;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than the largest import on the slowest machine that is worth a try.
const TIME_MAX: Duration = Duration::from_secs(1800);

/// Three nodes, real files, a kill -9, everything read back.
#[derive(Debug, Parser)]
#[command(name = "demo", max_term_width = 100)]
struct Args {
    /// The folder to import [default: the sources of this project's dependencies, in Cargo's registry]
    dir: Option<PathBuf>,
    /// Import at most so many bytes: 300M, 2G
    #[arg(long, value_name = "BYTES", value_parser = files::parse_bytes, default_value = "300M")]
    max_bytes: u64,
    /// Keep the nodes' data in this new folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Partitions of the ring, a power of two
    #[arg(long, value_name = "Q", default_value = "256")]
    partitions: u32,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&e.to_string()),
    };
    match runtime.block_on(until_asked(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

/// Runs the demo, but not past a signal: dropping it ends its processes.
async fn until_asked(args: Args) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    tokio::select! {
        done = tokio::time::timeout(TIME_MAX, demo(args)) => {
            done.unwrap_or_else(|_| Err(format!("not done after {} minutes", TIME_MAX.as_secs() / 60)))
        }
        _ = tokio::signal::ctrl_c() => Err("stopped".into()),
        _ = terminate.recv() => Err("stopped".into()),
    }
}

async fn demo(args: Args) -> Result<(), String> {
    let temporary;
    let data = match &args.data {
        Some(data) if data.exists() => return Err(format!("{} exists: name a new folder", data.display())),
        Some(data) => data.as_path(),
        None => {
            temporary = tempfile::Builder::new().prefix("dynode-demo-").tempdir().map_err(|e| e.to_string())?;
            temporary.path()
        }
    };
    let files = files::collect(args.dir, args.max_bytes)?;
    steps::run(&files, data, args.partitions).await
}

fn failed(why: &str) -> ExitCode {
    anstream::eprintln!("\n{} {why}", "the demo failed:".red().bold());
    ExitCode::FAILURE
}
