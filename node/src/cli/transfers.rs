//! `transfers`: how far a change of ownership has come, on every node: what comes to it, how fast, until when, and what it
//! still has to hand over.

mod look;
mod text;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use dynode_client::{Client, Error};
use dynode_ring::Member;
use serde_json::Value;

use super::output::{Done, print, print_json, print_raw};
use super::target::TargetArgs;

/// How often nodes are asked with `--watch`.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// `transfers`.
#[derive(Debug, Args)]
pub(super) struct TransfersArgs {
    /// Draw it anew until nothing moves any more
    #[arg(long)]
    watch: bool,
    /// Each partition that is on its way, as the node asked knows
    #[arg(long)]
    partitions: bool,
}

pub(super) async fn run(target: &TargetArgs, args: TransfersArgs) -> Done {
    let client = target.connect().await?;
    let mut drawn = 0;
    loop {
        let report = transfers_json(&client).await?;
        if target.json {
            print_json(&report)?;
        } else {
            let text = text::of(&report, args.partitions);
            // Over what was drawn before, where that can be.
            if args.watch && std::io::stdout().is_terminal() {
                print_raw(format!("\x1b[{drawn}F\x1b[J").as_bytes()).map(|()| drawn = text.lines().count().max(1))?;
            }
            print(&text)?;
        }
        if !args.watch || report["settled"] == true {
            return Ok(());
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// As `transfers --json`.
pub(super) async fn transfers_json(client: &Client) -> Result<Value, Error> {
    look::at_all(client, &[]).await
}

/// The same, of these nodes as well: members of before that the node asked may not know to have left yet.
pub(super) async fn transfers_with(client: &Client, before: &[Member]) -> Result<Value, Error> {
    look::at_all(client, before).await
}

pub(super) use text::waits_for;
