//! `transfers`: the partitions that are on their way to other owners, as the node asked knows.

use std::collections::BTreeMap;

use dynode_client::{Client, Error, Topic};
use serde_json::{Value, json};

use super::output::{Done, print, print_json};
use super::table::Side::{Left, Right};
use super::table::Table;
use super::target::TargetArgs;

pub(super) async fn run(target: &TargetArgs) -> Done {
    let client = target.connect().await?;
    let report = transfers_json(&client).await?;
    if target.json {
        return print_json(&report);
    }
    let transfers = report["transfers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let held = match report["held"].as_u64() {
        Some(0) | None => String::new(),
        Some(held) => format!("{held} copies wait here to be handed over\n"),
    };
    if transfers.is_empty() {
        return print(&format!("nothing moves: epoch {} is settled\n{held}", report["epoch"]));
    }
    let mut table = Table::new([
        ("partition", Right),
        ("phase", Left),
        ("leaves", Left),
        ("comes to", Left),
        ("contained by", Left),
    ]);
    for transfer in transfers {
        let names = |field: &str| {
            let names = transfer[field].as_array().map(Vec::as_slice).unwrap_or_default();
            names.iter().filter_map(Value::as_str).collect::<Vec<&str>>().join(", ")
        };
        table.row([
            transfer["partition"].to_string().into(),
            transfer["phase"].as_str().unwrap_or("?").into(),
            names("leaves").into(),
            names("comes_to").into(),
            names("contained_by").into(),
        ]);
    }
    let (moving, of) = (transfers.len(), &report["partitions"]);
    print(&format!("epoch {}: {moving} of {of} partitions on their way\n\n{}{held}", report["epoch"], table.render()))
}

/// As `transfers --json`.
pub(super) async fn transfers_json(client: &Client) -> Result<Value, Error> {
    let report = client.inspect(Some(client.node().0), Topic::Status).await?;
    let report: Value = serde_json::from_slice(&report).unwrap_or_default();
    let layout = client.layout();
    let mut names: BTreeMap<String, String> =
        layout.members().iter().map(|m| (m.id.to_string(), m.name.clone())).collect();
    for guest in report["changes"]["guests"].as_array().into_iter().flatten() {
        if let (Some(id), Some(name)) = (guest["node"].as_str(), guest["name"].as_str()) {
            names.insert(id.into(), name.into());
        }
    }
    let mut transfers = report["moving"].clone();
    for transfer in transfers.as_array_mut().into_iter().flatten() {
        for field in ["leaves", "comes_to", "contained_by"] {
            for node in transfer[field].as_array_mut().into_iter().flatten() {
                if let Some(name) = node.as_str().and_then(|id| names.get(id)) {
                    *node = json!(name);
                }
            }
        }
    }
    Ok(json!({
        "epoch": report["epoch"],
        "partitions": report["partitions"],
        "held": report["hints"]["partitions"],
        "transfers": transfers,
    }))
}
