//! When a read asks somebody else too, because those that were asked are late: after a delay that follows how long they
//! usually take, and within a budget ("The tail at scale", Dean and Barroso, CACM 2013).

use dynode_ring::NodeId;

use super::{Latencies, Micros};
use crate::limits;

/// What may still be spent on hedged requests, in tenths of one.
#[derive(Debug)]
pub(super) struct Budget {
    credit: u32,
}

impl Budget {
    /// Full: trouble may be there at the start.
    pub(super) fn new() -> Budget {
        Budget { credit: limits::HEDGE_CREDIT_MAX }
    }

    /// A read began.
    pub(super) fn earn(&mut self) {
        self.credit = (self.credit + limits::HEDGES_PER_TEN_READS).min(limits::HEDGE_CREDIT_MAX);
    }

    /// May a hedged request be sent? It is paid for, then.
    pub(super) fn spend(&mut self) -> bool {
        let pays = self.credit >= 10;
        self.credit -= if pays { 10 } else { 0 };
        pays
    }
}

/// How long to wait for all of these before others are asked, `next` first: where that one is much nearer, waiting for
/// longer than it takes makes no sense.
pub(super) fn delay(latencies: &Latencies, asked: &[NodeId], next: Option<NodeId>) -> Micros {
    let own = usual(latencies, asked);
    match next.filter(|next| latencies.of(*next).is_some()) {
        Some(next) => own.min(Micros(2 * usual(latencies, &[next]).0)),
        None => own,
    }
}

/// Twice what all but one in twenty of their answers take, within bounds.
fn usual(latencies: &Latencies, asked: &[NodeId]) -> Micros {
    let usual = asked.iter().map(|peer| latencies.of(*peer).map(|known| Micros(2 * known.p95.0))).max();
    match usual.flatten() {
        Some(usual) => usual.clamp(limits::HEDGE_AFTER_MIN, limits::HEDGE_AFTER_MAX),
        None => limits::HEDGE_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_follows_the_slowest_of_those_asked_within_bounds() {
        let mut latencies = Latencies::default();
        let [fast, slow, hung, unknown] = [1, 2, 3, 4].map(NodeId);
        for _ in 0..2000 {
            latencies.sample(fast, 200);
            latencies.sample(slow, 10_000);
            latencies.sample(hung, 5_000_000);
        }
        assert_eq!(delay(&latencies, &[fast], None), limits::HEDGE_AFTER_MIN);
        assert_eq!(delay(&latencies, &[fast, slow], Some(unknown)), Micros(20_000));
        assert_eq!(delay(&latencies, &[hung], Some(hung)), limits::HEDGE_AFTER_MAX);
        assert_eq!(delay(&latencies, &[hung], Some(fast)), Micros(2 * limits::HEDGE_AFTER_MIN.0));
        assert_eq!(delay(&latencies, &[unknown], None), limits::HEDGE_AFTER);
        assert_eq!(delay(&latencies, &[], None), limits::HEDGE_AFTER);
    }

    #[test]
    fn one_read_in_ten_may_be_hedged_in_the_long_run() {
        let mut budget = Budget::new();
        while budget.spend() {}
        let hedged = (0..10_000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(hedged.count(), 1_000);
    }
}
