//! What one seed is going to be like: its cluster, its network, its clients, its mix of faults.
//!
//! Every seed has its own weights, many of them zero, so that rare combinations meet (swarm testing: Groce, Zhang, Eide,
//! Chen, Regehr, 2012).

use dynode::limits::{HINT_BYTES_MAX, INDEX_ENTRIES_MAX, OPERATIONS_MAX};
use dynode::protocol::{Durability, Micros};
use rand::RngExt;
use rand_pcg::Pcg64;

/// A millisecond of simulated time.
pub const MS: u64 = 1_000;
/// A second of simulated time.
pub const SECOND: u64 = 1_000_000;

/// The faults that can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process is killed: what it has written stays, synced or not.
    Kill,
    /// The power of one machine fails: what was not synced is gone.
    PowerCut,
    /// The power of all machines fails at once.
    Blackout,
    /// A disk is lost with all that is on it.
    DiskLost,
    /// The process is stopped in good order.
    Stop,
    /// What is on a disk is put aside.
    BackUp,
    /// A disk is replaced by an older backup of it, and the node is told.
    OldBackup,
    /// The machine hangs for a while.
    Pause,
    /// The network falls apart into two.
    Split,
    /// Nothing gets from one node to another, but back it does.
    OneWay,
    /// One node is cut off from all others.
    Isolate,
    /// The network is whole again.
    Heal,
    /// A connection is reset.
    Reset,
    /// A wall clock steps.
    ClockStep,
    /// Disks become slow, or fast again.
    SlowDisk,
    /// The network becomes slow, or fast again.
    SlowNetwork,
}

impl Fault {
    /// Every fault, with its name in reports and how often it comes relative to the others.
    pub const ALL: [(Fault, &'static str, u32); 16] = [
        (Fault::Kill, "process killed", 10),
        (Fault::PowerCut, "power cut", 10),
        (Fault::Blackout, "blackout", 2),
        (Fault::DiskLost, "disk lost", 6),
        (Fault::Stop, "clean stop", 4),
        (Fault::BackUp, "backup taken", 4),
        (Fault::OldBackup, "old backup", 4),
        (Fault::Pause, "pause", 6),
        (Fault::Split, "split", 8),
        (Fault::OneWay, "one-way cut", 8),
        (Fault::Isolate, "isolated", 8),
        (Fault::Heal, "healed", 20),
        (Fault::Reset, "reset", 6),
        (Fault::ClockStep, "clock step", 4),
        (Fault::SlowDisk, "slow disk", 3),
        (Fault::SlowNetwork, "slow network", 3),
    ];
}

/// Faults that last for a while and end of themselves, beside those of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spell {
    /// Of all messages 30 % are lost, though connections stand.
    Loss,
    /// The way from one node to another opens and closes many times a second or every few seconds.
    Flapping,
    /// Nothing gets from some nodes to the others, but back it does.
    Lopsided,
    /// One node's disk and network are a hundred times slower.
    Crawl,
    /// A disk is full: it takes nothing more, and says so.
    DiskFull,
    /// A disk fails: nobody knows what of the last batch it has taken.
    DiskFails,
    /// An object on a disk cannot be read any more. It stays so until it is found out; only where every promised write of the
    /// copy is on another disk that is sound.
    Rot,
}

impl Spell {
    /// Every spell, with its name in reports and how often it comes relative to the others.
    pub const ALL: [(Spell, &'static str, u32); 7] = [
        (Spell::Loss, "heavy loss", 10),
        (Spell::Flapping, "one-way flapping", 10),
        (Spell::Lopsided, "lopsided split", 10),
        (Spell::Crawl, "node 100 x slower", 10),
        (Spell::DiskFull, "disk full", 6),
        (Spell::DiskFails, "disk fails", 6),
        (Spell::Rot, "object damaged", 0),
    ];
}

/// What operators do to the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A guest joins.
    Join,
    /// A member leaves.
    Leave,
    /// A member, dead or alive, gives way to a guest.
    Replace,
    /// A dead member is taken out.
    Remove,
    /// A member gets another weight.
    Weigh,
    /// A member's machine is lost for good, mostly with its disk. It is an operator's to take it out; until then it stays off.
    Bury,
}

impl Change {
    /// Every change, with its name in reports and how often it comes relative to the others.
    pub const ALL: [(Change, &'static str, u32); 6] = [
        (Change::Join, "operator: join", 10),
        (Change::Leave, "operator: leave", 8),
        (Change::Replace, "operator: replace", 6),
        (Change::Remove, "operator: remove", 4),
        (Change::Weigh, "operator: weight", 4),
        (Change::Bury, "machine given up", 3),
    ];
}

/// What a client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A read.
    Get,
    /// A put over what was read last.
    PutOver,
    /// A put over something that was read some time ago.
    PutStale,
    /// A put that has seen nothing.
    PutBlind,
    /// A put over whatever the coordinator has.
    PutCurrent,
    /// A delete of what was read last.
    DeleteOver,
    /// A delete of whatever the coordinator has.
    DeleteCurrent,
    /// A listing or a report.
    Look,
    /// A request that must be refused.
    Nonsense,
}

impl Action {
    /// Every action, and how often it comes relative to the others.
    pub const ALL: [(Action, u32); 9] = [
        (Action::Get, 30),
        (Action::PutOver, 20),
        (Action::PutStale, 6),
        (Action::PutBlind, 6),
        (Action::PutCurrent, 6),
        (Action::DeleteOver, 10),
        (Action::DeleteCurrent, 5),
        (Action::Look, 3),
        (Action::Nonsense, 1),
    ];
}

/// Everything about a run that its seed decides beforehand.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// Copies of each partition (N).
    pub replicas: u8,
    /// Partitions (Q).
    pub partitions: u32,
    /// When a write counts as taken.
    pub durability: Durability,
    /// Index entries kept while an owner is away.
    pub index_entries_max: u64,
    /// How often objects rot where a run asks for it (`sim --rot`): what a world may then lose with a damaged only copy is not
    /// yet told apart in all cases from what it may not.
    pub rot: u32,
    /// Writes held for owners that are away, in bytes.
    pub hint_bytes_max: u64,
    /// Client operations under way at one node, at most.
    pub operations_max: usize,
    /// How long clients and faults go on.
    pub faults_until: u64,
    /// How many different keys clients use.
    pub keys: usize,
    /// Over so many buckets.
    pub buckets: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How many clients.
    pub clients: usize,
    /// The mean time between a client's operations.
    pub think: u64,
    /// Weights of [`Action::ALL`].
    pub actions: Vec<u32>,
    /// The mean time between faults; 0: none.
    pub fault_every: u64,
    /// Weights of [`Fault::ALL`].
    pub faults: Vec<u32>,
    /// One way, at least and at most.
    pub latency: (u64, u64),
    /// Of a million messages, so many are lost although the connection stands.
    pub loss_ppm: u32,
    /// Of a million messages, so many arrive twice.
    pub twice_ppm: u32,
    /// Messages overtake each other, and survive the connection that they were sent on.
    pub disorder: bool,
    /// Events taken in one turn at most.
    pub turn_max: usize,
    /// Of a million turns, so many end with a crash somewhere in their middle.
    pub crash_in_turn_ppm: u32,
    /// How long a turn's commit takes, at least and at most.
    pub disk: (u64, u64),
    /// Clocks run fast or slow by up to so many millionths.
    pub drift_ppm: u64,
    /// Every message is encoded to bytes and decoded again.
    pub wire: bool,
    /// Pulls ask for so few bytes at a time; 0: as the protocol does.
    pub pull_bytes: u32,
    /// How long until a broken network is noticed, at most; and of a hundred times, how often never.
    pub notice: (u64, u32),
    /// Of sixteen operations, so many let stand-ins count; the others are strict.
    pub sloppy: u32,
    /// The mean time between spells; 0: none.
    pub spell_every: u64,
    /// Weights of [`Spell::ALL`].
    pub spells: Vec<u32>,
    /// What an event costs a turn beside the commit, and each KiB that comes in or goes out: a node's capacity. 0: none.
    pub cost: (u64, u64),
    /// Of sixteen puts without an answer, so many are asked for again, with the id of their request; 0: puts carry none.
    pub repeats: u32,
    /// Of sixteen reads, so many ask for at least what their client has seen.
    pub sessions: u32,
    /// And what it costs to read or write a copy of one key. 0: nothing.
    pub work: u64,
    /// So many of the nodes are guests at first.
    pub guests: usize,
    /// The mean time between operators' changes; 0: none.
    pub change_every: u64,
    /// Weights of [`Change::ALL`].
    pub changes: Vec<u32>,
    /// The mean time between histories that are aimed at changes ([`super::aimed`]); 0: none.
    pub aimed_every: u64,
    /// Of sixteen steps that a node takes in a change, so many end with a crash.
    pub crash_at_step: u32,
    /// Guests become members without an operator's word.
    pub auto_join: bool,
    /// All reads and writes are strict, and of majorities.
    pub majorities: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64) -> Plan {
        let mut plan = Plan::plain_of_seed(seed);
        plan.draw_more(&mut super::stream(seed, 7));
        plan
    }

    /// The plan of a seed as it was before there were spells and stand-ins. What is drawn since comes from a stream of its
    /// own, so that the seeds that once failed still mean the same runs.
    pub fn plain_of_seed(seed: u64) -> Plan {
        Plan::draw(&mut super::stream(seed, 1))
    }

    /// What came later. Further draws go to the end, and change no seed's earlier ones.
    fn draw_more(&mut self, rng: &mut Pcg64) {
        if rng.random_bool(0.4) {
            self.nodes = one_of(rng, &[4, 5, 5, 6, 7]);
        }
        self.sloppy = one_of(rng, &[0, 8, 8, 14, 16]);
        self.spell_every = one_of(rng, &[0, 0, 500, 2_000, 5_000]) * MS;
        self.spells = Spell::ALL.iter().map(|(_, _, weight)| weight * one_of(rng, &[0, 1, 3, 9])).collect();
        self.hint_bytes_max = one_of(rng, &[0, 100, 2_000, HINT_BYTES_MAX, HINT_BYTES_MAX]);
        self.rot = one_of(rng, &[0, 0, 6, 30]);
        self.repeats = one_of(rng, &[0, 8, 16, 16]);
        self.sessions = one_of(rng, &[0, 4, 12]);
    }

    /// What operators do. It has a stream of its own: without it every seed means what it meant.
    pub fn draw_changes(&mut self, seed: u64, always: bool) {
        let rng = &mut super::stream(seed, 11);
        self.change_every = one_of(rng, &[0, 0, 500, 1_500, 5_000]) * MS;
        if always && self.change_every == 0 {
            self.change_every = one_of(rng, &[300, 1_000, 3_000]) * MS;
        }
        if self.change_every == 0 {
            return;
        }
        self.guests = one_of(rng, &[0, 1, 1, 2, 3]);
        self.nodes += self.guests;
        self.changes = Change::ALL.iter().map(|(_, _, weight)| weight * one_of(rng, &[0, 1, 1, 3])).collect();
        self.crash_at_step = one_of(rng, &[0, 0, 1, 3, 8]);
        self.auto_join = rng.random_range(0..8) == 0;
        // Half of these runs are about nothing but registers: reads and writes of majorities, and what may come between them.
        self.majorities = rng.random_bool(0.5);
        if self.majorities {
            self.replicas = one_of(rng, &[2, 3, 3, 3]);
            self.durability = Durability::Group;
            self.keys = one_of(rng, &[1, 2, 3]);
            self.think = one_of(rng, &[5, 20, 100]) * MS;
            self.sloppy = 0;
            let weights = [30, 30, 0, 0, 0, 0, 0, 0, 0];
            self.actions = weights.into();
            for which in [Fault::Split, Fault::OneWay, Fault::Isolate, Fault::Pause] {
                self.faults[which as usize] = 20 * one_of(rng, &[0, 1, 3]);
            }
            self.faults[Fault::DiskLost as usize] = 10 * one_of(rng, &[0, 1, 3]);
            self.faults[Fault::Heal as usize] = 20 * one_of(rng, &[1, 3]);
            self.fault_every = one_of(rng, &[100, 300, 1000]) * MS;
        }
        if always {
            self.aimed_every = one_of(rng, &[0, 0, 2, 4]) * SECOND;
        }
        if self.majorities && self.aimed_every > 0 {
            self.draw_for_aimed(rng);
        }
    }

    /// Where faults are aimed at changes, other faults leave them room, and a write stays the last one of its key for a while.
    fn draw_for_aimed(&mut self, rng: &mut Pcg64) {
        let (members, guests) = ((self.nodes - self.guests).max(3), self.guests.max(2));
        (self.nodes, self.guests) = (members + guests, guests);
        self.replicas = one_of(rng, &[2, 3]);
        self.keys = one_of(rng, &[3, 8, 40]);
        self.change_every = one_of(rng, &[5, 20]) * SECOND;
        self.fault_every = one_of(rng, &[0, 1, 3]) * SECOND;
        self.spell_every = 0;
        self.faults_until = self.faults_until.max(20 * SECOND);
        self.actions[Action::Get as usize] = one_of(rng, &[30, 100]);
    }

    fn draw(rng: &mut Pcg64) -> Plan {
        let nodes = one_of(rng, &[1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 7]);
        let harsh = rng.random_bool(0.3);
        let mut swarm = |base: u32| base * one_of(rng, &[0, 3, 10, 10, 30, 90]);
        let faults = Fault::ALL.iter().map(|(_, _, weight)| swarm(*weight)).collect();
        let actions = Action::ALL.iter().map(|(_, weight)| swarm(*weight)).collect();
        Plan {
            nodes,
            replicas: one_of(rng, &[1, 2, 3, 3, 3, 3, 3, 3]),
            partitions: one_of(rng, &[1, 1, 4, 8]),
            durability: one_of(
                rng,
                &[
                    Durability::Group,
                    Durability::Group,
                    Durability::Os,
                    Durability::Interval(Micros::millis(200)),
                    Durability::Interval(Micros::secs(5)),
                ],
            ),
            index_entries_max: one_of(rng, &[0, 2, 5, 20, INDEX_ENTRIES_MAX, INDEX_ENTRIES_MAX]),
            rot: 0,
            hint_bytes_max: HINT_BYTES_MAX,
            operations_max: OPERATIONS_MAX,
            faults_until: one_of(rng, &[2, 5, 10, 20, 40]) * SECOND,
            keys: one_of(rng, &[1, 2, 3, 5, 8, 40]),
            buckets: one_of(rng, &[1, 1, 2]),
            value_bytes: one_of(rng, &[16, 16, 16, 200, 2000]),
            clients: one_of(rng, &[1, 2, 4, 8]),
            think: one_of(rng, &[5, 20, 100, 500]) * MS,
            actions,
            fault_every: one_of(rng, &[0, 200, 500, 1000, 3000]) * MS,
            faults,
            latency: one_of(rng, &[(50, 300), (50, 300), (100, 5 * MS), (5 * MS, 60 * MS)]),
            loss_ppm: if harsh { one_of(rng, &[0, 1_000, 20_000, 200_000]) } else { 0 },
            twice_ppm: if harsh { one_of(rng, &[0, 10_000, 100_000]) } else { 0 },
            disorder: harsh && rng.random_bool(0.7),
            turn_max: one_of(rng, &[1, 4, 64]),
            crash_in_turn_ppm: one_of(rng, &[0, 0, 1_000, 10_000]),
            disk: one_of(rng, &[(10, 50), (50, 500), (500, 8 * MS)]),
            drift_ppm: one_of(rng, &[0, 500, 20_000, 200_000]),
            wire: rng.random_bool(0.15),
            pull_bytes: one_of(rng, &[0, 0, 1, 100, 3000]),
            notice: one_of(rng, &[(SECOND, 0), (5 * SECOND, 30), (20 * SECOND, 50), (SECOND, 100)]),
            sloppy: 0,
            spell_every: 0,
            spells: vec![0; Spell::ALL.len()],
            cost: (0, 0),
            repeats: 0,
            sessions: 0,
            work: 0,
            guests: 0,
            change_every: 0,
            changes: vec![0; Change::ALL.len()],
            aimed_every: 0,
            crash_at_step: 0,
            auto_join: false,
            majorities: false,
        }
    }

    /// A calm cluster with nothing going on of itself: what scripts begin with.
    pub fn calm(nodes: usize) -> Plan {
        Plan {
            nodes,
            replicas: 3,
            partitions: 1,
            durability: Durability::Group,
            index_entries_max: INDEX_ENTRIES_MAX,
            rot: 0,
            hint_bytes_max: HINT_BYTES_MAX,
            operations_max: OPERATIONS_MAX,
            faults_until: 0,
            keys: 0,
            buckets: 1,
            value_bytes: 16,
            clients: 1,
            think: SECOND,
            actions: vec![0; Action::ALL.len()],
            fault_every: 0,
            faults: vec![0; Fault::ALL.len()],
            latency: (200, 200),
            loss_ppm: 0,
            twice_ppm: 0,
            disorder: false,
            turn_max: 64,
            crash_in_turn_ppm: 0,
            disk: (100, 100),
            drift_ppm: 0,
            wire: true,
            pull_bytes: 0,
            notice: (SECOND, 0),
            sloppy: 0,
            spell_every: 0,
            spells: vec![0; Spell::ALL.len()],
            cost: (0, 0),
            repeats: 0,
            sessions: 0,
            work: 0,
            guests: 0,
            change_every: 0,
            changes: vec![0; Change::ALL.len()],
            aimed_every: 0,
            crash_at_step: 0,
            auto_join: false,
            majorities: false,
        }
    }
}

/// One of a few, each as likely.
pub(crate) fn one_of<T: Clone>(rng: &mut Pcg64, these: &[T]) -> T {
    these[rng.random_range(0..these.len())].clone()
}

/// A place in a list of weights; `None` when all are zero.
pub(crate) fn weighted(rng: &mut Pcg64, weights: &[u32]) -> Option<usize> {
    let total: u32 = weights.iter().sum();
    if total == 0 {
        return None;
    }
    let mut left = rng.random_range(0..total);
    weights.iter().position(|w| match left.checked_sub(*w) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

/// A span around `mean`, from a fifth of it to twice as long.
pub(crate) fn around(rng: &mut Pcg64, mean: u64) -> u64 {
    rng.random_range(mean / 5..=mean * 9 / 5)
}
