//! Who is there: SWIM with suspicion and refutation, and Lifeguard's care for members that are slow themselves.
//!
//! Every period a member *probes* another, in an order that is shuffled anew each round: it pings it, and if no answer comes
//! asks a few others to ping it. A member that nobody could reach is *suspect*; it is told so first of all, and contradicts
//! with a higher *incarnation*; if it does not in time, it is *down*. What is found out spreads on all these messages, by
//! gossip a few times a second while there is news, and now and then by an exchange of all that two members know. Down
//! members are knocked at, and told; so they come back by themselves when the network heals.
//!
//! Nothing here changes ownership: what it says steers requests, and hints.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `table` | what is said of whom, and which word beats which |
//! | `suspicion` | how long a suspect has to contradict |
//! | `probe` | probes, and probes for others |
//! | `rumours` | what is still to be told |
//!
//! Sources: Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership protocol" (DSN
//! 2002); Dadgar, Phillips, Currey, "Lifeguard" (2017). `docs/membership.md` has the mechanism, parameters and figures.

mod probe;
mod rumours;
mod suspicion;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_client::wire::{MemberState, Members, Message, Ping, Rumour};
use dynode_ring::NodeId;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;

use self::probe::{Awaited, Probe, Relay};
use self::rumours::Rumours;
use self::suspicion::Suspicion;
use self::table::Member;
use super::latency::Latencies;
use super::{Effects, Micros, ReplyTo, Time};
use crate::limits;

/// Request ids with this bit are liveness's; the node's other requests never get there.
const IDS: u64 = 1 << 63;

/// What a member is taken to be. It steers requests and hints, and never changes ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// It answers, or has not been asked yet.
    Alive,
    /// It did not answer; it has some time left to contradict.
    Suspect,
    /// It was suspected, and did not contradict in time. A stranger is down, too.
    Down,
}

/// What is known of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// What it is taken to be.
    pub liveness: Liveness,
    /// Since when, on this node's clock.
    pub since: Time,
    /// The incarnation that is known of it; 0: it has not been heard of.
    pub incarnation: u64,
}

/// What liveness has counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SwimCounters {
    /// Probes begun.
    pub probes: u64,
    /// Probes that nobody answered.
    pub probes_failed: u64,
    /// Members that became suspect.
    pub suspected: u64,
    /// Members that became down.
    pub downed: u64,
    /// Suspicions of this node itself that it contradicted.
    pub contradicted: u64,
    /// Times that this node found itself paused.
    pub paused: u64,
    /// Rumours of strangers, or with incarnations that cannot be: not believed.
    pub disbelieved: u64,
}

/// One member's part in finding out who is there: a state machine without I/O.
#[derive(Debug)]
pub struct Swim {
    own: NodeId,
    incarnation: u64,
    rng: Pcg64,
    /// All but itself.
    members: BTreeMap<NodeId, Member>,
    /// The keys of `members` in a random order, to draw from.
    everyone: Vec<NodeId>,
    suspicions: BTreeMap<NodeId, Suspicion>,
    down: BTreeSet<NodeId>,
    rumours: Rumours,
    /// The rest of this round's order; the last is probed next.
    round: Vec<NodeId>,
    /// To be probed without waiting for their turn.
    urgent: BTreeSet<NodeId>,
    probes: BTreeMap<NodeId, Probe>,
    relays: BTreeMap<u64, Relay>,
    awaited: BTreeMap<u64, Awaited>,
    next_id: u64,
    /// How slow this node itself seems to be, from 0.
    slowness: u32,
    next_probe: Time,
    next_gossip: Time,
    next_knock: Time,
    next_knock_down: Time,
    next_exchange: Time,
    last_exchange: Option<Time>,
    last_tick: Time,
    /// When the next tick is due, if only for what must not be judged late.
    due: Time,
    /// When the next tick is due.
    wake: Time,
    latencies: Latencies,
    counters: SwimCounters,
}

impl Swim {
    /// A member among `members`. `incarnation` should be higher than in this node's former runs (the wall clock's
    /// milliseconds); where it is not, it is raised as soon as others speak of the former run.
    pub fn new(own: NodeId, members: impl IntoIterator<Item = NodeId>, incarnation: u64, seed: u64, now: Time) -> Swim {
        let mut rng = Pcg64::seed_from_u64(seed);
        let next_id = IDS | rng.next_u64() >> 16;
        let mut swim = Swim {
            own,
            incarnation: incarnation.clamp(1, limits::INCARNATION_MAX),
            rng,
            members: BTreeMap::new(),
            everyone: Vec::new(),
            suspicions: BTreeMap::new(),
            down: BTreeSet::new(),
            rumours: Rumours::default(),
            round: Vec::new(),
            urgent: BTreeSet::new(),
            probes: BTreeMap::new(),
            relays: BTreeMap::new(),
            awaited: BTreeMap::new(),
            next_id,
            slowness: 0,
            next_probe: now,
            next_gossip: now,
            next_knock: now,
            next_knock_down: now,
            next_exchange: now,
            last_exchange: None,
            last_tick: now,
            due: now,
            wake: now,
            latencies: Latencies::default(),
            counters: SwimCounters::default(),
        };
        swim.set_members(now, members);
        // Nodes that start together should not march in step.
        swim.next_probe = now + swim.random(swim.period());
        swim.next_exchange = now + swim.random(swim.exchange_every());
        swim.rumours.add(own);
        swim.schedule();
        swim
    }

    /// From now on these are the members. Those who stay keep what is known of them.
    pub fn set_members(&mut self, now: Time, members: impl IntoIterator<Item = NodeId>) {
        let members: BTreeSet<NodeId> = members.into_iter().filter(|node| *node != self.own).collect();
        let gone: Vec<NodeId> = self.members.keys().filter(|node| !members.contains(node)).copied().collect();
        for node in gone {
            self.members.remove(&node);
            self.suspicions.remove(&node);
            self.down.remove(&node);
            self.rumours.remove(node);
            self.urgent.remove(&node);
            self.probes.remove(&node);
        }
        self.round.retain(|node| members.contains(node));
        self.latencies.retain(|node| members.contains(&node));
        for node in members {
            self.members.entry(node).or_insert_with(|| Member::new(now));
        }
        self.everyone = self.members.keys().copied().collect();
        self.everyone.shuffle(&mut self.rng);
        self.schedule();
    }

    /// What a member is taken to be. This node itself is alive; a stranger is down.
    pub fn liveness(&self, node: NodeId) -> Liveness {
        match self.members.get(&node) {
            Some(member) => member.liveness,
            None if node == self.own => Liveness::Alive,
            None => Liveness::Down,
        }
    }

    /// What is known of a member other than this node.
    pub fn view(&self, node: NodeId) -> Option<View> {
        self.members.get(&node).map(|m| View { liveness: m.liveness, since: m.since, incarnation: m.incarnation })
    }

    /// This node's own incarnation.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How slow this node itself seems to be: 0 is well; its probes wait (1 + this) times as long.
    pub fn slowness(&self) -> u32 {
        self.slowness
    }

    /// What was counted so far.
    pub fn counters(&self) -> &SwimCounters {
        &self.counters
    }

    /// How long peers take to answer.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// The same, to feed it with what other requests took.
    pub fn latencies_mut(&mut self) -> &mut Latencies {
        &mut self.latencies
    }

    /// Is this the id of one of this machine's requests?
    pub fn is_own(request: u64) -> bool {
        request & IDS != 0
    }

    /// How much is held in memory: questions, probes, relays, suspicions, news. Each has its bound.
    pub fn load(&self) -> usize {
        self.awaited.len() + self.probes.len() + self.relays.len() + self.suspicions.len() + self.urgent.len()
    }

    /// When the next [`Swim::tick`] is due.
    pub fn next_wake(&self) -> Time {
        self.wake
    }

    /// A peer asks: one of [`Message::Ping`], [`Message::PingFor`], [`Message::Members`].
    pub fn request(&mut self, now: Time, from: NodeId, reply_to: ReplyTo, message: &Message, out: &mut Effects) {
        match message {
            Message::Ping(m) => {
                self.hear_all(now, from, m.incarnation, &m.rumours, out);
                let ack = self.ack(from, true);
                out.reply(reply_to, ack);
            }
            Message::PingFor(m) => {
                self.hear_all(now, from, m.incarnation, &m.rumours, out);
                self.probe_for(now, from, reply_to, NodeId(m.target), out);
            }
            Message::Members(m) => {
                self.hear_all(now, from, m.incarnation, &m.rumours, out);
                if reply_to.request != 0 {
                    let all = self.everything();
                    out.reply(reply_to, all);
                }
            }
            _ => {}
        }
        self.go_on(now, out);
    }

    /// A peer answers a request of this machine ([`Swim::is_own`]).
    pub fn response(&mut self, now: Time, from: NodeId, request: u64, message: &Message, out: &mut Effects) {
        let awaited = self.awaited.remove(&request);
        match message {
            Message::Ack(m) => {
                self.hear_all(now, from, m.incarnation, &m.rumours, out);
                self.acked(now, from, request, awaited, m.heard, out);
            }
            Message::Members(m) => self.hear_all(now, from, m.incarnation, &m.rumours, out),
            // A refusal, of a release that does not know these messages: whoever refuses is there.
            _ => self.acked(now, from, request, awaited, true, out),
        }
        self.go_on(now, out);
    }

    /// A request of this machine could not be handed to a connection.
    pub fn unsent(&mut self, now: Time, to: NodeId, request: u64, out: &mut Effects) {
        if let Some(awaited) = self.awaited.remove(&request) {
            self.not_asked(now, to, request, awaited, out);
        }
        self.go_on(now, out);
    }

    /// The connection to a peer stands.
    pub fn up(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        let Some(member) = self.members.get(&node) else { return };
        if member.liveness != Liveness::Alive || self.probes.contains_key(&node) {
            self.ping(now, node, out);
        }
        if self.last_exchange.is_none_or(|last| now - last >= limits::EXCHANGE_PAUSE) {
            self.exchange(now, node, out);
        }
        self.go_on(now, out);
    }

    /// The connection to a peer is gone: perhaps the peer is.
    pub fn lost(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        if self.members.get(&node).is_some_and(|m| m.liveness == Liveness::Alive) {
            self.urgent.insert(node);
        }
        self.go_on(now, out);
    }

    /// Does what has become due.
    pub fn tick(&mut self, now: Time, out: &mut Effects) {
        if now < self.wake {
            return;
        }
        let late = now - self.due;
        if late > limits::LATE_MAX {
            self.forgive(late);
        }
        self.last_tick = now;
        self.end_probes(now, out);
        self.end_relays(now, out);
        self.end_suspicions(now, out);
        if now >= self.next_probe {
            if let Some(node) = self.next_of_round() {
                self.probe(now, node, out);
            }
            self.next_probe = now + self.jittered(self.stretched(self.period()));
        }
        if now >= self.next_knock && self.accuses() {
            self.knock(now, out);
            self.next_knock = now + limits::KNOCK_EVERY;
        }
        if now >= self.next_knock_down && !self.down.is_empty() {
            self.knock_down(now, out);
            self.next_knock_down = now + limits::KNOCK_DOWN_EVERY;
        }
        if now >= self.next_gossip && !self.rumours.is_empty() {
            self.gossip(out);
            self.next_gossip = now + limits::GOSSIP_EVERY;
        }
        if now >= self.next_exchange {
            if let Some(node) = self.pick(1, None, |m| m.liveness == Liveness::Alive).first() {
                self.exchange(now, *node, out);
            }
            self.next_exchange = now + self.jittered(self.exchange_every());
        }
        self.go_on(now, out);
    }

    /// This node did not run for a while. What ran out meanwhile says nothing about others: suspects get the time back, and
    /// probes under way are forgotten.
    fn forgive(&mut self, late: Micros) {
        self.counters.paused += 1;
        self.be_slower(1);
        self.suspicions.values_mut().for_each(|s| s.began = s.began + late);
        self.probes.clear();
    }

    /// Begins what must not wait, and finds out when to go on.
    fn go_on(&mut self, now: Time, out: &mut Effects) {
        while self.probes.len() < limits::PROBES_MAX {
            let Some(node) = self.urgent.pop_first() else { break };
            self.probe(now, node, out);
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        if self.members.is_empty() {
            (self.due, self.wake) = (Time(u64::MAX), Time(u64::MAX));
            return;
        }
        let members = self.members.len() + 1;
        let mut due = self.next_probe.min(self.next_exchange);
        due = self.probes.values().fold(due, |due, probe| due.min(probe.due()));
        due = self.relays.values().fold(due, |due, relay| due.min(relay.until));
        due = self.suspicions.values().fold(due, |due, suspicion| due.min(suspicion.ends(members)));
        if !self.suspicions.is_empty() {
            // A pause would go unnoticed that ends just before a suspicion does.
            due = due.min(self.last_tick + limits::KNOCK_DOWN_EVERY);
        }
        (self.due, self.wake) = (due, due);
        if self.accuses() {
            self.wake = self.wake.min(self.next_knock);
        }
        if !self.down.is_empty() {
            self.wake = self.wake.min(self.next_knock_down);
        }
        if !self.rumours.is_empty() {
            self.wake = self.wake.min(self.next_gossip);
        }
    }

    /// Suspects become down whose time is over.
    fn end_suspicions(&mut self, now: Time, out: &mut Effects) {
        let members = self.members.len() + 1;
        let over: Vec<NodeId> =
            self.suspicions.iter().filter(|(_, s)| s.ends(members) <= now).map(|(node, _)| *node).collect();
        for node in over {
            let incarnation = self.members.get(&node).map_or(0, |m| m.incarnation);
            self.set(now, node, Liveness::Down, incarnation, out);
        }
    }

    fn accuses(&self) -> bool {
        self.suspicions.values().any(|s| s.is_accused_by(self.own))
    }

    /// Asks those again that this node itself found missing. Each ping says what is said of them, so that they can
    /// contradict.
    fn knock(&mut self, now: Time, out: &mut Effects) {
        let own = self.own;
        let accused = self.suspicions.iter().filter(|(_, s)| s.is_accused_by(own)).map(|(node, _)| *node);
        for node in accused.take(limits::KNOCKS_MAX).collect::<Vec<_>>() {
            self.ping(now, node, out);
        }
    }

    /// Asks one that is down, in the same way.
    fn knock_down(&mut self, now: Time, out: &mut Effects) {
        let which = self.rng.random_range(0..self.down.len());
        if let Some(node) = self.down.iter().nth(which).copied() {
            self.ping(now, node, out);
        }
    }

    fn gossip(&mut self, out: &mut Effects) {
        for node in self.pick(limits::GOSSIP_FANOUT, None, |m| m.liveness != Liveness::Down) {
            let news = Members { incarnation: self.incarnation, rumours: self.news(node) };
            if !news.rumours.is_empty() {
                out.send(node, 0, news, Bytes::new());
            }
        }
    }

    fn exchange(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        self.last_exchange = Some(now);
        let id = self.new_question(Awaited::Exchange);
        let all = self.everything();
        out.send(node, id, all, Bytes::new());
    }

    fn everything(&self) -> Members {
        let known = self.members.iter().filter(|(_, m)| m.incarnation > 0 || m.liveness != Liveness::Alive);
        let rumours = known.map(|(node, _)| self.rumour(*node)).collect();
        Members { incarnation: self.incarnation, rumours }
    }

    fn ping(&mut self, now: Time, node: NodeId, out: &mut Effects) -> u64 {
        let id = self.new_question(Awaited::Ping { target: node, sent: now });
        let ping = Ping { incarnation: self.incarnation, rumours: self.news(node) };
        out.send(node, id, ping, Bytes::new());
        id
    }

    /// What a message to a member carries: first what is said of that member itself, then what is told least.
    fn news(&mut self, to: NodeId) -> Vec<Rumour> {
        let of_it = self.liveness(to) != Liveness::Alive && self.members.contains_key(&to);
        let mut rumours: Vec<Rumour> = of_it.then(|| self.rumour(to)).into_iter().collect();
        let sends = limits::RUMOUR_SENDS * ((self.members.len() as u32 + 1).ilog10() + 1);
        for node in self.rumours.take(limits::RUMOURS_MAX - rumours.len(), sends) {
            if node != to || !of_it {
                rumours.push(self.rumour(node));
            }
        }
        rumours
    }

    /// What this node says of a member, or of itself.
    fn rumour(&self, node: NodeId) -> Rumour {
        let Some(member) = self.members.get(&node) else {
            return Rumour { node: node.0, incarnation: self.incarnation, state: MemberState::Alive };
        };
        let state = match (member.liveness, self.suspicions.get(&node)) {
            (Liveness::Alive, _) => MemberState::Alive,
            (Liveness::Suspect, suspicion) => MemberState::Suspect { by: suspicion.map_or(self.own, |s| s.last).0 },
            (Liveness::Down, _) => MemberState::Down,
        };
        Rumour { node: node.0, incarnation: member.incarnation, state }
    }

    /// Up to `count` members at random, but not `not`.
    fn pick(&mut self, count: usize, not: Option<NodeId>, fits: impl Fn(&Member) -> bool) -> Vec<NodeId> {
        let mut picked = Vec::with_capacity(count);
        if self.everyone.is_empty() {
            return picked;
        }
        let mut take = |node: NodeId| {
            if Some(node) != not && !picked.contains(&node) && self.members.get(&node).is_some_and(&fits) {
                picked.push(node);
            }
            picked.len() == count
        };
        // In a large cluster a few draws find enough; where few fit, one after the other from a random place on.
        let start = self.rng.random_range(0..self.everyone.len());
        let draws = if self.everyone.len() > 8 * count { 4 * count } else { 0 };
        let drawn = (0..draws).any(|_| take(self.everyone[self.rng.random_range(0..self.everyone.len())]));
        if !drawn {
            let (before, after) = self.everyone.split_at(start);
            let _ = after.iter().chain(before).any(|node| take(*node));
        }
        picked
    }

    fn next_of_round(&mut self) -> Option<NodeId> {
        for _ in 0..2 {
            while let Some(node) = self.round.pop() {
                if self.liveness(node) != Liveness::Down && !self.probes.contains_key(&node) {
                    return Some(node);
                }
            }
            self.round.clone_from(&self.everyone);
            self.round.shuffle(&mut self.rng);
        }
        None
    }

    fn new_question(&mut self, awaited: Awaited) -> u64 {
        self.next_id = (self.next_id + 1) | IDS;
        self.awaited.insert(self.next_id, awaited);
        while self.awaited.len() > limits::PINGS_AWAITED_MAX {
            self.awaited.pop_first();
        }
        self.next_id
    }

    fn period(&self) -> Micros {
        suspicion::period(self.members.len() + 1)
    }

    fn exchange_every(&self) -> Micros {
        Micros(limits::EXCHANGE_EVERY.0 * (1 + self.members.len() as u64 / limits::EXCHANGE_MEMBERS))
    }

    /// As much longer as this node is slow.
    fn stretched(&self, span: Micros) -> Micros {
        Micros(span.0 * (1 + u64::from(self.slowness)))
    }

    fn be_slower(&mut self, by: u32) {
        self.slowness = (self.slowness + by).min(limits::SLOWNESS_MAX);
    }

    fn random(&mut self, most: Micros) -> Micros {
        Micros(self.rng.random_range(0..=most.0))
    }

    /// A tenth more or less.
    fn jittered(&mut self, span: Micros) -> Micros {
        Micros(self.rng.random_range(span.0 * 9 / 10..=span.0 * 11 / 10))
    }
}
