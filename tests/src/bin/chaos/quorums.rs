//! Whether anybody could have answered: the owners that work and hear each other, partition by partition.

use std::collections::BTreeSet;

use dynode_client::{Layout, NodeId};

/// What works while faults last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Nodes that do not work.
    pub(crate) down: BTreeSet<usize>,
    /// From, to: nothing gets through.
    pub(crate) cut: BTreeSet<(usize, usize)>,
}

/// For how many partitions a majority of owners works, of which one hears, and is heard by, all others.
pub(crate) fn with_quorum(layout: &Layout, nodes: &[NodeId], reach: &Reach) -> usize {
    let number = |id: &NodeId| nodes.iter().position(|node| node == id);
    let both = |a: usize, b: usize| !reach.cut.contains(&(a, b)) && !reach.cut.contains(&(b, a));
    let has_quorum = |owners: &[NodeId]| {
        let working: Vec<usize> = owners.iter().filter_map(number).filter(|node| !reach.down.contains(node)).collect();
        let heard = |a: &usize| working.iter().filter(|b| both(*a, **b)).count();
        working.iter().any(|a| heard(a) > owners.len() / 2)
    };
    layout.partition_ids().filter(|partition| has_quorum(layout.owners(*partition))).count()
}

#[cfg(test)]
mod tests {
    use dynode_ring::Member;

    use super::*;

    #[test]
    fn a_quorum_needs_a_majority_that_hears_each_other() {
        let member =
            |id| Member { id: NodeId(id), name: format!("n{id}"), addr: "a:1".into(), zone: "z".into(), weight: 1 };
        let layout = Layout::first(8, 3, vec![member(1), member(2), member(3)]).unwrap();
        let nodes = [NodeId(1), NodeId(2), NodeId(3)];
        let with = |down: &[usize], cut: &[(usize, usize)]| {
            let reach = Reach { down: down.iter().copied().collect(), cut: cut.iter().copied().collect() };
            with_quorum(&layout, &nodes, &reach)
        };
        assert_eq!(with(&[], &[]), 8);
        assert_eq!(with(&[1], &[]), 8);
        assert_eq!(with(&[0, 1], &[]), 0);
        assert_eq!(with(&[], &[(0, 1)]), 8);
        // One way cut is as bad as both, for a request and its answer.
        assert_eq!(with(&[2], &[(0, 1)]), 0);
        assert_eq!(with(&[], &[(0, 1), (1, 2), (2, 0)]), 0);
    }
}
