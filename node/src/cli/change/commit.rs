//! `commit` and `cancel`: what is staged becomes the next layout, or is forgotten.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;
use dynode_client::wire::{ChangeId, Operator};
use serde_json::{Value, json};

use super::operate;
use super::plan::Planned;
use crate::cli::output::{Done, Failure, print, print_json, remark};
use crate::cli::target::TargetArgs;
use crate::cli::transfers::{transfers_with, waits_for};
use crate::protocol::agree::read_change_id;

/// How often it is looked whether a change is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Without `--wait`, so long for the members to choose; they go on by themselves.
const CHOOSE_TIME: Duration = Duration::from_secs(5);

/// With `--wait`: how often all nodes are asked how far they have come.
const SETTLED_EVERY: Duration = Duration::from_millis(500);

/// With `--wait`: how often it is said what is waited for.
const REMARK_EVERY: Duration = Duration::from_secs(5);

/// `commit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CommitArgs {
    /// Without asking
    #[arg(long)]
    yes: bool,
    /// Wait until the change is settled: on all nodes that can be reached, former members too, copies that come are whole and
    /// copies that leave have left
    #[arg(long)]
    wait: bool,
    /// Without a majority of the members: see what it says first
    #[arg(long)]
    force: bool,
}

const FORCE_RISK: &str = "\
--force decides for all members, although most of them cannot be asked. Use it only when they are gone for good.
Should they be alive behind a split and decide something themselves, this layout overrules theirs when they meet:
no data is lost by it, but until then both sides serve, and strict quorums of the two sides do not see each other.";

pub(in crate::cli) async fn commit(target: &TargetArgs, args: CommitArgs) -> Done {
    let client = target.connect().await?;
    let planned = Planned::make(&client).await?;
    if !target.json {
        print(&planned.text())?;
    }
    if args.force {
        remark(FORCE_RISK);
    }
    if !args.yes && !asked()? {
        return Err(Failure::new("not_confirmed", "nothing was committed; the changes stay staged"));
    }
    let changes = ids(&planned.report);
    let epoch = planned.report["epoch"].as_u64().unwrap_or(0);
    let began = Instant::now();
    let mut report = operate(&client, Operator::Commit { changes: changes.clone(), force: args.force }).await?;
    let mut told = String::new();
    let (mut transfers, mut next_remark) = (Value::Null, began + REMARK_EVERY);
    loop {
        let now = report["epoch"].as_u64().unwrap_or(0);
        if now > epoch && !args.wait {
            break;
        }
        if now > epoch {
            transfers = transfers_with(&client, planned.members_before()).await.unwrap_or_default();
            if transfers["settled"] == true && transfers["epoch"].as_u64() >= Some(now) {
                break;
            }
            if Instant::now() >= next_remark {
                remark(&format!("waiting: {}", waits_for(&transfers)));
                next_remark += REMARK_EVERY;
            }
        }
        let waits = why_it_waits(&report);
        if !args.wait && began.elapsed() > CHOOSE_TIME {
            return Err(Failure::new("waits", format!("committed, and not chosen yet: {waits}")).advice(
                "It goes on by itself as soon as it can; `dynode cancel` forgets it, `dynode plan` shows it.",
            ));
        }
        if told != waits && now == epoch && began.elapsed() > Duration::from_secs(1) {
            remark(&format!("waiting: {waits}"));
            told = waits;
        }
        tokio::time::sleep(if now > epoch { SETTLED_EVERY } else { LOOK_EVERY }).await;
        report = operate(&client, Operator::Show).await?;
    }
    let left: Vec<ChangeId> = ids(&report).into_iter().filter(|id| changes.contains(id)).collect();
    let now = report["epoch"].as_u64().unwrap_or(0);
    if !left.is_empty() {
        let what = format!("epoch {now} came first, without {} of these changes", left.len());
        return Err(
            Failure::new("overtaken", what).advice("They are still staged: look at the plan again, and commit it.")
        );
    }
    if target.json {
        return print_json(&json!({ "epoch": now, "settled": args.wait, "report": report, "transfers": transfers }));
    }
    let unreachable: Vec<&str> =
        transfers["unreachable"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let held = waits_for(&transfers);
    if !unreachable.is_empty() {
        remark(&format!("no answer from {}; the change is settled on all others", unreachable.join(", ")));
    }
    if !held.is_empty() {
        remark(&format!("what stays until they are back: {held}"));
    }
    match args.wait {
        true => print(&format!("epoch {now} holds: copies that came are whole, and those that left are gone\n")),
        false => print(&format!("epoch {now} holds; `dynode transfers` shows how far it has come\n")),
    }
}

pub(in crate::cli) async fn cancel(target: &TargetArgs) -> Done {
    let client = target.connect().await?;
    let changes = ids(&operate(&client, Operator::Show).await?);
    if changes.is_empty() {
        return Err(Failure::new("nothing_staged", "nothing is staged: there is nothing to cancel"));
    }
    let report = operate(&client, Operator::Cancel { changes }).await?;
    match target.json {
        true => print_json(&report),
        false => print("nothing is staged any more; what the members are just choosing may still come\n"),
    }
}

fn ids(report: &Value) -> Vec<ChangeId> {
    let changes = report["changes"].as_array().into_iter().flatten();
    changes.filter_map(|change| read_change_id(change["id"].as_str()?)).collect()
}

/// A person at a terminal says yes.
fn asked() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::new("not_confirmed", "nobody can be asked here; nothing was committed").advice("Say --yes.")
        );
    }
    let mut line = String::new();
    eprint!("commit this? [y/N] ");
    let _ = std::io::stderr().flush();
    std::io::stdin().read_line(&mut line).map_err(|e| Failure::new("input", format!("stdin: {e}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn why_it_waits(report: &Value) -> String {
    let count = |field: &str| report[field].as_u64().unwrap_or(0);
    let (reachable, majority, members) = (count("reachable"), count("majority"), count("members"));
    if reachable < majority {
        let away = report["unreachable"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let away: Vec<&str> = away.collect();
        return format!(
            "{reachable} of {members} members can be reached, and {majority} must agree; unreachable: {}",
            away.join(", ")
        );
    }
    let voters = count("voters");
    if voters < majority {
        return format!(
            "{voters} of {members} members take part in choosing, and {majority} must agree: the others have lost their disks, and \
             with them what they had promised; `commit --force` decides without them"
        );
    }
    if report["settled"] == false {
        return "the change before it is not settled yet".into();
    }
    match report["choosing"]["what"].as_str() {
        Some(what) => {
            format!("the members are choosing ({what}, {} of {majority} so far)", report["choosing"]["heard"])
        }
        None => "the members have not begun to choose".into(),
    }
}
