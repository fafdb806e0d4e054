//! The writers of an audit: each writes, notes what it was told, and goes on, whatever happens to the nodes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tokio::task::LocalSet;

use super::journal::{Fate, Journal, Kind, Read, Write};
use super::value;
use super::{Id, Run};
use crate::clock::Clock;
use crate::run::lane::Limits;
use crate::target::{Changed, Failed, Over, Target, Written};

/// Pause of a writer after an error: a node that is down is not to be asked a million times.
const PAUSE: Duration = Duration::from_millis(10);

/// Writes that one audit makes at most, and reads that it keeps: what the journal holds takes about 100 bytes of memory each.
pub const WRITES_MAX: usize = 20_000_000;

/// Of a hundred writes, so many go over what a read saw...
const OVER_PERCENT: u32 = 60;
/// ...and so many are blind; the rest follow the writer's own last one. Fewer blind ones than merging ones, as the
/// number of siblings has a limit.
const BLIND_PERCENT: u32 = 20;

/// What the writers do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The audit.
    pub run: Run,
    /// How many write at the same time.
    pub writers: u32,
    /// Bytes of a value at least.
    pub value_size: usize,
    /// Writes a second, all together; `None`: as many as it takes.
    pub rate: Option<f64>,
    /// Where chance begins.
    pub seed: u64,
}

/// What is going on, for a progress line.
#[derive(Debug, Default)]
pub struct Tally {
    /// Writes by fate.
    pub acknowledged: Cell<u64>,
    /// The outcome is unknown.
    pub unknown: Cell<u64>,
    /// They failed.
    pub failed: Cell<u64>,
    /// Reads before a write that gave an error.
    pub reads_failed: Cell<u64>,
}

struct Desk<T, C> {
    target: T,
    clock: C,
    plan: Plan,
    limits: Rc<Limits>,
    journal: RefCell<Journal>,
    tally: Rc<Tally>,
}

/// Lets the writers write until the limits say stop, and fills the journal.
pub async fn write<T: Target, C: Clock>(
    target: T,
    clock: C,
    plan: Plan,
    limits: Rc<Limits>,
    journal: Journal,
    tally: Rc<Tally>,
) -> Journal {
    let local = LocalSet::new();
    let writers = plan.writers;
    let desk = Rc::new(Desk { target, clock, plan, limits, journal: RefCell::new(journal), tally });
    let tasks: Vec<_> = (0..writers).map(|number| local.spawn_local(writer(desk.clone(), number))).collect();
    local
        .run_until(async {
            for task in tasks {
                if let Err(e) = task.await
                    && let Ok(panic) = e.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
        })
        .await;
    let empty = Journal::new(desk.plan.run.clone(), "", 0);
    desk.journal.replace(empty)
}

async fn writer<T: Target, C: Clock>(desk: Rc<Desk<T, C>>, number: u32) {
    let plan = &desk.plan;
    let mut rng = Pcg64::seed_from_u64(plan.seed ^ u64::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let gap = plan.rate.map(|rate| Duration::from_secs_f64(f64::from(plan.writers) / rate));
    let mut own: Option<(u32, Id, T::Context)> = None;
    let mut next = Id { writer: number, number: 1 };
    while desk.limits.may_start(desk.clock.now()) && desk.journal.borrow().writes.len() < WRITES_MAX {
        if let Some(gap) = gap {
            // At random, twice the gap at most: writers do not march in step.
            tokio::time::sleep(gap.mul_f64(2.0 * rng.random::<f64>())).await;
        }
        let chance = rng.random_range(0..100);
        let random_key = rng.random_range(0..plan.run.keys);
        let (kind, key, seen, over) = if chance < OVER_PERCENT {
            match desk.read(random_key).await {
                Ok((seen, context)) => (Kind::Over, random_key, seen, Over::Seen(context)),
                Err(_) => {
                    desk.tally.reads_failed.set(desk.tally.reads_failed.get() + 1);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
        } else if let Some((key, id, context)) = own.take().filter(|_| chance >= OVER_PERCENT + BLIND_PERCENT) {
            (Kind::Follow, key, vec![id], Over::Seen(context))
        } else {
            (Kind::Blind, random_key, Vec::new(), Over::Nothing)
        };
        let id = next;
        next.number += 1;
        let bytes = value::encode(&plan.run, key, id, &seen, plan.value_size);
        let outcome = desk.target.put(plan.run.key(key), bytes, over).await;
        let failed = outcome.is_err();
        desk.note(id, key, kind, seen, &outcome);
        own = outcome.ok().map(|written| (key, id, written.context));
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl<T: Target, C: Clock> Desk<T, C> {
    async fn read(&self, key: u32) -> Result<(Vec<Id>, T::Context), Failed> {
        let began = self.clock.now();
        let found = self.target.get(self.plan.run.key(key)).await?;
        let mut seen = Vec::with_capacity(found.values.len());
        for bytes in &found.values {
            match value::decode(&self.plan.run, key, bytes) {
                Ok(value) => seen.push(value.id),
                Err(why) => self.journal.borrow_mut().strange.push((key, why)),
            }
        }
        let mut journal = self.journal.borrow_mut();
        if journal.is_strict && journal.reads.len() < WRITES_MAX {
            journal.reads.push(Read { key, began, ended: self.clock.now(), values: seen.clone().into_boxed_slice() });
        }
        Ok((seen, found.context))
    }

    fn note(&self, id: Id, key: u32, kind: Kind, seen: Vec<Id>, outcome: &Result<Written<T::Context>, Failed>) {
        let (fate, late, count) = match outcome.as_ref().map_err(|failed| failed.changed) {
            Ok(written) => (Fate::Acknowledged, written.late, &self.tally.acknowledged),
            // One of the attempts may be the write itself; the others come late.
            Err(Changed::Unknown { attempts }) => (Fate::Unknown, attempts.saturating_sub(1), &self.tally.unknown),
            Err(Changed::Nothing) => (Fate::Failed, 0, &self.tally.failed),
        };
        count.set(count.get() + 1);
        let error = outcome.as_ref().err().map(|f| f.kind.into());
        let ended = self.clock.now();
        let write = Write { id, key, kind, fate, seen: seen.into_boxed_slice(), late, error, ended };
        self.journal.borrow_mut().writes.push(write);
    }
}
