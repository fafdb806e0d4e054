//! `local`: what one node holds itself, without asking any other: its copies' clocks, one key, its storage.

use clap::Args;
use dynode_client::Topic;
use serde_json::Value;

use super::output::{Done, Failure, print, print_json};
use super::table::Side::{Left, Right};
use super::table::{Cell, Table};
use super::target::{TargetArgs, parse_place};
use super::units;

/// More of a clock does not help the eye.
const CLOCK_CHARS: usize = 60;

/// `local`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Counted by reading every copy, which takes the node a while when there is much in it. Equal clocks and contents on all \
    owners of a partition mean equal copies.")]
pub(super) struct LocalArgs {
    /// Show this node's copy of one key instead of the clocks of all its copies
    #[arg(long, value_name = "BUCKET/KEY", value_parser = parse_place, conflicts_with = "storage")]
    key: Option<(String, String)>,
    /// Show records and bytes stored, by kind
    #[arg(long)]
    storage: bool,
}

pub(super) async fn run(target: &TargetArgs, args: LocalArgs) -> Done {
    let topic = match args.key {
        Some((bucket, key)) => Topic::LocalKey { bucket: bucket.into(), key: key.into() },
        None if args.storage => Topic::Storage,
        None => Topic::LocalClocks,
    };
    let report = target.connect().await?.inspect(None, topic.clone()).await?;
    let report: Value = serde_json::from_slice(&report)
        .map_err(|e| Failure::new("unexpected", format!("the node's report cannot be read: {e}")))?;
    if target.json {
        return print_json(&report);
    }
    print(&match topic {
        Topic::LocalKey { .. } => key(&report),
        Topic::Storage => storage(&report),
        Topic::LocalClocks | Topic::Status | Topic::Secret => clocks(&report),
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A clock as one line: `actor 1-17, actor 3`.
fn clock(value: &Value) -> String {
    let Some(actors) = value.as_object() else { return text(value) };
    let runs: Vec<String> = actors.iter().map(|(actor, runs)| format!("{actor} {}", text(runs))).collect();
    runs.join("; ")
}

fn clocks(report: &Value) -> String {
    let columns = [
        ("partition", Right),
        ("", Left),
        ("keys", Right),
        ("index", Right),
        ("content", Left),
        ("clock hash", Left),
        ("clock", Left),
    ];
    let mut table = Table::new(columns);
    for copy in list(report, "copies") {
        let mut said = clock(&copy["clock"]);
        if said.chars().count() > CLOCK_CHARS {
            said = said.chars().take(CLOCK_CHARS).chain(['…']).collect();
        }
        let role = match (copy["owner"] == true, copy["content"] == copy["content_kept"]) {
            (_, false) => Cell::bad("content differs from what is kept of it"),
            (true, true) => "".into(),
            (false, true) => Cell::notable("not an owner"),
        };
        table.row([
            text(&copy["partition"]).into(),
            role,
            text(&copy["keys"]).into(),
            text(&copy["index_entries"]).into(),
            text(&copy["content"]).into(),
            text(&copy["clock_hash"]).into(),
            Cell::faint(said),
        ]);
    }
    let copies = list(report, "copies");
    let keys: u64 = copies.iter().filter_map(|c| c["keys"].as_u64()).sum();
    let count = if copies.len() == 1 { "1 copy".to_string() } else { format!("{} copies", copies.len()) };
    format!("{}: {count}, {}\n\n{}", text(&report["node"]), units::counted(keys, "key"), table.render())
}

fn key(report: &Value) -> String {
    let mut table = Table::pairs();
    let owners: Vec<String> = list(report, "owners").iter().map(text).collect();
    table.pair("node", text(&report["node"]));
    table.pair("token", text(&report["token"]));
    table.pair("partition", text(&report["partition"]));
    table.pair("owners", owners.join(", "));
    table.pair("context", clock(&report["context"]));
    let values = list(report, "values");
    match (report["copy"] == true, values.is_empty()) {
        (false, _) => table.pair("copy", Cell::notable("this node holds none of the partition")),
        (true, true) => table.pair("value", Cell::notable("none")),
        (true, false) => &mut table,
    };
    for value in values {
        let size = units::bytes(value["bytes"].as_u64().unwrap_or(0));
        table.pair("value", format!("{size}, dot {}, CRC-32 {}", text(&value["dot"]), text(&value["crc32"])));
    }
    table.render()
}

fn storage(report: &Value) -> String {
    let mut table = Table::new([("space", Left), ("records", Right), ("bytes", Right), ("on disk, about", Right)]);
    for (space, counts) in report["spaces"].as_object().into_iter().flatten() {
        let figure = |value: &Value| value.as_u64().unwrap_or(0);
        table.row([
            space.as_str().into(),
            units::count(figure(&counts["records"])).into(),
            units::bytes(figure(&counts["bytes"])).into(),
            units::bytes(figure(&report["disk"][space])).into(),
        ]);
    }
    format!("{}\n\n{}", text(&report["node"]), table.render())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_become_tables() {
        let copy = json!({ "partition": 3, "owner": true, "keys": 2, "index_entries": 0, "content": "0a",
            "content_kept": "0a", "clock_hash": "0b", "clock": { "n0.1": "1-17, 19" } });
        let said = clocks(&json!({ "node": "n0", "copies": [copy] }));
        assert!(said.starts_with("n0: 1 copy, 2 keys\n"), "{said}");
        assert!(said.contains("n0.1 1-17, 19"), "{said}");
        let value = json!({ "dot": "n0.1:5", "bytes": 2048, "crc32": "0c" });
        let said = key(&json!({ "node": "n0", "copy": true, "owners": ["n0", "n1"], "values": [value] }));
        assert!(said.contains("2 KiB, dot n0.1:5"), "{said}");
        let said =
            storage(&json!({ "node": "n0", "spaces": { "objects": { "records": 1, "bytes": 10 } }, "disk": {} }));
        assert!(said.contains("objects"), "{said}");
    }
}
