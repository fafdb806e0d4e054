//! Going by another layout, once it is decided.

use std::collections::BTreeSet;

use dynode_ring::{Layout, NodeId, PartitionId};
use dynode_storage::{Engine, EngineError};

use super::agree::Decision;
use super::{Effects, Node, Observation, Time};

impl<E: Engine> Node<E> {
    /// Is every partition stable under the present layout? Only then is the next one chosen.
    pub fn is_settled(&self) -> bool {
        true // ownership changes at once, so no change is ever under way
    }

    /// A layout was decided, and is stored with this turn's batch: this node goes by it from now on.
    ///
    /// Ownership changes at once. Copies that this node no longer owns are held, and handed off, like hints.
    pub(super) fn adopt(&mut self, now: Time, decision: &Decision, out: &mut Effects) -> Result<(), EngineError> {
        let layout = decision.layout.clone();
        out.observe(Observation::Adopted {
            epoch: layout.epoch(),
            members: layout.members().len(),
            is_member: layout.member(self.config.node).is_some(),
            forced: decision.forced.is_some(),
        });
        self.swim.set_members(now, layout.members().iter().map(|m| m.id));
        let former = std::mem::replace(&mut self.config.layout, layout);
        self.forget_words_of_others();
        self.hold_what_is_not_owned(now, &former)
    }

    /// What was said under another layout counts no more: a copy leaves on the word of *these* owners only.
    fn forget_words_of_others(&mut self) {
        let peers: BTreeSet<NodeId> = self.sync.heard.keys().map(|(_, peer)| *peer).collect();
        self.sync.heard.clear();
        for peer in peers {
            self.forget_words_of(peer);
        }
    }

    fn hold_what_is_not_owned(&mut self, now: Time, former: &Layout) -> Result<(), EngineError> {
        let stored = self.store.stored()?;
        let node = self.config.node;
        let changed: Vec<PartitionId> =
            former.partition_ids().filter(|p| former.owns(node, *p) != self.config.layout.owns(node, *p)).collect();
        for partition in changed {
            match self.owns(partition) {
                true => self.hints.remove(partition),
                false if self.store.find(partition)?.is_some() => {
                    let bytes = stored.iter().find(|(p, _)| *p == partition).map_or(0, |(_, bytes)| *bytes);
                    self.hints.found(partition, bytes, now);
                }
                false => {}
            }
        }
        Ok(())
    }
}
