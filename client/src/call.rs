//! One call of the user: attempts at one node after another, until it is done or there is no hope, time or budget left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Error;
use crate::client::Inner;
use crate::connection::Trouble;
use crate::health::Health;
use crate::hedge::{self, Elsewhere};
use crate::limits::{ATTEMPTS_MAX, TIMEOUT_MAX};
use crate::link::Link;
use crate::retry::{self, Kind, Progress, Verdict};
use crate::routing::{Choice, Target};
use crate::slots::Terms;
use crate::wire::{Frame, Message};

/// Nodes are told a little less time than there is, so that their answer comes before the time is up: this part of it,
const ANSWER_TIME_PART: u32 = 20;
/// and at most so much.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(50);

/// When time is up, counted from now.
pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(TIMEOUT_MAX)
}

/// Makes a request until it is answered with something other than a failure. `message` builds it for the time left, in
/// milliseconds.
pub(crate) async fn call(
    inner: &Inner,
    kind: Kind,
    target: Target<'_>,
    deadline: Instant,
    message: impl Fn(u32) -> Message,
    body: &Bytes,
) -> Result<Frame, Error> {
    call_counted(inner, kind, target, deadline, message, body).await.map(|(frame, _)| frame)
}

/// The same; says as well how many attempts before the one that was answered may have written, or may yet.
pub(crate) async fn call_counted(
    inner: &Inner,
    kind: Kind,
    target: Target<'_>,
    deadline: Instant,
    message: impl Fn(u32) -> Message,
    body: &Bytes,
) -> Result<(Frame, u32), Error> {
    inner.budget.earn();
    let mut progress = Progress::default();
    let mut tried: Vec<Arc<Link>> = Vec::new();
    let mut last: Option<Error> = None;
    let (mut sent, mut pauses) = (0, 0);
    if kind == Kind::Read {
        inner.hedges.earn();
    }
    loop {
        let routes = inner.routes();
        let chosen = routes.choose(target, &tried, &inner.turn, Instant::now());
        let Some(Choice { link, avoided }) = chosen else {
            // All were tried, or are down: begin anew in a moment.
            tried.clear();
            inner.suspect_layout();
            if !pause(&mut pauses, deadline).await {
                return Err(progress.ended(last.unwrap_or_else(|| nobody(&routes.layout, target))));
            }
            continue;
        };
        if let Some(avoided) = avoided {
            hedge::probe(avoided, target);
        }
        let connection = match link.connection(deadline).await {
            Ok(connection) => connection,
            Err(error) => {
                // It may have left: whoever is still there says who has come.
                inner.suspect_layout();
                tried.push(link.clone());
                last = Some(error);
                if Instant::now() >= deadline {
                    return Err(progress.ended(last.unwrap_or(Error::TimedOut)));
                }
                continue;
            }
        };
        let now = Instant::now();
        let until = attempt_deadline(kind, sent, now, deadline);
        sent += 1;
        let terms = terms(kind, target, now, until, link.health());
        let message = message(timeout_ms(until, now));
        let outcome = match connection.begin(&message, body, terms).await {
            Ok(reply) if terms.late_at.is_none() => reply.outcome().await,
            Ok(reply) => {
                let elsewhere = Elsewhere { inner, routes: &routes, target, tried: &tried, link };
                hedge::outcome(reply, elsewhere, &message, terms).await
            }
            Err(trouble) => Err(trouble),
        };
        let verdict = match outcome {
            Ok(frame) => match frame.message {
                Message::Failure(failure) => retry::judge_failure(kind, failure.into(), &mut progress),
                _ => return Ok((frame, progress.unknown_attempts)),
            },
            Err(trouble) => {
                if let Trouble::NotSent(_) | Trouble::Lost(_) = trouble {
                    inner.suspect_layout();
                }
                if let Trouble::NotSent(_) = trouble {
                    sent -= 1;
                }
                retry::judge_trouble(kind, trouble, &mut progress)
            }
        };
        let (error, paused, paid, layout) = match verdict {
            Verdict::GiveUp(error) => return Err(progress.ended(error)),
            Verdict::Again { error, pause, paid, layout } => (error, pause, paid, layout),
        };
        if sent >= ATTEMPTS_MAX || Instant::now() >= deadline || (paid && !inner.budget.spend()) {
            return Err(progress.ended(telling(error, last)));
        }
        tried.push(link.clone());
        if layout && inner.refresh_from(link, routes.layout.epoch(), deadline).await {
            // Another layout: who was tried under the old one may be right under the new one.
            tried.clear();
        }
        if paused && !pause(&mut pauses, deadline).await {
            return Err(progress.ended(error));
        }
        inner.count_retry(&error);
        last = Some(telling(error, last));
    }
}

/// What to say at the end: what a node answered before tells more than that it did not answer again.
fn telling(error: Error, before: Option<Error>) -> Error {
    match (&error, before) {
        (Error::TimedOut, Some(before)) if !matches!(before, Error::Unreachable { .. }) => before,
        _ => error,
    }
}

/// Pauses before another attempt; `false` when there would be no time left after it.
async fn pause(pauses: &mut u32, deadline: Instant) -> bool {
    let until = Instant::now() + retry::pause(*pauses);
    *pauses += 1;
    if until >= deadline {
        return false;
    }
    tokio::time::sleep_until(until.into()).await;
    true
}

/// A first attempt gets half of the time, so that another node can still answer when this one hangs. A write that must not
/// be made twice gets all of it.
fn attempt_deadline(kind: Kind, sent: u32, now: Instant, deadline: Instant) -> Instant {
    match kind {
        Kind::Read | Kind::Repeatable if sent == 0 => now + deadline.saturating_duration_since(now) / 2,
        _ => deadline,
    }
}

/// What the connection is to know. Only requests for a key tell how well a node is, and only such reads are worth sending
/// twice: others take as long as what they ask for is large.
fn terms(kind: Kind, target: Target<'_>, sent: Instant, deadline: Instant, health: &Health) -> Terms {
    let measured = matches!(target, Target::Key(..));
    let late_at = (measured && kind == Kind::Read).then(|| sent + health.estimate().hedge_after());
    let kind = if kind == Kind::Read { Kind::Read } else { Kind::Write };
    Terms { kind, sent, deadline, late_at, measured }
}

/// What the node is told.
pub(crate) fn timeout_ms(deadline: Instant, now: Instant) -> u32 {
    let left = deadline.saturating_duration_since(now);
    let left = left - (left / ANSWER_TIME_PART).min(ANSWER_TIME_MAX);
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn nobody(layout: &dynode_ring::Layout, target: Target<'_>) -> Error {
    let detail = match target {
        Target::Owners(partition) => {
            let owners = layout.owners(partition).iter().filter_map(|node| layout.member(*node));
            let owners: Vec<String> = owners.map(|member| format!("{} at {}", member.name, member.addr)).collect();
            format!("no owner of partition {} answers ({})", partition.0, owners.join(", "))
        }
        Target::Key(..) | Target::Any => format!("none of {} members answers", layout.members().len()),
    };
    Error::Unreachable { detail }
}
