//! How long peers take to answer: a smoothed mean, its deviation, and a high quantile for each.
//!
//! Mean and deviation are Jacobson's (SIGCOMM 1988; the gains of RFC 6298). The quantile is kept by steps instead of
//! samples: up by 19 parts when a sample is above it, down by one part when not, so it settles where one in twenty is above;
//! the parts go with the spread, so it follows a peer that becomes slow or fast within some dozens of samples.

use std::collections::BTreeMap;

use dynode_ring::NodeId;

use super::Micros;
use crate::limits;

/// What is known of one peer's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The smoothed mean.
    pub mean: Micros,
    /// The smoothed mean distance from it.
    pub deviation: Micros,
    /// About one answer in twenty takes longer.
    pub p95: Micros,
    /// Answers so far.
    pub samples: u64,
}

/// What is known of all peers' answers.
#[derive(Debug, Default)]
pub struct Latencies {
    peers: BTreeMap<NodeId, Latency>,
}

impl Latencies {
    /// A peer took so many microseconds to answer.
    pub fn sample(&mut self, peer: NodeId, micros: u64) {
        // A minute is for ever; the bound keeps the sums below from overflowing.
        let taken = micros.min(60_000_000);
        let Some(known) = self.peers.get_mut(&peer) else {
            if self.peers.len() < limits::LATENCIES_MAX {
                let mean = Micros(taken);
                self.peers
                    .insert(peer, Latency { mean, deviation: Micros(taken / 2), p95: Micros(2 * taken), samples: 1 });
            }
            return;
        };
        let distance = known.mean.0.abs_diff(taken);
        known.deviation = Micros((3 * known.deviation.0 + distance) / 4);
        known.mean = Micros((7 * known.mean.0 + taken) / 8);
        let part = (known.deviation.0 / 16).max(known.p95.0.abs_diff(known.mean.0) / 64).max(1);
        known.p95 = Micros(match taken > known.p95.0 {
            true => taken.min(known.p95.0 + 19 * part),
            false => known.p95.0.saturating_sub(part).max(taken),
        });
        known.samples = known.samples.saturating_add(1);
    }

    /// What is known of a peer.
    pub fn of(&self, peer: NodeId) -> Option<Latency> {
        self.peers.get(&peer).copied()
    }

    /// Orders peers, the nearest first. Those within a factor of two stay in the order in which they come, so that small
    /// changes change nothing, and load stays spread; those of which nothing is known come first, to become known.
    pub fn rank(&self, peers: &mut [NodeId]) {
        // Below a quarter of a millisecond all are near.
        peers.sort_by_key(|peer| self.of(*peer).map_or(0, |known| (known.mean.0 / 250 + 1).ilog2()));
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.peers.retain(|peer, _| keep(*peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(1);

    fn after(samples: impl IntoIterator<Item = u64>) -> Latency {
        let mut latencies = Latencies::default();
        samples.into_iter().for_each(|micros| latencies.sample(PEER, micros));
        latencies.of(PEER).unwrap()
    }

    #[test]
    fn a_steady_peer_is_known_exactly() {
        let known = after(std::iter::repeat_n(800, 500));
        assert_eq!((known.mean, known.deviation, known.p95), (Micros(800), Micros(0), Micros(800)));
    }

    #[test]
    fn about_one_in_twenty_is_above_the_quantile() {
        // 1 to 1000 in an order that looks random.
        let samples: Vec<u64> = (0..20_000_u64).map(|i| i * 7919 % 1000 + 1).collect();
        let mut latencies = Latencies::default();
        let mut above = 0;
        for (at, micros) in samples.iter().enumerate() {
            let before = latencies.of(PEER);
            above += usize::from(at >= 1000 && before.is_some_and(|known| *micros > known.p95.0));
            latencies.sample(PEER, *micros);
        }
        assert!((19_000 / 33..19_000 / 12).contains(&above), "{above} of 19000");
    }

    #[test]
    fn a_peer_that_becomes_slow_is_found_out_and_forgiven() {
        let slow = after([vec![500; 100], vec![50_000; 20]].concat());
        assert!(slow.mean > Micros(40_000) && slow.p95 > Micros(40_000), "{slow:?}");
        let again = after([vec![500; 100], vec![50_000; 20], vec![500; 200]].concat());
        assert!(again.mean < Micros(1_000) && again.p95 < Micros(10_000), "{again:?}");
    }

    #[test]
    fn absurd_samples_overflow_nothing() {
        let known = after([u64::MAX, 0, u64::MAX, u64::MAX]);
        assert!(known.mean <= Micros::secs(60) && known.p95 <= Micros::secs(120));
    }

    #[test]
    fn the_nearest_come_first_and_near_ones_keep_their_order() {
        let mut latencies = Latencies::default();
        for (node, micros) in [(1, 5_000), (2, 300), (3, 400), (4, 90_000)] {
            latencies.sample(NodeId(node), micros);
        }
        let mut peers = [9, 4, 3, 1, 2].map(NodeId);
        latencies.rank(&mut peers);
        assert_eq!(peers, [9, 3, 2, 1, 4].map(NodeId));
    }
}
