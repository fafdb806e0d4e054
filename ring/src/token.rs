//! Tokens: where a key stands in the 64-bit space that the partitions divide.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// Keys with their bucket and its length up to this many bytes are hashed from one buffer on the stack; longer ones are
/// hashed piecewise, with the same result.
const BUFFER_BYTES: usize = 128;

/// The place of a key in the token space: XXH3 (64 bits, seed 0) of the bucket's length as four bytes little-endian,
/// the bucket, and the key. The length keeps `("ab", "c")` and `("a", "bc")` apart.
///
/// The function is part of the storage and wire formats and never changes. It does not resist an adversary: somebody
/// who picks keys can put them all into one partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Token(pub u64);

impl Token {
    /// The token of a key in a bucket.
    #[inline]
    pub fn of(bucket: &[u8], key: &[u8]) -> Token {
        // ASSUMPTION: a bucket has less than 4 GiB (the limit is 1 KiB); a longer one would only share its prefix.
        let length = (bucket.len() as u32).to_le_bytes();
        let key_at = length.len() + bucket.len();
        let end = key_at + key.len();
        if end <= BUFFER_BYTES {
            let mut buffer = [0; BUFFER_BYTES];
            buffer[..length.len()].copy_from_slice(&length);
            buffer[length.len()..key_at].copy_from_slice(bucket);
            buffer[key_at..end].copy_from_slice(key);
            Token(xxh3_64(&buffer[..end]))
        } else {
            let mut hasher = Xxh3Default::new();
            hasher.update(&length);
            hasher.update(bucket);
            hasher.update(key);
            Token(hasher.digest())
        }
    }

    /// The partition that the token falls into: the token's first log2(`partitions`) bits, as `partitions` equal ranges
    /// of the token space are numbered from 0. `partitions` is a power of two from 1 to 65,536.
    #[inline]
    pub fn partition(self, partitions: u32) -> PartitionId {
        PartitionId(((u128::from(self.0) * u128::from(partitions)) >> 64) as u16)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The number of a partition, from 0 to Q - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The number, for indexing.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
