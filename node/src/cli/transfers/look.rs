//! All nodes asked how far they have come: members, and those who were members and may still have something to hand over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dynode_client::{Client, Error, Topic};
use dynode_ring::Member;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A node that says nothing for so long is called unreachable.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Nodes asked at once, for the descriptors of a shell.
const ASKED_MAX: usize = 64;

/// A node as it is asked.
struct Asked {
    name: String,
    node: String,
    addr: String,
    is_member: bool,
}

/// Asks the node that the client is connected to for the members, and then all of them.
pub(super) async fn at_all(client: &Client, before: &[Member]) -> Result<Value, Error> {
    let own = client.inspect(None, Topic::Status).await?;
    let own: Value = serde_json::from_slice(&own).unwrap_or_default();
    if own["epoch"].as_u64() > Some(client.layout().epoch()) {
        client.refresh_layout().await?;
    }
    let nodes = nodes(client, &own, before);
    let names: BTreeMap<&str, &str> = nodes.iter().map(|asked| (asked.node.as_str(), asked.name.as_str())).collect();
    let reports = reports(&nodes).await;
    let epoch = reports.iter().filter_map(|(_, report)| report.as_ref()?["epoch"].as_u64()).max();
    let silent: BTreeSet<&str> = nodes
        .iter()
        .zip(&reports)
        .filter(|(_, (_, report))| report.is_none())
        .map(|(asked, _)| asked.name.as_str())
        .collect();
    let mut all = Vec::new();
    for (asked, (_, report)) in nodes.iter().zip(&reports) {
        all.extend(report.as_ref().map(|report| of_node(asked, report, &names, &silent)));
    }
    let is_settled = |node: &Value| {
        let waits = node["held"].as_array().into_iter().flatten().any(|held| held["waits_for_silent"] == false);
        node["epoch"].as_u64() == epoch && node["moving"] == 0 && node["comes"] == node["whole"] && !waits
    };
    let mut moving = own["moving"].clone();
    for partition in moving.as_array_mut().into_iter().flatten() {
        for field in ["leaves", "comes_to", "contained_by"] {
            partition[field] = named(&partition[field], &names);
        }
    }
    Ok(json!({
        "epoch": epoch,
        "asked": own["name"],
        "partitions": own["partitions"],
        "settled": all.iter().all(is_settled),
        "unreachable": silent,
        "nodes": all,
        "transfers": moving,
    }))
}

fn nodes(client: &Client, own: &Value, before: &[Member]) -> Vec<Asked> {
    let layout = client.layout();
    let mut nodes: Vec<Asked> = Vec::new();
    for member in layout.members().iter().chain(before) {
        if nodes.iter().any(|other| other.node == member.id.to_string()) {
            continue;
        }
        let (name, node, addr) = (member.name.clone(), member.id.to_string(), member.addr.clone());
        nodes.push(Asked { name, node, addr, is_member: layout.member(member.id).is_some() });
    }
    let former = own["changes"]["guests"].as_array().into_iter().flatten().filter(|guest| guest["former"] == true);
    // A former member may be the one that is asked.
    let own_card = Some(&own["changes"]["card"]).filter(|_| own["changes"]["standing"] == "former member");
    for guest in former.chain(own_card) {
        let text = |field: &str| guest[field].as_str().unwrap_or_default().to_string();
        let (name, node, addr) = (text("name"), text("node"), text("addr"));
        if !node.is_empty() && nodes.iter().all(|other| other.node != node) {
            nodes.push(Asked { name, node, addr, is_member: false });
        }
    }
    nodes.sort_by_key(|asked| (!asked.is_member, asked.name.len(), asked.name.clone()));
    nodes
}

/// What each node says, in the order in which they are asked; `None`: it says nothing.
async fn reports(nodes: &[Asked]) -> Vec<(usize, Option<Value>)> {
    let mut under_way = JoinSet::new();
    let mut reports = Vec::new();
    let mut next = nodes.iter().enumerate();
    loop {
        while under_way.len() < ASKED_MAX
            && let Some((at, asked)) = next.next()
        {
            let addr = asked.addr.clone();
            under_way.spawn(async move {
                let report = dynode_client::inspect(&addr, Topic::Status, ANSWER_TIME).await.ok();
                (at, report.and_then(|report| serde_json::from_slice(&report).ok()))
            });
        }
        let Some(joined) = under_way.join_next().await else { break };
        reports.extend(joined);
    }
    reports.sort_by_key(|(at, _)| *at);
    reports
}

fn of_node(asked: &Asked, report: &Value, names: &BTreeMap<&str, &str>, silent: &BTreeSet<&str>) -> Value {
    let transfers = &report["transfers"];
    let figure = |field: &str| transfers[field].as_u64().unwrap_or(0);
    let (comes, whole, bytes_in) = (figure("comes"), figure("whole"), figure("bytes_in"));
    let seconds = transfers["seconds"].as_f64().unwrap_or(0.0);
    let is_coming = whole < comes && seconds > 0.0;
    let mut held = Vec::new();
    for copy in transfers["held"].as_array().into_iter().flatten() {
        let lacked_by = named(&copy["lacked_by"], names);
        let is_silent = |name: &Value| name.as_str().is_some_and(|name| silent.contains(name));
        let waits_for_silent = lacked_by.as_array().is_some_and(|names| names.iter().any(is_silent));
        held.push(json!({
            "partition": copy["partition"], "bytes": copy["bytes"], "lacked_by": lacked_by, "waits_for_silent": waits_for_silent,
        }));
    }
    json!({
        "name": asked.name,
        "member": asked.is_member,
        "epoch": report["epoch"],
        "moving": report["moving"].as_array().map_or(0, Vec::len),
        "comes": comes,
        "whole": whole,
        "bytes_in": bytes_in,
        "seconds": seconds,
        "bytes_per_second": is_coming.then(|| bytes_in as f64 / seconds),
        "ends_in_seconds": (is_coming && whole > 0).then(|| seconds * (comes - whole) as f64 / whole as f64),
        "leaves": figure("leaves"),
        "held": held,
    })
}

/// Nodes by their names, where they are known.
fn named(nodes: &Value, names: &BTreeMap<&str, &str>) -> Value {
    let ids = nodes.as_array().into_iter().flatten().filter_map(Value::as_str);
    ids.map(|id| *names.get(id).unwrap_or(&id)).collect()
}
