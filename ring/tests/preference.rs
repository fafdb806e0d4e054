//! Preference lists: complete, in order, spread, and in other zones where that is possible.

mod common;

use common::{Random, distinct, members};
use dynode_ring::{Layout, NodeId, PartitionId, PreferenceList};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// All owners in order, and one live node for each that is down, as long as there are live nodes.
    #[test]
    fn lists_are_complete(
        q in 0_u32..7, replicas in 1_u8..=8, nodes in 1_u64..40, zones in 1_usize..6,
        down_percent in 0_usize..=100, seed: u64,
    ) {
        let mut random = Random(seed);
        let layout = Layout::first(1 << q, replicas, members(nodes, zones, true, &mut random))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let up: Vec<bool> = (0..nodes).map(|_| random.below(100) >= down_percent).collect();
        let live = |node: NodeId| up[node.0 as usize];
        for p in layout.partition_ids() {
            let list = layout.preference_list(p, live);
            prop_assert_eq!(list.owners(), layout.owners(p));
            let reachable: Vec<NodeId> = layout.owners(p).iter().copied().filter(|&node| live(node)).collect();
            prop_assert_eq!(list.reachable_owners().collect::<Vec<_>>(), reachable.clone());
            let live_others = layout.members().iter().filter(|m| live(m.id) && !layout.owns(m.id, p)).count();
            prop_assert_eq!(list.stand_ins().len(), (list.owners().len() - reachable.len()).min(live_others));
            prop_assert!(list.stand_ins().iter().all(|&node| live(node) && !layout.owns(node, p)));
            prop_assert_eq!(distinct(list.stand_ins().to_vec()), list.stand_ins().len());
            prop_assert_eq!(list, layout.preference_list(p, live));
            prop_assert_eq!(list.reachable().count(), reachable.len() + list.stand_ins().len());
        }
    }
}

fn stand_ins(layout: &Layout, live: impl Fn(NodeId) -> bool + Copy) -> Vec<(PartitionId, PreferenceList)> {
    let lists = layout.partition_ids().map(|p| (p, layout.preference_list(p, live)));
    lists.filter(|(_, list)| !list.stand_ins().is_empty()).collect()
}

/// What a dead node took is spread over all others, by weight.
#[test]
fn stand_ins_are_spread() {
    let layout =
        Layout::first(65_536, 3, (0..20).map(|n| common::member(n, 0, 1 + n as u32 % 2)).collect()).expect("a layout");
    let mut counts = [0_u32; 20];
    let lists = stand_ins(&layout, |node| node != NodeId(0));
    for (_, list) in &lists {
        counts[list.stand_ins()[0].0 as usize] += 1;
    }
    for (node, &count) in counts.iter().enumerate().skip(1) {
        let expected = lists.len() as f64 * (1 + node % 2) as f64 / 29.0;
        let ratio = f64::from(count) / expected;
        assert!(
            (0.8..1.2).contains(&ratio),
            "node {node} stands in {count} times instead of {expected:.0}: {counts:?}"
        );
    }
}

/// Also when a zone is down, and no stand-in can be in a zone of its own.
#[test]
fn stand_ins_for_a_zone_are_spread() {
    let members = (0..30).map(|n| common::member(n, n as usize % 3, 1 + n as u32 % 2)).collect();
    let layout = Layout::first(65_536, 3, members).expect("a layout");
    let mut counts = [0_u32; 30];
    let lists = stand_ins(&layout, |node| node.0 % 3 != 0);
    for (_, list) in &lists {
        counts[list.stand_ins()[0].0 as usize] += 1;
    }
    for (node, &count) in counts.iter().enumerate().filter(|(node, _)| node % 3 != 0) {
        // Ten nodes of each weight are alive.
        let expected = lists.len() as f64 * (1 + node % 2) as f64 / 30.0;
        let ratio = f64::from(count) / expected;
        assert!(
            (0.8..1.2).contains(&ratio),
            "node {node} stands in {count} times instead of {expected:.0}: {counts:?}"
        );
    }
}

/// With three zones and one owner in each, the zone of the dead one is the only one without a live owner.
#[test]
fn stand_ins_prefer_other_zones() {
    let layout = Layout::first(1024, 3, members(30, 3, false, &mut Random(1))).expect("a layout");
    let lists = stand_ins(&layout, |node| node != NodeId(0));
    let elsewhere = lists.iter().filter(|(_, list)| list.stand_ins()[0].0 % 3 != 0).count();
    assert!(lists.len() > 90 && elsewhere == 0, "{elsewhere} of {} stand-ins share a zone with an owner", lists.len());
    // When that zone is down as a whole, there are stand-ins all the same.
    for (p, list) in stand_ins(&layout, |node| node.0 % 3 != 0) {
        assert_eq!(list.stand_ins().len(), 1, "partition {p}");
    }
}

/// Two stand-ins for one partition go to two zones.
#[test]
fn stand_ins_prefer_different_zones() {
    let layout = Layout::first(1024, 3, members(50, 5, false, &mut Random(2))).expect("a layout");
    let (mut lists, mut apart) = (0, 0);
    for p in layout.partition_ids() {
        let dead = &layout.owners(p)[..2];
        let list = layout.preference_list(p, |node| !dead.contains(&node));
        lists += 1;
        apart += u32::from(distinct(list.reachable().map(|node| node.0 % 5).collect()) == 3);
    }
    assert!(apart * 100 >= lists * 99, "{apart} of {lists} in three zones");
}

/// A node's death changes few lists in which it does not come: stand-ins do not wander.
#[test]
fn lists_are_stable() {
    let layout = Layout::first(256, 3, members(12, 3, false, &mut Random(3))).expect("a layout");
    let mut changed = 0;
    for p in layout.partition_ids() {
        let dead = layout.owners(p)[0];
        let before = layout.preference_list(p, |node| node != dead);
        let is_bystander = |id: &NodeId| *id != dead && !before.reachable().any(|node| node == *id);
        let bystander = layout.members().iter().map(|m| m.id).find(is_bystander).expect("another node");
        changed += u32::from(before != layout.preference_list(p, |node| node != dead && node != bystander));
    }
    // Two dead nodes in a row may let a zone appear to be down.
    assert!(changed < 13, "{changed} of 256 lists changed");
}
