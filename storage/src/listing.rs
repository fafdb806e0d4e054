//! Reading a copy from one end to the other: the keys of a bucket, and the set hash computed anew.

use bytes::Bytes;
use dynode_ring::PartitionId;

use crate::codec::{self, Corrupt};
use crate::copy::set_hash;
use crate::engine::{Engine, EngineError, Space};
use crate::key::ObjectKey;
use crate::object::Object;
use crate::place::{object_at, object_key, partition_end, partition_start};
use crate::store::{Store, damaged};

impl<E: Engine> Store<E> {
    /// The keys of a bucket that have a value here that is to be shown, in order: those after `after`, at most `limit`, that start with
    /// `prefix`; and whether there are more.
    pub fn list(
        &mut self,
        partition: PartitionId,
        bucket: &[u8],
        prefix: &[u8],
        after: &[u8],
        limit: usize,
        is_shown: impl Fn(&Object) -> bool,
    ) -> Result<(Vec<Bytes>, bool), EngineError> {
        self.commit(false)?;
        let start = if after < prefix { prefix } else { after };
        let from = object_at(partition, ObjectKey::new(bucket, start).as_bytes());
        let bucket_at = object_at(partition, ObjectKey::new(bucket, b"").as_bytes());
        let (mut keys, mut more, mut wrong) = (Vec::new(), false, None);
        self.engine.scan(Space::Objects, &from, &partition_end(partition), &mut |at, value| {
            let Some(key) = at.strip_prefix(bucket_at.as_slice()).filter(|k| k.starts_with(prefix)) else {
                return false;
            };
            if !after.is_empty() && key <= after {
                return true;
            }
            match codec::decode_object(Bytes::copy_from_slice(value)) {
                Ok(object) if object.values.is_empty() || !is_shown(&object) => {}
                Ok(_) if keys.len() == limit => more = true,
                Ok(_) => keys.push(Bytes::copy_from_slice(key)),
                Err(e) => wrong = Some(e),
            }
            wrong.is_none() && !more
        })?;
        match wrong {
            Some(wrong) => Err(damaged(partition, Space::Objects, &wrong)),
            None => Ok((keys, more)),
        }
    }

    /// The keys after `after` (empty: from the start), in order, as they are stored: at most so many,
    /// and about so many bytes. None: the end.
    pub fn walk(
        &mut self,
        partition: PartitionId,
        after: &Bytes,
        keys: usize,
        bytes: usize,
    ) -> Result<Vec<(ObjectKey, Object)>, EngineError> {
        self.commit(false)?;
        let mut from = object_at(partition, after);
        if !after.is_empty() {
            from.push(0);
        }
        let (mut found, mut size, mut wrong) = (Vec::new(), 0, None);
        self.engine.scan(Space::Objects, &from, &partition_end(partition), &mut |at, value| {
            size += at.len() + value.len();
            match object_key(at).zip(codec::decode_object(Bytes::copy_from_slice(value)).ok()) {
                Some((key, object)) => found.push((key, object)),
                None => wrong = Some(Corrupt("an object record")),
            }
            wrong.is_none() && found.len() < keys && size < bytes
        })?;
        match wrong {
            Some(wrong) => Err(damaged(partition, Space::Objects, &wrong)),
            None => Ok(found),
        }
    }

    /// Reads the whole copy and computes its set hash anew, with the number of keys that have a value.
    pub fn recount(&mut self, partition: PartitionId) -> Result<(u64, u64), EngineError> {
        self.commit(false)?;
        let (mut content, mut keys, mut wrong) = (0u64, 0, None);
        let from = partition_start(partition);
        self.engine.scan(Space::Objects, &from, &partition_end(partition), &mut |at, value| {
            match object_key(at).zip(codec::decode_object(Bytes::copy_from_slice(value)).ok()) {
                Some((key, object)) => {
                    content = content.wrapping_add(set_hash(&key, object.dots()));
                    keys += u64::from(!object.values.is_empty());
                }
                None => wrong = Some(Corrupt("an object record")),
            }
            wrong.is_none()
        })?;
        match wrong {
            Some(wrong) => Err(damaged(partition, Space::Objects, &wrong)),
            None => Ok((content, keys)),
        }
    }
}
