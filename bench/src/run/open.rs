//! The open loop: operations start on a schedule, whatever becomes of those before.
//!
//! Latency counts from the intended start (Gil Tene, "How NOT to measure latency"; wrk2 does the same): what had to
//! wait because the target stalled counts its wait. The number in flight is bounded; what has to wait for a slot is
//! *held back*, which is the target's doing and is part of the latency. What the generator itself is late, with a slot
//! free and the time come, is its *lag*: recorded apart, and part of the latency as well, so that it must be small for
//! the latency to mean anything.

use std::rc::Rc;

use tokio::sync::Mutex;

use super::lane::Lane;
use crate::clock::Clock;
use crate::target::Target;

/// Sleeps are cut into pieces of this, to notice that the run was stopped.
const NAP_NS: u64 = 100_000_000;

/// Sleeps are no shorter than this. To fall asleep and wake up costs 5 to 20 microseconds of processor time, so that at
/// 50,000 a second sleeping between any two would cost more than the operations; several start together instead, which
/// shows as lag.
const SLEEP_NS_MIN: u64 = 50_000;

/// Intended starts of one lane, one after another.
#[derive(Debug)]
pub struct Schedule {
    first: f64,
    interval: f64,
    poisson: bool,
    given: u64,
    next: f64,
}

impl Schedule {
    /// Lane `lane` of `lanes`, which together start `rate` operations a second: evenly, each lane between those of
    /// the others, or as Poisson arrivals.
    pub fn new(rate: f64, poisson: bool, lane: usize, lanes: usize) -> Schedule {
        let interval = 1e9 * lanes as f64 / rate;
        let first = interval * lane as f64 / lanes as f64;
        Schedule { first, interval, poisson, given: 0, next: first }
    }

    /// The next intended start in nanoseconds since the start of the run; `fraction` is a random number from 0 to 1.
    pub fn next(&mut self, fraction: impl FnOnce() -> f64) -> u64 {
        let at = self.next;
        self.given += 1;
        self.next = if self.poisson {
            at - self.interval * (1.0 - fraction()).ln()
        } else {
            // From the number, not by adding up: no drift.
            self.first + self.given as f64 * self.interval
        };
        at as u64
    }

    /// How many intended starts there are from `at` until `end`, about.
    pub fn between(&self, at: u64, end: u64) -> u64 {
        (end.saturating_sub(at) as f64 / self.interval).ceil() as u64
    }
}

/// One of the slots of a lane. A free slot queues for the schedule; the first in the queue sleeps until the next
/// intended start, hands the schedule on, and does the operation.
pub async fn slot<T: Target, C: Clock>(lane: Rc<Lane<T, C>>, schedule: Rc<Mutex<Schedule>>) {
    let mut free_since = 0;
    loop {
        let intended = {
            let mut schedule = schedule.lock().await;
            // A slot that was free in time still starts what was due in time, though it may have overslept the end.
            if lane.limits.stopped() || lane.limits.end.is_some_and(|end| free_since >= end) {
                lane.record.borrow_mut().never_started += left_over(&lane, &mut schedule);
                return;
            }
            let intended = schedule.next(|| lane.fraction());
            if !lane.limits.may_start(intended) || !wait(&lane, intended).await {
                return;
            }
            intended
        };
        if intended >= lane.limits.measure_from {
            let lag = lane.clock.now().saturating_sub(intended.max(free_since));
            let mut record = lane.record.borrow_mut();
            record.late(lag);
            record.held_back += u64::from(free_since > intended);
        }
        lane.perform(intended).await;
        free_since = lane.clock.now();
    }
}

/// Sleeps until `at`; says whether the run goes on.
async fn wait<T: Target, C: Clock>(lane: &Lane<T, C>, at: u64) -> bool {
    loop {
        if lane.limits.stopped() {
            return false;
        }
        let now = lane.clock.now();
        if now >= at {
            return true;
        }
        lane.clock.sleep_until(at.clamp(now + SLEEP_NS_MIN, now + NAP_NS)).await;
    }
}

/// What was due before the end and is not started any more; the first slot to see the end counts it.
fn left_over<T, C>(lane: &Lane<T, C>, schedule: &mut Schedule) -> u64 {
    let Some(end) = lane.limits.end.filter(|_| !lane.limits.stopped()) else { return 0 };
    let from = (schedule.next as u64).max(lane.limits.measure_from);
    let count = schedule.between(from, end);
    schedule.next = schedule.next.max(end as f64);
    count
}
