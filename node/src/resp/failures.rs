//! Why something was not done, as an error of Redis: a word in capitals, and what remains true.

use dynode_client::wire::{ErrorCode, Failure};

use super::codec::Reply;
use crate::protocol::failure;

/// A node's refusal. Where Redis has a word for it, it is that one; clients act on some.
pub(super) fn reply(why: &Failure) -> Reply {
    let Failure { code, needed, received, detail } = why;
    let word = match code {
        // Redis: too few replicas for `min-replicas-to-write`.
        ErrorCode::QuorumNotMet | ErrorCode::NotSeenYet => "NOREPLICAS",
        ErrorCode::OutcomeUnknown => "OUTCOMEUNKNOWN",
        ErrorCode::Overloaded => "TRYAGAIN",
        // Redis: not ready yet. Clients try again, or another node.
        ErrorCode::Unavailable | ErrorCode::OtherLayout | ErrorCode::Refused => "LOADING",
        ErrorCode::BadRequest
        | ErrorCode::TooLarge
        | ErrorCode::TooManySiblings
        | ErrorCode::ForeignContext
        | ErrorCode::Internal => "ERR",
    };
    let counts = match code {
        ErrorCode::QuorumNotMet | ErrorCode::OutcomeUnknown => format!("{received} of {needed} copies: "),
        _ => String::new(),
    };
    Reply::Error(format!("{word} {counts}{detail}").into())
}

/// The memory for commands and values is used up.
pub(super) fn full() -> Failure {
    failure(
        ErrorCode::Overloaded,
        "the values of commands under way take all the memory there is for them; try again later",
    )
}

/// The node answered something that is no answer to what it was asked.
pub(super) fn unexpected(answered: &str) -> Failure {
    failure(ErrorCode::Internal, format!("the node answered with {answered}, which is no answer: a bug"))
}

/// The lane ended without an answer: the server is stopping.
pub(super) fn gone() -> Reply {
    Reply::Error("LOADING the server is stopping; a write may or may not take effect".into())
}

/// Too few owners of a partition answer.
pub(super) fn too_few(why: &str) -> Reply {
    Reply::Error(format!("NOREPLICAS too few owners of a partition have answered: {why}").into())
}
