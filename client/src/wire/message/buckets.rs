//! What is said about buckets: their properties, and how nodes spread them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Quorum;
use crate::wire::meta::Hlc;

/// What becomes of values that were written without knowledge of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BucketKind {
    /// All are kept, and shown as siblings. The default.
    #[default]
    Siblings,
    /// The last by the hybrid logical clock is shown; the others are lost, and counted.
    Lww,
}

/// What a bucket is like. Buckets of which nobody has said anything have the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Properties {
    /// What becomes of concurrent values.
    pub kind: BucketKind,
    /// How many copies a read asks that leaves it to the bucket.
    pub r: Quorum,
    /// How many acknowledgements a write awaits that leaves it to the bucket.
    pub w: Quorum,
    /// Values expire after so many milliseconds, unless their writers say otherwise.
    pub ttl_ms: Option<u64>,
}

/// Ask for a bucket's properties, as this node knows them. Answered by [`BucketIs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetBucket {
    /// The bucket.
    pub bucket: Bytes,
}

/// Change a bucket's properties: what is `None` stays. Any node takes it, and tells the others; where two change the same
/// bucket at the same time the later one counts everywhere. Answered by [`BucketIs`] or [`Failure`](super::Failure).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SetBucket {
    /// The bucket.
    pub bucket: Bytes,
    /// What becomes of concurrent values, from now on.
    pub kind: Option<BucketKind>,
    /// How many copies: the layout's number, for now.
    pub n: Option<u8>,
    /// How many copies a read asks by default.
    pub r: Option<Quorum>,
    /// How many acknowledgements a write awaits by default.
    pub w: Option<Quorum>,
    /// `Some(None)`: values do not expire. Those that are there keep what they have.
    pub ttl_ms: Option<Option<u64>>,
}

/// A bucket's properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketIs {
    /// The bucket.
    pub bucket: Bytes,
    /// How many copies.
    pub n: u8,
    /// What it is like.
    pub properties: Properties,
    /// When that was said; zero: never.
    pub since: Hlc,
    /// By whom.
    pub node: u64,
}

/// A hash over all buckets' properties that the sender knows. A peer with another one tells what it knows, by
/// [`Buckets`]. No answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketsHash {
    /// The hash.
    pub hash: u64,
    /// It answers another one: whoever is told says no more than what it knows.
    pub answers: bool,
}

/// All buckets' properties that the sender knows, or those that have just changed. No answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// In the order of their names.
    pub buckets: Vec<BucketIs>,
}
