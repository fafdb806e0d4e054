//! What the loop measures of itself: how long operations, turns and commits take, and how much waits. The loop alone
//! writes, front ends read: plain atomic numbers, no lock, and nothing that grows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dynode_client::wire::{ErrorCode, Message};
use tokio::time::Instant;

use super::limits::STARTED_MAX;
use crate::protocol::{Event, Origin, ReplyTo};

/// Upper bounds of the buckets: 100 µs, doubling, to 6.6 s; one more has what took longer.
pub const BUCKETS: usize = 17;

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
    /// Events decided on.
    pub events: AtomicU64,
    /// Connections on the native listener, and to peers.
    pub connections: AtomicU64,
    /// Answers and messages that wait to be written, in bytes.
    pub out_bytes: AtomicU64,
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

    fn of(answer: &Message) -> Outcome {
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
        let mut sum = 0;
        std::array::from_fn(|at| {
            sum += self.buckets[at].load(Relaxed);
            sum
        })
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
}

/// When the operations under way began: the loop's side of [`Meter::operations`].
pub(super) struct Started {
    meter: Arc<Meter>,
    since: HashMap<ReplyTo, (Kind, Instant)>,
}

impl Started {
    pub(super) fn new(meter: Arc<Meter>) -> Started {
        Started { meter, since: HashMap::new() }
    }

    /// Notes a client's operation.
    pub(super) fn take(&mut self, event: &Event, now: Instant) {
        let Event::Request { from: Origin::Client, reply_to, message, .. } = event else { return };
        if let Some(kind) = Kind::of(message)
            && self.since.len() < STARTED_MAX
        {
            self.since.insert(*reply_to, (kind, now));
        }
    }

    /// One of them ends, if it is one.
    pub(super) fn end(&mut self, to: ReplyTo, answer: &Message, now: Instant) {
        if let Some((kind, since)) = self.since.remove(&to) {
            self.meter.operations(kind, Outcome::of(answer)).add(now.saturating_duration_since(since));
        }
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
    fn outcomes_and_kinds_have_their_own_places() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
