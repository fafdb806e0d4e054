//! Whom an operation asks: the reachable owners of a partition, and stand-ins in place of those that are not.
//!
//! *Sloppy* (the default): stand-ins take the place of owners that cannot be reached, and count. *Strict*: owners only.
//! A node that owns nothing of the partition coordinates only where no owner can be reached, and is then a stand-in itself.

use dynode_client::wire::{Acks, ErrorCode, Failure, Lacks, Quorum};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::Engine;

use super::{Liveness, Node, Phase, failure};

/// The nodes beside this one that take part in an operation, in the order of preference.
#[derive(Debug, Default)]
pub(super) struct Whom {
    /// How many must say yes, this node included.
    pub(super) needed: usize,
    /// Reachable owners.
    pub(super) owners: Vec<NodeId>,
    /// Reachable nodes in the place of owners that are not; none for a strict operation.
    pub(super) stand_ins: Vec<NodeId>,
    /// The quorum cannot be met by owners alone.
    pub(super) needs_stand_ins: bool,
    /// Where the partition gets other owners: so many are needed of each of these.
    pub(super) sides: Vec<(usize, Vec<NodeId>)>,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// It asks the owners that answer reads.
    Read,
    /// It tells all owners, former ones that still count among them.
    Write,
}

impl<E: Engine> Node<E> {
    /// Whom to ask; a failure when too few can be reached for the quorum that is wanted.
    pub(super) fn whom(
        &self,
        partition: PartitionId,
        wanted: Quorum,
        strict: bool,
        does: Does,
    ) -> Result<Whom, Failure> {
        if self.phase(partition) != Phase::Stable {
            return self.whom_of_both(partition, wanted, strict, does);
        }
        let list = self.config.layout.preference_list(partition, |node| self.is_up(node));
        let copies = list.owners().len();
        let Some(needed) = wanted.of(copies) else {
            let detail =
                format!("{wanted} of {copies} copies cannot be: ask for at least 1 and no more than there are");
            return Err(failure(ErrorCode::BadRequest, detail));
        };
        let me = self.config.node;
        let owners: Vec<NodeId> = list.reachable_owners().filter(|n| *n != me).collect();
        // An owner whose copy is in quarantine takes no part in what it hands on.
        let withheld = self.withheld(partition).is_some();
        let i_own = self.owns(partition) && !withheld;
        let mut stand_ins = Vec::new();
        if !strict {
            stand_ins.extend(list.stand_ins().iter().copied().filter(|n| *n != me));
            if !i_own {
                stand_ins.truncate((copies - 1).saturating_sub(owners.len()));
            }
        }
        let reachable_owners = owners.len() + usize::from(i_own);
        let reachable = reachable_owners + stand_ins.len() + usize::from(!i_own && !strict && !withheld);
        if reachable < needed {
            let what = if strict { "owners" } else { "copies" };
            return Err(Failure {
                code: ErrorCode::QuorumNotMet,
                needed: needed as u8,
                received: reachable as u8,
                detail: format!("{reachable} of the {needed} {what} needed can be reached; nothing was changed"),
            });
        }
        Ok(Whom { needed, owners, stand_ins, needs_stand_ins: reachable_owners < needed, sides: Vec::new() })
    }

    /// Of how many of which owners a quorum is made, whoever of them can be reached.
    pub(super) fn sides(
        &self,
        partition: PartitionId,
        wanted: Quorum,
        does: Does,
    ) -> Result<Vec<(usize, Vec<NodeId>)>, Failure> {
        let former = self.phases.before(partition);
        let sides = match does {
            Does::Write if !former.is_empty() => vec![former.to_vec(), self.config.layout.owners(partition).to_vec()],
            _ => vec![self.readers(partition).to_vec()],
        };
        let of = |side: Vec<NodeId>| match wanted.of(side.len()) {
            Some(needed) => Ok((needed, side)),
            None => {
                let copies = side.len();
                let detail =
                    format!("{wanted} of {copies} copies cannot be: ask for at least 1 and no more than there are");
                Err(failure(ErrorCode::BadRequest, detail))
            }
        };
        sides.into_iter().map(of).collect()
    }

    /// As [`Node::whom`], where the partition gets other owners.
    fn whom_of_both(&self, partition: PartitionId, wanted: Quorum, strict: bool, does: Does) -> Result<Whom, Failure> {
        let me = self.config.node;
        let sides = self.sides(partition, wanted, does)?;
        let withheld = self.withheld(partition).is_some();
        let mut owners: Vec<NodeId> = Vec::new();
        for node in self.holders(partition) {
            let counts = sides.iter().any(|(_, side)| side.contains(&node));
            if node != me && counts && self.is_up(node) {
                owners.push(node);
            }
        }
        let i_count = self.is_holder(me, partition) && !withheld;
        let list = self.config.layout.preference_list(partition, |node| self.is_up(node));
        let stand_ins: Vec<NodeId> = match strict {
            true => Vec::new(),
            false => list.stand_ins().iter().copied().filter(|n| *n != me && !self.is_holder(*n, partition)).collect(),
        };
        let i_stand_in = !self.is_holder(me, partition) && !strict && !withheld;
        let mut needs_stand_ins = false;
        for (needed, side) in &sides {
            let own = usize::from(i_count && side.contains(&me));
            let reachable_owners = owners.iter().filter(|n| side.contains(n)).count() + own;
            let reachable = reachable_owners + stand_ins.len() + usize::from(i_stand_in);
            needs_stand_ins |= reachable_owners < *needed;
            if reachable < *needed {
                let what = if strict { "owners" } else { "copies" };
                let detail = format!("{reachable} of the {needed} {what} needed can be reached; nothing was changed");
                let (needed, received) = (*needed as u8, reachable as u8);
                return Err(Failure { code: ErrorCode::QuorumNotMet, needed, received, detail });
            }
        }
        let needed = sides.iter().map(|(needed, _)| *needed).max().unwrap_or(0);
        Ok(Whom { needed, owners, stand_ins, needs_stand_ins, sides })
    }

    /// Puts those last that are suspected, and before them those whose copy of the partition would not count, as far as they have
    /// told; the others in the order in which they come.
    pub(super) fn unfit_last(&self, partition: PartitionId, nodes: &mut [NodeId]) {
        let is_joint = self.phase(partition) == Phase::Joint;
        let lacks = |node: &NodeId| {
            let lacks = self.sync.lacking.get(node).and_then(|copies| copies.get(&partition));
            lacks.is_some_and(|lacks| *lacks != Lacks::Former || !is_joint)
        };
        nodes.sort_by_key(|node| (self.liveness(*node) == Liveness::Suspect, lacks(node)));
    }

    /// Stand-ins for owners that cannot be reached, or are `late`, but those that were asked already.
    pub(super) fn further_stand_ins(&self, partition: PartitionId, late: &[NodeId], asked: &[NodeId]) -> Vec<NodeId> {
        let live = |node| self.is_up(node) && !late.contains(&node);
        let list = self.config.layout.preference_list(partition, live);
        let others = list.stand_ins().iter().copied().filter(|n| *n != self.config.node && !asked.contains(n));
        others.filter(|n| !self.is_holder(*n, partition)).collect()
    }

    /// How many of these nodes are owners, and how many stand-ins.
    pub(super) fn acks(&self, partition: PartitionId, yes: &[NodeId]) -> Acks {
        let owners = yes.iter().filter(|n| self.is_holder(**n, partition)).count();
        Acks { owners: owners as u8, stand_ins: (yes.len() - owners) as u8 }
    }
}
