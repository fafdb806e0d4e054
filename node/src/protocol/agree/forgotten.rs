//! What a node may have promised, and lost with its disk: votes, and, by going by a later layout, to take no write and answer no
//! read of the one before. Until it has heard enough from others it abstains, and counts in no strict quorum.
//!
//! All that others say of their votes they say after this node's start, so that it is true of the time before as well. A new
//! cluster's nodes, and guests, come to their votes in the same way. The argument: `docs/membership.md`.

use dynode_client::wire::Standing;
use dynode_ring::NodeId;

use super::paxos::majority;
use super::rules::{Rule, broken};
use super::{Agree, Decision};
use crate::limits;

impl Agree {
    /// Does it know all that it has promised for the epoch after this?
    pub fn knows_its_votes(&self) -> bool {
        self.votes_from <= self.layout().epoch()
    }

    /// May it have gone by a later layout than this one, and have lost that with its disk?
    pub fn may_have_gone_on(&self) -> bool {
        self.votes_from > self.layout().epoch().saturating_add(1)
    }

    /// What a member says of its votes in this epoch. It stays true of the time before this node's start, whatever it does later.
    pub(super) fn hear_votes(&mut self, from: NodeId, m: &Standing) {
        if !m.voted {
            self.unvoted.insert(from);
        }
        if !m.accepted {
            *self.unaccepted.entry(from).or_default() |= !m.abstains;
        }
        self.learn_own_votes();
    }

    /// A node on a new disk may have promised something that it knows no more of, and abstains where it may have.
    ///
    /// Where so many of the members say after its start that they have accepted nothing in this epoch that nothing can have been
    /// chosen in it when the disk was lost, nobody had gone by a later layout: so the node cannot have voted in any later epoch.
    /// Where *all* others say that they have not voted, it has not voted in this one either: whoever proposes promises first
    /// itself, durably.
    pub(super) fn learn_own_votes(&mut self) {
        let (epoch, members) = (self.layout().epoch(), self.layout().members().len());
        let others = members - usize::from(self.is_member());
        let from = match () {
            () if self.is_hearsay => return, // it is not known what layout this is
            () if self.unvoted.len() >= others => epoch,
            () if !self.may_have_chosen() => epoch + 1,
            () => return,
        };
        if from < self.votes_from {
            self.votes_from = from;
            self.unstored.vote = true;
        }
    }

    /// May a majority of the members have accepted something before this node's disk was lost, as far as they have said since?
    /// This node itself may have, and all who have not said otherwise; and of those who said so while they did not know their
    /// votes as many as can have lost their disks, if fewer than half of all have.
    fn may_have_chosen(&self) -> bool {
        let (members, own) = (self.layout().members().len(), usize::from(self.is_member()));
        let silent = members - own - self.unaccepted.len();
        let abstaining = self.unaccepted.values().filter(|knew| !**knew).count();
        let forgetful = abstaining.min((members.saturating_sub(1) / 2).saturating_sub(own));
        let silent = if broken(Rule::SilenceIsNo) { 0 } else { silent };
        let forgetful = if broken(Rule::ForgetfulWord) { 0 } else { forgetful };
        own + silent + forgetful >= majority(members)
    }

    /// Is what this node knows of its votes true under this decision as well? It is along layouts that members chose, each from
    /// the one before. Under a forced one it may have voted before its disk was lost, and learned its votes since from members
    /// that had not heard of that one. Not if it was forced since: by a node that has said, since this one's start, that it went by
    /// the layout before; or from a layout that was itself chosen since.
    pub(super) fn keeps_its_votes(&self, decision: &Decision) -> bool {
        if broken(Rule::VotesAcrossForce) {
            return true;
        }
        let era = |epoch: u64| epoch / limits::FORCED_LEAP;
        match decision.forced {
            Some(base) if (base.epoch, base.hash) == (self.decision.epoch(), self.decision.hash()) => {
                self.stood.contains(&base.by) || base.epoch > self.votes_from
            }
            Some(_) => false,
            None => era(decision.epoch()) == era(self.decision.epoch()),
        }
    }
}
