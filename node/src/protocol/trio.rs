//! Three nodes that own everything, on a network that delivers at once or not at all: for tests of what they say to each
//! other.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use dynode_client::wire::{Causality, Expiry, Found, Get, Message, Meta, Put, PutDone, Quorum};
use dynode_ring::{Layout, Member, NodeId, PartitionId};
use dynode_storage::memory::MemoryEngine;
use dynode_storage::seal::SealKey;
use dynode_storage::{Past, Store};

use super::{Config, Durability, Effect, Effects, Event, Node, Origin, ReplyTo, Time};

const CLIENTS: u64 = 100;

/// The wall clock at the start, in milliseconds.
pub(super) const WALL: u64 = 1_800_000_000_000;

/// Three nodes, `0` to `2`; node ids are one more.
pub(super) struct Trio {
    pub(super) nodes: Vec<Node<MemoryEngine>>,
    pub(super) now: Time,
    /// Cut off from the others.
    pub(super) away: BTreeSet<usize>,
    told: VecDeque<(usize, Event)>,
    answers: VecDeque<(Message, Bytes)>,
}

/// A member of the test's cluster.
pub(super) fn member(n: u64) -> Member {
    Member { id: NodeId(n), name: format!("n{n}"), addr: format!("h:{n}"), zone: "z".into(), weight: 1 }
}

/// What a node of the test's cluster is told.
pub(super) fn config(node: NodeId, layout: Layout) -> Config {
    Config {
        node,
        name: node.to_string(),
        cluster: [1; 16],
        layout,
        durability: Durability::Group,
        seal: SealKey::derive(b"secret"),
        index_entries_max: 1000,
        operations_max: 1000,
        hint_bytes_max: 1 << 20,
        incarnation: 1,
    }
}

fn node(at: usize, disk: MemoryEngine, now: Time) -> Node<MemoryEngine> {
    let layout = Layout::first(1, 3, (1..=3).map(member).collect()).unwrap();
    let config = Config { incarnation: WALL + now.0 / 1000, ..config(NodeId(at as u64 + 1), layout) };
    let life = 1000 * (at as u64 + 1) + now.0;
    let store = Store::open(disk, NodeId(at as u64 + 1), life, Past::Whole).unwrap();
    Node::new(config, store, at as u64, now).unwrap()
}

impl Trio {
    pub(super) fn new() -> Trio {
        let nodes = (0..3).map(|at| node(at, MemoryEngine::new(), Time(0))).collect();
        let mut trio =
            Trio { nodes, now: Time(0), away: BTreeSet::new(), told: VecDeque::new(), answers: VecDeque::new() };
        for at in 0..3 {
            trio.connect(at);
        }
        trio.run(3);
        trio
    }

    /// Tells a node that its connections to all others stand.
    pub(super) fn connect(&mut self, at: usize) {
        for peer in (0..3).filter(|peer| *peer != at) {
            self.tell(at, Event::Up(NodeId(peer as u64 + 1)));
            self.tell(peer, Event::Up(NodeId(at as u64 + 1)));
        }
    }

    /// Cuts a node off from the others, who notice.
    pub(super) fn cut_off(&mut self, at: usize) {
        self.away.insert(at);
        for peer in (0..3).filter(|peer| *peer != at) {
            self.tell(at, Event::Down(NodeId(peer as u64 + 1)));
            self.tell(peer, Event::Down(NodeId(at as u64 + 1)));
        }
    }

    pub(super) fn bring_back(&mut self, at: usize) {
        self.away.remove(&at);
        self.connect(at);
    }

    /// Stops a node in good order, and starts it again on its disk.
    pub(super) fn restart(&mut self, at: usize) {
        self.restart_alone(at);
        self.bring_back(at);
    }

    /// The same, and it is cut off from the others.
    pub(super) fn restart_alone(&mut self, at: usize) {
        self.cut_off(at);
        let gone = std::mem::replace(&mut self.nodes[at], node(at, MemoryEngine::new(), self.now));
        self.nodes[at] = node(at, gone.close().unwrap(), self.now);
    }

    /// A node loses its disk, and starts anew with an empty one, cut off from the others.
    pub(super) fn lose(&mut self, at: usize) {
        self.cut_off(at);
        self.nodes[at] = node(at, MemoryEngine::new(), self.now);
    }

    /// Lets seconds pass.
    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..20 * seconds {
            self.now = Time(self.now.0 + 50_000);
            (0..3).for_each(|at| self.tell(at, Event::Tick));
        }
    }

    fn tell(&mut self, at: usize, event: Event) {
        self.told.push_back((at, event));
        while let Some((at, event)) = self.told.pop_front() {
            let mut out = Effects::new();
            self.nodes[at].handle(self.now, event, &mut out).unwrap();
            self.nodes[at].end_turn().unwrap();
            for effect in out.drain() {
                match effect {
                    Effect::Send { to, request, message, body } => {
                        let peer = to.0 as usize - 1;
                        let event = match self.away.contains(&at) || self.away.contains(&peer) {
                            true => (at, Event::Unsent { to, request }),
                            false => {
                                let reply_to = ReplyTo { connection: at as u64, request };
                                let from = Origin::Peer(NodeId(at as u64 + 1));
                                (peer, Event::Request { from, reply_to, message, body })
                            }
                        };
                        self.told.push_back(event);
                    }
                    Effect::Reply { to, message, body } if to.connection == CLIENTS => {
                        self.answers.push_back((message, body));
                    }
                    Effect::Reply { to, message, body } => {
                        let (asker, from) = (to.connection as usize, NodeId(at as u64 + 1));
                        let request = to.request;
                        self.told.push_back((asker, Event::Response { from, request, message, body }));
                    }
                    Effect::Observe(_) => {}
                }
            }
        }
    }

    /// Asks a node as a client, and waits for the answer.
    pub(super) fn ask(&mut self, at: usize, message: impl Into<Message>, body: &[u8]) -> (Message, Bytes) {
        self.answers.clear();
        let reply_to = ReplyTo { connection: CLIENTS, request: 1 };
        let (message, body) = (message.into(), Bytes::copy_from_slice(body));
        self.tell(at, Event::Request { from: Origin::Client, reply_to, message, body });
        for _ in 0..200 {
            if let Some(answer) = self.answers.pop_front() {
                return answer;
            }
            self.now = Time(self.now.0 + 50_000);
            (0..3).for_each(|at| self.tell(at, Event::Tick));
        }
        panic!("no answer in ten seconds");
    }

    pub(super) fn put(&mut self, at: usize, value: &[u8], change: impl FnOnce(&mut Put)) -> PutDone {
        let mut put = Put {
            bucket: Bytes::from_static(b"b"),
            key: Bytes::from_static(b"k"),
            causality: Causality::Blind,
            w: Quorum::One,
            strict: false,
            timeout_ms: 2_000,
            content_type: Bytes::new(),
            expiry: Expiry::OfBucket,
            request: None,
        };
        change(&mut put);
        match self.ask(at, put, value) {
            (Message::PutDone(done), _) => done,
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Reads the key; its values with what is said about them.
    pub(super) fn get(&mut self, at: usize) -> (Found, Vec<(Bytes, Meta)>) {
        match self.try_get(at, None) {
            (Message::Found(found), mut body) => {
                let values = found.siblings.iter().map(|s| (body.split_to(s.length as usize), s.meta.clone()));
                let values = values.collect();
                (found, values)
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    pub(super) fn try_get(&mut self, at: usize, at_least: Option<Bytes>) -> (Message, Bytes) {
        let (bucket, key) = (Bytes::from_static(b"b"), Bytes::from_static(b"k"));
        let get = Get { bucket, key, r: Quorum::One, strict: false, timeout_ms: 2_000, at_least };
        self.ask(at, get, b"")
    }

    pub(super) fn values(&mut self, at: usize) -> Vec<Bytes> {
        self.get(at).1.into_iter().map(|(value, _)| value).collect()
    }

    /// How many values each node's copy holds, hidden ones included; the copies' clocks and contents are equal.
    pub(super) fn stored(&mut self) -> usize {
        let mut all = Vec::new();
        for node in &mut self.nodes {
            let p = PartitionId(0);
            let key = dynode_storage::ObjectKey::new(b"b", b"k");
            let values = node.store().read(p, &key).unwrap().values;
            let copy = node.store().copy(p).unwrap();
            all.push((copy.clock().clone(), copy.content(), values));
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "the copies differ: {all:?}");
        all[0].2.len()
    }
}
