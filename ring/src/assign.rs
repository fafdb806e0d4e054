//! Assignment: how the table partition -> owners is made.
//!
//! The rules, hard ones first:
//! 1. a partition has `width` = min(replicas, members) owners, no two on one node;
//! 2. they are in min(width, zones) zones: with as many zones as owners or more, at most one owner in a zone
//!    ([`ZoneRule::Spread`]); with fewer, at least one in every zone ([`ZoneRule::Cover`]);
//! 3. every node holds within one partition of its share ([`targets`] says what that is, and why it is always
//!    possible);
//! 4. no more copies are new than that needs.
//!
//! It is a minimum-cost flow, partitions -> zones -> nodes, where a copy that stays costs 0 and a new one costs 1.
//! Garage plans its layouts by flows as well (*Garage, an optimal layout algorithm*, 2022: a maximum flow, then cycles
//! of negative cost). Here the old table, with its gaps filled greedily ([`seed`]), is a flow of minimum cost for nodes
//! without bounds; successive shortest paths then settle the bounds ([`flow`]) and leave prices behind, from which
//! [`bound`] proves that no table is cheaper. Last, [`order`] decides who comes first in each partition.

pub(crate) mod bound;
mod flow;
mod order;
mod search;
mod seed;
mod targets;
#[cfg(test)]
mod tests;

pub(crate) use targets::Target;

use crate::Member;

/// No node: a former owner that is no member any more.
pub(crate) const NONE: u16 = u16::MAX;

/// Which sets of nodes may own a partition, beside being `width` different ones. Either way the sets are the bases of a
/// matroid, which is why exchanging one node at a time finds the best.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ZoneRule {
    /// At least as many zones as owners: at most one owner in a zone.
    Spread,
    /// Fewer zones than owners: at least one owner in every zone.
    Cover,
}

/// What there is to decide. Nodes are indexes into the sorted members.
pub(crate) struct Problem {
    pub(crate) partitions: usize,
    pub(crate) width: usize,
    pub(crate) rule: ZoneRule,
    pub(crate) zone_of: Vec<u16>,
    pub(crate) zones: usize,
    pub(crate) targets: Vec<Target>,
    /// Per node: a number that scrambles orders, from its id.
    pub(crate) salts: Vec<u64>,
    /// `old_width` former owners for each partition, [`NONE`] for those that left.
    old: Vec<u16>,
    old_width: usize,
}

/// A decision.
pub(crate) struct Assignment {
    /// `width` nodes for each partition, in preference order.
    pub(crate) owners: Vec<u16>,
    /// Per node: the price of a place on it, in copies, that makes the assignment the cheapest; see [`bound`].
    pub(crate) prices: Vec<i64>,
}

impl Problem {
    /// The problem for checked, sorted members; `old` is empty for a first layout.
    pub(crate) fn new(partitions: usize, replicas: u8, members: &[Member], old: Vec<u16>, old_width: usize) -> Problem {
        let width = members.len().min(usize::from(replicas));
        let (zone_of, zones) = zones_of(members);
        let rule = if zones >= width { ZoneRule::Spread } else { ZoneRule::Cover };
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        let targets = targets::targets(partitions as u64, width as u64, rule, &weights, &zone_of, zones);
        let salts = members.iter().map(|member| crate::mix::mix(member.id.0, 1)).collect();
        Problem { partitions, width, rule, zone_of, zones, targets, salts, old, old_width }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.targets.len()
    }

    /// The former owners of a partition, with [`NONE`] in place of those that left.
    #[inline]
    pub(crate) fn old(&self, partition: usize) -> &[u16] {
        &self.old[partition * self.old_width..(partition + 1) * self.old_width]
    }

    /// What it costs that the node owns the partition, in copies: 0 if it did before, else 1.
    #[inline]
    pub(crate) fn cost(&self, partition: usize, node: u16) -> u32 {
        u32::from(!self.old(partition).contains(&node))
    }

    pub(crate) fn is_first(&self) -> bool {
        self.old.is_empty()
    }

    /// The fewest and the most partitions that a node may hold: within one of its share.
    pub(crate) fn limits(&self, node: usize) -> (u32, u32) {
        let target = self.targets[node];
        (target.ceil().saturating_sub(1) as u32, (target.floor() + 1).min(self.partitions as u64) as u32)
    }

    /// Whether the nodes may own a partition together.
    pub(crate) fn is_valid(&self, owners: &[u16]) -> bool {
        let distinct = |mut items: Vec<u16>| {
            items.sort_unstable();
            items.dedup();
            items.len()
        };
        let zones = distinct(owners.iter().map(|&node| self.zone_of[usize::from(node)]).collect());
        owners.len() == self.width && distinct(owners.to_vec()) == self.width && zones == self.width.min(self.zones)
    }
}

/// Decides. The same problem always gets the same decision.
pub(crate) fn assign(problem: &Problem) -> Assignment {
    let mut flow = flow::Flow::new(problem, seed::seed(problem));
    flow.settle();
    let prices = flow.prices();
    let mut owners = flow.into_owners();
    // Our own invariant, checked in production: a wrong table could cost data.
    assert!(owners.chunks(problem.width).all(|owners| problem.is_valid(owners)), "planned an invalid set of owners");
    order::order(problem, &mut owners);
    Assignment { owners, prices }
}

/// The zone of each member as a number, by the zones' names in order, and how many zones there are.
pub(crate) fn zones_of(members: &[Member]) -> (Vec<u16>, usize) {
    let mut names: Vec<&str> = members.iter().map(|member| member.zone.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let number = |member: &Member| names.binary_search(&member.zone.as_str()).unwrap_or_default() as u16;
    (members.iter().map(number).collect(), names.len())
}
