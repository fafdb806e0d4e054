//! Where a request goes: to an owner of its partition, else to anybody who is up (every node forwards).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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

impl Routes {
    /// Routes for a layout: links are kept where node and address are those of
    /// `former` routes, or the address is a seed's.
    pub(crate) fn new(layout: Layout, seeds: Vec<Arc<Link>>, former: Option<&Routes>, options: LinkOptions) -> Routes {
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

    /// The best link for a request: neither down nor in `tried`. `turn` counts on, and
    /// spreads over the nodes what has no owner to go to.
    pub(crate) fn choose(&self, target: Target<'_>, tried: &[Arc<Link>], turn: &AtomicUsize) -> Option<&Arc<Link>> {
        let fits = |link: &&Arc<Link>| !tried.iter().any(|other| Arc::ptr_eq(other, link)) && !link.is_down();
        let owners = |partition| self.layout.owners(partition).iter().filter_map(|node| self.links.get(node));
        let others = || {
            let start = turn.fetch_add(1, Relaxed) % self.links.len().max(1);
            self.links.values().skip(start).chain(self.links.values().take(start)).chain(&self.seeds).find(fits)
        };
        match target {
            Target::Key(bucket, key) => owners(self.layout.partition_of(bucket, key)).find(fits).or_else(others),
            Target::Owners(partition) => owners(partition).find(fits),
            Target::Any => others(),
        }
    }
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
