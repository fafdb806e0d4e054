//! A few owners of one partition, whose letters arrive in order, and what is done to their disks.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dynode_client::wire::{Causality, ErrorCode, Expiry, Get, Message, Put, Quorum};
use dynode_ring::{Layout, NodeId, PartitionId};
use dynode_storage::codec::{decode_checkpoint, encode_checkpoint};
use dynode_storage::engine::Step;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::quarantine::Quarantine;
use dynode_storage::{Engine, Past, Space, Store, View};

use super::super::trio::{config, member};
use super::super::{Config, Effect, Effects, Event, Node, Observation, Origin, ReplyTo, Time};

const P: PartitionId = PartitionId(0);
/// The connection of the one client.
const CLIENT: u64 = 99;

struct Owners {
    nodes: Vec<Node<MemoryEngine>>,
    /// Links that are cut, both ways.
    cut: Vec<usize>,
    now: Time,
    said: BTreeMap<u64, (Message, Bytes)>,
    seen: Vec<(usize, Observation)>,
    letters: VecDeque<(usize, Event)>,
    next_request: u64,
    lives: u64,
}

impl Owners {
    fn new(count: u64) -> Owners {
        let mut owners = Owners {
            nodes: (0..count).map(|n| node(n, count, MemoryEngine::new(), 1, Time(0))).collect(),
            cut: Vec::new(),
            now: Time(0),
            said: BTreeMap::new(),
            seen: Vec::new(),
            letters: VecDeque::new(),
            next_request: 0,
            lives: 1,
        };
        (0..count as usize).for_each(|n| owners.connect(n));
        owners
    }

    fn connect(&mut self, at: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            self.letters.push_back((at, Event::Up(NodeId(other as u64))));
            self.letters.push_back((other, Event::Up(NodeId(at as u64))));
        }
        self.deliver();
    }

    /// Takes a node from all others; a further call of `connect` brings it back.
    fn isolate(&mut self, at: usize) {
        self.cut.push(at);
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            self.letters.push_back((at, Event::Down(NodeId(other as u64))));
            self.letters.push_back((other, Event::Down(NodeId(at as u64))));
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some((at, event)) = self.letters.pop_front() {
            let mut out = Effects::new();
            self.nodes[at].handle(self.now, event, &mut out).unwrap();
            self.nodes[at].end_turn().unwrap();
            for effect in out.drain() {
                match effect {
                    Effect::Send { to, request, message, body } => {
                        let to = to.0 as usize;
                        if !self.cut.contains(&at) && !self.cut.contains(&to) {
                            let reply_to = ReplyTo { connection: at as u64, request };
                            let from = Origin::Peer(NodeId(at as u64));
                            self.letters.push_back((to, Event::Request { from, reply_to, message, body }));
                        }
                    }
                    Effect::Reply { to, message, body } if to.connection == CLIENT => {
                        let before = self.said.insert(to.request, (message, body));
                        assert!(before.is_none(), "a request is answered twice");
                    }
                    Effect::Reply { to, message, body } => {
                        let from = NodeId(at as u64);
                        let event = Event::Response { from, request: to.request, message, body };
                        self.letters.push_back((to.connection as usize, event));
                    }
                    Effect::Observe(what) => self.seen.push((at, what)),
                }
            }
        }
    }

    /// Lets so much time pass.
    fn wait(&mut self, millis: u64) {
        let until = Time(self.now.0 + millis * 1000);
        while let Some(next) = self.nodes.iter().map(Node::next_wake).min().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            for at in 0..self.nodes.len() {
                if self.nodes[at].next_wake() <= self.now {
                    self.letters.push_back((at, Event::Tick));
                }
            }
            self.deliver();
        }
        self.now = until;
    }

    fn ask(&mut self, at: usize, message: Message, body: Bytes) -> (Message, Bytes) {
        self.next_request += 1;
        let (request, reply_to) = (self.next_request, ReplyTo { connection: CLIENT, request: self.next_request });
        self.letters.push_back((at, Event::Request { from: Origin::Client, reply_to, message, body }));
        self.deliver();
        self.wait(100);
        self.said.remove(&request).expect("every request is answered")
    }

    fn put(&mut self, at: usize, key: u8, w: Quorum) -> Message {
        let (bucket, key, value) = (Bytes::from_static(b"b"), Bytes::from(vec![key]), Bytes::from(vec![key; 30]));
        let message = Put {
            bucket,
            key,
            causality: Causality::Current,
            w,
            strict: false,
            timeout_ms: 1000,
            content_type: Bytes::new(),
            expiry: Expiry::OfBucket,
            request: None,
        };
        self.ask(at, message.into(), value).0
    }

    /// `Ok`: the value; `Err`: the code of the refusal.
    fn get(&mut self, at: usize, key: u8, r: Quorum) -> Result<Option<Bytes>, ErrorCode> {
        let (bucket, key) = (Bytes::from_static(b"b"), Bytes::from(vec![key]));
        match self.ask(at, Get { bucket, key, r, strict: true, timeout_ms: 1000, at_least: None }.into(), Bytes::new())
        {
            (Message::Found(found), body) => Ok((!found.siblings.is_empty()).then_some(body)),
            (Message::Failure(failure), _) => Err(failure.code),
            other => panic!("{other:?}"),
        }
    }

    fn load(&mut self) {
        for key in 0..20 {
            let done = self.put(usize::from(key) % self.nodes.len(), key, Quorum::All);
            assert!(matches!(done, Message::PutDone(_)), "{done:?}");
        }
        self.wait(3000);
    }

    /// Ends a node's process, does something to its disk, and starts it again. It is not connected.
    fn tamper(&mut self, at: usize, what: impl FnOnce(&mut MemoryEngine)) {
        self.isolate(at);
        self.lives += 100;
        let count = self.nodes.len() as u64;
        let now = self.now;
        let node_of = |engine, life| node(at as u64, count, engine, life, now);
        let old = std::mem::replace(&mut self.nodes[at], node_of(MemoryEngine::new(), 1));
        let mut engine = old.close().unwrap();
        what(&mut engine);
        engine.sync().unwrap();
        self.nodes[at] = node_of(engine, self.lives);
    }

    fn join(&mut self, at: usize) {
        self.cut.retain(|cut| *cut != at);
        self.connect(at);
    }

    fn tampered(&mut self, at: usize, what: impl FnOnce(&mut MemoryEngine)) {
        self.tamper(at, what);
        self.join(at);
    }

    fn quarantine(&mut self, at: usize) -> Option<Quarantine> {
        self.nodes[at].store().quarantine(P)
    }

    fn has_seen(&self, at: usize, what: impl Fn(&Observation) -> bool) -> bool {
        self.seen.iter().any(|(node, seen)| *node == at && what(seen))
    }

    /// Every copy is as the first, and as it says it is.
    fn all_equal(&mut self) {
        let facts: Vec<_> = self
            .nodes
            .iter_mut()
            .map(|node| {
                let store = node.store();
                let (content, keys) = store.recount(P).unwrap();
                let copy = store.find(P).unwrap().unwrap();
                (copy.clock().clone(), copy.content(), content, keys)
            })
            .collect();
        for fact in &facts {
            assert_eq!(fact, &facts[0]);
            assert_eq!(fact.1, fact.2, "the set hash is kept");
        }
        assert_eq!(facts[0].3, 20);
    }
}

fn node(n: u64, count: u64, engine: MemoryEngine, first_life: u64, now: Time) -> Node<MemoryEngine> {
    let layout = Layout::first(1, count.min(3) as u8, (0..count).map(member).collect()).unwrap();
    let config = Config { index_entries_max: 100, ..config(NodeId(n), layout) };
    let store = Store::open(engine, NodeId(n), first_life, Past::Whole).unwrap();
    Node::new(config, store, n + first_life, now).unwrap()
}

/// The place of a key's object.
fn object_of(engine: &MemoryEngine, key: u8) -> (Bytes, Bytes) {
    let mut found = None;
    let visit = &mut |at: &[u8], value: &[u8]| {
        if at.ends_with(&[key]) {
            found = Some((Bytes::copy_from_slice(at), Bytes::copy_from_slice(value)));
        }
        true
    };
    engine.scan(Space::Objects, &[], &[0xff; 4], visit).unwrap();
    found.expect("the key is there")
}

fn cut_short(engine: &mut MemoryEngine, key: u8) {
    let (at, value) = object_of(engine, key);
    engine.write(&[Step::Put(Space::Objects, at, value.slice(..value.len() - 1))], true).unwrap();
}

fn lose(engine: &mut MemoryEngine, key: u8) {
    let (at, _) = object_of(engine, key);
    engine.write(&[Step::Delete(Space::Objects, at)], true).unwrap();
}

/// A loss that the copy itself cannot notice: the kept set hash is made to fit.
fn lose_unnoticed(engine: &mut MemoryEngine, key: u8) {
    lose(engine, key);
    let mut store = Store::open(engine.clone(), NodeId(0), 1, Past::Whole).unwrap();
    let content = store.recount(P).unwrap().0;
    let at = Bytes::copy_from_slice(&P.0.to_be_bytes());
    let mut checkpoint = decode_checkpoint(engine.get(Space::Clocks, &at).unwrap().unwrap()).unwrap();
    checkpoint.content = content;
    engine.write(&[Step::Put(Space::Clocks, at, encode_checkpoint(&checkpoint).into())], true).unwrap();
}

fn value(key: u8) -> Result<Option<Bytes>, ErrorCode> {
    Ok(Some(Bytes::from(vec![key; 30])))
}

/// Scenario 18: detected, never served, rebuilt from the others, never spread as a delete.
#[test]
fn a_damaged_copy_is_never_served_and_comes_back_from_the_others() {
    let mut owners = Owners::new(3);
    owners.load();
    let before = owners.nodes[1].store().copy(P).unwrap().actor();
    owners.tampered(1, |engine| cut_short(engine, 7));
    // Found when the key is read; this one request is turned away, and the next goes on to another owner.
    assert_eq!(owners.get(1, 7, Quorum::One), Err(ErrorCode::Unavailable));
    assert!(owners.has_seen(1, |o| matches!(o, Observation::Discarded { .. })));
    assert_eq!(owners.get(1, 7, Quorum::One), value(7));
    assert_eq!(owners.get(0, 7, Quorum::Majority), value(7));
    owners.wait(5000);
    assert_eq!(owners.quarantine(1), None);
    assert!(owners.has_seen(1, |o| matches!(o, Observation::Rebuilt { .. })));
    assert_ne!(owners.nodes[1].store().copy(P).unwrap().actor(), before, "a new life");
    owners.all_equal();
    (0..20).for_each(|key| assert_eq!(owners.get(1, key, Quorum::One), value(key)));
}

#[test]
fn a_damaged_checkpoint_is_found_by_the_sync() {
    let mut owners = Owners::new(3);
    owners.load();
    owners.tampered(2, |engine| {
        let at = Bytes::copy_from_slice(&P.0.to_be_bytes());
        engine.write(&[Step::Put(Space::Clocks, at, Bytes::from_static(b"\x01rubbish"))], true).unwrap();
    });
    owners.wait(5000);
    assert!(owners.has_seen(2, |o| matches!(o, Observation::Discarded { .. })));
    assert_eq!(owners.quarantine(2), None);
    owners.all_equal();
}

/// Until it has heard from every other owner the empty copy must not pass for one, restarts included.
#[test]
fn a_copy_that_is_being_rebuilt_answers_no_read() {
    let mut owners = Owners::new(3);
    owners.load();
    owners.tamper(1, |engine| cut_short(engine, 7));
    assert_eq!(owners.get(1, 7, Quorum::One), Err(ErrorCode::Unavailable));
    for key in 0..20 {
        assert_eq!(owners.get(1, key, Quorum::One), Err(ErrorCode::Unavailable), "nobody else can be reached");
    }
    owners.tamper(1, |_| {});
    assert_eq!(owners.quarantine(1), Some(Quarantine::Rebuilding), "a restart forgets nothing of it");
    // One of the other owners is away: a write may have been acknowledged by that one and the lost copy alone.
    owners.isolate(2);
    owners.join(1);
    owners.wait(20_000);
    assert_eq!(owners.quarantine(1), Some(Quarantine::Rebuilding));
    assert_eq!(owners.get(0, 7, Quorum::Majority), Err(ErrorCode::QuorumNotMet));
    assert_eq!(owners.get(1, 7, Quorum::One), value(7), "the one that is whole answers");
    let put = owners.put(0, 7, Quorum::Majority);
    assert!(matches!(put, Message::PutDone(_)), "it takes writes, and counts where the writer is not strict: {put:?}");
    owners.join(2);
    owners.wait(5000);
    assert_eq!(owners.quarantine(1), None);
    owners.all_equal();
}

/// Nothing fits a checksum, and nothing is wrong with any record: one is missing. Only the scrub can tell.
#[test]
fn a_scrub_finds_a_record_that_is_missing() {
    let mut owners = Owners::new(3);
    owners.load();
    owners.tampered(1, |engine| lose(engine, 3));
    owners.wait(3000);
    assert!(!owners.has_seen(1, |o| matches!(o, Observation::Discarded { .. })), "nobody has looked");
    let now = owners.now;
    owners.nodes[1].begin_scrub(now);
    owners.wait(5000);
    assert!(owners.has_seen(1, |o| matches!(o, Observation::Scrubbed { damaged: 1, .. })));
    assert!(owners.has_seen(1, |o| matches!(o, Observation::Rebuilt { .. })));
    owners.all_equal();
    // A second pass finds nothing; neither does one on a sound node, while writes go on.
    for at in [1, 2] {
        let now = owners.now;
        owners.nodes[at].begin_scrub(now);
        for key in 0..20 {
            owners.put(usize::from(key) % 3, key, Quorum::All);
        }
        owners.wait(2000);
        assert!(owners.has_seen(at, |o| matches!(o, Observation::Scrubbed { damaged: 0, .. })), "{at}");
    }
}

#[test]
fn passes_come_by_themselves() {
    let mut owners = Owners::new(1);
    let scrubbed = |owners: &Owners| owners.has_seen(0, |o| matches!(o, Observation::Scrubbed { .. }));
    owners.wait(3_500_000);
    assert!(!scrubbed(&owners));
    owners.wait(200_000);
    assert!(scrubbed(&owners));
}

/// A source that has lost a record without notice lists the rest. Who scans it must not say after it that the record was
/// deleted: the source reads its copy whole instead, and finds out.
#[test]
fn a_listing_that_is_not_whole_is_not_relied_on() {
    let mut owners = Owners::new(3);
    owners.load();
    owners.isolate(0);
    owners.tamper(1, |engine| lose(engine, 3));
    owners.tamper(2, |engine| *engine = MemoryEngine::new());
    owners.join(1);
    owners.join(2);
    owners.wait(5000);
    assert!(owners.has_seen(2, |o| matches!(o, Observation::ScanDiffers { source: NodeId(1), .. })));
    assert!(owners.has_seen(1, |o| matches!(o, Observation::Discarded { .. })), "the source was told");
    owners.join(0);
    owners.wait(8000);
    owners.all_equal();
}

/// A node that holds a copy with the owners' clock and other content does not let go of it as one that they contain: one of the
/// two has lost something.
#[test]
fn a_held_copy_that_is_not_as_its_owners_stays() {
    let mut owners = Owners::new(4);
    let owned_by: Vec<usize> = owners.nodes[0].layout().owners(P).iter().map(|id| id.0 as usize).collect();
    let stand_in = (0..4).find(|at| !owned_by.contains(at)).unwrap();
    owners.isolate(owned_by[0]);
    assert!(matches!(owners.put(owned_by[1], 3, Quorum::All), Message::PutDone(_)));
    owners.wait(3000);
    owners.tamper(stand_in, |engine| lose_unnoticed(engine, 3));
    owners.nodes[stand_in].store().recovered(P).unwrap(); // as a former owner's copy, which is whole
    owners.join(stand_in);
    owners.join(owned_by[0]);
    owners.wait(5000);
    assert!(owners.has_seen(owned_by[1], |o| matches!(o, Observation::ContentDiffers { .. })));
    assert!(!owners.has_seen(stand_in, |o| matches!(o, Observation::HandedOff { .. })));
}

/// Equal clocks, different content: the copy that does not even fit its own word gives way at once.
#[test]
fn the_odd_one_of_three_gives_way() {
    let mut owners = Owners::new(3);
    owners.load();
    owners.tampered(1, |engine| lose_unnoticed(engine, 3));
    owners.wait(8000);
    let gave_way = |owners: &Owners, at| owners.has_seen(at, |o| matches!(o, Observation::Discarded { .. }));
    assert_eq!([0, 1, 2].map(|at| gave_way(&owners, at)), [false, true, false]);
    owners.all_equal();
}

#[test]
fn two_that_differ_are_reported_and_left_alone() {
    let mut owners = Owners::new(2);
    owners.load();
    owners.tampered(1, |engine| lose_unnoticed(engine, 3));
    owners.wait(8000);
    for at in [0, 1] {
        assert!(owners.has_seen(at, |o| matches!(o, Observation::ContentDiffers { .. })));
        assert!(!owners.has_seen(at, |o| matches!(o, Observation::Discarded { .. })));
        assert_eq!(owners.nodes[at].damage_report()["divergent"], serde_json::json!([0]));
    }
    // And when the difference is gone, so is the report: both take the same write over it.
    owners.put(0, 3, Quorum::All);
    owners.wait(3000);
    assert_eq!(owners.nodes[0].damage_report()["divergent"], serde_json::json!([]));
}

/// Where nobody else has a copy, nothing is discarded, and nothing is said to be absent.
#[test]
fn the_only_copy_is_shelved() {
    let mut owners = Owners::new(1);
    owners.load();
    owners.tampered(0, |engine| cut_short(engine, 7));
    for _ in 0..2 {
        for key in 0..20 {
            match owners.get(0, key, Quorum::One) {
                Ok(found) => assert_eq!(Ok(found), value(key)), // before the damage is met
                Err(code) => assert_eq!(code, ErrorCode::Unavailable),
            }
        }
        assert_eq!(owners.get(0, 1, Quorum::One), Err(ErrorCode::Unavailable));
        assert!(matches!(owners.put(0, 1, Quorum::One), Message::Failure(f) if f.code == ErrorCode::Unavailable));
        assert_eq!(owners.quarantine(0), Some(Quarantine::Shelved));
        owners.wait(3000);
        owners.tamper(0, |engine| {
            let mut objects = 0;
            let count = &mut |_: &[u8], _: &[u8]| {
                objects += 1;
                true
            };
            engine.scan(Space::Objects, &[], &[0xff; 4], count).unwrap();
            assert_eq!(objects, 20, "all is left as it was");
        });
        owners.join(0);
    }
}

/// A nearly full disk: others take the values, this one takes deletes and serves reads, and is whole when there is room.
#[test]
fn a_node_that_takes_no_values_is_no_coordinator_of_any() {
    let mut owners = Owners::new(3);
    owners.load();
    owners.nodes[1].refuse_writes(Some("the disk is nearly full".into()));
    assert!(matches!(owners.put(1, 5, Quorum::Majority), Message::PutDone(_)), "another owner takes it");
    assert!(!matches!(owners.put(0, 6, Quorum::All), Message::PutDone(_)), "it is not among all");
    assert_eq!(owners.get(1, 5, Quorum::Majority), value(5));
    owners.wait(3000);
    let clock = |owners: &mut Owners, at: usize| owners.nodes[at].store().copy(P).unwrap().clock().clone();
    let (full, other) = (clock(&mut owners, 1), clock(&mut owners, 0));
    assert!(other.covers(&full) && !full.covers(&other), "nothing was pulled either");
    owners.nodes[1].refuse_writes(None);
    owners.wait(4000);
    owners.all_equal();
}
