//! Reading everything now and then, to find damage before a second copy of the same is lost.
//!
//! A pass goes through all copies of the node, one after the other, each from one snapshot, in slices between which the
//! node does its work. It reads what the engine's checksums vouch for, and compares what it reads with what the copy says
//! of itself. Passes begin by themselves, or when asked for; a copy that differs from another with an equal clock is read
//! at once.

use std::collections::{BTreeSet, VecDeque};

use dynode_ring::PartitionId;
use dynode_storage::scrub::{Check, Read};
use dynode_storage::{Engine, EngineError};
use serde_json::{Value, json};

use super::{Effects, Micros, Node, Observation, Time};
use crate::limits;

/// How often, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubRate {
    /// A pass begins so long after the last one ended; `None`: only when asked for.
    pub every: Option<Micros>,
    /// Bytes a second of a pass that began by itself. What was asked for is read as fast as slices come.
    pub bytes_per_s: u64,
}

impl Default for ScrubRate {
    fn default() -> ScrubRate {
        ScrubRate { every: Some(limits::SCRUB_EVERY), bytes_per_s: limits::SCRUB_BYTES_PER_S }
    }
}

/// What the scrub is at.
pub(super) struct ScrubState<E: Engine> {
    rate: ScrubRate,
    /// The copy that is being read.
    check: Option<Check<E::Snapshot>>,
    /// Copies that differ from others: before all else.
    soon: BTreeSet<PartitionId>,
    pass: Option<Pass>,
    last: Option<Pass>,
    next_pass: Option<Time>,
    last_slice: Time,
    passes: u64,
}

/// A pass over all copies.
struct Pass {
    asked_for: bool,
    began: Time,
    ended: Time,
    to_come: VecDeque<PartitionId>,
    partitions: usize,
    read: Read,
    copies: u64,
    damaged: u64,
}

impl<E: Engine> ScrubState<E> {
    pub(super) fn new(now: Time) -> ScrubState<E> {
        let rate = ScrubRate::default();
        ScrubState {
            rate,
            check: None,
            soon: BTreeSet::new(),
            pass: None,
            last: None,
            next_pass: Some(now + limits::SCRUB_FIRST),
            last_slice: now,
            passes: 0,
        }
    }

    /// The copy is gone: what was read of it says nothing.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.soon.remove(&partition);
        if self.check.as_ref().is_some_and(|check| check.partition() == partition) {
            self.check = None;
        }
    }

    /// Has a copy read before all else.
    pub(super) fn soon(&mut self, partition: PartitionId) {
        if self.check.as_ref().is_none_or(|check| check.partition() != partition) {
            self.soon.insert(partition);
        }
    }

    /// Is the copy to be read before all else?
    pub(super) fn is_in_doubt(&self, partition: PartitionId) -> bool {
        self.soon.contains(&partition)
    }

    /// Copies still to be read, for checks of bounds.
    pub(super) fn len(&self) -> usize {
        self.soon.len() + self.pass.as_ref().map_or(0, |pass| pass.to_come.len())
    }
}

impl<E: Engine> Node<E> {
    /// Says how often and how fast everything is read.
    pub fn set_scrub_rate(&mut self, now: Time, rate: ScrubRate) {
        self.scrub.rate = rate;
        self.scrub.next_pass = rate.every.map(|every| now + every.min(limits::SCRUB_FIRST));
    }

    /// Begins a pass over all copies, as fast as slices come. One that runs already is hurried instead.
    pub fn begin_scrub(&mut self, now: Time) {
        match &mut self.scrub.pass {
            Some(pass) => pass.asked_for = true,
            None => self.begin_pass(now, true),
        }
    }

    fn begin_pass(&mut self, now: Time, asked_for: bool) {
        let to_come: VecDeque<PartitionId> = self.config.layout.partition_ids().collect();
        let partitions = to_come.len();
        let (read, copies, damaged) = (Read::default(), 0, 0);
        self.scrub.pass = Some(Pass { asked_for, began: now, ended: now, to_come, partitions, read, copies, damaged });
    }

    /// Reads a slice, where one is due.
    pub(super) fn scrub(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        if self.scrub.pass.is_none() && self.scrub.next_pass.is_some_and(|at| at <= now) {
            self.begin_pass(now, false);
        }
        let waited = (now - self.scrub.last_slice).0;
        self.scrub.last_slice = now;
        let hurry = !self.scrub.soon.is_empty() || self.scrub.pass.as_ref().is_none_or(|pass| pass.asked_for);
        let paced = self.scrub.rate.bytes_per_s.saturating_mul(waited) / 1_000_000;
        let mut bytes = if hurry { limits::SCRUB_SLICE_BYTES } else { paced.clamp(1, limits::SCRUB_SLICE_BYTES) };
        let mut records = limits::SCRUB_SLICE_RECORDS;
        for _ in 0..limits::SCRUB_SLICE_COPIES {
            if bytes == 0 || records == 0 {
                return Ok(());
            }
            let Some(mut check) = self.next_check()? else { return self.end_pass(now, out) };
            let before = check.read();
            let partition = check.partition();
            let done = match check.slice(records, bytes) {
                Ok(done) => done,
                Err(why) => {
                    if let Some(pass) = &mut self.scrub.pass {
                        pass.damaged += 1;
                    }
                    return Err(why);
                }
            };
            let read = check.read();
            bytes = bytes.saturating_sub(read.bytes - before.bytes);
            records = records.saturating_sub(read.records - before.records);
            self.counters.scrub_bytes += read.bytes - before.bytes;
            if let Some(pass) = &mut self.scrub.pass {
                pass.read.bytes += read.bytes - before.bytes;
                pass.read.records += read.records - before.records;
                pass.copies += u64::from(done);
            }
            match done {
                true => self.differences.is_sound(partition, check.content()),
                false => self.scrub.check = Some(check),
            }
        }
        Ok(())
    }

    /// The copy to read on; `None`: all were read.
    fn next_check(&mut self) -> Result<Option<Check<E::Snapshot>>, EngineError> {
        if let Some(check) = self.scrub.check.take() {
            return Ok(Some(check));
        }
        loop {
            let next = match self.scrub.soon.pop_first() {
                Some(partition) => Some(partition),
                None => self.scrub.pass.as_mut().and_then(|pass| pass.to_come.pop_front()),
            };
            let Some(partition) = next else { return Ok(None) };
            if let Some(check) = self.store.check(partition)? {
                return Ok(Some(check));
            }
        }
    }

    fn end_pass(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        let Some(mut pass) = self.scrub.pass.take() else { return Ok(()) };
        pass.ended = now;
        self.scrub.passes += 1;
        self.scrub.next_pass = self.scrub.rate.every.map(|every| now + every);
        let (copies, bytes, damaged) = (pass.copies, pass.read.bytes, pass.damaged);
        out.observe(Observation::Scrubbed { copies, bytes, damaged });
        self.scrub.last = Some(pass);
        Ok(())
    }

    pub(super) fn scrub_report(&self, now: Time) -> Value {
        let seconds = |span: Micros| span.0 / 1_000_000;
        let read = |pass: &Pass| {
            json!({
                "copies": pass.copies,
                "records": pass.read.records,
                "bytes": pass.read.bytes,
                "damaged": pass.damaged,
            })
        };
        let running = self.scrub.pass.as_ref().map(|pass| {
            let mut report = read(pass);
            report["partitions"] = json!(pass.partitions);
            report["partitions_done"] = json!(pass.partitions - pass.to_come.len());
            report["seconds"] = json!(seconds(now - pass.began));
            report
        });
        let last = self.scrub.last.as_ref().map(|pass| {
            let mut report = read(pass);
            report["seconds"] = json!(seconds(pass.ended - pass.began));
            report["seconds_ago"] = json!(seconds(now - pass.ended));
            report
        });
        let next = self.scrub.next_pass.filter(|_| self.scrub.pass.is_none()).map(|at| seconds(at - now));
        json!({ "running": running, "last": last, "passes": self.scrub.passes, "next_in_seconds": next })
    }
}
