//! Movement: the bound is a true bound, and plans meet it.

mod common;

use common::{Random, broken_rule, least_by_search, member};
use dynode_ring::{Layout, Member};
use proptest::prelude::*;

/// Plans the change, and checks the plan against the search of all tables.
fn check(old: &Layout, members: Vec<Member>) -> Result<(), TestCaseError> {
    let least = least_by_search(old, &members);
    let plan = old.plan(members).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(broken_rule(&plan.layout), None);
    let least = u64::from(least.ok_or_else(|| TestCaseError::fail("no table keeps the rules"))?);
    prop_assert!(plan.least <= least, "the bound {} is above the least, {least}", plan.least);
    prop_assert!(plan.copies() as f64 <= 1.05 * least as f64, "{} copies, {least} suffice", plan.copies());
    // Stronger than promised: a minimum-cost flow is exact, and so are its prices.
    prop_assert_eq!(plan.copies(), least);
    prop_assert_eq!(plan.least, least);
    Ok(())
}

fn small_members() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map(0_u64..8, (0_usize..3, 1_u32..5), 1..=5)
        .prop_map(|members| members.into_iter().map(|(n, (zone, weight))| member(n, zone, weight)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// From one planned layout to another, of members that may all differ.
    #[test]
    fn exhaustive_search_finds_no_cheaper_table(
        q in 0_u32..4, replicas in 1_u8..=4, before in small_members(), after in small_members(),
    ) {
        let old = Layout::first(1 << q, replicas, before).map_err(|error| TestCaseError::fail(error.to_string()))?;
        check(&old, after)?;
    }

    /// From any table, also such as no planner makes: the repair must find its way from everywhere.
    #[test]
    fn exhaustive_search_finds_no_cheaper_table_from_a_bad_one(
        q in 0_u32..4, replicas in 1_u8..=4, before in small_members(), after in small_members(), seed: u64,
    ) {
        let mut random = Random(seed);
        let width = before.len().min(usize::from(replicas));
        let mut deal = || {
            let mut nodes: Vec<u16> = (0..before.len() as u16).collect();
            for at in 0..width {
                let other = at + random.below(nodes.len() - at);
                nodes.swap(at, other);
            }
            nodes.truncate(width);
            nodes
        };
        let owners = (0..1 << q).map(|_| deal()).collect();
        let old = Layout::from_parts(7, replicas, before, owners);
        let old = old.map_err(|error| TestCaseError::fail(error.to_string()))?;
        check(&old, after)?;
    }
}

/// Every join and leave of up to six equal nodes in one to three zones.
#[test]
fn exhaustive_search_of_joins_and_leaves() -> Result<(), TestCaseError> {
    for zones in 1..=3 {
        for replicas in 1..=3 {
            for count in 1..=5_u64 {
                let all: Vec<Member> = (0..=count).map(|n| member(n, n as usize % zones, 1)).collect();
                let fewer = all[..count as usize].to_vec();
                let small =
                    Layout::first(8, replicas, fewer.clone()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                check(&small, all.clone())?;
                let large = Layout::first(8, replicas, all.clone()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                check(&large, fewer)?;
            }
        }
    }
    Ok(())
}

/// Fifty changes one after the other, as clusters live.
#[test]
fn histories_move_no_more_than_the_bound() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let (zones, mixed, replicas) = (1 + random.below(5), random.below(2) == 1, 1 + random.below(5) as u8);
        let mut members = common::members(3 + random.next() % 20, zones, mixed, &mut random);
        let mut layout = Layout::first(256, replicas, members.clone()).expect("a first layout");
        for change in 0..50 {
            if members.len() > 1 && random.below(2) == 0 {
                let leaver = random.below(members.len());
                members.remove(leaver);
            } else {
                members.push(common::new_member(1000 + change, zones, mixed, &mut random));
            }
            let plan = layout.plan(members.clone()).expect("a plan");
            assert_eq!(broken_rule(&plan.layout), None, "seed {seed}, change {change}");
            assert!(
                plan.copies() <= plan.least + plan.least / 20,
                "seed {seed}, change {change}: {} copies, at least {}",
                plan.copies(),
                plan.least
            );
            layout = plan.layout;
        }
    }
}

/// Of tables that cost the same, the one nearest to the shares: here all can be met exactly.
#[test]
fn ties_are_broken_towards_the_shares() {
    for (replicas, zones, before, after) in [(2, 1, 0..7, 6..10), (2, 3, 0..4, 2..6), (2, 3, 0..5, 4..8)] {
        let members = |ids: std::ops::Range<u64>| ids.map(|n| member(n, n as usize % zones, 1)).collect();
        let old = Layout::first(32, replicas, members(before)).expect("a first layout");
        let plan = old.plan(members(after)).expect("a plan");
        assert_eq!(common::imbalance(&plan.layout), 0.0, "{:?}", plan.layout.shares());
        assert_eq!(plan.copies(), plan.least);
    }
}

/// Owners that come to be in one zone make room for the other zone, and no more than that.
#[test]
fn a_new_zone_takes_one_copy_of_each_partition() {
    let old = Layout::first(16, 3, (0..3).map(|n| member(n, 0, 1)).collect()).expect("a first layout");
    let plan = old.plan((0..4).map(|n| member(n, n as usize / 3, 1)).collect()).expect("a plan");
    assert_eq!((plan.copies(), plan.least), (16, 16));
    assert_eq!(broken_rule(&plan.layout), None);
}

/// Nothing moves when nothing changes, and a plan is exactly the next layout.
#[test]
fn no_change_moves_nothing() {
    let mut random = Random(1);
    let members = common::members(17, 3, true, &mut random);
    let layout = Layout::first(256, 3, members.clone()).expect("a first layout");
    let plan = layout.plan(members.clone()).expect("a plan");
    assert_eq!((plan.moves.len(), plan.least), (0, 0));
    assert_eq!(plan.layout, layout.next(members).expect("a next layout"));
    assert_eq!(plan.layout.epoch(), 2);
    for p in layout.partition_ids() {
        assert_eq!(layout.owners(p), plan.layout.owners(p), "the order stays too");
    }
}
