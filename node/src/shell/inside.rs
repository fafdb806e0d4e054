//! The inner door: how front ends in the same process (HTTP, Redis' protocol) put clients' requests to the node.
//!
//! The loop is one thread, and what a front end does may take long; so front ends run on threads of their own, and only
//! whole requests and whole answers pass through here. An [`Inside`] asks, the loop holds the one [`Door`] and looks at it
//! in every turn, as it looks at its sockets. Answers leave with the turn's effects, after its commit.
//!
//! Nobody waits for ever: a request that the loop does not take by its deadline is given back as not taken, and one that it
//! took and does not answer is given up a moment after the deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Failure, Message, Trace};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::limits::{INSIDE_A_TURN, INSIDE_BYTES_MAX, INSIDE_GRACE, INSIDE_REQUESTS_MAX};
use super::traced::Traced;
use crate::protocol::{Event, Origin, ReplyTo, failure};

/// The number that stands for the inner door where others have a connection's; real ones begin at 1.
pub(super) const CONNECTION: u64 = 0;

tokio::task_local! {
    /// By what the request that a front end is at is known.
    static TRACE: Trace;
}

/// Does a front end's work for a request that somebody wants to follow: whatever it asks the node goes under that name.
pub async fn under<F: Future>(trace: Trace, work: F) -> F::Output {
    TRACE.scope(trace, work).await
}

/// What the node says: a message and its body.
pub type Answer = (Message, Bytes);

/// Asks the node of this process. Cheap to clone; all clones share the bounds.
#[derive(Debug, Clone)]
pub struct Inside {
    asked: mpsc::Sender<Asked>,
    /// Requests that wait or are under way.
    requests: Arc<Semaphore>,
    /// The bodies of requests that wait for the loop, in bytes.
    bytes: Arc<Semaphore>,
}

/// The loop's side: see [`Door::pair`]. It stays while nodes come and go behind it.
#[derive(Debug)]
pub struct Door {
    asked: mpsc::Receiver<Asked>,
    /// Who waits for an answer, by the number that the request was given.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Asked {
    message: Message,
    body: Bytes,
    deadline: Instant,
    trace: Option<Trace>,
    /// Whoever sets it first decides: the loop, that it takes the request, or the asker, that it no longer may.
    claimed: Arc<AtomicBool>,
    waiting: Waiting,
    /// Given back when the loop takes the request: from there on the node's own bounds count.
    _bytes: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    _request: OwnedSemaphorePermit,
}

impl Inside {
    /// Puts a client's request to the node and awaits the answer. `time` is how long the asker has; the message's own
    /// `timeout_ms`, where it has one, should say the same. When too much waits at the door this waits, too: back-pressure.
    ///
    /// Dropping the future does not take back what the node has taken.
    ///
    /// # Errors
    ///
    /// The node's [`Failure`], or one of the door's own, with the same meaning: [`Overloaded`](ErrorCode::Overloaded) and
    /// [`Unavailable`](ErrorCode::Unavailable) when nothing was changed, [`OutcomeUnknown`](ErrorCode::OutcomeUnknown) for a
    /// write that the node took and did not answer.
    pub async fn ask(&self, message: impl Into<Message>, body: Bytes, time: Duration) -> Result<Answer, Failure> {
        let message = message.into();
        let deadline = Instant::now() + time;
        let is_write = matches!(message, Message::Put(_) | Message::Delete(_));
        let (answer, answered) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        let handed = self.hand_over(message, body, deadline, answer, Arc::clone(&claimed));
        let handed = tokio::time::timeout_at(deadline, handed);
        match handed.await {
            Ok(handed) => handed?,
            Err(_) => return Err(not_taken()),
        }
        let unknown = |what: &str| match is_write {
            true => failure(ErrorCode::OutcomeUnknown, format!("{what}: the write may or may not take effect")),
            false => failure(ErrorCode::Unavailable, what),
        };
        match tokio::time::timeout_at(deadline + INSIDE_GRACE, answered).await {
            Ok(Ok((Message::Failure(failure), _))) => Err(failure),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(unknown("the node stopped serving before it answered")),
            Err(_) if !claimed.swap(true, Ordering::AcqRel) => Err(not_taken()),
            Err(_) => Err(unknown("the node did not answer in time")),
        }
    }

    async fn hand_over(
        &self,
        message: Message,
        body: Bytes,
        deadline: Instant,
        answer: oneshot::Sender<Answer>,
        claimed: Arc<AtomicBool>,
    ) -> Result<(), Failure> {
        let closed = || failure(ErrorCode::Unavailable, "the node is stopping: ask another; nothing was changed");
        // One body can never need more than there is.
        let size = u32::try_from(body.len().min(INSIDE_BYTES_MAX)).unwrap_or(u32::MAX);
        let _request = Arc::clone(&self.requests).acquire_owned().await.map_err(|_| closed())?;
        let _bytes = Arc::clone(&self.bytes).acquire_many_owned(size).await.map_err(|_| closed())?;
        let trace = TRACE.try_with(Trace::clone).ok();
        let asked = Asked { message, body, deadline, trace, claimed, waiting: Waiting { answer, _request }, _bytes };
        self.asked.send(asked).await.map_err(|_| closed())
    }
}

fn not_taken() -> Failure {
    failure(
        ErrorCode::Overloaded,
        "the node did not come to this request in time; nothing was changed. Try again later",
    )
}

impl Door {
    /// A door and the handle that asks through it. Once the door is dropped everybody who asks is told that the node stops.
    pub fn pair() -> (Inside, Door) {
        // As long as the semaphore: handing over never waits for the channel.
        let (sender, receiver) = mpsc::channel(INSIDE_REQUESTS_MAX);
        let inside = Inside {
            asked: sender,
            requests: Arc::new(Semaphore::new(INSIDE_REQUESTS_MAX)),
            bytes: Arc::new(Semaphore::new(INSIDE_BYTES_MAX)),
        };
        (inside, Door { asked: receiver, waiting: BTreeMap::new(), next: 1 })
    }

    /// Takes what waits, a bounded number. Wakes the loop when more comes; true if there may be more without that.
    pub(super) fn poll_requests(&mut self, cx: &mut Context<'_>, events: &mut Vec<Event>, traced: &mut Traced) -> bool {
        self.forget_the_gone();
        for _ in 0..INSIDE_A_TURN {
            let Poll::Ready(Some(asked)) = self.asked.poll_recv(cx) else { return false };
            if asked.waiting.answer.is_closed() || asked.claimed.swap(true, Ordering::AcqRel) {
                continue; // its asker has gone
            }
            if asked.deadline <= Instant::now() {
                let _ = asked.waiting.answer.send((not_taken().into(), Bytes::new()));
                continue;
            }
            let reply_to = ReplyTo { connection: CONNECTION, request: self.next };
            self.waiting.insert(self.next, asked.waiting);
            self.next += 1;
            let Asked { message, body, trace, .. } = asked;
            if let Some(trace) = trace {
                traced.begin(reply_to, trace, &message, None);
            }
            events.push(Event::Request { from: Origin::Client, reply_to, message, body });
        }
        true
    }

    /// The node answers a request.
    pub(super) fn answer(&mut self, request: u64, message: Message, body: Bytes) {
        if let Some(waiting) = self.waiting.remove(&request) {
            let _ = waiting.answer.send((message, body)); // the asker may have gone
        }
    }

    /// Waits for the next request and answers it at once: for a node that cannot do more than that (see `fenced`).
    pub(super) async fn answer_next(&mut self, answer: impl FnOnce(Message) -> Answer) {
        match self.asked.recv().await {
            Some(asked) => {
                let _ = asked.waiting.answer.send(answer(asked.message));
            }
            // No front end is there.
            None => std::future::pending().await,
        }
    }

    /// Requests that the node has taken and not answered.
    pub(super) fn under_way(&self) -> usize {
        self.waiting.len()
    }

    /// The node behind the door has ended: what it was asked will not be answered.
    pub(super) fn forget_all(&mut self) {
        self.waiting.clear();
    }

    /// Makes room of those at the front who wait no longer. The oldest that still wait keep others for no longer than the
    /// longest timeout.
    fn forget_the_gone(&mut self) {
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().answer.is_closed()) {
            first.remove();
        }
    }
}

#[cfg(test)]
#[path = "inside/tests.rs"]
mod tests;
