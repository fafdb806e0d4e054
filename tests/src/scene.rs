//! A scene: a simulated cluster that a test drives by hand, step by step, with the world's checkers watching.
//!
//! Scenarios are written against it. Each is played twice: as dynode is, and with the mechanism that it is about switched
//! off ([`Off`]), when it must fail.

use bytes::Bytes;
use dynode::protocol::{Counters, Durability, Liveness, Phase};
use dynode_client::wire::{Acks, Causality, ErrorCode, Operator, Quorum};
use dynode_ring::PartitionId;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::rules::{Rule, break_rule};
use dynode_storage::{EngineError, Space};

use crate::check::TAKEN_FOR_DOWN;
use crate::world::changes::FOLLOWS;
use crate::world::clients::Terms;
use crate::world::host::End;
use crate::world::journal::OpId;
use crate::world::plan::{Action, MS, Plan, SECOND, Spell};
use crate::world::{Outcome, Violation, World};

/// How long a test waits for the answer to an operation.
const PATIENCE: u64 = 65 * SECOND;

/// What is switched off in a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// Nothing: dynode as it is.
    Nothing,
    /// A rule of versions and copies.
    Rule(Rule),
    /// Persisting before sending.
    PersistFirst,
    /// Syncing before acknowledging: the durability is `os`.
    Durability,
    /// A kind of message between nodes, by its name.
    Message(&'static str),
    /// The client's word that only owners count.
    Strict,
    /// The client's leave that stand-ins count.
    Sloppy,
    /// Contexts: writers do not say what they have seen.
    Contexts,
    /// Siblings: every write replaces whatever is there.
    Siblings,
    /// The index, so that a copy that lacks anything gets a scan of everything.
    Index,
    /// What is said of a member reaches it, so that it can contradict.
    Refutation,
    /// The bound of the operations that a node has under way.
    Admission,
    /// Sessions: readers do not say what they have seen.
    Sessions,
}

/// Plays a scenario, and again with each of its mechanisms off, when it must fail.
pub fn hold(scenario: fn(Off) -> Result<(), Violation>, each_of: &[Off]) {
    if let Err(violation) = play(scenario, Off::Nothing) {
        panic!("{}: {}", violation.invariant, violation.detail);
    }
    for off in each_of {
        match play(scenario, *off) {
            Ok(()) => panic!("it holds with {off:?} off: it shows nothing"),
            Err(violation) => println!("without {off:?}: {}: {}", violation.invariant, violation.detail),
        }
    }
}

fn play(scenario: fn(Off) -> Result<(), Violation>, off: Off) -> Result<(), Violation> {
    break_rule(match off {
        Off::Rule(rule) => Some(rule),
        _ => None,
    });
    let played = scenario(off);
    break_rule(None);
    played
}

/// Fails a scenario unless something is so.
pub fn ensure(is_so: bool, else_say: impl FnOnce() -> String) -> Result<(), Violation> {
    if is_so { Ok(()) } else { Err(Violation::new("scenario", else_say())) }
}

/// What an operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The operation.
    pub op: OpId,
    /// What the client was told.
    pub outcome: Outcome,
    /// Who took part.
    pub acks: Acks,
    /// Of a failure: copies needed, and copies that have answered.
    pub short: (u8, u8),
    /// Of a read: the writes whose values it found, ascending.
    pub found: Vec<OpId>,
    /// From asking to answer, in microseconds.
    pub took: u64,
}

impl Answer {
    /// The operation, if it was done.
    pub fn done(&self) -> Result<OpId, Violation> {
        ensure(self.outcome == Outcome::Done, || format!("#{} came to {:?}", self.op, self.outcome)).map(|()| self.op)
    }

    /// It must have failed like this.
    pub fn fails(&self, code: ErrorCode, short: (u8, u8)) -> Result<(), Violation> {
        let as_said = match code {
            ErrorCode::OutcomeUnknown => self.outcome == Outcome::Unknown,
            code => self.outcome == Outcome::Failed(code),
        };
        let wanted = || format!("{} with {} of {}", code.as_str(), short.1, short.0);
        let found = || format!("#{} came to {:?} with {} of {}", self.op, self.outcome, self.short.1, self.short.0);
        ensure(as_said && self.short == short, || format!("{}, where {} was due", found(), wanted()))
    }
}

/// A simulated cluster, driven by hand.
pub struct Scene {
    /// The world itself.
    pub world: World,
    off: Off,
}

impl Scene {
    /// A calm cluster: so many nodes, three copies, so many keys.
    pub fn new(off: Off, nodes: usize, keys: usize) -> Result<Scene, Violation> {
        let plan = Plan { keys, clients: 8, partitions: if nodes > 3 { 8 } else { 1 }, ..Plan::calm(nodes) };
        Scene::of(off, plan)
    }

    /// A calm cluster with one partition, of so many members that hold so many copies of it, and guests beside them.
    pub fn with_guests(off: Off, members: usize, copies: u8, guests: usize) -> Result<Scene, Violation> {
        let calm = Plan::calm(members + guests);
        Scene::of(off, Plan { keys: 1, clients: 8, replicas: copies, guests, ..calm })
    }

    /// A cluster of that plan, with all connections standing.
    pub fn of(off: Off, mut plan: Plan) -> Result<Scene, Violation> {
        match off {
            Off::Durability => plan.durability = Durability::Os,
            Off::Index => plan.index_entries_max = 0,
            Off::Admission => plan.operations_max = usize::MAX,
            _ => {}
        }
        let echo = std::env::var_os("SCENE_TRACE").is_some();
        let mut world = World::new(1, plan, false, echo);
        world.sends_first = off == Off::PersistFirst;
        match off {
            Off::Message(name) => world.muted.push(name),
            Off::Contexts => world.says_instead = Some(Causality::Blind),
            Off::Sessions => world.forgets_sessions = true,
            Off::Refutation => world.gossips_behind_backs = true,
            Off::Siblings => world.says_instead = Some(Causality::Current),
            _ => {}
        }
        world.begin()?;
        world.run_until(2 * SECOND)?;
        Ok(Scene { world, off })
    }

    /// Lets time pass.
    pub fn run(&mut self, seconds: f64) -> Result<(), Violation> {
        self.world.run_until(self.world.now + (seconds * SECOND as f64) as u64)
    }

    /// Lets time pass until something is so, which must be within ten seconds.
    pub fn run_until(&mut self, what: &str, is_so: impl Fn(&Scene) -> bool) -> Result<(), Violation> {
        let end = self.world.now + 10 * SECOND;
        while !is_so(self) {
            ensure(self.world.now < end, || format!("not within ten seconds: {what}"))?;
            self.world.run_until(self.world.now + MS / 10)?;
        }
        Ok(())
    }

    /// An operator wants changes of the layout, tells a node, and commits them.
    pub fn commit(&mut self, at: usize, changes: Vec<Operator>) -> Result<(), Violation> {
        changes.into_iter().for_each(|what| self.world.tell_node(at, what, FOLLOWS));
        self.run(0.01)?;
        self.world.commit_all(at);
        Ok(())
    }

    /// A member gives way to a guest.
    pub fn replace(&self, old: usize, new: usize) -> Operator {
        Operator::Replace { old: format!("n{old}"), new: self.world.as_told(new) }
    }

    /// The epoch that a node goes by, and how far it takes the partition of a key to be on its way.
    pub fn stands(&self, at: usize, key: usize) -> Option<(u64, Phase)> {
        let partition = self.partition(key);
        self.world.hosts[at].node.as_ref().map(|node| (node.layout().epoch(), node.phase(partition)))
    }

    /// A client asks a node; the answer is not waited for.
    pub fn ask(&mut self, client: usize, at: usize, key: usize, action: Action, quorum: Quorum, strict: bool) -> OpId {
        let strict = (strict || self.off == Off::Sloppy) && self.off != Off::Strict;
        self.world.ask(client, at, key, action, Terms { quorum, strict, timeout_ms: 5_000 })
    }

    /// Waits for an answer.
    pub fn wait(&mut self, op: OpId) -> Result<Answer, Violation> {
        let end = self.world.now + PATIENCE;
        while self.world.now < end && self.world.journal.op(op).outcome == Outcome::Pending {
            self.world.run_until(self.world.now + MS / 10)?;
        }
        Ok(self.answer(op))
    }

    /// What an operation came to so far.
    pub fn answer(&self, op: OpId) -> Answer {
        let op = self.world.journal.op(op);
        let mut found = op.found.clone();
        found.sort_unstable();
        let took = op.ended.saturating_sub(op.began);
        Answer { op: op.id, outcome: op.outcome, acks: op.acks, short: op.short, found, took }
    }

    /// A client asks for something at a quorum, with stand-ins where there is need, and waits.
    pub fn does(&mut self, client: usize, at: usize, key: usize, action: Action) -> Result<Answer, Violation> {
        let op = self.ask(client, at, key, action, Quorum::Majority, false);
        self.wait(op)
    }

    /// As [`Scene::does`], of owners only and of so many.
    pub fn strictly(&mut self, at: usize, key: usize, action: Action, quorum: Quorum) -> Result<Answer, Violation> {
        let op = self.ask(0, at, key, action, quorum, true);
        self.wait(op)
    }

    /// The nodes that own a key, in order.
    pub fn owners(&self, key: usize) -> Vec<usize> {
        let owners = self.world.layout.owners(self.partition(key)).to_vec();
        owners.iter().filter_map(|id| self.world.hosts.iter().position(|h| h.id == *id)).collect()
    }

    /// The nodes that do not own a key.
    pub fn others(&self, key: usize) -> Vec<usize> {
        let owners = self.owners(key);
        (0..self.world.hosts.len()).filter(|at| !owners.contains(at)).collect()
    }

    /// The keys that this node does not own.
    pub fn keys_foreign_to(&self, at: usize) -> Vec<usize> {
        (0..self.world.journal.keys.len()).filter(|key| !self.owners(*key).contains(&at)).collect()
    }

    /// The partition of a key.
    pub fn partition(&self, key: usize) -> PartitionId {
        self.world.journal.keys[key].partition(self.world.layout.partitions())
    }

    /// Does the node hold a copy of the key's partition?
    pub fn holds(&mut self, at: usize, key: usize) -> Result<bool, Violation> {
        let partition = self.partition(key);
        let Some(node) = &mut self.world.hosts[at].node else { return Ok(false) };
        Ok(Violation::unless_found(node.store().find(partition))?.is_some())
    }

    /// The index entries that a node keeps of the key's partition.
    pub fn indexed(&mut self, at: usize, key: usize) -> Result<u64, Violation> {
        let partition = self.partition(key);
        let Some(node) = &mut self.world.hosts[at].node else { return Ok(0) };
        Ok(Violation::unless_found(node.store().find(partition))?.map_or(0, |copy| copy.indexed()))
    }

    /// What a node has counted since its process started.
    pub fn counters(&self, at: usize) -> Counters {
        self.world.hosts[at].node.as_ref().map_or_else(Counters::default, |node| node.counters().clone())
    }

    /// The operations that a node has under way now.
    pub fn under_way(&self, at: usize) -> usize {
        self.world.hosts[at].node.as_ref().map_or(0, |node| node.operations())
    }

    /// What a node takes another for, and whether it would ask it now.
    pub fn takes(&self, at: usize, other: usize) -> Option<(Liveness, bool)> {
        let id = self.world.hosts[other].id;
        self.world.hosts[at].node.as_ref().map(|node| (node.liveness(id), node.is_up(id)))
    }

    /// How often nodes have taken another for down, since the beginning.
    pub fn taken_for_down(&self) -> u64 {
        self.world.stats.counters.get(TAKEN_FOR_DOWN).copied().unwrap_or(0)
    }

    /// One of the counters of all nodes, added up.
    pub fn total(&self, of: fn(&Counters) -> u64) -> u64 {
        (0..self.world.hosts.len()).map(|at| of(&self.counters(at))).sum()
    }

    /// Whatever one of these has written or had seen, of a key: what a reader knows who reads them.
    pub fn all_behind(&self, values: &[OpId]) -> Vec<OpId> {
        let seen = self.world.journal.seen_by(values);
        (0..self.world.journal.ops.len() as OpId).filter(|op| seen.has(*op)).collect()
    }

    /// Cuts the way between two nodes, silently, both ways.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.world.cut(a, b);
        self.world.cut(b, a);
    }

    /// Cuts the way from one node to another, silently; back it stays open.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.world.cut(from, to);
    }

    /// Opens the way between two nodes again, both ways.
    pub fn open(&mut self, a: usize, b: usize) {
        self.world.uncut(a, b);
        self.world.uncut(b, a);
    }

    /// Cuts a node off from all others, silently.
    pub fn isolate(&mut self, at: usize) {
        (0..self.world.hosts.len()).for_each(|peer| self.cut(at, peer));
    }

    /// Cuts the network between these nodes and all others.
    pub fn split(&mut self, side: &[usize]) {
        for a in side {
            for b in (0..self.world.hosts.len()).filter(|b| !side.contains(b)) {
                self.cut(*a, b);
            }
        }
    }

    /// Opens every way.
    pub fn heal(&mut self) {
        self.world.mend();
    }

    /// Kills a process.
    pub fn kill(&mut self, at: usize) -> Result<(), Violation> {
        self.world.crash(at, End::Kill)
    }

    /// Cuts the power of a machine: what was not synced is gone.
    pub fn cut_power(&mut self, at: usize) -> Result<(), Violation> {
        self.world.crash(at, End::PowerCut)
    }

    /// Takes a machine's disk, and puts an empty one in.
    pub fn lose_disk(&mut self, at: usize) -> Result<(), Violation> {
        self.world.lose_disk(at)
    }

    /// Takes from a machine's disk what it holds of a key's partition; the process ends.
    pub fn lose_partition(&mut self, at: usize, key: usize) -> Result<(), Violation> {
        self.world.lose_partition(at, self.partition(key))
    }

    /// Stops a process in good order.
    pub fn stop(&mut self, at: usize) -> Result<(), Violation> {
        self.world.stop(at)
    }

    /// Starts the process of a machine.
    pub fn start(&mut self, at: usize) -> Result<(), Violation> {
        self.world.start(at)
    }

    /// Halts a process, as SIGSTOP would.
    pub fn pause(&mut self, at: usize, seconds: f64) {
        self.world.hosts[at].paused_until = self.world.now + (seconds * SECOND as f64) as u64;
    }

    /// Wakes a process that was halted.
    pub fn wake(&mut self, at: usize) {
        self.world.hosts[at].paused_until = self.world.now;
        self.world.plan_turn(at, self.world.now);
    }

    /// Resets the connections of two nodes.
    pub fn reset(&mut self, a: usize, b: usize) {
        self.world.reset(a, b);
    }

    /// Lets a spell of bad weather begin.
    pub fn begin_spell(&mut self, spell: Spell, at: usize, other: usize, seconds: u64) {
        self.world.begin_spell(spell, at, other, seconds * SECOND);
    }

    /// Damages a record on a machine's disk.
    pub fn rot(&mut self, at: usize, space: Space, key: Bytes) {
        self.world.rot(at, space, key);
    }

    /// Has a node read all that it holds.
    pub fn scrub(&mut self, at: usize) {
        self.world.scrub(at);
    }

    /// Looks at what is on the disk of a node that runs.
    pub fn on_disk(
        &mut self,
        at: usize,
        look: impl FnOnce(&MemoryEngine) -> Result<(), EngineError>,
    ) -> Result<(), Violation> {
        let Some(node) = &mut self.world.hosts[at].node else { return Ok(()) };
        look(&node.store().engine().image()).map_err(Violation::storage)
    }

    /// Waits until all copies are equal and nothing is left behind, and has every checker look.
    pub fn settle(&mut self) -> Result<(), Violation> {
        self.world.find_dead_ends();
        self.world.settle("in a scenario")
    }

    /// Nothing more may be moved by sync now, however long one waits.
    pub fn is_at_rest(&mut self) -> Result<(), Violation> {
        let moved = |s: &Scene| (s.total(|c| c.pulls), s.total(|c| c.sync_bytes_in), s.total(|c| c.repairs));
        let before = moved(self);
        self.run(20.0)?;
        let after = moved(self);
        ensure(before == after, || {
            format!("(pulls, bytes, repairs) went from {before:?} to {after:?} with nothing to do")
        })
    }
}
