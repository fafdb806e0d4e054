//! Layouts: the rules hold, equal inputs give equal layouts, and bad parts are refused.

mod common;

use common::{Random, broken_rule, member, shares_by_bisection};
use dynode_ring::{Layout, LayoutError, Member, Move, NodeId, PartitionId};
use proptest::prelude::*;

fn some_members(most: usize) -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map(any::<u64>(), (0_usize..6, 1_u32..20), 1..=most)
        .prop_map(|members| members.into_iter().map(|(n, (zone, weight))| named(n, zone, weight)).collect())
}

fn named(n: u64, zone: usize, weight: u32) -> Member {
    Member { name: format!("node-{n:x}"), ..member(n, zone, weight) }
}

#[allow(clippy::needless_pass_by_value)] // For map_err.
fn fail(error: LayoutError) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn parts(layout: &Layout) -> (u64, u8, Vec<Member>, Vec<Vec<u16>>) {
    let owners = layout.partition_ids().map(|p| layout.owner_indexes(p).collect()).collect();
    (layout.epoch(), layout.replicas() as u8, layout.members().to_vec(), owners)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_layout_keeps_the_rules(
        q in 0_u32..=9, replicas in 1_u8..=8,
        before in some_members(30), after in some_members(30), both in some_members(20),
    ) {
        let with = |mut members: Vec<Member>| {
            let is_new = |m: &&Member| !members.iter().any(|other| other.id == m.id);
            let others: Vec<_> = both.iter().filter(is_new).cloned().collect();
            members.extend(others);
            members
        };
        let first = Layout::first(1 << q, replicas, with(before)).map_err(fail)?;
        prop_assert_eq!(broken_rule(&first), None);
        let next = first.next(with(after)).map_err(fail)?;
        prop_assert_eq!(broken_rule(&next), None);
        prop_assert_eq!((first.epoch(), next.epoch()), (1, 2));
    }

    /// Whatever the order of the members, and however the layout before came here.
    #[test]
    fn equal_inputs_give_equal_layouts(members in some_members(20), after in some_members(20), seed: u64) {
        let first = Layout::first(64, 3, members.clone()).map_err(fail)?;
        prop_assert_eq!(&Layout::first(64, 3, shuffled(members, seed)).map_err(fail)?, &first);
        let (epoch, replicas, members, owners) = parts(&first);
        let received = Layout::from_parts(epoch, replicas, members, owners).map_err(fail)?;
        prop_assert_eq!(&received, &first);
        prop_assert_eq!(received.next(shuffled(after.clone(), seed)).map_err(fail)?, first.next(after).map_err(fail)?);
    }

    /// Parts whose members are in another order are the same layout.
    #[test]
    fn parts_may_come_in_any_order(members in some_members(20), seed: u64) {
        let layout = Layout::first(32, 3, members).map_err(fail)?;
        let members = shuffled(layout.members().to_vec(), seed);
        let index = |node: &NodeId| members.iter().position(|m| m.id == *node).map_or(u16::MAX, |at| at as u16);
        let owners = layout.partition_ids().map(|p| layout.owners(p).iter().map(index).collect()).collect();
        prop_assert_eq!(Layout::from_parts(1, 3, members.clone(), owners).map_err(fail)?, layout);
    }

    /// The exact shares are those that bisection finds.
    #[test]
    fn shares_are_water_filling(q in 0_u32..=10, replicas in 1_u8..=8, members in some_members(30)) {
        let layout = Layout::first(1 << q, replicas, members).map_err(fail)?;
        let expected = shares_by_bisection(1 << q, usize::from(replicas), layout.members());
        for (share, expected) in layout.shares().iter().zip(&expected) {
            prop_assert!((share.target - expected).abs() < 1e-6, "{:?} should be {}", share, expected);
        }
        let all: f64 = layout.shares().iter().map(|share| share.fraction).sum();
        prop_assert!((all - 1.0).abs() < 1e-9);
    }

    /// Owners, their indexes, who owns what and the diff are views of one table.
    #[test]
    fn views_agree(before in some_members(15), after in some_members(15)) {
        let old = Layout::first(32, 3, before).map_err(fail)?;
        let new = old.next(after).map_err(fail)?;
        for member in new.members() {
            let owned: Vec<PartitionId> = new.owned_by(member.id).collect();
            for p in new.partition_ids() {
                prop_assert_eq!(owned.contains(&p), new.owns(member.id, p));
                prop_assert_eq!(owned.contains(&p), new.owners(p).contains(&member.id));
            }
            prop_assert_eq!(new.member(member.id), Some(member));
            prop_assert_eq!(new.member_named(&member.name), Some(member));
        }
        for p in new.partition_ids() {
            let id = |index: u16| new.members()[usize::from(index)].id;
            let by_index: Vec<NodeId> = new.owner_indexes(p).map(id).collect();
            prop_assert_eq!(by_index, new.owners(p));
        }
        // The moves lead from the old table to the new one.
        let mut tables: Vec<Vec<NodeId>> = old.partition_ids().map(|p| old.owners(p).to_vec()).collect();
        for Move { partition, from, to } in old.diff(&new) {
            let table = &mut tables[partition.index()];
            table.retain(|node| Some(*node) != from);
            table.extend(to);
        }
        for p in new.partition_ids() {
            let (mut moved, mut owners) = (tables[p.index()].clone(), new.owners(p).to_vec());
            moved.sort();
            owners.sort();
            prop_assert_eq!(moved, owners);
        }
        prop_assert!(new.diff(&new).is_empty());
    }

    /// Nothing that comes from the network panics.
    #[test]
    fn random_parts_are_refused_or_whole(
        epoch in 0_u64..3, replicas in 0_u8..10, members in some_members(4),
        owners in prop::collection::vec(prop::collection::vec(0_u16..5, 0..5), 0..5),
    ) {
        if let Ok(layout) = Layout::from_parts(epoch, replicas, members.clone(), owners.clone()) {
            prop_assert_eq!(layout.partitions() as usize, owners.len());
            prop_assert!(layout.next(members).is_ok());
        }
    }
}

fn shuffled(mut members: Vec<Member>, seed: u64) -> Vec<Member> {
    let mut random = Random(seed);
    for at in 1..members.len() {
        members.swap(at, random.below(at + 1));
    }
    members
}

#[test]
fn bad_parts_are_refused() {
    let members = || (0..4).map(|n| member(n, 0, 1)).collect::<Vec<_>>();
    let changed = |change: &dyn Fn(&mut Member)| {
        let mut members = members();
        change(&mut members[2]);
        members
    };
    let good = vec![vec![0, 1], vec![2, 3]];
    let refused =
        |epoch, replicas, members, owners| Layout::from_parts(epoch, replicas, members, owners).expect_err("bad parts");
    let at = PartitionId;
    assert!(Layout::from_parts(1, 2, members(), good.clone()).is_ok());
    assert_eq!(refused(0, 2, members(), good.clone()), LayoutError::Epoch);
    assert_eq!(refused(1, 0, members(), good.clone()), LayoutError::Replicas(0));
    assert_eq!(refused(1, 9, members(), good.clone()), LayoutError::Replicas(9));
    assert_eq!(refused(1, 2, vec![], good.clone()), LayoutError::NoMembers);
    assert_eq!(refused(1, 2, members(), vec![]), LayoutError::Partitions(0));
    assert_eq!(refused(1, 2, members(), vec![vec![0, 1]; 3]), LayoutError::Partitions(3));
    assert_eq!(refused(1, 2, members(), vec![vec![0, 1]; 1 << 17]), LayoutError::Partitions(1 << 17));
    let count = LayoutError::OwnerCount { partition: at(1), expected: 2, found: 3 };
    assert_eq!(refused(1, 2, members(), vec![vec![0, 1], vec![0, 1, 2]]), count);
    assert_eq!(
        refused(1, 2, members(), vec![vec![0, 1], vec![4, 1]]),
        LayoutError::OwnerIndex { partition: at(1), index: 4 }
    );
    assert_eq!(
        refused(1, 2, members(), vec![vec![3, 3], vec![0, 1]]),
        LayoutError::OwnerTwice { partition: at(0), index: 3 }
    );
    let refused = |change: &dyn Fn(&mut Member)| refused(1, 2, changed(change), good.clone());
    assert_eq!(refused(&|m| m.id = NodeId(1)), LayoutError::DuplicateId(NodeId(1)));
    assert_eq!(refused(&|m| m.name = "n3".into()), LayoutError::DuplicateName("n3".into()));
    assert_eq!(refused(&|m| m.name.clear()), LayoutError::EmptyName(NodeId(2)));
    assert_eq!(refused(&|m| m.weight = 0), LayoutError::ZeroWeight("n2".into()));
    let long = || "x".repeat(256);
    assert_eq!(refused(&|m| m.name = long()), LayoutError::TextTooLong(NodeId(2)));
    assert_eq!(refused(&|m| m.addr = long()), LayoutError::TextTooLong(NodeId(2)));
    assert_eq!(refused(&|m| m.zone = long()), LayoutError::TextTooLong(NodeId(2)));
    let many = (0..5000).map(|n| member(n, 0, 1)).collect();
    assert_eq!(Layout::first(8, 3, many), Err(LayoutError::TooManyMembers(5000)));
    assert_eq!(Layout::first(1 << 17, 3, members()), Err(LayoutError::Partitions(1 << 17)));
}

#[test]
fn the_last_epoch_has_no_next() {
    let last = Layout::from_parts(u64::MAX, 1, vec![member(1, 0, 1)], vec![vec![0]]).expect("a layout");
    assert_eq!(last.next(vec![member(1, 0, 1)]), Err(LayoutError::Epoch));
    assert_eq!(last.plan(vec![member(1, 0, 1)]), Err(LayoutError::Epoch));
}

#[test]
fn what_does_not_exist_is_empty() {
    let layout = Layout::first(4, 3, vec![member(1, 0, 1), member(2, 0, 1)]).expect("a layout");
    let none = PartitionId(4);
    assert!(layout.owners(none).is_empty());
    assert_eq!(layout.owner_indexes(none).count(), 0);
    assert!(!layout.owns(NodeId(1), none));
    assert_eq!(layout.owned_by(NodeId(3)).count(), 0);
    let list = layout.preference_list(none, |_| false);
    assert!(list.owners().is_empty() && list.stand_ins().is_empty());
}

/// Extreme weights and sizes: nothing overflows, and the rules hold.
#[test]
fn extremes() {
    let mut members: Vec<Member> = (0..9).map(|n| member(n, n as usize % 4, u32::MAX)).collect();
    members[3].weight = 1;
    members[4].weight = 1;
    for replicas in [1, 3, 8] {
        for partitions in [1, 2, 65_536] {
            let first = Layout::first(partitions, replicas, members.clone()).expect("a first layout");
            assert_eq!(broken_rule(&first), None);
            let next = first.plan(members[1..].to_vec()).expect("a plan");
            assert_eq!(broken_rule(&next.layout), None);
            assert_eq!(next.copies(), next.least);
        }
    }
}

/// A cluster that grows from one node: every node is given what it lacks.
#[test]
fn growing_from_one_node() {
    let mut layout = Layout::first(64, 3, vec![member(0, 0, 1)]).expect("a first layout");
    let mut copies = Vec::new();
    for nodes in 2..=6 {
        let plan = layout.plan((0..nodes).map(|n| member(n, n as usize, 1)).collect()).expect("a plan");
        copies.push((plan.copies(), plan.layout.owners(PartitionId(0)).len()));
        layout = plan.layout;
    }
    // The fourth node's share is 64 * 3 / 4 = 48, and 47 is within one; the fifth's 38.4, the sixth's 32.
    assert_eq!(copies, [(64, 2), (64, 3), (47, 3), (38, 3), (31, 3)]);
}

/// The first place decides who coordinates: every node has its part of them, also after changes.
#[test]
fn first_places_are_even() {
    let mut random = Random(5);
    let mut members = common::members(12, 3, true, &mut random);
    let mut layout = Layout::first(256, 3, members.clone()).expect("a first layout");
    for change in 0..20 {
        assert!(common::worst_place(&layout) < 1.0, "change {change}: {}", common::worst_place(&layout));
        members.remove(random.below(members.len()));
        members.push(common::new_member(100 + change, 3, true, &mut random));
        layout = layout.next(members.clone()).expect("a next layout");
    }
}

/// What one node holds is shared with all others, so that all help to rebuild it; also after many changes.
#[test]
fn partners_are_many() {
    let mut random = Random(6);
    let mut members = common::members(16, 1, false, &mut random);
    let mut layout = Layout::first(256, 3, members.clone()).expect("a first layout");
    for change in 0..30 {
        for node in layout.members() {
            let partners = layout.owned_by(node.id).flat_map(|p| layout.owners(p).to_vec()).collect();
            // 48 partitions with two partners each: 6.4 of them for each of the 15 other nodes. It counts itself.
            assert!(common::distinct(partners) > 13, "change {change}: node {} has few partners", node.id);
        }
        members.remove(random.below(members.len()));
        members.push(common::new_member(100 + change, 1, false, &mut random));
        layout = layout.next(members.clone()).expect("a next layout");
    }
}
