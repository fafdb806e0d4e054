//! A client's request that came to a node without a copy: handed to an owner, and the owner's answer handed back.
//!
//! A request is forwarded once: an owner that is reached by a peer and does not own the partition says so, since the two
//! then go by different layouts. Where no owner can be reached, the node coordinates itself, as a stand-in.
//!
//! An owner that has just died is not known to be dead for a second or more. A read does not wait for that: when its owner is
//! late, another is asked too, and whoever answers first is believed. A write waits. Made at two owners it would be two writes,
//! and its client, who counts the attempts that may show again, would know of one.

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Failure, Message, Quorum};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::{Engine, EngineError};

use super::put::Write;
use super::whom::Does;
use super::{Effects, Heard, Latencies, Micros, Node, Operation, Origin, ReplyTo, Then, Time, failure, hedge, timeout};
use crate::limits;

/// The owner gets a little less time than the asker gave, so that its word arrives before ours is due.
const MARGIN: Micros = Micros::millis(50);

/// What a client asks of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// How many copies.
    pub(super) wanted: Quorum,
    /// Owners only.
    pub(super) strict: bool,
    /// In how much time.
    pub(super) timeout_ms: u32,
}

/// A request that waits for an owner's answer.
pub(super) struct Forward {
    /// Owners that were asked, and have neither refused nor been lost.
    asked: Vec<NodeId>,
    reply_to: ReplyTo,
    partition: PartitionId,
    needed: u8,
    strict: bool,
    deadline: Time,
    /// Owners that were not asked yet, the next one last.
    others: Vec<NodeId>,
    message: Message,
    pub(super) body: Bytes,
}

impl<E: Engine> Node<E> {
    /// Is a request about this partition another node's to coordinate? A peer asks only owners; a client may ask
    /// anybody, and gets a stand-in where no owner can be reached. An owner whose copy is in quarantine is none.
    pub(super) fn is_for_an_owner(&self, partition: PartitionId, from: Origin) -> bool {
        let reachable = || self.readers(partition).iter().any(|n| self.is_up(*n));
        let owns = self.reads(partition) && self.withheld(partition).is_none();
        // Who is not a member takes nothing in the place of others.
        !owns && (from != Origin::Client || reachable() || self.owns(partition) || !self.is_member())
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn forward(
        &mut self,
        now: Time,
        from: Origin,
        reply_to: ReplyTo,
        partition: PartitionId,
        terms: Terms,
        message: Message,
        body: Bytes,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        if let Origin::Peer(_) = from {
            let unwilling = self.writes_refused.clone().map(|why| failure(ErrorCode::Unavailable, why));
            if let Some(refusal) = self.withheld(partition).or(unwilling.filter(|_| self.owns(partition))) {
                self.refuse(reply_to, refusal, out);
                return Ok(());
            }
            let detail = format!("partition {partition} is not owned here under epoch {}", self.config.layout.epoch());
            self.refuse(reply_to, failure(ErrorCode::OtherLayout, detail), out);
            return Ok(());
        }
        let mut others = match self.whom(partition, terms.wanted, terms.strict, Does::Read) {
            Ok(whom) => whom.owners,
            Err(refusal) => {
                let owners = self.other_owners(partition);
                let withheld = self.withheld(partition).filter(|_| !owners.iter().any(|n| self.is_up(*n)));
                self.refuse(reply_to, withheld.unwrap_or(refusal), out);
                return Ok(());
            }
        };
        self.unfit_last(partition, &mut others);
        others.reverse();
        let Some(to) = others.pop() else {
            let why = self.withheld(partition).map(|refusal| refusal.detail).or(self.writes_refused.clone());
            let detail = why.unwrap_or_else(|| "no owner of the key can be reached".into());
            self.refuse(reply_to, failure(ErrorCode::Unavailable, detail), out);
            return Ok(());
        };
        let id = self.new_id();
        self.counters.forwarded += 1;
        let needed = terms.wanted.of(self.readers(partition).len()).unwrap_or(0) as u8;
        out.send(to, id, message.clone(), body.clone());
        let deadline = now + timeout(terms.timeout_ms);
        let (strict, asked) = (terms.strict, vec![to]);
        let forward = Forward { asked, reply_to, partition, needed, strict, deadline, others, message, body };
        if forward.is_read() {
            self.hedges.earn();
        }
        let alarm = forward.next_look(now, self.latencies());
        self.begin(id, Operation::Forward(forward), alarm);
        Ok(())
    }

    pub(super) fn forward_heard(
        &mut self,
        now: Time,
        id: u64,
        op: &mut Forward,
        heard: Heard,
        out: &mut Effects,
    ) -> Result<Then, EngineError> {
        // What never left this node was surely not done; a read may be asked again in any case.
        let may_ask_again = match heard {
            Heard::Answer(from, ..) | Heard::Lost(from) | Heard::Unsent(from) if !op.waits_for(from) => {
                return Ok(Then::Wait(None));
            }
            Heard::Answer(from, Message::Failure(why), _)
                if matches!(why.code, ErrorCode::Unavailable | ErrorCode::OtherLayout) =>
            {
                op.asked.retain(|n| *n != from);
                true
            }
            Heard::Answer(_, message, body) => {
                out.reply_with(op.reply_to, message, body);
                return Ok(Then::Done);
            }
            Heard::Unsent(from) => {
                op.asked.retain(|n| *n != from);
                true
            }
            Heard::Lost(from) => {
                op.asked.retain(|n| *n != from);
                op.is_read()
            }
            Heard::Alarm if now < op.deadline => {
                if !op.others.is_empty() && self.hedges.spend() {
                    self.counters.hedged += 1;
                    op.ask_next(now, id, out);
                }
                return Ok(Then::Wait(Some(op.next_look(now, self.latencies()))));
            }
            Heard::Alarm => false,
        };
        if may_ask_again {
            if op.ask_next(now, id, out) {
                return Ok(Then::Wait(Some(op.next_look(now, self.latencies()))));
            }
            if !op.asked.is_empty() {
                return Ok(Then::Wait(None));
            }
            let full = self.writes_refused.is_some() && matches!(op.message, Message::Put(_));
            if !op.strict && !full && self.is_member() && self.withheld(op.partition).is_none() {
                self.stand_in(now, op, out)?;
                return Ok(Then::Done);
            }
        }
        let (code, detail) = match op.is_read() || may_ask_again {
            true => (ErrorCode::QuorumNotMet, "no owner of the key has answered in time; nothing was changed"),
            false => (ErrorCode::OutcomeUnknown, "the owner that got the write has not answered; it may have taken it"),
        };
        out.reply(op.reply_to, Failure { code, needed: op.needed, received: 0, detail: detail.into() });
        Ok(Then::Done)
    }

    /// No owner could be asked after all: coordinates the request here.
    fn stand_in(&mut self, now: Time, op: &Forward, out: &mut Effects) -> Result<(), EngineError> {
        match op.message.clone() {
            Message::Get(m) => self.get_here(now, op.reply_to, op.partition, &m, out),
            Message::Put(m) => self.put_here(now, op.reply_to, op.partition, Write::Put(m, op.body.clone()), out),
            Message::Delete(m) => self.put_here(now, op.reply_to, op.partition, Write::Delete(m), out),
            _ => Ok(()), // nothing else is forwarded
        }
    }
}

impl Forward {
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.asked.contains(&node)
    }

    fn is_read(&self) -> bool {
        matches!(self.message, Message::Get(_))
    }

    /// Asks the next owner, who has only the time that is left; false where there is none.
    fn ask_next(&mut self, now: Time, id: u64, out: &mut Effects) -> bool {
        let Some(next) = self.others.pop() else { return false };
        let left = ((self.deadline - now).0 / 1000) as u32;
        match &mut self.message {
            Message::Get(m) => m.timeout_ms = left,
            Message::Put(m) => m.timeout_ms = left,
            Message::Delete(m) => m.timeout_ms = left,
            _ => {}
        }
        self.asked.push(next);
        out.send(next, id, self.message.clone(), self.body.clone());
        true
    }

    /// When another owner is to be asked too, or time is up. The owner asks others in its turn, so it may take twice as long as a
    /// peer's answer.
    fn next_look(&self, now: Time, latencies: &Latencies) -> Time {
        let end = self.deadline + MARGIN;
        if !self.is_read() || self.others.is_empty() {
            return end;
        }
        let usual = hedge::delay(latencies, &self.asked, None);
        end.min(now + limits::FORWARD_AGAIN_AFTER.max(Micros(2 * usual.0)))
    }
}

#[cfg(test)]
mod tests;
