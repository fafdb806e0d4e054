//! The coordinator of a write, put or delete.
//!
//! An owner takes the write into its own copy under its next dot, sends it to all other reachable owners, and answers
//! when `w` of them, itself included, have said that they have it. Whoever missed it gets it by sync.
//!
//! No false word: before anything is written a shortfall is `quorum_not_met` and nothing has changed; after that, too few
//! acknowledgements in time are `outcome_unknown`, since some copies have the write and it will spread.

use bytes::Bytes;
use dynode_client::wire::limits::{BUCKET_BYTES_MAX, CONTEXT_BYTES_MAX, KEY_BYTES_MAX, SIBLINGS_MAX, VALUE_BYTES_MAX};
use dynode_client::wire::{
    Acks, Causality, Delete, ErrorCode, Failure, Message, Put as PutRequest, PutDone, Quorum, Replicate,
};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::encode_entry;
use dynode_storage::{Clock, Engine, EngineError, Object, ObjectKey};

use crate::limits;

use super::{Effects, Heard, Node, Operation, Origin, Outcome, ReplyTo, Tally, Then, Time, failure, timeout};

/// A write that waits for acknowledgements.
pub(super) struct Put {
    reply_to: ReplyTo,
    tally: Tally,
    /// The sealed context that the writer gets.
    context: Bytes,
}

/// What a client wants written.
pub(super) enum Write {
    Put(PutRequest, Bytes),
    Delete(Delete),
}

impl Put {
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.tally.waits_for(node)
    }
}

impl Write {
    fn place(&self) -> (&Bytes, &Bytes) {
        match self {
            Write::Put(m, _) => (&m.bucket, &m.key),
            Write::Delete(m) => (&m.bucket, &m.key),
        }
    }

    fn causality(&self) -> &Causality {
        match self {
            Write::Put(m, _) => &m.causality,
            Write::Delete(m) => &m.causality,
        }
    }

    fn wanted(&self) -> (Quorum, u32) {
        match self {
            Write::Put(m, _) => (m.w, m.timeout_ms),
            Write::Delete(m) => (m.w, m.timeout_ms),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let (bucket, key) = self.place();
        check_place(bucket, key)?;
        match self.causality() {
            Causality::Seen(context) if context.len() > CONTEXT_BYTES_MAX => {
                let detail =
                    format!("the context has {} bytes; none is given out with over {CONTEXT_BYTES_MAX}", context.len());
                return Err(failure(ErrorCode::TooLarge, detail));
            }
            _ => {}
        }
        match self {
            Write::Put(_, value) if value.len() > VALUE_BYTES_MAX => {
                let detail = format!("the value has {} bytes; at most {VALUE_BYTES_MAX} are taken", value.len());
                Err(failure(ErrorCode::TooLarge, detail))
            }
            Write::Delete(m) if m.causality == Causality::Blind => {
                Err(failure(ErrorCode::BadRequest, "a delete that has seen nothing removes nothing: give a context"))
            }
            _ => Ok(()),
        }
    }

    fn into_message(self) -> (Message, Bytes) {
        match self {
            Write::Put(m, value) => (m.into(), value),
            Write::Delete(m) => (m.into(), Bytes::new()),
        }
    }
}

/// Checks bucket and key against their limits.
pub(super) fn check_place(bucket: &[u8], key: &[u8]) -> Result<(), Failure> {
    for (what, bytes, most) in [("bucket", bucket, BUCKET_BYTES_MAX), ("key", key, KEY_BYTES_MAX)] {
        if bytes.is_empty() {
            return Err(failure(ErrorCode::BadRequest, format!("the {what} is empty")));
        }
        if bytes.len() > most {
            let detail = format!("the {what} has {} bytes; at most {most} are taken", bytes.len());
            return Err(failure(ErrorCode::TooLarge, detail));
        }
    }
    Ok(())
}

impl<E: Engine> Node<E> {
    pub(super) fn begin_put(
        &mut self,
        now: Time,
        from: Origin,
        reply_to: ReplyTo,
        write: Write,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let (bucket, key) = write.place();
        if let Err(refusal) = self.admit().and_then(|()| write.check()) {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        let partition = self.config.layout.partition_of(bucket, key);
        if !self.owns(partition) {
            let (wanted, timeout_ms) = write.wanted();
            let (message, body) = write.into_message();
            self.forward(now, from, reply_to, partition, wanted, timeout_ms, message, body, out);
            return Ok(());
        }
        let key = ObjectKey::new(bucket, key);
        match self.prepare(partition, &key, &write)? {
            Ok((needed, seen)) => self.coordinate(now, reply_to, partition, &key, needed, write, seen, out),
            Err(refusal) => {
                self.refuse(reply_to, refusal, out);
                Ok(())
            }
        }
    }

    /// All that may refuse a write, before anything is written: how many copies are needed, and what the write has seen.
    fn prepare(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        write: &Write,
    ) -> Result<Result<(usize, Clock), Failure>, EngineError> {
        let needed = match self.needed(partition, write.wanted().0) {
            Ok(needed) => needed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let current = self.store.read(partition, key)?;
        let seen = match write.causality() {
            Causality::Blind => Clock::new(),
            Causality::Current => current.context.clone(),
            Causality::Seen(sealed) => match self.config.seal.open(key.bucket(), key.key(), sealed) {
                Ok(seen) => seen,
                Err(why) => {
                    let detail = format!("the context does not fit: {why}; read the key again and use what it returns");
                    return Ok(Err(failure(ErrorCode::ForeignContext, detail)));
                }
            },
        };
        if let Write::Put(_, value) = write {
            let (mut siblings, mut bytes) = (0, value.len());
            for sibling in current.values.iter().filter(|s| !seen.has(s.dot)) {
                siblings += 1;
                bytes += sibling.value.bytes().map_or(0, Bytes::len);
            }
            if siblings >= SIBLINGS_MAX || (siblings > 0 && bytes > limits::SIBLING_BYTES_MAX) {
                let detail = format!(
                    "{siblings} siblings are there already, {bytes} bytes with this one: read the key and write over what you saw"
                );
                return Ok(Err(failure(ErrorCode::TooManySiblings, detail)));
            }
        }
        Ok(Ok((needed, seen)))
    }

    /// The number of owners that `wanted` means, if so many can be reached.
    pub(super) fn needed(&self, partition: PartitionId, wanted: Quorum) -> Result<usize, Failure> {
        let owners = self.config.layout.owners(partition);
        let Some(needed) = wanted.of(owners.len()) else {
            let detail =
                format!("{wanted} of {} copies cannot be: ask for at least 1 and no more than there are", owners.len());
            return Err(failure(ErrorCode::BadRequest, detail));
        };
        let reachable = owners.iter().filter(|n| self.is_up(**n)).count();
        if reachable < needed {
            return Err(Failure {
                code: ErrorCode::QuorumNotMet,
                needed: needed as u8,
                received: reachable as u8,
                detail: format!("{reachable} of the {needed} copies needed can be reached; nothing was changed"),
            });
        }
        Ok(needed)
    }

    #[allow(clippy::too_many_arguments)]
    fn coordinate(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        partition: PartitionId,
        key: &ObjectKey,
        needed: usize,
        write: Write,
        seen: Clock,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let timeout_ms = write.wanted().1;
        // The writer may have seen more of this copy's actor than the copy knows of: those dots must not be given out again.
        self.begin_life_if_behind(partition, &seen, out)?;
        let dot = self.store.next_dot(partition)?;
        let mut after = seen.clone();
        after.add(dot);
        let context = self.config.seal.seal(key.bucket(), key.key(), &after);
        let delta = match write {
            Write::Put(_, value) => {
                self.counters.puts += 1;
                Object::put(dot, value, seen)
            }
            Write::Delete(_) => {
                self.counters.deletes += 1;
                Object::delete(seen)
            }
        };
        let body = Bytes::from(encode_entry(key, &delta, &[dot]));
        // A delta of a dot that was never seen, with its value here, cannot be refused.
        let _ = self.store.apply(partition, key, delta, &[dot])?;

        let id = self.new_id();
        let peers: Vec<NodeId> = self.other_owners(partition).into_iter().filter(|n| self.is_up(*n)).collect();
        for peer in &peers {
            let message = Replicate { epoch: self.config.layout.epoch(), partition: partition.0, timeout_ms };
            out.send(*peer, id, message, body.clone());
        }
        let mut replicas = peers;
        replicas.push(self.config.node);
        let mut put = Put { reply_to, tally: Tally::new(needed, replicas), context };
        // The answer leaves after the turn's commit: by then this copy has the write.
        match put.tally.yes(self.config.node) {
            Outcome::Met => put.done(out),
            _ => self.begin(id, Operation::Put(put), now + timeout(timeout_ms)),
        }
        Ok(())
    }

    pub(super) fn put_heard(&mut self, put: &mut Put, heard: &Heard, out: &mut Effects) -> Then {
        let outcome = match heard {
            Heard::Answer(from, Message::ReplicateDone(_), _) => put.tally.yes(*from),
            Heard::Answer(from, ..) | Heard::Lost(from) => put.tally.no(*from),
            Heard::Alarm => Outcome::Lost,
        };
        match outcome {
            Outcome::Pending => return Then::Wait(None),
            Outcome::Met => put.done(out),
            Outcome::Lost => {
                self.counters.unknown += 1;
                let (needed, received) = (put.tally.needed(), put.tally.received());
                out.reply(
                    put.reply_to,
                    Failure {
                        code: ErrorCode::OutcomeUnknown,
                        needed: needed as u8,
                        received: received as u8,
                        detail: format!(
                            "{received} of {needed} copies have acknowledged the write; it may yet reach the others"
                        ),
                    },
                );
            }
        }
        Then::Done
    }

    /// Answers that a request was not taken.
    pub(super) fn refuse(&mut self, reply_to: ReplyTo, refusal: Failure, out: &mut Effects) {
        self.counters.refused += 1;
        out.reply(reply_to, refusal);
    }
}

impl Put {
    fn done(&mut self, out: &mut Effects) {
        let acks = Acks { owners: self.tally.received() as u8, stand_ins: 0 };
        out.reply(self.reply_to, PutDone { context: std::mem::take(&mut self.context), acks });
    }
}
