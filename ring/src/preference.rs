//! Preference lists: whom to ask about a partition, in which order, for given liveness.

use crate::{Layout, NodeId, PartitionId, REPLICAS_MAX, mix::mix};

const OWNERS_MAX: usize = REPLICAS_MAX as usize;

/// How many further partitions' owners are looked at for stand-ins before all members are: enough to find a live node
/// of a zone that has a third of them, all but always; and a bound for the time of a list.
const WALK_PARTITIONS: usize = 8;

/// After so many dead nodes in the zones that are preferred, those zones are taken to be down as a whole. A wrong guess
/// costs a stand-in in a zone that has an owner already; two hold a list under 100 ns when a zone is down.
const DEAD_MAX: u32 = 2;

/// A partition's owners, reachable or not, then reachable stand-ins, as many as owners are not reachable (or fewer,
/// where there are no more). Made by [`Layout::preference_list`]; holds everything inline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreferenceList {
    owners: [NodeId; OWNERS_MAX],
    stand_ins: [NodeId; OWNERS_MAX],
    owner_count: u8,
    stand_in_count: u8,
    /// Bit n: the n-th owner is reachable.
    live: u8,
}

impl PreferenceList {
    /// All owners, in preference order.
    pub fn owners(&self) -> &[NodeId] {
        &self.owners[..usize::from(self.owner_count)]
    }

    /// The owners that are live, in preference order. The first of them coordinates by default.
    pub fn reachable_owners(&self) -> impl Iterator<Item = NodeId> {
        let live = self.live;
        self.owners().iter().enumerate().filter(move |(at, _)| live & (1 << at) != 0).map(|(_, &node)| node)
    }

    /// The nodes that take writes in place of owners that are not live, in order. All of them are live.
    pub fn stand_ins(&self) -> &[NodeId] {
        &self.stand_ins[..usize::from(self.stand_in_count)]
    }

    /// Everybody to send a write to, in order: the live owners, then the stand-ins.
    pub fn reachable(&self) -> impl Iterator<Item = NodeId> {
        self.reachable_owners().chain(self.stand_ins().iter().copied())
    }
}

impl Layout {
    /// The preference list of a partition, for given liveness. Allocates nothing; takes less than 100 ns beside the
    /// calls of `live`, which is asked about every owner, and about further nodes only when an owner is not live.
    ///
    /// Stand-ins come from a walk over other partitions, each partition's in an order of its own, so that what a dead
    /// node held is spread over all others by their weights (Dynamo, section 4.6, walks the ring in one order). A node
    /// in a zone without a live owner or an earlier stand-in is preferred. In the end all members are tried, so that a
    /// live node that is no owner is always found; when nearly all nodes are dead, that takes a nanosecond or two for
    /// each.
    ///
    /// A partition that does not exist has an empty list.
    #[inline]
    pub fn preference_list(&self, p: PartitionId, live: impl Fn(NodeId) -> bool) -> PreferenceList {
        let owners = self.owners(p);
        let mut list = PreferenceList {
            owners: [NodeId(0); OWNERS_MAX],
            stand_ins: [NodeId(0); OWNERS_MAX],
            owner_count: owners.len() as u8,
            stand_in_count: 0,
            live: 0,
        };
        for (at, &owner) in owners.iter().enumerate() {
            list.owners[at] = owner;
            list.live |= u8::from(live(owner)) << at;
        }
        if (list.live.count_ones() as usize) < owners.len() {
            let mut walk = Walk::new(self, p, list.live);
            walk.choose(&live);
            for &index in walk.chosen.as_slice() {
                list.stand_ins[usize::from(list.stand_in_count)] = self.members()[usize::from(index)].id;
                list.stand_in_count += 1;
            }
        }
        list
    }
}

/// The search for the stand-ins of one partition.
struct Walk<'a> {
    layout: &'a Layout,
    partition: PartitionId,
    owners: &'a [u16],
    /// The zones of live owners and of the stand-ins chosen so far.
    zones: Few<{ 2 * OWNERS_MAX }>,
    wanted: usize,
    chosen: Few<OWNERS_MAX>,
    /// Live nodes that were passed over for their zone.
    spare: Few<OWNERS_MAX>,
}

impl<'a> Walk<'a> {
    fn new(layout: &'a Layout, partition: PartitionId, live: u8) -> Walk<'a> {
        let mut zones = Few::new();
        let owners = layout.indexes_of(partition.index());
        for (at, &owner) in owners.iter().enumerate() {
            if live & (1 << at) != 0 {
                zones.add(layout.zone_of(owner));
            }
        }
        let wanted = owners.len() - live.count_ones() as usize;
        Walk { layout, partition, owners, zones, wanted, chosen: Few::new(), spare: Few::new() }
    }

    fn choose(&mut self, live: &impl Fn(NodeId) -> bool) {
        let seed = mix(self.partition.index() as u64, 0);
        self.walk(seed, live);
        self.use_spare();
        if self.chosen.len() == self.wanted {
            return;
        }
        // So many nodes are dead that zones do not matter any more.
        let members = self.layout.members();
        let start = (seed >> 32) as usize % members.len();
        for candidate in (start..members.len()).chain(0..start) {
            if live(members[candidate].id) && !self.is_owner(candidate as u16) {
                self.chosen.add(candidate as u16);
                if self.chosen.len() == self.wanted {
                    return;
                }
            }
        }
    }

    /// Looks at the owners of other partitions, until there are enough nodes in zones of their own.
    fn walk(&mut self, seed: u64, live: &impl Fn(NodeId) -> bool) {
        let partitions = self.layout.partitions() as usize;
        // An odd step visits all of a power of two.
        let step = seed as usize | 1;
        let mut at = self.partition.index();
        let mut dead = 0;
        for _ in 0..WALK_PARTITIONS.min(partitions - 1) {
            at = at.wrapping_add(step) & (partitions - 1);
            let ids = self.layout.owners(PartitionId(at as u16));
            for (&candidate, &id) in self.layout.indexes_of(at).iter().zip(ids) {
                let zone = self.layout.zone_of(candidate);
                // Where every zone has a live owner or a stand-in, no node is better than another.
                let is_preferred = !self.zones.contains(zone) || self.zones.len() == self.layout.zones();
                let enough = self.chosen.len() + self.spare.len() >= self.wanted;
                if (enough && !is_preferred) || self.is_owner(candidate) || self.is_known(candidate) {
                    continue;
                }
                if !live(id) {
                    dead += u32::from(is_preferred);
                    if enough && dead >= DEAD_MAX {
                        return;
                    }
                    continue;
                }
                if is_preferred {
                    self.chosen.add(candidate);
                    self.zones.add(zone);
                    if self.chosen.len() == self.wanted {
                        return;
                    }
                } else {
                    self.spare.add(candidate);
                }
            }
        }
    }

    fn is_owner(&self, node: u16) -> bool {
        self.owners.contains(&node)
    }

    fn is_known(&self, node: u16) -> bool {
        self.chosen.contains(node) || self.spare.contains(node)
    }

    fn use_spare(&mut self) {
        for &node in self.spare.as_slice() {
            if self.chosen.len() < self.wanted {
                self.chosen.add(node);
            }
        }
    }
}

/// A small set in the order of insertion, inline.
struct Few<const MAX: usize> {
    items: [u16; MAX],
    len: usize,
}

impl<const MAX: usize> Few<MAX> {
    fn new() -> Self {
        Few { items: [0; MAX], len: 0 }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn as_slice(&self) -> &[u16] {
        &self.items[..self.len]
    }

    fn contains(&self, item: u16) -> bool {
        self.as_slice().contains(&item)
    }

    fn add(&mut self, item: u16) {
        if !self.contains(item) {
            self.items[self.len] = item;
            self.len += 1;
        }
    }
}
