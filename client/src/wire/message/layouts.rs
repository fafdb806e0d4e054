//! How the next layout is agreed on and spread: words about epochs, single-decree Paxos, staged changes, and what an
//! operator asks for.

use serde::{Deserialize, Serialize};

use super::MemberIs;

/// A number of a proposal. The higher round is the higher ballot; in the same round, the higher node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// From 1; 0 is below all ballots.
    pub round: u64,
    /// The proposer.
    pub node: u64,
}

/// Where the sender stands. Sent as a request and as its answer; whoever learns from it that the other knows more asks for
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The epoch that the sender goes by.
    pub epoch: u64,
    /// Hash of that layout and of how it was decided.
    pub layout: u64,
    /// Hash of the staged changes that the sender knows of.
    pub staged: u64,
    /// The sender has promised or accepted something for the epoch after.
    pub voted: bool,
    /// The sender has accepted something for the epoch after.
    pub accepted: bool,
    /// The sender may have promised or accepted something that it has lost with its disk, and takes no part in the choice.
    pub abstains: bool,
    /// The sender, when it is not a member: a guest, or a former member.
    pub guest: Option<GuestIs>,
}

/// A node that owns nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestIs {
    /// As the member that it would be.
    pub member: MemberIs,
    /// It was a member once.
    pub former: bool,
}

/// "Send me the layout that you go by, and how it was decided." Answered by [`Change`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChange {
    /// The sender's epoch.
    pub epoch: u64,
}

/// The answer to [`GetChange`]. Body: the decision, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The epoch of the layout in it.
    pub epoch: u64,
}

/// Paxos, phase 1a: "promise to take part in no lower ballot". Answered by [`Promise`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// The epoch whose members choose the layout after it.
    pub epoch: u64,
    /// Hash of that epoch's layout and of how it was decided.
    pub layout: u64,
    /// The ballot.
    pub ballot: Ballot,
}

/// Paxos, phase 1b. Body: the decision that was accepted under the highest ballot so far, encoded; empty where none was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The answerer's epoch.
    pub epoch: u64,
    /// The ballot that was asked about.
    pub ballot: Ballot,
    /// The highest ballot that the answerer has promised.
    pub promised: Ballot,
    /// The ballot under which the decision in the body was accepted.
    pub accepted: Option<Ballot>,
    /// What was asked for is promised, durably.
    pub granted: bool,
}

/// Paxos, phase 2a: "accept this". Body: the decision, encoded. Answered by [`Accepted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// The epoch whose members choose the layout after it.
    pub epoch: u64,
    /// Hash of that epoch's layout and of how it was decided.
    pub layout: u64,
    /// The ballot.
    pub ballot: Ballot,
}

/// Paxos, phase 2b.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The answerer's epoch.
    pub epoch: u64,
    /// The ballot that was asked about.
    pub ballot: Ballot,
    /// The highest ballot that the answerer has promised.
    pub promised: Ballot,
    /// It is accepted, durably.
    pub granted: bool,
}

/// The staged changes that the sender knows of. As a request it is answered by another [`Staged`] with what the answerer
/// knows. Body: the changes, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The sender's epoch.
    pub epoch: u64,
}

/// An operator's request about changes of ownership; any node takes it. Answered by a [`Report`](super::Report): how things
/// stand after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operate {
    /// What.
    pub what: Operator,
}

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// Only how things stand.
    Show,
    /// Stage that this guest becomes a member.
    Join(MemberIs),
    /// Stage that the member of this name leaves, and hands over what it has.
    Leave(String),
    /// Stage that a member gives way to a guest.
    Replace {
        /// The member's name; it may be dead.
        old: String,
        /// The guest.
        new: MemberIs,
    },
    /// Stage that a dead member is no longer one.
    Remove(String),
    /// Stage another weight or zone of a member.
    Set {
        /// Its name.
        name: String,
        /// Its weight from then on.
        weight: Option<u32>,
        /// Its zone from then on.
        zone: Option<String>,
    },
    /// Make these staged changes the next layout.
    Commit {
        /// Their ids.
        changes: Vec<ChangeId>,
        /// Without a majority of the members, on the operator's word.
        force: bool,
    },
    /// Forget these staged changes.
    Cancel {
        /// Their ids.
        changes: Vec<ChangeId>,
    },
}

/// The identity of a staged change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChangeId {
    /// The epoch under which it was staged.
    pub epoch: u64,
    /// Random.
    pub number: u64,
}

/// Where partitions are that get other owners, as far as the sender knows; what it says of itself it has promised. Not
/// answered, but a receiver that knows more says so in the same way. Also the answer to a [`Fetch`](super::Fetch) under an
/// older phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// The sender's epoch.
    pub epoch: u64,
    /// Partitions that are not stable, or that the receiver seems to be behind with.
    pub partitions: Vec<PhaseIs>,
}

/// Where a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseIs {
    /// The partition.
    pub partition: u16,
    /// 0: joint; 1: read-new; 2: stable.
    pub phase: u8,
    /// The sender is a new owner, and contains what the former owners had acknowledged before.
    pub whole: bool,
}
