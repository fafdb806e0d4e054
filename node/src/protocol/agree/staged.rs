//! Staged changes: what operators want and no layout contains yet. Every node keeps them, and any two nodes' merge, in any
//! order and however often, so that none is forgotten when operators speak to different nodes.
//!
//! A change stays until a layout contains it or an operator cancels it. *Committed* it is for one epoch: the operator saw the
//! plan from that layout; where another layout comes first the plan is another, and wants to be seen again.

use std::collections::{BTreeMap, BTreeSet};

use dynode_client::wire::ChangeId;

use super::change::Op;
use super::codec;
use super::decision::Decision;
use crate::limits;

/// One staged change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is wanted.
    pub op: Op,
    /// The epoch from which on an operator wants it done, as planned.
    pub committed: Option<u64>,
    /// An operator wants it no more. It is remembered until the epoch has passed, so that it does not come back.
    pub cancelled: bool,
}

/// What is staged, as far as a node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staged {
    entries: BTreeMap<ChangeId, Entry>,
    /// Changes that are done or were cancelled: a node that was away must not bring them back.
    over: BTreeSet<ChangeId>,
}

impl Staged {
    pub(super) fn of(entries: Vec<(ChangeId, Entry)>, over: Vec<ChangeId>) -> Staged {
        let mut staged = Staged::default();
        staged.merge(Staged { entries: entries.into_iter().collect(), over: over.into_iter().collect() });
        staged
    }

    /// All, those that were cancelled lately among them, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&ChangeId, &Entry)> {
        self.entries.iter()
    }

    /// Those that somebody wants, in order.
    pub fn wanted(&self) -> impl Iterator<Item = (&ChangeId, &Entry)> {
        self.entries.iter().filter(|(_, entry)| !entry.cancelled)
    }

    /// Those that are to be done from this epoch on, in order.
    pub fn committed(&self, epoch: u64) -> impl Iterator<Item = (&ChangeId, &Op)> {
        let due = move |entry: &Entry| entry.committed == Some(epoch);
        self.wanted().filter(move |(_, entry)| due(entry)).map(|(id, entry)| (id, &entry.op))
    }

    pub(super) fn over(&self) -> impl ExactSizeIterator<Item = &ChangeId> {
        self.over.iter()
    }

    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < limits::STAGED_MAX
    }

    /// The id of a change that members stage by themselves: the same at all of them, or each one's would be left behind when
    /// another's is done.
    pub(super) fn id_for_all(epoch: u64, op: &Op) -> ChangeId {
        let mut alone = Staged::default();
        alone.stage(ChangeId { epoch, number: 0 }, op.clone());
        ChangeId { epoch, number: alone.hash() }
    }

    pub(super) fn stage(&mut self, id: ChangeId, op: Op) {
        self.entries.insert(id, Entry { op, committed: None, cancelled: false });
    }

    /// Marks a change as wanted from this epoch on; false where there is none.
    pub(super) fn commit(&mut self, id: &ChangeId, epoch: u64) -> bool {
        let entry = self.entries.get_mut(id).filter(|entry| !entry.cancelled);
        entry.map(|entry| entry.committed = entry.committed.max(Some(epoch))).is_some()
    }

    /// Marks a change as wanted no more; false where there is none.
    pub(super) fn cancel(&mut self, id: &ChangeId) -> bool {
        let entry = self.entries.get_mut(id).filter(|entry| !entry.cancelled);
        entry.map(|entry| entry.cancelled = true).is_some()
    }

    /// Takes in what another node knows; true if it was news.
    pub(super) fn merge(&mut self, theirs: Staged) -> bool {
        let before = self.clone();
        self.over.extend(theirs.over);
        for (id, entry) in theirs.entries {
            let mine = self.entries.entry(id).or_insert_with(|| entry.clone());
            mine.committed = mine.committed.max(entry.committed);
            mine.cancelled |= entry.cancelled;
        }
        self.entries.retain(|id, _| !self.over.contains(id));
        while self.over.len() > limits::CHANGES_OVER_MAX {
            self.over.pop_first();
        }
        while self.entries.len() > limits::STAGED_MERGED_MAX {
            self.entries.pop_last();
        }
        *self != before
    }

    /// A layout was decided: what it contains, and what was cancelled, is over. The rest stays.
    pub(super) fn passed(&mut self, decision: &Decision) {
        let cancelled = self.entries.iter().filter(|(_, entry)| entry.cancelled).map(|(id, _)| *id);
        let over: BTreeSet<ChangeId> = cancelled.chain(decision.done.iter().copied()).collect();
        self.merge(Staged { entries: BTreeMap::new(), over });
    }

    /// Equal for equal knowledge.
    pub(super) fn hash(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(&codec::encode_staged(self)).as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}
