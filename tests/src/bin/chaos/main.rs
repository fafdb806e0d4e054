//! `dynode-chaos`: real faults on real processes while clients write and read; at the end a report, and an exit code that
//! says whether all held.
//!
//! | file | what |
//! | --- | --- |
//! | `args` | the command line |
//! | `faults` | what can be done to a cluster, and what comes next |
//! | `subject` | the cluster, and faults as they are done to it |
//! | `quorums` | whether anybody could have answered |
//! | `load` | clients that write, read and keep a journal (the audit of `dynode-bench`) |
//! | `run` | one run from start to end |
//! | `outcome`, `report`, `svg` | what came of it; as text and JSON; as a drawing |
//! | `slow_replica` | tail latency with one replica stopped, killed or slow |
//! | `grow`, `grown` | nodes join, are replaced and leave under load; what came of it |
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "processes, sockets and clocks are real here")]

mod args;
mod faults;
mod grow;
mod grown;
mod load;
mod outcome;
mod quorums;
mod report;
mod run;
mod slow_replica;
mod subject;
mod svg;

use std::process::ExitCode;

use clap::Parser;
use owo_colors::OwoColorize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&format!("the system refuses a runtime: {e}")),
    };
    let done = runtime.block_on(async {
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (Ok(mut int), Ok(mut term)) = signals else { return Err("signals cannot be waited for".into()) };
        // The first one ends a run early, in order; a second one at once, and what was started ends as all is dropped.
        let (ask, asked) = tokio::sync::watch::channel(false);
        let work = async {
            match &cli.command {
                Some(Command::SlowReplica(args)) => slow_replica::run(args).await,
                Some(Command::Grow(args)) => grow::run(args).await,
                None => run::run(&cli.run, asked).await,
            }
        };
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = either(&mut int, &mut term) => {}
        }
        if cli.command.is_some() {
            return Err("stopped".into());
        }
        anstream::eprintln!("ending in order; once more to end at once");
        let _ = ask.send(true);
        tokio::select! {
            done = work => done,
            () = either(&mut int, &mut term) => Err("stopped".into()),
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => failed(&why),
    }
}

async fn either(int: &mut Signal, term: &mut Signal) {
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

fn failed(why: &str) -> ExitCode {
    anstream::eprintln!("{} {why}", "dynode-chaos:".red().bold());
    ExitCode::from(2)
}
