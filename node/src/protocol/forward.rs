//! A client's request that came to a node without a copy: handed to an owner, and the owner's answer handed back.
//!
//! A request is forwarded once: an owner that is reached by a peer and does not own the partition says so, since the two
//! then go by different layouts.

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Failure, Message, Quorum};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::Engine;

use super::{Effects, Heard, Micros, Node, Operation, Origin, ReplyTo, Then, Time, failure, timeout};

/// The owner gets a little less time than the asker gave, so that its word arrives before ours is due.
const MARGIN: Micros = Micros::millis(50);

/// A request that waits for an owner's answer.
pub(super) struct Forward {
    pub(super) to: NodeId,
    reply_to: ReplyTo,
    needed: u8,
    /// Owners that were not tried yet, and the request; only a read may be asked of another.
    others: Vec<NodeId>,
    message: Message,
    pub(super) body: Bytes,
}

impl<E: Engine> Node<E> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn forward(
        &mut self,
        now: Time,
        from: Origin,
        reply_to: ReplyTo,
        partition: PartitionId,
        wanted: Quorum,
        timeout_ms: u32,
        message: Message,
        body: Bytes,
        out: &mut Effects,
    ) {
        if let Origin::Peer(_) = from {
            let detail = format!("partition {partition} is not owned here under epoch {}", self.config.layout.epoch());
            return self.refuse(reply_to, failure(ErrorCode::OtherLayout, detail), out);
        }
        if let Err(refusal) = self.needed(partition, wanted) {
            return self.refuse(reply_to, refusal, out);
        }
        let mut owners: Vec<NodeId> = self.other_owners(partition).into_iter().filter(|n| self.is_up(*n)).collect();
        owners.reverse();
        let Some(to) = owners.pop() else {
            return self.refuse(reply_to, failure(ErrorCode::Unavailable, "no owner of the key can be reached"), out);
        };
        let id = self.new_id();
        self.counters.forwarded += 1;
        let needed = wanted.of(self.config.layout.owners(partition).len()).unwrap_or(0) as u8;
        out.send(to, id, message.clone(), body.clone());
        let forward = Forward { to, reply_to, needed, others: owners, message, body };
        self.begin(id, Operation::Forward(forward), now + timeout(timeout_ms) + MARGIN);
    }

    pub(super) fn forward_heard(&mut self, id: u64, op: &mut Forward, heard: Heard, out: &mut Effects) -> Then {
        match heard {
            Heard::Answer(from, message, body) if from == op.to => {
                out.reply_with(op.reply_to, message, body);
                return Then::Done;
            }
            Heard::Answer(..) => return Then::Wait(None),
            Heard::Lost(_) | Heard::Alarm => {}
        }
        let is_read = matches!(op.message, Message::Get(_));
        if let (true, Heard::Lost(_), Some(next)) = (is_read, &heard, op.others.pop()) {
            op.to = next;
            out.send(next, id, op.message.clone(), op.body.clone());
            return Then::Wait(None);
        }
        let (code, detail) = match is_read {
            true => (ErrorCode::QuorumNotMet, "no owner of the key has answered in time"),
            false => (ErrorCode::OutcomeUnknown, "the owner that got the write has not answered; it may have taken it"),
        };
        out.reply(op.reply_to, Failure { code, needed: op.needed, received: 0, detail: detail.into() });
        Then::Done
    }
}
