//! Changes of ownership: `join`, `leave`, `replace`, `remove`, `set` stage one; `plan` shows what the staged ones lead to;
//! `commit` makes them the next layout, and `cancel` forgets them. Any node takes all of them.

mod commit;
mod plan;

use std::time::Duration;

use clap::Args;
use dynode_client::wire::{MemberIs, Operator};
use dynode_client::{Client, Topic};
use dynode_ring::NodeId;
use serde_json::Value;

use super::output::{Done, Failure, print, print_json};
use super::target::TargetArgs;

pub(super) use commit::{CommitArgs, cancel, commit};
pub(super) use plan::plan;

/// A guest has so long to say who it is.
const GUEST_TIME: Duration = Duration::from_secs(5);

/// `join`.
#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// Where the guest listens: a node started with `dynode start --join`
    #[arg(value_name = "HOST:PORT")]
    guest: String,
    /// Its capacity relative to other nodes' [default: as it was started]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,
    /// What it fails together with [default: as it was started]
    #[arg(long)]
    zone: Option<String>,
}

/// `leave` and `remove`.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The member's name
    name: String,
}

/// `replace`.
#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    /// The name of the member that goes; it may be dead
    old: String,
    /// The guest that comes: HOST:PORT, or its name
    new: String,
}

/// `set`.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The member's name
    name: String,
    /// Its capacity relative to other nodes', from then on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,
    /// What it fails together with, from then on
    #[arg(long)]
    zone: Option<String>,
}

pub(super) async fn join(target: &TargetArgs, args: JoinArgs) -> Done {
    let client = target.connect().await?;
    let mut guest = guest_at(&client, &args.guest).await?;
    guest.weight = args.weight.unwrap_or(guest.weight);
    guest.zone = args.zone.unwrap_or(guest.zone);
    stage(target, &client, Operator::Join(guest)).await
}

pub(super) async fn leave(target: &TargetArgs, args: NameArgs) -> Done {
    stage(target, &target.connect().await?, Operator::Leave(args.name)).await
}

pub(super) async fn remove(target: &TargetArgs, args: NameArgs) -> Done {
    stage(target, &target.connect().await?, Operator::Remove(args.name)).await
}

pub(super) async fn replace(target: &TargetArgs, args: ReplaceArgs) -> Done {
    let client = target.connect().await?;
    let new = match args.new.contains(':') {
        true => guest_at(&client, &args.new).await?,
        false => {
            let report = operate(&client, Operator::Show).await?;
            let known = report["guests"].as_array().into_iter().flatten();
            let found = known.filter(|guest| guest["name"] == args.new.as_str()).find_map(member_of);
            found.ok_or_else(|| {
                let what = format!("{} knows of no guest called `{}`", client.node().1, args.new);
                Failure::new("guest", what)
                    .advice("`dynode members` shows the guests; or say where it listens: HOST:PORT.")
            })?
        }
    };
    stage(target, &client, Operator::Replace { old: args.old, new }).await
}

pub(super) async fn set(target: &TargetArgs, args: SetArgs) -> Done {
    let SetArgs { name, weight, zone } = args;
    stage(target, &target.connect().await?, Operator::Set { name, weight, zone }).await
}

async fn stage(target: &TargetArgs, client: &Client, what: Operator) -> Done {
    let report = operate(client, what).await?;
    if target.json {
        return print_json(&report);
    }
    print(&format!("{}\n`dynode plan` shows what would move; `dynode commit` does it.\n", staged_in_words(&report)))
}

/// The staged changes, one a line.
fn staged_in_words(report: &Value) -> String {
    let changes = report["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        return "nothing is staged\n".into();
    }
    let line = |change: &Value| {
        let text = change["text"].as_str().unwrap_or("?");
        let state = if change["committed"] == true { ", committed" } else { "" };
        let problem = change["problem"].as_str().map(|why| format!(" (not now: {why})")).unwrap_or_default();
        format!("  {text}{state}{problem}\n")
    };
    format!("staged:\n{}", changes.iter().map(line).collect::<String>())
}

/// Asks a node for something, and reads how things stand then.
async fn operate(client: &Client, what: Operator) -> Result<Value, Failure> {
    let report = client.operate(what).await?;
    serde_json::from_slice(&report).map_err(|e| Failure::new("wire", format!("the answer is no report: {e}")))
}

/// Who listens there, as the member that it would be.
async fn guest_at(client: &Client, addr: &str) -> Result<MemberIs, Failure> {
    let report = dynode_client::inspect(addr, Topic::Status, GUEST_TIME).await.map_err(|e| {
        Failure::new("guest", format!("no guest answers at {addr}: {e}"))
            .advice("Start it there with `dynode start --join HOST:PORT --secret FILE --listen HOST:PORT --name NAME --data DIR`.")
    })?;
    let report: Value = serde_json::from_slice(&report).unwrap_or_default();
    let own: String = client.cluster().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = report["name"].as_str().unwrap_or("?").to_string();
    if report["cluster"].as_str().is_some_and(|cluster| cluster != own) {
        let what = format!("`{name}` at {addr} belongs to another cluster");
        return Err(Failure::new("guest", what).advice(
            "A node that has data of its own cannot join another cluster: start one with an empty --data and --join.",
        ));
    }
    if report["changes"]["standing"] == "member" {
        return Err(Failure::new("guest", format!("`{name}` at {addr} is a member already: nothing was changed")));
    }
    let mut member = member_of(&report["changes"]["card"])
        .ok_or_else(|| Failure::new("guest", format!("{addr} does not say who it is: another version of dynode?")))?;
    // Where it listens on all addresses, the one that was given leads to it.
    if member.addr.starts_with("0.0.0.0:") || member.addr.starts_with("[::]:") {
        member.addr = addr.into();
    }
    Ok(member)
}

fn member_of(json: &Value) -> Option<MemberIs> {
    let text = |field: &str| json[field].as_str().map(str::to_string);
    let node: NodeId = json["node"].as_str()?.parse().ok()?;
    let weight = u32::try_from(json["weight"].as_u64()?).ok()?;
    Some(MemberIs { node: node.0, name: text("name")?, addr: text("addr")?, zone: text("zone")?, weight })
}
