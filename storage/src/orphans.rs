//! Scans that nobody will ever finish: their source lost its disk, and what it had said of its clock is nowhere any more.
//!
//! The copy has effects of such a scan, values and deletes, without the dots of the writes that made them; they would keep
//! it from being equal to the others for good, and lives from being closed. So it makes them its own, with dots that can
//! be told: those of the values, which it knows, and a new one of its own for each key of which only the effect is left.

use bytes::Bytes;
use dynode_ring::PartitionId;

use crate::codec::{self, Corrupt};
use crate::engine::{Engine, EngineError, Space};
use crate::object::Object;
use crate::place::{object_key, partition_end, partition_start};
use crate::store::{Store, damaged};

impl<E: Engine> Store<E> {
    /// Ends the copy's unfinished scans. To be called only when the copy contains all that the other owners have told: a scan
    /// that could still be finished would have to be begun anew. Reads the whole partition. Returns whether there were any.
    pub fn adopt_orphans(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        if !self.find(partition)?.is_some_and(|copy| copy.is_scanning()) {
            return Ok(false);
        }
        self.commit(false)?;
        let (mut found, mut wrong) = (Vec::new(), false);
        let Some((engine, _, copy)) = self.loaded(partition) else { return Ok(false) };
        engine.scan(Space::Objects, &partition_start(partition), &partition_end(partition), &mut |at, value| {
            match object_key(at).zip(codec::decode_object(Bytes::copy_from_slice(value)).ok()) {
                Some((key, object)) => {
                    let undotted = object.dots().any(|d| !copy.clock().has(d));
                    if undotted || !object.context.beyond(copy.clock()).is_empty() {
                        found.push((key, object, undotted));
                    }
                }
                None => wrong = true,
            }
            !wrong
        })?;
        if wrong {
            return Err(damaged(partition, Space::Objects, &Corrupt("an object record")));
        }
        for (key, stored, undotted) in found {
            let dots = if undotted { Vec::new() } else { vec![self.next_dot(partition)?] };
            let Some((engine, turn, copy)) = self.loaded(partition) else { return Ok(false) };
            let mut context = stored.context;
            copy.scans.of(&key).for_each(|clock| context.merge(clock));
            // Nothing can be refused: no value comes that is not here.
            let _ = copy.apply(engine, turn, &key, Object { values: stored.values, context }, &dots)?;
        }
        if let Some((_, _, copy)) = self.loaded(partition) {
            copy.drop_scans();
        }
        self.touch(partition);
        Ok(true)
    }
}
