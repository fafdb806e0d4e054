//! A lane: what one thread of the generator has, and how it does one operation and records it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use crate::clock::Clock;
use crate::measure::Record;
use crate::target::{Failed, Over, Target};
use crate::workload::{Draw, Op, Request, Workload};

/// When a run ends. Shared by its lanes.
#[derive(Debug)]
pub struct Limits {
    /// Operations that start before this are not measured: the end of the warm-up, in nanoseconds since the start.
    pub measure_from: u64,
    /// Nothing starts from here on, in nanoseconds since the start.
    pub end: Option<u64>,
    left: Option<AtomicU64>,
    stopped: AtomicBool,
}

impl Limits {
    /// A run without `end` and `operations` goes on until it is stopped.
    pub fn new(measure_from: u64, end: Option<u64>, operations: Option<u64>) -> Limits {
        Limits { measure_from, end, left: operations.map(AtomicU64::new), stopped: AtomicBool::new(false) }
    }

    /// Starts nothing more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether [`Limits::stop`] was called.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether the number of operations is limited.
    pub fn by_operations(&self) -> bool {
        self.left.is_some()
    }

    /// Whether an operation may start at `now`; takes it from the number that is left, except in the warm-up.
    pub fn may_start(&self, now: u64) -> bool {
        if self.stopped() || self.end.is_some_and(|end| now >= end) {
            return false;
        }
        match &self.left {
            Some(left) if now >= self.measure_from => {
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
            }
            _ => true,
        }
    }
}

/// One thread's share of a run. Not shared with other threads, so nothing in it is locked.
pub struct Lane<T, C> {
    /// The store.
    pub target: T,
    /// The time.
    pub clock: C,
    /// What to do.
    pub workload: Arc<Workload>,
    /// Until when.
    pub limits: Arc<Limits>,
    /// What has been measured since the last interval.
    pub record: RefCell<Record>,
    draw: RefCell<Draw>,
    first_error: Cell<Option<Failed>>,
}

impl<T: Target, C: Clock> Lane<T, C> {
    /// A lane that has done nothing yet.
    pub fn new(target: T, clock: C, workload: Arc<Workload>, limits: Arc<Limits>, draw: Draw) -> Lane<T, C> {
        let (record, draw) = (RefCell::default(), RefCell::new(draw));
        Lane { target, clock, workload, limits, record, draw, first_error: Cell::default() }
    }

    /// Does the next operation. Its latency counts from `since`: when it started, or was meant to start. Says whether
    /// it went well.
    pub async fn perform(&self, since: u64) -> bool {
        let request = self.draw.borrow_mut().request(&self.workload);
        let op = request.op();
        let outcome = match request {
            Request::Read { key } | Request::Get { key } => self.read(key).await.map(|_| ()),
            Request::Update { key, value } => self.put(key, value, Over::Current).await,
            Request::Insert { number, key, value } => {
                let over = if self.workload.replace { Over::Current } else { Over::Nothing };
                let outcome = self.put(key, value, over).await;
                self.workload.insertions.ended(number);
                outcome
            }
            Request::Scan { key, count } => self.target.scan(key, count).await.map(|_| ()),
            Request::ReadModifyWrite { key, value } => self.read_modify_write(since, key, value).await,
            Request::Put { key, value } => self.put(key, value, Over::Nothing).await,
        };
        if since >= self.limits.measure_from {
            self.record.borrow_mut().begun += 1;
        }
        let well = outcome.is_ok();
        self.measured(op, since, outcome);
        well
    }

    /// A number from 0 to 1, exclusive, for those who pace the lane.
    pub fn fraction(&self) -> f64 {
        self.draw.borrow_mut().fraction()
    }

    /// The first error, for the report.
    pub fn first_error(&self) -> Option<Failed> {
        let error = self.first_error.take();
        self.first_error.set(error.clone());
        error
    }

    /// As YCSB does it: the read and the write are measured as such, and both together once more. The write's latency
    /// counts from the end of the read.
    async fn read_modify_write(&self, since: u64, key: Bytes, value: Bytes) -> Result<(), Failed> {
        let read = self.read(key.clone()).await;
        let context = match read {
            Ok(context) => context,
            Err(failed) => {
                self.measured(Op::Read, since, Err(failed.clone()));
                return Err(failed);
            }
        };
        self.measured(Op::Read, since, Ok(()));
        let written_since = self.clock.now();
        let outcome = self.put(key, value, Over::Seen(context)).await;
        // The warm-up goes by when the whole started, so that the parts are as many as the wholes.
        if since >= self.limits.measure_from {
            self.measured(Op::Update, written_since, outcome.clone());
        }
        outcome
    }

    async fn read(&self, key: Bytes) -> Result<T::Context, Failed> {
        let seen = self.target.get(key).await?;
        match seen.values.len() {
            0 => {
                let detail = "there is no such record; load the records first, as many as --records says here";
                Err(Failed { kind: "not_found", changed: crate::target::Changed::Nothing, detail: detail.into() })
            }
            1 => Ok(seen.context),
            _ => {
                self.record.borrow_mut().siblings += 1;
                Ok(seen.context)
            }
        }
    }

    async fn put(&self, key: Bytes, value: Bytes, over: Over<T::Context>) -> Result<(), Failed> {
        self.target.put(key, value, over).await.map(|_| ())
    }

    fn measured(&self, op: Op, since: u64, outcome: Result<(), Failed>) {
        if since < self.limits.measure_from {
            return;
        }
        let now = self.clock.now();
        let latency = now.saturating_sub(since);
        let mut record = self.record.borrow_mut();
        record.last_end = record.last_end.max(now);
        match outcome {
            Ok(()) => record.done(op, latency),
            Err(failed) => {
                record.failed(op, failed.kind, latency);
                let first = self.first_error.take().unwrap_or(failed);
                self.first_error.set(Some(first));
            }
        }
    }
}
