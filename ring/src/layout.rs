//! Layouts: which nodes own each partition, and how that table is made, checked and asked.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{
    LayoutError, MEMBERS_MAX, Member, NodeId, PARTITIONS_MAX, PartitionId, REPLICAS_MAX, TEXT_BYTES_MAX, Token,
    assign::{self, NONE, Problem},
};

/// The versioned table partition -> owners, with the members it was made from.
///
/// Every partition has min(replicas, members) owners, no two of them on one node. A layout that was planned here also
/// keeps every node within one partition of its weighted share (see [`Share`]), and has owners of every partition in
/// min(replicas, zones) zones.
///
/// It takes about 10 bytes for each of partitions × owners, and is meant to be shared behind an `Arc`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Layout {
    epoch: u64,
    replicas: u8,
    partitions: u32,
    /// Owners of each partition: min(replicas, members).
    width: usize,
    members: Vec<Member>,
    /// Per member: the number of its zone, by the zones' names in order.
    zone_of: Vec<u16>,
    zones: usize,
    /// `width` indexes into `members` for each partition, in preference order.
    indexes: Vec<u16>,
    /// The same as ids, so that [`Layout::owners`] is a slice.
    owners: Vec<NodeId>,
}

/// What a member holds, beside what it should.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    /// Which member.
    pub node: NodeId,
    /// The partitions of which it is an owner.
    pub held: u32,
    /// Its weighted share, in partitions. All shares add up to partitions × owners.
    ///
    /// They are what is proportional to the weights as far as the other rules allow: of all ways to divide the copies
    /// with at most every partition once on a node, and zones such that every partition can have min(replicas, zones)
    /// of them, the one with the least sum of share² / weight. A node too heavy for its weight is cut at every
    /// partition; the nodes of a zone that is too heavy (or too light) are cut (or raised) together, in proportion to
    /// their weights.
    pub target: f64,
    /// `held` as a part of all copies, from 0 to 1.
    pub fraction: f64,
}

impl Layout {
    /// The first layout of a cluster, at epoch 1. Members may come in any order; the result is the same.
    ///
    /// # Errors
    /// See [`LayoutError`]: `partitions` is not a power of two from 1 to 65,536, `replicas` is not from 1 to 8, or the
    /// members are no members.
    pub fn first(partitions: u32, replicas: u8, members: Vec<Member>) -> Result<Layout, LayoutError> {
        check_partitions(partitions as usize)?;
        check_replicas(replicas)?;
        let members = checked(members)?;
        let problem = Problem::new(partitions as usize, replicas, &members, Vec::new(), 0);
        Ok(Layout::assembled(1, replicas, members, assign::assign(&problem).owners))
    }

    /// The layout of the next epoch, for other members (or other weights, zones or addresses of the same): of all
    /// tables that keep the rules, one that moves the fewest copies from this layout's. Takes some tenths of a second
    /// at most for 1,000 nodes and 16,384 partitions.
    ///
    /// # Errors
    /// See [`LayoutError`]: the members are no members, or there is no further epoch.
    pub fn next(&self, members: Vec<Member>) -> Result<Layout, LayoutError> {
        let epoch = self.epoch.checked_add(1).ok_or(LayoutError::Epoch)?;
        let members = checked(members)?;
        let problem = self.problem(&members);
        Ok(Layout::assembled(epoch, self.replicas, members, assign::assign(&problem).owners))
    }

    /// Rebuilds a layout from its parts as received from the network or from disk. `owners` has, for each partition,
    /// indexes into `members` in preference order.
    ///
    /// Balance and zones are not checked: they are the planner's promises and may differ between its versions.
    ///
    /// # Errors
    /// See [`LayoutError`]: whatever is wrong with the parts. Never panics.
    pub fn from_parts(
        epoch: u64,
        replicas: u8,
        members: Vec<Member>,
        owners: Vec<Vec<u16>>,
    ) -> Result<Layout, LayoutError> {
        if epoch == 0 {
            return Err(LayoutError::Epoch);
        }
        check_partitions(owners.len())?;
        check_replicas(replicas)?;
        let given: Vec<NodeId> = members.iter().map(|member| member.id).collect();
        let members = checked(members)?;
        let expected = members.len().min(usize::from(replicas));
        let mut indexes = Vec::with_capacity(owners.len() * expected);
        for (owners, partition) in owners.into_iter().zip((0..=u16::MAX).map(PartitionId)) {
            if owners.len() != expected {
                return Err(LayoutError::OwnerCount { partition, expected, found: owners.len() });
            }
            for (at, &index) in owners.iter().enumerate() {
                if owners[..at].contains(&index) {
                    return Err(LayoutError::OwnerTwice { partition, index });
                }
                let id = given.get(usize::from(index)).ok_or(LayoutError::OwnerIndex { partition, index })?;
                let sorted = position(&members, *id).ok_or(LayoutError::OwnerIndex { partition, index })?;
                indexes.push(sorted as u16);
            }
        }
        Ok(Layout::assembled(epoch, replicas, members, indexes))
    }

    /// The version of the layout, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many owners a partition should have. It has fewer where there are fewer members.
    pub fn replicas(&self) -> usize {
        usize::from(self.replicas)
    }

    /// Q, the number of partitions: a power of two from 1 to 65,536.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The members, sorted by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        position(&self.members, id).map(|at| &self.members[at])
    }

    /// The member with this name. Looks at all members.
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The owners of a partition, in preference order. None for a partition that does not exist.
    #[inline]
    pub fn owners(&self, p: PartitionId) -> &[NodeId] {
        let start = p.index() * self.width;
        self.owners.get(start..start + self.width).unwrap_or_default()
    }

    /// The owners of a partition as indexes into [`Layout::members`], in preference order, for the wire.
    pub fn owner_indexes(&self, p: PartitionId) -> impl Iterator<Item = u16> {
        self.indexes_of(p.index()).iter().copied()
    }

    /// Whether the node is an owner of the partition.
    #[inline]
    pub fn owns(&self, node: NodeId, p: PartitionId) -> bool {
        self.owners(p).contains(&node)
    }

    /// The partitions of which the node is an owner, in order. Looks at all partitions.
    pub fn owned_by(&self, node: NodeId) -> impl Iterator<Item = PartitionId> {
        self.partition_ids().filter(move |&p| self.owns(node, p))
    }

    /// All partitions, in order.
    pub fn partition_ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions).map(|p| PartitionId(p as u16))
    }

    /// The partition that a key belongs to.
    #[inline]
    pub fn partition_of(&self, bucket: &[u8], key: &[u8]) -> PartitionId {
        Token::of(bucket, key).partition(self.partitions)
    }

    /// Per member, in the order of [`Layout::members`]: what it holds and what it should hold.
    pub fn shares(&self) -> Vec<Share> {
        let problem = self.problem(&self.members);
        let mut held = vec![0_u32; self.members.len()];
        for &index in &self.indexes {
            held[usize::from(index)] += 1;
        }
        let copies = self.indexes.len() as f64;
        let of = |((member, held), target): ((&Member, u32), &assign::Target)| Share {
            node: member.id,
            held,
            target: target.as_f64(),
            fraction: f64::from(held) / copies,
        };
        self.members.iter().zip(held).zip(&problem.targets).map(of).collect()
    }

    /// What there is to decide about a layout of `members` (checked, sorted) that follows this one.
    pub(crate) fn problem(&self, members: &[Member]) -> Problem {
        let stays: Vec<u16> =
            self.members.iter().map(|m| position(members, m.id).map_or(NONE, |at| at as u16)).collect();
        let old = self.indexes.iter().map(|&index| stays[usize::from(index)]).collect();
        Problem::new(self.partitions as usize, self.replicas, members, old, self.width)
    }

    /// Puts a layout together from parts that have been checked: members sorted, indexes in range.
    pub(crate) fn assembled(epoch: u64, replicas: u8, members: Vec<Member>, indexes: Vec<u16>) -> Layout {
        let width = members.len().min(usize::from(replicas));
        let (zone_of, zones) = assign::zones_of(&members);
        let owners = indexes.iter().map(|&index| members[usize::from(index)].id).collect();
        let partitions = (indexes.len() / width) as u32;
        Layout { epoch, replicas, partitions, width, members, zone_of, zones, indexes, owners }
    }

    /// The owners of a partition as indexes; none for one that does not exist.
    #[inline]
    pub(crate) fn indexes_of(&self, partition: usize) -> &[u16] {
        let start = partition * self.width;
        self.indexes.get(start..start + self.width).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn zone_of(&self, index: u16) -> u16 {
        self.zone_of[usize::from(index)]
    }

    #[inline]
    pub(crate) fn zones(&self) -> usize {
        self.zones
    }
}

/// Sorts members by id, and checks them.
pub(crate) fn checked(mut members: Vec<Member>) -> Result<Vec<Member>, LayoutError> {
    if members.is_empty() {
        return Err(LayoutError::NoMembers);
    }
    if members.len() > MEMBERS_MAX {
        return Err(LayoutError::TooManyMembers(members.len()));
    }
    members.sort_by_key(|member| member.id);
    if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(LayoutError::DuplicateId(pair[0].id));
    }
    for member in &members {
        if member.name.is_empty() {
            return Err(LayoutError::EmptyName(member.id));
        }
        if [&member.name, &member.addr, &member.zone].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(LayoutError::TextTooLong(member.id));
        }
        if member.weight == 0 {
            return Err(LayoutError::ZeroWeight(member.name.clone()));
        }
    }
    let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(LayoutError::DuplicateName(pair[0].to_owned()));
    }
    Ok(members)
}

fn check_partitions(partitions: usize) -> Result<(), LayoutError> {
    let good = partitions.is_power_of_two() && partitions <= PARTITIONS_MAX as usize;
    if good { Ok(()) } else { Err(LayoutError::Partitions(partitions)) }
}

fn check_replicas(replicas: u8) -> Result<(), LayoutError> {
    if (1..=REPLICAS_MAX).contains(&replicas) { Ok(()) } else { Err(LayoutError::Replicas(replicas)) }
}

fn position(members: &[Member], id: NodeId) -> Option<usize> {
    members.binary_search_by_key(&id, |member| member.id).ok()
}

/// A layout as it is written down: no derived fields, checked when it is read.
#[derive(Serialize, Deserialize)]
struct Parts {
    epoch: u64,
    replicas: u8,
    members: Vec<Member>,
    owners: Vec<Vec<u16>>,
}

impl From<Layout> for Parts {
    fn from(layout: Layout) -> Parts {
        let owners = layout.indexes.chunks(layout.width).map(<[u16]>::to_vec).collect();
        Parts { epoch: layout.epoch, replicas: layout.replicas, members: layout.members, owners }
    }
}

impl TryFrom<Parts> for Layout {
    type Error = LayoutError;

    fn try_from(parts: Parts) -> Result<Layout, LayoutError> {
        Layout::from_parts(parts.epoch, parts.replicas, parts.members, parts.owners)
    }
}
