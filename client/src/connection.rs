//! One connection to a node: many requests in flight, answers in any order.
//!
//! Requesters append their frame to a shared queue under a short lock and wait in a slot; the one task of the
//! connection ([`Driver`]) writes what has gathered, reads what has come, and keeps the deadlines. A request costs no
//! task, no channel and no timer. Whoever would be one too many in flight waits.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use crate::Error;
use crate::followed;
use crate::health::Health;
use crate::limits::{SILENCE_MAX, SILENCE_WITH_WRITES_MAX};
use crate::slots::{Outcome, Slots, Terms, Told};
use crate::wire::{Frame, Message, OutQueue, WireError};

/// Why a request on a connection got no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trouble {
    /// The connection ended, and the request was not sent before.
    NotSent(Error),
    /// The connection ended, and the request may have arrived before.
    Lost(Error),
    /// The deadline passed. The request was sent, or still may be.
    Silent,
    /// The deadline passed while too many other requests were in flight. Not sent.
    Busy,
    /// The request does not fit into a frame. Not sent.
    DoesNotFit(WireError),
}

/// A handle to a connection. All clones are gone: the connection still lives as long as its driver runs.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

/// What requesters and the driver share.
pub(crate) struct Shared {
    state: Mutex<State>,
    in_flight: Semaphore,
    health: Arc<Health>,
}

#[derive(Default)]
struct State {
    /// Frames that nobody has begun to write.
    out: OutQueue,
    /// Bytes that were ever appended to `out`.
    queued: u64,
    slots: Slots,
    /// The driver, when it sleeps and wants to know of new frames.
    driver: Option<Waker>,
    /// The earliest time at which a request in flight is late or over, or earlier.
    next_deadline: Option<Instant>,
    /// Since when requests wait and nothing has come.
    silent_since: Option<Instant>,
    /// Why the connection ended.
    closed: Option<Error>,
}

impl Connection {
    /// A connection on which at most so many requests are in flight, and the part that the driver holds. What is learnt of
    /// the node goes into `health`.
    pub(crate) fn new(in_flight_max: usize, health: Arc<Health>, version: u8) -> (Connection, Arc<Shared>) {
        let state = Mutex::new(State { out: OutQueue::of_version(version), ..State::default() });
        let shared = Arc::new(Shared { state, in_flight: Semaphore::new(in_flight_max), health });
        (Connection { shared: shared.clone() }, shared)
    }

    /// Sends a request and waits for its answer, until its deadline at most.
    pub(crate) async fn ask(&self, message: &Message, body: &Bytes, terms: Terms) -> Outcome {
        self.begin(message, body, terms).await?.outcome().await
    }

    /// Sends a request as soon as there is a place for it.
    pub(crate) async fn begin(&self, message: &Message, body: &Bytes, terms: Terms) -> Result<Reply<'_>, Trouble> {
        if let Some(reply) = self.try_begin(message, body, terms) {
            return reply;
        }
        let waited = tokio::time::timeout_at(terms.deadline.into(), self.shared.in_flight.acquire()).await;
        match waited.map_err(|_| Trouble::Busy)? {
            Ok(permit) => self.shared.reply(message, body, terms, Some(permit)),
            Err(_) => Err(Trouble::NotSent(self.closed_why())),
        }
    }

    /// Sends a request if there is a place for it.
    pub(crate) fn try_begin(
        &self,
        message: &Message,
        body: &Bytes,
        terms: Terms,
    ) -> Option<Result<Reply<'_>, Trouble>> {
        match self.shared.in_flight.try_acquire() {
            Ok(permit) => Some(self.shared.reply(message, body, terms, Some(permit))),
            Err(TryAcquireError::Closed) => Some(Err(Trouble::NotSent(self.closed_why()))),
            Err(TryAcquireError::NoPermits) => None,
        }
    }

    /// Sends a request whose answer only says how well the node is. It takes no place.
    pub(crate) fn probe(&self, message: &Message, terms: Terms) {
        // Dropped at once: nobody waits. A connection that has ended has nothing to say.
        drop(self.shared.reply(message, &Bytes::new(), terms, None));
    }

    /// Why the connection ended; `None` while it lives.
    pub(crate) fn closed(&self) -> Option<Error> {
        self.shared.lock().closed.clone()
    }

    fn closed_why(&self) -> Error {
        self.closed().unwrap_or_else(|| Error::Unreachable { detail: "the connection was closed".into() })
    }
}

impl Shared {
    fn reply<'a>(
        &'a self,
        message: &Message,
        body: &Bytes,
        terms: Terms,
        permit: Option<SemaphorePermit<'a>>,
    ) -> Result<Reply<'a>, Trouble> {
        let id = self.send(message, body, terms)?;
        Ok(Reply { shared: self, id, finished: false, _permit: permit })
    }

    /// Takes a slot for a request and queues its frame.
    fn send(&self, message: &Message, body: &Bytes, terms: Terms) -> Result<u64, Trouble> {
        let trace = followed::trace();
        let mut state = self.lock();
        if let Some(why) = &state.closed {
            return Err(Trouble::NotSent(why.clone()));
        }
        let begin = state.queued;
        let id = state.slots.insert(begin, terms);
        let before = state.out.len_bytes();
        if let Err(e) = state.out.push_traced(id, trace.as_ref(), message, body) {
            state.slots.withdraw(id);
            return Err(Trouble::DoesNotFit(e));
        }
        state.queued = begin + (state.out.len_bytes() - before) as u64;
        state.look_at(terms.late_at.map_or(terms.deadline, |late_at| late_at.min(terms.deadline)));
        self.health.owes(terms.sent);
        // It sleeps only when nothing waited before: the first of many frames wakes it.
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(id)
    }

    /// Moves the frames that wait into `out`, which must be empty. When there are none, `cx` is woken for the next.
    pub(crate) fn take_frames(&self, out: &mut OutQueue, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if state.out.is_empty() {
            if !state.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                state.driver = Some(cx.waker().clone());
            }
            return false;
        }
        std::mem::swap(&mut state.out, out);
        if state.silent_since.is_none() {
            state.silent_since = Some(Instant::now());
        }
        true
    }

    /// Whether frames wait.
    pub(crate) fn has_frames(&self) -> bool {
        !self.lock().out.is_empty()
    }

    /// Hands answers to those who wait for them.
    pub(crate) fn complete(&self, frames: &mut Vec<Frame>, wakers: &mut Vec<Waker>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.silent_since = None;
        let mut settled = 0;
        for frame in frames.drain(..) {
            let Some((terms, waker)) = state.slots.complete(frame) else { continue };
            settled += 1;
            wakers.extend(waker);
            if terms.measured {
                self.health.took(now.saturating_duration_since(terms.sent));
            }
        }
        drop(state);
        self.health.heard(now);
        self.health.settled(settled);
    }

    /// When to look at deadlines again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lock().next_deadline
    }

    /// Ends requests whose deadline is over, and tells those whose answer is late. `true`: the other side has been silent
    /// for so long that it must be dead.
    pub(crate) fn expire(&self, now: Instant, wakers: &mut Vec<Waker>) -> bool {
        let mut state = self.lock();
        let expired = state.slots.expire(now, wakers);
        state.next_deadline = expired.next;
        self.health.settled(expired.ended);
        if let Some(since) = expired.waited_since {
            self.health.took_more_than(now.saturating_duration_since(since));
        }
        if expired.ended == 0 {
            return false;
        }
        let silent = now.saturating_duration_since(*state.silent_since.get_or_insert(now));
        silent >= if expired.write_waits { SILENCE_WITH_WRITES_MAX } else { SILENCE_MAX }
    }

    /// Ends the connection: `written` bytes were taken by the socket, `why` is told to all who wait.
    pub(crate) fn close(&self, written: u64, why: &Error) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some(why.clone());
        self.health.settled(state.slots.close(written, why, &mut wakers));
        state.out = OutQueue::new();
        state.driver = None;
        drop(state);
        self.in_flight.close();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; and if so, the state is still one of slots and bytes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look_at(&mut self, time: Instant) {
        if self.next_deadline.is_none_or(|next| time < next) {
            self.next_deadline = Some(time);
        }
    }
}

/// A request under way: waits in a slot, and gives it back when nobody wants the answer any more.
pub(crate) struct Reply<'a> {
    shared: &'a Shared,
    id: u64,
    finished: bool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Reply<'_> {
    /// The outcome, however late.
    pub(crate) async fn outcome(mut self) -> Outcome {
        loop {
            if let Told::Ended(outcome) = poll_fn(|cx| self.poll(cx)).await {
                return outcome;
            }
        }
    }

    /// What there is to tell, when there is something. Not to be called again after the end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        let polled = self.shared.lock().slots.poll(self.id, cx);
        self.finished = matches!(polled, Poll::Ready(Told::Ended(_)));
        polled
    }

    /// Has it told at `at` that there is no answer yet.
    pub(crate) fn late_again(&self, at: Instant) {
        let mut state = self.shared.lock();
        if state.slots.late_again(self.id, at) {
            state.look_at(at);
            // The driver sleeps until the next frame or deadline that it knew of.
            if let Some(driver) = state.driver.take() {
                drop(state);
                driver.wake();
            }
        }
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.finished && self.shared.lock().slots.give_up(self.id) {
            self.shared.health.settled(1);
        }
    }
}
