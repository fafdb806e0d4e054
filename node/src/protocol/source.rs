//! Answering pulls: a delta from the index, or the pages of a scan from one snapshot.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_client::wire::{Answer, AnswerKind, ErrorCode, Pull, ScanAt};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::{Budget, Scan};
use dynode_storage::codec::{Part, decode_clock, encode_parts};
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Engine, EngineError, ObjectKey};

use super::{Effects, Node, ReplyTo, Time, failure};
use crate::limits;

/// The scans and deltas that this node is the source of.
pub(super) struct SourceState<E: Engine> {
    scans: BTreeMap<u64, Running<E::Snapshot>>,
    deltas: BTreeMap<(NodeId, PartitionId), Begun>,
}

/// A delta of several parts.
struct Begun {
    last_asked: Time,
    reading: Reading,
}

struct Running<S> {
    asker: NodeId,
    partition: PartitionId,
    last_asked: Time,
    scan: Scan<S>,
}

impl<E: Engine> Default for SourceState<E> {
    fn default() -> SourceState<E> {
        SourceState { scans: BTreeMap::new(), deltas: BTreeMap::new() }
    }
}

impl<E: Engine> SourceState<E> {
    /// Drops scans and deltas that nobody goes on with.
    pub(super) fn drop_idle(&mut self, now: Time) {
        self.deltas.retain(|_, d| now - d.last_asked < limits::DELTA_IDLE);
        self.scans.retain(|_, s| now - s.last_asked < limits::SCAN_IDLE);
    }

    /// Drops the scans and deltas of a copy that is gone.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.deltas.retain(|(_, p), _| *p != partition);
        self.scans.retain(|_, s| s.partition != partition);
    }

    /// How many scans are kept.
    pub(super) fn scans(&self) -> usize {
        self.scans.len()
    }

    /// How many deltas are kept.
    pub(super) fn deltas(&self) -> usize {
        self.deltas.len()
    }
}

impl<E: Engine> Node<E> {
    pub(super) fn pull(
        &mut self,
        now: Time,
        peer: NodeId,
        reply_to: ReplyTo,
        m: &Pull,
        body: Bytes,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let Some(partition) = self.agreed(peer, m.epoch, m.partition, reply_to, out) else { return Ok(()) };
        let Ok(asker) = decode_clock(body) else {
            return self.unreadable(peer, reply_to, "a pull whose clock cannot be read", out);
        };
        let only = ObjectKey::from_bytes(m.only.clone());
        if only.is_none() && !m.only.is_empty() {
            return self.unreadable(peer, reply_to, "a pull whose key cannot be read", out);
        }
        if m.doubted {
            self.scrub.soon(partition);
            out.reply(reply_to, failure(ErrorCode::Overloaded, "this copy is read whole first: ask again later"));
            return Ok(());
        }
        if self.store.find(partition)?.is_none() {
            let (kind, life) = (AnswerKind::Gone, self.store.next_life());
            out.reply(reply_to, Answer { epoch: m.epoch, partition: m.partition, kind, life, refused: Vec::new() });
            return Ok(());
        }
        if m.scan.is_none() && only.is_none() {
            // It begins anew, or is done with its scan and asks for the delta that follows: room for the next scan.
            self.source.scans.retain(|_, s| (s.asker, s.partition) != (peer, partition));
        }
        let budget = Budget {
            bytes: (m.budget as usize).min(self.answer_bytes(now)),
            keys: if self.is_busy(now) { limits::ANSWER_KEYS_BUSY } else { limits::ANSWER_KEYS },
        };
        let answered = match (&m.scan, &only) {
            (_, Some(key)) => {
                let delta = self.store.delta_of(partition, &asker, key)?.unwrap_or_default();
                Some((AnswerKind::Delta { more: delta.more }, delta.into_parts()))
            }
            (Some(at), None) => self.next_page(now, peer, partition, at, &asker, budget)?,
            (None, None) => self.next_part(now, peer, partition, &asker, budget)?,
        };
        let Some((kind, parts)) = answered else {
            let detail = format!(
                "{} scans or {} large deltas are under way here already, or this copy is read whole first: ask again later",
                limits::SCANS_MAX,
                limits::DELTAS_MAX
            );
            out.reply(reply_to, failure(ErrorCode::Overloaded, detail));
            return Ok(());
        };
        let body = encode_parts(&parts);
        self.counters.sync_bytes_out += body.len() as u64;
        let life = self.store.copy(partition)?.actor().life;
        let refused = self.store.refused(partition).iter().map(|(node, life)| (node.0, *life)).collect();
        out.reply_with(reply_to, Answer { epoch: m.epoch, partition: m.partition, kind, life, refused }, body.into());
        Ok(())
    }

    fn next_part(
        &mut self,
        now: Time,
        asker: NodeId,
        partition: PartitionId,
        clock: &Clock,
        budget: Budget,
    ) -> Result<Option<(AnswerKind, Vec<Part>)>, EngineError> {
        let mut reading = self.source.deltas.remove(&(asker, partition)).map(|d| d.reading).unwrap_or_default();
        let Some(delta) = self.store.delta(partition, clock, &mut reading, budget)? else {
            return self.first_page(now, asker, partition, clock, budget);
        };
        if delta.more {
            if self.source.deltas() < limits::DELTAS_MAX {
                self.source.deltas.insert((asker, partition), Begun { last_asked: now, reading });
            } else if delta.entries.is_empty() {
                return Ok(None); // what has been read cannot be kept
            }
        }
        Ok(Some((AnswerKind::Delta { more: delta.more }, delta.into_parts())))
    }

    fn first_page(
        &mut self,
        now: Time,
        asker: NodeId,
        partition: PartitionId,
        clock: &Clock,
        budget: Budget,
    ) -> Result<Option<(AnswerKind, Vec<Part>)>, EngineError> {
        if self.source.scans() >= limits::SCANS_MAX || self.scrub.is_in_doubt(partition) {
            return Ok(None);
        }
        let scan = self.store.scan(partition)?;
        let id = self.new_id();
        self.source.scans.insert(id, Running { asker, partition, last_asked: now, scan });
        self.next_page(now, asker, partition, &ScanAt { id, after: Bytes::new() }, clock, budget)
    }

    fn next_page(
        &mut self,
        now: Time,
        asker: NodeId,
        partition: PartitionId,
        at: &ScanAt,
        clock: &Clock,
        budget: Budget,
    ) -> Result<Option<(AnswerKind, Vec<Part>)>, EngineError> {
        let Some(running) = self.source.scans.get_mut(&at.id).filter(|s| (s.asker, s.partition) == (asker, partition))
        else {
            return Ok(Some((AnswerKind::Gone, Vec::new())));
        };
        running.last_asked = now;
        let page = running.scan.page(clock, &at.after, budget)?;
        // The last page is kept until the asker goes on without it: its answer may be lost on the way.
        Ok(Some((AnswerKind::Page { id: at.id, after: page.after, done: page.done }, page.parts)))
    }
}
