//! What peers say about who is there: probes and their answers, and news of members on all of them.

use serde::{Deserialize, Serialize};

/// What a member is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It answers, or has not been asked yet.
    Alive,
    /// It did not answer; it has some time left to contradict.
    Suspect {
        /// The member that it did not answer.
        by: u64,
    },
    /// It was suspected, and did not contradict in time.
    Down,
}

/// What is said of one member. Of two words about a member the one with the higher incarnation holds; at the same, down
/// beats suspect, and suspect beats alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rumour {
    /// About whom.
    pub node: u64,
    /// Its incarnation that was seen last. Only the member itself raises it, to contradict.
    pub incarnation: u64,
    /// What it is taken to be.
    pub state: MemberState,
}

/// "Are you there?" Answered by [`Ack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// News of members.
    pub rumours: Vec<Rumour>,
}

/// "Ask that member for me whether it is there." Answered by [`Ack`], at once or when the member has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingFor {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Whom to ask.
    pub target: u64,
    /// News of members.
    pub rumours: Vec<Rumour>,
}

/// The answer to [`Ping`] and [`PingFor`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The one that was asked for is there; to [`Ping`] always true. False: the answerer is there, but has not heard from it.
    pub heard: bool,
    /// News of members.
    pub rumours: Vec<Rumour>,
}

/// News of members. Sent as a request with id 0 it is news, and not answered; with another id it has all members, and the
/// answer is another [`Members`] with all that the answerer knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// What the sender takes members to be.
    pub rumours: Vec<Rumour>,
}
