//! How a copy is opened: its checkpoint, and the index entries since.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::codec::{self, Checkpoint, Corrupt};
use crate::copy::Copy;
use crate::dot::{Actor, COUNTER_MAX, Dot};
use crate::engine::{EngineError, Space, View};
use crate::place::{clock_at, index_at, index_bounds, index_dot, unstripped_bounds};
use crate::scans::Scans;
use crate::store::damaged;

impl Copy {
    /// Reads the copy's checkpoint and the index entries since. `None`: the node holds no copy.
    pub(crate) fn load<V: View>(engine: &V, node: NodeId, partition: PartitionId) -> Result<Option<Copy>, EngineError> {
        let Some(Checkpoint { life, wholeness, clock, watermark, content, remains, scans }) =
            load_checkpoint(engine, partition)?
        else {
            return Ok(None);
        };
        let mut copy = Copy::empty(partition, Actor { node, life });
        copy.clock = clock;
        copy.watermark = watermark;
        copy.content = content;
        copy.set_wholeness(wholeness);
        copy.remains = remains;
        copy.scans = Scans::new(scans);
        copy.checkpoint_due = false;
        copy.replay(engine)?;
        copy.counter = copy.clock.greatest(copy.actor());
        copy.mark_synced();
        let (from, to) = unstripped_bounds(partition);
        engine.scan(Space::Index, &from, &to, &mut |_, _| {
            copy.strips.any = true;
            false
        })?;
        Ok(Some(copy))
    }

    /// Takes in the index entries that the checkpoint does not know. Seeks past those that it does.
    fn replay<V: View>(&mut self, engine: &V) -> Result<(), EngineError> {
        let known = self.clock.clone();
        let (mut from, to) = index_bounds(self.partition());
        loop {
            let mut seek = None;
            let mut wrong = None;
            engine.scan(Space::Index, &from, &to, &mut |at, value| {
                let entry = index_dot(at).zip(codec::decode_index(Bytes::copy_from_slice(value)).ok());
                let Some((dot, (_, moved))) = entry else {
                    wrong = Some(Corrupt("an index entry"));
                    return false;
                };
                let base = known.base(dot.actor).min(COUNTER_MAX);
                if dot.counter <= base {
                    seek = Some(Dot { counter: base + 1, ..dot });
                    return false;
                }
                if !known.has(dot) {
                    self.clock.add(dot);
                    self.content = self.content.wrapping_add(moved);
                    self.since_checkpoint += 1;
                }
                true
            })?;
            match (wrong, seek) {
                (Some(wrong), _) => return Err(damaged(self.partition(), Space::Index, &wrong)),
                (None, Some(dot)) => from = index_at(self.partition(), dot).to_vec(),
                (None, None) => return Ok(()),
            }
        }
    }
}

fn load_checkpoint<V: View>(engine: &V, partition: PartitionId) -> Result<Option<Checkpoint>, EngineError> {
    match engine.get(Space::Clocks, &clock_at(partition))? {
        Some(bytes) => codec::decode_checkpoint(bytes).map(Some).map_err(|e| damaged(partition, Space::Clocks, &e)),
        None => Ok(None),
    }
}
