//! A node that owns nothing of the key, driven event by event.

use bytes::Bytes;
use dynode_client::wire::{
    Causality, ErrorCode, Expiry, Found, Get, MemberState, Members, Message, Put, PutDone, Quorum, Rumour,
};
use dynode_ring::{Layout, NodeId, PartitionId};
use dynode_storage::memory::MemoryEngine;
use dynode_storage::{Past, Store};

use super::super::trio::{config, member};
use super::super::{Effect, Effects, Event, Liveness, Micros, Node, Origin, ReplyTo, Time, failure};
use crate::limits;

const ASKED: Time = Time(1);
const LATE: Time = Time(1 + limits::FORWARD_AGAIN_AFTER.0);
const TIMEOUT_MS: u32 = 5_000;

/// A node that sees the three owners of the only partition, and they in the order of preference.
fn node() -> (Node<MemoryEngine>, Vec<NodeId>) {
    let layout = Layout::first(1, 3, (1..=4).map(member).collect()).unwrap();
    let owners = layout.owners(PartitionId(0)).to_vec();
    let own = (1..=4).map(NodeId).find(|n| !owners.contains(n)).unwrap();
    let store = Store::open(MemoryEngine::new(), own, 1, Past::Whole).unwrap();
    let mut node = Node::new(config(own, layout), store, 7, Time(0)).unwrap();
    for owner in &owners {
        node.handle(Time(0), Event::Up(*owner), &mut Effects::new()).unwrap();
    }
    (node, owners)
}

/// Handles an event: whom it hands the request to, the time each is given, and what the client is told.
fn handle(node: &mut Node<MemoryEngine>, now: Time, event: Event) -> (Vec<(NodeId, u64, u32)>, Vec<Message>) {
    let mut out = Effects::new();
    node.handle(now, event, &mut out).unwrap();
    node.end_turn().unwrap();
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    for effect in out.drain() {
        match effect {
            Effect::Send { to, request, message: Message::Get(m), .. } => sent.push((to, request, m.timeout_ms)),
            Effect::Send { to, request, message: Message::Put(m), .. } => sent.push((to, request, m.timeout_ms)),
            Effect::Reply { message, .. } => told.push(message),
            _ => {}
        }
    }
    (sent, told)
}

/// A client asks; who is handed the request, and under which id.
fn ask(node: &mut Node<MemoryEngine>, message: impl Into<Message>) -> (NodeId, u64) {
    let reply_to = ReplyTo { connection: 1, request: 1 };
    let event = Event::Request { from: Origin::Client, reply_to, message: message.into(), body: Bytes::new() };
    let (sent, told) = handle(node, ASKED, event);
    assert_eq!((sent.len(), told.len()), (1, 0));
    (sent[0].0, sent[0].1)
}

fn get() -> Get {
    let (bucket, key) = (Bytes::from_static(b"b"), Bytes::from_static(b"k"));
    Get { bucket, key, r: Quorum::Majority, strict: true, timeout_ms: TIMEOUT_MS, at_least: None }
}

fn put() -> Put {
    let Get { bucket, key, .. } = get();
    Put {
        bucket,
        key,
        causality: Causality::Blind,
        w: Quorum::Majority,
        strict: true,
        timeout_ms: TIMEOUT_MS,
        content_type: Bytes::new(),
        expiry: Expiry::OfBucket,
        request: Some(1),
    }
}

fn answer(from: NodeId, request: u64, message: impl Into<Message>) -> Event {
    Event::Response { from, request, message: message.into(), body: Bytes::new() }
}

fn found() -> Found {
    Found { siblings: Vec::new(), context: Bytes::new(), acks: Default::default() }
}

#[test]
fn a_read_goes_on_to_the_next_owner_when_the_first_is_late() {
    let (mut node, owners) = node();
    let (first, id) = ask(&mut node, get());
    assert_eq!(first, owners[0]);
    assert_eq!(handle(&mut node, Time(LATE.0 - 1), Event::Tick).0, [], "it is not late yet");
    let (sent, told) = handle(&mut node, LATE, Event::Tick);
    let left_ms = TIMEOUT_MS - (limits::FORWARD_AGAIN_AFTER.0 / 1000) as u32;
    assert_eq!((&sent[..], &told[..]), (&[(owners[1], id, left_ms)][..], &[][..]));
    // Whoever answers first is believed, and nobody is told twice.
    let (_, told) = handle(&mut node, LATE, answer(owners[0], id, found()));
    assert!(matches!(told[..], [Message::Found(_)]), "{told:?}");
    assert_eq!(handle(&mut node, LATE, answer(owners[1], id, found())).1, []);
}

#[test]
fn a_refusal_of_one_does_not_end_the_wait_for_another() {
    let (mut node, owners) = node();
    let (_, id) = ask(&mut node, get());
    handle(&mut node, LATE, Event::Tick);
    let refused = || failure(ErrorCode::Unavailable, "stopping");
    let (sent, told) = handle(&mut node, LATE, answer(owners[1], id, refused()));
    assert_eq!((sent[0].0, told.len()), (owners[2], 0));
    let (sent, told) = handle(&mut node, LATE, answer(owners[2], id, refused()));
    assert_eq!((sent.len(), told.len()), (0, 0), "the first may answer yet");
    assert_eq!(handle(&mut node, LATE, answer(owners[2], id, found())).1, [], "it has refused");
    assert_eq!(handle(&mut node, LATE, answer(owners[0], id, found())).1.len(), 1);
}

#[test]
fn each_owner_is_asked_once_and_the_client_is_told_in_the_end() {
    let (mut node, owners) = node();
    ask(&mut node, get());
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    for ms in 1..=u64::from(TIMEOUT_MS) + 100 {
        let (sent, said) = handle(&mut node, ASKED + Micros::millis(ms), Event::Tick);
        asked.extend(sent.iter().map(|(to, ..)| *to));
        told.extend(said);
    }
    assert_eq!(asked, owners[1..]);
    assert!(matches!(&told[..], [Message::Failure(why)] if why.code == ErrorCode::QuorumNotMet), "{told:?}");
}

#[test]
fn a_write_waits_for_the_owner_that_may_have_it() {
    let (mut node, owners) = node();
    let (first, id) = ask(&mut node, put());
    assert_eq!(first, owners[0]);
    assert_eq!(handle(&mut node, LATE + Micros::millis(500), Event::Tick).0, []);
    let done = PutDone { context: Bytes::new(), acks: Default::default() };
    let (_, told) = handle(&mut node, LATE + Micros::millis(600), answer(owners[0], id, done));
    assert!(matches!(told[..], [Message::PutDone(_)]), "{told:?}");
}

#[test]
fn suspects_are_asked_last() {
    let (mut node, owners) = node();
    let state = MemberState::Suspect { by: owners[1].0 };
    let rumours = vec![Rumour { node: owners[0].0, incarnation: 1, state }];
    let (from, reply_to) = (Origin::Peer(owners[1]), ReplyTo { connection: 2, request: 0 });
    let message = Members { incarnation: 1, rumours }.into();
    handle(&mut node, ASKED, Event::Request { from, reply_to, message, body: Bytes::new() });
    assert_eq!(node.liveness(owners[0]), Liveness::Suspect);
    assert_eq!(ask(&mut node, put()).0, owners[1]);
    assert_eq!(ask(&mut node, get()).0, owners[1]);
    let asked = handle(&mut node, LATE, Event::Tick).0;
    assert_eq!(asked[0].0, owners[2]);
}
