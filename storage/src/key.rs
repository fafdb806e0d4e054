//! Bucket and key as one byte string, in the order in which copies keep them.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use dynode_ring::{PartitionId, Token};

/// Bucket and key: `bucket length (u16, big-endian), bucket, key`. Keys of one bucket are adjacent and in byte order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Bytes);

impl ObjectKey {
    /// Joins bucket and key. The callers' limits (1 KiB each) keep the length within 16 bits; a longer bucket is a
    /// caller's bug and is cut.
    pub fn new(bucket: &[u8], key: &[u8]) -> ObjectKey {
        let len = bucket.len().min(usize::from(u16::MAX));
        let mut out = BytesMut::with_capacity(2 + len + key.len());
        out.put_u16(len as u16);
        out.put_slice(&bucket[..len]);
        out.put_slice(key);
        ObjectKey(out.freeze())
    }

    /// Checks bytes from a disk or a peer.
    pub fn from_bytes(bytes: Bytes) -> Option<ObjectKey> {
        let len = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
        (bytes.len() >= 2 + len).then_some(ObjectKey(bytes))
    }

    /// The whole, as stored.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bucket.
    pub fn bucket(&self) -> &[u8] {
        &self.0[2..2 + self.bucket_len()]
    }

    /// The key within the bucket.
    pub fn key(&self) -> &[u8] {
        &self.0[2 + self.bucket_len()..]
    }

    /// The partition it belongs to, of `partitions`.
    pub fn partition(&self, partitions: u32) -> PartitionId {
        Token::of(self.bucket(), self.key()).partition(partitions)
    }

    fn bucket_len(&self) -> usize {
        usize::from(u16::from_be_bytes([self.0[0], self.0[1]]))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket().escape_ascii(), self.key().escape_ascii())
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
