//! What went over the wire: frames and bytes, by message and by direction.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Frames, and their bytes with their headers (but without those of TCP and IP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Frames.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// The count of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    counts: BTreeMap<(usize, usize, &'static str), Count>,
}

impl Tally {
    pub(super) fn add(&mut self, from: usize, to: usize, message: &'static str, bytes: usize) {
        *self.counts.entry((from, to, message)).or_default() += Count { messages: 1, bytes: bytes as u64 };
    }

    /// Everything, between all nodes.
    pub fn total(&self) -> Count {
        self.sum(|_, _, _| true)
    }

    /// One kind of message, between all nodes.
    pub fn of(&self, name: &str) -> Count {
        self.sum(|_, _, message| message == name)
    }

    /// What is said where nothing happens: digests, and who is there.
    pub fn idle_bytes(&self) -> u64 {
        ["Digests", "Clocks", "Ping", "PingFor", "Ack", "Members", "Standing"]
            .iter()
            .map(|name| self.of(name).bytes)
            .sum()
    }

    /// What came to a node.
    pub fn to(&self, node: usize) -> Count {
        self.sum(|_, to, _| to == node)
    }

    /// What a node sent.
    pub fn from(&self, node: usize) -> Count {
        self.sum(|from, _, _| from == node)
    }

    fn sum(&self, counts: impl Fn(usize, usize, &str) -> bool) -> Count {
        let mut sum = Count::default();
        self.counts.iter().filter(|((from, to, name), _)| counts(*from, *to, name)).for_each(|(_, c)| sum += *c);
        sum
    }
}
