//! The start of planning: what may stay stays, and gaps are filled greedily.
//!
//! Each partition by itself gets the cheapest set of owners, one that keeps as many former owners as the zones allow.
//! The flow needs exactly that of its start; that the gaps are filled evenly only leaves it less to do.

use super::{NONE, Problem, ZoneRule};

/// `width` owners for each partition.
pub(super) fn seed(problem: &Problem) -> Vec<u16> {
    let mut held = vec![0_u32; problem.nodes()];
    let mut sets: Vec<Vec<u16>> = (0..problem.partitions).map(|partition| kept(problem, partition)).collect();
    for &node in sets.iter().flatten() {
        held[usize::from(node)] += 1;
    }
    let candidates = Candidates::new(problem);
    for (partition, set) in sets.iter_mut().enumerate() {
        while set.len() < problem.width {
            let node = candidates.best(problem, partition, set, &held);
            held[usize::from(node)] += 1;
            set.push(node);
        }
    }
    sets.concat()
}

/// The former owners that stay, in order: as many as possible.
fn kept(problem: &Problem, partition: usize) -> Vec<u16> {
    let mut set = Vec::with_capacity(problem.width);
    for &node in problem.old(partition) {
        let full = problem.rule == ZoneRule::Spread && zone_count(problem, &set, zone(problem, node)) > 0;
        if node != NONE && !full && set.len() < problem.width {
            set.push(node);
        }
    }
    // Every zone without an owner needs a free place.
    while problem.rule == ZoneRule::Cover && problem.width - set.len() < problem.zones - zones_in(problem, &set) {
        let Some(at) = set.iter().rposition(|&node| zone_count(problem, &set, zone(problem, node)) > 1) else { break };
        set.remove(at);
    }
    set
}

fn zone(problem: &Problem, node: u16) -> u16 {
    problem.zone_of.get(usize::from(node)).copied().unwrap_or(NONE)
}

fn zone_count(problem: &Problem, set: &[u16], of: u16) -> usize {
    set.iter().filter(|&&node| zone(problem, node) == of).count()
}

fn zones_in(problem: &Problem, set: &[u16]) -> usize {
    set.iter().enumerate().filter(|&(at, &node)| zone_count(problem, &set[..at], zone(problem, node)) == 0).count()
}

/// What is looked at of each node, in the innermost loop.
struct Candidates {
    /// One over the share.
    inverse: Vec<u64>,
    most: Vec<u32>,
}

impl Candidates {
    fn new(problem: &Problem) -> Candidates {
        let inverse = problem.targets.iter().map(|target| target.inverse()).collect();
        let most = problem.targets.iter().map(|target| target.ceil() as u32).collect();
        Candidates { inverse, most }
    }

    /// The node that holds the smallest part of its share, among those that may join the set. A jitter of one partition
    /// mixes the nodes, so that what a node holds is shared with many others.
    fn best(&self, problem: &Problem, partition: usize, set: &[u16], held: &[u32]) -> u16 {
        let must_be_new_zone = match problem.rule {
            ZoneRule::Spread => true,
            ZoneRule::Cover => problem.width - set.len() <= problem.zones - zones_in(problem, set),
        };
        let mut taken = [NONE; crate::REPLICAS_MAX as usize];
        for (taken, &node) in taken.iter_mut().zip(set) {
            *taken = zone(problem, node);
        }
        let taken = &taken[..set.len()];
        let salt = crate::mix::mix(partition as u64, 2);
        let mut best = (u64::MAX, NONE);
        for (node, &held) in held.iter().enumerate() {
            let jitter = (problem.salts[node] ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
            let full = u64::from(held >= self.most[node]) << 63;
            let score = full | (((u64::from(held) << 16 | jitter) * self.inverse[node]) >> 1);
            if score < best.0
                && !(must_be_new_zone && taken.contains(&problem.zone_of[node]))
                && !set.contains(&(node as u16))
            {
                best = (score, node as u16);
            }
        }
        // Every set that is valid so far can be completed, so there was a candidate.
        assert!(best.1 != NONE, "no node may join the owners of a partition");
        best.1
    }
}
