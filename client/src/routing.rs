//! Where a request goes: to the first owner of its partition, unless that one is down, silent or clearly slower than
//! another; then to the next, else to anybody who is up (every node forwards). Nobody waits for a node that is just being
//! connected to while another one is up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use dynode_ring::{Layout, Member, NodeId, PartitionId};

use crate::Error;
use crate::link::{Link, LinkOptions};
use crate::wire::LayoutIs;

/// A layout, and the links to its members.
pub(crate) struct Routes {
    pub(crate) layout: Arc<Layout>,
    links: BTreeMap<NodeId, Arc<Link>>,
    /// Where the client was told to start: the last resort.
    seeds: Vec<Arc<Link>>,
}

/// Who may take a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// Any node, an owner of the key's partition first.
    Key(&'a [u8], &'a [u8]),
    /// Owners of the partition only.
    Owners(PartitionId),
    /// Any node.
    Any,
}

/// Where a request goes.
pub(crate) struct Choice<'a> {
    pub(crate) link: &'a Arc<Link>,
    /// The first owner, when it is connected and yet avoided.
    pub(crate) avoided: Option<&'a Arc<Link>>,
}

impl Routes {
    /// Routes for a layout: links are kept where node and address are those of
    /// `former` routes, or the address is a seed's.
    pub(crate) fn new(layout: Layout, seeds: Vec<Arc<Link>>, former: Option<&Routes>, options: &LinkOptions) -> Routes {
        let link = |member: &Member| {
            let known =
                former.and_then(|routes| routes.links.get(&member.id)).filter(|link| link.addr() == member.addr);
            match known.or_else(|| seeds.iter().find(|seed| seed.addr() == member.addr)) {
                Some(link) => link.clone(),
                None => Arc::new(Link::new(&member.addr, Some(member.id), options)),
            }
        };
        let links = layout.members().iter().map(|member| (member.id, link(member))).collect();
        Routes { layout: Arc::new(layout), links, seeds }
    }

    /// The seeds, in the order given.
    pub(crate) fn seeds(&self) -> &[Arc<Link>] {
        &self.seeds
    }

    /// The link to a member.
    pub(crate) fn link(&self, node: NodeId) -> Option<&Arc<Link>> {
        self.links.get(&node)
    }

    /// The best link for a request that is not in `tried`. `turn` counts on, and spreads over the nodes what has no owner
    /// to go to.
    pub(crate) fn choose(
        &self,
        target: Target<'_>,
        tried: &[Arc<Link>],
        turn: &AtomicUsize,
        now: Instant,
    ) -> Option<Choice<'_>> {
        let fits = |link: &&Arc<Link>| !tried.iter().any(|other| Arc::ptr_eq(other, link));
        let ids = self.owner_ids(target);
        let first = self.owners(ids).next().filter(fits);
        if let Some(link) = first.filter(|link| is_well(link, now) && !link.health().estimate().may_be_slow()) {
            return Some(Choice { link, avoided: None });
        }
        self.owners(ids).for_each(|owner| owner.begin());
        let link = match self.best_owner(ids, fits, now) {
            Some(link) => link,
            None => {
                let start = turn.fetch_add(1, Relaxed) % self.links.len().max(1);
                let all = || self.links.values().skip(start).chain(self.links.values().take(start)).chain(&self.seeds);
                let others = || all().filter(|_| !matches!(target, Target::Owners(_))).filter(fits);
                let owners = || self.owners(ids).filter(fits);
                let any = || owners().chain(others());
                // A hop more is better than to wait for a greeting, and that better than to wait for one who is silent.
                let starting = |link: &&Arc<Link>| !link.health().is_up() && !link.is_down();
                others()
                    .find(|link| is_well(link, now))
                    .or_else(|| any().find(starting))
                    .or_else(|| any().find(|link| !link.is_down()))?
            }
        };
        let avoided = first.filter(|first| first.health().is_up() && !Arc::ptr_eq(first, link));
        Some(Choice { link, avoided })
    }

    /// Where else to send a read whose answer is late: to another owner that is up and well.
    pub(crate) fn beside(
        &self,
        target: Target<'_>,
        tried: &[Arc<Link>],
        late: &Arc<Link>,
        now: Instant,
    ) -> Option<&Arc<Link>> {
        let ids = self.owner_ids(target);
        self.owners(ids).for_each(|owner| owner.begin());
        let fits = |link: &&Arc<Link>| !Arc::ptr_eq(link, late) && !tried.iter().any(|other| Arc::ptr_eq(other, link));
        self.best_owner(ids, fits, now)
    }

    /// The first owner that is well and not slow beside the fastest one; if all that fit are slow, the first of them.
    fn best_owner(&self, ids: &[NodeId], fits: impl Fn(&&Arc<Link>) -> bool, now: Instant) -> Option<&Arc<Link>> {
        let well = || self.owners(ids).filter(|link| is_well(link, now));
        let mean_us = |link: &Arc<Link>| link.health().estimate().mean_us;
        let best_us = well().map(mean_us).filter(|&mean_us| mean_us > 0).min().unwrap_or(0);
        let fitting = || well().filter(|link| fits(link));
        fitting().find(|link| !link.health().estimate().is_slow_beside(best_us)).or_else(|| fitting().next())
    }

    /// The owners, in their order.
    fn owner_ids(&self, target: Target<'_>) -> &[NodeId] {
        match target {
            Target::Key(bucket, key) => self.layout.owners(self.layout.partition_of(bucket, key)),
            Target::Owners(partition) => self.layout.owners(partition),
            Target::Any => &[],
        }
    }

    fn owners(&self, ids: &[NodeId]) -> impl Iterator<Item = &Arc<Link>> {
        ids.iter().filter_map(|node| self.links.get(node))
    }
}

/// Connected, and not silent.
fn is_well(link: &Arc<Link>, now: Instant) -> bool {
    link.health().is_up() && !link.health().is_silent(now)
}

/// The layout in an answer.
pub(crate) fn layout_of(answer: LayoutIs) -> Result<Layout, Error> {
    let member = |m: crate::wire::MemberIs| Member {
        id: NodeId(m.node),
        name: m.name,
        addr: m.addr,
        zone: m.zone,
        weight: m.weight,
    };
    let members = answer.members.into_iter().map(member).collect();
    Layout::from_parts(answer.epoch, answer.replicas, members, answer.owners)
        .map_err(|e| Error::Unexpected { detail: format!("a layout that cannot be: {e}") })
}
