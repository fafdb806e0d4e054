//! What operators ask for, and what they are told: any node takes it.

use std::sync::Arc;

use dynode_client::wire::{ChangeId, ErrorCode, Failure, Operator};
use dynode_ring::{Member, NodeId, TEXT_BYTES_MAX};
use rand::Rng;
use serde_json::{Value, json};

use super::change::{Op, apply, member_of};
use super::decision::{Base, Decision, forced_epoch};
use super::paxos::majority;
use super::{Agree, Outcome};
use crate::protocol::{Effects, Liveness, Observation, Time, failure};

/// What the node knows beside what is agreed on.
pub struct Circumstances<'a> {
    /// Every partition is stable, and the next layout may be chosen.
    pub settled: bool,
    /// What a member is taken for.
    pub liveness: &'a dyn Fn(NodeId) -> Liveness,
}

impl Agree {
    /// Does what an operator asks.
    ///
    /// # Errors
    ///
    /// What cannot be done, and why. Nothing was changed then.
    pub fn operate(
        &mut self,
        now: Time,
        what: &Operator,
        given: &Circumstances<'_>,
        out: &mut Effects,
    ) -> Result<(), Failure> {
        match what {
            Operator::Show => Ok(()),
            Operator::Commit { changes, force } => self.commit(now, changes, *force, given, out),
            Operator::Cancel { changes } => self.cancel(now, changes),
            other => {
                let op = self.op_of(other, given)?;
                self.stage(now, op)
            }
        }
    }

    /// The change that is meant, with members for names.
    fn op_of(&self, what: &Operator, given: &Circumstances<'_>) -> Result<Op, Failure> {
        let is_down = |member: &Member| member.id != self.own && (given.liveness)(member.id) == Liveness::Down;
        Ok(match what {
            Operator::Join(told) => Op::Join(checked(member_of(told))?),
            Operator::Leave(name) => match self.named(name)? {
                member if is_down(member) => {
                    return Err(refused(format!(
                        "`{name}` is down, and cannot hand over what it has: use `remove {name}`, or `replace` it"
                    )));
                }
                member => Op::Leave(member.id),
            },
            Operator::Remove(name) => match self.named(name)? {
                member if !is_down(member) => {
                    return Err(refused(format!(
                        "`{name}` is not down: use `leave {name}`, so that it hands over first"
                    )));
                }
                member => Op::Remove(member.id),
            },
            Operator::Replace { old, new } => Op::Replace { old: self.named(old)?.id, new: checked(member_of(new))? },
            Operator::Set { name, weight, zone } => {
                let node = self.named(name)?.id;
                if weight.is_none() && zone.is_none() {
                    return Err(refused("say what is to be changed: a weight, a zone, or both"));
                }
                if *weight == Some(0) || zone.as_ref().is_some_and(|zone| zone.len() > TEXT_BYTES_MAX) {
                    return Err(refused("a weight is at least 1, and a zone has at most 255 bytes"));
                }
                Op::Set { node, weight: *weight, zone: zone.clone() }
            }
            Operator::Show | Operator::Commit { .. } | Operator::Cancel { .. } => return Err(refused("no change")),
        })
    }

    fn named(&self, name: &str) -> Result<&Member, Failure> {
        let members = self.layout().members();
        self.layout().member_named(name).ok_or_else(|| {
            let names: Vec<&str> = members.iter().take(20).map(|m| m.name.as_str()).collect();
            let more = if members.len() > names.len() { ", …" } else { "" };
            refused(format!("no member is called `{name}`; there are {}{more}", names.join(", ")))
        })
    }

    fn stage(&mut self, now: Time, op: Op) -> Result<(), Failure> {
        if self.staged.wanted().any(|(_, entry)| entry.op == op) {
            return Ok(()); // asked for twice is wanted once
        }
        if !self.staged.has_room() {
            return Err(refused("too many changes are staged: commit or cancel some first"));
        }
        let id = self.new_change_id();
        // What cannot be made beside what is staged already would only wait.
        let staged = self.staged.wanted().map(|(id, entry)| (id, &entry.op));
        let outcome = apply(self.layout(), staged.chain([(&id, &op)]));
        if let Some((_, why)) = outcome.left.into_iter().find(|(left, _)| *left == id) {
            return Err(refused(why));
        }
        if outcome.members == self.layout().members() && op.newcomer().is_some() {
            return Err(refused(format!("nothing to do: {}", op.describe(self.layout()))));
        }
        self.staged.stage(id, op);
        self.staged_changed(now);
        Ok(())
    }

    pub(super) fn new_change_id(&mut self) -> ChangeId {
        ChangeId { epoch: self.layout().epoch(), number: self.rng.next_u64() }
    }

    fn commit(
        &mut self,
        now: Time,
        changes: &[ChangeId],
        force: bool,
        given: &Circumstances<'_>,
        out: &mut Effects,
    ) -> Result<(), Failure> {
        let epoch = self.layout().epoch();
        if changes.is_empty() {
            return Err(refused("nothing is staged: there is nothing to commit"));
        }
        if changes.iter().any(|id| !self.staged.wanted().any(|(wanted, _)| wanted == id)) {
            let detail = "a change that was planned is not staged any more: done or cancelled; look at the plan again";
            return Err(refused(detail));
        }
        if force {
            return self.force(now, changes, out);
        }
        changes.iter().for_each(|id| {
            self.staged.commit(id, epoch);
        });
        self.staged_changed(now);
        self.propose_now(now, given.settled, out);
        Ok(())
    }

    /// An operator decides without a majority.
    fn force(&mut self, now: Time, changes: &[ChangeId], out: &mut Effects) -> Result<(), Failure> {
        let (voters, needed) = (self.voters(), majority(self.layout().members().len()));
        if voters >= needed {
            return Err(refused(format!(
                "{voters} members can be reached and may choose, and {needed} are enough: commit without force"
            )));
        }
        let wanted = self.staged.wanted().filter(|(id, _)| changes.contains(id)).map(|(id, entry)| (id, &entry.op));
        let Outcome { members, done, left } = apply(self.layout(), wanted);
        if let Some((_, why)) = left.first() {
            return Err(refused(why.clone()));
        }
        let planned = self.layout().next(members).map_err(|e| refused(e.to_string()))?;
        let owners = planned.partition_ids().map(|p| planned.owner_indexes(p).collect()).collect();
        let (epoch, replicas) = (forced_epoch(self.layout().epoch()), planned.replicas() as u8);
        let layout = dynode_ring::Layout::from_parts(epoch, replicas, planned.members().to_vec(), owners);
        let layout = layout.map_err(|e| refused(e.to_string()))?;
        let base = Base { by: self.own, epoch: self.layout().epoch(), hash: self.decision.hash() };
        out.observe(Observation::Forced { epoch: base.epoch, forced: epoch });
        self.stood.insert(self.own); // what comes of it is new, and this node has not voted under it
        self.decide(now, Arc::new(Decision::new(self.layout(), layout, done, Some(base))), out);
        Ok(())
    }

    fn cancel(&mut self, now: Time, changes: &[ChangeId]) -> Result<(), Failure> {
        if changes.is_empty() {
            return Err(refused("nothing is staged: there is nothing to cancel"));
        }
        let cancelled = changes.iter().filter(|id| self.staged.cancel(id)).count();
        if cancelled == 0 {
            return Err(refused("none of these changes is staged any more: they are done, or were cancelled before"));
        }
        self.staged_changed(now);
        Ok(())
    }

    /// Members that can be reached from here, this node included.
    fn reachable(&self) -> usize {
        let is_there = |member: &&Member| member.id == self.own || self.up.contains(&member.id);
        self.layout().members().iter().filter(is_there).count()
    }

    /// Those among them that take part in choosing.
    fn voters(&self) -> usize {
        let members = self.layout().members();
        let may_vote = |id: NodeId| match id == self.own {
            true => self.knows_its_votes(),
            false => self.up.contains(&id) && !self.abstaining.contains(&id),
        };
        members.iter().filter(|member| may_vote(member.id)).count()
    }

    /// How things stand, for people and programs.
    pub fn report(&self, given: &Circumstances<'_>) -> Value {
        let layout = self.layout();
        let wanted = || self.staged.wanted().map(|(id, entry)| (id, &entry.op));
        let Outcome { members, left, .. } = apply(layout, wanted());
        let changes: Vec<Value> = self
            .staged
            .wanted()
            .map(|(id, entry)| {
                let problem = left.iter().find(|(left, _)| left == id).map(|(_, why)| why);
                json!({
                    "id": written(id),
                    "change": entry.op.kind(),
                    "text": entry.op.describe(layout),
                    "committed": entry.committed == Some(layout.epoch()),
                    "problem": problem,
                })
            })
            .collect();
        let unreached =
            layout.members().iter().filter(|m| m.id != self.own && !self.up.contains(&m.id)).map(|m| m.name.as_str());
        json!({
            "epoch": layout.epoch(),
            "settled": given.settled,
            "standing": if self.is_member() { "member" } else if self.former { "former member" } else { "guest" },
            "votes": self.is_member() && self.knows_its_votes(),
            "card": self.card.as_ref().map(member_json),
            "members": layout.members().len(),
            "majority": majority(layout.members().len()),
            "reachable": self.reachable(),
            "voters": self.voters(),
            "unreachable": unreached.take(20).collect::<Vec<_>>(),
            "choosing": self.choosing().map(|(round, what, heard)| json!({ "round": round, "what": what, "heard": heard })),
            "forced": self.decision.forced.map(|base| json!({ "by": base.by.to_string(), "after_epoch": base.epoch })),
            "changes": changes,
            "members_after": members.iter().map(member_json).collect::<Vec<_>>(),
            "guests": self.guests.values().map(|guest| {
                let mut json = member_json(&guest.member);
                json["former"] = json!(guest.former);
                json
            }).collect::<Vec<_>>(),
        })
    }
}

fn member_json(member: &Member) -> Value {
    json!({
        "node": member.id.to_string(),
        "name": member.name,
        "addr": member.addr,
        "zone": member.zone,
        "weight": member.weight,
    })
}

/// The id of a staged change, as it is shown and taken.
pub fn written(id: &ChangeId) -> String {
    format!("{}-{:016x}", id.epoch, id.number)
}

/// Reads what [`written`] writes.
pub fn read(text: &str) -> Option<ChangeId> {
    let (epoch, number) = text.split_once('-')?;
    Some(ChangeId { epoch: epoch.parse().ok()?, number: u64::from_str_radix(number, 16).ok()? })
}

fn checked(member: Member) -> Result<Member, Failure> {
    let too_long = [&member.name, &member.addr, &member.zone].iter().any(|text| text.len() > TEXT_BYTES_MAX);
    match member.name.is_empty() || member.weight == 0 || too_long {
        true => Err(refused("a member has a name, a weight of at least 1, and no text of more than 255 bytes")),
        false => Ok(member),
    }
}

fn refused(detail: impl Into<String>) -> Failure {
    failure(ErrorCode::BadRequest, detail)
}
