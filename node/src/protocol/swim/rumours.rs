//! What is still to be told: each piece of news a bounded number of times, the least told first.

use std::collections::{BTreeMap, BTreeSet};

use dynode_ring::NodeId;

/// The members of whom there is news; what the news is stands in the table. One entry a member, so it is bounded by them.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    sent: BTreeMap<NodeId, u32>,
    order: BTreeSet<(u32, NodeId)>,
}

impl Rumours {
    /// There is news of a member; older news of it is not told any more.
    pub(super) fn add(&mut self, node: NodeId) {
        if let Some(sent) = self.sent.insert(node, 0) {
            self.order.remove(&(sent, node));
        }
        self.order.insert((0, node));
    }

    /// Takes up to `count` for one message; what was told `sends` times is not told again.
    pub(super) fn take(&mut self, count: usize, sends: u32) -> Vec<NodeId> {
        let taken: Vec<(u32, NodeId)> = self.order.iter().take(count).copied().collect();
        for (sent, node) in &taken {
            self.order.remove(&(*sent, *node));
            if sent + 1 < sends {
                self.order.insert((sent + 1, *node));
                self.sent.insert(*node, sent + 1);
            } else {
                self.sent.remove(node);
            }
        }
        taken.into_iter().map(|(_, node)| node).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(sent) = self.sent.remove(&node) {
            self.order.remove(&(sent, node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_so_often_and_the_least_told_first() {
        let mut rumours = Rumours::default();
        (1..=5).for_each(|node| rumours.add(NodeId(node)));
        assert_eq!(rumours.take(3, 2), [1, 2, 3].map(NodeId));
        assert_eq!(rumours.take(3, 2), [4, 5, 1].map(NodeId));
        rumours.add(NodeId(1)); // news again
        let rest: Vec<NodeId> =
            std::iter::from_fn(|| rumours.take(2, 2).into()).take_while(|t| !t.is_empty()).flatten().collect();
        assert_eq!(rest, [1, 2, 1, 3, 4, 5].map(NodeId));
        assert!(rumours.is_empty() && rumours.sent.is_empty());
    }
}
