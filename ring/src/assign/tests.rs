//! The bound by itself: true for every list of prices, and the cheapest set is the cheapest.

use proptest::prelude::*;

use super::{Problem, ZoneRule, assign, bound::least_copies, seed::seed};
use crate::{Layout, Member, NodeId};

fn members() -> impl Strategy<Value = Vec<Member>> {
    let member = |(n, (zone, weight)): (u64, (u8, u32))| {
        let (name, zone) = (format!("n{n}"), format!("z{zone}"));
        Member { id: NodeId(n), name, addr: String::new(), zone, weight }
    };
    prop::collection::btree_map(0_u64..8, (0_u8..3, 1_u32..6), 1..=8)
        .prop_map(move |members| members.into_iter().map(member).collect())
}

fn copies(problem: &Problem, owners: &[u16]) -> u64 {
    owners.iter().enumerate().map(|(at, &node)| u64::from(problem.cost(at / problem.width, node))).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_bound_holds_for_any_prices(
        replicas in 1_u8..=5, before in members(), after in members(), prices in prop::collection::vec(-3_i64..=3, 8),
    ) {
        let old = Layout::first(16, replicas, before).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let problem = old.problem(&after);
        let plan = assign(&problem);
        let least = copies(&problem, &plan.owners);
        prop_assert!(least_copies(&problem, &prices[..after.len()]) <= least);
        prop_assert_eq!(least_copies(&problem, &plan.prices), least);
    }

    /// The start is valid, and the cheapest for each partition alone: what the bound says without prices.
    #[test]
    fn the_seed_is_valid_and_cheapest(replicas in 1_u8..=5, before in members(), after in members()) {
        let old = Layout::first(16, replicas, before).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let problem = old.problem(&after);
        let owners = seed(&problem);
        prop_assert!(owners.chunks(problem.width).all(|owners| problem.is_valid(owners)));
        prop_assert_eq!(copies(&problem, &owners), least_copies(&problem, &vec![0; after.len()]));
    }

    /// Shares are possible, and so are whole numbers next to them.
    #[test]
    fn shares_are_possible(replicas in 1_u8..=5, members in members()) {
        let problem = Problem::new(16, replicas, &members, Vec::new(), 0);
        let sum = |of: &dyn Fn(usize) -> f64| (0..problem.nodes()).map(of).sum::<f64>();
        let target = |node: usize| problem.targets[node].as_f64();
        prop_assert!((sum(&target) - 16.0 * problem.width as f64).abs() < 1e-9);
        for zone in 0..problem.zones {
            let held = sum(&|node| if usize::from(problem.zone_of[node]) == zone { target(node) } else { 0.0 });
            match problem.rule {
                ZoneRule::Spread => prop_assert!(held <= 16.0 + 1e-9),
                ZoneRule::Cover => prop_assert!(held >= 16.0 - 1e-9),
            }
        }
        for node in 0..problem.nodes() {
            let (least, most) = problem.limits(node);
            prop_assert!(f64::from(least) >= target(node) - 1.0 && f64::from(most) <= target(node) + 1.0);
            prop_assert!(most <= 16 && target(node) > 0.0);
        }
    }
}
