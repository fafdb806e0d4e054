//! Read repair: one key, after a read found a copy behind. It is the one-key case of a pull, so that the effect comes
//! with the dots that made it, deletes included.

use bytes::Bytes;
use dynode_client::wire::{AnswerKind, Behind, Message, Pull};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{Part, decode_parts, encode_clock};
use dynode_storage::{Engine, EngineError, Object, ObjectKey};

use super::{Effects, Heard, Node, Observation, Operation, Then, Time};
use crate::limits;

/// A pull of one key that waits for its answer.
pub(super) struct Repair {
    pub(super) source: NodeId,
    partition: PartitionId,
    life: u64,
}

impl<E: Engine> Node<E> {
    /// Sets right what a read found. `whole`: a node whose copy has all of it.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn repair(
        &mut self,
        now: Time,
        partition: PartitionId,
        key: &ObjectKey,
        own_is_whole: bool,
        whole: Option<NodeId>,
        behind: &[NodeId],
        answers: &[(NodeId, Object)],
        out: &mut Effects,
    ) {
        self.counters.repairs += 1;
        // A stand-in's copy need not be whole.
        if !own_is_whole && self.owns(partition) {
            match whole {
                Some(source) => self.pull_key(now, partition, key, source, out),
                None => answers.iter().for_each(|(source, _)| self.pull_key(now, partition, key, *source, out)),
            }
        }
        let Some(source) = whole else { return };
        for peer in behind.iter().filter(|peer| self.is_holder(**peer, partition)) {
            let epoch = self.config.layout.epoch();
            let message = Behind { epoch, partition: partition.0, key: key.as_bytes().clone(), source: source.0 };
            out.send(*peer, 0, message, Bytes::new());
        }
    }

    /// A peer says that this copy is behind.
    pub(super) fn behind(&mut self, now: Time, peer: NodeId, m: &Behind, out: &mut Effects) -> Result<(), EngineError> {
        if let (Ok(partition), Some(key)) =
            (self.agrees_to_own(peer, m.epoch, m.partition, out), ObjectKey::from_bytes(m.key.clone()))
        {
            self.pull_key(now, partition, &key, NodeId(m.source), out);
        }
        Ok(())
    }

    fn pull_key(&mut self, now: Time, partition: PartitionId, key: &ObjectKey, source: NodeId, out: &mut Effects) {
        let under_way = self.sync.repairs;
        if under_way >= limits::REPAIRS_MAX || !self.up.contains(&source) || self.writes_refused.is_some() {
            return; // left to the sync of all
        }
        let Ok(Some(copy)) = self.store.find(partition) else { return };
        let (life, clock) = (copy.actor().life, encode_clock(copy.clock()));
        let id = self.new_id();
        let message = Pull {
            epoch: self.config.layout.epoch(),
            partition: partition.0,
            only: key.as_bytes().clone(),
            scan: None,
            doubted: false,
            budget: limits::ANSWER_BYTES as u32,
        };
        out.send(source, id, message, clock.into());
        self.sync.repairs += 1;
        self.begin(id, Operation::Repair(Repair { source, partition, life }), now + limits::DIGEST_TIMEOUT);
    }

    pub(super) fn repair_heard(&mut self, op: &Repair, heard: Heard, out: &mut Effects) -> Result<Then, EngineError> {
        match heard {
            Heard::Answer(from, ..) | Heard::Lost(from) | Heard::Unsent(from) if from != op.source => {
                return Ok(Then::Wait(None));
            }
            Heard::Answer(from, Message::Answer(m), body) if matches!(m.kind, AnswerKind::Delta { .. }) => {
                match decode_parts(body) {
                    Ok(parts) => {
                        // Whatever comes of it, it is over.
                        let taken = self.take_repair(op, from, m.life, &m.refused, parts);
                        if taken.is_err() {
                            self.sync.repairs -= 1;
                        }
                        taken?;
                    }
                    Err(why) => out.observe(Observation::Unreadable { peer: from, detail: why.to_string() }),
                }
            }
            _ => {}
        }
        self.sync.repairs -= 1;
        Ok(Then::Done)
    }

    fn take_repair(
        &mut self,
        op: &Repair,
        from: NodeId,
        life: u64,
        refused: &[(u64, u64)],
        parts: Vec<Part>,
    ) -> Result<(), EngineError> {
        if self.is_stale(op.partition, from, life, refused, &parts)? {
            return Ok(());
        }
        let entries = parts.into_iter().filter_map(Part::into_entry).collect();
        let same_life = self.store.find(op.partition)?.is_some_and(|c| c.actor().life == op.life);
        if same_life {
            // A refusal means that the source took this copy for one that had more: the sync of all sorts it out.
            let _ = self.store.absorb_delta(op.partition, entries)?;
        }
        Ok(())
    }
}
