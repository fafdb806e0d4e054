use dynode_ring::{Member, NodeId};

use super::*;

fn layout() -> Layout {
    let member = |n: u64| Member {
        id: NodeId(n + 1),
        name: format!("n{n}"),
        addr: format!("127.0.0.1:{}", 7100 + 10 * n),
        zone: "a".into(),
        weight: 1,
    };
    Layout::first(16, 3, (0..3).map(member).collect()).unwrap()
}

/// Three nodes that are well.
fn well(layout: &Layout) -> Vec<Look> {
    let names = ["n0", "n1", "n2"];
    let look = |(member, share): (Member, dynode_ring::Share)| {
        let peers: Vec<Value> = names
            .iter()
            .filter(|name| **name != member.name)
            .map(|name| json!({ "name": name, "state": "alive", "up": true, "breaker": "closed" }))
            .collect();
        let report = json!({
            "state": "up", "epoch": 1, "cluster": "aa", "version": "0.1.0", "durability": "group", "wall_ms": 1_000_010,
            "peers": peers, "sync": { "lacking": 0 }, "hints": { "partitions": 0 }, "counters": {},
        });
        Look { member, share, report: Ok(report), refuses: false, asked_ms: 1_000_000, answered_ms: 1_000_020 }
    };
    crate::cli::status::shares(layout).into_iter().map(look).collect()
}

fn change(looks: &mut [Look], node: usize, place: &str, value: Value) {
    *looks[node].report.as_mut().unwrap().pointer_mut(place).unwrap() = value;
}

/// What is said, by the nodes it is about.
fn said(layout: &Layout, looks: &[Look]) -> Vec<(Level, String)> {
    let words = |f: Finding| (f.level, format!("{}: {}", f.node.unwrap_or_default(), f.what));
    findings(layout, looks).into_iter().map(words).collect()
}

#[test]
fn nothing_is_said_of_a_cluster_that_is_well() {
    let layout = layout();
    assert_eq!(said(&layout, &well(&layout)), []);
}

#[test]
fn a_node_of_a_release_too_far_away_is_not_called_dead() {
    let layout = layout();
    let mut looks = well(&layout);
    looks[2].report = Err("refused: this node speaks wire versions 2 to 2, the caller 1 to 1".into());
    looks[2].refuses = true;
    let found = findings(&layout, &looks);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("refuses to talk") && found[0].what.contains("versions 2 to 2"), "{found:?}");
    assert!(found[0].advice.contains("release") && !found[0].advice.contains("Start it again"), "{found:?}");
}

#[test]
fn a_node_that_is_away_is_told_from_one_that_only_this_machine_does_not_reach() {
    let layout = layout();
    let mut looks = well(&layout);
    looks[2].report = Err("refused".into());
    let found = said(&layout, &looks);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.starts_with("n2: ") && found[0].1.contains("2 of 2 other nodes reach it"), "{found:?}");
    for node in [0, 1] {
        change(&mut looks, node, "/peers/1/state", "down".into());
    }
    let found = said(&layout, &looks);
    assert!(found.len() == 1 && found[0].1.contains("no other node reaches it"), "{found:?}");
    // A second one, and quorums are gone: that is said of the whole.
    looks[1].report = Err("refused".into());
    let found = said(&layout, &looks);
    assert!(found.iter().any(|(level, what)| *level == Level::Bad && what.starts_with(": 16 of 16")), "{found:?}");
}

#[test]
fn a_cut_between_two_nodes_is_seen_from_both_sides() {
    let layout = layout();
    let mut looks = well(&layout);
    change(&mut looks, 0, "/peers/0/state", "down".into());
    change(&mut looks, 1, "/peers/0/breaker", "open".into());
    let found = said(&layout, &looks);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].1.contains("n0: takes it for down: n1") && found[1].1.contains("n1: asks nothing of n0"),
        "{found:?}"
    );
}

#[test]
fn epochs_versions_and_clocks_are_compared() {
    let layout = layout();
    let mut looks = well(&layout);
    change(&mut looks, 0, "/epoch", 3.into());
    change(&mut looks, 1, "/epoch", 3.into());
    change(&mut looks, 1, "/version", "0.2.0".into());
    change(&mut looks, 2, "/wall_ms", 1_060_010.into());
    change(&mut looks, 0, "/wall_ms", 998_010.into());
    let found = said(&layout, &looks);
    let has = |level, what: &str| found.iter().any(|(l, said)| *l == level && said.contains(what));
    assert!(has(Level::Bad, "n2: goes by the layout of epoch 1; the newest is 3"), "{found:?}");
    assert!(has(Level::Notable, "n0 0.1.0, n1 0.2.0, n2 0.1.0"), "{found:?}");
    assert!(has(Level::Bad, "n2: its wall clock is 60 s ahead of"), "{found:?}");
    assert!(has(Level::Notable, "n0: its wall clock is 1.99 s behind"), "{found:?}");
    assert_eq!(found.len(), 4, "{found:?}");
    // An answer that took long says little about a clock.
    let mut slow = well(&layout);
    slow[0].answered_ms += 4_000;
    assert_eq!(said(&layout, &slow), []);
}

#[test]
fn what_a_node_says_of_itself_comes_out_the_worst_first() {
    let layout = layout();
    let mut looks = well(&layout);
    change(&mut looks, 0, "/sync/lacking", 4.into());
    change(&mut looks, 1, "/hints", json!({ "partitions": 2, "bytes": 10, "bytes_max": 10, "oldest_seconds": 60 }));
    change(&mut looks, 2, "/counters", json!({ "content_differs": 1 }));
    let found = said(&layout, &looks);
    assert_eq!(found.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [Level::Bad, Level::Bad, Level::Notable]);
    assert!(found[2].1.contains("lacks something of 4 partitions"), "{found:?}");
    change(&mut looks, 2, "/state", "fenced".into());
    let found = said(&layout, &looks);
    assert!(found.iter().any(|(_, what)| what.contains("n2: is fenced, and acknowledges nothing")), "{found:?}");
}
