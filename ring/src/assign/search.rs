//! The search for a shortest path of tight hops from excess to a deficit.
//!
//! Breadth first. A node that gives up a partition can be followed by nearly any other, so hops are not listed: nodes
//! not yet reached stand in groups of equal price and zone, and a group is emptied into the queue at once. Every node
//! is reached once, so a search costs what there is to pass over, not the number of hops.

use super::flow::Flow;

const UNREACHED: u32 = u32::MAX;
/// A hop to or from the pool, which moves no partition; and the mark of a path's start.
const NO_PARTITION: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Group {
    zone: u16,
    start: u32,
    len: u32,
}

pub(super) struct Search {
    /// Nodes by price, zone and number, and their groups: what every search starts from.
    fresh: Groups,
    /// The same without the nodes that were reached.
    left: Groups,
    queue: Vec<u32>,
    /// Per vertex: the vertex before it on the path (itself at the start), or UNREACHED; and the partition that hops.
    before: Vec<u32>,
    partition: Vec<u32>,
}

#[derive(Clone, Default)]
struct Groups {
    nodes: Vec<u16>,
    groups: Vec<Group>,
    /// Per price: the groups that are not empty are `groups[start..end]`.
    of_price: Vec<(u32, u32)>,
}

impl Groups {
    fn copy_from(&mut self, other: &Groups) {
        self.nodes.clone_from(&other.nodes);
        self.groups.clone_from(&other.groups);
        self.of_price.clone_from(&other.of_price);
    }
}

impl Search {
    pub(super) fn new(flow: &Flow<'_>) -> Search {
        let vertices = flow.pool() + 1;
        Search {
            fresh: Groups::default(),
            left: Groups::default(),
            queue: Vec::with_capacity(vertices),
            before: vec![UNREACHED; vertices],
            partition: vec![NO_PARTITION; vertices],
        }
    }

    /// Takes note of the prices.
    pub(super) fn rebuild(&mut self, flow: &Flow<'_>) {
        let fresh = &mut self.fresh;
        let zone_of = &flow.problem.zone_of;
        fresh.nodes = (0..flow.pool()).map(|node| node as u16).collect();
        fresh.nodes.sort_by_key(|&node| (flow.prices[usize::from(node)], zone_of[usize::from(node)], node));
        fresh.groups.clear();
        fresh.of_price.clear();
        let mut last = None;
        for (at, &node) in fresh.nodes.iter().enumerate() {
            let (price, zone) = (flow.prices[usize::from(node)], zone_of[usize::from(node)]);
            let groups = fresh.groups.len() as u32;
            if last != Some((price, zone)) {
                last = Some((price, zone));
                fresh.of_price.resize(price as usize + 1, (groups, groups));
                fresh.of_price[price as usize].1 = groups + 1;
                fresh.groups.push(Group { zone, start: at as u32, len: 0 });
            }
            if let Some(group) = fresh.groups.last_mut() {
                group.len += 1;
            }
        }
    }

    /// Whether the last search came to the vertex.
    pub(super) fn reached(&self, vertex: usize) -> bool {
        self.before[vertex] != UNREACHED
    }

    /// The hop by which the last search came to the vertex; none at the start of the path.
    pub(super) fn came_from(&self, vertex: usize) -> Option<(usize, u32)> {
        let before = self.before[vertex] as usize;
        (before != vertex).then_some((before, self.partition[vertex]))
    }

    /// Finds the deficit that is the fewest hops away from any excess.
    pub(super) fn find(&mut self, flow: &Flow<'_>) -> Option<usize> {
        self.left.copy_from(&self.fresh);
        self.queue.clear();
        self.before.fill(UNREACHED);
        for vertex in 0..=flow.pool() {
            if flow.excess(vertex) > 0 {
                self.reach(vertex, vertex, NO_PARTITION);
            }
        }
        let mut next = 0;
        while let Some(&vertex) = self.queue.get(next) {
            next += 1;
            let vertex = vertex as usize;
            let end = if vertex == flow.pool() { self.expand_pool(flow) } else { self.expand(flow, vertex) };
            if end.is_some() {
                return end;
            }
        }
        None
    }

    fn reach(&mut self, vertex: usize, before: usize, partition: u32) {
        self.before[vertex] = before as u32;
        self.partition[vertex] = partition;
        self.queue.push(vertex as u32);
    }

    fn expand_pool(&mut self, flow: &Flow<'_>) -> Option<usize> {
        for node in 0..flow.pool() {
            if !self.reached(node) && flow.can_count_less(node) {
                self.reach(node, flow.pool(), NO_PARTITION);
                if flow.excess(node) < 0 {
                    return Some(node);
                }
            }
        }
        None
    }

    fn expand(&mut self, flow: &Flow<'_>, from: usize) -> Option<usize> {
        let pool = flow.pool();
        if !self.reached(pool) && flow.can_count_more(from) {
            self.reach(pool, from, NO_PARTITION);
            if flow.excess(pool) < 0 {
                return Some(pool);
            }
        }
        for &partition in &flow.held[from] {
            let end = self.expand_partition(flow, from, partition);
            if end.is_some() {
                return end;
            }
        }
        None
    }

    /// Reaches all that can take the partition from the node by a tight hop, until one has a deficit.
    fn expand_partition(&mut self, flow: &Flow<'_>, from: usize, partition: u32) -> Option<usize> {
        let at = partition as usize;
        let price = flow.problem.cost(at, from as u16) + flow.prices[from];
        let owners = flow.owners_of(at);
        let old = flow.problem.old(at);
        let zones = flow.zones_for(at, from as u16);
        // Former owners cost nothing themselves.
        for &node in old {
            let to = usize::from(node);
            if to < flow.pool()
                && flow.prices[to] == price
                && !self.reached(to)
                && !owners.contains(&node)
                && zones.allow(flow.problem.zone_of[to])
            {
                self.reach(to, from, partition);
                if flow.excess(to) < 0 {
                    return Some(to);
                }
            }
        }
        // All others cost one.
        let price = price.checked_sub(1)? as usize;
        let &(start, mut end) = self.left.of_price.get(price)?;
        let mut index = start;
        while index < end {
            let mut group = self.left.groups[index as usize];
            if !zones.allow(group.zone) {
                index += 1;
                continue;
            }
            let mut at = group.start;
            while at < group.start + group.len {
                let node = self.left.nodes[at as usize];
                let to = usize::from(node);
                let gone = self.reached(to);
                if !gone && (owners.contains(&node) || old.contains(&node)) {
                    at += 1;
                    continue;
                }
                group.len -= 1;
                self.left.nodes.swap(at as usize, (group.start + group.len) as usize);
                if !gone {
                    self.reach(to, from, partition);
                    if flow.excess(to) < 0 {
                        return Some(to);
                    }
                }
            }
            if group.len == 0 {
                end -= 1;
                self.left.groups.swap(index as usize, end as usize);
            } else {
                self.left.groups[index as usize] = group;
                index += 1;
            }
        }
        self.left.of_price[price].1 = end;
        None
    }
}
