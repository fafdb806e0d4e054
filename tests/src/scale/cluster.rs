//! Many real nodes on a network without faults, which counts what it carries.
//!
//! Time is simulated: a frame takes [`DELAY`], and as long as its bytes need on its sender's link; computing takes none.
//! A frame's length is that of its encoded form; it is not decoded again (tests of the codec do that), so that a thousand
//! nodes run on one core.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use dynode::protocol::{Config, Effect, Effects, Event, Liveness, Node, Observation, Origin, ReplyTo, Time};
use dynode_client::wire::{self, Message};
use dynode_ring::{Layout, Member, NodeId};
use dynode_storage::Store;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::store::Past;

use super::load::Load;
use super::tally::Tally;

/// One second in the cluster's time.
pub const SECOND: u64 = 1_000_000;

/// From one node to another, in microseconds: one way in a local network.
pub const DELAY: u64 = 250;

/// What a node's link carries, in bytes a microsecond: 1 Gbit/s.
const LINK_BYTES_PER_MICRO: u64 = 125;

/// The connection that stands for all clients, and the one that stands for the operator.
const CLIENTS: u64 = u64::MAX;
const OPERATOR: u64 = u64::MAX - 1;

/// What a cluster is like.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Nodes at first.
    pub nodes: usize,
    /// Nodes of a rack, which is a zone.
    pub rack: usize,
    /// Partitions.
    pub partitions: u32,
    /// Keys in all.
    pub keys: usize,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Operations of clients a second.
    pub load: u64,
}

/// A machine: its node while that runs, its disk while it does not.
struct Host {
    node: Option<Node<MemoryEngine>>,
    disk: MemoryEngine,
    /// It has no power: nothing goes in or out, and nobody is told.
    is_dark: bool,
    /// It takes no more requests of clients.
    is_draining: bool,
    /// How often it was started: what was sent to or by a former run does not arrive.
    run: u32,
    wake: u64,
    link_free: u64,
}

/// A frame under way, with the runs that it goes from and to.
struct Letter {
    from: (usize, u32),
    to: (usize, u32),
    kind: Kind,
    request: u64,
    message: Message,
    body: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Asks,
    Answers,
    /// It could not be sent, and its sender learns it.
    Unsent,
}

/// The nodes, what is under way between them, and the count of it.
pub struct Cluster {
    pub(super) setup: Setup,
    /// The layout that the operator knows.
    pub(super) layout: Layout,
    pub(super) load: Load,
    pub(super) tally: Tally,
    /// Nodes that run and were taken for down.
    pub(super) false_downs: u64,
    now: u64,
    hosts: Vec<Host>,
    runs: u64,
    under_way: BTreeMap<(u64, u64), Letter>,
    sent: u64,
    wakes: BTreeSet<(u64, usize)>,
    told_operator: Option<Result<Bytes, String>>,
    scratch: BytesMut,
}

impl Cluster {
    /// A cluster whose nodes have met.
    pub fn start(setup: Setup) -> Result<Cluster, String> {
        let members = (0..setup.nodes).map(|n| member(n, &setup)).collect();
        let mut cluster = Cluster {
            setup,
            layout: Layout::first(setup.partitions, 3, members).map_err(|e| e.to_string())?,
            load: Load::new(setup),
            tally: Tally::default(),
            false_downs: 0,
            now: 0,
            hosts: Vec::new(),
            runs: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            wakes: BTreeSet::new(),
            told_operator: None,
            scratch: BytesMut::new(),
        };
        for _ in 0..setup.nodes {
            cluster.new_host(true)?;
        }
        for n in 0..setup.nodes {
            cluster.start_node(n)?;
            cluster.pass(5 * SECOND / setup.nodes as u64)?;
        }
        cluster.until(120 * SECOND, "all are alive and know their votes", |c| {
            c.running().all(|n| c.node(n).is_some_and(|node| node.is_settled()))
        })?;
        cluster.pass(10 * SECOND)?;
        cluster.false_downs = 0;
        Ok(cluster)
    }

    /// A further machine. Its disk knows that it has no past, or has to hear from the others whether it has one.
    fn new_host(&mut self, knows_its_past: bool) -> Result<usize, String> {
        let n = self.hosts.len();
        let mut disk = MemoryEngine::new();
        if knows_its_past {
            let mut store = Store::open(disk, id(n), 1, Past::Whole).map_err(|e| e.to_string())?;
            store.now_knows_its_lives();
            store.commit(true).map_err(|e| e.to_string())?;
            disk = store.into_engine();
        }
        let host = Host { node: None, disk, is_dark: false, is_draining: false, run: 0, wake: u64::MAX, link_free: 0 };
        self.hosts.push(host);
        Ok(n)
    }

    /// Starts a new node as a guest.
    pub fn start_guest(&mut self) -> Result<Member, String> {
        let n = self.new_host(false)?;
        self.start_node(n)?;
        Ok(member(n, &self.setup))
    }

    /// Starts a node on its disk, and connects it with all that run.
    pub fn start_node(&mut self, n: usize) -> Result<(), String> {
        self.runs += 1;
        let host = &mut self.hosts[n];
        let disk = std::mem::take(&mut host.disk);
        let store = Store::open(disk, id(n), self.runs << 32, Past::Whole).map_err(|e| e.to_string())?;
        let config = Config { incarnation: self.runs, ..crate::config(n, id(n), &self.layout) };
        let mut node = Node::new(config, store, self.runs, Time(self.now)).map_err(|e| e.to_string())?;
        node.introduce_as(member(n, &self.setup), false);
        (host.node, host.is_draining) = (Some(node), false);
        host.run += 1;
        for other in self.reachable().filter(|o| *o != n).collect::<Vec<_>>() {
            self.tell(n, Event::Up(id(other)))?;
            self.tell(other, Event::Up(id(n)))?;
        }
        Ok(())
    }

    /// Clients turn to other nodes; what this one has under way is brought to its end.
    pub fn drain(&mut self, n: usize) {
        self.hosts[n].is_draining = true;
        if let Some(node) = &mut self.hosts[n].node {
            node.drain();
        }
    }

    /// Stops a node in good order.
    pub fn stop_node(&mut self, n: usize) -> Result<(), String> {
        let host = &mut self.hosts[n];
        let Some(node) = host.node.take() else { return Ok(()) };
        host.disk = node.close().map_err(|e| e.to_string())?;
        host.run += 1;
        self.wakes.remove(&(host.wake, n));
        let others: Vec<usize> = self.reachable().collect();
        others.into_iter().try_for_each(|other| self.tell(other, Event::Down(id(n))))
    }

    /// The power of a machine goes, and nobody is told.
    pub fn cut_power(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        (host.is_dark, host.node) = (true, None);
        host.run += 1;
        self.wakes.remove(&(host.wake, n));
    }

    /// As an operator would, at a node: what it says of how things stand then.
    pub fn operate(&mut self, at: usize, what: wire::Operator) -> Result<serde_json::Value, String> {
        self.told_operator = None;
        let reply_to = ReplyTo { connection: OPERATOR, request: 0 };
        let message = wire::Operate { what }.into();
        self.tell(at, Event::Request { from: Origin::Client, reply_to, message, body: Bytes::new() })?;
        let report = self.told_operator.take().ok_or("the operator was not answered")??;
        serde_json::from_slice(&report).map_err(|e| e.to_string())
    }

    /// Lets time pass.
    pub fn pass(&mut self, micros: u64) -> Result<(), String> {
        let end = self.now + micros;
        while self.now < end {
            self.step(end)?;
        }
        Ok(())
    }

    /// Lets time pass until it is so, which is looked at every tenth of a second. Returns how long it took.
    pub fn until(
        &mut self,
        at_most: u64,
        what: &str,
        mut is_so: impl FnMut(&mut Cluster) -> bool,
    ) -> Result<u64, String> {
        let began = self.now;
        while !is_so(self) {
            if self.now - began > at_most {
                return Err(format!("{} s have passed, and still not: {what}", at_most / SECOND));
            }
            self.pass(SECOND / 10)?;
        }
        Ok(self.now - began)
    }

    /// The cluster's time in microseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.hosts.len()).filter(|n| self.hosts[*n].node.is_some())
    }

    /// A node, if it runs.
    pub fn node(&self, n: usize) -> Option<&Node<MemoryEngine>> {
        self.hosts[n].node.as_ref()
    }

    /// A node, if it runs, with its copies.
    pub fn node_mut(&mut self, n: usize) -> Option<&mut Node<MemoryEngine>> {
        self.hosts[n].node.as_mut()
    }

    /// Can it be reached, and does it take clients' requests?
    pub(super) fn serves(&self, n: usize) -> bool {
        self.hosts[n].node.is_some() && !self.hosts[n].is_draining
    }

    /// Those with which a connection can be made: whose power is there, and that run.
    fn reachable(&self) -> impl Iterator<Item = usize> + '_ {
        self.running().filter(|n| !self.hosts[*n].is_dark)
    }

    /// The next thing that happens, but nothing after `end`: a client asks, a frame arrives, or a node wakes.
    fn step(&mut self, end: u64) -> Result<(), String> {
        let wake = self.wakes.first().copied().unwrap_or((u64::MAX, 0));
        let arrives = self.under_way.first_key_value().map_or((u64::MAX, 0), |(at, _)| *at);
        let asks = self.load.next();
        let next = wake.0.min(arrives.0).min(asks);
        if next > end {
            self.now = end;
            return Ok(());
        }
        self.now = self.now.max(next);
        if asks == next {
            return self.ask();
        }
        if arrives.0 > next {
            return self.tell(wake.1, Event::Tick);
        }
        let Some(letter) = self.under_way.remove(&arrives) else { return Ok(()) };
        let Letter { from, to, kind, request, message, body } = letter;
        if self.hosts[from.0].run != from.1 || self.hosts[to.0].run != to.1 {
            return Ok(());
        }
        let reply_to = ReplyTo { connection: from.0 as u64, request };
        match kind {
            Kind::Asks => self.tell(to.0, Event::Request { from: Origin::Peer(id(from.0)), reply_to, message, body }),
            Kind::Answers => self.tell(to.0, Event::Response { from: id(from.0), request, message, body }),
            Kind::Unsent => self.tell(from.0, Event::Unsent { to: id(to.0), request }),
        }
    }

    fn ask(&mut self) -> Result<(), String> {
        let mut load = std::mem::take(&mut self.load);
        let asked = load.ask(self);
        self.load = load;
        let Some((at, request, message, body)) = asked else { return Ok(()) };
        let reply_to = ReplyTo { connection: CLIENTS, request };
        self.tell(at, Event::Request { from: Origin::Client, reply_to, message, body })
    }

    /// A node's turn with one event: decide, commit, and let the effects out.
    fn tell(&mut self, n: usize, event: Event) -> Result<(), String> {
        let host = &mut self.hosts[n];
        let Some(node) = &mut host.node else { return Ok(()) };
        let mut out = Effects::new();
        node.handle(Time(self.now), event, &mut out).map_err(|e| e.to_string())?;
        node.end_turn().map_err(|e| e.to_string())?;
        let wake = node.next_wake().0.max(self.now);
        if wake != host.wake || !self.wakes.contains(&(wake, n)) {
            self.wakes.remove(&(host.wake, n));
            self.wakes.insert((wake, n));
            host.wake = wake;
        }
        for effect in out.drain() {
            match effect {
                Effect::Send { to, request, message, body } => {
                    self.post(n, to.0 as usize - 1, Kind::Asks, request, message, body)?;
                }
                Effect::Reply { to, message, .. } if to.connection == CLIENTS => {
                    self.load.answered(self.now, to.request, &message);
                }
                Effect::Reply { to, message, body } if to.connection == OPERATOR => {
                    self.told_operator = Some(match message {
                        Message::Failure(why) => Err(why.detail),
                        _ => Ok(body),
                    });
                }
                Effect::Reply { to, message, body } => {
                    self.post(n, to.connection as usize, Kind::Answers, to.request, message, body)?;
                }
                Effect::Observe(what) => self.observed(n, &what)?,
            }
        }
        Ok(())
    }

    fn observed(&mut self, n: usize, what: &Observation) -> Result<(), String> {
        match what {
            Observation::Liveness { peer, liveness: Liveness::Down, .. } => {
                self.false_downs += u64::from(self.hosts[peer.0 as usize - 1].node.is_some());
                Ok(())
            }
            Observation::ContentDiffers { .. }
            | Observation::NoProgress { .. }
            | Observation::ScanDiffers { .. }
            | Observation::Unreadable { .. }
            | Observation::SetAside { .. }
            | Observation::Discarded { .. }
            | Observation::Shelved { .. }
            | Observation::Overruled { .. }
            | Observation::NoLayout { .. } => Err(format!("n{n} reports {what:?}")),
            _ => Ok(()),
        }
    }

    fn post(
        &mut self,
        from: usize,
        to: usize,
        kind: Kind,
        request: u64,
        message: Message,
        body: Bytes,
    ) -> Result<(), String> {
        let (from_run, to_run) = (self.hosts[from].run, self.hosts[to].run);
        self.sent += 1;
        if self.hosts[to].node.is_none() && !self.hosts[to].is_dark {
            // There is no connection.
            if kind == Kind::Asks && request != 0 {
                let letter =
                    Letter { from: (from, from_run), to: (to, to_run), kind: Kind::Unsent, request, message, body };
                self.under_way.insert((self.now, self.sent), letter);
            }
            return Ok(());
        }
        self.scratch.clear();
        wire::encode(request, &message, &body, &mut self.scratch).map_err(|e| e.to_string())?;
        let bytes = self.scratch.len() as u64;
        self.tally.add(&message, bytes);
        let free = &mut self.hosts[from].link_free;
        *free = self.now.max(*free) + bytes.div_ceil(LINK_BYTES_PER_MICRO);
        let letter = Letter { from: (from, from_run), to: (to, to_run), kind, request, message, body };
        self.under_way.insert((*free + DELAY, self.sent), letter);
        Ok(())
    }
}

/// The id of the n-th machine's node.
pub fn id(n: usize) -> NodeId {
    NodeId(n as u64 + 1)
}

/// The n-th machine's node as a member: machines fill one rack after another.
pub fn member(n: usize, setup: &Setup) -> Member {
    Member {
        id: id(n),
        name: format!("n{n}"),
        addr: format!("10.0.{}.{}:7100", n / 250, n % 250),
        zone: format!("rack{}", n / setup.rack),
        weight: 1,
    }
}
