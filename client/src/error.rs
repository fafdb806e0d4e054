//! What can go wrong, and what remains true then.

use crate::wire::{ErrorCode, Failure, WireError};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No node could be reached that would have done it. Nothing was changed.
    #[error("no node could be reached: {detail}")]
    Unreachable {
        /// Which nodes were tried, and what happened.
        detail: String,
    },

    /// The node wants nothing to do with us: another cluster, or another version. Nothing was changed.
    #[error("refused: {detail}")]
    Refused {
        /// What does not fit.
        detail: String,
    },

    /// Fewer copies than needed could be reached. Nothing was changed.
    #[error("quorum not met: {needed} copies needed, {received} answered: {detail}")]
    QuorumNotMet {
        /// Copies needed.
        needed: u8,
        /// Copies that answered.
        received: u8,
        /// What the coordinator says.
        detail: String,
    },

    /// A write may or may not have taken effect, now or later. Read to find out; a blind retry may make a sibling.
    #[error("outcome unknown: {needed} copies needed, {received} known to have it: {detail}")]
    OutcomeUnknown {
        /// Copies needed; 0 when no coordinator answered.
        needed: u8,
        /// Copies that are known to have it; 0 when no coordinator answered.
        received: u8,
        /// Attempts that may have taken effect, or may yet: a put is tried again by the client. See
        /// [`Written::unknown_attempts`](crate::Written::unknown_attempts).
        attempts: u32,
        /// What happened.
        detail: String,
    },

    /// Too much is waiting, at a node or in this client. Nothing was changed.
    #[error("overloaded: {detail}")]
    Overloaded {
        /// Where.
        detail: String,
    },

    /// The nodes reached are stopping or not ready. Nothing was changed.
    #[error("not available: {detail}")]
    Unavailable {
        /// What the node says.
        detail: String,
    },

    /// The nodes go by other layouts than they let us see. Nothing was changed. Passes when a change of layout has spread.
    #[error("the layout is changing: {detail}")]
    OtherLayout {
        /// What the node says.
        detail: String,
    },

    /// A bucket's name, key or value, or an answer, is over its limit. Nothing was changed.
    #[error("too large: {detail}")]
    TooLarge {
        /// What, and how large it may be.
        detail: String,
    },

    /// The key has too many siblings for one more. Nothing was changed. Read it, and write over what was read.
    #[error("too many siblings: read the key and write over what was read")]
    TooManySiblings,

    /// The context belongs to another key, bucket or cluster, or was made up. Nothing was changed.
    #[error("the context belongs to another key, bucket or cluster")]
    ForeignContext,

    /// The request makes no sense as it stands. Nothing was changed.
    #[error("bad request: {detail}")]
    BadRequest {
        /// What is wrong with it.
        detail: String,
    },

    /// No answer in time. Of reads only: a write without an answer is [`Error::OutcomeUnknown`].
    #[error("no answer in the time allowed")]
    TimedOut,

    /// No copy that answered in time has seen what this session has. Of reads only.
    #[error("not seen yet by the copies that answered in time: {detail}")]
    NotSeenYet {
        /// What the node says.
        detail: String,
    },

    /// One value was wanted and there are several (see [`Read::siblings`](crate::Read::siblings)).
    #[error("the key has {count} siblings where one value was wanted")]
    Siblings {
        /// How many.
        count: usize,
    },

    /// The node could not do it for a reason of its own. A write may have taken effect.
    #[error("the node failed: {detail}")]
    Internal {
        /// What the node says; its log says more.
        detail: String,
    },

    /// The node's answer makes no sense. A write may have taken effect.
    #[error("a node answered what it should not: {detail}")]
    Unexpected {
        /// What it answered.
        detail: String,
    },

    /// The other side's bytes are no frames of ours (reads, and connecting), or a message of ours does not fit into one.
    /// Nothing was changed.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What remains true after an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The request changed nothing, and never will.
    Nothing,
    /// It may have changed something, or still do so.
    Unknown,
}

impl Error {
    /// What the failed request may have changed.
    pub fn changed(&self) -> Changed {
        match self {
            Error::OutcomeUnknown { .. } | Error::Internal { .. } | Error::Unexpected { .. } => Changed::Unknown,
            Error::Unreachable { .. }
            | Error::Refused { .. }
            | Error::QuorumNotMet { .. }
            | Error::Overloaded { .. }
            | Error::Unavailable { .. }
            | Error::OtherLayout { .. }
            | Error::TooLarge { .. }
            | Error::TooManySiblings
            | Error::ForeignContext
            | Error::BadRequest { .. }
            | Error::TimedOut
            | Error::NotSeenYet { .. }
            | Error::Siblings { .. }
            | Error::Wire(_) => Changed::Nothing,
        }
    }

    /// A stable name in snake case, for counters and scripts; where nodes have a name for it too, it is theirs.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Unreachable { .. } => "unreachable",
            Error::Refused { .. } => ErrorCode::Refused.as_str(),
            Error::QuorumNotMet { .. } => ErrorCode::QuorumNotMet.as_str(),
            Error::OutcomeUnknown { .. } => ErrorCode::OutcomeUnknown.as_str(),
            Error::Overloaded { .. } => ErrorCode::Overloaded.as_str(),
            Error::Unavailable { .. } => ErrorCode::Unavailable.as_str(),
            Error::OtherLayout { .. } => ErrorCode::OtherLayout.as_str(),
            Error::TooLarge { .. } => ErrorCode::TooLarge.as_str(),
            Error::TooManySiblings => ErrorCode::TooManySiblings.as_str(),
            Error::ForeignContext => ErrorCode::ForeignContext.as_str(),
            Error::BadRequest { .. } => ErrorCode::BadRequest.as_str(),
            Error::TimedOut => "timed_out",
            Error::NotSeenYet { .. } => ErrorCode::NotSeenYet.as_str(),
            Error::Siblings { .. } => "siblings",
            Error::Internal { .. } => ErrorCode::Internal.as_str(),
            Error::Unexpected { .. } => "unexpected",
            Error::Wire(_) => "wire",
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let Failure { code, needed, received, detail } = failure;
        match code {
            ErrorCode::BadRequest => Error::BadRequest { detail },
            ErrorCode::TooLarge => Error::TooLarge { detail },
            ErrorCode::TooManySiblings => Error::TooManySiblings,
            ErrorCode::ForeignContext => Error::ForeignContext,
            ErrorCode::QuorumNotMet => Error::QuorumNotMet { needed, received, detail },
            ErrorCode::OutcomeUnknown => Error::OutcomeUnknown { needed, received, attempts: 1, detail },
            ErrorCode::Overloaded => Error::Overloaded { detail },
            ErrorCode::Unavailable => Error::Unavailable { detail },
            ErrorCode::OtherLayout => Error::OtherLayout { detail },
            ErrorCode::Refused => Error::Refused { detail },
            ErrorCode::Internal => Error::Internal { detail },
            ErrorCode::NotSeenYet => Error::NotSeenYet { detail },
        }
    }
}
