//! A copy's part in other nodes' operations, an owner's or a stand-in's: take a write, say what it has of a key; and
//! listings of its own keys.

use bytes::Bytes;
use dynode_client::wire::limits::KEYS_PAGE_MAX;
use dynode_client::wire::{ErrorCode, Fetch, Fetched, Keys, ListKeys, Replicate, ReplicateDone};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{decode_dots, decode_entry, encode_clock, encode_object};
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Engine, EngineError, Object, ObjectKey, Payload};

use super::{Effects, Node, Observation, Phase, ReplyTo, Time, failure, shown};

impl<E: Engine> Node<E> {
    /// Takes a write. It is acknowledged when the turn is committed: the reply leaves only then.
    pub(super) fn replicate(
        &mut self,
        now: Time,
        peer: NodeId,
        reply_to: ReplyTo,
        m: &Replicate,
        body: Bytes,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let Some(partition) = self.agreed(peer, m.epoch, m.partition, reply_to, out) else { return Ok(()) };
        let bytes = body.len();
        let entry = match decode_entry(body) {
            Ok(entry) if entry.key.partition(self.config.layout.partitions()) == partition => entry,
            Ok(_) => return self.unreadable(peer, reply_to, "a key of another partition", out),
            Err(why) => return self.unreadable(peer, reply_to, &why.to_string(), out),
        };
        if let Err(why) = shown::values(&entry.object) {
            return self.unreadable(peer, reply_to, &why.to_string(), out);
        }
        let full = self.writes_refused.as_ref().filter(|_| !entry.object.values.is_empty());
        let full = full.map(|why| failure(ErrorCode::Unavailable, why.clone()));
        let refusal = match full.or_else(|| self.shelved(partition)) {
            None => self.not_compared(now, partition)?,
            some => some,
        };
        if let Some(refusal) = refusal {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        if self.declines_hint(partition, m.required) {
            self.counters.hints_declined += 1;
            let detail = "the hints held here are over their budget, and the write has its quorum without this one";
            out.reply(reply_to, failure(ErrorCode::Overloaded, detail));
            return Ok(());
        }
        let dots = || entry.dots.iter().copied().chain(entry.object.dots());
        if dots().any(|d| self.store.refuses(partition, d))
            && self.store.brings_refused(partition, &[], &dots().collect())?
        {
            self.counters.stale += 1;
            let detail = "the write is of a life of its coordinator that has ended";
            out.reply(reply_to, failure(ErrorCode::BadRequest, detail));
            return Ok(());
        }
        self.look_for_expiry(&entry.object);
        // A copy that is being rebuilt takes it too: whatever it contains, it keeps.
        self.counters.replicated += 1;
        match self.store.apply(partition, &entry.key, entry.object, &entry.dots)? {
            Ok(_) => {
                let recovering = self.acknowledges_in_doubt(partition)?;
                if !self.owns(partition) {
                    self.took_hint(now, partition, bytes);
                }
                out.reply(reply_to, ReplicateDone { recovering });
            }
            Err(_) => return self.unreadable(peer, reply_to, "a write without its value", out),
        }
        Ok(())
    }

    /// Says what this copy has of a key, without the values that the asker has.
    pub(super) fn fetch(
        &mut self,
        now: Time,
        peer: NodeId,
        reply_to: ReplyTo,
        m: &Fetch,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let Some(partition) = self.agreed(peer, m.epoch, m.partition, reply_to, out) else { return Ok(()) };
        let have = match decode_dots(m.have.clone()) {
            Ok(have) => have,
            Err(why) => return self.unreadable(peer, reply_to, &why.to_string(), out),
        };
        if let Some(refusal) = self.withheld(partition) {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        match (m.reads_before, self.phase(partition)) {
            (true, Phase::ReadNew | Phase::Stable) if !broken(Rule::Fence) => {
                let word = self.word_of(partition)?;
                out.reply(reply_to, word);
                return Ok(());
            }
            // Who reads from the new owners has it proved.
            (false, Phase::Joint) => self.move_on(now, partition, Phase::ReadNew, out)?,
            _ => {}
        }
        self.counters.fetched += 1;
        let recovering = self.is_recovering(partition)? || self.may_have_promised(partition);
        let key = ObjectKey::new(&m.bucket, &m.key);
        let mut object = match self.store.find(partition)? {
            Some(_) => self.store.read(partition, &key)?,
            None => Object::default(),
        };
        if object.dots().eq(have.iter().copied()) {
            // Equal values do not mean that both have seen the same: what this copy has seen and let go must not come
            // back from a third.
            out.reply_with(reply_to, Fetched { same: true, recovering }, encode_clock(&object.context).into());
            return Ok(());
        }
        for sibling in object.values.iter_mut().filter(|s| have.contains(&s.dot)) {
            sibling.value = Payload::Known;
        }
        out.reply_with(reply_to, Fetched { same: false, recovering }, encode_object(&object).into());
        Ok(())
    }

    pub(super) fn list_keys(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        m: &ListKeys,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let partition = PartitionId(m.partition);
        if u32::from(m.partition) >= self.config.layout.partitions() || !self.owns(partition) {
            let detail = format!("this node does not own partition {partition}: ask one of its owners");
            out.reply(reply_to, failure(ErrorCode::OtherLayout, detail));
            return Ok(());
        }
        if let Some(refusal) = self.withheld(partition) {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        let limit = m.limit.clamp(1, KEYS_PAGE_MAX) as usize;
        let wall_ms = self.wall.ms(now);
        // One that cannot be read is no reason to hide its key: whoever reads it finds the damage.
        let is_shown = |object: &Object| {
            shown::values(object).map_or(true, |values| values.iter().any(|v| !v.meta.has_expired(wall_ms)))
        };
        let (keys, more) = self.store.list(partition, &m.bucket, &m.prefix, &m.after, limit, is_shown)?;
        let recovering = self.is_recovering(partition)? || self.may_have_promised(partition);
        out.reply(reply_to, Keys { keys, more, recovering });
        Ok(())
    }

    pub(super) fn unreadable(
        &mut self,
        peer: NodeId,
        reply_to: ReplyTo,
        detail: &str,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        out.observe(Observation::Unreadable { peer, detail: detail.into() });
        out.reply(reply_to, failure(ErrorCode::BadRequest, detail));
        Ok(())
    }
}
