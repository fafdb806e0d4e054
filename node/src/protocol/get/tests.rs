//! One coordinator of three owners, driven event by event.

use bytes::Bytes;
use dynode_client::wire::{Fetched, Get, Message, Quorum};
use dynode_ring::{Layout, NodeId};
use dynode_storage::codec::encode_clock;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::{Clock, Past, Store};

use super::super::trio::{config, member};
use super::super::{Effect, Effects, Event, Micros, Node, Origin, ReplyTo, Time};
use crate::limits;

/// A node that owns everything and sees both others.
fn node() -> Node<MemoryEngine> {
    let config = config(NodeId(1), Layout::first(1, 3, (1..=3).map(member).collect()).unwrap());
    let store = Store::open(MemoryEngine::new(), NodeId(1), 1, Past::Whole).unwrap();
    let mut node = Node::new(config, store, 7, Time(0)).unwrap();
    for peer in [2, 3] {
        node.handle(Time(0), Event::Up(NodeId(peer)), &mut Effects::new()).unwrap();
    }
    node
}

/// Handles an event; the fetches that it leads to, and how many replies.
fn handle(node: &mut Node<MemoryEngine>, now: Time, event: Event) -> (Vec<(NodeId, u64)>, usize) {
    let mut out = Effects::new();
    node.handle(now, event, &mut out).unwrap();
    node.end_turn().unwrap();
    let (mut fetches, mut replies) = (Vec::new(), 0);
    for effect in out.drain() {
        match effect {
            Effect::Send { to, request, message: Message::Fetch(_), .. } => fetches.push((to, request)),
            Effect::Reply { .. } => replies += 1,
            _ => {}
        }
    }
    (fetches, replies)
}

fn get(node: &mut Node<MemoryEngine>, now: Time) -> Vec<(NodeId, u64)> {
    let (bucket, key) = (Bytes::from_static(b"b"), Bytes::from_static(b"k"));
    let message = Get { bucket, key, r: Quorum::Majority, strict: false, timeout_ms: 5000, at_least: None }.into();
    let reply_to = ReplyTo { connection: 1, request: 1 };
    let event = Event::Request { from: Origin::Client, reply_to, message, body: Bytes::new() };
    let (fetches, replies) = handle(node, now, event);
    assert_eq!(replies, 0, "a quorum needs another owner");
    fetches
}

fn answer(node: &mut Node<MemoryEngine>, now: Time, (from, request): (NodeId, u64)) -> usize {
    let body = encode_clock(&Clock::new()).into();
    handle(
        node,
        now,
        Event::Response { from, request, message: Fetched { same: true, recovering: false }.into(), body },
    )
    .1
}

#[test]
fn an_owner_that_was_late_is_asked_last_until_it_is_fast() {
    let mut node = node();
    let first = get(&mut node, Time(1));
    assert_eq!(first.len(), 1, "only as many as are needed");
    let late = first[0].0;

    let hedge = Time(1) + limits::HEDGE_AFTER;
    let (next, _) = handle(&mut node, hedge, Event::Tick);
    assert_eq!(next.len(), 1, "the one that was not asked yet");
    assert_ne!(next[0].0, late);
    assert_eq!(answer(&mut node, hedge, next[0]), 1);
    assert_eq!(answer(&mut node, hedge, first[0]), 0, "nobody waits for it any more");

    let second = get(&mut node, hedge + Micros(1));
    assert_eq!(second[0].0, next[0].0, "the late one is not asked first again");
    assert_eq!(answer(&mut node, hedge + Micros(2), second[0]), 1);

    (0..100).for_each(|_| node.swim.latencies_mut().sample(late, 200));
    let again = get(&mut node, hedge + Micros(3));
    assert_eq!(again[0].0, late, "until it answers pings as fast as others");
}

#[test]
fn a_duplicate_answer_makes_no_quorum() {
    let mut node = node();
    let (bucket, key) = (Bytes::from_static(b"b"), Bytes::from_static(b"k"));
    let message = Get { bucket, key, r: Quorum::All, strict: false, timeout_ms: 5000, at_least: None }.into();
    let reply_to = ReplyTo { connection: 1, request: 1 };
    let event = Event::Request { from: Origin::Client, reply_to, message, body: Bytes::new() };
    let (fetches, _) = handle(&mut node, Time(1), event);
    assert_eq!(fetches.len(), 2);
    assert_eq!(answer(&mut node, Time(2), fetches[0]), 0);
    assert_eq!(answer(&mut node, Time(3), fetches[0]), 0, "the same owner again");
    assert_eq!(answer(&mut node, Time(4), fetches[1]), 1);
}
