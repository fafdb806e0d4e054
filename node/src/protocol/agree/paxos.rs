//! Single-decree Paxos, one instance an epoch: the members of a layout choose the next (Lamport, "Paxos Made Simple", 2001).
//!
//! Two halves without I/O: the [`Vote`] of a member, which is durable before anything of it is said, and the [`Proposal`]
//! of whoever tries to have something chosen, which may be forgotten at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use dynode_client::wire::Ballot;
use dynode_ring::NodeId;

use super::decision::Decision;
use super::rules::{Rule, broken};
use crate::protocol::Time;

/// What a member has promised and accepted for one epoch. What it says must be stored before.
#[derive(Debug, Clone)]
pub struct Vote {
    /// The epoch whose members choose; the layout that is chosen has the next.
    pub epoch: u64,
    /// The highest ballot that it takes part in.
    pub promised: Ballot,
    /// The decision that it accepted last, and under which ballot.
    pub accepted: Option<(Ballot, Arc<Decision>)>,
}

impl Vote {
    /// Of a member that has said nothing yet.
    pub fn new(epoch: u64) -> Vote {
        Vote { epoch, promised: Ballot::default(), accepted: None }
    }

    /// Phase 1: promises to take part in no lower ballot, unless a higher one was promised.
    pub fn prepare(&mut self, ballot: Ballot) -> bool {
        let granted = ballot >= self.promised;
        if granted {
            self.promised = ballot;
        }
        granted
    }

    /// Phase 2: accepts, unless a higher ballot was promised.
    pub fn accept(&mut self, ballot: Ballot, decision: &Arc<Decision>) -> bool {
        let granted = ballot >= self.promised || broken(Rule::AcceptBelowPromise);
        if granted {
            self.promised = self.promised.max(ballot);
            self.accepted = Some((ballot, Arc::clone(decision)));
        }
        granted
    }
}

/// An attempt to have a decision chosen.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) ballot: Ballot,
    /// Given up at that time, for one with a higher ballot.
    pub(super) until: Time,
    /// More than half of the members.
    majority: usize,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Who has promised, and the decision that one of them accepted under the highest ballot.
    Preparing { promised: BTreeSet<NodeId>, highest: Option<(Ballot, Arc<Decision>)> },
    /// Who has accepted.
    Accepting { accepted: BTreeSet<NodeId>, decision: Arc<Decision> },
}

impl Proposal {
    pub(super) fn new(ballot: Ballot, members: usize, until: Time) -> Proposal {
        let phase = Phase::Preparing { promised: BTreeSet::new(), highest: None };
        Proposal { ballot, until, majority: majority(members), phase }
    }

    /// A member has promised, and told what it had accepted. With a majority: the decision that must be proposed, if any
    /// of them had accepted one; what is proposed may be chosen freely otherwise.
    pub(super) fn promise(
        &mut self,
        from: NodeId,
        accepted: Option<(Ballot, Arc<Decision>)>,
    ) -> Option<Option<Arc<Decision>>> {
        let Phase::Preparing { promised, highest } = &mut self.phase else { return None };
        promised.insert(from);
        let is_higher = |(ballot, _): &(Ballot, Arc<Decision>)| highest.as_ref().is_none_or(|(h, _)| ballot > h);
        if let Some(accepted) = accepted.filter(is_higher) {
            *highest = Some(accepted);
        }
        let highest = if broken(Rule::IgnoreAccepted) { None } else { highest.as_ref() };
        (promised.len() >= self.majority).then(|| highest.map(|(_, decision)| Arc::clone(decision)))
    }

    /// Phase 2 begins.
    pub(super) fn propose(&mut self, decision: Arc<Decision>, until: Time) {
        self.phase = Phase::Accepting { accepted: BTreeSet::new(), decision };
        self.until = until;
    }

    /// A member has accepted. With a majority it is chosen.
    pub(super) fn accepted(&mut self, from: NodeId) -> Option<Arc<Decision>> {
        let Phase::Accepting { accepted, decision } = &mut self.phase else { return None };
        accepted.insert(from);
        (accepted.len() >= self.majority).then(|| Arc::clone(decision))
    }
}

/// More than half.
pub(super) fn majority(members: usize) -> usize {
    members / 2 + 1
}
