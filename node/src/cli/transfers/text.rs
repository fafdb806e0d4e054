//! The report for people: a bar for each node, and what is waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use owo_colors::OwoColorize;
use serde_json::Value;

use crate::cli::table::Side::{Left, Right};
use crate::cli::table::{Cell, Table};
use crate::cli::units;

/// Columns of a bar.
const BAR: usize = 20;

pub(super) fn of(report: &Value, partitions: bool) -> String {
    let nodes = list(&report["nodes"]);
    let moving = list(&report["transfers"]).len();
    let mut text = match report["settled"] == true {
        true => format!("nothing moves: epoch {} is settled\n", report["epoch"]),
        false => format!("epoch {}: {moving} of {} partitions on their way\n", report["epoch"], report["partitions"]),
    };
    for name in list(&report["unreachable"]) {
        text.push_str(&format!("{} {}\n", "no answer:".red(), name.as_str().unwrap_or("?")));
    }
    let shown: Vec<&Value> = nodes.iter().filter(|node| figure(node, "comes") + held(node) > 0).collect();
    if report["settled"] == true && shown.iter().all(|node| held(node) == 0) {
        return text;
    }
    if !shown.is_empty() {
        text.push_str(&format!("\n{}", bars(&shown)));
    }
    if partitions && moving > 0 {
        text.push_str(&format!("\n{}", on_their_way(&report["transfers"])));
    }
    text
}

fn bars(nodes: &[&Value]) -> String {
    let mut table = Table::new([
        ("node", Left),
        ("copies that came", Left),
        ("", Right),
        ("taken in", Right),
        ("rate", Right),
        ("ends", Right),
        ("to hand over", Right),
        ("waits for", Left),
    ]);
    for node in nodes {
        let (comes, whole) = (figure(node, "comes"), figure(node, "whole"));
        let seconds =
            |field: &str| node[field].as_f64().map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        let ends = match seconds("ends_in_seconds") {
            Some(left) => format!("in about {}", units::time(left)),
            None if whole < comes => "not known yet".into(),
            None => String::new(),
        };
        let rate = node["bytes_per_second"].as_f64().map(|rate| format!("{}/s", units::bytes(rate as u64)));
        table.row([
            node["name"].as_str().unwrap_or("?").into(),
            if whole == comes { Cell::good(bar(whole, comes)) } else { bar(whole, comes).into() },
            if comes == 0 { Cell::faint("-") } else { format!("{whole} of {comes}").into() },
            if comes == 0 { Cell::faint("-") } else { units::bytes(figure(node, "bytes_in")).into() },
            rate.unwrap_or_default().into(),
            ends.into(),
            if held(node) == 0 { Cell::faint("-") } else { held(node).to_string().into() },
            lacked_by(node).into_iter().collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    table.render()
}

fn bar(done: u64, of: u64) -> String {
    let full = (done * BAR as u64).checked_div(of).map_or(0, |full| usize::try_from(full).unwrap_or(BAR).min(BAR));
    match of {
        0 => String::new(),
        _ => format!("{}{}", "█".repeat(full), "░".repeat(BAR - full)),
    }
}

fn on_their_way(transfers: &Value) -> String {
    let mut table = Table::new([
        ("partition", Right),
        ("phase", Left),
        ("leaves", Left),
        ("comes to", Left),
        ("contained by", Left),
    ]);
    for transfer in list(transfers) {
        let names =
            |field: &str| list(&transfer[field]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        table.row([
            transfer["partition"].to_string().into(),
            transfer["phase"].as_str().unwrap_or("?").into(),
            names("leaves").into(),
            names("comes_to").into(),
            names("contained_by").into(),
        ]);
    }
    table.render()
}

/// What a change that is not settled waits for, in a line.
pub(in crate::cli) fn waits_for(report: &Value) -> String {
    let mut waits = Vec::new();
    let moving = list(&report["transfers"]).len();
    if moving > 0 {
        waits.push(format!("{} on their way", units::counted(moving as u64, "partition")));
    }
    for node in list(&report["nodes"]) {
        let (name, comes, whole) = (node["name"].as_str().unwrap_or("?"), figure(node, "comes"), figure(node, "whole"));
        if node["epoch"] != report["epoch"] {
            waits.push(format!("{name} still goes by epoch {}", node["epoch"]));
        }
        if whole < comes {
            waits.push(format!("{name} has {whole} of {comes} copies"));
        }
        if held(node) > 0 {
            let of = lacked_by(node).into_iter().collect::<Vec<_>>().join(", ");
            let copies = match held(node) {
                1 => "1 copy".to_string(),
                n => format!("{n} copies"),
            };
            let whom = if of.is_empty() { String::new() } else { format!(" to {of}") };
            waits.push(format!("{name} has {copies} to hand over{whom}"));
        }
    }
    waits.join("; ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn figure(node: &Value, field: &str) -> u64 {
    node[field].as_u64().unwrap_or(0)
}

fn held(node: &Value) -> u64 {
    list(&node["held"]).len() as u64
}

fn lacked_by(node: &Value) -> BTreeSet<&str> {
    list(&node["held"]).iter().flat_map(|copy| list(&copy["lacked_by"])).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, comes: u64, whole: u64, lacked_by: &[&str]) -> Value {
        let held: Vec<Value> = lacked_by.iter().map(|name| json!({ "partition": 1, "lacked_by": [name] })).collect();
        json!({ "name": name, "epoch": 3, "comes": comes, "whole": whole, "bytes_in": 5 << 20, "bytes_per_second": 1048576.0,
            "ends_in_seconds": 15.0, "held": held })
    }

    #[test]
    fn bars_say_how_far_it_is_and_until_when() {
        let nodes = json!([node("n0", 40, 10, &[]), node("n4", 0, 0, &["n0", "n2"]), node("n9", 0, 0, &[])]);
        let report = json!({ "epoch": 3, "partitions": 64, "settled": false, "nodes": nodes, "transfers": [{ "partition": 7,
            "phase": "joint", "leaves": ["n4"], "comes_to": ["n0"], "contained_by": [] }], "unreachable": ["n5"] });
        let text = anstream::adapter::strip_str(&of(&report, true)).to_string();
        for said in [
            "1 of 64 partitions",
            "█████░░░░",
            "10 of 40",
            "1 MiB/s",
            "in about 15",
            "n0, n2",
            "joint",
            "no answer: n5",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.contains("n9"), "{text}");
        let waits = waits_for(&report);
        assert_eq!(waits, "1 partition on their way; n0 has 10 of 40 copies; n4 has 2 copies to hand over to n0, n2");
        let quiet = json!({ "epoch": 3, "settled": true, "nodes": [node("n0", 40, 40, &[])], "transfers": [] });
        assert_eq!(of(&quiet, false), "nothing moves: epoch 3 is settled\n");
    }
}
