//! What the loop measures of itself: how long operations, turns and commits take, and how much waits. The loop alone
//! writes, front ends read: plain atomic numbers, no lock, and nothing that grows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dynode_client::wire::{ErrorCode, Message};
use dynode_ring::Token;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::limits::{HOT_SAMPLE, HOT_TOLD, STARTED_MAX};
use crate::protocol::{Event, Origin, ReplyTo};

/// Upper bounds of the buckets: 100 µs, doubling, to 6.6 s; one more has what took longer.
pub const BUCKETS: usize = 17;

/// Upper bounds of the buckets of siblings. From 16 on there is something to look at; 64 is the most that a key may have.
pub const SIBLINGS: [u64; 5] = [0, 1, 2, 4, 16];

/// A client's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `Put`.
    Put,
    /// `Get`.
    Get,
    /// `Delete`.
    Delete,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// The quorum was not met, or what a session had seen.
    QuorumNotMet,
    /// A write's outcome is not known.
    Unknown,
    /// Too much was waiting.
    Overloaded,
    /// The request was not to be done as it stood.
    Refused,
    /// The node was stopping, or its copy not to be relied on, or its layout another.
    Unavailable,
    /// The node failed.
    Failed,
}

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum_us: AtomicU64,
}

/// All measurements of a node's loop. They go on when a disk is opened anew.
#[derive(Debug, Default)]
pub struct Meter {
    operations: [[Histogram; Outcome::ALL.len()]; Kind::ALL.len()],
    /// Whole turns, from the decisions to the last effect.
    pub turns: Histogram,
    /// The part of a turn that its commit takes: the batch and its sync; next to nothing where nothing was changed.
    pub commits: Histogram,
    /// Reads by how many values they found, the bounds being [`SIBLINGS`]; one more has what found more than those.
    siblings: [AtomicU64; SIBLINGS.len() + 1],
    /// The values that all reads have found.
    pub values_read: AtomicU64,
    /// Events decided on.
    pub events: AtomicU64,
    /// Connections on the native listener, and to peers.
    pub connections: AtomicU64,
    /// Answers and messages that wait to be written, in bytes.
    pub out_bytes: AtomicU64,
    /// Clients' requests of which only a part has come, in bytes.
    pub unfinished_bytes: AtomicU64,
    /// Requests refused because there was no memory for the rest of them.
    pub unfinished_refused: AtomicU64,
    /// Answers that were not given because there was no memory for what others do not take.
    pub answers_refused: AtomicU64,
    /// Requests of front ends that wait or are under way.
    pub inside: AtomicU64,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Put, Kind::Get, Kind::Delete];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::Delete => "delete",
        }
    }

    fn of(message: &Message) -> Option<Kind> {
        match message {
            Message::Put(_) => Some(Kind::Put),
            Message::Get(_) => Some(Kind::Get),
            Message::Delete(_) => Some(Kind::Delete),
            _ => None,
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 7] = [
        Outcome::Done,
        Outcome::QuorumNotMet,
        Outcome::Unknown,
        Outcome::Overloaded,
        Outcome::Refused,
        Outcome::Unavailable,
        Outcome::Failed,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::QuorumNotMet => "quorum_not_met",
            Outcome::Unknown => "outcome_unknown",
            Outcome::Overloaded => "overloaded",
            Outcome::Refused => "refused",
            Outcome::Unavailable => "unavailable",
            Outcome::Failed => "failed",
        }
    }

    pub(super) fn of(answer: &Message) -> Outcome {
        let Message::Failure(failure) = answer else { return Outcome::Done };
        match failure.code {
            ErrorCode::QuorumNotMet | ErrorCode::NotSeenYet => Outcome::QuorumNotMet,
            ErrorCode::OutcomeUnknown => Outcome::Unknown,
            ErrorCode::Overloaded => Outcome::Overloaded,
            ErrorCode::Unavailable | ErrorCode::OtherLayout => Outcome::Unavailable,
            ErrorCode::Internal => Outcome::Failed,
            ErrorCode::BadRequest
            | ErrorCode::TooLarge
            | ErrorCode::TooManySiblings
            | ErrorCode::ForeignContext
            | ErrorCode::Refused => Outcome::Refused,
        }
    }
}

impl Histogram {
    /// It took so long.
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (0..BUCKETS).find(|at| us <= Histogram::bound_us(*at)).unwrap_or(BUCKETS);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// The upper bound of a bucket in microseconds.
    pub fn bound_us(bucket: usize) -> u64 {
        100 << bucket
    }

    /// How many took no longer than each bound, and after them how many there are.
    pub fn cumulated(&self) -> [u64; BUCKETS + 1] {
        cumulated(&self.buckets)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// All that they took together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Relaxed)
    }
}

impl Meter {
    /// The operations of a kind that ended so: from the moment that the node took them to that of the answer.
    pub fn operations(&self, kind: Kind, outcome: Outcome) -> &Histogram {
        &self.operations[kind as usize][outcome as usize]
    }

    /// Reads that found no more values than each of [`SIBLINGS`], and after them how many reads there were.
    pub fn siblings(&self) -> [u64; SIBLINGS.len() + 1] {
        cumulated(&self.siblings)
    }

    /// All that people look at, as part of the node's report: counts since the start, so that whoever asks twice knows what
    /// was between. `hot`: the partitions with the most requests, and those a second.
    pub(super) fn report(&self, hot: &[(u32, f64)]) -> Value {
        let all = |kind: Kind| {
            let ended = |outcome: &Outcome| self.operations(kind, *outcome).count();
            json!({
                "done": self.operations(kind, Outcome::Done).cumulated(),
                "not_done": Outcome::ALL.iter().filter(|outcome| **outcome != Outcome::Done).map(ended).sum::<u64>(),
            })
        };
        let operations: serde_json::Map<String, Value> =
            Kind::ALL.into_iter().map(|kind| (kind.name().to_string(), all(kind))).collect();
        json!({
            "bounds_us": (0..BUCKETS).map(Histogram::bound_us).collect::<Vec<u64>>(),
            "operations": operations,
            "turns": self.turns.cumulated(),
            "commits": self.commits.cumulated(),
            "sibling_bounds": SIBLINGS,
            "siblings": self.siblings(),
            "hot": hot.iter().map(|(partition, rate)| json!({ "partition": partition, "rate": rate })).collect::<Vec<_>>(),
        })
    }
}

fn cumulated<const N: usize>(buckets: &[AtomicU64; N]) -> [u64; N] {
    let mut sum = 0;
    std::array::from_fn(|at| {
        sum += buckets[at].load(Relaxed);
        sum
    })
}

/// When the operations under way began, and where they go: the loop's side of the [`Meter`].
pub(super) struct Started {
    meter: Arc<Meter>,
    since: HashMap<ReplyTo, (Kind, Instant)>,
    requests: u64,
    /// Requests of each partition, one in [`HOT_SAMPLE`], less and less of what is past.
    sampled: Vec<f64>,
    sampled_since: Instant,
}

impl Started {
    pub(super) fn new(meter: Arc<Meter>) -> Started {
        Started { meter, since: HashMap::new(), requests: 0, sampled: Vec::new(), sampled_since: Instant::now() }
    }

    /// Notes a client's operation. `partitions`: how many the ring has.
    pub(super) fn take(&mut self, event: &Event, now: Instant, partitions: u32) {
        let Event::Request { from: Origin::Client, reply_to, message, .. } = event else { return };
        let Some(kind) = Kind::of(message) else { return };
        if self.since.len() < STARTED_MAX {
            self.since.insert(*reply_to, (kind, now));
        }
        self.requests += 1;
        if self.requests.is_multiple_of(HOT_SAMPLE)
            && let Some((bucket, key)) = place(message)
        {
            self.sampled.resize(partitions as usize, 0.0);
            let partition = Token::of(bucket, key).partition(partitions);
            self.sampled[usize::from(partition.0)] += HOT_SAMPLE as f64;
        }
    }

    /// One of them ends, if it is one.
    pub(super) fn end(&mut self, to: ReplyTo, answer: &Message, now: Instant) {
        let Some((kind, since)) = self.since.remove(&to) else { return };
        self.meter.operations(kind, Outcome::of(answer)).add(now.saturating_duration_since(since));
        if let Message::Found(found) = answer {
            let values = found.siblings.len() as u64;
            let bucket = SIBLINGS.iter().position(|bound| values <= *bound).unwrap_or(SIBLINGS.len());
            self.meter.siblings[bucket].fetch_add(1, Relaxed);
            self.meter.values_read.fetch_add(values, Relaxed);
        }
    }

    /// The partitions with the most requests, and about how many a second, over some ten seconds. To be asked about once a
    /// second: each time what is past counts a tenth less.
    pub(super) fn hot(&mut self) -> Vec<(u32, f64)> {
        let span = self.sampled_since.elapsed().as_secs_f64().max(0.001);
        self.sampled_since = Instant::now();
        // A steady rate adds rate * span each time, and comes to rest at ten times that.
        let rate = |sum: f64| sum / (10.0 * span);
        let mut hot: Vec<(u32, f64)> = self.sampled.iter().enumerate().map(|(p, sum)| (p as u32, rate(*sum))).collect();
        hot.retain(|(_, rate)| *rate >= 0.1);
        hot.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        hot.truncate(HOT_TOLD);
        self.sampled.iter_mut().for_each(|sum| *sum *= 0.9);
        hot
    }
}

/// The key that a client's operation is about.
fn place(message: &Message) -> Option<(&[u8], &[u8])> {
    match message {
        Message::Put(put) => Some((&put.bucket, &put.key)),
        Message::Get(get) => Some((&get.bucket, &get.key)),
        Message::Delete(delete) => Some((&delete.bucket, &delete.key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_it_fits() {
        let histogram = Histogram::default();
        for us in [0, 100, 101, 200, 6_553_600, 6_553_601] {
            histogram.add(Duration::from_micros(us));
        }
        let counts = histogram.cumulated();
        assert_eq!((counts[0], counts[1], counts[2]), (2, 4, 4));
        assert_eq!((counts[BUCKETS - 1], counts[BUCKETS]), (5, 6));
        assert_eq!(histogram.sum_us(), 100 + 101 + 200 + 6_553_600 + 6_553_601);
    }

    #[test]
    fn a_read_with_siblings_and_a_hot_partition_are_seen() {
        use dynode_client::wire::{Acks, Found, Get, Quorum, SiblingIs};
        let meter = Arc::new(Meter::default());
        let mut started = Started::new(Arc::clone(&meter));
        let now = Instant::now();
        for request in 0..68 {
            let reply_to = ReplyTo { connection: 1, request };
            let (bucket, key) = (bytes::Bytes::from("b"), bytes::Bytes::from("hot"));
            let get = Get { bucket, key, r: Quorum::One, strict: false, timeout_ms: 1, at_least: None };
            let (message, body) = (get.into(), bytes::Bytes::new());
            started.take(&Event::Request { from: Origin::Client, reply_to, message, body }, now, 16);
            let sibling = SiblingIs { length: 0, meta: Default::default() };
            let siblings = vec![sibling; if request < 3 { 3 } else { 1 }];
            let found = Found { siblings, context: bytes::Bytes::new(), acks: Acks::default() };
            started.end(reply_to, &found.into(), now);
        }
        assert_eq!((meter.siblings(), meter.values_read.load(Relaxed)), ([0, 65, 65, 68, 68, 68], 65 + 9));
        let partition = Token::of(b"b", b"hot").partition(16).0;
        let hot = started.hot();
        assert_eq!(hot.iter().map(|(p, _)| *p).collect::<Vec<_>>(), [u32::from(partition)]);
        let report = meter.report(&hot);
        assert_eq!(report["operations"]["get"]["done"][BUCKETS], 68);
        assert_eq!(report["hot"][0]["partition"], partition);
        for _ in 0..200 {
            started.hot();
        }
        assert!(hot[0].1 > 0.0);
        assert!(started.sampled.iter().all(|sum| *sum < 1e-6), "what is past is forgotten");
    }

    #[test]
    fn outcomes_and_kinds_have_their_own_places() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
