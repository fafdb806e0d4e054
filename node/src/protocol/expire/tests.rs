//! Values that expire, and retries and sessions between three nodes.

use bytes::Bytes;
use dynode_client::wire::{Causality, ErrorCode, Expiry, Message, Quorum, SetBucket};

use super::super::trio::{Trio, WALL};
use crate::limits;

#[test]
fn an_expired_value_is_hidden_and_then_leaves_every_copy() {
    let mut trio = Trio::new();
    trio.put(0, b"lasts", |put| put.w = Quorum::All);
    trio.put(0, b"goes", |put| (put.w, put.expiry) = (Quorum::All, Expiry::After(2_000)));
    assert_eq!(trio.values(1), ["lasts", "goes"]);
    trio.run(2);
    for at in 0..3 {
        assert_eq!(trio.values(at), ["lasts"], "node {at}");
    }
    assert_eq!(trio.stored(), 2, "hidden, not gone");
    trio.run(limits::EXPIRED_KEPT.0 / 1_000_000 + 5);
    assert_eq!(trio.stored(), 1);
    let removed: u64 = trio.nodes.iter().map(|node| node.counters().values_expired).sum();
    assert_eq!(removed, 1, "by one owner, once");
    let clock = trio.nodes[0].store().copy(dynode_ring::PartitionId(0)).unwrap().clock().len();
    trio.run(10);
    let later = trio.nodes[0].store().copy(dynode_ring::PartitionId(0)).unwrap().clock().len();
    assert_eq!(clock, later, "and that is all");
}

#[test]
fn another_owner_removes_what_the_first_one_cannot_and_a_restart_forgets_nothing() {
    let mut trio = Trio::new();
    trio.put(0, b"goes", |put| (put.w, put.expiry) = (Quorum::All, Expiry::After(2_000)));
    let first = trio.nodes[0].layout().owners(dynode_ring::PartitionId(0))[0].0 as usize - 1;
    (0..3).for_each(|at| trio.restart(at));
    trio.cut_off(first);
    trio.run(limits::EXPIRED_KEPT.0 / 1_000_000 + 10);
    trio.bring_back(first);
    trio.run(5);
    assert_eq!(trio.stored(), 0);
}

#[test]
fn a_write_says_when_it_expires_and_else_the_bucket_does() {
    let mut trio = Trio::new();
    let change = SetBucket { bucket: "b".into(), ttl_ms: Some(Some(60_000)), ..SetBucket::default() };
    trio.ask(0, change, b"");
    let expiries = [
        (Expiry::OfBucket, Some(60_000)),
        (Expiry::Never, None),
        (Expiry::After(5), Some(5)),
        (Expiry::At(WALL * 2), None),
    ];
    for (expiry, after_ms) in expiries {
        let wall = WALL + trio.now.0 / 1000;
        trio.put(1, b"v", |put| (put.expiry, put.causality) = (expiry, Causality::Current));
        let meta = &trio.get(1).1[0].1;
        match expiry {
            Expiry::At(at) => assert_eq!(meta.expires_ms, Some(at)),
            _ => assert_eq!(meta.expires_ms, after_ms.map(|ms| wall + ms), "{expiry:?}"),
        }
        assert_eq!(meta.written.map(|at| at.ms()), Some(wall));
    }
}

#[test]
fn a_key_whose_values_have_all_expired_is_not_listed() {
    let mut trio = Trio::new();
    trio.put(0, b"goes", |put| (put.w, put.expiry) = (Quorum::All, Expiry::After(2_000)));
    let list = || dynode_client::wire::ListKeys {
        partition: 0,
        bucket: "b".into(),
        prefix: Bytes::new(),
        after: Bytes::new(),
        limit: 10,
    };
    let listed = |answer: (Message, Bytes)| match answer {
        (Message::Keys(m), _) => m.keys.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(trio.ask(0, list(), b"")), 1);
    trio.run(2);
    assert_eq!(listed(trio.ask(0, list(), b"")), 0);
}

#[test]
fn a_retry_writes_nothing_again_where_the_first_attempt_is_and_has_it_acknowledged() {
    let mut trio = Trio::new();
    trio.cut_off(0);
    trio.put(0, b"v", |put| put.request = Some(7));
    trio.bring_back(0);
    let done = trio.put(0, b"v", |put| (put.request, put.w) = (Some(7), Quorum::All));
    assert_eq!((done.acks.owners, trio.nodes[0].counters().repeated, trio.stored()), (3, 1, 1));
    trio.put(0, b"other", |put| put.request = Some(7));
    assert_eq!(trio.values(0).len(), 2, "another value is another put");
}

#[test]
fn attempts_that_came_to_different_nodes_are_shown_as_one_and_replaced_together() {
    let mut trio = Trio::new();
    trio.cut_off(0);
    trio.put(0, b"v", |put| put.request = Some(7));
    trio.put(1, b"v", |put| put.request = Some(7));
    trio.bring_back(0);
    trio.run(5);
    assert_eq!(trio.stored(), 2);
    for at in 0..3 {
        assert_eq!(trio.values(at), ["v"], "node {at}");
    }
    let (found, _) = trio.get(2);
    trio.put(2, b"next", |put| put.causality = Causality::Seen(found.context));
    trio.run(5);
    assert_eq!((trio.stored(), trio.values(0)), (1, vec![Bytes::from("next")]));
}

#[test]
fn a_read_that_must_have_seen_a_write_asks_further_copies_and_does_not_go_back_in_time() {
    let mut trio = Trio::new();
    trio.cut_off(2);
    let context = trio.put(0, b"v", |put| put.w = Quorum::Count(2)).context;
    trio.away.clear();
    let back = trio.try_get(2, None);
    assert!(matches!(&back.0, Message::Found(found) if found.siblings.is_empty()), "node 2 is behind: {back:?}");
    trio.cut_off(2);
    let refused = trio.try_get(2, Some(context.clone()));
    let Message::Failure(failure) = refused.0 else { panic!("{refused:?}") };
    assert_eq!(failure.code, ErrorCode::NotSeenYet);
    trio.bring_back(2);
    let (found, body) = trio.try_get(2, Some(context));
    assert!(matches!(found, Message::Found(_)) && body == "v", "{found:?}");
    let forged = trio.try_get(1, Some(Bytes::from_static(b"made up, and long enough")));
    assert!(matches!(forged.0, Message::Failure(f) if f.code == ErrorCode::ForeignContext));
}
