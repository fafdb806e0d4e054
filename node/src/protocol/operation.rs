//! Operations under way: what waits for answers from peers, what it hears, and what becomes of it then.

use bytes::Bytes;
use dynode_client::wire::Message;
use dynode_ring::NodeId;
use dynode_storage::{Engine, EngineError};

use super::{Effects, Node, Time, forward, get, lives, pull, put, repair, sync};

/// Something that waits for answers from peers. Its number is the request id of everything it asks.
pub(super) enum Operation {
    Put(put::Put),
    Get(get::Get),
    Forward(forward::Forward),
    Digests(sync::DigestRound),
    Pull(pull::Pull),
    Repair(repair::Repair),
    Closing(lives::Closing),
}

pub(super) struct UnderWay {
    /// When it is to be looked at again.
    pub(super) alarm: Time,
    /// The values that it held when it began, in bytes.
    pub(super) held: usize,
    pub(super) operation: Operation,
}

/// What an operation hears.
#[allow(clippy::large_enum_variant, reason = "nearly all are answers, and a box for each would cost more")]
pub(super) enum Heard {
    /// A peer answered.
    Answer(NodeId, Message, Bytes),
    /// A peer will not answer any more.
    Lost(NodeId),
    /// What was asked did not leave this node.
    Unsent(NodeId),
    /// The operation's alarm went off.
    Alarm,
}

/// What becomes of an operation after it heard something.
pub(super) enum Then {
    Done,
    /// Keep it; `Some`: and look at it again at that time instead.
    Wait(Option<Time>),
}

impl<E: Engine> Node<E> {
    /// Tells an operation what it has waited for.
    pub(super) fn heard(&mut self, now: Time, id: u64, heard: Heard, out: &mut Effects) -> Result<(), EngineError> {
        let Some(UnderWay { alarm, held, mut operation }) = self.operations.remove(&id) else {
            return Ok(()); // a late or repeated answer: nobody waits for it
        };
        self.alarms.remove(&(alarm, id));
        let of_client = operation.is_of_client();
        let then = match &mut operation {
            Operation::Put(op) => Ok(self.put_heard(now, id, op, &heard, out)),
            Operation::Get(op) => self.get_heard(now, id, op, heard, out),
            Operation::Forward(op) => self.forward_heard(now, id, op, heard, out),
            Operation::Digests(op) => self.digests_heard(now, op, heard, out),
            Operation::Pull(op) => self.pull_heard(now, op, heard, out),
            Operation::Repair(op) => self.repair_heard(op, heard, out),
            Operation::Closing(op) => self.closing_heard(now, id, op, heard, out),
        };
        match then {
            Ok(Then::Done) | Err(_) => {
                self.client_operations -= usize::from(of_client);
                self.held_bytes -= held;
                then.map(|_| ())?;
            }
            Ok(Then::Wait(again)) => {
                let alarm = again.unwrap_or(alarm);
                self.operations.insert(id, UnderWay { alarm, held, operation });
                self.alarms.insert((alarm, id));
            }
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, id: u64, operation: Operation, alarm: Time) {
        self.client_operations += usize::from(operation.is_of_client());
        let held = operation.held();
        self.held_bytes += held;
        self.operations.insert(id, UnderWay { alarm, held, operation });
        self.alarms.insert((alarm, id));
    }

    /// Nobody waits for this peer any longer.
    pub(super) fn lost(&mut self, now: Time, peer: NodeId, out: &mut Effects) -> Result<(), EngineError> {
        let waiting: Vec<u64> =
            self.operations.iter().filter(|(_, op)| op.operation.waits_for(peer)).map(|(id, _)| *id).collect();
        waiting.into_iter().try_for_each(|id| self.heard(now, id, Heard::Lost(peer), out))
    }
}

impl Operation {
    pub(super) fn is_of_client(&self) -> bool {
        matches!(self, Operation::Put(_) | Operation::Get(_) | Operation::Forward(_))
    }

    /// The values that it holds on to, in bytes.
    pub(super) fn held(&self) -> usize {
        match self {
            Operation::Get(op) => op.held(),
            Operation::Forward(op) => op.body.len(),
            Operation::Put(op) => op.held(),
            Operation::Digests(_) | Operation::Pull(_) | Operation::Repair(_) | Operation::Closing(_) => 0,
        }
    }

    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        match self {
            Operation::Put(op) => op.waits_for(node),
            Operation::Get(op) => op.waits_for(node),
            Operation::Forward(op) => op.waits_for(node),
            Operation::Digests(op) => op.peer == node,
            Operation::Pull(op) => op.source == node,
            Operation::Repair(op) => op.source == node,
            Operation::Closing(op) => op.waits_for(node),
        }
    }
}
