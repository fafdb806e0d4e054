//! Some nodes that only agree on layouts, their disks, and a network that loses, repeats and delays.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_client::wire::{ChangeId, Message, Operator};
use dynode_ring::{Layout, Member, NodeId};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::super::change::member_is;
use super::super::rules::{Rule, broken};
use super::super::{Agree, Circumstances, Stored};
use crate::limits::FORCED_LEAP;
use crate::protocol::{Effect, Effects, Liveness, Observation, ReplyTo, Time};

const MS: u64 = 1_000;

/// One look at the clock.
const STEP: u64 = 20 * MS;

/// Nodes that are there from the start and may join.
const GUESTS: std::ops::Range<u64> = 100..105;

/// What goes wrong in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) nodes: usize,
    pub(super) operators: usize,
    /// Messages lost, in a hundred.
    pub(super) loss: u32,
    pub(super) crashes: bool,
    pub(super) cuts: bool,
    pub(super) lost_disks: bool,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults { nodes: 3, operators: 2, loss: 15, crashes: true, cuts: false, lost_disks: false }
    }
}

impl Faults {
    pub(super) fn none() -> Faults {
        Faults { loss: 0, crashes: false, ..Faults::default() }
    }
}

struct Machine {
    id: NodeId,
    process: u64,
    agree: Option<Agree>,
    disk: BTreeMap<&'static str, Bytes>,
    remembers: bool,
    up_again: u64,
    /// The highest epoch that it ever went by, on any disk, durably.
    went_by: u64,
}

struct Packet {
    from: usize,
    to: usize,
    /// The processes that the connection is between.
    between: (u64, u64),
    request: u64,
    answers: bool,
    message: Message,
    body: Bytes,
}

pub(super) struct Run {
    faults: Faults,
    rng: Pcg64,
    now: u64,
    first: Layout,
    machines: Vec<Machine>,
    packets: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    cut: BTreeSet<usize>,
    /// By epoch the layouts that anybody went by.
    layouts: BTreeMap<u64, u64>,
    /// The changes that operators were told are staged.
    staged: BTreeSet<ChangeId>,
    done: BTreeSet<ChangeId>,
    next_guest: u64,
    outbid: u64,
    overruled: u64,
    ok: Result<(), String>,
}

fn member(id: u64) -> Member {
    Member { id: NodeId(id), name: format!("n{id}"), addr: format!("h:{id}"), zone: "z".into(), weight: 1 }
}

impl Run {
    pub(super) fn new(seed: u64, faults: Faults) -> Run {
        let members = (0..faults.nodes as u64).map(member).collect();
        let first = Layout::first(4, 2, members).unwrap();
        let machine = |id| Machine {
            id: NodeId(id),
            process: 0,
            agree: None,
            disk: BTreeMap::new(),
            remembers: false,
            up_again: 0,
            went_by: 0,
        };
        let mut run = Run {
            faults,
            rng: Pcg64::seed_from_u64(seed),
            now: 0,
            first,
            machines: (0..faults.nodes as u64).chain(GUESTS).map(machine).collect(),
            packets: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            layouts: BTreeMap::new(),
            staged: BTreeSet::new(),
            done: BTreeSet::new(),
            next_guest: GUESTS.start,
            outbid: 0,
            overruled: 0,
            ok: Ok(()),
        };
        let faults = std::mem::replace(&mut run.faults, Faults::none());
        (0..run.machines.len()).for_each(|at| run.start(at));
        run.faults = faults;
        run
    }

    /// Quiet, faults, quiet; then all that must hold.
    pub(super) fn go(&mut self) -> Result<(), String> {
        self.pass_without_faults(6_000);
        let until = self.now + self.rng.random_range(4_000..12_000) * MS;
        let mut words: Vec<u64> = (0..self.faults.operators).map(|_| self.rng.random_range(self.now..until)).collect();
        if self.rng.random_bool(0.5) {
            // Several operators at the same moment.
            let same = words[0];
            words.iter_mut().for_each(|at| *at = same);
        }
        words.sort_unstable();
        while self.now < until && self.ok.is_ok() {
            self.step();
            while words.first().is_some_and(|at| *at <= self.now) {
                words.remove(0);
                self.operator();
            }
            self.fault();
        }
        self.heal();
        let calm = std::mem::replace(&mut self.faults, Faults { operators: 0, ..Faults::none() });
        for _ in 0..120 {
            self.pass(1_000);
            self.ok.clone()?;
            if self.is_quiet() {
                break;
            }
        }
        self.faults = calm;
        self.check_end()
    }

    pub(super) fn pass(&mut self, millis: u64) {
        let until = self.now + millis * MS;
        while self.now < until && self.ok.is_ok() {
            self.step();
        }
    }

    fn pass_without_faults(&mut self, millis: u64) {
        let loss = std::mem::take(&mut self.faults.loss);
        let crashes = std::mem::take(&mut self.faults.crashes);
        self.pass(millis);
        (self.faults.loss, self.faults.crashes) = (loss, crashes);
    }

    pub(super) fn decided(&self) -> u64 {
        self.layouts.len() as u64
    }

    pub(super) fn ballots_outbid(&self) -> u64 {
        self.outbid
    }

    pub(super) fn overruled(&self) -> u64 {
        self.overruled
    }

    pub(super) fn epoch(&self, at: usize) -> u64 {
        self.machines[at].agree.as_ref().unwrap().decision().epoch()
    }

    /// May this node have gone by a later layout than its own, as far as it knows?
    pub(super) fn may_have_gone_on(&self, at: usize) -> bool {
        self.machines[at].agree.as_ref().unwrap().may_have_gone_on()
    }

    pub(super) fn knows_its_votes(&self, at: usize) -> bool {
        self.machines[at].agree.as_ref().unwrap().knows_its_votes()
    }

    /// One turn after the other, until this is so.
    pub(super) fn pass_until(&mut self, is_so: impl Fn(&Run) -> bool) {
        let until = self.now + 60_000 * MS;
        while !is_so(self) {
            assert!(self.now < until, "it does not come to that");
            self.step();
        }
    }

    pub(super) fn verdict(&self) -> Result<(), String> {
        self.ok.clone()
    }

    pub(super) fn members(&self, at: usize) -> usize {
        self.machines[at].agree.as_ref().unwrap().decision().layout.members().len()
    }

    /// The former members that a node knows of.
    pub(super) fn former_members(&self, at: usize) -> Vec<u64> {
        let guests = self.machines[at].agree.as_ref().unwrap().guests();
        guests.filter(|guest| guest.former).map(|guest| guest.member.id.0).collect()
    }

    pub(super) fn cut_off(&mut self, side: &[usize]) {
        self.cut = side.iter().copied().collect();
        for (a, b) in self.pairs() {
            if self.is_cut(a, b) {
                let id = self.machines[b].id;
                self.turn(a, |agree, _, _| agree.down(id));
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        for at in 0..self.machines.len() {
            if self.machines[at].agree.is_none() {
                self.start(at);
            }
        }
        for (a, b) in self.pairs() {
            let id = self.machines[b].id;
            self.turn(a, |agree, now, out| agree.up(now, id, out));
        }
    }

    pub(super) fn commit_join(&mut self, at: usize) {
        let join = self.join();
        self.operate(at, &join).unwrap();
        let changes = self.wanted(at);
        self.operate(at, &Operator::Commit { changes, force: false }).unwrap();
    }

    fn join(&mut self) -> Operator {
        let guest = self.next_guest.min(GUESTS.end - 1);
        self.next_guest += 1;
        Operator::Join(member_is(&member(guest)))
    }

    pub(super) fn force_remove(&mut self, at: usize, gone: usize) -> Result<(), String> {
        let name = format!("n{gone}");
        self.operate(at, &Operator::Remove(name))?;
        let changes = self.wanted(at);
        self.operate(at, &Operator::Commit { changes, force: true })
    }

    pub(super) fn cancel_all(&mut self, at: usize) {
        let changes = self.wanted(at);
        self.operate(at, &Operator::Cancel { changes }).unwrap();
    }

    /// The process ends, and begins anew at once.
    pub(super) fn restart(&mut self, at: usize) {
        self.crash(at);
        self.start(at);
    }

    fn wanted(&self, at: usize) -> Vec<ChangeId> {
        self.machines[at].agree.iter().flat_map(|a| a.staged().wanted()).map(|(id, _)| *id).collect()
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let all = 0..self.machines.len();
        all.clone().flat_map(|a| all.clone().map(move |b| (a, b))).filter(|(a, b)| a != b).collect()
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&a) != self.cut.contains(&b)
    }

    fn start(&mut self, at: usize) {
        let seed = self.rng.next_u64();
        let disk = self.machines[at].disk.clone();
        let stored = Stored::read(|name| Ok::<_, ()>(disk.get(name).cloned())).unwrap().unwrap();
        let told = if stored.layout().is_none() { self.told() } else { None };
        let configured = told.unwrap_or_else(|| self.first.clone());
        let machine = &mut self.machines[at];
        machine.process += 1;
        let agree = Agree::new(machine.id, configured, stored, machine.remembers, seed, Time(self.now));
        machine.agree = Some(agree);
        machine.remembers = true;
        for other in (0..self.machines.len()).filter(|other| *other != at) {
            let (id, own) = (self.machines[other].id, self.machines[at].id);
            self.turn(at, |agree, now, out| agree.up(now, id, out));
            self.turn(other, |agree, now, out| {
                agree.down(own);
                agree.up(now, own, out);
            });
        }
    }

    /// The layout that a node on a new disk is told by some other, every second time, before it starts.
    fn told(&mut self) -> Option<Layout> {
        let running: Vec<&Agree> = self.machines.iter().filter_map(|m| m.agree.as_ref()).collect();
        let layout = &running.choose(&mut self.rng)?.decision().layout;
        (layout.epoch() > 1 && self.rng.random_bool(0.5)).then(|| layout.clone())
    }

    fn step(&mut self) {
        self.now += STEP;
        while let Some(entry) = self.packets.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let packet = entry.remove();
            self.deliver(packet);
        }
        for at in 0..self.machines.len() {
            let machine = &self.machines[at];
            let due = machine.agree.as_ref().is_some_and(|agree| agree.next_wake().0 <= self.now);
            if due {
                self.turn(at, |agree, now, out| agree.tick(now, true, out));
            } else if machine.agree.is_none() && machine.up_again <= self.now {
                self.start(at);
            }
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, between, request, answers, message, body } = packet;
        if (self.machines[from].process, self.machines[to].process) != between || self.is_cut(from, to) {
            return; // the connection is another by now
        }
        let id = self.machines[from].id;
        if let Message::Promise(m) = &message {
            self.outbid += u64::from(!m.granted && m.promised > m.ballot);
        }
        let reply_to = ReplyTo { connection: from as u64, request };
        self.turn(to, |agree, now, out| match answers {
            true => agree.response(now, id, &message, body, out),
            false => agree.request(now, id, reply_to, &message, body, out),
        });
    }

    /// One turn of a node: decide, store, send; it may crash before or after it has stored.
    fn turn<T>(&mut self, at: usize, act: impl FnOnce(&mut Agree, Time, &mut Effects) -> T) -> Option<T> {
        let crash = self.faults.crashes && self.rng.random_ratio(1, 400);
        let before_storing = self.rng.random_bool(0.5);
        let Some(agree) = &mut self.machines[at].agree else { return None };
        let mut out = Effects::new();
        let done = act(agree, Time(self.now), &mut out);
        if crash && before_storing {
            self.crash(at);
            return None;
        }
        let (records, decided) = (agree.take_records(), agree.take_decided());
        self.machines[at].disk.extend(records);
        self.check_bound(at);
        for decision in decided {
            self.done.extend(decision.done.iter().copied());
            let first = *self.layouts.entry(decision.epoch()).or_insert(decision.hash());
            if first != decision.hash() && decision.forced.is_none() {
                self.ok = Err(format!("two layouts of epoch {}", decision.epoch()));
            }
        }
        if crash {
            self.crash(at);
            return None;
        }
        for effect in out.drain() {
            match effect {
                Effect::Send { to, request, message, body } => {
                    if let Some(to) = self.machines.iter().position(|m| m.id == to) {
                        self.post(at, to, request, false, &message, &body);
                    }
                }
                Effect::Reply { to, message, body } => {
                    self.post(at, to.connection as usize, to.request, true, &message, &body);
                }
                Effect::Observe(Observation::Overruled { .. }) => self.overruled += 1,
                Effect::Observe(Observation::Unreadable { detail, .. }) => self.ok = Err(detail),
                Effect::Observe(_) => {}
            }
        }
        Some(done)
    }

    /// Who has gone by a later layout than its present one has lost that with its disk, and must know that it may have. (What a
    /// part of the cluster has forced the other part cannot know.)
    fn check_bound(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(agree) = &machine.agree else { return };
        let (id, before, now) = (machine.id, machine.went_by, agree.decision().epoch());
        machine.went_by = before.max(now);
        if broken(Rule::VoteAfterLoss) {
            return; // what comes of it is to be found: two layouts
        }
        if now < before && now / FORCED_LEAP == before / FORCED_LEAP && !agree.may_have_gone_on() {
            self.ok = Err(format!("{id} went by epoch {before}, and takes itself for free under {now}"));
        }
    }

    fn post(&mut self, from: usize, to: usize, request: u64, answers: bool, message: &Message, body: &Bytes) {
        let copies = 1 + u32::from(self.faults.loss > 0 && self.rng.random_ratio(1, 10));
        for _ in 0..copies {
            if self.rng.random_ratio(self.faults.loss, 100) {
                continue;
            }
            let most = if self.rng.random_ratio(1, 10) && self.faults.loss > 0 { 2_500 } else { 60 };
            let at = self.now + self.rng.random_range(1..most) * MS;
            self.sent += 1;
            let between = (self.machines[from].process, self.machines[to].process);
            let (message, body) = (message.clone(), body.clone());
            self.packets.insert((at, self.sent), Packet { from, to, between, request, answers, message, body });
        }
    }

    fn crash(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.agree = None;
        machine.up_again = self.now + self.rng.random_range(20..3_000) * MS;
        let id = machine.id;
        for other in (0..self.machines.len()).filter(|other| *other != at) {
            if let Some(agree) = &mut self.machines[other].agree {
                agree.down(id);
            }
        }
    }

    fn fault(&mut self) {
        if self.faults.crashes && self.rng.random_ratio(1, 100) {
            let at = self.rng.random_range(0..self.machines.len());
            self.crash(at);
        }
        if self.faults.cuts && self.rng.random_ratio(1, 80) {
            let mut all: Vec<usize> = (0..self.machines.len()).collect();
            all.shuffle(&mut self.rng);
            let side = self.rng.random_range(0..=all.len() / 2);
            self.heal_cut();
            self.cut_off(&all[..side]);
        }
        let votes = |m: &Machine| m.agree.as_ref().is_some_and(|a| a.vote.accepted.is_some());
        let voter = self.machines.iter().position(votes);
        if self.faults.lost_disks && (self.rng.random_ratio(1, 120) || voter.is_some() && self.rng.random_ratio(1, 5)) {
            let any = self.rng.random_range(0..self.machines.len());
            self.lose_disk(voter.unwrap_or(any));
        }
    }

    fn heal_cut(&mut self) {
        let was = std::mem::take(&mut self.cut);
        for (a, b) in self.pairs() {
            if was.contains(&a) != was.contains(&b) {
                let id = self.machines[b].id;
                self.turn(a, |agree, now, out| agree.up(now, id, out));
            }
        }
    }

    /// One at a time: as long as another node has not found out what it promised, its disk counts as lost.
    fn lose_disk(&mut self, at: usize) {
        let all_remember = self.machines.iter().all(|m| m.agree.as_ref().is_some_and(|a| a.votes_from != u64::MAX));
        if all_remember {
            self.take_disk(at);
        }
    }

    /// A node loses its disk, and soon comes back on an empty one.
    pub(super) fn take_disk(&mut self, at: usize) {
        self.crash(at);
        self.machines[at].up_again = self.now + self.rng.random_range(20..500) * MS;
        self.machines[at].disk.clear();
        self.machines[at].remembers = false;
    }

    /// An operator stages something at some node, and commits all that is staged there.
    fn operator(&mut self) {
        let at = self.rng.random_range(0..self.machines.len());
        let Some(agree) = &self.machines[at].agree else { return };
        let members: Vec<String> = agree.decision().layout.members().iter().map(|m| m.name.clone()).collect();
        let name = members.choose(&mut self.rng).cloned().unwrap_or_default();
        let what = match self.rng.random_range(0..4) {
            0 => Operator::Leave(name),
            1 => Operator::Set { name, weight: Some(self.rng.random_range(1..5)), zone: None },
            _ => self.join(),
        };
        let _ = self.operate(at, &what);
        let mut changes = self.wanted(at);
        if self.rng.random_ratio(1, 10) {
            changes.truncate(1);
            let _ = self.operate(at, &Operator::Cancel { changes });
        } else {
            let _ = self.operate(at, &Operator::Commit { changes, force: false });
        }
    }

    fn operate(&mut self, at: usize, what: &Operator) -> Result<(), String> {
        let before: BTreeSet<ChangeId> = self.wanted(at).into_iter().collect();
        // `remove` is for the dead.
        let taken_for = if matches!(what, Operator::Remove(_)) { Liveness::Down } else { Liveness::Alive };
        let done = self.turn(at, |agree, now, out| {
            let given = Circumstances { settled: true, liveness: &|_| taken_for };
            agree.operate(now, what, &given, out).map_err(|refusal| refusal.detail)
        });
        let done = done.unwrap_or(Err("it crashed".into()));
        if let Operator::Cancel { changes } = what {
            // Even if nobody was told, they may be cancelled.
            changes.iter().for_each(|id| {
                self.staged.remove(id);
            });
        } else if done.is_ok() {
            self.staged.extend(self.wanted(at).into_iter().filter(|id| !before.contains(id)));
        }
        done
    }

    fn is_quiet(&self) -> bool {
        let mut states = self.machines.iter().map(|m| {
            m.agree.as_ref().map(|a| {
                let waits = a.is_member() && !a.committed_outcome().done.is_empty();
                (a.decision().hash(), a.staged_hash, waits)
            })
        });
        let first = states.next().flatten();
        matches!(first, Some((.., false))) && states.all(|state| state == first)
    }

    fn has_majority(&self) -> bool {
        let agrees = || self.machines.iter().filter_map(|m| m.agree.as_ref());
        let newest = agrees().max_by_key(|a| a.decision().epoch()).map(|a| a.decision().layout.members().len());
        let able = agrees().filter(|a| a.is_member() && a.knows_its_votes()).count();
        newest.is_some_and(|members| able > members / 2)
    }

    fn check_end(&mut self) -> Result<(), String> {
        self.ok.clone()?;
        if !self.is_quiet() && !self.has_majority() {
            return Ok(()); // a member whose disk is lost counts as gone until the epoch has passed
        }
        if !self.is_quiet() {
            let say = |m: &Machine| {
                let a = m.agree.as_ref()?;
                Some(format!("{}: epoch {} knows {} {:?}", m.id, a.decision().epoch(), a.votes_from, a.next_try))
            };
            let states: Vec<_> = self.machines.iter().map(say).collect();
            return Err(format!("not at rest after two minutes of quiet: {states:?}"));
        }
        let layout = &self.machines[0].agree.as_ref().ok_or("no process")?.decision().layout;
        if layout.partition_ids().any(|p| layout.owners(p).is_empty()) {
            return Err("a partition without owners".into());
        }
        let wanted: BTreeSet<ChangeId> = self.wanted(0).into_iter().collect();
        let forgotten: Vec<_> =
            self.staged.iter().filter(|id| !wanted.contains(id) && !self.done.contains(id)).collect();
        match forgotten.is_empty() || self.faults.lost_disks {
            true => Ok(()),
            false => Err(format!("forgotten: {forgotten:?}")),
        }
    }
}
