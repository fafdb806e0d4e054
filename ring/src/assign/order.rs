//! The order of a partition's owners: whom to ask first.
//!
//! The first owner coordinates by default, so first places are spread over the nodes like the copies themselves: a node
//! that owns k partitions comes first in k / width of them, to the next whole number. The second places follow among
//! what is left, and so on. Giving every owner of a partition an equal part of a place meets these numbers, so there is
//! also a way in whole ones (bipartite degree-constrained matching); augmenting paths find it, starting from the former
//! order.

use super::Problem;

/// Reorders the owners within each partition.
pub(super) fn order(problem: &Problem, owners: &mut [u16]) {
    for place in 0..problem.width.saturating_sub(1) {
        let mut round = Places::new(problem, owners, place);
        let (floor, ceil) = round.goals();
        // First nobody has too many, then nobody too few.
        round.level(&ceil);
        round.level(&floor);
    }
}

/// The assignment of one place.
struct Places<'a> {
    owners: &'a mut [u16],
    width: usize,
    place: usize,
    /// Per node: the partitions in which it has the place.
    has: Vec<Vec<u32>>,
    /// Per node: the partition by which the search reached it, from which node.
    reached: Vec<Option<(u16, u32)>>,
    queue: Vec<u16>,
}

impl<'a> Places<'a> {
    fn new(problem: &Problem, owners: &'a mut [u16], place: usize) -> Places<'a> {
        let mut has = vec![Vec::new(); problem.nodes()];
        for (partition, owners) in owners.chunks(problem.width).enumerate() {
            has[usize::from(owners[place])].push(partition as u32);
        }
        let reached = vec![None; problem.nodes()];
        Places { owners, width: problem.width, place, has, reached, queue: Vec::new() }
    }

    /// The whole numbers next to each node's part of the places.
    fn goals(&self) -> (Vec<usize>, Vec<usize>) {
        let mut left = vec![0_usize; self.has.len()];
        for owners in self.owners.chunks(self.width) {
            for &node in &owners[self.place..] {
                left[usize::from(node)] += 1;
            }
        }
        let parts = self.width - self.place;
        left.iter().map(|left| (left / parts, left.div_ceil(parts))).unzip()
    }

    /// Moves the place from nodes above their goal to nodes below, until no node is above or no node below.
    fn level(&mut self, goal: &[usize]) {
        loop {
            self.reached.fill(None);
            self.queue.clear();
            for (node, &goal) in goal.iter().enumerate() {
                if self.has[node].len() > goal {
                    self.reached[node] = Some((node as u16, 0));
                    self.queue.push(node as u16);
                }
            }
            let Some(mut to) = self.search(goal) else { return };
            while let Some((from, partition)) = self.reached[usize::from(to)]
                && from != to
            {
                self.give(partition, from, to);
                to = from;
            }
        }
    }

    /// The nearest node below its goal.
    fn search(&mut self, goal: &[usize]) -> Option<u16> {
        let mut next = 0;
        while let Some(&from) = self.queue.get(next) {
            next += 1;
            for &partition in &self.has[usize::from(from)] {
                let start = partition as usize * self.width;
                for &to in &self.owners[start + self.place + 1..start + self.width] {
                    if self.reached[usize::from(to)].is_none() {
                        self.reached[usize::from(to)] = Some((from, partition));
                        if self.has[usize::from(to)].len() < goal[usize::from(to)] {
                            return Some(to);
                        }
                        self.queue.push(to);
                    }
                }
            }
        }
        None
    }

    fn give(&mut self, partition: u32, from: u16, to: u16) {
        let start = partition as usize * self.width;
        let owners = &mut self.owners[start..start + self.width];
        if let Some(at) = owners.iter().position(|&node| node == to) {
            owners.swap(self.place, at);
        }
        let has = &mut self.has[usize::from(from)];
        if let Some(at) = has.iter().position(|&held| held == partition) {
            has.swap_remove(at);
        }
        self.has[usize::from(to)].push(partition);
    }
}
