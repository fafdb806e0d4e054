//! Operators, and what they do to the layout: joins, leaves, replacements, burials, other weights. And the layouts that there
//! were, as the world has seen them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode::protocol::agree::{Op, apply, read_change_id};
use dynode::protocol::{Event, Node, Origin, ReplyTo};
use dynode_client::wire::{ChangeId, MemberIs, Message, Operate, Operator};
use dynode_ring::{Layout, Member, NodeId};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::disk::Disk;
use super::host::End;
use super::plan::{Change, MS, SECOND, around, one_of, weighted};
use super::{Happening, Phase, Violation, World};

/// Operators' connection, beyond those of all clients.
pub(crate) const OPERATORS: u64 = 1 << 60;

/// Staging a change, as the number of a request; anything else follows what its answer says.
const STAGES: u64 = 1;
pub(crate) const FOLLOWS: u64 = 2;

/// What operators have done, and what came of it.
pub(crate) struct Layouts {
    pub(crate) rng: Pcg64,
    /// What a machine is told at its start, however late.
    pub(crate) first: Layout,
    /// Of each epoch: the hash of the decision, and the layout.
    pub(crate) seen: BTreeMap<u64, (u64, Layout)>,
    /// The changes that operators were told to be staged.
    pub(crate) staged: BTreeSet<ChangeId>,
    /// Those of them that a layout contains, or that an operator wants no more.
    pub(crate) over: BTreeSet<ChangeId>,
    /// Machines that have lost with their disk what they had promised, and may not know that again yet.
    pub(crate) forgetful: BTreeSet<usize>,
    /// Machines that were given up. They stay off while a layout names them.
    pub(crate) buried: BTreeSet<usize>,
}

/// A machine as a member.
pub(crate) fn card(at: usize, id: NodeId) -> Member {
    Member { id, name: format!("n{at}"), addr: format!("10.0.0.{at}:7100"), zone: "a".into(), weight: 1 }
}

impl Layouts {
    pub(crate) fn new(first: Layout, rng: Pcg64) -> Layouts {
        let (seen, staged, over) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (forgetful, buried) = (BTreeSet::new(), BTreeSet::new());
        Layouts { rng, first, seen, staged, over, forgetful, buried }
    }

    /// The layouts from an epoch on.
    pub(crate) fn since(&self, epoch: u64) -> impl Iterator<Item = &Layout> {
        self.seen.range(epoch..).map(|(_, (_, layout))| layout)
    }
}

impl World {
    /// May owners change in this run?
    pub(crate) fn changes_owners(&self) -> bool {
        self.plan.change_every > 0 || self.plan.guests > 0
    }

    pub(crate) fn plan_change(&mut self) {
        if self.plan.change_every > 0 {
            let at = self.now + around(&mut self.layouts.rng, self.plan.change_every);
            self.queue.push(at, Happening::Change);
        }
    }

    /// An operator wants something.
    pub(crate) fn change(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        self.plan_change();
        let is_member = |at: &usize| self.layout.member(self.hosts[*at].id).is_some();
        let (members, spares): (Vec<usize>, Vec<usize>) = (0..self.hosts.len()).partition(is_member);
        if members.is_empty() {
            return Ok(());
        }
        let given_up = self.layouts.buried.iter().copied().find(|at| members.contains(at));
        let rng = &mut self.layouts.rng;
        let Some(which) = weighted(rng, &self.plan.changes) else { return Ok(()) };
        let (change, name, _) = Change::ALL[which];
        let member = given_up.unwrap_or_else(|| one_of(rng, &members));
        let spare = (!spares.is_empty()).then(|| one_of(rng, &spares));
        let what = match (change, spare) {
            (Change::Join, Some(new)) => Operator::Join(self.as_told(new)),
            (Change::Replace, Some(new)) => Operator::Replace { old: format!("n{member}"), new: self.as_told(new) },
            (Change::Leave, _) if given_up.is_none() => Operator::Leave(format!("n{member}")),
            (Change::Leave | Change::Remove, _) => Operator::Remove(format!("n{member}")),
            (Change::Weigh, _) => {
                let weight = Some(rng.random_range(1..=4));
                Operator::Set { name: format!("n{member}"), weight, zone: None }
            }
            (Change::Bury, _) => {
                if given_up.is_none() {
                    self.stats.fault(name);
                    self.bury(member)?;
                }
                return Ok(());
            }
            (Change::Join | Change::Replace, None) => return Ok(()),
        };
        self.stats.fault(name);
        self.tell_operator(what, STAGES);
        Ok(())
    }

    /// A machine as operators name it.
    pub(crate) fn as_told(&self, at: usize) -> MemberIs {
        let Member { id, name, addr, zone, weight } = card(at, self.hosts[at].id);
        MemberIs { node: id.0, name, addr, zone, weight }
    }

    /// A machine is lost for good, with its disk where that may be.
    fn bury(&mut self, at: usize) -> Result<(), Violation> {
        self.trace.line(self.now, |_| format!("n{at} is given up"));
        self.layouts.buried.insert(at);
        if self.layouts.rng.random_bool(0.7) && self.is_spare(at, &[]) {
            self.lose_disk(at)?;
        } else {
            self.note_promises();
            self.crash(at, End::LatePowerCut)?;
        }
        self.queue.push(self.now + SECOND, Happening::Restart { host: at });
        Ok(())
    }

    /// May this machine forget what it has promised? A majority of those that choose layouts must remember.
    pub(crate) fn may_forget(&mut self, at: usize) -> bool {
        if !self.changes_owners() {
            return true;
        }
        let newest = self.layout.epoch();
        let hosts = &self.hosts;
        self.layouts.forgetful.retain(|at| {
            let node = hosts[*at].node.as_ref();
            !node.is_some_and(|node| node.layout().epoch() == newest && node.agree().knows_its_votes())
        });
        let mut all = self.layouts.forgetful.clone();
        all.insert(at);
        let minority = |layout: &Layout| {
            let lost = all.iter().filter(|at| layout.member(self.hosts[**at].id).is_some()).count();
            2 * lost < layout.members().len()
        };
        // It may come back in the belief of any layout that there was.
        self.layouts.since(0).all(minority)
    }

    /// Is the machine given up, and to stay off?
    pub(crate) fn stays_off(&mut self, at: usize) -> bool {
        let is_buried = self.phase == Phase::Faults && self.layouts.buried.contains(&at);
        let stays = is_buried && self.layout.member(self.hosts[at].id).is_some();
        if !stays {
            self.layouts.buried.remove(&at);
        }
        stays
    }

    /// What is committed waits where too few members know what they have promised (they lost their disks, or never came to hear
    /// from all others before some began to choose): after a while an operator decides without them.
    pub(crate) fn force_what_waits(&mut self) {
        let wishes = self.hosts.iter().enumerate().filter_map(|(at, host)| {
            let node = host.node.as_ref().filter(|node| node.is_member())?;
            let committed = node.agree().staged().committed(self.layout.epoch());
            Some((at, apply(node.layout(), committed).done)).filter(|(_, changes)| !changes.is_empty())
        });
        if let Some((at, changes)) = wishes.into_iter().next() {
            return self.tell_node(at, Operator::Commit { changes, force: true }, FOLLOWS);
        }
        self.force_anything();
    }

    /// Members may count in no strict quorum for the same reason, where something was accepted that too few can decide on, though
    /// nobody wants it any more. Another epoch ends that: an operator finds something to change.
    fn force_anything(&mut self) {
        let bound = self.hosts.iter().enumerate().find_map(|(at, host)| {
            let node = host.node.as_ref()?;
            (node.is_member() && node.agree().may_have_gone_on()).then_some((at, node))
        });
        let Some((at, node)) = bound else { return };
        // The weight of a member that nothing else is about, or whatever can be done.
        let wanted = || node.agree().staged().wanted().map(|(id, entry)| (id, &entry.op));
        let weighs: Vec<_> = wanted().filter(|(_, op)| matches!(op, Op::Set { .. })).map(|(id, _)| *id).collect();
        let free = node.layout().members().iter().find(|member| !wanted().any(|(_, op)| op.is_about(member.id)));
        let what = match free {
            _ if !weighs.is_empty() => Operator::Commit { changes: weighs, force: true },
            Some(one) => Operator::Set { name: one.name.clone(), weight: Some(one.weight % 4 + 1), zone: None },
            None => Operator::Commit { changes: apply(node.layout(), wanted()).done, force: true },
        };
        self.tell_node(at, what, FOLLOWS);
    }

    /// An operator speaks to some node.
    pub(crate) fn tell_operator(&mut self, what: Operator, number: u64) {
        let up: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].is_up()).collect();
        if up.is_empty() {
            return;
        }
        let at = one_of(&mut self.layouts.rng, &up);
        self.tell_node(at, what, number);
    }

    pub(crate) fn tell_node(&mut self, at: usize, what: Operator, number: u64) {
        self.trace.line(self.now, |_| format!("an operator asks n{at}: {what:?}"));
        let reply_to = ReplyTo { connection: OPERATORS, request: number };
        let message = Message::Operate(Operate { what });
        self.tell(at, Event::Request { from: Origin::Client, reply_to, message, body: Bytes::new() }, None);
    }

    /// An operator commits everything that is staged at a node.
    pub(crate) fn commit_all(&mut self, at: usize) {
        let Some(node) = &self.hosts[at].node else { return };
        let changes = node.agree().staged().wanted().map(|(id, _)| *id).collect();
        self.tell_node(at, Operator::Commit { changes, force: false }, FOLLOWS);
    }

    /// A node has answered an operator.
    pub(crate) fn operator_hears(&mut self, number: u64, message: &Message, body: &Bytes) {
        self.trace.line(self.now, |_| match message {
            Message::Failure(m) => format!("an operator hears: {}", m.detail),
            _ => "an operator hears: done".into(),
        });
        let report: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let ids = |report: &serde_json::Value| -> Vec<ChangeId> {
            let changes = report["changes"].as_array().into_iter().flatten();
            changes.filter_map(|change| read_change_id(change["id"].as_str()?)).collect()
        };
        let ids = ids(&report);
        self.layouts.staged.extend(&ids);
        if number == FOLLOWS || ids.is_empty() {
            return;
        }
        let rng = &mut self.layouts.rng;
        let changes = if rng.random_bool(0.7) { ids } else { vec![one_of(rng, &ids)] };
        let later = self.now + rng.random_range(0..=SECOND);
        let what = match rng.random_range(0..10) {
            0 => return,
            1 => Operator::Cancel { changes },
            _ => Operator::Commit { changes, force: false },
        };
        if let Operator::Cancel { changes } = &what {
            self.layouts.over.extend(changes);
        }
        self.queue.push(later.max(self.now + MS), Happening::Operator { what: Box::new(what) });
    }

    /// An operator goes on with what it has seen.
    pub(crate) fn operator_follows(&mut self, what: Operator) {
        self.tell_operator(what, FOLLOWS);
    }

    /// A node has committed a turn: does it go by another layout?
    pub(crate) fn look_at_layout(&mut self, at: usize, node: &Node<Disk>) -> Result<(), Violation> {
        let epoch = node.layout().epoch();
        if epoch == self.hosts[at].epoch {
            return Ok(());
        }
        self.hosts[at].epoch = epoch;
        let decision = node.agree().decision();
        let (hash, _) = self.layouts.seen.entry(epoch).or_insert_with(|| (decision.hash(), decision.layout.clone()));
        if *hash != decision.hash() {
            let what = format!("n{at} goes by another layout of epoch {epoch} than others do");
            return Err(Violation::new("11 one layout an epoch", what));
        }
        self.layouts.over.extend(&decision.done);
        if epoch > self.layout.epoch() {
            *self.stats.counters.entry("layouts").or_default() += 1;
        }
        // One that a crash has undone before it was stored anywhere is to be chosen once more.
        let newest = self.hosts.iter().map(|host| host.epoch).max().unwrap_or(epoch);
        if newest != self.layout.epoch() {
            self.layout = self.layouts.seen[&newest].1.clone();
        }
        Ok(())
    }
}
