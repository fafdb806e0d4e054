//! What went over the wire, by what it is for.

use std::collections::BTreeMap;

use dynode_client::wire::Message;

/// Frames and their bytes by message, headers included (but without those of TCP and IP).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally(BTreeMap<&'static str, (u64, u64)>);

/// Who is there.
pub const GOSSIP: &[&str] = &["Ping", "PingFor", "Ack", "Members"];
/// Which layout there is, and which comes next.
pub const AGREEMENT: &[&str] =
    &["Standing", "GetChange", "Change", "Staged", "Prepare", "Promise", "Accept", "Accepted"];
/// Where partitions are on their way to other owners.
pub const PHASES: &[&str] = &["Phases"];
/// Whether copies are equal.
pub const DIGESTS: &[&str] = &["Digests", "Clocks"];
/// What copies lack.
pub const SYNC: &[&str] = &["Pull", "Answer", "Handoff", "Behind"];

impl Tally {
    pub(super) fn add(&mut self, message: &Message, bytes: u64) {
        let (frames, sum) = self.0.entry(message.name()).or_default();
        *frames += 1;
        *sum += bytes;
    }

    /// The bytes of these messages.
    pub fn bytes(&self, of: &[&str]) -> u64 {
        of.iter().filter_map(|name| self.0.get(name)).map(|(_, bytes)| bytes).sum()
    }

    /// Frames and bytes of each message, the most bytes first.
    pub fn by_message(&self) -> Vec<(&'static str, u64, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, (frames, bytes))| (*name, *frames, *bytes)).collect();
        all.sort_by_key(|(_, _, bytes)| std::cmp::Reverse(*bytes));
        all
    }
}
