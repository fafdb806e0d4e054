//! Changes of ownership that operators ask for, and what the members are once some of them are done.

use std::collections::BTreeSet;

use dynode_client::wire::{ChangeId, MemberIs};
use dynode_ring::{Layout, Member, NodeId};

/// One change that an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A guest becomes a member.
    Join(Member),
    /// A member leaves, and hands over what it has.
    Leave(NodeId),
    /// A member, which may be dead, gives way to a guest.
    Replace {
        /// The member.
        old: NodeId,
        /// The guest.
        new: Member,
    },
    /// A dead member is no longer one; nobody follows it.
    Remove(NodeId),
    /// A member's weight or zone is another.
    Set {
        /// The member.
        node: NodeId,
        /// Its weight from then on.
        weight: Option<u32>,
        /// Its zone from then on.
        zone: Option<String>,
    },
}

/// What becomes of a layout's members when changes are made.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The members from then on.
    pub members: Vec<Member>,
    /// The changes that are made, or need not be made any more.
    pub done: Vec<ChangeId>,
    /// Those that cannot be made now, each with the reason.
    pub left: Vec<(ChangeId, String)>,
}

impl Op {
    /// The node that it is about: a guest's name, or a member's id.
    pub fn is_about(&self, node: NodeId) -> bool {
        match self {
            Op::Join(member) => member.id == node,
            Op::Leave(id) | Op::Remove(id) => *id == node,
            Op::Replace { old, new } => *old == node || new.id == node,
            Op::Set { node: id, .. } => *id == node,
        }
    }

    /// The guest that it makes a member.
    pub fn newcomer(&self) -> Option<&Member> {
        match self {
            Op::Join(member) | Op::Replace { new: member, .. } => Some(member),
            _ => None,
        }
    }

    /// For people: what would be done.
    pub fn describe(&self, layout: &Layout) -> String {
        let name = |id: &NodeId| layout.member(*id).map_or_else(|| format!("node {id}"), |m| m.name.clone());
        match self {
            Op::Join(m) => format!("join {} at {}, zone {}, weight {}", m.name, m.addr, m.zone, m.weight),
            Op::Leave(node) => format!("leave {}", name(node)),
            Op::Replace { old, new } => format!("replace {} by {} at {}", name(old), new.name, new.addr),
            Op::Remove(node) => format!("remove {}", name(node)),
            Op::Set { node, weight, zone } => {
                let weight = weight.map(|w| format!(" weight {w}")).unwrap_or_default();
                let zone = zone.as_ref().map(|z| format!(" zone {z}")).unwrap_or_default();
                format!("set {}{weight}{zone}", name(node))
            }
        }
    }

    /// What it does, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Join(_) => "join",
            Op::Leave(_) => "leave",
            Op::Replace { .. } => "replace",
            Op::Remove(_) => "remove",
            Op::Set { .. } => "set",
        }
    }
}

/// Makes the changes in the order of their ids: first those that bring members or change them, then those that only take
/// some away. Equal inputs give equal members on every node.
pub fn apply<'a>(layout: &Layout, changes: impl IntoIterator<Item = (&'a ChangeId, &'a Op)>) -> Outcome {
    let mut out = Outcome { members: layout.members().to_vec(), ..Outcome::default() };
    let (removals, others): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|(_, op)| matches!(op, Op::Leave(_) | Op::Remove(_)));
    let mut touched = BTreeSet::new();
    for (id, op) in others.into_iter().chain(removals) {
        match make(layout, &mut out.members, &mut touched, op) {
            Ok(()) => out.done.push(*id),
            Err(why) => out.left.push((*id, why)),
        }
    }
    out.members.sort_by_key(|member| member.id);
    out
}

fn make(layout: &Layout, members: &mut Vec<Member>, touched: &mut BTreeSet<NodeId>, op: &Op) -> Result<(), String> {
    let at = |members: &[Member], id: NodeId| members.iter().position(|m| m.id == id);
    match op {
        Op::Join(new) => match at(members, new.id) {
            Some(found) if members[found] == *new => Ok(()),
            Some(_) => Err(format!("`{}` is a member already", new.name)),
            None => {
                takes_no_name(members, new, None)?;
                members.push(new.clone());
                Ok(())
            }
        },
        Op::Replace { old, new } => {
            let Some(found) = at(members, *old) else {
                let is_done = at(members, new.id).is_some();
                return if is_done { Ok(()) } else { Err(format!("node {old} is not a member any more")) };
            };
            if at(members, new.id).is_some() {
                return Err(format!("`{}` is a member already", new.name));
            }
            takes_no_name(members, new, Some(*old))?;
            members[found] = new.clone();
            Ok(())
        }
        Op::Leave(node) | Op::Remove(node) => {
            let Some(found) = at(members, *node) else { return Ok(()) };
            if members.len() <= layout.replicas().min(layout.members().len()) {
                let detail = "more than there would be left; let another node join, or replace it";
                let name = &members[found].name;
                return Err(format!("without `{name}` {} copies would need {detail}", layout.replicas()));
            }
            members.remove(found);
            Ok(())
        }
        Op::Set { node, weight, zone } => {
            let Some(found) = at(members, *node) else { return Err(format!("node {node} is not a member")) };
            if !touched.insert(*node) {
                return Err(format!("`{}` is changed by another staged change already", members[found].name));
            }
            members[found].weight = weight.unwrap_or(members[found].weight);
            if let Some(zone) = zone {
                members[found].zone.clone_from(zone);
            }
            Ok(())
        }
    }
}

fn takes_no_name(members: &[Member], new: &Member, but: Option<NodeId>) -> Result<(), String> {
    match members.iter().any(|m| m.name == new.name && Some(m.id) != but) {
        true => Err(format!("another member is called `{}`", new.name)),
        false => Ok(()),
    }
}

/// A member as it is told.
pub(crate) fn member_is(member: &Member) -> MemberIs {
    let Member { id, name, addr, zone, weight } = member.clone();
    MemberIs { node: id.0, name, addr, zone, weight }
}

/// A member as it was told, not checked yet.
pub(crate) fn member_of(told: &MemberIs) -> Member {
    let MemberIs { node, name, addr, zone, weight } = told.clone();
    Member { id: NodeId(node), name, addr, zone, weight }
}
