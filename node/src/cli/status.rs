//! `status` and `members`: all nodes as one table, each asked at its own address.

use std::time::Duration;

use dynode_client::{Client, Error, Layout, Topic};
use dynode_ring::{Member, Share};
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::output::{Done, print, print_json};
use super::table::Side::{Left, Right};
use super::table::{Cell, Table};
use super::target::TargetArgs;
use super::units;

/// What one member says of itself, or why it says nothing.
struct Seen {
    member: Member,
    share: Share,
    report: Result<Value, String>,
}

/// Succeeds when any of the nodes given answers: that others are down is what it is there to show.
pub(super) async fn status(target: &TargetArgs) -> Done {
    let client = target.connect().await?;
    let layout = client.layout();
    let seen = ask_all(&client, &layout).await;
    match target.json {
        true => print_json(&as_json(&client, &layout, &seen)),
        false => print(&as_table(&client, &layout, &seen)),
    }
}

/// What `status --json` prints.
pub(super) async fn status_json(client: &Client) -> Value {
    let layout = client.layout();
    as_json(client, &layout, &ask_all(client, &layout).await)
}

/// What `members --json` prints.
pub(super) async fn members_json(client: &Client) -> Result<Value, Error> {
    let layout = client.layout();
    let report = report_of_asked(client).await?;
    let json = |(member, share): &(Member, Share)| {
        let mut json = member_json(member, share);
        let seen = seen_by(&report, member);
        for field in ["state", "since_seconds", "incarnation", "latency_us"] {
            json[field] = seen[field].clone();
        }
        json
    };
    let members: Vec<Value> = shares(&layout).iter().map(json).collect();
    let (guests, changes) = (&report["changes"]["guests"], &report["changes"]["changes"]);
    Ok(json!({
        "epoch": layout.epoch(), "asked": client.node().1, "members": members, "guests": guests, "changes": changes,
    }))
}

async fn report_of_asked(client: &Client) -> Result<Value, Error> {
    let report = client.inspect(Some(client.node().0), Topic::Status).await?;
    Ok(serde_json::from_slice(&report).unwrap_or_default())
}

/// The members, and what the node asked takes each of them for.
pub(super) async fn members(target: &TargetArgs) -> Done {
    let client = target.connect().await?;
    if target.json {
        return print_json(&members_json(&client).await?);
    }
    let (layout, report) = (client.layout(), report_of_asked(&client).await?);
    let shares = shares(&layout);
    let columns = [
        ("name", Left),
        ("state", Left),
        ("for", Right),
        ("answers in", Right),
        ("address", Left),
        ("zone", Left),
        ("weight", Right),
        ("share", Right),
        ("id", Left),
    ];
    let mut table = Table::new(columns);
    for (member, share) in &shares {
        let seen = seen_by(&report, member);
        let since = seen["since_seconds"].as_u64().map(units::uptime).unwrap_or_default();
        let latency = seen["latency_us"]["mean"].as_u64().map(|mean| units::time(Duration::from_micros(mean)));
        table.row([
            member.name.as_str().into(),
            match seen["state"].as_str() {
                Some("alive") => Cell::good("alive"),
                Some("down") => Cell::bad("down"),
                state => Cell::notable(state.unwrap_or("?")),
            },
            since.into(),
            latency.unwrap_or_default().into(),
            member.addr.as_str().into(),
            member.zone.as_str().into(),
            member.weight.to_string().into(),
            units::percent(share.fraction).into(),
            Cell::faint(member.id.to_string()),
        ]);
    }
    print(&format!("as {} sees them\n\n{}{}", client.node().1, table.render(), to_come(&report).concat()))
}

/// Guests, and changes that are staged, as the node that made the report knows of them: a line each.
fn to_come(report: &Value) -> Vec<String> {
    let list = |field: &str| report["changes"][field].as_array().cloned().unwrap_or_default();
    let text = |json: &Value, field: &str| json[field].as_str().unwrap_or("?").to_string();
    let guest = |guest: &Value| {
        let kind = if guest["former"] == true { "former member:" } else { "guest:" };
        format!("{} {} at {}, owns nothing\n", kind.yellow(), text(guest, "name"), text(guest, "addr"))
    };
    let change = |change: &Value| {
        let state = if change["committed"] == true { "committed:" } else { "staged:" };
        format!("{} {}\n", state.yellow(), text(change, "text"))
    };
    list("guests").iter().map(guest).chain(list("changes").iter().map(change)).collect()
}

/// What the node that made the report says of a member: of itself, that it is alive.
fn seen_by(report: &Value, member: &Member) -> Value {
    let id = member.id.to_string();
    if report["node"] == id.as_str() {
        let incarnation = &report["liveness"]["incarnation"];
        return json!({ "state": "alive", "since_seconds": report["uptime_seconds"], "incarnation": incarnation });
    }
    let peers = report["peers"].as_array().into_iter().flatten();
    peers.into_iter().find(|peer| peer["node"] == id.as_str()).cloned().unwrap_or_default()
}

/// Members by name, as people look for them, with what they hold.
pub(super) fn shares(layout: &Layout) -> Vec<(Member, Share)> {
    let mut shares: Vec<(Member, Share)> = layout.members().iter().cloned().zip(layout.shares()).collect();
    shares.sort_by(|(a, _), (b, _)| by_name(&a.name, &b.name));
    shares
}

/// `n2` before `n10`: shorter names of one kind first.
fn by_name(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |name: &str| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem.to_string(), name[stem.len()..].parse::<u64>().ok())
    };
    split(a).cmp(&split(b)).then_with(|| a.cmp(b))
}

async fn ask_all(client: &Client, layout: &Layout) -> Vec<Seen> {
    let mut asked = tokio::task::JoinSet::new();
    for (at, (member, share)) in shares(layout).into_iter().enumerate() {
        let client = client.clone();
        asked.spawn(async move {
            let report = match client.inspect(Some(member.id), Topic::Status).await {
                Ok(json) => serde_json::from_slice(&json).map_err(|e| format!("answers what is no report: {e}")),
                Err(e) => Err(e.to_string()),
            };
            (at, Seen { member, share, report })
        });
    }
    let mut seen = asked.join_all().await;
    seen.sort_by_key(|(at, _)| *at);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

fn as_json(client: &Client, layout: &Layout, seen: &[Seen]) -> Value {
    let nodes: Vec<Value> = seen
        .iter()
        .map(|Seen { member, share, report }| {
            let mut node = member_json(member, share);
            match report {
                Ok(report) => {
                    node["state"] = report["state"].clone();
                    node["report"] = report.clone();
                }
                Err(why) => {
                    node["state"] = json!("unreachable");
                    node["error"] = json!(why);
                }
            }
            node
        })
        .collect();
    json!({
        "cluster": client.cluster().iter().map(|b| format!("{b:02x}")).collect::<String>(),
        "asked": client.node().1,
        "epoch": layout.epoch(),
        "partitions": layout.partitions(),
        "replicas": layout.replicas(),
        "nodes": nodes,
    })
}

pub(super) fn member_json(member: &Member, share: &Share) -> Value {
    json!({
        "name": member.name,
        "node": member.id.to_string(),
        "addr": member.addr,
        "zone": member.zone,
        "weight": member.weight,
        "partitions": share.held,
        "target": share.target,
        "share": share.fraction,
    })
}

fn as_table(client: &Client, layout: &Layout, seen: &[Seen]) -> String {
    let mut table = Table::new([
        ("node", Left),
        ("state", Left),
        ("address", Left),
        ("zone", Left),
        ("weight", Right),
        ("share", Right),
        ("partitions", Right),
        ("bytes", Right),
        ("sync", Left),
        ("peers", Left),
        ("version", Left),
        ("up for", Right),
    ]);
    let (mut remarks, mut up) = (Vec::new(), 0);
    for Seen { member, share, report } in seen {
        let mut cells = vec![Cell::styled(member.name.as_str(), owo_colors::Style::new().bold())];
        cells.push(match report {
            Ok(report) if report["state"] == "up" => Cell::good("up"),
            Ok(report) => Cell::notable(report["state"].as_str().unwrap_or("?")),
            Err(_) => Cell::bad("unreachable"),
        });
        cells.extend([
            member.addr.as_str().into(),
            member.zone.as_str().into(),
            member.weight.to_string().into(),
            units::percent(share.fraction).into(),
            share.held.to_string().into(),
        ]);
        match report {
            Ok(report) => {
                up += 1;
                cells.extend(figures(report));
                remarks.extend(alarms(&member.name, report));
            }
            Err(why) => remarks.push(format!("{} {}: {why}", "unreachable:".red(), member.name)),
        }
        table.row(cells);
    }
    let id: String = client.cluster()[..4].iter().map(|b| format!("{b:02x}")).collect();
    let copies = layout.replicas().min(layout.members().len());
    let mut text = format!(
        "cluster {}  epoch {}  {} × {}  {up} of {} up\n\n{}",
        format!("{id}…").bold(),
        layout.epoch(),
        units::counted(u64::from(layout.partitions()), "partition"),
        if copies == 1 { "1 copy".to_string() } else { format!("{copies} copies") },
        units::counted(seen.len() as u64, "node"),
        table.render(),
    );
    let told = seen.iter().find_map(|seen| seen.report.as_ref().ok().filter(|report| !report["changes"].is_null()));
    remarks.extend(told.map(to_come).unwrap_or_default().into_iter().map(|line| line.trim_end().to_string()));
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        text.push_str(&remark);
        text.push('\n');
    }
    text
}

/// The cells that only the node itself can fill.
fn figures(report: &Value) -> [Cell; 5] {
    let bytes: u64 = report["bytes"].as_object().into_iter().flat_map(|b| b.values()).filter_map(Value::as_u64).sum();
    let (lacking, pulling) = (report["sync"]["lacking"].as_u64(), report["sync"]["pulling"].as_u64());
    let sync = match (lacking.unwrap_or(0), pulling.unwrap_or(0)) {
        _ if report["sync"].is_null() => Cell::faint("unknown"), // a fenced node has nothing to say of it
        (0, 0) => Cell::good("whole"),
        (lacking, 0) => Cell::notable(format!("lacks {lacking}")),
        (lacking, pulling) => Cell::notable(format!("lacks {lacking}, pulls {pulling}")),
    };
    let peers = report["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let are = |state: &str| peers.iter().filter(|peer| peer["state"] == state).count();
    let others = [(are("suspect"), "suspect"), (are("down"), "down")];
    let mut peers_said = format!("{}/{}", are("alive"), peers.len());
    for (count, state) in others.iter().filter(|(count, _)| *count > 0) {
        peers_said.push_str(&format!(", {count} {state}"));
    }
    [
        units::bytes(bytes).into(),
        sync,
        if are("alive") == peers.len() { peers_said.into() } else { Cell::notable(peers_said) },
        report["version"].as_str().unwrap_or("?").into(),
        units::uptime(report["uptime_seconds"].as_u64().unwrap_or(0)).into(),
    ]
}

/// Counters that should stay 0.
fn alarms(name: &str, report: &Value) -> Vec<String> {
    let said = [
        ("no_progress", "syncs that went round in circles"),
        ("content_differs", "copies with equal clocks and different content"),
        ("scans_differ", "scans that listed something else than their source says of itself"),
    ];
    let alarm = |(counter, words): (&str, &str)| {
        let count = report["counters"][counter].as_u64().filter(|count| *count > 0)?;
        Some(format!("{} {name}: {count} {words}: a bug, please report it", "ALARM:".red().bold()))
    };
    said.into_iter().filter_map(alarm).chain(damage(name, report)).chain(away(name, report)).collect()
}

/// What a node does because others are away, or because it was.
fn away(name: &str, report: &Value) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut say = |head: &str, words: String| remarks.push(format!("{} {name}: {words}", head.yellow()));
    let hints = &report["hints"];
    if let Some(copies @ 1..) = hints["partitions"].as_u64() {
        let bytes = hints["bytes"].as_u64().unwrap_or(0);
        let since = units::uptime(hints["oldest_seconds"].as_u64().unwrap_or(0));
        let full = if Some(bytes) >= hints["bytes_max"].as_u64() { ", over its budget" } else { "" };
        let held = units::counted(copies, "partition");
        say(
            "hints:",
            format!("holds {} of {held} for owners that are away, the oldest for {since}{full}", units::bytes(bytes)),
        );
    }
    if let Some(copies @ 1..) = report["sync"]["recovering"].as_u64() {
        let copies = units::counted(copies, "partition");
        say(
            "recovering:",
            format!("what it may have lost of {copies}; strict quorums do not count it there until then"),
        );
    }
    let peers = report["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let open = peers.iter().filter(|peer| peer["breaker"].as_str().is_some_and(|state| state != "closed"));
    for peer in open.filter_map(|peer| peer["name"].as_str()) {
        say("breaker:", format!("{peer} takes requests and answers nothing; it is only probed until it does"));
    }
    remarks
}

/// What is wrong with a node's disk, and what was.
fn damage(name: &str, report: &Value) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut say = |words: String| remarks.push(format!("{} {name}: {words}", "disk:".red()));
    if let Some(why) = report["why"].as_str() {
        let state = report["state"].as_str().unwrap_or("?");
        let done = match (report["partitions_done"].as_u64(), report["partitions"].as_u64()) {
            (Some(done), Some(all)) if state == "rebuilding" => format!(" ({done} of {all} partitions)"),
            _ => String::new(),
        };
        say(format!("{state}{done}: {why}"));
    }
    let kinds = [
        ("rebuilding", "rebuilt from the other owners, and answer no reads until then"),
        ("shelved", "damaged, and no other node has one: restore them from a backup"),
        ("divergent", "as they say they are, and yet not as others with an equal clock: see the log"),
    ];
    for (kind, words) in kinds {
        let count = report["damage"][kind].as_array().map_or(0, Vec::len);
        if count > 0 {
            say(format!("{} {words}", if count == 1 { "1 copy".into() } else { format!("{count} copies") }));
        }
    }
    if let Some(why) = report["damage"]["writes_refused"].as_str() {
        say(why.into());
    }
    match report["counters"]["copies_damaged"].as_u64() {
        Some(count) if count > 0 => say(format!("{count} found damaged since it started")),
        _ => {}
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_numbers_are_in_the_order_of_the_numbers() {
        let mut names = ["n10", "n2", "a", "n1", "z1"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["a", "n1", "n2", "n10", "z1"]);
    }

    #[test]
    fn a_member_is_what_the_report_says_and_the_reporter_is_alive() {
        let member = |id| Member {
            id: dynode_ring::NodeId(id),
            name: format!("n{id}"),
            addr: String::new(),
            zone: String::new(),
            weight: 1,
        };
        let peer = json!({ "node": member(2).id.to_string(), "state": "suspect", "up": true });
        let report = json!({ "node": member(1).id.to_string(), "uptime_seconds": 5, "peers": [peer] });
        assert_eq!(seen_by(&report, &member(1))["state"], "alive");
        assert_eq!(seen_by(&report, &member(2))["state"], "suspect");
        assert_eq!(seen_by(&report, &member(3))["state"], Value::Null);
    }

    #[test]
    fn a_report_with_holes_is_shown_all_the_same() {
        let cells = figures(&json!({}));
        assert_eq!(cells.len(), 5);
        assert!(alarms("n0", &json!({ "counters": { "no_progress": 0 } })).is_empty());
        assert_eq!(alarms("n0", &json!({ "counters": { "content_differs": 2 } })).len(), 1);
        let said = alarms("n0", &json!({ "damage": { "rebuilding": [1, 2], "shelved": [], "writes_refused": null } }));
        assert!(said.len() == 1 && said[0].contains("2 copies rebuilt"), "{said:?}");
        let fenced = json!({ "state": "rebuilding", "why": "bits", "partitions": 9, "partitions_done": 3 });
        assert!(alarms("n0", &fenced)[0].contains("3 of 9"));
    }
}
