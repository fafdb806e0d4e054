//! `sync`: who lacks what of whom, as each node knows, when clocks were last compared, and what is being pulled.

use std::time::Duration;

use clap::Args;
use dynode_client::{Client, NodeId};
use dynode_ring::Member;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::output::{Done, print, print_json};
use super::table::Side::{Left, Right};
use super::table::{Cell, Table};
use super::target::TargetArgs;
use super::units;

/// Nodes asked at once: enough to hide those that take long, few enough for the descriptors of a shell.
const ASKED_MAX: usize = 64;

/// For so long `--now` waits until what it asked for has been done: comparing takes milliseconds, and nodes that do not
/// answer each other by then are shown as they are.
const COMPARED_WITHIN: Duration = Duration::from_secs(2);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Lagging for longer than a few rounds is more than writes under way.
const LONG_SECONDS: f64 = 5.0;

/// `sync`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Owners of the same partitions compare clocks about once a second, and pull what they lack. Under load a node lacks \
    something for a moment now and then: writes that are on their way. What it has lacked for long is worth a look.")]
pub(super) struct SyncArgs {
    /// Have all nodes compare clocks first, and pull at once what they lack
    #[arg(long)]
    now: bool,
    /// Show the partitions, too, the ones farthest apart of each node
    #[arg(long)]
    partitions: bool,
}

/// One node's report, or why there is none.
type Told = (Member, Result<Value, String>);

pub(super) async fn run(target: &TargetArgs, args: SyncArgs) -> Done {
    let client = target.connect().await?;
    let mut told = ask_all(&client, args.now).await;
    if args.now {
        let asked = Instant::now();
        while asked.elapsed() < COMPARED_WITHIN && !told.iter().all(|(_, report)| is_compared(report, asked.elapsed()))
        {
            tokio::time::sleep(LOOK_EVERY).await;
            told = ask_all(&client, false).await;
        }
    }
    match target.json {
        true => print_json(&json!({ "nodes": told.iter().map(as_json).collect::<Vec<_>>() })),
        false => print(&as_text(&told, args.partitions)),
    }
}

/// Every member at its own address; in the order of names.
async fn ask_all(client: &Client, now: bool) -> Vec<Told> {
    let layout = client.layout();
    let mut members: Vec<Member> = layout.members().to_vec();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let mut left = members.iter().cloned().enumerate();
    let (mut asked, mut told) = (JoinSet::new(), Vec::new());
    loop {
        while asked.len() < ASKED_MAX
            && let Some((at, member)) = left.next()
        {
            let client = client.clone();
            asked.spawn(async move { (at, report(&client, member.id, now).await) });
        }
        let Some(joined) = asked.join_next().await else { break };
        told.extend(joined);
    }
    told.sort_by_key(|(at, _)| *at);
    members.into_iter().zip(told.into_iter().map(|(_, report)| report)).collect()
}

async fn report(client: &Client, node: NodeId, now: bool) -> Result<Value, String> {
    let report = client.sync_report(Some(node), now).await.map_err(|e| e.to_string())?;
    serde_json::from_slice(&report).map_err(|e| format!("answers what is no report: {e}"))
}

/// Has it compared with every peer that it can reach since it was asked to?
fn is_compared(report: &Result<Value, String>, since: Duration) -> bool {
    let Ok(report) = report else { return true };
    let is_fresh = |peer: &Value| peer["compared_seconds"].as_f64().is_some_and(|age| age <= since.as_secs_f64());
    list(report, "peers").iter().all(|peer| peer["up"] != true || is_fresh(peer))
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn as_json((member, report): &Told) -> Value {
    match report {
        Ok(report) => report.clone(),
        Err(why) => json!({ "name": member.name, "error": why }),
    }
}

fn as_text(told: &[Told], partitions: bool) -> String {
    let mut table = Table::new([
        ("node", Left),
        ("of", Left),
        ("compared", Right),
        ("lacks", Right),
        ("in partitions", Right),
        ("for", Right),
        ("pulling", Left),
    ]);
    let mut remarks = String::new();
    for (member, report) in told {
        match report {
            Ok(report) => list(report, "peers").iter().for_each(|peer| {
                table.row(row(member, report, peer));
            }),
            Err(why) => {
                let unknown = unknown_lag(told, &member.name);
                remarks.push_str(&format!("{} {}: {why}{unknown}\n", "no answer:".red(), member.name));
            }
        }
    }
    for (member, report) in told {
        let Ok(report) = report else { continue };
        let figure = |name: &str| report[name].as_u64().unwrap_or(0);
        let mut words = Vec::new();
        let said = [
            ("waiting", "partition waits to be pulled", "partitions wait to be pulled"),
            ("scans_served", "scan is taken from it", "scans are taken from it"),
            ("deltas_served", "long delta is taken from it", "long deltas are taken from it"),
            ("held", "copy is held for owners that are away", "copies are held for owners that are away"),
        ];
        for (name, one, many) in said {
            match figure(name) {
                0 => {}
                1 => words.push(format!("1 {one}")),
                n => words.push(format!("{} {many}", units::count(n))),
            }
        }
        if !words.is_empty() {
            remarks.push_str(&format!("{}: {}\n", member.name, words.join(", ")));
        }
    }
    let head = match told.iter().flat_map(|(_, report)| report).map(writes_lacked).sum::<u64>() {
        0 => "nobody lacks anything, as far as is known".green().to_string(),
        n => format!("{} on their way", units::counted(n, "write")).yellow().to_string(),
    };
    let mut text = format!("{head}\n\n{}", table.render());
    if !remarks.is_empty() {
        text.push_str(&format!("\n{remarks}"));
    }
    if partitions {
        text.push_str(&format!("\n{}", partitions_text(told)));
    }
    text
}

fn writes_lacked(report: &Value) -> u64 {
    list(report, "peers").iter().filter_map(|peer| peer["lacks"]["writes"].as_u64()).sum()
}

/// What others have that a node which does not answer has not told of: at most so much it lacks.
fn unknown_lag(told: &[Told], name: &str) -> String {
    let peers = told.iter().flat_map(|(_, report)| report).flat_map(|report| list(report, "peers"));
    let most = peers.filter(|peer| peer["name"] == name).filter_map(|peer| peer["peer_lacks"]["writes"].as_u64()).max();
    match most.unwrap_or(0) {
        0 => String::new(),
        n => format!(" (of one peer's writes alone it may lack {})", units::count(n)),
    }
}

fn row(member: &Member, report: &Value, peer: &Value) -> [Cell; 7] {
    let name = peer["name"].as_str().unwrap_or("?");
    let figure = |name: &str| peer["lacks"][name].as_u64().unwrap_or(0);
    let (writes, partitions) = (figure("writes"), figure("partitions"));
    let for_seconds = peer["lacks"]["for_seconds"].as_f64();
    let long = for_seconds.is_some_and(|seconds| seconds > LONG_SECONDS);
    let shade = |text: String| match (writes, long) {
        (0, _) => Cell::faint(text),
        (_, false) => Cell::notable(text),
        (_, true) => Cell::bad(text),
    };
    let compared = match (peer["compared_seconds"].as_f64(), peer["up"] == true) {
        (Some(age), true) => Cell::from(ago(age)),
        (Some(age), false) => Cell::bad(format!("down, {}", ago(age))),
        (None, true) => Cell::notable("not yet"),
        (None, false) => Cell::bad("down"),
    };
    [
        Cell::styled(member.name.as_str(), owo_colors::Style::new().bold()),
        name.into(),
        compared,
        shade(if writes == 0 { "nothing".into() } else { units::counted(writes, "write") }),
        shade(format!("{} of {}", units::count(partitions), peer["in_common"])),
        for_seconds.map_or("".into(), |seconds| shade(units::time(Duration::from_secs_f64(seconds)))),
        pulling(report, name).into(),
    ]
}

fn ago(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1} s ago"),
        _ => format!("{} ago", units::uptime(seconds as u64)),
    }
}

fn pulling(report: &Value, source: &str) -> String {
    let of_source = list(report, "pulls").iter().filter(|pull| pull["source"] == source);
    let (scans, deltas): (Vec<&Value>, Vec<&Value>) = of_source.partition(|pull| pull["kind"] == "scan");
    let counted = |n: usize, noun| (n > 0).then(|| units::counted(n as u64, noun));
    let both = [counted(scans.len(), "scan"), counted(deltas.len(), "delta")];
    both.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

fn partitions_text(told: &[Told]) -> String {
    let columns =
        [("node", Left), ("of", Left), ("partition", Right), ("lacks", Right), ("has more", Right), ("for", Right)];
    let mut table = Table::new(columns);
    let mut not_told = 0;
    for (member, report) in told {
        let Ok(report) = report else { continue };
        not_told += report["partitions_not_told"].as_u64().unwrap_or(0);
        for pair in list(report, "partitions") {
            let figure = |name: &str| units::count(pair[name].as_u64().unwrap_or(0));
            let time = pair["for_seconds"].as_f64().map(|seconds| units::time(Duration::from_secs_f64(seconds)));
            table.row([
                member.name.as_str().into(),
                pair["peer"].as_str().unwrap_or("?").into(),
                pair["partition"].to_string().into(),
                figure("lacks").into(),
                figure("peer_lacks").into(),
                time.unwrap_or_default().into(),
            ]);
        }
    }
    match (table.is_empty(), not_told) {
        (true, _) => "no two copies are apart\n".into(),
        (false, 0) => table.render(),
        (false, n) => format!("{}and {} more\n", table.render(), units::counted(n, "pair")),
    }
}

#[cfg(test)]
#[path = "sync/tests.rs"]
mod tests;
