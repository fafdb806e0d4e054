//! Reads that do not wait for one node: one that is late is sent to a second owner too, and the first answer counts
//! (Dean and Barroso, "The Tail at Scale", 2013). And probes: reads that nobody waits for.
//!
//! Hedges have a budget of their own, since a cluster that is late everywhere is overloaded, and more requests would make
//! it worse. Writes are never sent twice: nobody could tell that they are one.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::call::timeout_ms;
use crate::client::Inner;
use crate::connection::{Connection, Reply};
use crate::limits::PROBE_TIME;
use crate::link::Link;
use crate::retry::Kind;
use crate::routing::{Routes, Target};
use crate::slots::{Outcome, Terms, Told};
use crate::wire::{Get, Message, Quorum};

/// Where a read went, and where else it may go.
pub(crate) struct Elsewhere<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) routes: &'a Routes,
    pub(crate) target: Target<'a>,
    pub(crate) tried: &'a [Arc<Link>],
    pub(crate) link: &'a Arc<Link>,
}

/// The outcome of a read: of the request under way, or of another one that is made when that one is late.
pub(crate) async fn outcome(
    mut first: Reply<'_>,
    elsewhere: Elsewhere<'_>,
    message: &Message,
    terms: Terms,
) -> Outcome {
    loop {
        if let Told::Ended(outcome) = poll_fn(|cx| first.poll(cx)).await {
            return outcome;
        }
        let now = Instant::now();
        if let Some(other) = elsewhere.connection(now) {
            let terms = Terms { sent: now, late_at: None, ..terms };
            // Few come here: they may cost an allocation, and the others need not carry the space for it.
            return Box::pin(either(first, other, message, terms)).await;
        }
        // Nobody is there, or nothing is left of the budget: perhaps later. Twice the time each time.
        first.late_again(now + now.saturating_duration_since(terms.sent));
    }
}

impl Elsewhere<'_> {
    /// A connection to another owner, if there is one, and budget.
    fn connection(&self, now: Instant) -> Option<Connection> {
        let other = self.routes.beside(self.target, self.tried, self.link, now)?;
        let connection = other.connection_now()?;
        self.inner.hedges.spend().then_some(connection)
    }
}

/// The first answer of two; if there is none, what became of the first request.
async fn either(first: Reply<'_>, other: Connection, message: &Message, terms: Terms) -> Outcome {
    let Some(Ok(second)) = other.try_begin(message, &Bytes::new(), terms) else { return first.outcome().await };
    let (mut first, mut second) = (Side::Waits(first), Side::Waits(second));
    poll_fn(|cx| {
        if first.poll(cx) {
            return Poll::Ready(());
        }
        let done = second.poll(cx);
        let failed = matches!((&first, &second), (Side::Failed(_), Side::Failed(_)));
        if done || failed { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    match (first, second) {
        (Side::Answered(outcome), _) | (_, Side::Answered(outcome)) | (Side::Failed(outcome), _) => outcome,
        (Side::Waits(reply), _) => reply.outcome().await,
    }
}

/// One of two requests.
enum Side<'a> {
    Waits(Reply<'a>),
    Answered(Outcome),
    Failed(Outcome),
}

impl Side<'_> {
    /// Whether there is an answer that is no failure.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while let Side::Waits(reply) = self {
            match reply.poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Told::Late) => {}
                Poll::Ready(Told::Ended(outcome)) => {
                    let failed = !matches!(&outcome, Ok(frame) if !matches!(frame.message, Message::Failure(_)));
                    *self = if failed { Side::Failed(outcome) } else { Side::Answered(outcome) };
                }
            }
        }
        matches!(self, Side::Answered(_))
    }
}

/// Asks a node that is avoided, if it is its turn: its answer is for [`crate::health`] only. A quorum read like any
/// other, so that a node which answers by itself, and whose way to the others is slow, is not taken for well.
pub(crate) fn probe(avoided: &Link, target: Target<'_>) {
    let Target::Key(bucket, key) = target else { return };
    let now = Instant::now();
    if !avoided.health().avoid(now) {
        return;
    }
    let Some(connection) = avoided.connection_now() else { return };
    let deadline = now + PROBE_TIME;
    let get = Get {
        bucket: Bytes::copy_from_slice(bucket),
        key: Bytes::copy_from_slice(key),
        r: Quorum::default(),
        strict: false,
        timeout_ms: timeout_ms(deadline, now),
        at_least: None,
    };
    connection.probe(&get.into(), Terms { kind: Kind::Read, sent: now, deadline, late_at: None, measured: true });
}
