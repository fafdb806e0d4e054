//! Three real nodes on a network without faults that carries encoded frames, and counts them.
//!
//! Time is simulated: a frame takes [`DELAY`] and as long as its bytes need on a link of its own; computing takes none.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use dynode::protocol::{Config, Effect, Effects, Event, Node, Observation, Origin, ReplyTo, Time};
use dynode_client::wire::{self, Causality, Expiry, Message, Put, Quorum};
use dynode_ring::{Layout, Member, NodeId};
use dynode_storage::codec::{Part, decode_parts};
use dynode_storage::memory::MemoryEngine;
use dynode_storage::store::Past;
use dynode_storage::{Clock, Store};

use super::tally::Tally;

/// The nodes of the cluster, each of which owns every partition.
pub const NODES: usize = 3;

/// From one node to another, in microseconds: one way in a local network.
pub const DELAY: u64 = 250;

/// What a link carries one way, in bytes a microsecond: 1 Gbit/s.
const LINK_BYTES_PER_MICRO: u64 = 125;

/// One second in the cluster's time.
pub const SECOND: u64 = 1_000_000;

/// The connection that stands for all clients.
const CLIENT: u64 = NODES as u64;

/// Puts under way at once.
const PUTS_MAX: usize = 1024;

/// What has not come about after so long will not: the slowest thing here are rounds of one second.
const GIVE_UP_AFTER: u64 = 600 * SECOND;

const BUCKET: &[u8] = b"cost";

/// What a cluster is like.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Partitions.
    pub partitions: u32,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Index entries that a node keeps for one partition while an owner is away.
    pub index_entries_max: u64,
}

/// The disks of the three nodes, cleanly stopped.
pub type Disks = [MemoryEngine; NODES];

/// A frame under way.
struct Letter {
    from: usize,
    to: usize,
    is_answer: bool,
    frame: Bytes,
}

/// Three nodes, what is under way between them, and the count of it.
pub struct Cluster {
    setup: Setup,
    layout: Layout,
    now: u64,
    nodes: [Option<Node<MemoryEngine>>; NODES],
    /// The disks of nodes that do not run.
    disks: Disks,
    /// How many processes there have been: seeds and lives differ from one to the next.
    processes: u64,
    under_way: BTreeMap<(u64, u64), Letter>,
    sent: u64,
    link_free: [[u64; NODES]; NODES],
    puts_under_way: usize,
    tally: Tally,
    /// Who was told by whom, since the last answer with anything in it, that nothing differs.
    agreed: BTreeSet<(usize, usize)>,
    last_answer: u64,
}

impl Cluster {
    /// Three nodes on these disks, connected.
    pub fn start(setup: Setup, disks: Disks) -> Result<Cluster, String> {
        let member = |n: usize| Member {
            id: id(n),
            name: format!("n{n}"),
            addr: format!("127.0.0.1:{}", 7100 + 10 * n),
            zone: String::new(),
            weight: 1,
        };
        let layout = Layout::first(setup.partitions, NODES as u8, (0..NODES).map(member).collect());
        let mut cluster = Cluster {
            setup,
            layout: layout.map_err(|e| e.to_string())?,
            now: 0,
            nodes: [const { None }; NODES],
            disks,
            processes: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            link_free: [[0; NODES]; NODES],
            puts_under_way: 0,
            tally: Tally::default(),
            agreed: BTreeSet::new(),
            last_answer: 0,
        };
        (0..NODES).try_for_each(|n| cluster.start_node(n))?;
        Ok(cluster)
    }

    /// Starts a node on its disk, and connects it with those that run.
    pub fn start_node(&mut self, n: usize) -> Result<(), String> {
        self.processes += 1;
        let disk = std::mem::take(&mut self.disks[n]);
        let first_life = self.processes << 32;
        let store = Store::open(disk, id(n), first_life, Past::Whole).map_err(|e| e.to_string())?;
        let index_entries_max = self.setup.index_entries_max;
        let config = Config { index_entries_max, ..crate::config(n, id(n), &self.layout) };
        self.nodes[n] = Some(Node::new(config, store, self.processes, Time(self.now)).map_err(|e| e.to_string())?);
        for other in self.running().filter(|o| *o != n).collect::<Vec<_>>() {
            self.tell(n, Event::Up(id(other)))?;
            self.tell(other, Event::Up(id(n)))?;
        }
        Ok(())
    }

    /// Stops a node in good order.
    pub fn stop_node(&mut self, n: usize) -> Result<(), String> {
        let Some(node) = self.nodes[n].take() else { return Ok(()) };
        self.disks[n] = node.close().map_err(|e| e.to_string())?;
        self.under_way.retain(|_, letter| letter.from != n && letter.to != n);
        let others: Vec<usize> = self.running().collect();
        others.into_iter().try_for_each(|other| self.tell(other, Event::Down(id(n))))
    }

    /// A stopped node gets an empty disk.
    pub fn lose_disk(&mut self, n: usize) {
        self.disks[n] = MemoryEngine::new();
    }

    /// Stops all nodes, for others to start on their disks.
    pub fn stop(mut self) -> Result<Disks, String> {
        (0..NODES).try_for_each(|n| self.stop_node(n))?;
        Ok(self.disks)
    }

    /// Writes keys through whichever owners run, and waits until all of these have them.
    pub fn write(&mut self, keys: std::ops::Range<usize>) -> Result<(), String> {
        for i in keys {
            let key = key(i);
            let owners = self.layout.owners(self.layout.partition_of(BUCKET, &key));
            let running: Vec<usize> =
                owners.iter().map(|o| o.0 as usize - 1).filter(|n| self.nodes[*n].is_some()).collect();
            let coordinator = running[i % running.len()];
            let message = Put {
                bucket: Bytes::from_static(BUCKET),
                key,
                causality: Causality::Blind,
                w: Quorum::Majority,
                strict: false,
                timeout_ms: 60_000,
                content_type: Bytes::new(),
                expiry: Expiry::OfBucket,
                request: None,
            };
            let event = Event::Request {
                from: Origin::Client,
                reply_to: ReplyTo { connection: CLIENT, request: i as u64 },
                message: message.into(),
                body: value(i, self.setup.value_bytes),
            };
            self.puts_under_way += 1;
            self.tell(coordinator, event)?;
            while self.puts_under_way >= PUTS_MAX {
                self.step()?;
            }
        }
        self.until("the writes are through", |c| c.puts_under_way == 0 && c.under_way.is_empty())
    }

    /// Lets time pass until no index entry is left that every owner contains, and no context that the clock says.
    pub fn settle(&mut self) -> Result<(), String> {
        let mut next = self.now;
        self.until("the index is empty", |c| {
            if c.now < next {
                return false;
            }
            next = c.now + SECOND / 4;
            let partitions: Vec<_> = c.layout.partition_ids().collect();
            c.nodes.iter_mut().flatten().all(|node| {
                partitions.iter().all(|p| match node.store().find(*p) {
                    Ok(Some(copy)) => copy.indexed() == 0 && !copy.maybe_unstripped(),
                    _ => true,
                })
            })
        })
    }

    /// Lets time pass until lives that ended on the way are closed.
    pub fn close(&mut self) -> Result<(), String> {
        let mut next = self.now;
        self.until("ended lives are closed", |c| {
            if c.now < next {
                return false;
            }
            next = c.now + SECOND / 4;
            let partitions: Vec<_> = c.layout.partition_ids().collect();
            let mut clocks = c.nodes.iter_mut().flatten().map(|node| {
                let mut hash = |p| {
                    let copy = node.store().find(p).ok().flatten()?;
                    (!copy.has_several_lives()).then(|| copy.clock().hash())
                };
                partitions.iter().map(|p| hash(*p)).collect::<Vec<Option<u64>>>()
            });
            let first = clocks.next();
            clocks.all(|others| Some(&others) == first.as_ref() && others.iter().all(Option::is_some))
        })
    }

    /// Lets time pass.
    pub fn pass(&mut self, micros: u64) -> Result<(), String> {
        let end = self.now + micros;
        self.until("time passes", |c| c.now >= end)
    }

    /// Lets time pass until every node that runs has told every other that nothing differs. Returns when the last answer
    /// to a pull came, in microseconds from now; 0 when there was nothing to pull.
    pub fn agree(&mut self) -> Result<u64, String> {
        self.agreed.clear();
        let (began, running) = (self.now, self.running().count());
        let all = running * (running - 1);
        self.last_answer = began;
        self.until("the copies are equal", |c| c.agreed.len() == all)?;
        Ok(self.last_answer - began)
    }

    /// Starts the count anew; what was counted.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// The cluster's time in microseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many scans a node has begun since it was started.
    pub fn scans(&self, n: usize) -> u64 {
        self.nodes[n].as_ref().map_or(0, |node| node.counters().scans)
    }

    /// How many keys each node has.
    pub fn keys(&mut self) -> Result<[u64; NODES], String> {
        let mut keys = [0; NODES];
        let partitions: Vec<_> = self.layout.partition_ids().collect();
        for (count, node) in keys.iter_mut().zip(&mut self.nodes) {
            let Some(node) = node else { continue };
            for p in &partitions {
                *count += node.store().recount(*p).map_err(|e| e.to_string())?.1;
            }
        }
        Ok(keys)
    }

    /// Are all copies equal, each with its content as its set hash says?
    pub fn compare(&mut self) -> Result<(), String> {
        for partition in self.layout.partition_ids().collect::<Vec<_>>() {
            let mut first: Option<(Clock, u64)> = None;
            for (n, node) in self.nodes.iter_mut().enumerate() {
                let Some(node) = node else { continue };
                let copy = node.store().find(partition).map_err(|e| e.to_string())?;
                let has = copy.map_or((Clock::new(), 0), |copy| (copy.clock().clone(), copy.content()));
                let counted = node.store().recount(partition).map_err(|e| e.to_string())?.0;
                if counted != has.1 {
                    return Err(format!("n{n}'s copy of partition {partition} is not what its set hash says"));
                }
                if first.get_or_insert_with(|| has.clone()) != &has {
                    return Err(format!("n{n}'s copy of partition {partition} differs from n0's, unnoticed"));
                }
            }
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..NODES).filter(|n| self.nodes[*n].is_some())
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Cluster) -> bool) -> Result<(), String> {
        let give_up = self.now + GIVE_UP_AFTER;
        while !is_so(self) {
            if self.now > give_up {
                return Err(format!("{} s have passed, and still not: {what}", GIVE_UP_AFTER / SECOND));
            }
            self.step()?;
        }
        Ok(())
    }

    /// The next thing that happens: a frame arrives, or a node wakes.
    fn step(&mut self) -> Result<(), String> {
        let wakes = (0..NODES).filter_map(|n| Some((self.nodes[n].as_ref()?.next_wake().0, n))).min();
        let arrives = self.under_way.first_key_value().map(|(at, _)| *at);
        match (wakes, arrives) {
            (Some((wake, n)), at) if at.is_none_or(|at| wake < at.0) => {
                self.now = self.now.max(wake);
                self.tell(n, Event::Tick)
            }
            (_, Some(at)) => {
                self.now = at.0;
                self.under_way.remove(&at).map_or(Ok(()), |letter| self.arrive(letter))
            }
            (_, None) => Err("no node runs".into()),
        }
    }

    fn arrive(&mut self, letter: Letter) -> Result<(), String> {
        let Letter { from, to, is_answer, frame } = letter;
        let frame = wire::decode(&mut BytesMut::from(frame)).map_err(|e| e.to_string())?.ok_or("half a frame")?;
        match &frame.message {
            Message::Clocks(m) if !m.sum_differs && m.differing.is_empty() && m.absent.is_empty() => {
                self.agreed.insert((from, to));
            }
            Message::Answer(_) if brings_something(&frame.body) => {
                self.agreed.clear();
                self.last_answer = self.now;
            }
            Message::Failure(why) => return Err(format!("n{from} to n{to}: {}", why.detail)),
            _ => {}
        }
        let (request, message, body) = (frame.request, frame.message, frame.body);
        let event = match is_answer {
            true => Event::Response { from: id(from), request, message, body },
            false => {
                let reply_to = ReplyTo { connection: from as u64, request };
                Event::Request { from: Origin::Peer(id(from)), reply_to, message, body }
            }
        };
        self.tell(to, event)
    }

    /// A node's turn with one event: decide, commit, and let the effects out.
    fn tell(&mut self, n: usize, event: Event) -> Result<(), String> {
        let Some(node) = &mut self.nodes[n] else { return Ok(()) };
        let mut out = Effects::new();
        node.handle(Time(self.now), event, &mut out).map_err(|e| e.to_string())?;
        node.end_turn().map_err(|e| e.to_string())?;
        for effect in out.drain() {
            match effect {
                Effect::Send { to, request, message, body } => {
                    self.post(n, to.0 as usize - 1, false, request, &message, &body)?;
                }
                Effect::Reply { to, message, .. } if to.connection == CLIENT => match message {
                    Message::PutDone(_) => self.puts_under_way -= 1,
                    other => return Err(format!("a put was answered by {other:?}")),
                },
                Effect::Reply { to, message, body } => {
                    self.post(n, to.connection as usize, true, to.request, &message, &body)?;
                }
                Effect::Observe(
                    Observation::ScanBegan { .. } | Observation::ScanEnded { .. } | Observation::Liveness { .. },
                ) => {}
                Effect::Observe(what) => return Err(format!("n{n} reports {what:?}")),
            }
        }
        Ok(())
    }

    fn post(
        &mut self,
        from: usize,
        to: usize,
        is_answer: bool,
        request: u64,
        message: &Message,
        body: &Bytes,
    ) -> Result<(), String> {
        let mut frame = BytesMut::new();
        wire::encode(request, message, body, &mut frame).map_err(|e| e.to_string())?;
        self.tally.add(from, to, message.name(), frame.len());
        let free = &mut self.link_free[from][to];
        *free = self.now.max(*free) + (frame.len() as u64).div_ceil(LINK_BYTES_PER_MICRO);
        self.sent += 1;
        self.under_way.insert((*free + DELAY, self.sent), Letter { from, to, is_answer, frame: frame.freeze() });
        Ok(())
    }
}

fn id(n: usize) -> NodeId {
    NodeId(n as u64 + 1)
}

/// A key whose place says nothing of when it was written: [`KEY_BYTES`] bytes.
fn key(i: usize) -> Bytes {
    Bytes::from(format!("user{:016x}", (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// Bytes of each key.
pub const KEY_BYTES: usize = 20;

/// A value of its own for each key.
fn value(i: usize, len: usize) -> Bytes {
    let mut value = vec![b'.'; len];
    let word = (i as u64).to_le_bytes();
    value.iter_mut().zip(word).for_each(|(to, from)| *to = from);
    Bytes::from(value)
}

/// Does an answer bring anything but the word that lives are closed?
fn brings_something(body: &Bytes) -> bool {
    decode_parts(body.clone()).is_ok_and(|parts| parts.iter().any(|part| !matches!(part, Part::Closed(_))))
}
