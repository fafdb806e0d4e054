//! `plan`: what the staged changes lead to, before anybody commits them.

use std::collections::BTreeMap;

use dynode_client::wire::Operator;
use dynode_client::{Client, Topic};
use dynode_ring::{Layout, Member, NodeId, Plan};
use serde_json::{Value, json};

use super::{member_of, operate, staged_in_words};
use crate::cli::output::{Done, Failure, print, print_json};
use crate::cli::table::Side::{Left, Right};
use crate::cli::table::{Cell, Table};
use crate::cli::target::TargetArgs;
use crate::cli::units;

/// A plan, and what it was made from.
pub(super) struct Planned {
    pub(super) report: Value,
    before: Layout,
    plan: Plan,
    /// About how many bytes a copy of a partition has.
    copy_bytes: u64,
}

/// What would move.
pub(in crate::cli) async fn plan(target: &TargetArgs) -> Done {
    let planned = Planned::make(&target.connect().await?).await?;
    if target.json { print_json(&planned.json()) } else { print(&planned.text()) }
}

impl Planned {
    /// Asks for what is staged, and plans.
    pub(super) async fn make(client: &Client) -> Result<Planned, Failure> {
        let report = operate(client, Operator::Show).await?;
        if report["changes"].as_array().is_none_or(Vec::is_empty) {
            return Err(Failure::new("nothing_staged", "nothing is staged")
                .advice("Stage a change first: `dynode join`, `leave`, `replace`, `remove` or `set`."));
        }
        client.refresh_layout().await?;
        let before = (*client.layout()).clone();
        if report["epoch"].as_u64() != Some(before.epoch()) {
            return Err(Failure::new("other_layout", "the layout has just changed").advice("Look at the plan again."));
        }
        let after = report["members_after"].as_array().into_iter().flatten().filter_map(member_of);
        let member = |m: dynode_client::wire::MemberIs| Member {
            id: NodeId(m.node),
            name: m.name,
            addr: m.addr,
            zone: m.zone,
            weight: m.weight,
        };
        let plan = before.plan(after.map(member).collect()).map_err(|e| Failure::new("plan", e.to_string()))?;
        let copy_bytes = copy_bytes(client, &before).await;
        Ok(Planned { report, before, plan, copy_bytes })
    }

    /// The members of the layout that is planned from.
    pub(super) fn members_before(&self) -> &[Member] {
        self.before.members()
    }

    /// By name: copies before and after, that come and go, and the member itself where it is or was one.
    fn rows(&self) -> BTreeMap<String, (u32, u32, u64, u64, String)> {
        let mut rows: BTreeMap<String, (u32, u32, u64, u64, String)> = BTreeMap::new();
        let names: BTreeMap<NodeId, String> =
            self.before.members().iter().chain(self.plan.layout.members()).map(|m| (m.id, m.name.clone())).collect();
        for (layout, is_after) in [(&self.before, false), (&self.plan.layout, true)] {
            for (member, share) in layout.members().iter().zip(layout.shares()) {
                let row = rows.entry(member.name.clone()).or_default();
                *(if is_after { &mut row.1 } else { &mut row.0 }) = share.held;
                row.4.clone_from(&member.zone);
            }
        }
        for step in &self.plan.moves {
            for (node, comes) in [(step.to, true), (step.from, false)] {
                let Some(row) = node.and_then(|node| names.get(&node)).and_then(|name| rows.get_mut(name)) else {
                    continue;
                };
                *(if comes { &mut row.2 } else { &mut row.3 }) += 1;
            }
        }
        rows
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new([
            ("node", Left),
            ("zone", Left),
            ("partitions now", Right),
            ("then", Right),
            ("comes", Right),
            ("goes", Right),
            ("to copy", Right),
        ]);
        for (name, (now, then, comes, goes, zone)) in self.rows() {
            let count = |n: u64| if n == 0 { Cell::faint("-") } else { n.to_string().into() };
            table.row([
                name.into(),
                zone.into(),
                now.to_string().into(),
                then.to_string().into(),
                count(comes),
                count(goes),
                if comes == 0 { Cell::faint("-") } else { units::bytes(comes * self.copy_bytes).into() },
            ]);
        }
        let copies = self.plan.copies();
        let zones = |layout: &Layout| {
            let mut zones: Vec<&str> = layout.members().iter().map(|m| m.zone.as_str()).collect();
            zones.sort_unstable();
            zones.dedup();
            zones.len()
        };
        format!(
            "{}\nfrom epoch {} with {} in {} to epoch {} with {} in {}\n{} of {} are copied, about {}; no layout of these \
             members could do with fewer than {}\n\n{}",
            staged_in_words(&self.report),
            self.before.epoch(),
            units::counted(self.before.members().len() as u64, "member"),
            units::counted(zones(&self.before) as u64, "zone"),
            self.plan.layout.epoch(),
            units::counted(self.plan.layout.members().len() as u64, "member"),
            units::counted(zones(&self.plan.layout) as u64, "zone"),
            units::counted(copies, "partition"),
            u64::from(self.before.partitions()) * self.plan.layout.owners(dynode_ring::PartitionId(0)).len() as u64,
            units::bytes(copies * self.copy_bytes),
            self.plan.least,
            table.render(),
        )
    }

    pub(super) fn json(&self) -> Value {
        let nodes: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|(name, (now, then, comes, goes, zone))| {
                json!({ "name": name, "zone": zone, "before": now, "after": then, "comes": comes, "goes": goes })
            })
            .collect();
        let moves: Vec<Value> = self
            .plan
            .moves
            .iter()
            .map(|step| {
                let id = |node: Option<NodeId>| node.map(|node| node.to_string());
                json!({ "partition": step.partition.0, "from": id(step.from), "to": id(step.to) })
            })
            .collect();
        json!({
            "epoch": self.before.epoch(),
            "next_epoch": self.plan.layout.epoch(),
            "changes": self.report["changes"],
            "copies": self.plan.copies(),
            "least_copies": self.plan.least,
            "bytes_estimated": self.plan.copies() * self.copy_bytes,
            "nodes": nodes,
            "moves": moves,
        })
    }
}

/// What a copy takes on average, as far as nodes that answer say.
async fn copy_bytes(client: &Client, layout: &Layout) -> u64 {
    let (mut bytes, mut copies) = (0, 0);
    for member in layout.members().iter().take(16) {
        let Ok(report) = client.inspect(Some(member.id), Topic::Status).await else { continue };
        let report: Value = serde_json::from_slice(&report).unwrap_or_default();
        bytes += report["bytes"]["objects"].as_u64().unwrap_or(0);
        copies += report["partitions_owned"].as_u64().unwrap_or(0);
    }
    bytes.checked_div(copies).unwrap_or(0)
}
