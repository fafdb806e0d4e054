//! The requests in flight on one connection: a slab of slots, each with its waker.
//!
//! A request id is a slot's place and its generation. An answer that comes after its slot was given back finds another
//! generation and is dropped. A request that nobody waits for any more keeps its slot until its answer or its deadline
//! comes, so that it is known how long the node took. Nothing here waits or locks.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::connection::Trouble;
use crate::limits::ABANDONED_MAX;
use crate::retry::Kind;
use crate::wire::Frame;

/// How a request on one connection ended.
pub(crate) type Outcome = Result<Frame, Trouble>;

/// What a connection is to know of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) kind: Kind,
    pub(crate) sent: Instant,
    pub(crate) deadline: Instant,
    /// When to tell whoever waits that the answer is late.
    pub(crate) late_at: Option<Instant>,
    /// Whether the time that it takes says how well the node is.
    pub(crate) measured: bool,
}

/// What whoever waits is told.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are answers, and a box for each would cost more")]
pub(crate) enum Told {
    Ended(Outcome),
    /// There is no answer yet. Said once for each [`Terms::late_at`].
    Late,
}

#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    abandoned: usize,
}

struct Slot {
    generation: u32,
    state: State,
}

enum State {
    Free,
    Waiting {
        waker: Option<Waker>,
        terms: Terms,
        /// The time for it has come, and nobody was told yet.
        late: bool,
        /// Place in the connection's stream of written bytes where the request's frame starts.
        begin: u64,
    },
    /// Sent, and nobody waits.
    Abandoned(Terms),
    Done(Outcome),
}

/// What the passing of time has ended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expired {
    /// Requests whose deadline is over.
    pub(crate) ended: u32,
    /// Whether a write goes on waiting.
    pub(crate) write_waits: bool,
    /// When to look again.
    pub(crate) next: Option<Instant>,
    /// For how long the one that waited longest did, of those that are measured.
    pub(crate) waited_since: Option<Instant>,
}

impl Slots {
    /// Takes a slot. The request id is never 0.
    pub(crate) fn insert(&mut self, begin: u64, terms: Terms) -> u64 {
        let state = State::Waiting { waker: None, terms, late: false, begin };
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.slots.push(Slot { generation: 1, state: State::Free });
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[place as usize];
        slot.state = state;
        u64::from(slot.generation) << 32 | u64::from(place)
    }

    /// The outcome if it is there, and then the slot is free again; else `cx` is woken when it is, or is late.
    pub(crate) fn poll(&mut self, id: u64, cx: &Context<'_>) -> Poll<Told> {
        let Some(slot) = self.slot(id) else { return Poll::Pending };
        match &mut slot.state {
            State::Waiting { late: late @ true, .. } => {
                *late = false;
                return Poll::Ready(Told::Late);
            }
            State::Waiting { waker: Some(waker), .. } if waker.will_wake(cx.waker()) => return Poll::Pending,
            State::Waiting { waker, .. } => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            State::Done(_) => {}
            State::Free | State::Abandoned(_) => return Poll::Pending,
        }
        match self.release(id) {
            State::Done(outcome) => Poll::Ready(Told::Ended(outcome)),
            State::Free | State::Waiting { .. } | State::Abandoned(_) => Poll::Pending,
        }
    }

    /// Has whoever waits told once more that the answer is late. Whether somebody waits.
    pub(crate) fn late_again(&mut self, id: u64, at: Instant) -> bool {
        match self.slot(id).map(|slot| &mut slot.state) {
            Some(State::Waiting { terms, .. }) => {
                terms.late_at = Some(at);
                true
            }
            _ => false,
        }
    }

    /// Waits no longer. Whether that ends the request: its answer would be measured otherwise.
    pub(crate) fn give_up(&mut self, id: u64) -> bool {
        let room = self.abandoned < ABANDONED_MAX;
        let Some(slot) = self.slot(id) else { return false };
        match slot.state {
            State::Waiting { terms, .. } if room => {
                slot.state = State::Abandoned(terms);
                self.abandoned += 1;
                false
            }
            State::Waiting { .. } => {
                self.release(id);
                true
            }
            State::Done(_) => {
                self.release(id);
                false
            }
            State::Free | State::Abandoned(_) => false,
        }
    }

    /// Gives back the slot of a request that was not sent.
    pub(crate) fn withdraw(&mut self, id: u64) {
        self.release(id);
    }

    /// Brings an answer: the request's terms if it was owed, and the waker of whoever waits for it. An answer that nobody
    /// waits for is dropped.
    pub(crate) fn complete(&mut self, frame: Frame) -> Option<(Terms, Option<Waker>)> {
        let id = frame.request;
        let slot = self.slot(id)?;
        match slot.state {
            State::Waiting { terms, .. } => Some((terms, slot.finish(Ok(frame)))),
            State::Abandoned(terms) => {
                self.release(id);
                Some((terms, None))
            }
            State::Free | State::Done(_) => None,
        }
    }

    /// Ends the requests whose deadline is over, and tells of those that are late.
    pub(crate) fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Expired {
        let mut expired = Expired::default();
        let mut over = Vec::new();
        for (slot, place) in self.slots.iter_mut().zip(0_u32..) {
            let (terms, waits) = match &mut slot.state {
                State::Waiting { terms, .. } => (terms, true),
                State::Abandoned(terms) => (terms, false),
                State::Free | State::Done(_) => continue,
            };
            if terms.deadline <= now {
                expired.ended += 1;
                if terms.measured {
                    let since = expired.waited_since.map_or(terms.sent, |since| since.min(terms.sent));
                    expired.waited_since = Some(since);
                }
                match waits {
                    true => wakers.extend(slot.finish(Err(Trouble::Silent))),
                    false => over.push(u64::from(slot.generation) << 32 | u64::from(place)),
                }
                continue;
            }
            let mut next = terms.deadline;
            if waits {
                expired.write_waits |= terms.kind == Kind::Write;
                match terms.late_at {
                    Some(late_at) if late_at <= now => {
                        terms.late_at = None;
                        if let State::Waiting { late, waker, .. } = &mut slot.state {
                            *late = true;
                            wakers.extend(waker.take());
                        }
                    }
                    Some(late_at) => next = next.min(late_at),
                    None => {}
                }
            }
            expired.next = Some(expired.next.map_or(next, |earlier| earlier.min(next)));
        }
        over.into_iter().for_each(|id| drop(self.release(id)));
        expired
    }

    /// Ends all requests: those whose frame starts before `written` may have been seen by the other side. How many
    /// were owed an answer.
    pub(crate) fn close(&mut self, written: u64, why: &crate::Error, wakers: &mut Vec<Waker>) -> u32 {
        let mut owed = 0;
        for slot in &mut self.slots {
            match slot.state {
                State::Waiting { begin, .. } => {
                    let why = why.clone();
                    let trouble = if begin < written { Trouble::Lost(why) } else { Trouble::NotSent(why) };
                    wakers.extend(slot.finish(Err(trouble)));
                    owed += 1;
                }
                State::Abandoned(_) => {
                    slot.state = State::Free;
                    owed += 1;
                }
                State::Free | State::Done(_) => {}
            }
        }
        owed
    }

    fn slot(&mut self, id: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut((id & u64::from(u32::MAX)) as usize)?;
        (u64::from(slot.generation) == id >> 32).then_some(slot)
    }

    fn release(&mut self, id: u64) -> State {
        let Some(slot) = self.slot(id) else { return State::Free };
        // After 2^32 uses of one slot a generation comes back: by then any late answer is long gone.
        slot.generation = slot.generation.wrapping_add(1).max(1);
        let state = std::mem::replace(&mut slot.state, State::Free);
        self.abandoned -= usize::from(matches!(state, State::Abandoned(_)));
        self.free.push((id & u64::from(u32::MAX)) as u32);
        state
    }
}

impl Slot {
    fn finish(&mut self, outcome: Outcome) -> Option<Waker> {
        match &mut self.state {
            State::Waiting { waker, .. } => {
                let waker = waker.take();
                self.state = State::Done(outcome);
                waker
            }
            State::Free | State::Abandoned(_) | State::Done(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::Error;
    use crate::wire::GetLayout;

    fn answer(request: u64) -> Frame {
        Frame { request, trace: None, message: GetLayout {}.into(), body: Bytes::new() }
    }

    fn poll(slots: &mut Slots, id: u64) -> Poll<Told> {
        slots.poll(id, &Context::from_waker(Waker::noop()))
    }

    fn ended(outcome: Outcome) -> Poll<Told> {
        Poll::Ready(Told::Ended(outcome))
    }

    fn terms(kind: Kind, sent: Instant, seconds: u64) -> Terms {
        Terms { kind, sent, deadline: sent + Duration::from_secs(seconds), late_at: None, measured: true }
    }

    fn later() -> Terms {
        terms(Kind::Read, Instant::now(), 1000)
    }

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let mut slots = Slots::default();
        let ids: Vec<u64> = (0..10).map(|_| slots.insert(0, later())).collect();
        assert!(ids.iter().all(|&id| id != 0 && poll(&mut slots, id).is_pending()));
        for &id in ids.iter().rev() {
            assert!(matches!(slots.complete(answer(id)), Some((_, Some(_)))), "somebody waits");
        }
        for &id in &ids {
            assert_eq!(poll(&mut slots, id), ended(Ok(answer(id))));
        }
        assert_eq!(slots.free.len(), 10);
    }

    #[test]
    fn a_late_answer_is_not_taken_for_another_requests() {
        let mut slots = Slots::default();
        let former = slots.insert(0, later());
        slots.withdraw(former);
        let id = slots.insert(0, later());
        assert_eq!(former as u32, id as u32, "the same place");
        assert!(slots.complete(answer(former)).is_none());
        assert!(poll(&mut slots, id).is_pending());
        slots.complete(answer(id));
        assert!(slots.complete(answer(id)).is_none(), "the second one");
        assert_eq!(poll(&mut slots, id), ended(Ok(answer(id))));
        // Neither an answer that nobody asked for, nor giving up twice, breaks anything.
        assert!(!slots.give_up(id) && !slots.give_up(id));
        assert!(slots.complete(answer(u64::MAX)).is_none());
        assert_eq!((slots.slots.len(), slots.free.len()), (1, 1));
    }

    #[test]
    fn what_nobody_waits_for_is_owed_until_it_comes_or_is_over() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        let ids = [1, 2, 3].map(|seconds| slots.insert(0, terms(Kind::Read, now, seconds)));
        assert!(ids.iter().all(|&id| !slots.give_up(id)));
        assert!(matches!(slots.complete(answer(ids[2])), Some((Terms { measured: true, .. }, None))));
        let mut wakers = Vec::new();
        let expired = slots.expire(now + Duration::from_secs(1), &mut wakers);
        assert_eq!((expired.ended, expired.waited_since), (1, Some(now)));
        assert_eq!(expired.next, Some(now + Duration::from_secs(2)));
        let why = Error::Unreachable { detail: "gone".into() };
        assert_eq!(slots.close(0, &why, &mut wakers), 1);
        assert!(wakers.is_empty());
        // Their number has a bound.
        let mut slots = Slots::default();
        let forgotten = (0..ABANDONED_MAX + 5).filter(|_| {
            let id = slots.insert(0, later());
            slots.give_up(id)
        });
        assert_eq!(forgotten.count(), 5);
    }

    #[test]
    fn only_what_the_socket_took_nothing_of_was_not_sent() {
        let mut slots = Slots::default();
        let ids = [0, 100, 200, 300].map(|begin| slots.insert(begin, later()));
        slots.complete(answer(ids[1]));
        let why = Error::Unreachable { detail: "gone".into() };
        assert_eq!(slots.close(201, &why, &mut Vec::new()), 3);
        let outcomes = ids.map(|id| poll(&mut slots, id));
        let lost = || ended(Err(Trouble::Lost(why.clone())));
        let not_sent = ended(Err(Trouble::NotSent(why.clone())));
        assert_eq!(outcomes, [lost(), ended(Ok(answer(ids[1]))), lost(), not_sent]);
    }

    #[test]
    fn deadlines_end_those_that_are_due() {
        let mut slots = Slots::default();
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let ids =
            [(5, Kind::Read), (1, Kind::Write), (3, Kind::Write)].map(|(s, kind)| slots.insert(0, terms(kind, now, s)));
        let mut wakers = Vec::new();
        let expired = slots.expire(now, &mut wakers);
        assert_eq!((expired.ended, expired.write_waits, expired.next), (0, true, Some(at(1))));
        let expired = slots.expire(at(1), &mut wakers);
        assert_eq!((expired.ended, expired.write_waits, expired.next), (1, true, Some(at(3))));
        let expired = slots.expire(at(3), &mut wakers);
        assert_eq!((expired.ended, expired.write_waits, expired.next), (1, false, Some(at(5))));
        assert!(poll(&mut slots, ids[0]).is_pending());
        assert_eq!(poll(&mut slots, ids[1]), ended(Err(Trouble::Silent)));
        assert_eq!(poll(&mut slots, ids[2]), ended(Err(Trouble::Silent)));
        assert_eq!(slots.expire(at(5), &mut wakers).ended, 1);
        assert_eq!(wakers.len(), 1, "one of them was polled before its time");
    }

    #[test]
    fn who_waits_is_told_once_that_it_is_late() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        let id = slots.insert(0, Terms { late_at: Some(at(5)), ..terms(Kind::Read, now, 1) });
        assert!(poll(&mut slots, id).is_pending());
        let mut wakers = Vec::new();
        assert_eq!(slots.expire(at(4), &mut wakers).next, Some(at(5)));
        assert_eq!(slots.expire(at(5), &mut wakers).next, Some(at(1000)));
        assert_eq!((wakers.len(), poll(&mut slots, id)), (1, Poll::Ready(Told::Late)));
        assert!(poll(&mut slots, id).is_pending());
        assert!(slots.late_again(id, at(9)));
        slots.expire(at(9), &mut wakers);
        assert_eq!((wakers.len(), poll(&mut slots, id)), (2, Poll::Ready(Told::Late)));
        // An answer makes up for it.
        slots.late_again(id, at(12));
        slots.expire(at(12), &mut wakers);
        slots.complete(answer(id));
        assert_eq!(poll(&mut slots, id), ended(Ok(answer(id))));
        assert!(!slots.late_again(id, at(20)));
    }
}
