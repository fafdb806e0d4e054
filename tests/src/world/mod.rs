//! The simulated world: machines, a network between them, clients, faults, and one queue of what happens next.
//!
//! Everything is drawn from one seed, and everything that happens comes out of one queue, ordered by time and by the
//! order in which it was decided: one seed, one history.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`plan`] | what one seed is going to be like |
//! | [`queue`] | what happens next |
//! | [`host`], [`turn`] | a machine's life; one turn of its process |
//! | [`network`] | connections, and messages under way |
//! | [`clients`], [`journal`] | what clients do; what they had seen and were told |
//! | [`disk`] | a machine's disk, and what may be wrong with it |
//! | [`changes`] | operators, and the layouts that come of them |
//! | [`faults`], [`spells`] | what goes wrong, and what it may take; what goes wrong for a while |
//! | [`aimed`] | what goes wrong just where it hurts a change of owners most |
//! | [`trace`], [`stats`] | the history; the numbers |

pub mod aimed;
pub mod changes;
pub mod clients;
pub mod disk;
pub mod faults;
pub mod host;
pub mod journal;
pub mod network;
pub mod plan;
pub mod queue;
pub mod spells;
pub mod stats;
pub mod trace;
pub mod turn;

use bytes::Bytes;
use dynode::limits::SILENCE_MAX;
use dynode_client::wire::{Causality, Message, Operator, Quorum};
use dynode_ring::{Layout, NodeId};
use dynode_storage::seal::SealKey;
use dynode_storage::{EngineError, ObjectKey};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use aimed::{Aimed, Step};
use changes::{Layouts, card};
use clients::{Client, Terms};
use host::Host;
pub use journal::{Journal, Outcome};
use network::{Letter, Network};
use plan::{Action, MS, Plan, SECOND};
use queue::Queue;
use spells::Spells;
use stats::Stats;
pub use trace::Trace;

/// Connections from here on are clients': one for each operation.
pub(crate) const CLIENTS: u64 = 1 << 40;

/// After the faults, or the last change of owners after them, everything must be in order again within so much simulated time.
const SETTLE_WITHIN: u64 = 40 * SECOND;

/// And within so much, however many changes were still to be made.
const SETTLE_AT_LAST: u64 = 200 * SECOND;

/// What waits for so long, an operator tries to force. (It is refused where there is something to wait for.)
const FORCES_AFTER: u64 = 12 * SECOND;

/// After the faults an operation succeeds within so many tries, a second apart.
const SERVED_WITHIN_TRIES: usize = 4;

/// The copies are compared this often.
const PROBE_EVERY: u64 = 250 * MS;

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one, as the list of invariants numbers and names it.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// An invariant did not hold.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Violation {
        Violation { invariant, detail: detail.into() }
    }

    /// A node's storage failed by itself.
    // By value, so that it can be handed to `map_err` as it is.
    #[allow(clippy::needless_pass_by_value)]
    pub fn storage(e: EngineError) -> Violation {
        Violation::new("storage", e.to_string())
    }

    /// A copy, if there is one that can be opened: damage is the node's to find.
    pub fn unless_found<T>(copy: Result<Option<T>, EngineError>) -> Result<Option<T>, Violation> {
        match copy {
            Err(EngineError::Damaged { partition: Some(_), .. }) => Ok(None),
            other => other.map_err(Violation::storage),
        }
    }
}

/// What a run is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Clients are at work and things go wrong.
    Faults,
    /// All is repaired; everything must come into order.
    Quiet,
}

/// Something that happens at a time.
pub(crate) enum Happening {
    Arrive(Box<Letter>),
    Flush { connection: usize },
    Turn { host: usize, process: u32 },
    Connect { from: usize, to: usize },
    Notice { connection: usize },
    Restart { host: usize },
    Fault,
    Change,
    Operator { what: Box<Operator> },
    Aimed(Step),
    Spell,
    SpellEnds { number: u32 },
    Flap { number: u32, open: bool },
    Probe,
    ClientActs { client: usize },
    ClientAsks { op: u32, message: Box<Message>, body: Bytes },
    ClientHears { op: u32, message: Box<Message>, body: Bytes },
    ClientGivesUp { op: u32 },
}

/// A whole simulated world.
pub struct World {
    /// What this run is like.
    pub plan: Plan,
    /// Simulated time in microseconds.
    pub now: u64,
    /// What clients did.
    pub journal: Journal,
    /// What has happened.
    pub trace: Trace,
    /// How much has happened.
    pub stats: Stats,
    /// Known-wrong: effects are let out before the turn is committed.
    pub sends_first: bool,
    /// Known-wrong: a node whose disk refuses a batch goes on as if nothing were amiss.
    pub unfenced: bool,
    /// Known-wrong: whatever clients know, all their writes say this instead.
    pub says_instead: Option<Causality>,
    /// Known-wrong: puts that are asked for again do not carry the id of their request.
    pub forgets_requests: bool,
    /// Known-wrong: reads do not say what their client has seen.
    pub forgets_sessions: bool,
    /// Known-wrong: nobody hears what is said of itself, and so nobody contradicts.
    pub gossips_behind_backs: bool,
    /// Known-wrong: messages between nodes of these names never arrive.
    pub muted: Vec<&'static str>,
    pub(crate) phase: Phase,
    pub(crate) queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) clients: Vec<Client>,
    /// The newest that any node goes by.
    pub(crate) layout: Layout,
    pub(crate) layouts: Layouts,
    pub(crate) seal: SealKey,
    pub(crate) disks_lost: u64,
    pub(crate) host_rng: Pcg64,
    pub(crate) client_rng: Pcg64,
    pub(crate) fault_rng: Pcg64,
    pub(crate) terms_rng: Pcg64,
    pub(crate) values_rng: Pcg64,
    pub(crate) spells: Spells,
    pub(crate) aimed: Aimed,
}

impl World {
    /// The world of a seed.
    pub fn of_seed(seed: u64, keep_trace: bool, echo: bool) -> World {
        World::new(seed, Plan::of_seed(seed), keep_trace, echo)
    }

    /// A world with a plan of its own.
    pub fn new(seed: u64, plan: Plan, keep_trace: bool, echo: bool) -> World {
        let mut rng = stream(seed, 2);
        let ids: Vec<NodeId> = (0..plan.nodes).map(|_| NodeId(rng.random())).collect();
        let members = ids.iter().enumerate().take(plan.nodes - plan.guests).map(|(at, id)| card(at, *id)).collect();
        let layout = Layout::first(plan.partitions, plan.replicas, members).expect("a plan makes a layout");
        let hosts = ids
            .iter()
            .map(|id| {
                let drift = plan.drift_ppm;
                let rate = 1_000_000 - drift + rng.random_range(0..=2 * drift);
                Host::new(*id, rate, 1_800_000_000_000 + rng.random_range(0..1_000_000_000), plan.disk)
            })
            .collect();
        let key = |at: usize| ObjectKey::new(format!("b{}", at % plan.buckets).as_bytes(), format!("k{at}").as_bytes());
        let journal = Journal::new((0..plan.keys).map(key).collect());
        World {
            now: 0,
            journal,
            trace: Trace::new(keep_trace, echo, &ids),
            stats: Stats { seeds: 1, ..Stats::default() },
            sends_first: false,
            unfenced: false,
            says_instead: None,
            forgets_requests: false,
            forgets_sessions: false,
            gossips_behind_backs: false,
            muted: Vec::new(),
            phase: Phase::Faults,
            queue: Queue::new(),
            hosts,
            network: Network::new(plan.nodes, plan.latency, stream(seed, 3)),
            clients: (0..plan.clients).map(|_| Client::new(plan.keys)).collect(),
            layouts: Layouts::new(layout.clone(), stream(seed, 12)),
            layout,
            seal: SealKey::derive(b"a cluster's secret"),
            disks_lost: 0,
            host_rng: stream(seed, 4),
            client_rng: stream(seed, 5),
            fault_rng: stream(seed, 6),
            spells: Spells::new(stream(seed, 8)),
            terms_rng: stream(seed, 9),
            values_rng: stream(seed, 10),
            aimed: Aimed::new(stream(seed, 13)),
            plan,
        }
    }

    /// Gives the world other keys than its plan has.
    pub fn use_keys(&mut self, keys: Vec<ObjectKey>) {
        self.clients.iter_mut().for_each(|client| *client = Client::new(keys.len()));
        self.journal = Journal::new(keys);
    }

    /// Lives through the whole run: faults, repair, and then everything must be in order.
    pub fn run(&mut self) -> Result<(), Violation> {
        self.begin()?;
        self.trace.line(0, |_| String::new());
        self.run_until(self.plan.faults_until)?;
        self.repair_everything()?;
        let ended = self.now;
        // What was lost just before is noticed as silence only now.
        self.run_until(ended + SILENCE_MAX.0 * 5 / 4)?;
        self.settle_since(ended, "after the faults")?;
        self.serve_everybody()?;
        self.settle("after the last operations")?;
        self.stats.simulated = self.now;
        for host in 0..self.hosts.len() {
            let counters = self.hosts[host].node.as_ref().map(|n| n.counters().clone());
            counters.iter().for_each(|c| self.count(c));
        }
        Ok(())
    }

    /// Starts every machine and client.
    pub fn begin(&mut self) -> Result<(), Violation> {
        (0..self.hosts.len()).try_for_each(|host| self.start(host))?;
        for client in 0..self.clients.len() {
            self.queue.push(self.client_rng.random_range(0..SECOND), Happening::ClientActs { client });
        }
        self.plan_fault();
        self.plan_change();
        self.plan_aimed();
        self.plan_spell();
        self.queue.push(PROBE_EVERY, Happening::Probe);
        Ok(())
    }

    /// Lets everything happen that happens until then.
    pub fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some((at, what)) = self.queue.pop_until(end) {
            self.now = at;
            self.happen(what)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, what: Happening) -> Result<(), Violation> {
        match what {
            Happening::Arrive(letter) => self.arrive(*letter),
            Happening::Flush { connection } => self.flush(connection),
            Happening::Turn { host, process } => self.turn(host, process)?,
            Happening::Connect { from, to } => self.connect(from, to),
            Happening::Notice { connection } => self.notice(connection),
            Happening::Restart { host } => self.start(host)?,
            Happening::Fault => self.fault()?,
            Happening::Change => self.change()?,
            Happening::Operator { what } => self.operator_follows(*what),
            Happening::Aimed(step) => self.aimed(step)?,
            Happening::Spell => self.spell(),
            Happening::SpellEnds { number } => self.spell_ends(number),
            Happening::Flap { number, open } => self.flap(number, open),
            Happening::Probe => {
                self.probe()?;
                self.queue.push(self.now + PROBE_EVERY, Happening::Probe);
            }
            Happening::ClientActs { client } => self.client_acts(client)?,
            Happening::ClientAsks { op, message, body } => self.client_asks(op, *message, body),
            Happening::ClientHears { op, message, body } => self.client_hears(op, *message, &body)?,
            Happening::ClientGivesUp { op } => self.client_gives_up(op),
        }
        Ok(())
    }

    /// Ends all faults: the network heals, machines start, clients finish.
    pub fn repair_everything(&mut self) -> Result<(), Violation> {
        self.phase = Phase::Quiet;
        self.trace.line(self.now, |_| "the faults end".into());
        self.network.latency = self.plan.latency;
        self.end_spells();
        self.end_history();
        self.mend();
        for host in 0..self.hosts.len() {
            self.hosts[host].disk_time = self.plan.disk;
            self.hosts[host].paused_until = self.hosts[host].paused_until.min(self.now);
            self.start(host)?;
            self.scrub(host);
        }
        self.find_dead_ends();
        Ok(())
    }

    /// Waits until all copies are equal and nothing is left behind, and then looks closely.
    pub fn settle(&mut self, when: &str) -> Result<(), Violation> {
        self.settle_since(self.now, when)
    }

    /// As [`World::settle`], where the time has run since `began`.
    fn settle_since(&mut self, began: u64, when: &str) -> Result<(), Violation> {
        let mut forces_at = began + FORCES_AFTER;
        let (mut epoch, mut changed) = (self.layout.epoch(), began);
        loop {
            self.run_until(self.now + PROBE_EVERY)?;
            if self.changes_owners() && self.now >= forces_at {
                forces_at = self.now + FORCES_AFTER;
                self.force_what_waits();
            }
            if self.layout.epoch() != epoch {
                (epoch, changed) = (self.layout.epoch(), self.now);
            }
            let until = (changed + SETTLE_WITHIN).min(began + SETTLE_AT_LAST);
            match self.is_settled()? {
                None => break,
                Some(_) if self.now < until => {}
                Some(v) => return Err(Violation { detail: format!("{} ({when})", v.detail), ..v }),
            }
        }
        self.stats.settled(self.now - began);
        self.check_settled()
    }

    /// After the faults every operation at quorum succeeds, wherever it is asked for. What was lost just before may still
    /// open a breaker; a client asks again, and so does this.
    fn serve_everybody(&mut self) -> Result<(), Violation> {
        let terms = Terms { quorum: Quorum::Majority, strict: true, timeout_ms: 5_000 };
        for round in [Action::Get, Action::PutOver, Action::DeleteOver] {
            for key in 0..self.journal.keys.len() {
                if round == Action::DeleteOver && key % 2 == 0 {
                    continue;
                }
                let host = self.client_rng.random_range(0..self.hosts.len());
                for tries_left in (0..SERVED_WITHIN_TRIES).rev() {
                    let op = self.ask(0, host, key, round, terms);
                    let end = self.now + 10 * SECOND;
                    while self.now < end && self.journal.op(op).outcome == Outcome::Pending {
                        self.run_until(self.now + MS)?;
                    }
                    let outcome = self.journal.op(op).outcome;
                    if outcome == Outcome::Done {
                        break;
                    }
                    if tries_left == 0 || outcome == Outcome::Pending {
                        let what = format!("#{op} ({round:?}) after the faults came to {outcome:?}");
                        return Err(Violation::new("liveness", what));
                    }
                    self.run_until(self.now + SECOND)?;
                }
            }
        }
        Ok(())
    }
}

/// A stream of random numbers of its own, so that drawing more of one does not change another.
fn stream(seed: u64, which: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which << 56)
}
