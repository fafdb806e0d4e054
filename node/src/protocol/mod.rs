//! The decisions of a node, as a state machine without I/O.
//!
//! [`Node::handle`] is a plain function of the node's state, the time and an event; it names the effects that follow.
//! Whoever drives it (the shell, or the simulated world) drains what has happened, calls `handle` for each, then
//! [`Node::end_turn`], which commits one batch, and only then performs the effects: *persist, then send*.
//!
//! Nothing here is async, names tokio, reads a clock, draws unseeded randomness or iterates a hash map. `clippy.toml` and
//! `tests/tests/purity.rs` guard this.
//!
//! | file | mechanism |
//! | --- | --- |
//! | `event` | what can happen, what can be done |
//! | `operation` | what waits for answers, and what it hears |
//! | `quorum` | counting answers |
//! | `admit` | what is not even begun |
//! | `put`, `get` | the coordinator of a write, of a read |
//! | `repeat` | a put that is asked for once more |
//! | `session` | a read that must have seen what its reader has |
//! | `shown`, `wall` | what of a key's values a reader is shown; the clocks for that |
//! | `whom` | owners and stand-ins: whom an operation asks |
//! | `breaker` | peers that take requests and answer nothing |
//! | `hedge` | when a late read asks somebody else too |
//! | `forward` | a request that belongs to another node |
//! | `ready` | whether a node that has just started can serve |
//! | `replica` | a copy's part in writes and reads |
//! | `sync` | owners compare clocks and pull what they lack |
//! | `source`, `busy` | answering pulls; how much of it at once |
//! | `lag` | the report on who lacks what of whom |
//! | `handoff` | copies held for owners that were away, until every owner contains them |
//! | `lives` | lives that have ended: refused, handed over, closed |
//! | `recovery` | copies that may lack what they had acknowledged |
//! | `repair` | one key, after a read found a copy behind |
//! | `quarantine` | a damaged copy: contained, and rebuilt from the others |
//! | `scrub` | reading everything now and then |
//! | `buckets` | what buckets are like, and how nodes agree on it |
//! | `expire` | values that have expired leave |
//! | `housekeep` | index collection, stripping, idle scans |
//! | `agree/`, `agreeing` | how the next layout is agreed on and spread; the node's part in it |
//! | `adopt`, `phases` | going by another layout; partitions on their way to other owners |
//! | `swim/`, `latency` | who is there, and how long peers take to answer |
//! | `inspect`, `transfers` | reports about the node itself, and how far a change of ownership has come |
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod admit;
mod adopt;
pub mod agree;
mod agreeing;
mod breaker;
mod buckets;
mod busy;
mod event;
mod expire;
mod forward;
mod get;
mod handoff;
mod hedge;
mod housekeep;
mod inspect;
mod lag;
mod latency;
mod lives;
mod operation;
mod phases;
mod pull;
mod put;
mod quarantine;
mod quorum;
mod ready;
mod recovery;
mod repair;
mod repeat;
mod replica;
mod scrub;
mod session;
mod shown;
mod source;
pub mod swim;
mod sync;
mod transfers;
#[cfg(test)]
mod trio;
mod wall;
mod whom;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Failure, Message, Report};
use dynode_ring::{Layout, NodeId, PartitionId};
use dynode_storage::seal::SealKey;
use dynode_storage::{Clock, Engine, EngineError, Store};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

pub use breaker::BreakerState;
pub use event::{Effect, Effects, Event, Micros, Observation, Origin, ReplyTo, Time};
pub(crate) use inspect::layout_message;
pub use inspect::{Counters, Load};
pub use latency::{Latencies, Latency};
pub use phases::Phase;
pub use quorum::{Outcome, Tally};
pub use scrub::ScrubRate;
pub use swim::Liveness;

use crate::limits;
use operation::{Heard, Operation, Then, UnderWay};

/// When a write counts as taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Synced: a turn's batch is made durable before anything of it is said. The default.
    Group,
    /// Handed to the operating system, and synced this often.
    Interval(Micros),
    /// Handed to the operating system. Synced about once a second, and before a peer is told of it.
    Os,
}

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its own id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The cluster.
    pub cluster: [u8; 16],
    /// Who owns what.
    pub layout: Layout,
    /// When a write counts as taken.
    pub durability: Durability,
    /// Seals contexts.
    pub seal: SealKey,
    /// Index entries kept for one partition while an owner is away ([`limits::INDEX_ENTRIES_MAX`]).
    pub index_entries_max: u64,
    /// Client operations under way, at most ([`limits::OPERATIONS_MAX`]).
    pub operations_max: usize,
    /// The writes held for owners that are away, in bytes ([`limits::HINT_BYTES_MAX`]).
    pub hint_bytes_max: u64,
    /// Higher than in this node's former runs: the wall clock's milliseconds at its start.
    pub incarnation: u64,
}

/// One node: its copies, the operations under way, and what it knows of its peers.
pub struct Node<E: Engine> {
    config: Config,
    store: Store<E>,
    rng: Pcg64,
    /// The peers whose connection stands.
    up: BTreeSet<NodeId>,
    /// Former members that were down when they ceased to be members, until they speak, or there is another connection.
    left_down: BTreeSet<NodeId>,
    breakers: breaker::Breakers,
    /// When the last event was taken.
    last_event: Time,
    /// For how long before this turn nothing was taken: what is read now may have waited so long.
    stood_still: Micros,
    hedges: hedge::Budget,
    operations: BTreeMap<u64, UnderWay>,
    /// Operations of clients among them.
    client_operations: usize,
    /// When this node last took a request of a client, or its part in one.
    last_served: Time,
    /// The values that all of them hold, in bytes.
    held_bytes: usize,
    /// When which operation is to be looked at again, in order.
    alarms: BTreeSet<(Time, u64)>,
    next_id: u64,
    sync: sync::SyncState,
    source: source::SourceState<E>,
    hints: handoff::Hints,
    recovery: recovery::Recovery,
    lives: lives::LivesState,
    housekeeping: housekeep::Rounds,
    scrub: scrub::ScrubState<E>,
    differences: quarantine::Differences,
    /// Why this node takes no new values, when it does not.
    writes_refused: Option<String>,
    swim: swim::Swim,
    wall: wall::Wall,
    buckets: buckets::Buckets,
    walk: expire::Walk,
    agree: agree::Agree,
    phases: phases::Phases,
    /// The partitions that the layout gives to this node, in order: to look for them among all takes long.
    owned: Vec<PartitionId>,
    transfers: Option<transfers::Transfers>,
    counters: Counters,
    draining: bool,
    /// Until when it may say that it is not ready yet; `None`: it has been.
    starting_until: Option<Time>,
    /// What the shell has measured, as the report on the state says it: nothing here goes by it.
    measured: serde_json::Value,
}

impl<E: Engine> Node<E> {
    /// A node over its copies. `seed` must differ from run to run: request ids begin at a place drawn from it, so that an
    /// answer to a former run answers nothing of this one.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged.
    pub fn new(mut config: Config, mut store: Store<E>, seed: u64, now: Time) -> Result<Node<E>, EngineError> {
        let agree = agreeing::agree_of(&config, &store, seed, now)?;
        config.layout = agree.decision().layout.clone();
        let phases = phases::phases_of(&agree, &mut store)?;
        let mut rng = Pcg64::seed_from_u64(seed);
        let next_id = (rng.next_u64() >> 16) + 1;
        let housekeeping = housekeep::Rounds::new(now, &mut rng);
        let mut hints = handoff::Hints::default();
        for partition in store.stored_partitions()? {
            if !phases.is_holder(&config.layout, config.node, partition) {
                hints.found(partition, store.stored_bytes(partition), now);
            }
        }
        // Random numbers of its own, so that drawing more of them changes nothing else.
        let members = config.layout.members().iter().map(|m| m.id);
        let swim = swim::Swim::new(config.node, members, config.incarnation, seed ^ 0x5357_494d, now);
        let wall = wall::Wall::new(now, config.incarnation);
        let (buckets, walk) = (buckets::Buckets::load(&store)?, expire::Walk::load(&store)?);
        let owned = config.layout.owned_by(config.node).collect();
        Ok(Node {
            config,
            store,
            rng,
            up: BTreeSet::new(),
            left_down: BTreeSet::new(),
            breakers: breaker::Breakers::default(),
            last_event: now,
            stood_still: Micros(0),
            hedges: hedge::Budget::new(),
            operations: BTreeMap::new(),
            client_operations: 0,
            last_served: Time(0),
            held_bytes: 0,
            alarms: BTreeSet::new(),
            next_id,
            sync: sync::SyncState::default(),
            source: source::SourceState::default(),
            hints,
            recovery: recovery::Recovery::default(),
            lives: lives::LivesState::new(now),
            housekeeping,
            scrub: scrub::ScrubState::new(now),
            differences: quarantine::Differences::default(),
            writes_refused: None,
            swim,
            wall,
            buckets,
            walk,
            agree,
            phases,
            owned,
            transfers: None,
            counters: Counters::default(),
            draining: false,
            starting_until: Some(now + limits::READY_AFTER),
            measured: serde_json::Value::Null,
        })
    }

    /// Takes one event. Damage of one copy is contained here. An error means that the disk failed or is damaged as a
    /// whole: nothing of this turn may be said, and the node must stop.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Effects) -> Result<(), EngineError> {
        if now > self.last_event {
            // An idle node has its next turn when it wakes; only what goes beyond that is standing still.
            self.stood_still = now - self.next_wake().max(self.last_event);
            self.last_event = now;
        }
        let asker = match &event {
            Event::Request { reply_to, .. } => Some(*reply_to),
            _ => None,
        };
        let before = out.len();
        match self.take(now, event, out) {
            Err(EngineError::Damaged { partition: Some(partition), place, detail }) => {
                self.contain(now, partition, format!("{place}: {detail}"), out)?;
                if let Some(asker) = asker {
                    out.take_back_replies(before, asker);
                    let detail =
                        format!("this node's copy of partition {partition} was just found damaged: ask another");
                    self.refuse(asker, failure(ErrorCode::Unavailable, detail), out);
                }
            }
            other => other?,
        }
        for peer in out.asked_since(before) {
            self.breakers.asked(peer, now);
        }
        Ok(())
    }

    fn take(&mut self, now: Time, event: Event, out: &mut Effects) -> Result<(), EngineError> {
        match event {
            Event::Request { from, reply_to, message, body } => {
                if let Origin::Peer(peer) = from {
                    self.left_down.remove(&peer);
                    self.breakers.heard_of(peer, now);
                }
                self.request(now, from, reply_to, message, body, out)
            }
            Event::Unsent { to, request } if swim::Swim::is_own(request) => {
                self.swim.unsent(now, to, request, out);
                Ok(())
            }
            Event::Unsent { request, .. } if agree::Agree::is_own(request) => Ok(()), // there is another time
            Event::Response { from, request, message, body } => {
                if self.breakers.answered(from) {
                    out.observe(Observation::Breaker { peer: from, state: BreakerState::Closed });
                    self.greet(now, from, out)?;
                }
                if swim::Swim::is_own(request) {
                    self.swim.response(now, from, request, &message, out);
                    return Ok(());
                }
                if agree::Agree::is_own(request) {
                    self.agree.response(now, from, &message, body, out);
                    return self.after_agree(now, out);
                }
                self.heard(now, request, Heard::Answer(from, message, body), out)
            }
            Event::Unsent { to, request } => self.heard(now, request, Heard::Unsent(to), out),
            Event::Up(node) => {
                self.up.insert(node);
                self.left_down.remove(&node);
                self.breakers.connected(node, now);
                self.swim.up(now, node, out);
                self.tell_buckets(node, out);
                self.agree.up(now, node, out);
                self.greet(now, node, out)
            }
            Event::Down(node) => {
                self.up.remove(&node);
                self.left_down.remove(&node);
                self.breakers.disconnected(node);
                self.forget_words_of(node);
                self.swim.lost(now, node, out);
                self.agree.down(node);
                self.lost(now, node, out)
            }
            Event::Tick => self.tick(now, out),
        }
    }

    /// Commits what the turn has changed. Only after it may the turn's effects be performed.
    pub fn end_turn(&mut self) -> Result<(), EngineError> {
        // A listing, a scan or a strip may have written a part of the turn already, without a sync.
        match self.config.durability {
            // A vote is durable before it is said, whatever is promised of writes.
            _ if self.store.must_sync() => self.store.commit(true),
            Durability::Group if self.store.has_unsynced() => self.store.commit(true),
            _ if self.store.has_pending() => self.store.commit(false),
            _ => Ok(()),
        }
    }

    /// When the next [`Event::Tick`] is due.
    pub fn next_wake(&self) -> Time {
        let rounds = self.housekeeping.next().min(self.swim.next_wake()).min(self.agree.next_wake());
        self.alarms.first().map_or(rounds, |(at, _)| rounds.min(*at))
    }

    /// Takes no more requests from clients; what is under way goes on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes no new values for the reason given, or takes them again. Deletes, reads, and sync to others go on; what is
    /// missed meanwhile comes by sync.
    pub fn refuse_writes(&mut self, why: Option<String>) {
        self.writes_refused = why;
    }

    /// What the wall clock says now, in milliseconds since 1970: to be told now and then, since it may be set. At the start it
    /// is [`Config::incarnation`].
    pub fn wall_clock_is(&mut self, now: Time, ms: u64) {
        self.wall.is(now, ms);
    }

    /// What the shell measures (times, requests a partition), for this node's report on its state.
    pub fn measured_is(&mut self, measured: serde_json::Value) {
        self.measured = measured;
    }

    /// Does it take no new values?
    pub fn refuses_writes(&self) -> bool {
        self.writes_refused.is_some()
    }

    /// Has every client been answered?
    pub fn is_idle(&self) -> bool {
        self.client_operations == 0
    }

    /// Writes checkpoints and syncs, and gives the engine back: for a clean stop.
    pub fn close(mut self) -> Result<E, EngineError> {
        self.store.close()?;
        Ok(self.store.into_engine())
    }

    /// Gives the engine back as it is, as the end of the process would.
    pub fn into_engine(self) -> E {
        self.store.into_engine()
    }

    /// The copies, to look at.
    pub fn store(&mut self) -> &mut Store<E> {
        &mut self.store
    }

    /// Its own id.
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// What a member is taken to be: this node itself is alive, a stranger is down.
    pub fn liveness(&self, node: NodeId) -> Liveness {
        self.swim.liveness(node)
    }

    /// How long peers take to answer.
    pub fn latencies(&self) -> &Latencies {
        self.swim.latencies()
    }

    /// The layout that it goes by.
    pub fn layout(&self) -> &Layout {
        &self.config.layout
    }

    /// What it has counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many operations are under way, for checks of bounds.
    pub fn operations(&self) -> usize {
        self.operations.len()
    }

    fn request(
        &mut self,
        now: Time,
        from: Origin,
        reply_to: ReplyTo,
        message: Message,
        body: Bytes,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        use Message::{Delete, Fetch, Get, Put, Replicate};
        if matches!(message, Put(_) | Delete(_) | Get(_) | Replicate(_) | Fetch(_)) {
            self.last_served = now;
        }
        match (message, from) {
            (Message::Put(m), _) => self.begin_put(now, from, reply_to, put::Write::Put(m, body), out),
            (Message::Delete(m), _) => self.begin_put(now, from, reply_to, put::Write::Delete(m), out),
            (Message::Get(m), _) => self.begin_get(now, from, reply_to, m, out),
            (Message::ListKeys(m), _) => self.list_keys(now, reply_to, &m, out),
            (Message::GetLayout(_), _) => {
                out.reply(reply_to, self.layout_message());
                Ok(())
            }
            (Message::Inspect(m), _) => self.inspect(now, reply_to, &m.topic, out),
            (Message::Scrub(_), _) => {
                self.begin_scrub(now);
                out.reply_with(reply_to, Report {}, Bytes::from(self.scrub_report(now).to_string()));
                Ok(())
            }
            (Message::GetSync(m), _) => self.get_sync(now, reply_to, &m, out),
            (Message::GetBucket(m), _) => {
                self.get_bucket(reply_to, &m, out);
                Ok(())
            }
            (Message::SetBucket(m), _) => {
                self.set_bucket(now, reply_to, &m, out);
                Ok(())
            }
            (Message::Buckets(m), Origin::Peer(_)) => {
                self.told_buckets(m);
                Ok(())
            }
            (Message::BucketsHash(m), Origin::Peer(peer)) => {
                self.told_buckets_hash(peer, &m, out);
                Ok(())
            }
            (Message::Replicate(m), Origin::Peer(peer)) => self.replicate(now, peer, reply_to, &m, body, out),
            (Message::Fetch(m), Origin::Peer(peer)) => self.fetch(now, peer, reply_to, &m, out),
            (Message::Digests(m), Origin::Peer(peer)) => self.digests(now, peer, reply_to, &m, out),
            (Message::Pull(m), Origin::Peer(peer)) => self.pull(now, peer, reply_to, &m, body, out),
            (Message::Behind(m), Origin::Peer(peer)) => self.behind(now, peer, &m, out),
            (Message::AskLife(m), Origin::Peer(peer)) => self.ask_life(now, peer, reply_to, &m, out),
            (Message::Phases(m), Origin::Peer(peer)) => self.phases_told(now, peer, &m, out),
            (Message::Refuse(m), Origin::Peer(peer)) => self.refuse_lives(now, peer, reply_to, &m, out),
            (Message::Handoff(m), Origin::Peer(peer)) => self.take_back(now, peer, &m, out),
            (m @ (Message::Ping(_) | Message::PingFor(_) | Message::Members(_)), Origin::Peer(peer)) => {
                self.swim.request(now, peer, reply_to, &m, out);
                Ok(())
            }
            (m @ Message::Operate(_), _) => self.agree_on_request(now, from, reply_to, &m, body, out),
            (
                m @ (Message::Standing(_)
                | Message::GetChange(_)
                | Message::Staged(_)
                | Message::Prepare(_)
                | Message::Accept(_)),
                Origin::Peer(_),
            ) => self.agree_on_request(now, from, reply_to, &m, body, out),
            (message, _) => {
                let detail = format!("{} is not a request that this node takes from you", message.name());
                out.reply(reply_to, failure(ErrorCode::BadRequest, detail));
                Ok(())
            }
        }
    }

    /// Opens the breakers of peers that are silent, and probes those that have been open for long enough.
    pub(super) fn look_at_breakers(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        let due = self.breakers.look(now, self.stood_still >= limits::STOOD_STILL, &mut self.rng);
        for peer in due.opened {
            self.counters.breakers_opened += 1;
            out.observe(Observation::Breaker { peer, state: BreakerState::Open });
            self.lost(now, peer, out)?;
        }
        due.probes.into_iter().for_each(|peer| self.empty_round(now, peer, out));
        Ok(())
    }

    fn tick(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        while let Some((_, id)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.heard(now, id, Heard::Alarm, out)?;
        }
        self.swim.tick(now, out);
        self.agree.tick(now, self.is_settled(), out);
        self.after_agree(now, out)?;
        self.housekeep(now, out)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Would this node ask that one now? Of nodes that are not members gossip tells nothing: those that leave, and still count as
    /// former owners, are asked as long as they are there.
    pub fn is_up(&self, node: NodeId) -> bool {
        let is_down = || match self.config.layout.member(node) {
            Some(_) => self.liveness(node) == Liveness::Down,
            None => self.left_down.contains(&node),
        };
        node == self.config.node || (self.up.contains(&node) && self.breakers.is_closed(node) && !is_down())
    }

    fn owns(&self, partition: PartitionId) -> bool {
        self.is_holder(self.config.node, partition)
    }

    /// The owners of a partition but this node.
    fn other_owners(&self, partition: PartitionId) -> Vec<NodeId> {
        self.holders(partition).into_iter().filter(|n| *n != self.config.node).collect()
    }

    /// Somebody knows these dots. Where they say that this node's copy was rolled back, it begins a new life.
    fn begin_life_if_behind(
        &mut self,
        partition: PartitionId,
        known: &Clock,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        if self.store.hear(partition, known)? {
            out.observe(Observation::NewLife { partition });
            self.counters.lives_begun += 1;
        }
        Ok(())
    }

    /// A span between half and all of `span`, so that nodes do not march in step.
    fn jittered(&mut self, span: Micros) -> Micros {
        Micros(self.rng.random_range(span.0 / 2..=span.0))
    }
}

/// A failure that has nothing to do with counts.
pub(crate) fn failure(code: ErrorCode, detail: impl Into<String>) -> Failure {
    Failure { code, needed: 0, received: 0, detail: detail.into() }
}

/// A client's time left as a span, within bounds.
fn timeout(ms: u32) -> Micros {
    Micros::millis(u64::from(ms)).min(limits::TIMEOUT_MAX)
}
