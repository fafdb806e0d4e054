//! What the tests and the figures share: members, random histories, and the rules of a layout, written a second time.

#![allow(dead_code, unreachable_pub)] // Each user takes what it needs.

use dynode_ring::{Layout, Member, NodeId};

/// SplitMix64: enough for tests, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

pub fn member(n: u64, zone: usize, weight: u32) -> Member {
    let addr = format!("10.0.{}.{}:7100", n / 256, n % 256);
    Member { id: NodeId(n), name: format!("n{n}"), addr, zone: format!("z{zone}"), weight }
}

/// `count` members in `zones` zones by turns, of weight 1, or of weights 1, 2, 3, 5 at random.
pub fn members(count: u64, zones: usize, mixed: bool, random: &mut Random) -> Vec<Member> {
    (0..count).map(|n| new_member(n, zones, mixed, random)).collect()
}

pub fn new_member(n: u64, zones: usize, mixed: bool, random: &mut Random) -> Member {
    let weight = if mixed { [1, 2, 3, 5][random.below(4)] } else { 1 };
    member(n, n as usize % zones, weight)
}

/// The farthest that a member is from its share, in partitions.
pub fn imbalance(layout: &Layout) -> f64 {
    layout.shares().iter().map(|share| (f64::from(share.held) - share.target).abs()).fold(0.0, f64::max)
}

pub const ROUNDING: f64 = 1e-6;

/// The first rule that the layout breaks, if any.
pub fn broken_rule(layout: &Layout) -> Option<String> {
    for p in layout.partition_ids() {
        let owners = layout.owners(p);
        if owners.len() != layout.replicas().min(layout.members().len()) {
            return Some(format!("partition {p} has {} owners", owners.len()));
        }
        if distinct(owners.to_vec()) != owners.len() {
            return Some(format!("partition {p} has an owner twice: {owners:?}"));
        }
        let zone = |id: &NodeId| layout.member(*id).map(|member| member.zone.clone());
        let zones = distinct(owners.iter().map(zone).collect());
        let all_zones = distinct(layout.members().iter().map(|member| &member.zone).collect());
        if zones != all_zones.min(layout.replicas()) {
            return Some(format!("partition {p} has owners in {zones} of {all_zones} zones"));
        }
    }
    let imbalance = imbalance(layout);
    (imbalance > 1.0 + ROUNDING).then(|| format!("a member is {imbalance} partitions from its share"))
}

pub fn distinct<T: Ord>(mut items: Vec<T>) -> usize {
    items.sort();
    items.dedup();
    items.len()
}

/// How often the busiest and the idlest member come at a place of the order, beside what is due to them.
pub fn worst_place(layout: &Layout) -> f64 {
    let width = layout.owners(dynode_ring::PartitionId(0)).len();
    let mut worst: f64 = 0.0;
    for share in layout.shares() {
        let first = layout.partition_ids().filter(|&p| layout.owners(p)[0] == share.node).count();
        worst = worst.max((first as f64 - f64::from(share.held) / width as f64).abs());
    }
    worst
}

/// Shares by bisection in floating point: the same water-filling as the crate's, found in another way.
pub fn shares_by_bisection(partitions: u32, replicas: usize, members: &[Member]) -> Vec<f64> {
    let q = f64::from(partitions);
    let width = replicas.min(members.len());
    let mut zones: Vec<&str> = members.iter().map(|member| member.zone.as_str()).collect();
    zones.sort();
    zones.dedup();
    let fill = |level: f64, zone: &str| -> f64 {
        members.iter().filter(|m| m.zone == zone).map(|m| (level * f64::from(m.weight)).min(q)).sum()
    };
    let bounded = |sum: f64| if zones.len() >= width { sum.min(q) } else { sum.max(q) };
    let solve = |goal: f64, sum: &dyn Fn(f64) -> f64| -> f64 {
        let (mut low, mut high) = (0.0, q);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if sum(middle) < goal { low = middle } else { high = middle }
        }
        high
    };
    let level = solve(q * width as f64, &|level| zones.iter().map(|zone| bounded(fill(level, zone))).sum());
    let share = |member: &Member| {
        let sum = fill(level, &member.zone);
        let own = if bounded(sum) == sum { level } else { solve(q, &|level| fill(level, &member.zone)) };
        (own * f64::from(member.weight)).min(q)
    };
    members.iter().map(share).collect()
}

/// The fewest copies that a table of these members can have anew, within the rules: every table is looked at, where
/// tables with the same number of partitions on each node so far are one. For small cases only.
pub fn least_by_search(old: &Layout, members: &[Member]) -> Option<u32> {
    use std::collections::BTreeMap;
    let shares = shares_by_bisection(old.partitions(), old.replicas(), members);
    let width = old.replicas().min(members.len());
    let zones = distinct(members.iter().map(|member| &member.zone).collect()).min(old.replicas());
    let valid = |set: &u32| {
        let chosen = || (0..members.len()).filter(|n| set & (1 << n) != 0);
        chosen().count() == width && distinct(chosen().map(|n| &members[n].zone).collect()) == zones
    };
    let sets: Vec<u32> = (0..1_u32 << members.len()).filter(valid).collect();
    let mut states: BTreeMap<Vec<u8>, u32> = BTreeMap::from([(vec![0; members.len()], 0)]);
    for p in old.partition_ids() {
        let mut next: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for (held, cost) in &states {
            for set in &sets {
                let (mut held, mut cost) = (held.clone(), *cost);
                for (n, member) in members.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0) {
                    held[n] += 1;
                    cost += u32::from(!old.owns(member.id, p));
                }
                let too_much = |(&held, &share): (&u8, &f64)| f64::from(held) > share + 1.0 + ROUNDING;
                if !held.iter().zip(&shares).any(too_much) {
                    let least = next.entry(held).or_insert(cost);
                    *least = cost.min(*least);
                }
            }
        }
        states = next;
    }
    let enough =
        |held: &[u8]| held.iter().zip(&shares).all(|(&held, &share)| f64::from(held) >= share - 1.0 - ROUNDING);
    states.iter().filter(|(held, _)| enough(held)).map(|(_, &cost)| cost).min()
}
