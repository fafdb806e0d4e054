//! What really happened: every write, what its writer had seen, and which writes each node's copy of a key reflects.
//!
//! It knows nothing of clocks and contexts: a copy *reflects* a write when the write, or something that reflects it, was
//! taken in. What the values of a key must be follows from that alone.

use std::collections::{BTreeMap, BTreeSet};

use dynode_storage::{Dot, ObjectKey};

/// A write's number; the value it writes begins with it.
pub type Op = usize;

#[derive(Debug)]
pub struct Write {
    pub key: ObjectKey,
    pub is_put: bool,
    pub dot: Dot,
    /// The writes that its writer had seen.
    pub observed: BTreeSet<Op>,
    /// The nodes on which it was synced at some time.
    pub synced_at: BTreeSet<usize>,
}

/// The truth about one copy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// The writes whose dots truly came here.
    pub dots: BTreeSet<Op>,
    /// The writes that each key reflects.
    pub reflects: BTreeMap<ObjectKey, BTreeSet<Op>>,
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub writes: Vec<Write>,
    by_dot: BTreeMap<Dot, Op>,
}

impl Truth {
    pub fn of(&self, key: &ObjectKey) -> BTreeSet<Op> {
        self.reflects.get(key).cloned().unwrap_or_default()
    }

    /// Takes over what another copy says of a key.
    pub fn learn(&mut self, key: &ObjectKey, ops: BTreeSet<Op>) {
        self.reflects.entry(key.clone()).or_default().extend(ops);
    }
}

impl Oracle {
    pub fn write(&mut self, key: ObjectKey, is_put: bool, dot: Dot, observed: BTreeSet<Op>) -> Op {
        self.writes.push(Write { key, is_put, dot, observed, synced_at: BTreeSet::new() });
        let op = self.writes.len() - 1;
        self.by_dot.insert(dot, op);
        op
    }

    /// The number of the write that will be made next.
    pub fn next(&self) -> Op {
        self.writes.len()
    }

    pub fn of_dots<'a>(&'a self, dots: impl IntoIterator<Item = Dot> + 'a) -> impl Iterator<Item = Op> + 'a {
        dots.into_iter().filter_map(|d| self.by_dot.get(&d).copied())
    }

    /// Acknowledged under the default: synced on two nodes.
    pub fn is_acknowledged(&self, op: Op) -> bool {
        self.writes[op].synced_at.len() >= 2
    }

    /// The write and all that its writer had seen.
    pub fn past(&self, op: Op) -> BTreeSet<Op> {
        self.writes[op].observed.iter().copied().chain([op]).collect()
    }

    /// The values that must be there where these writes are reflected: the puts that none of the others had seen.
    pub fn values(&self, reflected: &BTreeSet<Op>) -> BTreeSet<Op> {
        let replaced: BTreeSet<Op> =
            reflected.iter().flat_map(|op| self.writes[*op].observed.iter().copied()).collect();
        reflected.difference(&replaced).copied().filter(|op| self.writes[*op].is_put).collect()
    }
}
