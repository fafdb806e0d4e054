//! A decision: the layout of an epoch, which staged changes it contains, and whether the members chose it or an operator
//! forced it.

use bytes::Bytes;
use dynode_client::wire::ChangeId;
use dynode_ring::{Layout, NodeId, PartitionId};

use super::codec;
use crate::limits;

/// What the members of one epoch choose for the next.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Who owns what from then on.
    pub layout: Layout,
    /// The staged changes that it contains.
    pub done: Vec<ChangeId>,
    /// An operator decided this without a majority.
    pub forced: Option<Base>,
    /// Of the partitions that get other owners: those that they had, under the layout that this one follows. Nodes that were
    /// away then need them as well.
    pub before: Vec<(PartitionId, Vec<NodeId>)>,
    bytes: Bytes,
    hash: u64,
}

/// Whence a forced decision went on, and whose word it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The node that took the operator's word.
    pub by: NodeId,
    /// The epoch that it went by before.
    pub epoch: u64,
    /// The hash of the decision of that epoch.
    pub hash: u64,
}

impl Decision {
    /// The first layout of a cluster.
    pub fn first(layout: Layout) -> Decision {
        Decision::of(layout, Vec::new(), None, Vec::new())
    }

    /// A layout that a node was told of before its start. Nobody told it how that was decided, and which partitions are on their
    /// way, so it must not pass for the decision of its epoch: it gets the first epoch, which every later one beats.
    pub(super) fn told(layout: &Layout) -> Decision {
        let owners = layout.partition_ids().map(|p| layout.owner_indexes(p).collect()).collect();
        let first = Layout::from_parts(1, layout.replicas() as u8, layout.members().to_vec(), owners);
        Decision::first(first.unwrap_or_else(|_| layout.clone()))
    }

    /// A layout that the members of `present` choose to follow it, or, where it is forced, an operator.
    pub fn new(present: &Layout, layout: Layout, done: Vec<ChangeId>, forced: Option<Base>) -> Decision {
        let others = |p: &PartitionId| {
            let (old, new) = (present.owners(*p), layout.owners(*p));
            old.len() != new.len() || old.iter().any(|node| !new.contains(node))
        };
        // Who is given up without a majority's word is not waited for: nothing that only such nodes had can be had any more.
        let counts = |node: &NodeId| forced.is_none() || layout.member(*node).is_some();
        let before = |p| present.owners(p).iter().copied().filter(counts).collect::<Vec<NodeId>>();
        let before =
            layout.partition_ids().filter(others).map(|p| (p, before(p))).filter(|(_, b)| !b.is_empty()).collect();
        Decision::of(layout, done, forced, before)
    }

    fn of(
        layout: Layout,
        done: Vec<ChangeId>,
        forced: Option<Base>,
        before: Vec<(PartitionId, Vec<NodeId>)>,
    ) -> Decision {
        let mut decision = Decision { layout, done, forced, before, bytes: Bytes::new(), hash: 0 };
        let bytes = codec::encode_decision(&decision);
        (decision.hash, decision.bytes) = (hash(&bytes), bytes);
        decision
    }

    /// As it was read: its bytes are kept, so that every node gives the same.
    pub(super) fn with_bytes(
        layout: Layout,
        done: Vec<ChangeId>,
        forced: Option<Base>,
        before: Vec<(PartitionId, Vec<NodeId>)>,
        bytes: &[u8],
    ) -> Decision {
        // Not a part of a read buffer: it is kept for long.
        let bytes = Bytes::copy_from_slice(bytes);
        Decision { layout, done, forced, before, hash: hash(&bytes), bytes }
    }

    /// Its form in bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Tells it from every other decision.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The epoch of its layout.
    pub fn epoch(&self) -> u64 {
        self.layout.epoch()
    }

    /// Does it hold instead of `other`? The later epoch does; of two in one epoch (which only forcing can lead to) the one
    /// with the greater hash, so that all nodes end with the same.
    pub fn beats(&self, other: &Decision) -> bool {
        (self.epoch(), self.hash) > (other.epoch(), other.hash)
    }

    /// Overrules it something that the members of `present` had decided on their own since? Then two parts of the cluster
    /// went different ways.
    pub fn overrules(&self, present: &Decision) -> bool {
        match self.forced {
            Some(base) => (present.epoch(), present.hash) != (base.epoch, base.hash) && present.epoch() >= base.epoch,
            None => self.epoch() == present.epoch() && self.hash != present.hash,
        }
    }

    /// Does who owned a partition in this epoch, and in the one before this decision, own it in all between? With two or more
    /// epochs between nobody can tell; nor where another decision of this epoch is overruled.
    pub(crate) fn follows_closely(&self, epoch: u64) -> bool {
        match self.forced {
            Some(base) => base.epoch == epoch,
            None => (1..=2).contains(&self.epoch().saturating_sub(epoch)),
        }
    }

    /// May the members of `layout` choose it as the next?
    pub(super) fn follows(&self, layout: &Layout) -> bool {
        Some(self.epoch()) == layout.epoch().checked_add(1)
            && self.layout.partitions() == layout.partitions()
            && self.layout.replicas() == layout.replicas()
            && self.forced.is_none()
    }
}

/// The epoch of a layout that is forced after `epoch`: so far ahead that whatever others go on to decide stays below.
pub(super) fn forced_epoch(epoch: u64) -> u64 {
    (epoch / limits::FORCED_LEAP + 1).saturating_mul(limits::FORCED_LEAP)
}

fn hash(bytes: &Bytes) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use dynode_ring::Member;

    use super::*;

    fn member(id: u64) -> Member {
        Member { id: NodeId(id), name: format!("n{id}"), addr: String::new(), zone: "a".into(), weight: 1 }
    }

    #[test]
    fn who_was_away_for_two_epochs_or_more_cannot_know_what_it_was_meanwhile() {
        let layout = Layout::first(16, 3, (1..=4).map(member).collect()).unwrap();
        let second = Decision::first(layout.next((1..=3).map(member).collect()).unwrap());
        assert!(second.follows_closely(1));
        assert!(!second.follows_closely(2), "another of the same epoch");
        let third = Decision::first(second.layout.next((1..=4).map(member).collect()).unwrap());
        assert!(third.follows_closely(1) && third.follows_closely(2));
        let fourth = Decision::first(third.layout.next((2..=4).map(member).collect()).unwrap());
        assert!(!fourth.follows_closely(1));
        let forced = |epoch| Decision { forced: Some(Base { by: NodeId(1), epoch, hash: 0 }), ..fourth.clone() };
        assert!(forced(2).follows_closely(2), "however far its epoch leaps");
        assert!(!forced(2).follows_closely(3), "the third is overruled");
    }

    #[test]
    fn what_is_forced_waits_for_nobody_who_is_given_up() {
        let present = Layout::first(16, 3, (1..=4).map(member).collect()).unwrap();
        let next = present.next((1..=3).map(member).collect()).unwrap();
        let base = Base { by: NodeId(1), epoch: 1, hash: 0 };
        let has_it = |forced| {
            let decision = Decision::new(&present, next.clone(), Vec::new(), forced);
            assert!(!decision.before.is_empty());
            decision.before.iter().any(|(_, owners)| owners.contains(&NodeId(4)))
        };
        assert!(has_it(None), "it may still tell what it has");
        assert!(!has_it(Some(base)));
    }
}
