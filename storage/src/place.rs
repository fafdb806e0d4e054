//! Where the records of a copy are stored: every key of every space begins with the partition, big-endian, so that a
//! copy is one range of each.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::dot::{Actor, COUNTER_MAX, Dot};
use crate::key::ObjectKey;

const INDEX_DOT: u8 = 1;
const INDEX_UNSTRIPPED: u8 = 2;

/// Where an object is stored.
pub(crate) fn object_at(partition: PartitionId, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + key.len());
    out.extend_from_slice(&partition.0.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// The key of an object's place.
pub(crate) fn object_key(at: &[u8]) -> Option<ObjectKey> {
    ObjectKey::from_bytes(Bytes::copy_from_slice(at.get(2..)?))
}

/// The partition of any place but those of the node's own records.
pub(crate) fn place_partition(at: &[u8]) -> PartitionId {
    PartitionId(u16::from_be_bytes([at.first().copied().unwrap_or(0), at.get(1).copied().unwrap_or(0)]))
}

/// The first key of a partition, in any space.
pub(crate) fn partition_start(partition: PartitionId) -> [u8; 2] {
    partition.0.to_be_bytes()
}

/// The first key after all of a partition's, in any space.
pub(crate) fn partition_end(partition: PartitionId) -> Vec<u8> {
    match partition.0.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        // ASSUMPTION: buckets are shorter than 65,280 bytes (their limit is 1 KiB), so that no key begins like this.
        None => vec![0xff; 3],
    }
}

/// Where a copy's checkpoint is stored.
pub(crate) fn clock_at(partition: PartitionId) -> Bytes {
    Bytes::copy_from_slice(&partition.0.to_be_bytes())
}

/// Where a dot's index entry is stored: partition, kind, node, life, counter, all big-endian.
pub(crate) fn index_at(partition: PartitionId, dot: Dot) -> Bytes {
    let mut out = [0; 27];
    out[..2].copy_from_slice(&partition.0.to_be_bytes());
    out[2] = INDEX_DOT;
    out[3..11].copy_from_slice(&dot.actor.node.0.to_be_bytes());
    out[11..19].copy_from_slice(&dot.actor.life.to_be_bytes());
    out[19..].copy_from_slice(&dot.counter.to_be_bytes());
    Bytes::copy_from_slice(&out)
}

/// The dot of an index entry's place.
pub(crate) fn index_dot(at: &[u8]) -> Option<Dot> {
    let word = |i: usize| Some(u64::from_be_bytes(at.get(i..i + 8)?.try_into().ok()?));
    let dot = Dot { actor: Actor { node: NodeId(word(3)?), life: word(11)? }, counter: word(19)? };
    let sound = at.len() == 27 && at[2] == INDEX_DOT && (1..=COUNTER_MAX).contains(&dot.counter);
    sound.then_some(dot)
}

/// The range of a partition's index entries.
pub(crate) fn index_bounds(partition: PartitionId) -> (Vec<u8>, Vec<u8>) {
    (kind_at(partition, INDEX_DOT), kind_at(partition, INDEX_DOT + 1))
}

/// Where it is noted that a key's stored context is not empty.
pub(crate) fn unstripped_at(partition: PartitionId, key: &ObjectKey) -> Bytes {
    let mut out = Vec::with_capacity(3 + key.as_bytes().len());
    out.extend_from_slice(&partition.0.to_be_bytes());
    out.push(INDEX_UNSTRIPPED);
    out.extend_from_slice(key.as_bytes());
    out.into()
}

/// The key of such a note.
pub(crate) fn unstripped_key(at: &[u8]) -> Option<ObjectKey> {
    ObjectKey::from_bytes(Bytes::copy_from_slice(at.get(3..)?))
}

/// The range of a partition's list of what is not stripped.
pub(crate) fn unstripped_bounds(partition: PartitionId) -> (Vec<u8>, Vec<u8>) {
    (kind_at(partition, INDEX_UNSTRIPPED), kind_at(partition, INDEX_UNSTRIPPED + 1))
}

fn kind_at(partition: PartitionId, kind: u8) -> Vec<u8> {
    [&partition.0.to_be_bytes()[..], &[kind]].concat()
}
