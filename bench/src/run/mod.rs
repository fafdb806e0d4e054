//! A run: one thread and runtime a lane, started together, their records collected every interval.
//!
//! Each lane connects for itself, so that threads share nothing but the numbers of insertions and the count of what is
//! left to do.

pub mod closed;
pub mod lane;
pub mod limit;
pub mod open;
pub mod progress;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, oneshot};
use tokio::task::LocalSet;

use crate::clock::{self, Clock, SystemClock, ThreadTime, nanos};
use crate::measure::Record;
use crate::target::{Connect, Failed, Target};
use crate::workload::{Draw, Workload};
use lane::{Lane, Limits};
use open::Schedule;

/// How fast and how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Operations in flight, all lanes together: exactly so many in a closed loop, at most so many in an open one.
    pub in_flight: usize,
    /// Operations a second; `None`: closed loop.
    pub rate: Option<f64>,
    /// Arrivals of the open loop at random instead of evenly.
    pub poisson: bool,
    /// Time before anything is measured.
    pub warmup: Duration,
    /// Time that is measured.
    pub duration: Option<Duration>,
    /// Operations that are measured.
    pub operations: Option<u64>,
    /// Threads, each a lane.
    pub threads: usize,
    /// Where chance begins.
    pub seed: u64,
    /// Length of the intervals that are reported on the way.
    pub interval: Duration,
}

/// What all lanes did in one interval.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Its number; the first begins with the warm-up.
    pub number: u64,
    /// Its beginning, in nanoseconds since the start.
    pub from: u64,
    /// Its end.
    pub until: u64,
    /// What was measured: nothing in the warm-up.
    pub record: Record,
}

/// What a lane had of the processors while it measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneTime {
    /// From the end of the warm-up to the end of the last operation.
    pub wall: u64,
    /// Processor time in it.
    pub thread: ThreadTime,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// All that was measured.
    pub record: Record,
    /// Seconds in which it was.
    pub seconds: f64,
    /// One a lane.
    pub lanes: Vec<LaneTime>,
    /// The first error of each lane that had one.
    pub first_errors: Vec<Failed>,
    /// It ended because it was told to, before its time.
    pub stopped: bool,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store could not be reached.
    #[error("cannot reach the cluster: {0}")]
    Connect(#[from] Failed),
    /// The system gave no thread or no runtime.
    #[error("cannot start a thread of the generator: {0}")]
    Thread(#[from] std::io::Error),
    /// A lane ended before its time, which is a bug.
    #[error("a thread of the generator ended without a result; this is a bug of dynode-bench")]
    LaneLost,
}

struct Slice {
    from: u64,
    until: u64,
    record: Record,
}

struct Finished {
    time: LaneTime,
    first_error: Option<Failed>,
}

/// Runs `workload` to its end. `each` sees every interval when all lanes have gone through it.
pub fn run<K: Connect>(
    pace: &Pace,
    connect: &Arc<K>,
    workload: &Arc<Workload>,
    limits: &Arc<Limits>,
    each: &mut dyn FnMut(&Interval),
) -> Result<Outcome, RunError> {
    let (slices_in, slices) = mpsc::channel::<Slice>();
    let mut lanes = Vec::new();
    for number in 0..pace.threads {
        let (ready_in, ready) = mpsc::channel::<Result<(), RunError>>();
        let (go, start) = oneshot::channel::<Instant>();
        let (pace, connect, slices_in) = (pace.clone(), connect.clone(), slices_in.clone());
        let (workload, limits) = (workload.clone(), limits.clone());
        let body = move || -> Option<Finished> {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => {
                    let _ = ready_in.send(Err(e.into()));
                    return None;
                }
            };
            runtime.block_on(async {
                let target = match connect.connect().await {
                    Ok(target) => target,
                    Err(e) => {
                        let _ = ready_in.send(Err(e.into()));
                        return None;
                    }
                };
                let draw = Draw::new(&workload, pace.seed, number);
                let _ = ready_in.send(Ok(()));
                let clock = SystemClock::new(start.await.ok()?);
                let lane = Rc::new(Lane::new(target, clock, workload, limits, draw));
                let send = |slice| {
                    let _ = slices_in.send(slice); // the collector outlives the lanes
                };
                let time = drive(&lane, &pace, number, send).await;
                Some(Finished { time, first_error: lane.first_error() })
            })
        };
        let handle = thread::Builder::new().name(format!("lane-{number}")).spawn(body)?;
        lanes.push((handle, ready, go));
    }
    drop(slices_in);

    for (_, ready, _) in &lanes {
        ready.recv().map_err(|_| RunError::LaneLost)??; // the other lanes end as their start is dropped
    }
    let origin = clock::instant();
    let mut handles = Vec::new();
    for (handle, _, go) in lanes {
        let _ = go.send(origin);
        handles.push(handle);
    }
    let record = collect(&slices, pace, each);

    let (mut times, mut first_errors) = (Vec::new(), Vec::new());
    for handle in handles {
        let finished = handle.join().ok().flatten().ok_or(RunError::LaneLost)?;
        times.push(finished.time);
        first_errors.extend(finished.first_error);
    }
    let seconds = measured_seconds(&record, limits);
    Ok(Outcome { record, seconds, lanes: times, first_errors, stopped: limits.stopped() })
}

/// The time that rates are counted over: from the end of the warm-up to the last operation's end, or to the end of the
/// run when that was before, as operations still in flight then may hang for long.
fn measured_seconds(record: &Record, limits: &Limits) -> f64 {
    let last = match limits.end {
        Some(end) if !limits.stopped() && !limits.by_operations() => end,
        Some(end) => record.last_end.min(end),
        None => record.last_end,
    };
    last.saturating_sub(limits.measure_from) as f64 / 1e9
}

/// Drives one lane to its end, on the runtime of the caller.
async fn drive<T: Target, C: Clock>(
    lane: &Rc<Lane<T, C>>,
    pace: &Pace,
    number: usize,
    mut send: impl FnMut(Slice),
) -> LaneTime {
    let local = LocalSet::new();
    let share = pace.in_flight / pace.threads + usize::from(number < pace.in_flight % pace.threads);
    let schedule = pace.rate.map(|rate| {
        let schedule = Schedule::new(rate, pace.poisson, number, pace.threads);
        Rc::new(Mutex::new(schedule))
    });
    let mut workers = Vec::new();
    for _ in 0..share {
        let lane = lane.clone();
        workers.push(match &schedule {
            Some(schedule) => local.spawn_local(open::slot(lane, schedule.clone())),
            None => local.spawn_local(closed::worker(lane)),
        });
    }
    let work = async {
        for worker in workers {
            if let Err(e) = worker.await
                && let Ok(panic) = e.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    };

    let interval = nanos(pace.interval).max(1);
    let (mut from, mut measuring) = (0, None);
    if lane.limits.measure_from == 0 {
        measuring = Some((0, ThreadTime::now()));
    }
    local
        .run_until(async {
            tokio::pin!(work);
            loop {
                let until = from + interval;
                let warm = lane.limits.measure_from;
                let next = if measuring.is_none() { until.min(warm.max(from)) } else { until };
                let left = Duration::from_nanos(next.saturating_sub(lane.clock.now()));
                let ended = tokio::select! {
                    () = &mut work => true,
                    () = tokio::time::sleep(left) => false,
                };
                let now = lane.clock.now();
                if measuring.is_none() && now >= warm {
                    measuring = Some((now, ThreadTime::now()));
                }
                if ended || now >= until {
                    send(Slice {
                        from,
                        until: if ended { now } else { until },
                        record: lane.record.borrow_mut().take(),
                    });
                    from = until;
                }
                if ended {
                    return;
                }
            }
        })
        .await;
    let (since, before) = measuring.unwrap_or((lane.clock.now(), ThreadTime::now()));
    LaneTime { wall: lane.clock.now().saturating_sub(since), thread: ThreadTime::now().since(before) }
}

/// Puts the lanes' slices together, until the last lane has ended.
fn collect(slices: &mpsc::Receiver<Slice>, pace: &Pace, each: &mut dyn FnMut(&Interval)) -> Record {
    let length = nanos(pace.interval).max(1);
    let mut total = Record::default();
    let mut open: BTreeMap<u64, (usize, Interval)> = BTreeMap::new();
    while let Ok(slice) = slices.recv() {
        let number = slice.from / length;
        let new = || Interval { number, from: slice.from, until: slice.from, record: Record::default() };
        let (lanes, interval) = open.entry(number).or_insert_with(|| (0, new()));
        *lanes += 1;
        interval.until = interval.until.max(slice.until);
        interval.record.merge(&slice.record);
        total.merge(&slice.record);
        // In order; one that a lane has already ended before is shown when the next is complete, or at the end.
        while let Some(first) = open.first_entry() {
            let complete = first.get().0 == pace.threads;
            let passed = open.values().skip(1).any(|(lanes, _)| *lanes == pace.threads);
            if !complete && !passed {
                break;
            }
            if let Some((_, (_, interval))) = open.pop_first() {
                each(&interval);
            }
        }
    }
    for (_, interval) in open.into_values() {
        each(&interval);
    }
    total
}

#[cfg(test)]
mod tests;
