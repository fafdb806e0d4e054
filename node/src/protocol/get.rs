//! The coordinator of a read.
//!
//! An owner reads its own copy and asks `r - 1` others what they have beyond it; values travel only where the coordinator
//! lacks them. It merges, answers, and has whatever was behind repaired afterwards. An owner that is lost is replaced by
//! the next one; when answers are late, all that were not asked yet are asked. The nearest are asked first,
//! suspects last, and before them those whose copies would not count.
//!
//! Stand-ins are asked, and count, only where fewer than `r` owners can be reached and the reader did not ask for a strict
//! quorum; so do recovering copies. Neither ever vouches for an absence: that a key is not there is said only when an owner
//! with a whole copy has said it.

use bytes::{Bytes, BytesMut};
use dynode_client::wire::{ErrorCode, Failure, Fetch, Found, Get as GetRequest, Message, Quorum, SiblingIs};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{decode_clock, decode_object, encode_dots};
use dynode_storage::{Clock, Engine, EngineError, Object, ObjectKey, Space};

use super::adopt::again_after;
use super::forward::Terms;
use super::hedge;
use super::put::check_place;
use super::session;
use super::shown::{self, Valued};
use super::whom::{Does, Whom};

use super::{
    Effects, Heard, Node, Observation, Operation, Origin, Outcome, Phase, ReplyTo, Tally, Then, Time, timeout,
};

/// A read that waits for answers.
pub(super) struct Get {
    pub(super) reply_to: ReplyTo,
    pub(super) partition: PartitionId,
    pub(super) key: ObjectKey,
    pub(super) tally: Tally,
    pub(super) wanted: Quorum,
    pub(super) strict: bool,
    began: Time,
    pub(super) deadline: Time,
    /// What this node's own copy has.
    pub(super) own: Object,
    /// What others answered that was not the same.
    pub(super) answers: Vec<(NodeId, Object)>,
    /// Those that have exactly what this copy has.
    pub(super) same: Vec<NodeId>,
    /// What those have seen of the key.
    pub(super) seen: Clock,
    /// Those that were not asked yet, the next one last.
    pub(super) spare: Vec<NodeId>,
    /// Those that were asked, and how many of them at the beginning.
    pub(super) asked: Vec<NodeId>,
    pub(super) asked_first: usize,
    /// An owner with a whole copy has answered.
    pub(super) vouched: bool,
    /// Those whose copy is recovering: they count as stand-ins do.
    pub(super) recovering: Vec<NodeId>,
    /// What the answer must have seen.
    pub(super) least: Option<Clock>,
    /// The partition gets other owners, and the former ones are asked.
    pub(super) reads_before: bool,
    /// A copy that was asked goes by another layout: if it is needed, all are asked anew, soon.
    pub(super) other_layout_seen: bool,
}

impl Get {
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.tally.waits_for(node) && !self.spare.contains(&node)
    }

    /// A copy has answered.
    pub(super) fn heard_of(&mut self, node: NodeId, owns: bool, recovering: bool) -> Outcome {
        self.vouched |= owns && !recovering;
        if recovering {
            self.recovering.push(node);
        }
        if recovering && self.strict { self.tally.no(node) } else { self.tally.yes(node) }
    }

    /// With its quorum met: is there somebody to vouch for the answer, or nobody left to ask?
    pub(super) fn may_answer(&self) -> bool {
        let finds = !self.own.values.is_empty() || self.answers.iter().any(|(_, object)| !object.values.is_empty());
        (self.vouched || finds || self.tally.waiting().is_empty()) && self.has_seen_enough()
    }

    /// Why there is no answer.
    fn failure(&self) -> Failure {
        if self.tally.outcome() == Outcome::Met && !self.has_seen_enough() {
            return session::not_seen_yet();
        }
        let (needed, received) = (self.tally.needed(), self.tally.received());
        let (received, detail) = match received < needed {
            true => (received, format!("{received} of the {needed} copies needed have answered in time")),
            false => (0, "no owner with a whole copy has answered, and the others do not have the key".into()),
        };
        Failure { code: ErrorCode::QuorumNotMet, needed: needed as u8, received: received as u8, detail }
    }

    pub(super) fn held(&self) -> usize {
        self.own.values.iter().filter_map(|s| s.value.bytes()).map(Bytes::len).sum()
    }

    pub(super) fn ask(&mut self, id: u64, epoch: u64, count: usize, out: &mut Effects) {
        for _ in 0..count {
            let Some(peer) = self.spare.pop() else { return };
            let message = Fetch {
                epoch,
                partition: self.partition.0,
                bucket: Bytes::copy_from_slice(self.key.bucket()),
                key: Bytes::copy_from_slice(self.key.key()),
                have: encode_dots(self.own.dots()).into(),
                reads_before: self.reads_before,
            };
            out.send(peer, id, message, Bytes::new());
            self.asked.push(peer);
        }
    }
}

impl<E: Engine> Node<E> {
    pub(super) fn begin_get(
        &mut self,
        now: Time,
        from: Origin,
        reply_to: ReplyTo,
        mut request: GetRequest,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        request.r = self.meant(request.r, self.buckets.of(&request.bucket).r);
        if let Err(refusal) = self.admit(request.timeout_ms).and_then(|()| check_place(&request.bucket, &request.key)) {
            self.refuse(reply_to, refusal, out);
            return Ok(());
        }
        let partition = self.config.layout.partition_of(&request.bucket, &request.key);
        if self.is_for_an_owner(partition, from) {
            let terms = Terms { wanted: request.r, strict: request.strict, timeout_ms: request.timeout_ms };
            return self.forward(now, from, reply_to, partition, terms, request.into(), Bytes::new(), out);
        }
        self.get_here(now, reply_to, partition, &request, out)
    }

    /// Coordinates a read, as an owner or as a stand-in.
    pub(super) fn get_here(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        partition: PartitionId,
        request: &GetRequest,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let least = match self.least_of(request) {
            Ok(least) => least,
            Err(refusal) => {
                self.refuse(reply_to, refusal, out);
                return Ok(());
            }
        };
        let whom = self.whom(partition, request.r, request.strict, Does::Read);
        let Whom { needed, owners, stand_ins, needs_stand_ins, sides } = match whom {
            Ok(whom) => whom,
            Err(refusal) => {
                self.refuse(reply_to, refusal, out);
                return Ok(());
            }
        };
        self.counters.gets += 1;
        let key = ObjectKey::new(&request.bucket, &request.key);
        let own = self.store.read(partition, &key)?;
        let mut spare = owners;
        self.latencies().rank(&mut spare);
        self.unfit_last(partition, &mut spare);
        if needs_stand_ins {
            spare.extend(stand_ins);
        }
        spare.reverse(); // the next to be asked stands last
        let mut replicas = spare.clone();
        replicas.push(self.config.node);
        let deadline = now + timeout(request.timeout_ms);
        let mut tally = Tally::new(needed, replicas);
        tally.of_each(sides, request.strict);
        let mut get = Get {
            reply_to,
            partition,
            key,
            tally,
            wanted: request.r,
            strict: request.strict,
            began: now,
            deadline,
            own,
            answers: Vec::new(),
            same: Vec::new(),
            seen: Clock::new(),
            spare,
            asked: [self.config.node].into(),
            asked_first: 0,
            vouched: false,
            recovering: Vec::new(),
            least,
            reads_before: self.phase(partition) == Phase::Joint,
            other_layout_seen: false,
        };
        let id = self.new_id();
        let recovering = self.is_recovering(partition)? || self.may_have_promised(partition);
        match get.heard_of(self.config.node, self.reads(partition), recovering) {
            Outcome::Met if get.may_answer() => self.answer_get(now, &mut get, out),
            Outcome::Lost => {
                self.get_stands(Outcome::Lost, &get, out);
                Ok(())
            }
            _ => {
                get.ask(id, self.config.layout.epoch(), needed.saturating_sub(get.tally.received()).max(1), out);
                get.asked_first = get.asked.len();
                self.hedges.earn();
                let hedge_at = now + hedge::delay(self.latencies(), &get.asked[1..], get.spare.last().copied());
                self.begin(id, Operation::Get(get), deadline.min(hedge_at));
                Ok(())
            }
        }
    }

    pub(super) fn get_heard(
        &mut self,
        now: Time,
        id: u64,
        get: &mut Get,
        heard: Heard,
        out: &mut Effects,
    ) -> Result<Then, EngineError> {
        let epoch = self.config.layout.epoch();
        let outcome = match heard {
            Heard::Answer(from, Message::Fetched(m), body) if get.waits_for(from) => {
                if get.asked[..get.asked_first].contains(&from) {
                    self.swim.latencies_mut().sample(from, (now - get.began).0);
                }
                let answer = match m.same {
                    true => decode_clock(body).map_err(|why| why.to_string()).map(|seen| {
                        get.seen.merge(&seen);
                        get.same.push(from);
                    }),
                    false => decode_object(body).map_err(|why| why.to_string()).and_then(|object| {
                        shown::values(&object).map_err(|why| why.to_string())?;
                        get.answers.push((from, object));
                        Ok(())
                    }),
                };
                match answer {
                    Ok(()) => {}
                    Err(why) => {
                        out.observe(Observation::Unreadable { peer: from, detail: why });
                        let outcome = self.ask_instead(id, get, from, out);
                        return Ok(self.get_stands(outcome, get, out));
                    }
                }
                let outcome = get.heard_of(from, self.readers(get.partition).contains(&from), m.recovering);
                if m.recovering && get.strict {
                    get.ask(id, epoch, 1, out);
                }
                outcome
            }
            Heard::Answer(from, Message::Phases(m), _) if get.waits_for(from) => {
                self.phases_told(now, from, &m, out)?;
                return self.get_anew(now, id, get, out);
            }
            Heard::Answer(from, Message::Failure(why), _) => {
                get.other_layout_seen |= get.waits_for(from) && why.code == ErrorCode::OtherLayout;
                self.ask_instead(id, get, from, out)
            }
            Heard::Answer(from, ..) | Heard::Lost(from) | Heard::Unsent(from) => self.ask_instead(id, get, from, out),
            Heard::Alarm if now < get.deadline && (get.lags() || get.other_layout_seen) => {
                return self.get_anew(now, id, get, out);
            }
            Heard::Alarm if now < get.deadline => {
                for late in get.tally.waiting().iter().filter(|peer| !get.spare.contains(peer)) {
                    self.swim.latencies_mut().sample(*late, (now - get.began).0); // it takes at least so long
                }
                if !get.spare.is_empty() && self.hedges.spend() {
                    self.counters.hedged += 1;
                    get.ask(id, epoch, usize::MAX, out);
                }
                return Ok(Then::Wait(Some(get.next_look(now))));
            }
            Heard::Alarm => Outcome::Lost,
        };
        if outcome == Outcome::Met && get.may_answer() {
            self.answer_get(now, get, out)?;
            return Ok(Then::Done);
        }
        if outcome == Outcome::Met {
            get.ask(id, epoch, 1, out);
            if get.lags() {
                return Ok(Then::Wait(Some(get.next_look(now))));
            }
        }
        if outcome == Outcome::Lost && get.other_layout_seen && now < get.deadline {
            return Ok(Then::Wait(Some(get.deadline.min(now + again_after(now - get.began)))));
        }
        Ok(self.get_stands(outcome, get, out))
    }

    /// Asks another in the place of one that was asked and will not answer; stand-ins, when no owner is left.
    fn ask_instead(&self, id: u64, get: &mut Get, lost: NodeId, out: &mut Effects) -> Outcome {
        let was_asked = get.waits_for(lost);
        get.spare.retain(|n| *n != lost);
        if get.tally.no(lost) == Outcome::Lost && !get.strict {
            let further = self.further_stand_ins(get.partition, &[lost], &get.asked);
            further.iter().for_each(|n| get.tally.also(*n));
            get.spare.extend(further.into_iter().rev());
        }
        if was_asked {
            get.ask(id, self.config.layout.epoch(), 1, out);
        }
        get.tally.outcome()
    }

    fn get_stands(&mut self, outcome: Outcome, get: &Get, out: &mut Effects) -> Then {
        if outcome != Outcome::Lost {
            return Then::Wait(None);
        }
        self.counters.unmet += 1;
        out.reply(get.reply_to, get.failure());
        Then::Done
    }

    /// Merges, answers, and sets right who was behind.
    pub(super) fn answer_get(&mut self, now: Time, get: &mut Get, out: &mut Effects) -> Result<(), EngineError> {
        let mut own = std::mem::take(&mut get.own);
        own.context.merge(&get.seen);
        let own_dots: Vec<_> = own.dots().collect();
        let merged = get.answers.iter().fold(own, |sum, (_, object)| sum.merge(object.clone()));
        let values = self.values_of(get.partition, &merged)?;
        let shown = shown::shown(values, self.wall.ms(now), self.is_lww(get.key.bucket()));
        let body = match shown.as_slice() {
            [] => Bytes::new(),
            [one] => one.value.clone(),
            many => many
                .iter()
                .fold(BytesMut::new(), |mut all, v| {
                    all.extend_from_slice(&v.value);
                    all
                })
                .freeze(),
        };
        let sibling = |v: Valued| SiblingIs { length: v.value.len() as u32, meta: v.meta };
        let siblings = shown.into_iter().map(sibling).collect();
        let context = self.config.seal.seal(get.key.bucket(), get.key.key(), &merged.client_context());
        let mut acks = self.acks(get.partition, get.tally.yeses());
        let counted = |node: &&NodeId| get.tally.yeses().contains(node) && self.is_holder(**node, get.partition);
        let recovering = get.recovering.iter().filter(counted).count() as u8;
        acks.owners -= recovering;
        acks.stand_ins += recovering;
        if merged.values.is_empty() && !get.vouched {
            self.counters.unmet += 1;
            out.reply(get.reply_to, get.failure());
            return Ok(());
        }
        out.reply_with(get.reply_to, Found { siblings, context, acks }, body);

        if !get.answers.is_empty() {
            let same = |object: &Object| object.same_values(&merged);
            let own_is_whole = own_dots.iter().copied().eq(merged.dots());
            let whole = if own_is_whole {
                Some(self.config.node)
            } else {
                get.answers.iter().find(|(_, o)| same(o)).map(|(n, _)| *n)
            };
            let mut behind: Vec<NodeId> = get.answers.iter().filter(|(_, o)| !same(o)).map(|(n, _)| *n).collect();
            if !own_is_whole {
                behind.extend(get.same.iter().copied());
            }
            self.repair(now, get.partition, &get.key, own_is_whole, whole, &behind, &get.answers, out);
        }
        Ok(())
    }
}

impl<E: Engine> Node<E> {
    /// Takes the values of a key out of their envelopes. One that cannot be read is damage: it was checked when it came.
    pub(super) fn values_of(&self, partition: PartitionId, object: &Object) -> Result<Vec<Valued>, EngineError> {
        shown::values(object).map_err(|why| EngineError::Damaged {
            place: Space::Objects.name(),
            partition: Some(partition),
            detail: why.to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
