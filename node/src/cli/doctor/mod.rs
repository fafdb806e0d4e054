//! `doctor`: every node's view of members, epoch and clocks beside the others', and in words what is wrong and what to do.
//!
//! `findings` decides, from the reports alone; here they are asked for and told.

mod findings;

use std::time::Duration;

use clap::Args;
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use self::findings::{Finding, Level, findings};
use super::look;
use super::output::{Done, EXIT_FAILED, Failure, print, print_json};
use super::target::TargetArgs;
use super::units;
use crate::config::parse_duration;

/// `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Every member is asked for its report at its own address, and what they say is compared. The exit code is 0 when nothing is \
    wrong, and 1 when something is, so that it can stand in scripts before and after maintenance.")]
pub(super) struct DoctorArgs {
    /// How long each node may take to answer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "3s")]
    timeout: Duration,
}

pub(super) async fn run(target: &TargetArgs, args: DoctorArgs) -> Done {
    let client = target.connect().await?;
    let layout = client.layout();
    let looks = look::at_all(&client, &layout, args.timeout).await;
    let found = findings(&layout, &looks);
    let nodes = looks.len();
    if target.json {
        let list: Vec<Value> = found.iter().map(Finding::json).collect();
        print_json(&json!({
            "epoch": layout.epoch(),
            "asked": client.node().1,
            "nodes": nodes,
            "healthy": found.is_empty(),
            "findings": list,
        }))?;
    } else {
        print(&text(&found, nodes, layout.epoch()))?;
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::said(EXIT_FAILED)) }
}

fn text(found: &[Finding], nodes: usize, epoch: u64) -> String {
    if found.is_empty() {
        let nodes = units::counted(nodes as u64, "node");
        return format!(
            "{}: {nodes} at epoch {epoch} agree on members, layout and time; every copy is whole.\n",
            "well".green().bold()
        );
    }
    let mut text = String::new();
    for Finding { level, node, what, advice } in found {
        let head = match level {
            Level::Bad => "wrong:".red().bold().to_string(),
            Level::Notable => "notable:".yellow().bold().to_string(),
        };
        let of = node.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        text.push_str(&format!("{head} {of}{what}\n  {advice}\n"));
    }
    text
}
