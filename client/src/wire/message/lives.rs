//! What members say to each other when lives that have ended are closed.

use serde::{Deserialize, Serialize};

/// An owner wants to close lives that have ended, and asks a member for its present one in a partition. Answered by
/// [`LifeIs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskLife {
    /// The sender's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// The greatest life of the member that the sender knows of there.
    pub last_life: u64,
}

/// The answer to [`AskLife`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeIs {
    /// The present life of the member's copy; where it has none, no later one will be below this.
    pub life: u64,
    /// It has a copy.
    pub has_copy: bool,
}

/// Refuse what is left of lives that have ended, for good, and hand over what you have of them. Answered by [`HandedOver`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The sender's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// By node id: all lives below. The member's own is the one that it has said.
    pub lives: Vec<(u64, u64)>,
}

/// The answer to [`Refuse`], once that is durable. Body: what the member's copy has of the refused lives, a clock, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The member's present life, as in [`LifeIs`].
    pub life: u64,
}
