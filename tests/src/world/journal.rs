//! What clients did, what they had seen, what they were told; and what the world knows beside (the dot of each write).

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dynode_client::wire::{Acks, ErrorCode, Meta, Quorum};
use dynode_storage::{Dot, ObjectKey};

/// An operation: its place in the journal.
pub type OpId = u32;

/// A set of operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(Vec<u64>);

impl Seen {
    /// Adds one.
    pub fn add(&mut self, op: OpId) {
        let word = op as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (op % 64);
    }

    /// Is it in the set?
    pub fn has(&self, op: OpId) -> bool {
        self.0.get(op as usize / 64).is_some_and(|w| w & (1 << (op % 64)) != 0)
    }

    /// Set union, into `self`.
    pub fn merge(&mut self, other: &Seen) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
}

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A read.
    Get,
    /// A put.
    Put,
    /// A delete.
    Delete,
    /// Anything else.
    Other,
}

/// What the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// It was done.
    Done,
    /// It was not done, and nothing was changed.
    Failed(ErrorCode),
    /// It may have been done.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Op {
    /// Its place.
    pub id: OpId,
    /// Whose.
    pub client: usize,
    /// The node that the client asked.
    pub host: usize,
    /// The key: its place in [`Journal::keys`].
    pub key: usize,
    /// What.
    pub kind: Kind,
    /// How many copies were asked for; 0 where the request said what cannot be.
    pub copies: usize,
    /// As the request says it.
    pub quorum: Quorum,
    /// Only owners were to count.
    pub strict: bool,
    /// Who took part, as the reply says.
    pub acks: Acks,
    /// Of a failure: how many copies were needed, and how many have answered.
    pub short: (u8, u8),
    /// What a read returned: the writes whose values it saw.
    pub found: Vec<OpId>,
    /// The writes that the writer had seen, and those that they had seen.
    pub observed: Seen,
    /// It replaces whatever the coordinator has: what that is, the world looks up.
    pub over_current: bool,
    /// When it began.
    pub began: u64,
    /// When the client was told.
    pub ended: u64,
    /// What the client was told.
    pub outcome: Outcome,
    /// The write's dot, once a coordinator has given it one.
    pub dot: Option<Dot>,
    /// No fault may take the last synced copy of it.
    pub promised: bool,
    /// A fault took the last copy that had it, as it may.
    pub taken: bool,
    /// The coordinator crashed before anything of it was written or said.
    pub void: bool,
    /// It is another attempt at this put, with its value and request id.
    pub repeats: Option<OpId>,
    /// A read that asks for at least what its client has seen.
    pub in_session: bool,
}

impl Op {
    /// The operation that its value names: the first attempt.
    pub fn value_id(&self) -> OpId {
        self.repeats.unwrap_or(self.id)
    }
}

/// All operations of a run.
#[derive(Debug, Default)]
pub struct Journal {
    /// The keys in use.
    pub keys: Vec<ObjectKey>,
    /// By id.
    pub ops: Vec<Op>,
    /// Who made which write.
    pub by_dot: BTreeMap<Dot, OpId>,
    /// By key: its writes that clients know to be done, in the order in which they heard of it.
    pub acknowledged: Vec<Vec<OpId>>,
    /// The writes that some later write had seen.
    pub replaced: Seen,
    /// The puts of which there was another attempt: whoever has seen the value need not have seen all of them.
    pub repeated: Seen,
}

impl Journal {
    /// Writes down that an operation begins.
    pub fn begin(&mut self, client: usize, host: usize, key: usize, kind: Kind, now: u64) -> &mut Op {
        let id = self.ops.len() as OpId;
        self.ops.push(Op {
            id,
            client,
            host,
            key,
            kind,
            copies: 0,
            quorum: Quorum::Majority,
            strict: true,
            acks: Acks::default(),
            short: (0, 0),
            found: Vec::new(),
            observed: Seen::default(),
            over_current: false,
            began: now,
            ended: 0,
            outcome: Outcome::Pending,
            dot: None,
            promised: false,
            taken: false,
            void: false,
            repeats: None,
            in_session: false,
        });
        let last = self.ops.len() - 1;
        &mut self.ops[last]
    }

    /// A journal for these keys.
    pub fn new(keys: Vec<ObjectKey>) -> Journal {
        Journal { acknowledged: vec![Vec::new(); keys.len()], keys, ..Journal::default() }
    }

    /// Writes down what an operation has seen.
    pub fn observes(&mut self, id: OpId, seen: Seen) {
        self.replaced.merge(&seen);
        self.ops[id as usize].observed = seen;
    }

    /// All attempts at the put whose first one this is.
    pub fn attempts(&self, first: OpId) -> impl Iterator<Item = &Op> {
        self.ops.iter().skip(first as usize).filter(move |op| op.value_id() == first)
    }

    /// The operation with this id.
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[id as usize]
    }

    /// The operation with this id, to change.
    pub fn op_mut(&mut self, id: OpId) -> &mut Op {
        &mut self.ops[id as usize]
    }

    /// The writes that have a dot.
    pub fn writes(&self) -> impl Iterator<Item = (&Op, Dot)> {
        self.ops.iter().filter_map(|op| op.dot.map(|dot| (op, dot)))
    }

    /// The writes that gave these values, and all that those had seen.
    pub fn seen_by(&self, values: &[OpId]) -> Seen {
        let mut seen = Seen::default();
        for op in values {
            seen.add(*op);
            // Attempts over whatever is there have seen different things, and the value does not tell which it is of.
            if !(self.op(*op).over_current && self.repeated.has(*op)) {
                seen.merge(&self.op(*op).observed);
            }
        }
        seen
    }
}

/// The value that a put writes: unlike any other.
pub fn value_of(op: OpId, len: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(len.max(8));
    out.put_u32_le(op);
    out.put_u32_le(!op);
    out.resize(len.max(8), op as u8);
    out.freeze()
}

/// Whose value this is as a copy has stored it; `None`: nobody's.
pub fn writer_of_stored(stored: &Bytes) -> Option<OpId> {
    Meta::unwrap(stored).ok().and_then(|(_, value)| writer_of(&value))
}

/// Whose value this is; `None`: nobody's.
pub fn writer_of(value: &[u8]) -> Option<OpId> {
    let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let op = word(0)?;
    (word(4)? == !op && value[8..].iter().all(|b| *b == op as u8)).then_some(op)
}
