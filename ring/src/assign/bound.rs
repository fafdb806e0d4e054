//! The least number of copies that any assignment within the rules must make.
//!
//! Weak duality. Give every place on a node a price. For any assignment that keeps the rules,
//!
//! ```text
//! new copies  = Σ over partitions of (cost + prices of its owners) - Σ over nodes of price * copies held
//!            >= Σ over partitions of the cheapest valid set         - Σ over nodes of max(price * h), h within limits
//! ```
//!
//! and the right side does not depend on the assignment. So it holds for *every* price list, whoever made it: an error
//! in the search can make the bound weak, but never wrong. The prices of a minimum-cost flow make both sides equal.

use super::{Problem, ZoneRule};

/// The bound for given prices, in copies; the pool's price is 0.
pub(crate) fn least_copies(problem: &Problem, prices: &[i64]) -> u64 {
    let mut bound = 0;
    for (node, &price) in prices.iter().enumerate() {
        let (least, most) = problem.limits(node);
        bound -= (price * i64::from(least)).max(price * i64::from(most));
    }
    let mut in_zone = vec![0; problem.zones];
    let mut others = Vec::with_capacity(problem.nodes());
    for partition in 0..problem.partitions {
        bound += cheapest(problem, partition, prices, &mut in_zone, &mut others);
    }
    bound.max(0) as u64
}

/// Cost and prices of the cheapest valid set of owners of a partition.
fn cheapest(problem: &Problem, partition: usize, prices: &[i64], in_zone: &mut [i64], others: &mut Vec<i64>) -> i64 {
    // The best node of every zone, and all the rest.
    in_zone.fill(i64::MAX);
    others.clear();
    for (node, &zone) in problem.zone_of.iter().enumerate() {
        let mut cost = prices[node] + i64::from(problem.cost(partition, node as u16));
        let best = &mut in_zone[usize::from(zone)];
        if cost < *best {
            std::mem::swap(&mut cost, best);
        }
        if problem.rule == ZoneRule::Cover && cost != i64::MAX {
            others.push(cost);
        }
    }
    match problem.rule {
        ZoneRule::Spread => sum_of_least(in_zone, problem.width),
        ZoneRule::Cover => in_zone.iter().sum::<i64>() + sum_of_least(others, problem.width - problem.zones),
    }
}

fn sum_of_least(costs: &mut [i64], count: usize) -> i64 {
    if count > 0 && count < costs.len() {
        costs.select_nth_unstable(count - 1);
    }
    costs.iter().take(count).sum()
}
