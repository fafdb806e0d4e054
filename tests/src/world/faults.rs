//! What goes wrong, and what a fault may take: a disk is lost only where every promised write is synced elsewhere too.

use dynode::protocol::Durability;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::lives::life_of;
use dynode_storage::{Clock, Dot};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::host::{End, Host};
use super::journal::OpId;
use super::plan::{Fault, MS, SECOND, around, weighted};
use super::{Happening, Outcome, Phase, Violation, World};

/// Copies that must have a write synced, in the modes that acknowledge before they sync, until it counts as promised.
const PROMISED_ON: usize = 2;

impl World {
    /// When the next fault comes.
    pub(crate) fn plan_fault(&mut self) {
        if self.plan.fault_every > 0 && self.plan.faults.iter().any(|w| *w > 0) {
            let at = self.now + around(&mut self.fault_rng, self.plan.fault_every);
            self.queue.push(at, Happening::Fault);
        }
    }

    pub(crate) fn fault(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        if let Some(which) = weighted(&mut self.fault_rng, &self.plan.faults) {
            let (fault, name, _) = Fault::ALL[which];
            if self.inject(fault)? {
                self.stats.fault(name);
            }
        }
        self.plan_fault();
        Ok(())
    }

    /// Before anything is lost: what must not be?
    fn crash_by_fault(&mut self, host: usize, end: End) -> Result<(), Violation> {
        self.note_promises();
        self.crash(host, end)?;
        self.restart_later(host);
        Ok(())
    }

    /// Lets something go wrong; false if the circumstances do not allow it.
    fn inject(&mut self, fault: Fault) -> Result<bool, Violation> {
        let nodes = self.plan.nodes;
        let at = self.fault_rng.random_range(0..nodes);
        let other = (at + self.fault_rng.random_range(0..nodes)) % nodes;
        let now = self.now;
        match fault {
            Fault::Kill | Fault::PowerCut => {
                let end = if fault == Fault::Kill { End::Kill } else { End::LatePowerCut };
                self.crash_by_fault(at, end)?;
            }
            Fault::Blackout => {
                for host in 0..nodes {
                    self.crash_by_fault(host, End::LatePowerCut)?;
                }
            }
            Fault::DiskLost => {
                if !self.is_spare(at, &[]) {
                    return Ok(false);
                }
                self.lose_disk(at)?;
                self.restart_later(at);
            }
            Fault::Stop => {
                self.stop(at)?;
                self.restart_later(at);
            }
            Fault::BackUp => self.back_up(at)?,
            Fault::OldBackup => {
                let Some(backup) = self.hosts[at].backup.clone() else { return Ok(false) };
                if !self.is_spare(at, &backup.clocks) {
                    return Ok(false);
                }
                self.restore(at, backup)?;
                self.restart_later(at);
            }
            Fault::Pause => {
                let span = self.fault_rng.random_range(10 * MS..5 * SECOND);
                self.hosts[at].paused_until = now + span;
            }
            Fault::Split => {
                let mut order: Vec<usize> = (0..nodes).collect();
                order.shuffle(&mut self.fault_rng);
                let (left, right) = order.split_at(self.fault_rng.random_range(0..=nodes / 2));
                for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))).collect::<Vec<_>>() {
                    self.cut(a, b);
                    self.cut(b, a);
                }
                self.trace.line(now, |_| "the network splits".into());
            }
            Fault::OneWay => {
                self.cut(at, other);
                self.trace.line(now, |_| format!("nothing gets from n{at} to n{other}"));
            }
            Fault::Isolate => {
                for peer in 0..nodes {
                    self.cut(at, peer);
                    self.cut(peer, at);
                }
                self.trace.line(now, |_| format!("n{at} is cut off"));
            }
            Fault::Heal => {
                self.mend();
                self.trace.line(now, |_| "the network is whole".into());
            }
            Fault::Reset => {
                self.trace.line(now, |_| format!("reset between n{at} and n{other}"));
                self.reset(at, other);
            }
            Fault::ClockStep => {
                let wall = &mut self.hosts[at].wall;
                let step = self.fault_rng.random_range(0..10_000_000);
                *wall = if self.fault_rng.random_bool(0.5) { *wall + step } else { wall.saturating_sub(step) };
            }
            Fault::SlowDisk => {
                let (least, most) = self.plan.disk;
                let factor = self.fault_rng.random_range(1..30);
                self.hosts[at].disk_time = (least * factor, most * factor);
            }
            Fault::SlowNetwork => {
                let (least, most) = self.plan.latency;
                let factor = self.fault_rng.random_range(1..10);
                self.network.latency = (least * factor, most * factor);
            }
        }
        Ok(true)
    }

    /// A process that has ended comes back after a while.
    pub(crate) fn restart_later(&mut self, host: usize) {
        let most = if self.fault_rng.random_range(0..4) == 0 { 20 * SECOND } else { SECOND };
        let at = self.now + self.fault_rng.random_range(50 * MS..most);
        self.queue.push(at, Happening::Restart { host });
    }

    /// Is every promised write that this machine has synced on another disk too, or kept by the machine in spite of all?
    pub(crate) fn is_spare(&mut self, at: usize, kept: &[Clock]) -> bool {
        self.has_no_dear_write(at, kept) && self.may_forget(at)
    }

    fn has_no_dear_write(&mut self, at: usize, kept: &[Clock]) -> bool {
        let mut durable = self.note_promises();
        // What cannot be read is no spare copy.
        for (host, clocks) in self.hosts.iter().zip(&mut durable) {
            host.rotten.iter().for_each(|p| clocks[usize::from(p.0)] = Clock::new());
        }
        // A copy that is older than the closing of a life that it holds is none either.
        let closed: Vec<Clock> = (0..durable[0].len())
            .map(|place| {
                let mut all = Clock::new();
                let closings = durable.iter().flat_map(|clocks| clocks[place].closed());
                closings.for_each(|(node, life)| all.close(*node, *life));
                all
            })
            .collect();
        let is_old = |place: usize, clock: &Clock, refused: &[(NodeId, u64)]| {
            closed[place].closed().iter().any(|(node, life)| {
                let knows = clock.closed_below(*node).max(life_of(refused, *node));
                knows < *life && !clock.of_lives_below(*node, *life).is_empty()
            })
        };
        for (host, clocks) in self.hosts.iter_mut().zip(&mut durable) {
            for (place, clock) in clocks.iter_mut().enumerate() {
                if is_old(place, clock, host.refused(PartitionId(place as u16))) {
                    *clock = Clock::new();
                }
            }
        }
        // What every owner has had, under any layout that a node may go by yet, may leave those that hold it for them at any
        // moment.
        let had: Vec<Vec<Clock>> = self
            .hosts
            .iter_mut()
            .map(|host| (0..durable[0].len()).map(|place| host.ever_here(PartitionId(place as u16))).collect())
            .collect();
        let may_leave = |host: usize, place: usize, dot| {
            let partition = PartitionId(place as u16);
            self.layouts.since(self.hosts[host].epoch).any(|layout| {
                let has = |owner: &Host, had: &[Clock]| !layout.owns(owner.id, partition) || had[place].has(dot);
                !layout.owns(self.hosts[host].id, partition)
                    && self.hosts.iter().zip(&had).all(|(owner, had)| has(owner, had))
            })
        };
        self.journal.writes().filter(|(op, _)| !op.taken).all(|(op, dot)| {
            let place = usize::from(self.journal.keys[op.key].partition(self.layout.partitions()).0);
            // A write on its way to being acknowledged is not taken either: the client may hear of it yet.
            let is_dear = op.promised || op.outcome == Outcome::Pending;
            let elsewhere = || {
                let mut others =
                    durable.iter().enumerate().filter(|(host, clocks)| *host != at && clocks[place].has(dot));
                others.any(|(host, _)| !may_leave(host, place, dot))
            };
            let is_kept = || kept.get(place).is_some_and(|clock| clock.has(dot) && !is_old(place, clock, &[]));
            !is_dear || !durable[at][place].has(dot) || elsewhere() || is_kept()
        })
    }

    /// Writes down which writes are promised by now: those that were acknowledged as synced, and those that were ever
    /// synced on two disks. Returns what every disk holds, by host and partition.
    pub(crate) fn note_promises(&mut self) -> Vec<Vec<Clock>> {
        let partitions: Vec<PartitionId> = self.layout.partition_ids().collect();
        let durable: Vec<Vec<Clock>> =
            self.hosts.iter_mut().map(|h| partitions.iter().map(|p| h.clock(*p, true)).collect()).collect();
        let is_group = self.plan.durability == Durability::Group;
        for op in self.journal.ops.iter_mut().filter(|op| !op.promised) {
            let Some(dot) = op.dot else { continue };
            let place = usize::from(self.journal.keys[op.key].partition(self.layout.partitions()).0);
            let synced_on = durable.iter().filter(|clocks| clocks[place].has(dot)).count();
            op.promised = (is_group && op.outcome == Outcome::Done) || synced_on >= PROMISED_ON;
        }
        durable
    }

    /// A fault has taken content of a machine: `before` had what is not there now. A write that nobody has any more need
    /// not be found again.
    pub(crate) fn take(&mut self, before: &[Clock]) {
        for (id, dot) in self.gone(before) {
            self.journal.op_mut(id).taken = true;
            self.trace.line(self.now, |t| format!("   #{id} ({}) is nowhere any more", t.dot(dot)));
        }
    }

    /// As [`World::take`], where the machine syncs before it sends and has its disk still: what is gone is of a turn that
    /// was cut short after a part of it was written. Nobody has heard of it, and its dots may be given out again.
    pub(crate) fn take_unsaid(&mut self, before: &[Clock]) -> Result<(), Violation> {
        for (id, dot) in self.gone(before) {
            let op = self.journal.op_mut(id);
            if op.outcome == Outcome::Done {
                let what = format!("#{id} was acknowledged, and a power cut has taken it");
                return Err(Violation::new("1 no acknowledged write is lost", what));
            }
            (op.dot, op.void) = (None, true);
            self.journal.by_dot.remove(&dot);
        }
        Ok(())
    }

    /// The writes that a machine had, has no more, and nobody else has.
    pub(crate) fn gone(&mut self, before: &[Clock]) -> Vec<(OpId, Dot)> {
        let mut gone = Vec::new();
        for (op, dot) in self.journal.writes().filter(|(op, _)| !op.taken) {
            let partition = self.journal.keys[op.key].partition(self.layout.partitions());
            let had = before.get(usize::from(partition.0)).is_some_and(|clock| clock.has(dot));
            if had && !self.hosts.iter_mut().any(|host| host.clock(partition, false).has(dot)) {
                gone.push((op.id, dot));
            }
        }
        gone
    }
}
