//! What clients say about values: write, delete, read, list.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Acks, Causality, Quorum};
use crate::wire::meta::{Expiry, Meta};

/// Write a value. Body: the value. Answered by [`PutDone`] or [`Failure`](super::Failure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The bucket, 1 byte to 1 KiB.
    pub bucket: Bytes,
    /// The key, 1 byte to 1 KiB.
    pub key: Bytes,
    /// What it replaces.
    pub causality: Causality,
    /// How many acknowledgements to wait for.
    pub w: Quorum,
    /// Count owners only.
    pub strict: bool,
    /// Time left, in milliseconds.
    pub timeout_ms: u32,
    /// What kind of value it is, to be told to readers; empty: not said. Up to 255 bytes.
    pub content_type: Bytes,
    /// When the value expires.
    pub expiry: Expiry,
    /// An id that a retry repeats, so that it never becomes a sibling of what it repeats. Random, or the hash of an id that
    /// the user gave.
    pub request: Option<u64>,
}

/// Delete a key. Answered by [`PutDone`] or [`Failure`](super::Failure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The bucket.
    pub bucket: Bytes,
    /// The key.
    pub key: Bytes,
    /// What it removes; [`Causality::Blind`] removes nothing and is refused.
    pub causality: Causality,
    /// How many acknowledgements to wait for.
    pub w: Quorum,
    /// Count owners only.
    pub strict: bool,
    /// Time left, in milliseconds.
    pub timeout_ms: u32,
}

/// A write was acknowledged by enough copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutDone {
    /// The sealed context after the write: a writer that goes on from here replaces what it wrote and what that replaced.
    pub context: Bytes,
    /// Who acknowledged.
    pub acks: Acks,
}

/// Read a key. Answered by [`Found`] or [`Failure`](super::Failure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The bucket.
    pub bucket: Bytes,
    /// The key.
    pub key: Bytes,
    /// How many copies to ask.
    pub r: Quorum,
    /// Count owners only.
    pub strict: bool,
    /// Time left, in milliseconds.
    pub timeout_ms: u32,
    /// A sealed context that the answer must have seen: further copies are asked until it has.
    pub at_least: Option<Bytes>,
}

/// What was read. Body: the siblings' values, one after the other. No siblings: not found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The siblings, in the order of their dots.
    pub siblings: Vec<SiblingIs>,
    /// The sealed context: all that was seen, absence included.
    pub context: Bytes,
    /// Who answered.
    pub acks: Acks,
}

/// One of the values that were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiblingIs {
    /// The length of the value in bytes.
    pub length: u32,
    /// What is said about it.
    pub meta: Meta,
}

/// List one partition's keys of a bucket, in order, from this node's own copy. Answered by [`Keys`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListKeys {
    /// The partition.
    pub partition: u16,
    /// The bucket.
    pub bucket: Bytes,
    /// Only keys that start with this.
    pub prefix: Bytes,
    /// Only keys after this one; empty: from the start.
    pub after: Bytes,
    /// At most so many.
    pub limit: u32,
}

/// A page of keys that have a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The keys, in byte order.
    pub keys: Vec<Bytes>,
    /// More follow after the last of them.
    pub more: bool,
    /// The copy may lack what it had acknowledged: that a key is not among these means nothing.
    pub recovering: bool,
}
