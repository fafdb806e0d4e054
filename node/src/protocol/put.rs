//! The coordinator of a write, put or delete.
//!
//! An owner takes the write into its own copy under its next dot, sends it to all other reachable owners, and answers
//! when `w` of them, itself included, have said that they have it. Whoever missed it gets it by sync. In the place of
//! each owner that cannot be reached a stand-in gets it, durably like any other copy, and counts, unless the writer asked
//! for a strict quorum; so does a stand-in for an owner that is lost or late while the quorum is not met. Where no owner
//! can be reached at all, the node that was asked is a stand-in itself and coordinates.
//!
//! No false word: before anything is written a shortfall is `quorum_not_met` and nothing has changed; after that, too few
//! acknowledgements in time are `outcome_unknown`, since some copies have the write and it will spread.

use std::collections::BTreeSet;

use bytes::Bytes;
use dynode_client::wire::limits::{
    BUCKET_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, CONTEXT_BYTES_MAX, KEY_BYTES_MAX, SIBLINGS_MAX, VALUE_BYTES_MAX,
};
use dynode_client::wire::{
    Causality, Delete, ErrorCode, Failure, Hlc, Message, Meta, Put as PutRequest, PutDone, Quorum, Replicate,
};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::encode_entry;
use dynode_storage::{Clock, Engine, EngineError, Object, ObjectKey};

use crate::limits;

use super::adopt::again_after;
use super::forward::Terms;
use super::repeat::Repeated;
use super::shown;
use super::whom::{Does, Whom};
use super::{Effects, Heard, Node, Operation, Origin, Outcome, ReplyTo, Tally, Then, Time, failure, timeout};

/// A write that waits for acknowledgements.
pub(super) struct Put {
    reply_to: ReplyTo,
    partition: PartitionId,
    tally: Tally,
    wanted: Quorum,
    strict: bool,
    began: Time,
    deadline: Time,
    /// Everybody that was asked, this node included.
    asked: Vec<NodeId>,
    /// The delta, for those that will be asked yet.
    body: Bytes,
    /// The sealed context that the writer gets.
    context: Bytes,
    /// Those that went by another layout, to be asked again soon.
    again: BTreeSet<NodeId>,
    /// Until when that is done: then they count as lost.
    again_until: Time,
}

/// A write that nothing refuses.
struct Ready {
    whom: Whom,
    /// What it has seen.
    seen: Clock,
    /// When the last of the values that are there was written.
    latest: Hlc,
    /// What travels of it where it is a retry, and was done before.
    done: Option<Repeated>,
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

    pub(super) fn held(&self) -> usize {
        self.body.len()
    }

    pub(super) fn partition(&self) -> PartitionId {
        self.partition
    }

    /// A copy has the write. A recovering one does not count in a strict quorum: it may have lost what it acknowledged.
    fn heard_of(&mut self, node: NodeId, counts: bool) -> Outcome {
        if counts { self.tally.yes(node) } else { self.tally.no(node) }
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

    fn terms(&self) -> Terms {
        match self {
            Write::Put(m, _) => Terms { wanted: m.w, strict: m.strict, timeout_ms: m.timeout_ms },
            Write::Delete(m) => Terms { wanted: m.w, strict: m.strict, timeout_ms: m.timeout_ms },
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
            Write::Put(m, _) if m.content_type.len() > CONTENT_TYPE_BYTES_MAX => {
                let bytes = m.content_type.len();
                let detail = format!("the content type has {bytes} bytes; at most {CONTENT_TYPE_BYTES_MAX} are taken");
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

/// Too few owners can be reached that are not recovering.
fn too_few_whole(whom: &Whom) -> Failure {
    Failure {
        code: ErrorCode::QuorumNotMet,
        needed: whom.needed as u8,
        received: whom.owners.len() as u8,
        detail: "this node is recovering what it may have lost, and does not count yet; nothing was changed".into(),
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
        mut write: Write,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let of_bucket = self.buckets.of(write.place().0).w;
        let w = self.meant(write.terms().wanted, of_bucket);
        match &mut write {
            Write::Put(m, _) => m.w = w,
            Write::Delete(m) => m.w = w,
        }
        let (bucket, key) = write.place();
        if let Err(refusal) = self.admit(write.terms().timeout_ms).and_then(|()| write.check()) {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        let partition = self.config.layout.partition_of(bucket, key);
        let full = self.writes_refused.is_some() && matches!(write, Write::Put(..));
        if full || self.is_for_an_owner(partition, from) {
            let terms = write.terms();
            let (message, body) = write.into_message();
            return self.forward(now, from, reply_to, partition, terms, message, body, out);
        }
        self.put_here(now, reply_to, partition, write, out)
    }

    /// Coordinates a write, as an owner or as a stand-in.
    pub(super) fn put_here(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        partition: PartitionId,
        write: Write,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        if let Err(refusal) = self.knows_its_lives(now, partition) {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        if let Some(refusal) = self.not_compared(now, partition)? {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        let (bucket, key) = write.place();
        let key = ObjectKey::new(bucket, key);
        match self.prepare(partition, &key, &write)? {
            Ok(ready) => self.coordinate(now, reply_to, partition, &key, ready, write, out),
            Err(refusal) => {
                self.refuse(reply_to, refusal, out);
                Ok(())
            }
        }
    }

    /// All that may refuse a write, before anything is written.
    fn prepare(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        write: &Write,
    ) -> Result<Result<Ready, Failure>, EngineError> {
        let counts_itself = !write.terms().strict || !self.acknowledges_in_doubt(partition)?;
        let terms = write.terms();
        let whom = match self.whom(partition, terms.wanted, terms.strict, Does::Write) {
            Ok(whom) if counts_itself || whom.owners.len() >= whom.needed => whom,
            Ok(whom) => return Ok(Err(too_few_whole(&whom))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let current = self.store.read(partition, key)?;
        let mut seen = match write.causality() {
            Causality::Blind => Clock::new(),
            Causality::Current => current.context.clone(),
            Causality::Seen(sealed) => match self.config.seal.open(key.bucket(), key.key(), sealed) {
                Ok(seen) if self.is_of_another_past(partition, &seen)? => {
                    let detail =
                        "the context is of a past that this node has lost; read the key again and use what it returns";
                    return Ok(Err(failure(ErrorCode::ForeignContext, detail)));
                }
                Ok(seen) => seen,
                Err(why) => {
                    let detail = format!("the context does not fit: {why}; read the key again and use what it returns");
                    return Ok(Err(failure(ErrorCode::ForeignContext, detail)));
                }
            },
        };
        let values = self.values_of(partition, &current)?;
        if let Write::Put(m, value) = write
            && let Some(former) = shown::attempt(&values, m.request, value)
            && let Some(done) = self.repeat(partition, key, former.dot)?
        {
            // What an attempt over whatever was there has replaced, nobody knows any more.
            let seen = if m.causality == Causality::Current { Clock::new() } else { seen };
            return Ok(Ok(Ready { whom, seen, latest: Hlc::default(), done: Some(done) }));
        }
        if let (Write::Put(_, value), false) = (write, self.is_lww(key.bucket())) {
            let (mut siblings, mut bytes) = (0, value.len());
            for sibling in values.iter().filter(|v| !seen.has(v.dot)) {
                siblings += 1;
                bytes += sibling.value.len();
            }
            if siblings >= SIBLINGS_MAX || (siblings > 0 && bytes > limits::SIBLING_BYTES_MAX) {
                let detail = format!(
                    "{siblings} siblings are there already, {bytes} bytes with this one: read the key and write over what you saw"
                );
                return Ok(Err(failure(ErrorCode::TooManySiblings, detail)));
            }
        }
        if let (Write::Put(m, _), true) = (write, self.is_lww(key.bucket())) {
            // What this copy has was written before: the stamp will be later. Lost is what was never shown, and what a
            // writer who says what it has seen had not.
            let last = shown::last(&values);
            let says = matches!(m.causality, Causality::Seen(_));
            let lost = values.iter().filter(|v| Some(v.dot) != last || (says && !seen.has(v.dot))).count();
            self.counters.lww_lost += lost as u64;
            seen.merge(&current.context);
        }
        Ok(Ok(Ready { whom, seen, latest: shown::latest(&values), done: None }))
    }

    /// Does a context know lives of this node that are later than what its copy knows, or say that lives are over in which the
    /// copy has written? Then the node has lost its disk, and the copy began again in lives that the lost one had left
    /// behind: whoever has such a context cannot have seen what was written since, although the context may say so.
    fn is_of_another_past(&mut self, partition: PartitionId, seen: &Clock) -> Result<bool, EngineError> {
        let node = self.config.node;
        let Some(copy) = self.store.find(partition)?.filter(|copy| !copy.clock().is_empty()) else { return Ok(false) };
        let last_life = copy.actor().life.max(copy.last_life(node));
        Ok(seen.last_life(node) > last_life || self.store.predates(partition, seen.closed())?)
    }

    #[allow(clippy::too_many_arguments)]
    fn coordinate(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        partition: PartitionId,
        key: &ObjectKey,
        ready: Ready,
        write: Write,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let terms = write.terms();
        let Ready { whom, seen, latest, done } = ready;
        if let Some(Repeated { dot, body }) = done {
            let mut after = seen;
            after.add(dot);
            let context = self.config.seal.seal(key.bucket(), key.key(), &after);
            return self.replicate_and_wait(now, reply_to, partition, whom, terms, body, context, out);
        }
        // The writer may have seen more of this copy's actor than the copy knows of: those dots must not be given out again.
        self.begin_life_if_behind(partition, &seen, out)?;
        self.be_sure_of_life(partition)?;
        let dot = self.store.next_dot(partition)?;
        let mut after = seen.clone();
        after.add(dot);
        let context = self.config.seal.seal(key.bucket(), key.key(), &after);
        let delta = match write {
            Write::Put(m, value) => {
                self.counters.puts += 1;
                let written = self.wall.stamp(now, latest);
                let meta = Meta {
                    expires_ms: m.expiry.at_ms(written.ms(), self.buckets.of(&m.bucket).ttl_ms),
                    content_type: m.content_type,
                    written: Some(written),
                    request: m.request,
                };
                if meta.expires_ms.is_some() {
                    self.expect_expiry();
                }
                Object::put(dot, meta.wrap(&value), seen)
            }
            Write::Delete(_) => {
                self.counters.deletes += 1;
                Object::delete(seen)
            }
        };
        let body = Bytes::from(encode_entry(key, &delta, &[dot]));
        // A delta of a dot that was never seen, with its value here, cannot be refused.
        let _ = self.store.apply(partition, key, delta, &[dot])?;

        if !self.owns(partition) {
            self.took_hint(now, partition, body.len());
        }
        self.replicate_and_wait(now, reply_to, partition, whom, terms, body, context, out)
    }

    /// Sends what this copy has taken to all others, and answers when enough have it.
    #[allow(clippy::too_many_arguments)]
    fn replicate_and_wait(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        partition: PartitionId,
        whom: Whom,
        Terms { wanted, strict, timeout_ms }: Terms,
        body: Bytes,
        context: Bytes,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let id = self.new_id();
        let Whom { needed, owners, stand_ins, needs_stand_ins, sides } = whom;
        let deadline = now + timeout(timeout_ms);
        let mut put = Put {
            reply_to,
            partition,
            tally: Tally::new(needed, [self.config.node].into()),
            wanted,
            strict,
            began: now,
            deadline,
            asked: [self.config.node].into(),
            body,
            context,
            again: BTreeSet::new(),
            again_until: if strict { deadline } else { deadline.min(now + limits::WRITE_HEDGE_AFTER) },
        };
        put.tally.of_each(sides, strict);
        self.replicate_to(id, now, &mut put, &owners, false, out);
        self.replicate_to(id, now, &mut put, &stand_ins, needs_stand_ins, out);
        // The answer leaves after the turn's commit: by then this copy has the write.
        let counts = !strict || !self.acknowledges_in_doubt(partition)?;
        match put.heard_of(self.config.node, counts) {
            Outcome::Met => self.put_done(&mut put, out),
            _ => {
                let alarm = put.again_until;
                self.begin(id, Operation::Put(put), alarm);
            }
        }
        Ok(())
    }

    /// Sends the write to further copies, each once.
    fn replicate_to(&self, id: u64, now: Time, put: &mut Put, peers: &[NodeId], required: bool, out: &mut Effects) {
        let timeout_ms = ((put.deadline - now).0 / 1000) as u32;
        let (epoch, partition) = (self.config.layout.epoch(), put.partition.0);
        for peer in peers {
            out.send(*peer, id, Replicate { epoch, partition, required, timeout_ms }, put.body.clone());
            put.tally.also(*peer);
            put.asked.push(*peer);
        }
    }

    /// The partition has other owners by now: they get the write as well, and count.
    pub(super) fn put_anew(&mut self, now: Time, id: u64, put: &mut Put, out: &mut Effects) -> Then {
        match self.sides(put.partition, put.wanted, Does::Write) {
            Ok(sides) => put.tally.of_each(sides, put.strict),
            Err(_) => return Then::Wait(Some(put.deadline)), // fewer owners than are wanted: it stays unknown
        }
        let has_it = |node: &NodeId| *node == self.config.node || put.tally.yeses().contains(node);
        let others: Vec<NodeId> =
            self.holders(put.partition).into_iter().filter(|node| !has_it(node) && self.is_up(*node)).collect();
        self.replicate_to(id, now, put, &others, false, out);
        match put.tally.outcome() {
            Outcome::Met => {
                self.put_done(put, out);
                Then::Done
            }
            _ => Then::Wait(Some(put.deadline)),
        }
    }

    pub(super) fn put_heard(&mut self, now: Time, id: u64, put: &mut Put, heard: &Heard, out: &mut Effects) -> Then {
        let mut again = None;
        let outcome = match heard {
            Heard::Answer(from, Message::ReplicateDone(m), _) => put.heard_of(*from, !put.strict || !m.recovering),
            Heard::Answer(from, Message::Failure(why), _)
                if put.tally.waits_for(*from) && why.code == ErrorCode::OtherLayout && now < put.again_until =>
            {
                put.again.insert(*from);
                return Then::Wait(Some(put.deadline.min(now + again_after(now - put.began))));
            }
            Heard::Answer(from, ..) | Heard::Lost(from) | Heard::Unsent(from) if put.tally.waits_for(*from) => {
                put.tally.no(*from);
                self.replace(now, id, put, &[], out)
            }
            Heard::Alarm if now < put.deadline && !put.again.is_empty() => {
                let peers: Vec<NodeId> = std::mem::take(&mut put.again).into_iter().collect();
                self.replicate_to(id, now, put, &peers, false, out);
                return Then::Wait(Some(if now < put.again_until { put.again_until } else { put.deadline }));
            }
            Heard::Alarm if now < put.deadline => {
                again = Some(put.deadline);
                let late = put.tally.waiting().to_vec();
                self.replace(now, id, put, &late, out)
            }
            Heard::Alarm => Outcome::Lost,
            _ => put.tally.outcome(),
        };
        match outcome {
            Outcome::Pending => return Then::Wait(again),
            Outcome::Met => self.put_done(put, out),
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

    /// Asks stand-ins in the place of owners that are lost by now, or late.
    fn replace(&self, now: Time, id: u64, put: &mut Put, late: &[NodeId], out: &mut Effects) -> Outcome {
        if !put.strict && put.tally.outcome() != Outcome::Met {
            let further = self.further_stand_ins(put.partition, late, &put.asked);
            self.replicate_to(id, now, put, &further, true, out);
        }
        put.tally.outcome()
    }

    fn put_done(&mut self, put: &mut Put, out: &mut Effects) {
        let acks = self.acks(put.partition, put.tally.yeses());
        self.counters.sloppy += u64::from(acks.stand_ins > 0);
        out.reply(put.reply_to, PutDone { context: std::mem::take(&mut put.context), acks });
    }

    /// Answers that a request was not taken.
    pub(super) fn refuse(&mut self, reply_to: ReplyTo, refusal: Failure, out: &mut Effects) {
        self.counters.refused += 1;
        out.reply(reply_to, refusal);
    }
}
