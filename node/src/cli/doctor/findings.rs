//! What is wrong with a cluster, by its nodes' reports. Pure.

use std::collections::BTreeSet;

use dynode_client::Layout;
use serde_json::{Value, json};

use super::super::look::Look;
use super::super::units;

/// Values expire, and `lww` buckets choose, by wall clocks: nodes that differ by more than this do so differently.
const CLOCKS_BAD_MS: u64 = 10_000;
/// Clocks that are kept by NTP differ by some milliseconds.
const CLOCKS_NOTABLE_MS: u64 = 500;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Somebody should act.
    Bad,
    /// It passes by itself, or may be meant.
    Notable,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// Whom it is about, if one.
    pub(super) node: Option<String>,
    pub(super) what: String,
    /// What to do.
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn json(&self) -> Value {
        let level = match self.level {
            Level::Bad => "bad",
            Level::Notable => "notable",
        };
        json!({ "level": level, "node": self.node, "what": self.what, "advice": self.advice })
    }
}

/// What is found, the worst first.
pub(super) fn findings(layout: &Layout, looks: &[Look]) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    for look in looks {
        match &look.report {
            Ok(report) => of_one(&mut found, &look.member.name, report),
            Err(why) => unreachable(&mut found, look, why, looks),
        }
    }
    views(&mut found, looks);
    agreement(&mut found, layout, looks);
    clocks(&mut found, looks);
    quorums(&mut found, layout, looks);
    let mut found = found.0;
    found.sort_by_key(|finding| finding.level);
    found
}

struct Found(Vec<Finding>);

impl Found {
    fn bad(&mut self, node: Option<&str>, what: impl Into<String>, advice: &str) {
        self.add(Level::Bad, node, what.into(), advice);
    }

    fn notable(&mut self, node: Option<&str>, what: impl Into<String>, advice: &str) {
        self.add(Level::Notable, node, what.into(), advice);
    }

    fn add(&mut self, level: Level, node: Option<&str>, what: String, advice: &str) {
        self.0.push(Finding { level, node: node.map(String::from), what, advice: advice.into() });
    }
}

/// The reports that came, with their nodes' names.
fn reports(looks: &[Look]) -> impl Iterator<Item = (&str, &Value)> {
    looks.iter().filter_map(|look| Some((look.member.name.as_str(), look.report.as_ref().ok()?)))
}

/// What a report says of a peer.
fn peer<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    report["peers"].as_array()?.iter().find(|peer| peer["name"] == name)
}

fn unreachable(found: &mut Found, look: &Look, why: &str, looks: &[Look]) {
    let name = look.member.name.as_str();
    let seen = |state: &str| {
        reports(looks).filter(|(_, report)| peer(report, name).is_some_and(|p| p["state"] == state)).count()
    };
    let (alive, others) = (seen("alive"), reports(looks).count());
    let (what, advice) = match alive {
        _ if look.refuses => (
            format!("there is somebody at {} who refuses to talk ({why})", look.member.addr),
            "If its release is too far from the others' (`dynode --version`), install one that is closer. If it is another cluster's node, or none, look at the address.",
        ),
        0 => (
            format!("does not answer at {} ({why}), and no other node reaches it", look.member.addr),
            "Start it again: it catches up by itself. If its disk or machine is gone for good: `dynode replace`, or `dynode remove`.",
        ),
        _ => (
            format!(
                "does not answer here at {} ({why}), but {alive} of {others} other nodes reach it",
                look.member.addr
            ),
            "If it ended or stopped just now they will notice within seconds: ask again. Else look at the network from here to it.",
        ),
    };
    found.bad(Some(name), what, advice);
}

/// What a node says of itself.
fn of_one(found: &mut Found, name: &str, report: &Value) {
    let of = Some(name);
    let figure = |place: &str| report.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    let state = report["state"].as_str().unwrap_or("unknown");
    match (state, report["why"].as_str()) {
        ("up", _) => {}
        ("stopping", _) => found.notable(of, "is stopping", "It was told to. Start it again when you are done."),
        ("rebuilding", why) => found.bad(
            of,
            format!("rebuilds its database: {}", why.unwrap_or("it was damaged")),
            "Wait, and suspect the disk. See \"A damaged disk\" in docs/operations.md.",
        ),
        (_, why) => found.bad(
            of,
            format!("is {state}, and acknowledges nothing: {}", why.unwrap_or("no reason given")),
            "Set right what it names (the disk is full, read-only or failing): it goes on by itself within 15 s.",
        ),
    }
    if let Some(why) = report["damage"]["writes_refused"].as_str() {
        found.bad(of, why, "Make room on its disk, or let further nodes join.");
    }
    for (kind, words, advice) in [
        (
            "shelved",
            "damaged, and no other node has one",
            "Restore the node's data from a backup, or give up what is in them.",
        ),
        ("divergent", "not as others with an equal clock", "Keep the data directories of all owners, and report it."),
    ] {
        let copies = report["damage"][kind].as_array().map_or(0, Vec::len) as u64;
        if copies > 0 {
            found.bad(of, format!("{} {words}", copies_are(copies)), advice);
        }
    }
    let rebuilt = report["damage"]["rebuilding"].as_array().map_or(0, Vec::len) as u64;
    if rebuilt > 0 {
        let what = format!("{} rebuilt from the other owners", copies_are(rebuilt));
        found.notable(of, what, "See that the other owners are up; it ends by itself. Suspect the disk.");
    }
    for (counter, words) in [
        ("/counters/content_differs", "equal clocks with different content"),
        ("/counters/no_progress", "syncs that went round in circles"),
        ("/counters/scans_differ", "scans that listed something else than their source says of itself"),
    ] {
        if figure(counter) > 0 {
            found.bad(
                of,
                format!("counted {} {words}", figure(counter)),
                "That should be 0. Keep the logs, and report it.",
            );
        }
    }
    if figure("/sync/lacking") > 0 {
        let what = format!("lacks something of {}", units::counted(figure("/sync/lacking"), "partition"));
        found.notable(of, what, "It is pulling it. If the number stays, see who is slow: `dynode watch`.");
    }
    if figure("/sync/recovering") > 0 {
        let what =
            format!("recovers what it may have lost of {}", units::counted(figure("/sync/recovering"), "partition"));
        found.notable(of, what, "Strict quorums do not count it there until then. It needs the other owners.");
    }
    if figure("/hints/partitions") > 0 {
        let bytes = units::bytes(figure("/hints/bytes"));
        let since = units::uptime(figure("/hints/oldest_seconds"));
        let what = format!("holds {bytes} for owners that are away, the oldest for {since}");
        match figure("/hints/bytes") >= figure("/hints/bytes_max").max(1) {
            true => found.bad(of, format!("{what}: over its budget"), "Bring the owners back, or replace them."),
            false => found.notable(of, what, "It hands it off when they are back."),
        }
    }
    if figure("/liveness/slowness") > 0 {
        let what = format!("takes itself for slow ({} of 8)", figure("/liveness/slowness"));
        found.notable(of, what, "Its machine or network is busy: probes and answers come late.");
    }
}

fn copies_are(copies: u64) -> String {
    if copies == 1 { "1 copy is".into() } else { format!("{copies} copies are") }
}

/// What nodes that answer here say of each other.
fn views(found: &mut Found, looks: &[Look]) {
    let answers: BTreeSet<&str> = reports(looks).map(|(name, _)| name).collect();
    for (from, report) in reports(looks) {
        for &to in answers.iter().filter(|to| **to != from) {
            let Some(seen) = peer(report, to) else {
                if report["peers"].is_array() {
                    let what = format!("does not know the member {to}");
                    found.bad(
                        Some(from),
                        what,
                        "It goes by another list of members: see the epochs below, or restart it.",
                    );
                }
                continue;
            };
            let state = seen["state"].as_str().unwrap_or("unknown");
            let breaker = seen["breaker"].as_str().unwrap_or("closed");
            let hears =
                "Both answer here, so look at the network between the two, in both directions, and at firewalls.";
            if state == "down" || seen["up"] == false {
                let how = if state == "down" { "takes it for down" } else { "has no connection to it" };
                found.bad(Some(from), format!("{how}: {to}"), hears);
            } else if state != "alive" {
                let what = format!("takes {to} for {state}");
                found.notable(Some(from), what, "It passes, or the member is down within seconds: ask again.");
            } else if breaker != "closed" {
                let advice = "The peer takes requests and answers nothing: is it stuck, or its disk?";
                found.bad(Some(from), format!("asks nothing of {to}: its circuit breaker is {breaker}"), advice);
            }
        }
    }
}

/// Epochs, clusters, versions, settings.
fn agreement(found: &mut Found, layout: &Layout, looks: &[Look]) {
    let newest = reports(looks).filter_map(|(_, report)| report["epoch"].as_u64()).max().unwrap_or(layout.epoch());
    for (name, report) in reports(looks) {
        if let Some(epoch) = report["epoch"].as_u64().filter(|epoch| *epoch < newest) {
            let what = format!("goes by the layout of epoch {epoch}; the newest is {newest}");
            found.bad(
                Some(name),
                what,
                "It fetches the newest within seconds of being reached. If not: see who reaches it.",
            );
        }
    }
    for (field, what, advice) in [
        ("cluster", "the nodes belong to different clusters", "Compare the [cluster] tables of their dynode.toml."),
        ("version", "the nodes run different versions", "Fine during an upgrade; finish it."),
        (
            "durability",
            "the nodes have different durability",
            "An acknowledgement means what the weakest of them says.",
        ),
    ] {
        let mut said: BTreeSet<&str> = BTreeSet::new();
        let mut who: Vec<String> = Vec::new();
        for (name, report) in reports(looks) {
            if let Some(value) = report[field].as_str() {
                said.insert(value);
                who.push(format!("{name} {value}"));
            }
        }
        if said.len() > 1 {
            let what = format!("{what}: {}", who.join(", "));
            if field == "cluster" { found.bad(None, what, advice) } else { found.notable(None, what, advice) }
        }
    }
}

/// Wall clocks, each against the middle one.
fn clocks(found: &mut Found, looks: &[Look]) {
    /// How far a clock is ahead of this machine's, and how little that may be known: half of the time the answer took.
    fn offset(look: &Look) -> Option<(&str, i64, u64)> {
        let wall = look.report.as_ref().ok()?["wall_ms"].as_u64()? as i64;
        let middle = (look.asked_ms + look.answered_ms) as i64 / 2;
        Some((look.member.name.as_str(), wall - middle, look.answered_ms.saturating_sub(look.asked_ms) / 2))
    }
    let offsets: Vec<(&str, i64, u64)> = looks.iter().filter_map(offset).collect();
    let mut sorted: Vec<i64> = offsets.iter().map(|(_, offset, _)| *offset).collect();
    sorted.sort_unstable();
    // Of two nobody knows which is right: then it is this machine's that they are compared with.
    let Some(middle) = (if sorted.len() > 2 { sorted.get(sorted.len() / 2).copied() } else { Some(0) }) else { return };
    for (name, offset, unsure) in offsets {
        let apart = offset.abs_diff(middle).saturating_sub(unsure);
        let way = if offset > middle { "ahead of" } else { "behind" };
        let what =
            format!("its wall clock is {} {way} the others'", units::time(std::time::Duration::from_millis(apart)));
        let advice = "Let NTP keep it: values expire, and lww buckets choose, by these clocks.";
        if apart >= CLOCKS_BAD_MS {
            found.bad(Some(name), what, advice);
        } else if apart >= CLOCKS_NOTABLE_MS {
            found.notable(Some(name), what, advice);
        }
    }
}

/// Partitions without a quorum of owners.
fn quorums(found: &mut Found, layout: &Layout, looks: &[Look]) {
    let is_up = |node| {
        let look = looks.iter().find(|look| look.member.id == node);
        look.is_some_and(|look| look.report.as_ref().is_ok_and(|report| report["state"] == "up"))
    };
    let (mut without, mut none) = (0, 0);
    for partition in layout.partition_ids() {
        let owners = layout.owners(partition);
        let up = owners.iter().filter(|owner| is_up(**owner)).count();
        without += u64::from(up < owners.len() / 2 + 1);
        none += u64::from(up == 0);
    }
    if without > 0 {
        let what = format!(
            "{} of {} partitions have no quorum of owners{}: quorum reads fail there, strict writes too; others go to stand-ins",
            without,
            layout.partitions(),
            if none > 0 { format!(", {none} of them no owner at all") } else { String::new() }
        );
        found.bad(
            None,
            what,
            "Bring the nodes back that are away, one after the other; nothing that was acknowledged is lost.",
        );
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
