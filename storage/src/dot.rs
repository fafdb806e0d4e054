//! The identity of one write: an actor and its counter.
//!
//! Source: dots and dotted version vectors (Preguiça, Baquero, Almeida, Fonte, Gonçalves, 2012); a clock a node and
//! partition instead of one a key (Gonçalves, Almeida, Baquero, Fonte: "DottedDB", 2017).

use std::fmt;

use dynode_ring::NodeId;

/// One life of one node's copy of a partition. A life ends when the copy is lost, dropped or rolled back; its actor is
/// never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The node whose copy it is.
    pub node: NodeId,
    /// Which life: unique for the node, later lives have greater numbers (see [`crate::store::Store::open`]).
    pub life: u64,
}

/// No counter is greater: a million writes a second reach it after 73,000 years. Stored and sent bytes that say more are
/// refused, so that no sum of counters can overflow.
pub const COUNTER_MAX: u64 = u64::MAX >> 3;

/// No life is greater: there is room to count on. Stored and sent bytes that say more are refused.
pub const LIFE_MAX: u64 = u64::MAX - (1 << 24);

/// One write, put or delete: the `counter`-th of its actor in this partition, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who coordinated the write.
    pub actor: Actor,
    /// Its place among the actor's writes, from 1.
    pub counter: u64,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.node, self.life)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}
