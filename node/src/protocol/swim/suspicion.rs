//! How long a suspect has to contradict: long when one member alone accuses it, shorter the more others do.
//!
//! Dadgar, Phillips, Currey: "Lifeguard: local health awareness for more accurate failure detection" (2017), section IV-B.

use std::collections::BTreeSet;

use dynode_ring::NodeId;

use crate::limits;
use crate::protocol::{Micros, Time};

/// A suspicion that is running.
#[derive(Debug, Clone)]
pub(super) struct Suspicion {
    pub(super) began: Time,
    /// Who accuses, at most [`limits::SUSPICION_CONFIRMATIONS`] and one.
    accusers: BTreeSet<NodeId>,
    /// Who accused last: the name that the news carries.
    pub(super) last: NodeId,
    /// Somebody has waited already, and found it down: no others need accuse it.
    is_short: bool,
}

impl Suspicion {
    pub(super) fn new(began: Time, by: NodeId, is_short: bool) -> Suspicion {
        Suspicion { began, accusers: BTreeSet::from([by]), last: by, is_short }
    }

    /// Another accuses; false if that is nothing new, or not needed any more.
    pub(super) fn confirm(&mut self, by: NodeId) -> bool {
        let is_new = self.accusers.len() <= limits::SUSPICION_CONFIRMATIONS && self.accusers.insert(by);
        if is_new {
            self.last = by;
        }
        is_new
    }

    /// Somebody has waited for it already, in vain.
    pub(super) fn shorten(&mut self) {
        self.is_short = true;
    }

    pub(super) fn is_accused_by(&self, node: NodeId) -> bool {
        self.accusers.contains(&node)
    }

    /// When the suspect is down if it has not contradicted, in a cluster of so many.
    pub(super) fn ends(&self, members: usize) -> Time {
        let least = least(members);
        // Suspect and accuser do not confirm; with too few others there is nothing to wait for.
        if self.is_short || members < limits::SUSPICION_CONFIRMATIONS + 2 {
            return self.began + least;
        }
        let most = least.0 * limits::SUSPICION_ALONE;
        // log(C + 1) / log(K + 1) for K = 3, in thousandths.
        let part = [0, 500, 792, 1000][(self.accusers.len() - 1).min(3)];
        self.began + Micros(most - (most - least.0) * part / 1000)
    }
}

/// How often a member probes in a cluster of so many.
pub(super) fn period(members: usize) -> Micros {
    if members > limits::PROBE_FAST_MEMBERS { limits::PROBE_PERIOD } else { limits::PROBE_PERIOD_FAST }
}

/// Enough accuse: 4 · log10(n + 1) periods, as the time that news takes grows with the logarithm. In whole numbers, so that
/// it is the same on every machine.
pub(super) fn least(members: usize) -> Micros {
    let quarters = (members as u128 + 1).pow(4).ilog2(); // 4 · log2(n + 1)
    Micros(period(members).0 * u64::from(quarters) * 30_103 / 100_000).max(limits::SUSPICION_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_grows_with_the_logarithm_of_the_members() {
        assert_eq!(least(3), limits::SUSPICION_MIN);
        let seconds = [(10, 1.9..2.2), (100, 7.7..8.1), (1000, 11.4..12.1)];
        for (members, expected) in seconds {
            let found = least(members).0 as f64 / 1e6;
            assert!(expected.contains(&found), "{members}: {found}");
        }
    }

    #[test]
    fn confirmations_shorten_it_and_the_same_accuser_counts_once() {
        let mut suspicion = Suspicion::new(Time(0), NodeId(1), false);
        let mut ends = vec![suspicion.ends(100)];
        assert!(!suspicion.confirm(NodeId(1)));
        for by in 2..=4 {
            assert!(suspicion.confirm(NodeId(by)));
            ends.push(suspicion.ends(100));
        }
        assert!(!suspicion.confirm(NodeId(5)), "more than needed");
        assert!(ends.is_sorted_by(|a, b| a > b), "{ends:?}");
        assert_eq!(ends[0] - Time(0), Micros(least(100).0 * limits::SUSPICION_ALONE));
        assert_eq!(ends[3] - Time(0), least(100));
    }

    #[test]
    fn where_nobody_could_confirm_nobody_is_waited_for() {
        assert_eq!(Suspicion::new(Time(0), NodeId(1), false).ends(3), Time(0) + least(3));
    }
}
