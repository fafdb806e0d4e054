//! Many members' liveness machines alone, on one queue of what happens next: losses, cuts, pauses, crashes, from one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::{Bytes, BytesMut};
use dynode::protocol::swim::Swim;
use dynode::protocol::{Effect, Effects, Liveness, Observation, ReplyTo, Time};
use dynode_client::wire::{self, Message};
use dynode_ring::NodeId;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A millisecond and a second of simulated time, in microseconds.
pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// What a node took a member for, from when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: u64,
    pub(crate) observer: usize,
    pub(crate) about: usize,
    pub(crate) liveness: Liveness,
}

struct Node {
    /// `None`: it has crashed.
    swim: Option<Swim>,
    wakes_at: u64,
    paused_until: u64,
}

#[derive(Debug, Clone)]
enum Happening {
    Wake(usize),
    Request { to: usize, from: usize, request: u64, message: Message },
    Response { to: usize, from: usize, request: u64, message: Message },
    Unsent { to: usize, peer: usize, request: u64 },
    Lost { to: usize, peer: usize },
}

/// A cluster of liveness machines.
pub(crate) struct Cluster {
    pub(crate) now: u64,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    rng: Pcg64,
    /// Of a hundred messages so many are lost.
    pub(crate) loss_percent: u32,
    /// One way, at least and at most.
    pub(crate) latency: (u64, u64),
    /// Nothing gets from the first to the second.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// The connections to a crashed process are reset; else it just falls silent.
    pub(crate) resets: bool,
    pub(crate) changes: Vec<Change>,
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    /// The longest message in bytes, exchanges of all apart.
    pub(crate) longest: usize,
    frame: BytesMut,
}

impl Cluster {
    pub(crate) fn new(count: usize, seed: u64) -> Cluster {
        let mut cluster = Cluster {
            now: 0,
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            rng: Pcg64::seed_from_u64(seed),
            loss_percent: 0,
            latency: (100, 2 * MS),
            cut: BTreeSet::new(),
            resets: false,
            changes: Vec::new(),
            bytes: 0,
            messages: 0,
            longest: 0,
            frame: BytesMut::new(),
        };
        for node in 0..count {
            cluster.nodes.push(Node { swim: None, wakes_at: u64::MAX, paused_until: 0 });
            cluster.start(node, count);
        }
        cluster
    }

    fn start(&mut self, node: usize, count: usize) {
        let members = (0..count).map(id);
        let incarnation = 1_800_000_000_000 + self.now / MS;
        let swim = Swim::new(id(node), members, incarnation, self.rng.next_u64(), Time(self.now));
        self.nodes[node].swim = Some(swim);
        self.watch(node);
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            let Some(Reverse((at, sequence))) = self.queue.pop() else { break };
            self.now = at;
            if let Some(what) = self.happenings.remove(&sequence) {
                self.happen(what);
            }
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, span: u64) {
        self.run_until(self.now + span);
    }

    /// The process is gone.
    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node].swim = None;
        if self.resets {
            for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
                let delay = self.delay();
                self.push(self.now + delay, Happening::Lost { to: peer, peer: node });
            }
        }
    }

    /// The process begins anew, and knows nothing.
    pub(crate) fn restart(&mut self, node: usize) {
        self.start(node, self.nodes.len());
    }

    /// The process stands still; what is sent to it waits.
    pub(crate) fn pause(&mut self, node: usize, span: u64) {
        self.nodes[node].paused_until = self.now + span;
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.rng.random_range(0..below)
    }

    /// What one takes another for; down, if it has crashed itself.
    pub(crate) fn liveness(&self, observer: usize, about: usize) -> Liveness {
        self.nodes[observer].swim.as_ref().map_or(Liveness::Down, |swim| swim.liveness(id(about)))
    }

    /// Does every live member take every live member for alive, and every other for down?
    pub(crate) fn agrees(&self) -> bool {
        let right = |about: usize| if self.nodes[about].swim.is_some() { Liveness::Alive } else { Liveness::Down };
        self.nodes
            .iter()
            .filter_map(|n| n.swim.as_ref())
            .all(|swim| (0..self.nodes.len()).all(|about| swim.liveness(id(about)) == right(about)))
    }

    /// Lets time pass until all agree, at most so long. How long it took.
    pub(crate) fn time_to_agree(&mut self, most: u64) -> Option<u64> {
        let began = self.now;
        while !self.agrees() {
            if self.now >= began + most {
                return None;
            }
            self.run_for(50 * MS);
        }
        Some(self.now - began)
    }

    /// The changes to this state about members of which `about` holds, from `since` on.
    pub(crate) fn changes_to(&self, liveness: Liveness, since: u64, about: impl Fn(usize) -> bool) -> usize {
        self.changes.iter().filter(|c| c.liveness == liveness && c.at >= since && about(c.about)).count()
    }

    fn happen(&mut self, what: Happening) {
        let at = match what {
            Happening::Wake(to)
            | Happening::Request { to, .. }
            | Happening::Response { to, .. }
            | Happening::Unsent { to, .. }
            | Happening::Lost { to, .. } => to,
        };
        let node = &mut self.nodes[at];
        let now = Time(self.now);
        if node.paused_until > self.now {
            // A process that goes on takes what has come before it looks at its timers.
            let is_timer = u64::from(matches!(what, Happening::Wake(_)));
            let until = node.paused_until + is_timer;
            if is_timer == 1 {
                node.wakes_at = until;
            }
            self.push(until, what);
            return;
        }
        let Some(swim) = &mut node.swim else { return };
        let mut out = Effects::new();
        match what {
            Happening::Wake(_) if node.wakes_at != self.now => return,
            Happening::Wake(_) => {
                node.wakes_at = u64::MAX;
                swim.tick(now, &mut out);
            }
            Happening::Request { from, request, message, .. } => {
                let reply_to = ReplyTo { connection: from as u64, request };
                swim.request(now, id(from), reply_to, &message, &mut out);
            }
            Happening::Response { from, request, message, .. } => {
                swim.response(now, id(from), request, &message, &mut out);
            }
            Happening::Unsent { peer, request, .. } => swim.unsent(now, id(peer), request, &mut out),
            Happening::Lost { peer, .. } => swim.lost(now, id(peer), &mut out),
        }
        for effect in out.drain() {
            self.perform(at, effect);
        }
        self.watch(at);
    }

    fn perform(&mut self, from: usize, effect: Effect) {
        match effect {
            Effect::Send { to, request, message, .. } => {
                let to = to.0 as usize - 1;
                if self.resets && self.nodes[to].swim.is_none() {
                    self.push(self.now, Happening::Unsent { to: from, peer: to, request });
                } else if self.gets_through(from, to, request, &message) {
                    let delay = self.delay();
                    self.push(self.now + delay, Happening::Request { to, from, request, message });
                }
            }
            Effect::Reply { to: ReplyTo { connection, request }, message, .. } => {
                let to = connection as usize;
                if self.gets_through(from, to, request, &message) {
                    let delay = self.delay();
                    self.push(self.now + delay, Happening::Response { to, from, request, message });
                }
            }
            Effect::Observe(Observation::Liveness { peer, liveness, .. }) => {
                self.changes.push(Change { at: self.now, observer: from, about: peer.0 as usize - 1, liveness });
            }
            Effect::Observe(_) => {}
        }
    }

    fn gets_through(&mut self, from: usize, to: usize, request: u64, message: &Message) -> bool {
        self.frame.clear();
        wire::encode(request, message, &Bytes::new(), &mut self.frame).expect("a frame");
        self.bytes += self.frame.len() as u64;
        self.messages += 1;
        if !matches!(message, Message::Members(_)) || request == 0 {
            self.longest = self.longest.max(self.frame.len());
        }
        let is_lost = self.loss_percent > 0 && self.rng.random_range(0..100) < self.loss_percent;
        !is_lost && !self.cut.contains(&(from, to))
    }

    fn delay(&mut self) -> u64 {
        self.rng.random_range(self.latency.0..=self.latency.1)
    }

    fn watch(&mut self, node: usize) {
        let Some(swim) = &self.nodes[node].swim else { return };
        let wake = swim.next_wake().0.max(self.now);
        if wake < self.nodes[node].wakes_at && wake < u64::MAX {
            self.nodes[node].wakes_at = wake;
            self.push(wake, Happening::Wake(node));
        }
    }

    fn push(&mut self, at: u64, what: Happening) {
        self.sequence += 1;
        self.happenings.insert(self.sequence, what);
        self.queue.push(Reverse((at, self.sequence)));
    }
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}
