//! Members: the nodes that take part, and what the ring needs to know of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The identity of a node, stable for the life of its data directory. Written as 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", self.0))
    }
}

/// The text is not 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a node id has 16 hex digits")]
pub struct ParseNodeIdError;

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<NodeId, ParseNodeIdError> {
        // from_str_radix alone would take a sign.
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseNodeIdError);
        }
        u64::from_str_radix(text, 16).map(NodeId).map_err(|_| ParseNodeIdError)
    }
}

/// A node that takes part: it has a share of the ring and a vote on layouts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Who it is. Unique in a layout.
    pub id: NodeId,
    /// What operators call it: 1 to 255 bytes. Unique in a layout.
    pub name: String,
    /// `host:port` of its native listener, at most 255 bytes; not looked into here.
    pub addr: String,
    /// What fails together, such as a rack or a data centre: at most 255 bytes. Equal text is the same zone.
    pub zone: String,
    /// Its capacity relative to the other members', at least 1.
    pub weight: u32,
}
