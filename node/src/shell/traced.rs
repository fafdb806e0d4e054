//! The requests under way that somebody wants to follow: what is asked of peers for them goes out under the same name, and
//! how they end is logged, on each node that takes part.
//!
//! The decisions know nothing of this. What an event has the node send is a part of what the event is a part of: a request
//! has its [`ReplyTo`], and an answer the id of the request of ours that it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use dynode_client::wire::{Message, Trace};
use tokio::time::Instant;
use tracing::debug;

use super::limits::{TRACED_FOR, TRACED_MAX};
use super::meter::Outcome;
use super::step::Step;
use crate::protocol::{Effect, Event, ReplyTo};

/// All of them.
#[derive(Default)]
pub(super) struct Traced {
    /// This node's name.
    node: String,
    open: BTreeMap<ReplyTo, Open>,
    /// By our ids of requests to peers, for which of them each was made.
    sent: BTreeMap<u64, ReplyTo>,
}

struct Open {
    step: Step,
    what: &'static str,
    /// The peer that asks.
    from: Option<String>,
    began: Instant,
    sent: Vec<u64>,
}

impl Traced {
    pub(super) fn new(node: &str) -> Traced {
        Traced { node: node.to_owned(), ..Traced::default() }
    }

    /// Somebody asks something, and wants it followed. `from`: the peer that it comes from.
    pub(super) fn begin(&mut self, to: ReplyTo, trace: Trace, message: &Message, from: Option<String>) {
        self.forget(to);
        if self.open.len() >= TRACED_MAX {
            // What was never answered does not keep others from being followed.
            let old: Vec<ReplyTo> =
                self.open.iter().filter(|(_, o)| o.began.elapsed() > TRACED_FOR).map(|(to, _)| *to).collect();
            old.into_iter().for_each(|to| self.forget(to));
        }
        if self.open.len() < TRACED_MAX {
            let what = message.name();
            let step = Step::next(what, &self.node, trace);
            self.open.insert(to, Open { step, what, from, began: Instant::now(), sent: Vec::new() });
        }
    }

    /// The request that an event belongs to, where that one is followed.
    pub(super) fn of(&self, event: &Event) -> Option<ReplyTo> {
        if self.open.is_empty() {
            return None;
        }
        match event {
            Event::Request { reply_to, .. } => Some(*reply_to).filter(|to| self.open.contains_key(to)),
            Event::Response { request, .. } | Event::Unsent { request, .. } => self.sent.get(request).copied(),
            Event::Up(_) | Event::Down(_) | Event::Tick => None,
        }
    }

    /// These effects came of an event that belongs to it.
    pub(super) fn led_to(&mut self, to: ReplyTo, effects: &[Effect]) {
        let Some(open) = self.open.get_mut(&to) else { return };
        for effect in effects {
            if let Effect::Send { request: request @ 1.., .. } = effect
                && self.sent.insert(*request, to).is_none()
            {
                open.sent.push(*request);
            }
        }
    }

    /// What a request to a peer is known by.
    pub(super) fn trace_of(&self, request: u64) -> Option<&Trace> {
        self.sent.get(&request).and_then(|to| self.open.get(to)).map(|open| open.step.trace())
    }

    /// A request is answered: if it is one of these, this is its end.
    pub(super) fn answered(&mut self, to: ReplyTo, answer: &Message) {
        if self.open.is_empty() {
            return;
        }
        let Some(open) = self.remove(to) else { return };
        let outcome = Outcome::of(answer);
        let (id, took): (&Trace, Duration) = (open.step.trace(), open.began.elapsed());
        let (from, what) = (open.from.as_deref().unwrap_or("client"), open.what);
        let (outcome_name, took_us) = (outcome.name(), took.as_micros() as u64);
        debug!(target: "dynode::request", %id, what, from, outcome = outcome_name, took_us, "answered");
        open.step.end(outcome_name, outcome != Outcome::Done);
    }

    fn forget(&mut self, to: ReplyTo) {
        drop(self.remove(to));
    }

    fn remove(&mut self, to: ReplyTo) -> Option<Open> {
        let open = self.open.remove(&to)?;
        open.sent.iter().for_each(|request| {
            self.sent.remove(request);
        });
        Some(open)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dynode_client::wire::{GetLayout, Report};
    use dynode_ring::NodeId;

    use super::*;
    use crate::protocol::Origin;

    fn asked(request: u64) -> (ReplyTo, Event) {
        let reply_to = ReplyTo { connection: 1, request };
        let (message, body) = (GetLayout {}.into(), Bytes::new());
        (reply_to, Event::Request { from: Origin::Client, reply_to, message, body })
    }

    fn send(request: u64) -> Effect {
        Effect::Send { to: NodeId(2), request, message: GetLayout {}.into(), body: Bytes::new() }
    }

    fn answer(request: u64) -> Event {
        Event::Response { from: NodeId(2), request, message: Report {}.into(), body: Bytes::new() }
    }

    #[test]
    fn what_is_asked_for_a_request_goes_under_its_name_until_that_is_answered() {
        let mut traced = Traced::new("n0");
        let ((to, event), (_, other)) = (asked(1), asked(2));
        let message = GetLayout {}.into();
        assert_eq!(traced.of(&event), None);
        traced.begin(to, Trace::named("7c4e").unwrap(), &message, None);
        assert_eq!((traced.of(&event), traced.of(&other)), (Some(to), None));
        traced.led_to(to, &[send(0), send(7)]);
        assert_eq!(traced.trace_of(7).map(Trace::name), Some("7c4e"));
        assert_eq!(traced.trace_of(0), None, "nobody answers it");
        // An answer leads to another question.
        assert_eq!(traced.of(&answer(7)), Some(to));
        traced.led_to(to, &[send(8)]);
        assert_eq!(traced.trace_of(8).map(Trace::name), Some("7c4e"));
        traced.answered(to, &Report {}.into());
        assert_eq!((traced.trace_of(7), traced.of(&answer(8))), (None, None));
        assert!(traced.open.is_empty() && traced.sent.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_answered_makes_room_in_time() {
        let mut traced = Traced::new("n0");
        let message: Message = GetLayout {}.into();
        let mut begin = |request| {
            let to = ReplyTo { connection: 1, request };
            traced.begin(to, Trace::named("a").unwrap(), &message, None);
            traced.led_to(to, &[send(request + 1)]);
            (traced.open.len(), traced.sent.len(), traced.open.contains_key(&to))
        };
        for request in 0..TRACED_MAX as u64 {
            begin(request);
        }
        let full = TRACED_MAX as u64;
        assert_eq!(begin(full), (TRACED_MAX, TRACED_MAX, false));
        tokio::time::advance(TRACED_FOR + Duration::from_secs(1)).await;
        assert_eq!(begin(full), (1, 1, true));
        assert_eq!(begin(full), (1, 1, true), "the same once more");
    }
}
