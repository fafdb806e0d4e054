//! Minimum-cost repair: brings every node within its limits with the fewest new copies.
//!
//! The state is a flow: the owners of each partition, and for each node how many of its copies *count*, a number within
//! its limits. A node with more copies than count has an excess, one with fewer a deficit; the *pool* is the sink of
//! the flow, and has the difference to the copies there are. Every vertex has a price. At all times every partition's
//! owners are the cheapest set at cost plus prices; it starts with all prices 0 and [`super::seed`].
//!
//! A *hop* takes a partition from one node and gives it to another. Excess is moved to a deficit along a shortest path
//! of *tight* hops, which cost exactly the difference of prices; where there is none, the prices of all that could be
//! reached rise by one. This is the primal-dual method for minimum-cost flows (Ford, Fulkerson 1962). Two hops of a
//! shortest path never hinder each other within a partition: there would be a shorter path.

use super::{Problem, ZoneRule, search::Search};

pub(super) struct Flow<'a> {
    pub(super) problem: &'a Problem,
    /// `width` nodes for each partition.
    pub(super) owners: Vec<u16>,
    /// For each entry of `owners`: where the partition stands in the node's `held`.
    place: Vec<u32>,
    /// Per node: the partitions it owns, in scrambled order.
    pub(super) held: Vec<Vec<u32>>,
    /// Per node: how many of its copies count, from `least` to `most`.
    counted: Vec<u32>,
    least: Vec<u32>,
    most: Vec<u32>,
    pool_excess: i64,
    /// Per node, then the pool's.
    pub(super) prices: Vec<u32>,
}

impl<'a> Flow<'a> {
    /// Starts from sets of owners that are each the cheapest for its partition.
    pub(super) fn new(problem: &'a Problem, owners: Vec<u16>) -> Flow<'a> {
        let nodes = problem.nodes();
        let (least, most): (Vec<u32>, Vec<u32>) = if problem.is_first() {
            // Every copy is new: the tightest balance costs no more than another.
            problem.targets.iter().map(|target| (target.floor() as u32, target.ceil() as u32)).unzip()
        } else {
            (0..nodes).map(|node| problem.limits(node)).unzip()
        };
        let mut held: Vec<Vec<u32>> = vec![Vec::new(); nodes];
        for (at, &node) in owners.iter().enumerate() {
            held[usize::from(node)].push((at / problem.width) as u32);
        }
        for (held, &salt) in held.iter_mut().zip(&problem.salts) {
            held.sort_by_cached_key(|&partition| crate::mix::mix(u64::from(partition), salt));
        }
        let counted = vec![0; nodes];
        let place = vec![0; owners.len()];
        let prices = vec![0; nodes + 1];
        let mut flow = Flow { problem, owners, place, held, counted, least, most, pool_excess: 0, prices };
        for node in 0..nodes {
            for at in 0..flow.held[node].len() {
                let slot = flow.slot(flow.held[node][at] as usize, node as u16);
                flow.place[slot] = at as u32;
            }
        }
        flow.count();
        flow
    }

    /// Brings every node within its limits at the least cost, then as near to its share as costs nothing more.
    pub(super) fn settle(&mut self) {
        let mut search = Search::new(self);
        let mut rises = 0;
        while !self.move_excess(&mut search) {
            for (vertex, price) in self.prices.iter_mut().enumerate() {
                *price += u32::from(search.reached(vertex));
            }
            // A path visits a node once and costs at most one copy a hop, so prices are bounded.
            rises += 1;
            assert!(rises <= 2 * self.prices.len(), "no assignment within the limits");
        }
        self.narrow();
        self.move_excess(&mut search);
    }

    /// The prices of the nodes, the pool's being 0.
    pub(super) fn prices(&self) -> Vec<i64> {
        let pool = i64::from(self.prices[self.pool()]);
        self.prices[..self.pool()].iter().map(|&price| i64::from(price) - pool).collect()
    }

    pub(super) fn into_owners(self) -> Vec<u16> {
        self.owners
    }

    /// The vertex behind all nodes.
    pub(super) fn pool(&self) -> usize {
        self.held.len()
    }

    pub(super) fn excess(&self, vertex: usize) -> i64 {
        match self.held.get(vertex) {
            Some(held) => held.len() as i64 - i64::from(self.counted[vertex]),
            None => self.pool_excess,
        }
    }

    /// Whether one more copy of the node can count: excess moves from the node to the pool.
    pub(super) fn can_count_more(&self, node: usize) -> bool {
        self.counted[node] < self.most[node] && self.prices[node] == self.prices[self.pool()]
    }

    /// Whether one copy less of the node can count: excess moves from the pool to the node.
    pub(super) fn can_count_less(&self, node: usize) -> bool {
        self.counted[node] > self.least[node] && self.prices[node] == self.prices[self.pool()]
    }

    pub(super) fn owners_of(&self, partition: usize) -> &[u16] {
        let width = self.problem.width;
        &self.owners[partition * width..(partition + 1) * width]
    }

    /// The zones from which the partition may take a node for one that it gives up.
    pub(super) fn zones_for(&self, partition: usize, from: u16) -> Zones<'_> {
        let zone_of = &self.problem.zone_of;
        let owners = self.owners_of(partition);
        let own = zone_of[usize::from(from)];
        let rule = match self.problem.rule {
            ZoneRule::Spread => Others::Unused,
            ZoneRule::Cover if owners.iter().filter(|&&node| zone_of[usize::from(node)] == own).count() > 1 => {
                Others::All
            }
            ZoneRule::Cover => Others::None,
        };
        Zones { zone_of, owners, own, rule }
    }

    /// Moves excess along tight hops until there is none (true) or no deficit is reached (false).
    fn move_excess(&mut self, search: &mut Search) -> bool {
        self.move_directly();
        search.rebuild(self);
        while let Some(end) = search.find(self) {
            self.follow(search, end);
        }
        (0..=self.pool()).all(|vertex| self.excess(vertex) <= 0)
    }

    /// Moves what one tight hop can move: nearly all there is, each partition being looked at once.
    fn move_directly(&mut self) {
        let sinks: Vec<u16> = (0..self.pool())
            .filter(|&node| self.excess(node) < 0 || self.can_count_more(node))
            .map(|n| n as u16)
            .collect();
        if sinks.is_empty() {
            return;
        }
        for node in 0..self.pool() {
            // From the end, since the last one takes the place of one that leaves.
            for at in (0..self.held[node].len()).rev() {
                if self.excess(node) <= 0 {
                    break;
                }
                let partition = self.held[node][at] as usize;
                let price = self.problem.cost(partition, node as u16) + self.prices[node];
                let zones = self.zones_for(partition, node as u16);
                let takes = |&&to: &&u16| {
                    let open = self.excess(usize::from(to)) < 0
                        || (self.pool_excess < 0 && self.can_count_more(usize::from(to)));
                    open && self.prices[usize::from(to)] <= price
                        && zones.allow(self.problem.zone_of[usize::from(to)])
                        && self.prices[usize::from(to)] + self.problem.cost(partition, to) == price
                        && !self.owners_of(partition).contains(&to)
                };
                let (before, after) = sinks.split_at(crate::mix::mix(partition as u64, 3) as usize % sinks.len());
                if let Some(&to) = after.iter().chain(before).find(takes) {
                    self.hop(partition, node as u16, to);
                    if self.excess(usize::from(to)) > 0 {
                        self.counted[usize::from(to)] += 1;
                        self.pool_excess += 1;
                    }
                }
            }
        }
    }

    /// Moves one copy's excess along the path that a search found.
    fn follow(&mut self, search: &Search, end: usize) {
        let pool = self.pool();
        let mut to = end;
        while let Some((from, partition)) = search.came_from(to) {
            if to == pool {
                self.counted[from] += 1;
                self.pool_excess += 1;
            } else if from == pool {
                self.counted[to] -= 1;
                self.pool_excess -= 1;
            } else {
                self.hop(partition as usize, from as u16, to as u16);
            }
            to = from;
        }
    }

    /// Takes a partition from a node and gives it to another.
    fn hop(&mut self, partition: usize, from: u16, to: u16) {
        let slot = self.slot(partition, from);
        let at = self.place[slot] as usize;
        let held = &mut self.held[usize::from(from)];
        held.swap_remove(at);
        if let Some(&moved) = held.get(at) {
            let slot = self.slot(moved as usize, from);
            self.place[slot] = at as u32;
        }
        self.owners[slot] = to;
        self.place[slot] = self.held[usize::from(to)].len() as u32;
        self.held[usize::from(to)].push(partition as u32);
    }

    fn slot(&self, partition: usize, node: u16) -> usize {
        let at = self.owners_of(partition).iter().position(|&owner| owner == node);
        partition * self.problem.width + at.expect("a node holds what it owns")
    }

    /// Narrows the limits to the whole numbers next to the shares, as far as a change costs nothing: only where the
    /// price is the pool's.
    fn narrow(&mut self) {
        for node in 0..self.pool() {
            if self.prices[node] == self.prices[self.pool()] {
                let target = self.problem.targets[node];
                self.least[node] = self.least[node].max(target.floor() as u32);
                self.most[node] = self.most[node].min(target.ceil() as u32);
            } else {
                self.least[node] = self.counted[node];
                self.most[node] = self.counted[node];
            }
        }
        self.count();
    }

    /// Counts as many copies of every node as its limits allow.
    fn count(&mut self) {
        for (node, counted) in self.counted.iter_mut().enumerate() {
            *counted = (self.held[node].len() as u32).clamp(self.least[node], self.most[node]);
        }
        let counted: i64 = self.counted.iter().map(|&counted| i64::from(counted)).sum();
        self.pool_excess = counted - self.owners.len() as i64;
    }
}

/// The zones that a partition may take a node from, when it gives up another.
pub(super) struct Zones<'a> {
    zone_of: &'a [u16],
    owners: &'a [u16],
    own: u16,
    rule: Others,
}

/// Zones beside that of the node that is given up.
enum Others {
    All,
    Unused,
    None,
}

impl Zones<'_> {
    pub(super) fn allow(&self, zone: u16) -> bool {
        zone == self.own
            || match self.rule {
                Others::All => true,
                Others::None => false,
                Others::Unused => self.owners.iter().all(|&node| self.zone_of[usize::from(node)] != zone),
            }
    }
}
