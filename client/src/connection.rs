//! One connection to a node: many requests in flight, answers in any order.
//!
//! Requesters append their frame to a shared queue under a short lock and wait in a slot; the one task of the
//! connection ([`Driver`]) writes what has gathered, reads what has come, and keeps the deadlines. A request costs no
//! task, no channel and no timer. Whoever would be one too many in flight waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::Error;
use crate::limits::SILENCE_MAX;
use crate::slots::{Outcome, Slots};
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
    /// The earliest deadline of a request in flight, or earlier.
    next_deadline: Option<Instant>,
    /// Since when requests wait and nothing has come.
    silent_since: Option<Instant>,
    /// Why the connection ended.
    closed: Option<Error>,
}

impl Connection {
    /// A connection on which at most so many requests are in flight, and the part that the driver holds.
    pub(crate) fn new(in_flight_max: usize) -> (Connection, Arc<Shared>) {
        let shared = Arc::new(Shared { state: Mutex::default(), in_flight: Semaphore::new(in_flight_max) });
        (Connection { shared: shared.clone() }, shared)
    }

    /// Sends a request and waits for its answer, until `deadline` at most.
    pub(crate) async fn ask(&self, message: &Message, body: &Bytes, deadline: Instant) -> Outcome {
        let Ok(_permit) = (match self.shared.in_flight.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                let waited = tokio::time::timeout_at(deadline.into(), self.shared.in_flight.acquire()).await;
                waited.map_err(|_| Trouble::Busy)?
            }
        }) else {
            return Err(Trouble::NotSent(self.closed_why()));
        };
        let id = self.shared.send(message, body, deadline)?;
        Reply { shared: &self.shared, id, finished: false }.await
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
    /// Takes a slot for a request and queues its frame.
    fn send(&self, message: &Message, body: &Bytes, deadline: Instant) -> Result<u64, Trouble> {
        let mut state = self.lock();
        if let Some(why) = &state.closed {
            return Err(Trouble::NotSent(why.clone()));
        }
        let begin = state.queued;
        let id = state.slots.insert(begin, deadline);
        let before = state.out.len_bytes();
        if let Err(e) = state.out.push_parts(id, message, body) {
            state.slots.give_up(id);
            return Err(Trouble::DoesNotFit(e));
        }
        state.queued = begin + (state.out.len_bytes() - before) as u64;
        if state.next_deadline.is_none_or(|next| deadline < next) {
            state.next_deadline = Some(deadline);
        }
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
        let mut state = self.lock();
        state.silent_since = None;
        for frame in frames.drain(..) {
            wakers.extend(state.slots.complete(frame));
        }
    }

    /// The earliest deadline that may be due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lock().next_deadline
    }

    /// Ends requests whose deadline is over. `true`: the other side has been silent for so long that it must be dead.
    pub(crate) fn expire(&self, now: Instant, wakers: &mut Vec<Waker>) -> bool {
        let mut state = self.lock();
        let (ended, next) = state.slots.expire(now, wakers);
        state.next_deadline = next;
        let silent = state.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= SILENCE_MAX);
        if ended > 0 && !silent && state.silent_since.is_none() {
            state.silent_since = Some(now);
        }
        ended > 0 && silent
    }

    /// Ends the connection: `written` bytes were taken by the socket, `why` is told to all who wait.
    pub(crate) fn close(&self, written: u64, why: &Error) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some(why.clone());
        state.slots.close(written, why, &mut wakers);
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

/// Waits in a slot, and gives it back when nobody wants the answer any more.
struct Reply<'a> {
    shared: &'a Shared,
    id: u64,
    finished: bool,
}

impl Future for Reply<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = self.shared.lock().slots.poll(self.id, cx);
        self.finished = polled.is_ready();
        polled
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.lock().slots.give_up(self.id);
        }
    }
}
