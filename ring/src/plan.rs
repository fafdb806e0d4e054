//! Plans: what has to move from one layout to another, and a bound for what any layout would have to move.

use crate::{Layout, LayoutError, Member, NodeId, PartitionId, assign, layout::checked};

/// One copy of a partition that comes, goes, or changes its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Move {
    /// Which partition.
    pub partition: PartitionId,
    /// The owner that ceases to be one; none where a partition gets more owners than it had.
    pub from: Option<NodeId>,
    /// The new owner; none where a partition gets fewer owners than it had.
    pub to: Option<NodeId>,
}

/// A layout to come, with what it costs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The layout of the next epoch.
    pub layout: Layout,
    /// What moves, as [`Layout::diff`] lists it.
    pub moves: Vec<Move>,
    /// The copies that must be made at least in *any* layout of these members that keeps the rules: at most one owner
    /// of a partition on a node, min(replicas, zones) zones for every partition, every node within one partition of its
    /// share.
    pub least: u64,
}

impl Plan {
    /// How many copies are made.
    pub fn copies(&self) -> u64 {
        self.moves.iter().filter(|m| m.to.is_some()).count() as u64
    }
}

impl Layout {
    /// The next layout, as [`Layout::next`] makes it, with its moves and the proof that there is none with fewer: a
    /// lower bound that is computed from the prices of the search but not with the search (see `assign::bound`).
    ///
    /// # Errors
    /// As [`Layout::next`].
    pub fn plan(&self, members: Vec<Member>) -> Result<Plan, LayoutError> {
        let epoch = self.epoch().checked_add(1).ok_or(LayoutError::Epoch)?;
        let members = checked(members)?;
        let problem = self.problem(&members);
        let assignment = assign::assign(&problem);
        let least = assign::bound::least_copies(&problem, &assignment.prices);
        let layout = Layout::assembled(epoch, self.replicas() as u8, members, assignment.owners);
        let moves = self.diff(&layout);
        Ok(Plan { layout, moves, least })
    }

    /// What changes in the table from this layout to another, by partition; a change of the order of owners is none.
    ///
    /// In each partition the first owner that goes is paired with the first that comes, and so on. Which copy the new
    /// one is made from is another question: any owner's will do. Of layouts with different numbers of partitions
    /// (which are of different clusters) everything comes and goes.
    pub fn diff(&self, to: &Layout) -> Vec<Move> {
        let same = self.partitions() == to.partitions();
        let mut moves = Vec::new();
        let ids = if self.partitions() > to.partitions() { self.partition_ids() } else { to.partition_ids() };
        for partition in ids {
            let (old, new) = (self.owners(partition), to.owners(partition));
            let mut gone = old.iter().copied().filter(|node| !same || !new.contains(node));
            let mut come = new.iter().copied().filter(|node| !same || !old.contains(node));
            loop {
                let (from, to) = (gone.next(), come.next());
                if from.is_none() && to.is_none() {
                    break;
                }
                moves.push(Move { partition, from, to });
            }
        }
        moves
    }
}
