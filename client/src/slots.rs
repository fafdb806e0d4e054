//! The requests in flight on one connection: a slab of slots, each with its waker.
//!
//! A request id is a slot's place and its generation. An answer that comes after its request was given up finds another
//! generation and is dropped. Nothing here waits or locks.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::connection::Trouble;
use crate::wire::Frame;

/// How a request on one connection ended.
pub(crate) type Outcome = Result<Frame, Trouble>;

#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    state: State,
}

enum State {
    Free,
    Waiting {
        waker: Option<Waker>,
        deadline: Instant,
        /// Place in the connection's stream of written bytes where the request's frame starts.
        begin: u64,
    },
    Done(Outcome),
}

impl Slots {
    /// Takes a slot. The request id is never 0.
    pub(crate) fn insert(&mut self, begin: u64, deadline: Instant) -> u64 {
        let state = State::Waiting { waker: None, deadline, begin };
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

    /// The outcome if it is there, and then the slot is free again; else `cx` is woken when it is.
    pub(crate) fn poll(&mut self, id: u64, cx: &Context<'_>) -> Poll<Outcome> {
        let Some(slot) = self.slot(id) else { return Poll::Pending };
        match &mut slot.state {
            State::Waiting { waker: Some(waker), .. } if waker.will_wake(cx.waker()) => return Poll::Pending,
            State::Waiting { waker, .. } => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            State::Done(_) => {}
            State::Free => return Poll::Pending,
        }
        match self.release(id) {
            State::Done(outcome) => Poll::Ready(outcome),
            State::Free | State::Waiting { .. } => Poll::Pending,
        }
    }

    /// Gives the slot back, whatever its state, unless that was done before.
    pub(crate) fn give_up(&mut self, id: u64) {
        self.release(id);
    }

    /// Brings an answer; the waker of whoever waits for it. An answer that nobody waits for is dropped.
    pub(crate) fn complete(&mut self, frame: Frame) -> Option<Waker> {
        let slot = self.slot(frame.request)?;
        slot.finish(Ok(frame))
    }

    /// Ends the requests whose deadline is over. How many, and the earliest deadline of the others.
    pub(crate) fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> (usize, Option<Instant>) {
        let mut ended = 0;
        let mut next: Option<Instant> = None;
        for slot in &mut self.slots {
            let State::Waiting { deadline, .. } = slot.state else { continue };
            if deadline <= now {
                ended += 1;
                wakers.extend(slot.finish(Err(Trouble::Silent)));
            } else {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
        }
        (ended, next)
    }

    /// Ends all requests: those whose frame starts before `written` may have been seen by the other side.
    pub(crate) fn close(&mut self, written: u64, why: &crate::Error, wakers: &mut Vec<Waker>) {
        for slot in &mut self.slots {
            if let State::Waiting { begin, .. } = slot.state {
                let why = why.clone();
                let trouble = if begin < written { Trouble::Lost(why) } else { Trouble::NotSent(why) };
                wakers.extend(slot.finish(Err(trouble)));
            }
        }
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
            State::Free | State::Done(_) => None,
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
        Frame { request, message: GetLayout {}.into(), body: Bytes::new() }
    }

    fn poll(slots: &mut Slots, id: u64) -> Poll<Outcome> {
        slots.poll(id, &Context::from_waker(Waker::noop()))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1000)
    }

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let mut slots = Slots::default();
        let ids: Vec<u64> = (0..10).map(|_| slots.insert(0, later())).collect();
        assert!(ids.iter().all(|&id| id != 0 && poll(&mut slots, id).is_pending()));
        for &id in ids.iter().rev() {
            assert!(slots.complete(answer(id)).is_some(), "somebody waits");
        }
        for &id in &ids {
            assert_eq!(poll(&mut slots, id), Poll::Ready(Ok(answer(id))));
        }
        assert_eq!(slots.free.len(), 10);
    }

    #[test]
    fn a_late_answer_is_not_taken_for_another_requests() {
        let mut slots = Slots::default();
        let former = slots.insert(0, later());
        slots.give_up(former);
        let id = slots.insert(0, later());
        assert_eq!(former as u32, id as u32, "the same place");
        assert!(slots.complete(answer(former)).is_none());
        assert!(poll(&mut slots, id).is_pending());
        slots.complete(answer(id));
        slots.complete(answer(id));
        assert_eq!(poll(&mut slots, id), Poll::Ready(Ok(answer(id))));
        // Neither an answer that nobody asked for, nor giving up twice, breaks anything.
        slots.give_up(id);
        assert!(slots.complete(answer(u64::MAX)).is_none());
        assert_eq!((slots.slots.len(), slots.free.len()), (1, 1));
    }

    #[test]
    fn only_what_the_socket_took_nothing_of_was_not_sent() {
        let mut slots = Slots::default();
        let ids = [0, 100, 200, 300].map(|begin| slots.insert(begin, later()));
        slots.complete(answer(ids[1]));
        let why = Error::Unreachable { detail: "gone".into() };
        slots.close(201, &why, &mut Vec::new());
        let outcomes = ids.map(|id| poll(&mut slots, id));
        let lost = || Poll::Ready(Err(Trouble::Lost(why.clone())));
        let not_sent = Poll::Ready(Err(Trouble::NotSent(why.clone())));
        assert_eq!(outcomes, [lost(), Poll::Ready(Ok(answer(ids[1]))), lost(), not_sent]);
    }

    #[test]
    fn deadlines_end_those_that_are_due() {
        let mut slots = Slots::default();
        let now = Instant::now();
        let ids = [5, 1, 3].map(|s| slots.insert(0, now + Duration::from_secs(s)));
        let mut wakers = Vec::new();
        assert_eq!(slots.expire(now, &mut wakers), (0, Some(now + Duration::from_secs(1))));
        assert_eq!(slots.expire(now + Duration::from_secs(3), &mut wakers), (2, Some(now + Duration::from_secs(5))));
        assert!(poll(&mut slots, ids[0]).is_pending());
        assert_eq!(poll(&mut slots, ids[1]), Poll::Ready(Err(Trouble::Silent)));
        assert_eq!(poll(&mut slots, ids[2]), Poll::Ready(Err(Trouble::Silent)));
        assert_eq!(slots.expire(now + Duration::from_secs(5), &mut wakers), (1, None));
        assert_eq!(wakers.len(), 1, "one of them was polled before its time");
    }
}
