//! Properties that three nodes agree on, and what `lww` does.

use bytes::Bytes;
use dynode_client::wire::{BucketIs, BucketKind, Causality, GetBucket, Message, Quorum, SetBucket};

use super::super::trio::Trio;
use crate::limits;

fn name() -> Bytes {
    Bytes::from_static(b"b")
}

fn set(trio: &mut Trio, at: usize, change: SetBucket) -> BucketIs {
    match trio.ask(at, change, b"") {
        (Message::BucketIs(is), _) => is,
        (other, _) => panic!("{other:?}"),
    }
}

fn is(trio: &mut Trio, at: usize) -> BucketIs {
    match trio.ask(at, GetBucket { bucket: name() }, b"") {
        (Message::BucketIs(is), _) => is,
        (other, _) => panic!("{other:?}"),
    }
}

fn lww() -> SetBucket {
    SetBucket { bucket: name(), kind: Some(BucketKind::Lww), ..SetBucket::default() }
}

fn ttl(ms: u64) -> SetBucket {
    SetBucket { bucket: name(), ttl_ms: Some(Some(ms)), ..SetBucket::default() }
}

#[test]
fn a_change_is_known_everywhere_at_once_and_after_a_restart() {
    let mut trio = Trio::new();
    assert_eq!(is(&mut trio, 0).since.0, 0, "nobody has said anything");
    let said = set(&mut trio, 1, SetBucket { r: Some(Quorum::One), n: Some(3), ..lww() });
    assert_eq!((said.properties.kind, said.properties.r, said.n), (BucketKind::Lww, Quorum::One, 3));
    let later = set(&mut trio, 2, ttl(60_000));
    assert_eq!(
        (later.properties.kind, later.properties.ttl_ms),
        (BucketKind::Lww, Some(60_000)),
        "what is not said stays"
    );
    trio.restart(0);
    for at in 0..3 {
        assert_eq!(is(&mut trio, at), later, "node {at}");
    }
}

#[test]
fn two_sides_that_change_the_same_end_with_the_later() {
    let mut trio = Trio::new();
    trio.cut_off(0);
    let first = set(&mut trio, 0, lww());
    trio.run(1);
    let second = set(&mut trio, 1, ttl(5_000));
    assert_ne!(is(&mut trio, 0), is(&mut trio, 2));
    assert!(second.since > first.since);
    trio.bring_back(0);
    for at in 0..3 {
        assert_eq!(is(&mut trio, at), second, "node {at}");
    }
}

#[test]
fn what_was_lost_on_the_way_comes_by_the_hash() {
    let mut trio = Trio::new();
    // Cut without anybody noticing: the change goes nowhere.
    trio.away.insert(1);
    let said = set(&mut trio, 1, lww());
    trio.away.clear();
    trio.run(8);
    for at in 0..3 {
        assert_eq!(is(&mut trio, at), said, "node {at}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let mut trio = Trio::new();
    let wrong = [
        SetBucket { n: Some(2), ..lww() },
        SetBucket { r: Some(Quorum::Count(4)), ..lww() },
        SetBucket { w: Some(Quorum::OfBucket), ..lww() },
        SetBucket { bucket: Bytes::new(), ..lww() },
        SetBucket { bucket: Bytes::from(vec![b'x'; 1025]), ..lww() },
        ttl(0),
        ttl(limits::TTL_MS_MAX + 1),
    ];
    for change in wrong {
        assert!(matches!(trio.ask(0, change.clone(), b""), (Message::Failure(_), _)), "{change:?}");
    }
    assert_eq!(is(&mut trio, 0).since.0, 0);
    for i in 0..limits::BUCKETS_MAX {
        set(&mut trio, 0, SetBucket { bucket: format!("b{i}").into(), ..lww() });
    }
    assert!(matches!(trio.ask(0, lww(), b""), (Message::Failure(_), _)), "they are bounded");
}

#[test]
fn a_quorum_left_to_the_bucket_is_the_buckets() {
    let mut trio = Trio::new();
    let done = trio.put(0, b"v", |put| put.w = Quorum::OfBucket);
    assert_eq!(done.acks.owners, 2);
    set(&mut trio, 0, SetBucket { w: Some(Quorum::All), ..lww() });
    let done = trio.put(0, b"v", |put| put.w = Quorum::OfBucket);
    assert_eq!(done.acks.owners, 3);
    assert_eq!(trio.put(0, b"v", |put| put.w = Quorum::One).acks.owners, 1);
}

#[test]
fn of_concurrent_writes_the_last_is_shown_everywhere_and_the_others_are_counted() {
    let mut trio = Trio::new();
    set(&mut trio, 0, lww());
    trio.cut_off(0);
    trio.put(0, b"first", |_| {});
    trio.run(1);
    trio.put(1, b"second", |_| {});
    trio.bring_back(0);
    trio.run(5);
    assert_eq!(trio.stored(), 2, "both are there, and the copies are equal");
    for at in 0..3 {
        assert_eq!(trio.values(at), ["second"], "node {at}");
    }
    let (found, _) = trio.get(0);
    trio.put(2, b"third", |put| put.causality = Causality::Seen(found.context.clone()));
    assert_eq!(trio.nodes[2].counters().lww_lost, 1, "never silently");
    trio.run(5);
    assert_eq!((trio.stored(), trio.values(0)), (1, vec![Bytes::from("third")]));
    trio.put(1, b"stale", |put| put.causality = Causality::Seen(found.context));
    assert_eq!(trio.nodes[1].counters().lww_lost, 1, "a writer who had not seen it");
    trio.put(1, b"blind", |_| {});
    assert_eq!(trio.nodes[1].counters().lww_lost, 1, "a writer who replaces whatever is there");
    trio.run(5);
    assert_eq!((trio.stored(), trio.values(0)), (1, vec![Bytes::from("blind")]));
}

#[test]
fn a_node_whose_clock_is_behind_still_writes_later_than_what_it_has() {
    let mut trio = Trio::new();
    set(&mut trio, 0, lww());
    let now = trio.now;
    trio.nodes[1].wall_clock_is(now, 1_000);
    trio.put(0, b"first", |put| put.w = Quorum::All);
    trio.put(1, b"second", |put| put.w = Quorum::All);
    assert_eq!(trio.values(2), ["second"]);
}
