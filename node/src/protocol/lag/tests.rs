//! What nodes say of who lacks what, while one of three is away and when it is back.

use dynode_client::wire::{GetSync, Message};
use serde_json::Value;

use crate::protocol::trio::Trio;

fn report(trio: &mut Trio, at: usize, now: bool) -> Value {
    match trio.ask(at, GetSync { now }, b"") {
        (Message::Report(_), body) => serde_json::from_slice(&body).unwrap(),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn what_a_peer_that_was_away_lacks_is_told_until_it_has_it() {
    let mut trio = Trio::new();
    let quiet = report(&mut trio, 0, false);
    assert_eq!(quiet["partitions"].as_array().unwrap().len(), 0, "{quiet}");
    for peer in quiet["peers"].as_array().unwrap() {
        assert!(peer["up"] == true && peer["in_common"] == 1, "{peer}");
        assert!(peer["compared_seconds"].as_f64().unwrap() <= 2.0, "{peer}");
        assert!(peer["lacks"]["for_seconds"].is_null(), "{peer}");
    }

    trio.cut_off(2);
    for value in [b"1", b"2", b"3"] {
        trio.put(0, value, |_| {});
    }
    trio.run(5);
    let away = report(&mut trio, 0, false);
    let peers = away["peers"].as_array().unwrap();
    assert_eq!((&peers[0]["up"], &peers[1]["up"]), (&true.into(), &false.into()), "{away}");
    assert_eq!(peers[1]["peer_lacks"], serde_json::json!({ "partitions": 1, "writes": 3 }), "{away}");
    assert_eq!(peers[0]["peer_lacks"]["writes"], 0, "{away}");
    assert!(peers[1]["compared_seconds"].as_f64().unwrap() >= 5.0, "{away}");
    assert_eq!(away["partitions"][0]["peer"], "n3", "{away}");

    trio.bring_back(2);
    trio.run(3);
    for at in 0..3 {
        let back = report(&mut trio, at, false);
        assert!(back["partitions"].as_array().unwrap().is_empty(), "{back}");
    }
}

/// A node that hears of what it lacks only by the comparison that was asked for has it without waiting for two rounds.
#[test]
fn a_comparison_that_was_asked_for_is_made_at_once() {
    let mut trio = Trio::new();
    // The others take a write of which the third hears nothing, and which no connection told it of.
    trio.away.insert(2);
    trio.put(0, b"1", |_| {});
    trio.away.remove(&2);
    let age = |report: &Value| report["peers"][0]["compared_seconds"].as_f64().unwrap();
    let before = report(&mut trio, 2, true);
    let after = report(&mut trio, 2, false);
    assert_eq!(age(&after), 0.0, "{after}");
    assert!(age(&before) >= 0.0);
    // Again at once, nothing is compared.
    let rounds = trio.nodes[2].sync.rounds();
    report(&mut trio, 2, true);
    assert_eq!(trio.nodes[2].sync.rounds(), rounds);
    trio.run(1);
    let rounds = trio.nodes[2].sync.rounds();
    report(&mut trio, 2, true);
    assert_eq!(trio.nodes[2].sync.rounds(), rounds + 2, "with both peers");
    assert!(after["partitions"].as_array().unwrap().is_empty(), "{after}");
    assert_eq!(trio.stored(), 1);
}

#[test]
fn the_time_of_lacking_goes_on_from_round_to_round() {
    let mut trio = Trio::new();
    trio.away.insert(2);
    trio.put(0, b"1", |_| {});
    trio.away.remove(&2);
    // It hears that it lacks something, and may not take it: a disk without room.
    trio.nodes[2].refuse_writes(Some("full".into()));
    trio.run(6);
    let lacking = report(&mut trio, 2, false);
    let row = &lacking["partitions"][0];
    assert_eq!((&row["partition"], &row["lacks"]), (&0.into(), &1.into()), "{lacking}");
    assert!(row["for_seconds"].as_f64().unwrap() >= 4.0, "{lacking}");
    assert!(lacking["waiting"].as_u64() == Some(1), "{lacking}");
    trio.nodes[2].refuse_writes(None);
    trio.run(3);
    let whole = report(&mut trio, 2, false);
    assert!(whole["partitions"].as_array().unwrap().is_empty(), "{whole}");
}
