//! Choosing the next layout: who proposes when, and both sides of the messages of Paxos.
//!
//! The node that took an operator's word proposes at once. The others know of it by gossip, and propose later, if nothing
//! has been decided until then: it may have died. Whoever proposes promises first itself, so that a decision under way is
//! known to at least one durable vote beside the proposer's messages.

use std::sync::Arc;

use bytes::Bytes;
use dynode_client::wire::{Accept, Accepted, Ballot, Prepare, Promise};
use dynode_ring::NodeId;

use super::paxos::{Phase, Proposal};
use super::{Agree, Decision, Outcome, apply, codec};
use crate::limits;
use crate::protocol::{Effects, Micros, Observation, ReplyTo, Time};

impl Agree {
    /// The members if all that is committed is done, as far as it can be.
    pub(super) fn committed_outcome(&self) -> Outcome {
        apply(self.layout(), self.staged.committed(self.layout().epoch()))
    }

    fn has_something_to_choose(&self) -> bool {
        // What a member has accepted may have been chosen, and its proposer gone.
        self.vote.accepted.is_some()
            || (self.staged.committed(self.layout().epoch()).next().is_some()
                && !self.committed_outcome().done.is_empty())
    }

    /// Gives up a proposal that takes too long, and begins one when it is time.
    pub(super) fn look_at_proposal(&mut self, now: Time, settled: bool, out: &mut Effects) {
        match &self.proposal {
            Some(proposal) if now < proposal.until => return,
            Some(_) => self.try_again(now),
            None => {}
        }
        if self.is_hearsay
            || !self.is_member()
            || !self.knows_its_votes()
            || !settled
            || !self.has_something_to_choose()
        {
            self.next_try = None;
            return;
        }
        match self.next_try {
            None => {
                let later = self.random(limits::PROPOSE_LATER);
                self.next_try = Some(now + limits::PROPOSE_LATER + later);
            }
            Some(at) if now >= at => self.begin_ballot(now, out),
            Some(_) => {}
        }
    }

    /// A change was committed here: no need to wait for others.
    pub(super) fn propose_now(&mut self, now: Time, settled: bool, out: &mut Effects) {
        if self.proposal.is_none() {
            self.next_try = Some(now);
            self.look_at_proposal(now, settled, out);
        }
    }

    fn try_again(&mut self, now: Time) {
        self.proposal = None;
        let wait = self.random(self.ballot_wait);
        self.next_try = Some(now + wait);
        self.ballot_wait = Micros(self.ballot_wait.0 * 2).min(limits::BALLOT_WAIT_MOST);
    }

    fn begin_ballot(&mut self, now: Time, out: &mut Effects) {
        self.round += 1;
        let ballot = Ballot { round: self.round, node: self.own.0 };
        let (epoch, members) = (self.layout().epoch(), self.layout().members().len());
        let layout = self.decision.hash();
        self.next_try = None;
        if !self.vote.prepare(ballot) {
            return self.try_again(now); // `round` is never below what was promised
        }
        self.unstored.vote = true;
        self.proposal = Some(Proposal::new(ballot, members, now + limits::PROPOSAL_TIME));
        for node in self.others() {
            self.send(node, Prepare { epoch, layout, ballot }, Bytes::new(), out);
        }
        let accepted = self.vote.accepted.clone();
        self.count_promise(now, self.own, accepted, out);
    }

    /// A member asks for a promise.
    pub(super) fn prepare(&mut self, now: Time, from: NodeId, reply_to: ReplyTo, m: &Prepare, out: &mut Effects) {
        self.saw_epoch(now, from, m.epoch, out);
        let mut granted = false;
        if self.takes_part(from, m.epoch, m.layout) {
            self.round = self.round.max(m.ballot.round);
            granted = self.vote.prepare(m.ballot);
            self.unstored.vote |= granted;
            self.yield_to(now, m.ballot);
        }
        let accepted = self.vote.accepted.as_ref().filter(|_| granted);
        let body = accepted.map_or_else(Bytes::new, |(_, decision)| decision.bytes().clone());
        let promise = Promise {
            epoch: self.layout().epoch(),
            ballot: m.ballot,
            promised: self.vote.promised,
            accepted: accepted.map(|(ballot, _)| *ballot),
            granted,
        };
        out.reply_with(reply_to, promise, body);
    }

    /// A member proposes.
    pub(super) fn accept(
        &mut self,
        now: Time,
        from: NodeId,
        reply_to: ReplyTo,
        m: &Accept,
        body: Bytes,
        out: &mut Effects,
    ) {
        self.saw_epoch(now, from, m.epoch, out);
        let mut granted = false;
        if self.takes_part(from, m.epoch, m.layout)
            && let Some(decision) = self.read(from, body, out).filter(|decision| decision.follows(self.layout()))
        {
            self.round = self.round.max(m.ballot.round);
            granted = self.vote.accept(m.ballot, &Arc::new(decision));
            self.unstored.vote |= granted;
            self.yield_to(now, m.ballot);
        }
        let (epoch, promised) = (self.layout().epoch(), self.vote.promised);
        out.reply(reply_to, Accepted { epoch, ballot: m.ballot, promised, granted });
    }

    /// Does this node vote on what this member asks?
    fn takes_part(&self, from: NodeId, epoch: u64, hash: u64) -> bool {
        let layout = self.layout();
        let is_same = epoch == layout.epoch() && hash == self.decision.hash();
        is_same && self.knows_its_votes() && self.is_member() && layout.member(from).is_some()
    }

    /// Somebody with a higher ballot is at it: it gets the time to finish.
    fn yield_to(&mut self, now: Time, ballot: Ballot) {
        if ballot.node != self.own.0 && self.proposal.is_none() {
            let later = self.random(limits::PROPOSE_LATER);
            self.next_try = Some(now + limits::PROPOSE_LATER + later);
        }
    }

    /// A member has promised, or refused.
    pub(super) fn promised(&mut self, now: Time, from: NodeId, m: &Promise, body: Bytes, out: &mut Effects) {
        self.saw_epoch(now, from, m.epoch, out);
        self.round = self.round.max(m.promised.round);
        if m.epoch != self.layout().epoch() || self.proposal.as_ref().is_none_or(|p| p.ballot != m.ballot) {
            return; // of another time
        }
        if !m.granted {
            return self.outbid(now, m.promised);
        }
        let accepted = match m.accepted {
            None => None,
            Some(ballot) => match self.read(from, body, out) {
                Some(decision) => Some((ballot, Arc::new(decision))),
                None => return, // a promise whose other half cannot be read is none
            },
        };
        self.count_promise(now, from, accepted, out);
    }

    fn count_promise(&mut self, now: Time, from: NodeId, accepted: Option<(Ballot, Arc<Decision>)>, out: &mut Effects) {
        let Some(proposal) = &mut self.proposal else { return };
        let Some(bound) = proposal.promise(from, accepted) else { return };
        match bound.or_else(|| self.own_wish(out)) {
            Some(decision) => self.propose(now, &decision, out),
            None => self.proposal = None, // what was wanted is wanted no more
        }
    }

    /// The layout that the committed changes lead to.
    fn own_wish(&self, out: &mut Effects) -> Option<Arc<Decision>> {
        let Outcome { members, done, .. } = self.committed_outcome();
        if done.is_empty() {
            return None;
        }
        match self.layout().next(members) {
            Ok(layout) => Some(Arc::new(Decision::new(self.layout(), layout, done, None))),
            Err(why) => {
                out.observe(Observation::NoLayout { why: why.to_string() });
                None
            }
        }
    }

    fn propose(&mut self, now: Time, decision: &Arc<Decision>, out: &mut Effects) {
        let Some(proposal) = &mut self.proposal else { return };
        let ballot = proposal.ballot;
        proposal.propose(Arc::clone(decision), now + limits::PROPOSAL_TIME);
        let (epoch, layout) = (self.layout().epoch(), self.decision.hash());
        for node in self.others() {
            self.send(node, Accept { epoch, layout, ballot }, decision.bytes().clone(), out);
        }
        if self.vote.accept(ballot, decision) {
            self.unstored.vote = true;
            self.count_accepted(now, self.own, out);
        } // else it has promised a higher ballot since
    }

    /// A member has accepted, or refused.
    pub(super) fn accepted(&mut self, now: Time, from: NodeId, m: &Accepted, out: &mut Effects) {
        self.saw_epoch(now, from, m.epoch, out);
        self.round = self.round.max(m.promised.round);
        if m.epoch != self.layout().epoch() || self.proposal.as_ref().is_none_or(|p| p.ballot != m.ballot) {
            return;
        }
        match m.granted {
            true => self.count_accepted(now, from, out),
            false => self.outbid(now, m.promised),
        }
    }

    fn count_accepted(&mut self, now: Time, from: NodeId, out: &mut Effects) {
        if let Some(decision) = self.proposal.as_mut().and_then(|proposal| proposal.accepted(from)) {
            self.decide(now, decision, out);
        }
    }

    /// A member refuses: because of a higher ballot, this proposal can hardly succeed; for another reason, others may not.
    fn outbid(&mut self, now: Time, promised: Ballot) {
        if self.proposal.as_ref().is_some_and(|proposal| promised > proposal.ballot) {
            self.try_again(now);
        }
    }

    /// What is being tried now, in words.
    pub(super) fn choosing(&self) -> Option<(u64, &'static str, usize)> {
        self.proposal.as_ref().map(|proposal| match &proposal.phase {
            Phase::Preparing { promised, .. } => (proposal.ballot.round, "asks for promises", promised.len()),
            Phase::Accepting { accepted, .. } => (proposal.ballot.round, "proposes a layout", accepted.len()),
        })
    }

    /// A decision that a peer sent.
    pub(super) fn read(&self, peer: NodeId, body: Bytes, out: &mut Effects) -> Option<Decision> {
        match codec::decode_decision(body) {
            Ok(decision) => Some(decision),
            Err(why) => {
                out.observe(Observation::Unreadable { peer, detail: why.to_string() });
                None
            }
        }
    }
}
