//! Clients that write and read whatever happens: the writers of `dynode-bench audit`, on a thread of their own, every
//! request of theirs counted by the second in which it ended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dynode_bench::audit::Run;
use dynode_bench::audit::journal::Journal;
use dynode_bench::audit::survey::survey;
use dynode_bench::audit::verdict::Verdict;
use dynode_bench::audit::writers::{self, Tally};
use dynode_bench::clock::{SystemClock, unix_ms, wall};
use dynode_bench::dynode::{Cluster, Quorum};
use dynode_bench::run::lane::Limits;
use dynode_bench::target::{Changed, Connect, Failed, Over, Seen, Target, Written};
use tokio::sync::oneshot;

/// How often the clients' thread looks whether it is to end, and whether it was held up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Further requests at once on a connection than writers need: reads before writes, the survey.
const IN_FLIGHT: usize = 1024;

/// Errors kept word for word: enough to see what goes wrong.
pub(crate) const ERRORS_KEPT: usize = 20;

/// What the clients do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<String>,
    pub(crate) bucket: String,
    pub(crate) writers: u32,
    pub(crate) rate: f64,
    pub(crate) keys: u32,
    pub(crate) value_size: usize,
    pub(crate) timeout: Duration,
    pub(crate) strict: bool,
    pub(crate) seed: u64,
    pub(crate) settle: Duration,
}

/// One second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Second {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// How requests ended: operation, `ok` or the error's name, and what is known of a write then.
pub(crate) type Ends = BTreeMap<(&'static str, &'static str, &'static str), u64>;

/// What happens while requests are made, in turn: numbers that only grow, odd ones for what disturbs. A request belongs to
/// what disturbed it, when it began or when it ended; else to the quiet in which it began.
pub(crate) type Phase = usize;

/// All that the clients have seen.
pub(crate) struct Seconds {
    /// By operation and phase: what each request that went well took, in microseconds.
    pub(crate) phases: BTreeMap<(&'static str, Phase), Vec<u32>>,
    /// How often the client library sent a request once more, by what the attempt before came to.
    pub(crate) retries: BTreeMap<&'static str, u64>,
    /// The errors that were shown to the clients' user, at most [`ERRORS_KEPT`].
    pub(crate) errors: Vec<String>,
    pub(crate) all: Vec<Second>,
    pub(crate) ends: Ends,
    /// The longest time for which this process itself did not get to run.
    pub(crate) held_up: Duration,
    now: (usize, Vec<u32>, u64),
}

/// Clients at work.
pub(crate) struct Load {
    counted: Arc<AtomicU64>,
    phase: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    /// The name of the audit comes back when the writers have ended; then the survey may begin.
    written: oneshot::Receiver<()>,
    may_check: oneshot::Sender<()>,
    thread: JoinHandle<Result<(Verdict, Seconds), String>>,
}

impl Load {
    /// Starts them. Seconds count from `origin`.
    pub(crate) fn start(plan: Plan, origin: Instant) -> Result<Load, String> {
        let (counted, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (say_written, written) = oneshot::channel();
        let (may_check, check) = oneshot::channel();
        let (own_counted, own_end) = (counted.clone(), end.clone());
        let phase = Arc::new(AtomicUsize::new(0));
        let own_phase = phase.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| e.to_string())?;
            let told = Told { counted: own_counted, phase: own_phase, end: own_end };
            runtime.block_on(clients(plan, origin, told, say_written, check))
        };
        let thread = std::thread::Builder::new().name("clients".into()).spawn(work).map_err(|e| e.to_string())?;
        Ok(Load { counted, phase, end, written, may_check, thread })
    }

    /// Something else happens from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase, SeqCst);
    }

    /// Requests that went well so far.
    pub(crate) fn done(&self) -> u64 {
        self.counted.load(SeqCst)
    }

    /// Whether its thread has ended, which it should not before it is told.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Tells the writers to end, and waits until they have.
    pub(crate) async fn quiet(&mut self) {
        self.end.store(true, SeqCst);
        let _ = (&mut self.written).await;
    }

    /// Reads all keys and judges.
    pub(crate) async fn verdict(self) -> Result<(Verdict, Seconds), String> {
        let _ = self.may_check.send(());
        while !self.thread.is_finished() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.thread.join().map_err(|_| "the clients' thread ended in a panic, which is a bug of dynode-chaos")?
    }
}

/// What the clients' thread has in common with the other.
struct Told {
    counted: Arc<AtomicU64>,
    phase: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
}

async fn clients(
    plan: Plan,
    origin: Instant,
    told: Told,
    written: oneshot::Sender<()>,
    check: oneshot::Receiver<()>,
) -> Result<(Verdict, Seconds), String> {
    let cluster = Cluster {
        nodes: plan.nodes.clone(),
        bucket: plan.bucket.clone(),
        r: Quorum::Majority,
        w: Quorum::Majority,
        strict: plan.strict,
        timeout: plan.timeout,
        connections: 1,
        in_flight: IN_FLIGHT,
    };
    let Told { counted, phase, end } = told;
    let dynode = cluster.connect().await.map_err(|e| format!("cannot reach the cluster: {e}"))?;
    let seconds = Rc::new(RefCell::new(Seconds::new()));
    let target = Watched { inner: dynode.clone(), origin, seconds: seconds.clone(), counted, phase };
    let run = Run { name: format!("{:x}", unix_ms(wall())), keys: plan.keys };
    let mut journal = Journal::new(run.clone(), &plan.bucket, unix_ms(wall()));
    journal.is_strict = cluster.is_register();
    let limits = Rc::new(Limits::new(0, None, None));
    let writers_plan = writers::Plan {
        run,
        writers: plan.writers,
        value_size: plan.value_size,
        rate: Some(plan.rate),
        seed: plan.seed,
    };
    let work = writers::write(
        target,
        SystemClock::new(origin),
        writers_plan,
        limits.clone(),
        journal,
        Rc::new(Tally::default()),
    );
    let watch = async {
        loop {
            let slept = Instant::now();
            tokio::time::sleep(LOOK_EVERY).await;
            let late = slept.elapsed().saturating_sub(LOOK_EVERY);
            let mut seconds = seconds.borrow_mut();
            seconds.held_up = seconds.held_up.max(late);
            if end.load(SeqCst) {
                limits.stop();
            }
        }
    };
    let journal = tokio::select! {
        journal = work => journal,
        () = watch => return Err("the clients' watch ended, which is a bug of dynode-chaos".into()),
    };
    let _ = written.send(());
    // Nobody is left to check for when the sender is gone.
    check.await.map_err(|_| "stopped before the check")?;
    if journal.writes.is_empty() {
        return Err("nothing was written: no read and no write came through".into());
    }
    let found = survey(&dynode.with_r(Quorum::All), &SystemClock::new(origin), &journal, plan.settle).await;
    let mut seconds = seconds.replace(Seconds::new());
    seconds.close(usize::MAX);
    seconds.retries = dynode.retries();
    Ok((Verdict::new(&journal, &found), seconds))
}

impl Seconds {
    fn new() -> Seconds {
        Seconds {
            phases: BTreeMap::new(),
            retries: BTreeMap::new(),
            errors: Vec::new(),
            all: Vec::new(),
            ends: Ends::new(),
            held_up: Duration::ZERO,
            now: (0, Vec::new(), 0),
        }
    }

    /// What so large a part of a phase's requests took at most, in milliseconds. None: there were none.
    pub(crate) fn quantile_ms(&self, op: &'static str, phase: Phase, part: f64) -> Option<f64> {
        let mut latencies = self.phases.get(&(op, phase))?.clone();
        latencies.sort_unstable();
        quantile_ms(&latencies, part)
    }

    fn take(&mut self, at: Duration, latency: Duration, op: &'static str, failed: Option<&Failed>) {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX - 1);
        self.close(second);
        let known = match failed.map(|failed| failed.changed) {
            None => "done",
            Some(Changed::Nothing) => "refused",
            Some(Changed::Unknown { .. }) => "unknown",
        };
        *self.ends.entry((op, failed.map_or("ok", |failed| failed.kind), known)).or_default() += 1;
        match failed {
            None => self.now.1.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX)),
            Some(_) => self.now.2 += 1,
        }
    }

    /// Sums up the seconds before this one.
    fn close(&mut self, second: usize) {
        if second <= self.now.0 {
            return;
        }
        let (at, mut latencies, failed) = std::mem::replace(&mut self.now, (second, Vec::new(), 0));
        self.all.resize(self.all.len().max(at), Second::default());
        latencies.sort_unstable();
        let quantile = |q: f64| quantile_ms(&latencies, q).unwrap_or(0.0);
        let (p50_ms, p99_ms) = (quantile(0.5), quantile(0.99));
        self.all.push(Second { done: latencies.len() as u64, failed, p50_ms, p99_ms });
    }
}

/// Of latencies in order, in microseconds.
fn quantile_ms(latencies: &[u32], part: f64) -> Option<f64> {
    let rank = ((latencies.len() as f64 * part).ceil() as usize).clamp(1, latencies.len().max(1)) - 1;
    latencies.get(rank).map(|us| f64::from(*us) / 1000.0)
}

/// A store whose requests are counted.
#[derive(Clone)]
struct Watched<T> {
    inner: T,
    origin: Instant,
    seconds: Rc<RefCell<Seconds>>,
    counted: Arc<AtomicU64>,
    phase: Arc<AtomicUsize>,
}

impl<T> Watched<T> {
    fn now(&self) -> (Instant, Phase) {
        (Instant::now(), self.phase.load(SeqCst))
    }

    fn note<R>(&self, op: &'static str, began: (Instant, Phase), outcome: Result<R, Failed>) -> Result<R, Failed> {
        let took = began.0.elapsed();
        let mut seconds = self.seconds.borrow_mut();
        seconds.take(self.origin.elapsed(), took, op, outcome.as_ref().err());
        match &outcome {
            Ok(_) => {
                let phase = Some(self.phase.load(SeqCst))
                    .filter(|now| began.1.is_multiple_of(2) && now % 2 == 1)
                    .unwrap_or(began.1);
                let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
                seconds.phases.entry((op, phase)).or_default().push(micros);
                self.counted.fetch_add(1, SeqCst);
            }
            Err(failed) if seconds.errors.len() < ERRORS_KEPT => {
                let at = self.origin.elapsed().as_secs_f64();
                seconds.errors.push(format!("{at:.3} s, {op} after {} ms: {failed}", took.as_millis()));
            }
            Err(_) => {}
        }
        outcome
    }
}

impl<T: Target> Target for Watched<T> {
    type Context = T::Context;

    async fn get(&self, key: Bytes) -> Result<Seen<T::Context>, Failed> {
        let began = self.now();
        let outcome = self.inner.get(key).await;
        self.note("read", began, outcome)
    }

    async fn put(&self, key: Bytes, value: Bytes, over: Over<T::Context>) -> Result<Written<T::Context>, Failed> {
        let began = self.now();
        let outcome = self.inner.put(key, value, over).await;
        self.note("write", began, outcome)
    }

    async fn scan(&self, start: Bytes, count: usize) -> Result<usize, Failed> {
        self.inner.scan(start, count).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_an_answer_is_a_second() {
        let mut seconds = Seconds::new();
        let at = Duration::from_millis;
        for i in 0..100 {
            seconds.take(at(10), at(i + 1), "read", None);
        }
        let failed = Failed { kind: "overloaded", changed: Changed::Nothing, detail: String::new() };
        seconds.take(at(3100), at(1), "write", Some(&failed));
        seconds.close(usize::MAX);
        assert_eq!(seconds.all.iter().map(|s| s.done).collect::<Vec<_>>(), [100, 0, 0, 0]);
        assert_eq!((seconds.all[0].p50_ms, seconds.all[0].p99_ms), (50.0, 99.0));
        assert_eq!(seconds.all[3].failed, 1);
        assert_eq!(seconds.ends[&("write", "overloaded", "refused")], 1);
    }
}
