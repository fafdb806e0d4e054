//! A machine: a process of dynode when it runs, its disk when it does not, its clocks; how it starts and how it ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use dynode::protocol::{Config, Durability, Event, Node, Time};
use dynode_client::wire::Causality;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::engine::Step;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::store::Past;
use dynode_storage::{Clock, Engine, EngineError, ObjectKey, Space, Store};
use rand::{Rng, RngExt};

use super::changes::card;
use super::disk::{Disk, Hand};
use super::journal::OpId;
use super::plan::{MS, SECOND};
use super::{Happening, Violation, World};

/// One machine.
pub(crate) struct Host {
    pub(crate) id: NodeId,
    /// The process, when there is one.
    pub(crate) node: Option<Box<Node<Disk>>>,
    /// The disk, while no process has it.
    disk: Option<Disk>,
    /// What is wrong with the disk.
    pub(crate) trouble: Hand,
    /// The clocks of what is on the disk, while no process has it.
    clocks: Vec<Clock>,
    /// As `clocks`, but only what a power cut would leave.
    synced: Vec<Clock>,
    /// The epoch that the process goes by, or went by last.
    pub(crate) epoch: u64,
    /// What left in good order: every owner had it.
    left: Vec<Clock>,
    /// How many processes there have been.
    pub(super) process: u32,
    /// What was synced here once, and a fault has taken: by partition.
    had: Vec<Clock>,
    /// Partitions of which a record on the disk is damaged, and nobody has noticed yet.
    pub(crate) rotten: BTreeSet<PartitionId>,
    /// Writes that others have seen may be missing on the disk.
    past: Past,
    pub(super) inbox: VecDeque<(Event, Option<OpId>)>,
    /// Clients' writes that the process has passed on, by the number under which it did: it may take one itself after all.
    pub(super) passed_on: BTreeMap<u64, (OpId, ObjectKey, Causality)>,
    /// The partitions of which the node once set a copy aside: it was too old.
    pub(crate) set_aside: BTreeSet<PartitionId>,
    /// When the next turn is due.
    pub(super) turn_at: u64,
    pub(crate) busy_until: u64,
    pub(crate) paused_until: u64,
    /// When the process started, and by how many millionths its clock runs differently.
    boot: u64,
    rate: u64,
    /// What the wall clock says beyond the simulated time, in milliseconds.
    pub(crate) wall: u64,
    pub(crate) disk_time: (u64, u64),
    /// Disk and network are so many times slower than they were.
    pub(crate) crawl: u64,
    pub(crate) backup: Option<Backup>,
}

/// What was on a disk at some time.
#[derive(Clone)]
pub(crate) struct Backup {
    disk: MemoryEngine,
    pub(crate) clocks: Vec<Clock>,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Killed: what it has written stays.
    Kill,
    /// Without power: everything that was not synced is gone.
    PowerCut,
    /// Without power: the disk had got round to a beginning of what was not synced, of any length; the rest is gone.
    LatePowerCut,
}

impl Host {
    pub(crate) fn new(id: NodeId, rate: u64, wall: u64, disk_time: (u64, u64)) -> Host {
        let trouble = Hand::default();
        Host {
            id,
            node: None,
            disk: Some(Disk::new(&trouble)),
            trouble,
            clocks: Vec::new(),
            synced: Vec::new(),
            had: Vec::new(),
            rotten: BTreeSet::new(),
            epoch: 0,
            left: Vec::new(),
            process: 0,
            past: Past::Whole,
            inbox: VecDeque::new(),
            passed_on: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            turn_at: u64::MAX,
            busy_until: 0,
            paused_until: 0,
            boot: 0,
            rate,
            wall,
            disk_time,
            crawl: 1,
            backup: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// What the node's own clock says.
    pub(super) fn local(&self, now: u64) -> Time {
        Time((now - self.boot) * self.rate / 1_000_000)
    }

    /// When the node's own clock will say so.
    pub(super) fn global(&self, local: Time) -> u64 {
        self.boot + (local.0 * 1_000_000).div_ceil(self.rate)
    }

    /// The clock of the host's copy: what it contains, or only what a power cut would leave of it.
    pub(crate) fn clock(&mut self, partition: PartitionId, durable: bool) -> Clock {
        match &mut self.node {
            Some(node) => match node.store().find(partition) {
                Ok(Some(copy)) if durable => copy.told().clone(),
                Ok(Some(copy)) => copy.clock().clone(),
                _ => Clock::new(),
            },
            None => {
                let clocks = if durable { &self.synced } else { &self.clocks };
                clocks.get(usize::from(partition.0)).cloned().unwrap_or_default()
            }
        }
    }

    /// The lives that the process refuses in a partition; none where no process runs.
    pub(crate) fn refused(&mut self, partition: PartitionId) -> &[(NodeId, u64)] {
        self.node.as_mut().map_or(&[], |node| node.store().refused(partition))
    }

    /// What the disk held when no process had it last.
    pub(super) fn clock_at_start(&self, partition: PartitionId) -> Clock {
        self.clocks.get(usize::from(partition.0)).cloned().unwrap_or_default()
    }

    /// A fault takes what was synced here.
    pub(crate) fn remember(&mut self, lost: &[Clock]) {
        self.had.resize(self.had.len().max(lost.len()), Clock::new());
        self.had.iter_mut().zip(lost).for_each(|(had, lost)| had.merge(lost));
    }

    /// What the disk held when the process started is of no interest any more.
    pub(crate) fn forget_clocks(&mut self) {
        self.clocks.clear();
    }

    /// A copy has left in good order.
    pub(crate) fn has_left(&mut self, partition: PartitionId, clock: &Clock) {
        let place = usize::from(partition.0);
        self.left.resize(self.left.len().max(place + 1), Clock::new());
        self.left[place].merge(clock);
    }

    /// As [`Host::ever_synced`], with what has left in good order.
    pub(crate) fn ever_here(&mut self, partition: PartitionId) -> Clock {
        let mut clock = self.ever_synced(partition);
        self.left.get(usize::from(partition.0)).iter().for_each(|left| clock.merge(left));
        clock
    }

    /// The power has gone.
    fn loses_unsynced(&mut self, durability: Durability) {
        if durability != Durability::Group && self.past == Past::Whole {
            self.past = Past::Unsynced;
        }
    }

    /// What was synced here at any time, whether a fault has taken it since or not.
    pub(crate) fn ever_synced(&mut self, partition: PartitionId) -> Clock {
        let mut clock = self.clock(partition, true);
        self.had.get(usize::from(partition.0)).iter().for_each(|had| clock.merge(had));
        clock
    }
}

impl End {
    fn cuts_power(self) -> bool {
        self != End::Kill
    }

    /// Takes from the disk what it takes.
    fn take(self, disk: &mut Disk, rng: &mut impl Rng) {
        match self {
            End::Kill => {}
            End::PowerCut => disk.lose_unsynced(),
            End::LatePowerCut => disk.cut_power(rng.random_range(0..=disk.unsynced_batches())),
        }
    }
}

impl World {
    /// Starts the process of a machine on what its disk holds.
    pub(crate) fn start(&mut self, at: usize) -> Result<(), Violation> {
        let is_off = self.stays_off(at);
        let host = &mut self.hosts[at];
        if host.trouble.get().is_some() || is_off {
            // It would not get far. Somebody has to see to the disk first.
            self.queue.push(self.now + SECOND, Happening::Restart { host: at });
            return Ok(());
        }
        let Some(disk) = host.disk.take() else { return Ok(()) };
        host.process += 1;
        host.boot = self.now;
        host.busy_until = self.now;
        let first_life = (host.wall + self.now / MS) << 20 | self.host_rng.random_range(0..1 << 20);
        let past = std::mem::replace(&mut host.past, Past::Whole);
        let store = Store::open(disk, host.id, first_life, past).map_err(Violation::storage)?;
        let config = Config {
            node: host.id,
            name: format!("n{at}"),
            cluster: [7; 16],
            layout: self.layouts.first.clone(),
            durability: self.plan.durability,
            seal: self.seal.clone(),
            index_entries_max: self.plan.index_entries_max,
            operations_max: self.plan.operations_max,
            hint_bytes_max: self.plan.hint_bytes_max,
            incarnation: first_life >> 20,
        };
        let mut node = Node::new(config, store, self.host_rng.next_u64(), Time(0)).map_err(Violation::storage)?;
        node.introduce_as(card(at, host.id), self.plan.auto_join);
        host.turn_at = u64::MAX;
        let wake = host.global(node.next_wake());
        self.look_at_layout(at, &node)?;
        self.hosts[at].node = Some(Box::new(node));
        self.trace.line(self.now, |_| format!("n{at} starts"));
        self.plan_turn(at, wake);
        self.call_peers(at);
        Ok(())
    }

    /// Ends a process. What it had not committed is gone; what it had not synced, if the power went.
    pub(crate) fn crash(&mut self, at: usize, end: End) -> Result<(), Violation> {
        let host = &mut self.hosts[at];
        let Some(mut node) = host.node.take() else {
            // The process is gone already; the power may still go.
            if let (Some(disk), true) = (&mut host.disk, end.cuts_power()) {
                let before = host.clocks.clone();
                end.take(disk, &mut self.host_rng);
                host.loses_unsynced(self.plan.durability);
                self.reread_disk(at)?;
                self.take_by_power(&before)?;
            }
            return Ok(());
        };
        self.trace.line(self.now, |_| format!("n{at} ends: {end:?}"));
        let partitions: Vec<PartitionId> = self.layout.partition_ids().collect();
        let before: Vec<Clock> = partitions
            .iter()
            .map(|p| node.store().find(*p).ok().flatten().map_or_else(Clock::new, |c| c.clock().clone()))
            .collect();
        let told: Vec<Clock> = partitions
            .iter()
            .map(|p| node.store().find(*p).ok().flatten().map_or_else(Clock::new, |c| c.told().clone()))
            .collect();
        let counters = node.counters().clone();
        let mut disk = node.into_engine();
        end.take(&mut disk, &mut self.host_rng);
        if end.cuts_power() {
            host.loses_unsynced(self.plan.durability);
        }
        host.disk = Some(disk);
        host.inbox.clear();
        host.passed_on.clear();
        host.paused_until = 0;
        self.count(&counters);
        self.reread_disk(at)?;
        self.check_told(at, &told)?;
        self.take_by_power(&before)?;
        self.hang_up(at);
        self.clients_lose(at);
        Ok(())
    }

    fn take_by_power(&mut self, before: &[Clock]) -> Result<(), Violation> {
        match self.plan.durability {
            Durability::Group => self.take_unsaid(before),
            _ => {
                self.take(before);
                Ok(())
            }
        }
    }

    /// The disk of a machine is lost; a new one is put in.
    pub(crate) fn lose_disk(&mut self, at: usize) -> Result<(), Violation> {
        self.crash(at, End::PowerCut)?;
        self.trace.line(self.now, |_| format!("n{at} has lost its disk"));
        self.layouts.forgetful.insert(at);
        let host = &mut self.hosts[at];
        let before = std::mem::take(&mut host.clocks);
        host.synced.clear();
        host.remember(&before);
        host.trouble.mend();
        host.rotten.clear();
        host.disk = Some(Disk::new(&host.trouble));
        host.past = Past::Whole;
        self.disks_lost += 1;
        self.take(&before);
        Ok(())
    }

    /// A process has met with a disk that does not do its work: it ends without another word, and comes back once the
    /// disk is in order.
    pub(crate) fn fence(&mut self, at: usize, why: &EngineError) -> Result<(), Violation> {
        if self.hosts[at].trouble.get().is_none() {
            return Err(Violation::new("storage", why.to_string()));
        }
        self.trace.line(self.now, |_| format!("n{at} is fenced: {why}"));
        // What was written and not synced may be gone although the machine has power.
        let end = if self.spells.rng.random_bool(0.5) { End::Kill } else { End::PowerCut };
        self.crash(at, end)?;
        self.queue.push(self.now + SECOND, Happening::Restart { host: at });
        Ok(())
    }

    /// Has a node read all that it holds, to find what is damaged.
    pub(crate) fn scrub(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        // What was overwritten or has left meanwhile is sound again.
        let hand = host.trouble.clone();
        host.rotten.retain(|partition| hand.is_rotten(*partition));
        let local = host.local(self.now);
        if let Some(node) = host.node.as_mut().filter(|_| !host.rotten.is_empty()) {
            node.begin_scrub(local);
        }
    }

    /// What a machine's disk holds of one partition is lost, and nothing else of it.
    pub(crate) fn lose_partition(&mut self, at: usize, partition: PartitionId) -> Result<(), Violation> {
        self.crash(at, End::Kill)?;
        self.trace.line(self.now, |_| format!("n{at} has lost what it had of p{partition}"));
        let host = &mut self.hosts[at];
        let before = host.clocks.clone();
        host.remember(&before);
        if let Some(disk) = &mut host.disk {
            let (from, to) = (partition.0.to_be_bytes(), (partition.0 + 1).to_be_bytes());
            let range = |space| Step::DeleteRange(space, Bytes::copy_from_slice(&from), Bytes::copy_from_slice(&to));
            let steps = [range(Space::Objects), range(Space::Index), range(Space::Clocks)];
            disk.write(&steps, true).map_err(Violation::storage)?;
        }
        self.disks_lost += 1;
        self.reread_disk(at)?;
        self.take(&before);
        Ok(())
    }

    /// Ends a process in good order.
    pub(crate) fn stop(&mut self, at: usize) -> Result<(), Violation> {
        let host = &mut self.hosts[at];
        let Some(node) = host.node.take() else { return Ok(()) };
        if host.trouble.get().is_some() {
            host.node = Some(node);
            return self.crash(at, End::Kill); // it cannot write its last words
        }
        self.trace.line(self.now, |_| format!("n{at} stops"));
        let counters = node.counters().clone();
        host.disk = Some(node.close().map_err(Violation::storage)?);
        host.inbox.clear();
        host.passed_on.clear();
        host.paused_until = 0;
        self.count(&counters);
        self.reread_disk(at)?;
        self.hang_up(at);
        self.clients_lose(at);
        Ok(())
    }

    /// Puts aside what a power cut would leave of a machine's disk now.
    pub(crate) fn back_up(&mut self, at: usize) -> Result<(), Violation> {
        let host = &mut self.hosts[at];
        let disk = match (&mut host.node, &host.disk) {
            (Some(node), _) => Some(node.store().engine().image()),
            (None, disk) => disk.as_ref().map(Disk::image),
        };
        if let Some(mut disk) = disk {
            disk.lose_unsynced();
            let clocks = self.clocks_on(at, &disk)?;
            self.hosts[at].backup = Some(Backup { disk, clocks });
        }
        Ok(())
    }

    /// Puts a backup in place of a machine's disk.
    pub(crate) fn restore(&mut self, at: usize, backup: Backup) -> Result<(), Violation> {
        self.crash(at, End::PowerCut)?;
        self.trace.line(self.now, |_| format!("n{at} gets an old backup"));
        self.layouts.forgetful.insert(at);
        let host = &mut self.hosts[at];
        host.synced.clone_from(&backup.clocks);
        let before = std::mem::replace(&mut host.clocks, backup.clocks);
        host.remember(&before);
        host.trouble.mend();
        host.rotten.clear();
        (host.disk, host.past) = (Some(Disk::with(backup.disk, &host.trouble)), Past::MayLack);
        self.disks_lost += 1;
        self.take(&before);
        Ok(())
    }

    /// Looks up what is on a disk that no process has.
    fn reread_disk(&mut self, at: usize) -> Result<(), Violation> {
        let Some(disk) = self.hosts[at].disk.as_ref().map(Disk::image) else { return Ok(()) };
        self.hosts[at].clocks = self.clocks_on(at, &disk)?;
        let mut synced = disk;
        let all_is = synced.unsynced_batches() == 0;
        synced.lose_unsynced();
        self.hosts[at].synced = if all_is { self.hosts[at].clocks.clone() } else { self.clocks_on(at, &synced)? };
        Ok(())
    }

    fn clocks_on(&self, at: usize, disk: &MemoryEngine) -> Result<Vec<Clock>, Violation> {
        let store = Store::open(disk.clone(), self.hosts[at].id, 1, Past::Whole);
        let mut store = store.map_err(Violation::storage)?;
        self.layout
            .partition_ids()
            .map(|p| Ok(Violation::unless_found(store.find(p))?.map_or_else(Clock::new, |c| c.clock().clone())))
            .collect()
    }
}
