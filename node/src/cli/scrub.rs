//! `scrub`: has nodes read all their copies and check them, and shows how far they are.

use std::time::Duration;

use clap::Args;
use dynode_client::{Client, NodeId, Topic};
use dynode_ring::Member;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::output::{Done, EXIT_FAILED, Failure, print, print_json};
use super::table::Side::{Left, Right};
use super::table::{Cell, Table};
use super::target::TargetArgs;
use super::units;

/// How often nodes are asked how far they are.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A node that is rebuilt because of what was found says nothing of its scrub for so many questions; then it is given up.
const SILENT_MAX: u32 = 300;

/// `scrub`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Every record is read and compared with what its copy says of itself; damaged copies are rebuilt from the other nodes' \
    while the cluster goes on. Nodes do this by themselves too ([disk] scrub_every_hours in dynode.toml). With --wait the \
    exit code is 0 only when nothing was damaged.")]
pub(super) struct ScrubArgs {
    /// The nodes, by name [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Wait until all is read, and show how far it is
    #[arg(long)]
    wait: bool,
}

/// One node's scrub.
struct Asked {
    member: Member,
    /// Passes that it had ended, and copies found damaged, before it was asked; or why it could not be.
    before: Result<(u64, u64), String>,
    last: Value,
    silent: u32,
    done: bool,
}

pub(super) async fn run(target: &TargetArgs, args: ScrubArgs) -> Done {
    let client = target.connect().await?;
    let layout = client.layout();
    let mut members: Vec<Member> = layout.members().to_vec();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(stranger) = args.names.iter().find(|name| !members.iter().any(|m| m.name == **name)) {
        return Err(
            Failure::new("bad_request", format!("no member is called `{stranger}`")).advice("See `dynode members`.")
        );
    }
    members.retain(|m| args.names.is_empty() || args.names.contains(&m.name));
    let mut asked = Vec::new();
    for member in members {
        let before = begin(&client, member.id).await;
        asked.push(Asked { done: before.is_err(), member, before, last: Value::Null, silent: 0 });
    }
    if args.wait {
        wait(&client, &mut asked).await;
    } else {
        for one in asked.iter_mut().filter(|one| one.before.is_ok()) {
            one.last = status(&client, one.member.id).await.unwrap_or_default();
        }
    }
    match target.json {
        true => print_json(&json!({ "nodes": asked.iter().map(as_json).collect::<Vec<_>>() }))?,
        false => print(&as_table(&asked))?,
    }
    let well = asked.iter().all(|one| one.before.is_ok() && (!args.wait || (one.done && one.damaged() == 0)));
    if well { Ok(()) } else { Err(Failure::said(EXIT_FAILED)) }
}

async fn status(client: &Client, node: NodeId) -> Result<Value, String> {
    let report = client.inspect(Some(node), Topic::Status).await.map_err(|e| e.to_string())?;
    serde_json::from_slice(&report).map_err(|e| e.to_string())
}

async fn begin(client: &Client, node: NodeId) -> Result<(u64, u64), String> {
    let before = status(client, node).await?;
    client.begin_scrub(Some(node)).await.map_err(|e| e.to_string())?;
    Ok((number(&before["scrub"]["passes"]), number(&before["counters"]["copies_damaged"])))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

impl Asked {
    /// Copies found damaged since it was asked; a database that was rebuilt as a whole counts as one.
    fn damaged(&self) -> u64 {
        let found = number(&self.last["counters"]["copies_damaged"]);
        match &self.before {
            Ok((passes, _)) if number(&self.last["scrub"]["passes"]) < *passes => found + 1,
            Ok((_, before)) => found.saturating_sub(*before),
            Err(_) => 0,
        }
    }

    fn take(&mut self, status: Value) {
        let scrub = &status["scrub"];
        let passes = self.before.as_ref().map_or(0, |(passes, _)| *passes);
        self.silent = 0;
        self.done = scrub["running"].is_null() && number(&scrub["passes"]) != passes;
        // Rebuilt as a whole: it counts anew, and there is nothing left to read that was not just written.
        self.done |=
            number(&status["scrub"]["passes"]) < passes || (scrub["running"].is_null() && scrub["last"].is_null());
        self.last = status;
    }
}

async fn wait(client: &Client, asked: &mut [Asked]) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "scrubbing {bar:28.cyan/dim} {pos} of {len} partitions  {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    while asked.iter().any(|one| !one.done) {
        tokio::time::sleep(ASK_EVERY).await;
        let (mut seen, mut all, mut bytes) = (0, 0, 0);
        for one in asked.iter_mut() {
            if !one.done {
                match status(client, one.member.id).await {
                    Ok(status) if status["scrub"].is_object() => one.take(status),
                    _ => one.silent += 1,
                }
                if one.silent > SILENT_MAX {
                    one.done = true;
                    one.before = Err("it has not ended its scrub, and says nothing of it any more".into());
                }
            }
            let running = &one.last["scrub"]["running"];
            let partitions = number(&one.last["partitions"]);
            all += partitions;
            seen += if one.done { partitions } else { number(&running["partitions_done"]) };
            bytes += number(&running["bytes"]) + if one.done { number(&one.last["scrub"]["last"]["bytes"]) } else { 0 };
        }
        bar.set_length(all);
        bar.set_position(seen);
        bar.set_message(units::bytes(bytes));
    }
    bar.finish_and_clear();
}

fn as_json(one: &Asked) -> Value {
    match &one.before {
        Ok(_) => json!({
            "name": one.member.name,
            "scrub": one.last["scrub"],
            "damage": one.last["damage"],
            "damaged": one.damaged(),
        }),
        Err(why) => json!({ "name": one.member.name, "error": why }),
    }
}

fn as_table(asked: &[Asked]) -> String {
    let columns =
        [("node", Left), ("scrub", Left), ("copies", Right), ("records", Right), ("bytes", Right), ("damaged", Right)];
    let mut table = Table::new(columns);
    for one in asked {
        let scrub = &one.last["scrub"];
        let (state, read) = match (&one.before, scrub["running"].is_object()) {
            (Err(why), _) => (Cell::bad(why.as_str()), &Value::Null),
            (Ok(_), true) => (Cell::notable("running"), &scrub["running"]),
            (Ok(_), false) => (Cell::good("done"), &scrub["last"]),
        };
        let damaged = one.damaged();
        table.row([
            one.member.name.as_str().into(),
            state,
            units::count(number(&read["copies"])).into(),
            units::count(number(&read["records"])).into(),
            units::bytes(number(&read["bytes"])).into(),
            if damaged == 0 { "0".into() } else { Cell::bad(damaged.to_string()) },
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(passes: u64, damaged: u64) -> Asked {
        let member = Member { id: NodeId(1), name: "n1".into(), addr: "h:1".into(), zone: "z".into(), weight: 1 };
        Asked { member, before: Ok((passes, damaged)), last: Value::Null, silent: 0, done: false }
    }

    fn said(passes: u64, running: bool, damaged: u64) -> Value {
        let running = if running { json!({ "partitions_done": 1 }) } else { Value::Null };
        json!({ "scrub": { "passes": passes, "running": running, "last": { "copies": 3 } },
            "counters": { "copies_damaged": damaged } })
    }

    #[test]
    fn a_pass_that_ended_before_is_not_the_one_that_was_asked_for() {
        let mut one = asked(2, 1);
        one.take(said(2, true, 1));
        assert!(!one.done);
        one.take(said(3, false, 1));
        assert!(one.done && one.damaged() == 0);
        one.take(said(3, false, 4));
        assert_eq!(one.damaged(), 3);
    }

    #[test]
    fn a_node_that_was_rebuilt_meanwhile_has_found_damage() {
        let mut one = asked(2, 1);
        one.take(said(0, false, 0));
        assert!(one.done && one.damaged() == 1);
        assert!(as_table(&[one]).contains("n1"));
    }
}
