//! A circuit breaker for each peer (Nygard, *Release It!*): a peer that takes requests and answers nothing is asked
//! nothing more, except one probe now and then.
//!
//! *Closed*: all is well. *Open*: several requests were sent, and for [`limits::SILENCE_MAX`] not one was answered: nobody waits for this peer, stand-ins take its writes. *Half-open*: a probe is
//! under way; its answer closes the breaker, silence opens it again for twice as long, with jitter. Only answers prove
//! that the way there and back is open; a request *from* an open peer is a sign of life that brings the next probe forward.

use std::collections::BTreeMap;

use dynode_ring::NodeId;
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::Serialize;

use super::{Micros, Time};
use crate::limits;

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One probe.
    HalfOpen,
}

#[derive(Debug, Clone, Copy)]
struct Breaker {
    state: BreakerState,
    /// Something was asked at this time, and nothing was answered since.
    unanswered_since: Option<Time>,
    /// Requests since then.
    unanswered: u32,
    last_asked: Time,
    /// When they became enough to judge by: the last of these is to have some time, too.
    enough_at: Time,
    /// When the next probe may go out (open), or counts as lost (half-open).
    next: Time,
    /// How long it stays open the next time.
    wait: Micros,
}

/// The breakers of all peers.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    peers: BTreeMap<NodeId, Breaker>,
}

/// What a look at the breakers found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Nobody is to wait for these any longer.
    pub(super) opened: Vec<NodeId>,
    /// These are to be probed.
    pub(super) probes: Vec<NodeId>,
}

impl Breakers {
    /// A connection stands: what was before it counts no more.
    pub(super) fn connected(&mut self, peer: NodeId, now: Time) {
        let wait = limits::BREAKER_FIRST;
        let state = BreakerState::Closed;
        self.peers.insert(
            peer,
            Breaker { state, unanswered_since: None, unanswered: 0, last_asked: now, enough_at: now, next: now, wait },
        );
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// What the breaker of a peer lets through; closed where there is no connection that could be watched.
    pub(super) fn state(&self, peer: NodeId) -> BreakerState {
        self.peers.get(&peer).map_or(BreakerState::Closed, |b| b.state)
    }

    /// Are requests let through?
    pub(super) fn is_closed(&self, peer: NodeId) -> bool {
        self.state(peer) == BreakerState::Closed
    }

    /// Something that wants an answer was sent.
    pub(super) fn asked(&mut self, peer: NodeId, now: Time) {
        if let Some(breaker) = self.peers.get_mut(&peer) {
            if now - breaker.last_asked > Micros(2 * limits::SILENCE_MAX.0) {
                (breaker.unanswered_since, breaker.unanswered) = (None, 0); // what was lost long ago says nothing of now
            }
            breaker.last_asked = now;
            breaker.unanswered_since.get_or_insert(now);
            breaker.unanswered = breaker.unanswered.saturating_add(1);
            if breaker.unanswered == limits::UNANSWERED_MIN {
                breaker.enough_at = now;
            }
        }
    }

    /// A peer answered, whatever it said. True if its breaker is closed now, and was not before.
    pub(super) fn answered(&mut self, peer: NodeId) -> bool {
        let Some(breaker) = self.peers.get_mut(&peer) else { return false };
        (breaker.unanswered_since, breaker.unanswered) = (None, 0);
        let was_closed = std::mem::replace(&mut breaker.state, BreakerState::Closed) == BreakerState::Closed;
        breaker.wait = limits::BREAKER_FIRST;
        !was_closed
    }

    /// A peer asked something itself: a reason to look whether it answers again.
    pub(super) fn heard_of(&mut self, peer: NodeId, now: Time) {
        if let Some(breaker) = self.peers.get_mut(&peer).filter(|b| b.state == BreakerState::Open) {
            breaker.next = breaker.next.min(now);
        }
    }

    /// Looks at all of them. `woke_late`: this node itself stood still, and what came meanwhile is yet to be read; nobody
    /// is blamed for that.
    pub(super) fn look(&mut self, now: Time, woke_late: bool, rng: &mut Pcg64) -> Due {
        let mut due = Due::default();
        for (peer, breaker) in &mut self.peers {
            if woke_late {
                breaker.unanswered_since = breaker.unanswered_since.map(|_| now);
                continue;
            }
            let is_silent = breaker.unanswered >= limits::UNANSWERED_MIN
                && now - breaker.enough_at >= Micros(limits::SILENCE_MAX.0 / 2)
                && breaker.unanswered_since.is_some_and(|since| now - since >= limits::SILENCE_MAX);
            match breaker.state {
                BreakerState::Closed if is_silent => {
                    breaker.open(now, rng);
                    due.opened.push(*peer);
                }
                BreakerState::HalfOpen if now >= breaker.next => breaker.open(now, rng),
                BreakerState::Open if now >= breaker.next => {
                    breaker.state = BreakerState::HalfOpen;
                    breaker.next = now + limits::SILENCE_MAX;
                    due.probes.push(*peer);
                }
                _ => {}
            }
        }
        due
    }
}

impl Breaker {
    fn open(&mut self, now: Time, rng: &mut Pcg64) {
        self.state = BreakerState::Open;
        (self.unanswered_since, self.unanswered) = (None, 0);
        self.next = now + Micros(rng.random_range(self.wait.0 / 2..=self.wait.0));
        self.wait = Micros((self.wait.0 * 2).min(limits::BREAKER_MOST.0));
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const PEER: NodeId = NodeId(1);

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    fn look(breakers: &mut Breakers, ms: u64) -> Due {
        breakers.look(at(ms), false, &mut Pcg64::seed_from_u64(1))
    }

    fn opened() -> Breakers {
        let mut breakers = Breakers::default();
        breakers.connected(PEER, at(0));
        (1..limits::UNANSWERED_MIN).for_each(|_| breakers.asked(PEER, at(0)));
        assert_eq!(look(&mut breakers, limits::SILENCE_MAX.0 / 1000), Due::default(), "too little was asked");
        breakers.asked(PEER, at(10));
        assert_eq!(look(&mut breakers, 400), Due::default(), "the last had no time to be answered");
        assert_eq!(look(&mut breakers, limits::SILENCE_MAX.0 / 1000).opened, [PEER]);
        breakers
    }

    #[test]
    fn silence_opens_it_and_an_answer_closes_it() {
        let mut breakers = opened();
        assert_eq!(breakers.state(PEER), BreakerState::Open);
        assert!(breakers.answered(PEER), "it was open");
        assert!(breakers.is_closed(PEER));
        assert!(!breakers.answered(PEER), "it was closed");
    }

    #[test]
    fn a_peer_that_is_asked_nothing_is_not_silent() {
        let mut breakers = Breakers::default();
        breakers.connected(PEER, at(0));
        assert_eq!(look(&mut breakers, 60_000), Due::default());
        breakers.asked(PEER, at(60_000));
        breakers.answered(PEER);
        assert_eq!(look(&mut breakers, 120_000), Due::default());
    }

    #[test]
    fn each_lost_probe_doubles_the_wait() {
        let mut breakers = opened();
        let (mut probes, mut ms) = (Vec::new(), limits::SILENCE_MAX.0 / 1000);
        while probes.len() < 5 {
            ms += 10;
            if look(&mut breakers, ms).probes == [PEER] {
                probes.push(ms);
            }
        }
        let gaps: Vec<u64> = probes.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(gaps.windows(2).all(|w| w[1] >= w[0]), "{gaps:?}");
        let most = (limits::BREAKER_MOST.0 + limits::SILENCE_MAX.0) / 1000;
        assert!(gaps.iter().all(|gap| *gap <= most + 20), "{gaps:?}");
    }

    #[test]
    fn a_sign_of_life_brings_the_probe_forward_but_closes_nothing() {
        let mut breakers = opened();
        let ms = limits::SILENCE_MAX.0 / 1000 + 1;
        assert_eq!(look(&mut breakers, ms), Due::default());
        breakers.heard_of(PEER, at(ms));
        assert_eq!(look(&mut breakers, ms).probes, [PEER]);
        assert_eq!(breakers.state(PEER), BreakerState::HalfOpen);
    }

    #[test]
    fn a_node_that_stood_still_blames_nobody() {
        let mut breakers = Breakers::default();
        breakers.connected(PEER, at(0));
        (0..limits::UNANSWERED_MIN).for_each(|_| breakers.asked(PEER, at(0)));
        assert_eq!(breakers.look(at(5000), true, &mut Pcg64::seed_from_u64(1)), Due::default());
        assert_eq!(look(&mut breakers, 5010), Due::default());
    }
}
