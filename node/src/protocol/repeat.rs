//! A put that is asked for once more, with the id of its request: where the coordinator's copy has what the first attempt
//! wrote, nothing is written again, and the copies are asked to take over what there is.
//!
//! What is sent then is the key as it is here with the dots of all its recent writes, as a repair would send it: the effect of
//! the first attempt alone cannot be said any more, since nobody remembers what it had seen. Where the attempts came to
//! different coordinators, both are written; readers are shown one ([`super::shown`]), and whoever writes over what they
//! were told replaces both.

use bytes::Bytes;
use dynode_ring::PartitionId;
use dynode_storage::codec::encode_entry;
use dynode_storage::{Dot, Engine, EngineError, ObjectKey};

use super::Node;

/// A write that was done before.
pub(super) struct Repeated {
    /// By the first attempt.
    pub(super) dot: Dot,
    /// The key as it is here, to be taken over.
    pub(super) body: Bytes,
}

impl<E: Engine> Node<E> {
    /// What the others need to have what a former attempt wrote; `None` where too much is in the index to find out: then
    /// the retry is written as a put of its own.
    pub(super) fn repeat(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        dot: Dot,
    ) -> Result<Option<Repeated>, EngineError> {
        let Some(copy) = self.store.find(partition)? else { return Ok(None) };
        // What every owner has has left the index; all above comes with its dots.
        let of_all = copy.watermark().clone();
        let Some(recent) = self.store.delta_of(partition, &of_all, key)?.filter(|delta| !delta.more) else {
            return Ok(None);
        };
        let dots = recent.entries.into_iter().next().map(|entry| entry.dots).unwrap_or_default();
        let object = self.store.read(partition, key)?;
        self.counters.repeated += 1;
        Ok(Some(Repeated { dot, body: encode_entry(key, &object, &dots).into() }))
    }
}
