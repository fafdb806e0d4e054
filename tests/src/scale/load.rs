//! The foreground: strict quorum reads and writes, open loop, while the cluster changes.
//!
//! A client turns to an owner of its key that serves, as far as the newest layout tells, and every fourth time to any node:
//! then the node has to find an owner itself. What is refused, or lost with its coordinator, is asked again elsewhere, as the
//! client library does: writes carry a request id, so that they are not done twice.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dynode_client::wire::{Causality, ErrorCode, Expiry, Get, Message, Put, Quorum};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::cluster::{Cluster, SECOND, Setup};

const BUCKET: &[u8] = b"scale";

/// Bytes of each key.
pub const KEY_BYTES: usize = 20;

/// What clients give an attempt.
const TIMEOUT_MS: u32 = 5_000;

/// Attempts at one operation.
const ATTEMPTS: u32 = 4;

/// The pause before another attempt.
const PAUSE: u64 = SECOND / 20;

/// What became of operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Answered as they should be.
    pub done: u64,
    /// Attempts that were refused and made again, by reason.
    pub again: BTreeMap<&'static str, u64>,
    /// What was said with the first of each.
    pub details: BTreeMap<&'static str, String>,
    /// Refused in the end.
    pub refused: u64,
    /// The longest that one took with all its attempts, in microseconds.
    pub slowest: u64,
}

/// One operation of a client.
#[derive(Debug, Clone, Copy)]
struct Operation {
    key: usize,
    writes: bool,
    began: u64,
    /// The node that was asked last.
    at: usize,
    attempts: u32,
}

/// The clients.
#[derive(Debug)]
pub struct Load {
    setup: Setup,
    rng: Pcg64,
    /// When the next one asks; never, while there is no load.
    next: u64,
    every: u64,
    /// Operations, and requests, so far.
    sent: u64,
    /// The keys that are still to be written, one after the other, before anything is read.
    filling: Option<std::ops::Range<usize>>,
    waiting: BTreeMap<u64, Operation>,
    /// To be asked again, and when.
    again: VecDeque<(u64, Operation)>,
    served: Served,
}

impl Default for Load {
    fn default() -> Load {
        Load::new(Setup { nodes: 0, rack: 1, partitions: 1, keys: 1, value_bytes: 0, load: 1 })
    }
}

impl Load {
    /// Clients that ask nothing yet.
    pub fn new(setup: Setup) -> Load {
        Load {
            setup,
            rng: Pcg64::seed_from_u64(1),
            next: u64::MAX,
            every: 0,
            sent: 0,
            filling: None,
            waiting: BTreeMap::new(),
            again: VecDeque::new(),
            served: Served::default(),
        }
    }

    /// From now on all keys are written once, so many a second.
    pub fn fill(&mut self, now: u64, a_second: u64) {
        (self.next, self.every, self.filling) = (now, SECOND / a_second, Some(0..self.setup.keys));
    }

    /// Has every key been written, and every client been answered?
    pub fn is_filled(&self) -> bool {
        self.filling.is_none() && self.is_answered()
    }

    /// Does no client wait?
    pub fn is_answered(&self) -> bool {
        self.waiting.is_empty() && self.again.is_empty()
    }

    /// From now on clients read and write, half and half.
    pub fn begin(&mut self, now: u64) {
        (self.next, self.every) = (now, SECOND / self.setup.load);
    }

    /// Nobody asks anything new any more.
    pub fn end(&mut self) {
        self.next = u64::MAX;
    }

    pub(super) fn next(&self) -> u64 {
        self.again.front().map_or(self.next, |(at, _)| self.next.min(*at))
    }

    /// A node lost its power with what it had under way.
    pub fn cut_off(&mut self, now: u64, n: usize) {
        let ids: Vec<u64> = self.waiting.iter().filter(|(_, op)| op.at == n).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(op) = self.waiting.remove(&id) else { continue };
            self.fail(now, op, "cut off", || format!("n{n} lost its power"));
        }
    }

    /// What became of the operations since this was asked last.
    pub fn take_served(&mut self) -> Served {
        std::mem::take(&mut self.served)
    }

    pub(super) fn ask(&mut self, cluster: &Cluster) -> Option<(usize, u64, Message, Bytes)> {
        let now = cluster.now();
        let again = self.again.front().is_some_and(|(at, _)| *at <= now);
        let again = if again { self.again.pop_front() } else { None };
        let mut op = match again {
            Some((_, op)) => op,
            None => self.begin_operation(now)?,
        };
        op.at = self.choose(cluster, &op);
        op.attempts += 1;
        self.sent += 1;
        self.waiting.insert(self.sent, op);
        let (message, body) = self.message(&op);
        Some((op.at, self.sent, message, body))
    }

    fn begin_operation(&mut self, now: u64) -> Option<Operation> {
        self.next = now + self.every;
        let (key, writes) = match &mut self.filling {
            None => (self.rng.random_range(0..self.setup.keys), self.rng.random_range(0..2) == 0),
            Some(keys) => match keys.next() {
                Some(key) => (key, true),
                None => {
                    (self.next, self.filling) = (u64::MAX, None);
                    return None;
                }
            },
        };
        Some(Operation { key, writes, began: now, at: usize::MAX, attempts: 0 })
    }

    /// Whom to ask: not the one that was asked last.
    fn choose(&mut self, cluster: &Cluster, op: &Operation) -> usize {
        let layout = &cluster.layout;
        let serves = |n: &usize| *n != op.at && cluster.serves(*n);
        let owners = layout.owners(layout.partition_of(BUCKET, &key(op.key)));
        let mut candidates: Vec<usize> = owners.iter().map(|o| o.0 as usize - 1).filter(serves).collect();
        if candidates.is_empty() || self.rng.random_range(0..4) == 0 {
            candidates = layout.members().iter().map(|m| m.id.0 as usize - 1).filter(serves).collect();
        }
        candidates[self.rng.random_range(0..candidates.len())]
    }

    fn message(&self, op: &Operation) -> (Message, Bytes) {
        let (bucket, key, strict, timeout_ms) = (Bytes::from_static(BUCKET), key(op.key), true, TIMEOUT_MS);
        if !op.writes {
            let get = Get { bucket, key, r: Quorum::Majority, strict, timeout_ms, at_least: None };
            return (get.into(), Bytes::new());
        }
        let put = Put {
            bucket,
            key,
            causality: Causality::Current,
            w: Quorum::Majority,
            strict,
            timeout_ms,
            content_type: Bytes::new(),
            expiry: Expiry::OfBucket,
            request: Some(op.began << 20 | op.key as u64),
        };
        (put.into(), value(op.key, self.setup.value_bytes))
    }

    pub(super) fn answered(&mut self, now: u64, request: u64, message: &Message) {
        let Some(op) = self.waiting.remove(&request) else { return };
        match message {
            Message::PutDone(_) => self.done(now, &op),
            Message::Found(found) if !found.siblings.is_empty() => self.done(now, &op),
            Message::Found(_) => self.fail(now, op, "found nothing", String::new),
            Message::Failure(why) => self.fail(now, op, ErrorCode::as_str(why.code), || why.detail.clone()),
            other => self.fail(now, op, other.name(), String::new),
        }
    }

    fn done(&mut self, now: u64, op: &Operation) {
        self.served.done += 1;
        self.served.slowest = self.served.slowest.max(now - op.began);
    }

    fn fail(&mut self, now: u64, op: Operation, why: &'static str, detail: impl Fn() -> String) {
        let told =
            |detail| format!("n{} at {:.1} s, after {:.1} s: {detail}", op.at, seconds(now), seconds(now - op.began));
        self.served.details.entry(why).or_insert_with(|| told(detail()));
        match op.attempts < ATTEMPTS {
            true => {
                *self.served.again.entry(why).or_default() += 1;
                self.again.push_back((now + PAUSE, op));
            }
            false => self.served.refused += 1,
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A key whose place says nothing of when it was written: [`KEY_BYTES`] bytes.
fn key(i: usize) -> Bytes {
    Bytes::from(format!("user{:016x}", (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// A value of its own for each key.
fn value(i: usize, len: usize) -> Bytes {
    let mut value = vec![b'.'; len];
    value.iter_mut().zip((i as u64).to_le_bytes()).for_each(|(to, from)| *to = from);
    Bytes::from(value)
}
