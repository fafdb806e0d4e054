//! Reading a copy from end to end in slices, to see that it is what it says it is.
//!
//! What a checksum of the engine vouches for is that a record is as it was written. Whether all records are there, and fit
//! each other, only the copy's own word can tell: the set hash that is kept with the clock, the number of index entries
//! between watermark and clock, the list of what is not stripped. All is read from one snapshot, so that writes
//! meanwhile raise no false alarm; a slice is bounded, so that nobody waits for long.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{self, Corrupt};
use crate::copy::{Copy, set_hash};
use crate::engine::{Engine, EngineError, Space, View};
use crate::object::{Object, Payload};
use crate::place::{
    index_bounds, index_dot, object_key, partition_end, partition_start, unstripped_bounds, unstripped_key,
};
use crate::store::{Store, damaged};

/// The check of one copy, as far as it has come.
pub struct Check<V> {
    view: V,
    copy: Copy,
    stage: Stage,
    from: Vec<u8>,
    /// The set hash of the objects read so far.
    content: u64,
    /// Index entries read so far.
    entries: u64,
    /// Keys whose stored context is not empty: a sum of their hashes. The list of them must come to the same.
    unstripped: u64,
    listed: u64,
    read: Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Objects,
    Index,
    Unstripped,
    Done,
}

/// What was read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl<E: Engine> Store<E> {
    /// Begins to check a copy as it is now; `None` where there is none. Commits the turn so far.
    pub fn check(&mut self, partition: PartitionId) -> Result<Option<Check<E::Snapshot>>, EngineError> {
        self.commit(false)?;
        let Some(copy) = self.find(partition)?.map(|copy| copy.clone()) else { return Ok(None) };
        Ok(Some(Check::new(self.engine.snapshot(), copy)))
    }
}

impl<V: View> Check<V> {
    fn new(view: V, copy: Copy) -> Check<V> {
        let from = partition_start(copy.partition()).to_vec();
        Check {
            view,
            copy,
            stage: Stage::Objects,
            from,
            content: 0,
            entries: 0,
            unstripped: 0,
            listed: 0,
            read: Read::default(),
        }
    }

    /// The check of a copy in a view that nothing changes; `None` where there is none.
    pub(crate) fn of_view(view: V, node: NodeId, partition: PartitionId) -> Result<Option<Check<V>>, EngineError> {
        Ok(Copy::load(&view, node, partition)?.map(|copy| Check::new(view, copy)))
    }

    /// Which copy.
    pub fn partition(&self) -> PartitionId {
        self.copy.partition()
    }

    /// What was read so far.
    pub fn read(&self) -> Read {
        self.read
    }

    /// The set hash that the copy kept of itself when the check began.
    pub fn content(&self) -> u64 {
        self.copy.content()
    }

    /// Reads on: about so many records and bytes at most. True when the whole copy was read and is sound. An error says
    /// what does not fit.
    pub fn slice(&mut self, records_max: u64, bytes_max: u64) -> Result<bool, EngineError> {
        let (mut records, mut bytes) = (0, 0);
        while self.stage != Stage::Done {
            let (space, to) = match self.stage {
                Stage::Objects => (Space::Objects, partition_end(self.partition())),
                Stage::Index => (Space::Index, index_bounds(self.partition()).1),
                Stage::Unstripped | Stage::Done => (Space::Index, unstripped_bounds(self.partition()).1),
            };
            let (mut wrong, mut more) = (None, false);
            let from = std::mem::take(&mut self.from);
            let (stage, copy) = (self.stage, &self.copy);
            let (content, entries) = (&mut self.content, &mut self.entries);
            let (unstripped, listed, next) = (&mut self.unstripped, &mut self.listed, &mut self.from);
            self.view.scan(space, &from, &to, &mut |at, value| {
                if records >= records_max.max(1) || bytes >= bytes_max.max(1) {
                    next.extend_from_slice(at);
                    more = true;
                    return false;
                }
                records += 1;
                bytes += (at.len() + value.len()) as u64;
                let seen = match stage {
                    Stage::Objects => object(copy, at, value).map(|(moved, context)| {
                        *content = content.wrapping_add(moved);
                        *unstripped = unstripped.wrapping_add(context);
                    }),
                    Stage::Index => index(copy, at, value).map(|()| *entries += 1),
                    Stage::Unstripped | Stage::Done => match unstripped_key(at) {
                        Some(key) => {
                            *listed = listed.wrapping_add(xxh3_64(key.as_bytes()));
                            Ok(())
                        }
                        None => Err(Corrupt("an entry of the list of what is not stripped")),
                    },
                };
                wrong = seen.err();
                wrong.is_none()
            })?;
            if let Some(wrong) = wrong {
                return Err(damaged(self.partition(), space, &wrong));
            }
            if more {
                break;
            }
            self.end_stage()?;
        }
        self.read.records += records;
        self.read.bytes += bytes;
        Ok(self.stage == Stage::Done)
    }

    /// All of a stage was read: does it come to what the copy says of itself?
    fn end_stage(&mut self) -> Result<(), EngineError> {
        let partition = self.partition();
        let (sound, space, what) = match self.stage {
            Stage::Objects => (
                self.content == self.copy.content(),
                Space::Objects,
                "the objects are not those that the set hash speaks of",
            ),
            Stage::Index => (
                self.entries == self.copy.indexed(),
                Space::Index,
                "the index has not one entry for each dot of the clock",
            ),
            Stage::Unstripped | Stage::Done => (
                self.listed == self.unstripped,
                Space::Index,
                "the list of what is not stripped is not that of the objects",
            ),
        };
        if !sound {
            return Err(damaged(partition, space, &Corrupt(what)));
        }
        (self.stage, self.from) = match self.stage {
            Stage::Objects => (Stage::Index, index_bounds(partition).0),
            Stage::Index => (Stage::Unstripped, unstripped_bounds(partition).0),
            Stage::Unstripped | Stage::Done => (Stage::Done, Vec::new()),
        };
        Ok(())
    }
}

/// Checks an object record: what it adds to the set hash, and to the sum over keys that are not stripped.
fn object(copy: &Copy, at: &[u8], value: &[u8]) -> Result<(u64, u64), Corrupt> {
    let object: Object = codec::decode_object(Bytes::copy_from_slice(value))?;
    let key = object_key(at).ok_or(Corrupt("a key"))?;
    if object.values.iter().any(|s| s.value == Payload::Known) {
        return Err(Corrupt("an object without one of its values"));
    }
    // In the middle of a scan values are there before the clock knows of them.
    if !copy.is_scanning() && object.dots().any(|d| !copy.clock().has(d)) {
        return Err(Corrupt("a value that the clock does not know of"));
    }
    let context = if object.context.is_empty() { 0 } else { xxh3_64(key.as_bytes()) };
    Ok((set_hash(&key, object.dots()), context))
}

fn index(copy: &Copy, at: &[u8], value: &[u8]) -> Result<(), Corrupt> {
    codec::decode_index(Bytes::copy_from_slice(value))?;
    let dot = index_dot(at).ok_or(Corrupt("an index entry"))?;
    match copy.clock().has(dot) && !copy.watermark().has(dot) {
        true => Ok(()),
        false => Err(Corrupt("an index entry for a dot that the clock has not, or that has left the index")),
    }
}
