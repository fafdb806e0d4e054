//! Shares: how many partitions each node should hold.
//!
//! Let Q be the partitions and `width` the owners of each. Shares `t` must be *possible*:
//! - `0 <= t <= Q` for every node, since a node holds a partition once;
//! - with at least as many zones as owners, at most Q in a zone, since a partition has one owner there;
//!   with fewer zones than owners, at least Q in a zone, since every partition has an owner there;
//! - all together `Q * width`.
//!
//! Of the possible ones the shares are those with the least sum of `t² / weight`: proportional to the weights where
//! nothing forbids it. They are found by pouring water: a *level* λ of copies for each unit of weight,
//! `t = min(Q, λ * weight)`, with a level of its own for a zone that the common level would fill beyond (or below) Q.
//!
//! Possible whole numbers can always be put into a table: write every node's number of copies, zone after zone, in a
//! row and deal the row out over the partitions, round and round. Whole numbers next to the shares exist as well, since
//! the conditions are nested sets with whole bounds. So planning never fails.
//!
//! All is exact, in fractions.

use std::cmp::Ordering;

use super::ZoneRule;

/// A share, as a fraction of whole numbers, in partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    num: u64,
    den: u64,
}

impl Target {
    pub(crate) fn floor(self) -> u64 {
        self.num / self.den
    }

    pub(crate) fn ceil(self) -> u64 {
        self.num.div_ceil(self.den)
    }

    pub(crate) fn as_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// One over the share, as a whole number of 2^-20, from 1 to 2^30.
    pub(crate) fn inverse(self) -> u64 {
        ((u128::from(self.den) << 20) / u128::from(self.num).max(1)).clamp(1, 1 << 30) as u64
    }
}

/// Copies for each unit of weight.
#[derive(Clone, Copy)]
struct Level {
    copies: u64,
    weight: u64,
}

impl Level {
    fn cmp(self, other: Level) -> Ordering {
        let cross = |a: Level, b: Level| u128::from(a.copies) * u128::from(b.weight);
        cross(self, other).cmp(&cross(other, self))
    }

    fn reaches(self, other: Level) -> bool {
        self.cmp(other).is_ge()
    }
}

/// The shares of nodes with these weights and zones, for partitions with `width` owners each.
pub(crate) fn targets(
    partitions: u64,
    width: u64,
    rule: ZoneRule,
    weights: &[u32],
    zone_of: &[u16],
    zones: usize,
) -> Vec<Target> {
    let full = |weight: u32| Level { copies: partitions, weight: u64::from(weight) };
    // The level at which a zone holds Q copies: it rises no further, or is never lower. No node alone holds more than Q
    // there, so that level is Q over the zone's weight.
    let mut edges = vec![Level { copies: partitions, weight: 0 }; zones];
    for (&weight, &zone) in weights.iter().zip(zone_of) {
        edges[usize::from(zone)].weight += u64::from(weight);
    }
    let at_edge = |level: Level, zone: u16| match rule {
        ZoneRule::Spread => level.reaches(edges[usize::from(zone)]),
        ZoneRule::Cover => !level.reaches(edges[usize::from(zone)]),
    };
    // What is fixed from this level on, in copies, and the weight of all that still rises.
    let state = |level: Level| {
        let (mut fixed, mut rising) = (0_u64, 0_u64);
        for zone in 0..zones {
            fixed += if at_edge(level, zone as u16) { partitions } else { 0 };
        }
        for (&weight, &zone) in weights.iter().zip(zone_of) {
            if at_edge(level, zone) {
                continue;
            }
            if level.reaches(full(weight)) {
                fixed += partitions;
            } else {
                rising += u64::from(weight);
            }
        }
        (fixed, rising)
    };
    let total = partitions * width;
    let too_high = |level: Level| {
        let (fixed, rising) = state(level);
        let copies = u128::from(fixed) * u128::from(level.weight) + u128::from(level.copies) * u128::from(rising);
        copies > u128::from(total) * u128::from(level.weight)
    };
    let mut steps: Vec<Level> = weights.iter().map(|&weight| full(weight)).chain(edges.iter().copied()).collect();
    steps.sort_by(|&a, &b| a.cmp(b));
    let below = steps.partition_point(|&level| !too_high(level));
    // The sum is linear between steps, so the last step that is not too high leads to the level itself.
    let step = if below == 0 { Level { copies: 0, weight: 1 } } else { steps[below - 1] };
    let (fixed, rising) = state(step);
    let common = if rising == 0 { step } else { Level { copies: total - fixed, weight: rising } };
    let target = |(&weight, &zone): (&u32, &u16)| {
        let level = if at_edge(step, zone) { edges[usize::from(zone)] } else { common };
        if level.reaches(full(weight)) {
            Target { num: partitions, den: 1 }
        } else {
            Target { num: level.copies * u64::from(weight), den: level.weight }
        }
    };
    weights.iter().zip(zone_of).map(target).collect()
}
