//! What is said of whom, and which word beats which: the higher incarnation; at the same, down beats suspect beats alive.

use dynode_client::wire::{MemberState, Rumour};
use dynode_ring::NodeId;
use rand::RngExt;

use super::suspicion::Suspicion;
use super::{Liveness, Swim};
use crate::limits;
use crate::protocol::{Effects, Observation, Time};

/// What is held of one member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) liveness: Liveness,
    /// 0: not heard of yet.
    pub(super) incarnation: u64,
    pub(super) since: Time,
}

impl Member {
    /// One that has not been heard of: taken for alive, so that it is asked.
    pub(super) fn new(now: Time) -> Member {
        Member { liveness: Liveness::Alive, incarnation: 0, since: now }
    }
}

impl Swim {
    /// Takes in what a peer says of itself, and of others.
    pub(super) fn hear_all(
        &mut self,
        now: Time,
        from: NodeId,
        incarnation: u64,
        rumours: &[Rumour],
        out: &mut Effects,
    ) {
        if !self.members.contains_key(&from) {
            // A guest has no part in liveness, but has to be told where it takes this node for what it is not.
            for rumour in rumours {
                if NodeId(rumour.node) == self.own && self.is_credible(rumour) {
                    self.hear_of_itself(rumour);
                }
            }
            return;
        }
        if incarnation <= limits::INCARNATION_MAX {
            self.hear(now, from, from, incarnation, MemberState::Alive, out);
        } else {
            self.counters.disbelieved += 1;
        }
        for rumour in rumours {
            let node = NodeId(rumour.node);
            if !self.is_credible(rumour) || (node != self.own && !self.members.contains_key(&node)) {
                self.counters.disbelieved += 1;
            } else if node == self.own {
                self.hear_of_itself(rumour);
            } else {
                self.hear(now, from, node, rumour.incarnation, rumour.state, out);
            }
        }
    }

    /// No run of a node is so far ahead of what is known.
    fn is_credible(&self, rumour: &Rumour) -> bool {
        let known = self.members.get(&NodeId(rumour.node)).map_or(0, |m| m.incarnation).max(self.incarnation);
        rumour.incarnation <= known.saturating_add(limits::INCARNATION_LEAP).min(limits::INCARNATION_MAX)
    }

    /// Others say something of this node: if it is not that it is alive, it contradicts.
    fn hear_of_itself(&mut self, rumour: &Rumour) {
        let is_alive = rumour.state == MemberState::Alive;
        if rumour.incarnation < self.incarnation || (is_alive && rumour.incarnation == self.incarnation) {
            return;
        }
        // Alive with a higher incarnation than its own: a former run of it, before the clock was set back.
        self.incarnation = rumour.incarnation + 1;
        self.rumours.add(self.own);
        if !is_alive {
            self.counters.contradicted += 1;
            self.be_slower(1);
        }
    }

    pub(super) fn hear(
        &mut self,
        now: Time,
        from: NodeId,
        node: NodeId,
        incarnation: u64,
        state: MemberState,
        out: &mut Effects,
    ) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let is_newer = incarnation > member.incarnation;
        if incarnation < member.incarnation {
            return;
        }
        match (state, member.liveness) {
            (MemberState::Alive, Liveness::Alive) if is_newer => {
                // Known of it for the first time is no news: everybody finds that out alone.
                let is_first = member.incarnation == 0;
                member.incarnation = incarnation;
                if !is_first {
                    self.rumours.add(node);
                }
            }
            (MemberState::Alive, _) if is_newer => self.set(now, node, Liveness::Alive, incarnation, out),
            (MemberState::Alive, _) => {}
            (MemberState::Suspect { by }, Liveness::Suspect) if !is_newer => {
                let by = self.accuser(by, from);
                if self.suspicions.get_mut(&node).is_some_and(|s| s.confirm(by)) {
                    self.rumours.add(node);
                }
            }
            (MemberState::Suspect { .. }, Liveness::Down) if !is_newer => {}
            (MemberState::Suspect { by }, _) => {
                let by = self.accuser(by, from);
                self.suspect(now, node, incarnation, Suspicion::new(now, by, false), out);
            }
            // Whoever says so may have been on the other side of a cut that has healed, so nobody takes a member for down
            // on others' word alone: it gets the least time to contradict here, too.
            (MemberState::Down, Liveness::Suspect) if !is_newer => {
                if let Some(suspicion) = self.suspicions.get_mut(&node) {
                    suspicion.shorten();
                }
            }
            (MemberState::Down, Liveness::Down) if !is_newer => {}
            (MemberState::Down, Liveness::Down) => self.set(now, node, Liveness::Down, incarnation, out),
            (MemberState::Down, _) => {
                self.suspect(now, node, incarnation, Suspicion::new(now, from, true), out);
            }
        }
    }

    /// The accuser that is named, if it is one of us: strangers' names would count as many.
    fn accuser(&self, named: u64, from: NodeId) -> NodeId {
        let named = NodeId(named);
        if named == self.own || self.members.contains_key(&named) { named } else { from }
    }

    /// A probe of this node's own has failed.
    pub(super) fn accuse(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        if let Some(member) = self.members.get(&node) {
            let own = self.own;
            self.hear(now, own, node, member.incarnation, MemberState::Suspect { by: own.0 }, out);
        }
    }

    fn suspect(&mut self, now: Time, node: NodeId, incarnation: u64, suspicion: Suspicion, out: &mut Effects) {
        let by_other = suspicion.last != self.own;
        self.set(now, node, Liveness::Suspect, incarnation, out);
        self.suspicions.insert(node, suspicion);
        // A second opinion, of so few that the suspect is not flooded.
        if by_other
            && self.rng.random_ratio(limits::SECOND_OPINIONS, limits::SECOND_OPINIONS + self.members.len() as u32)
        {
            self.urgent.insert(node);
        }
    }

    /// Changes what a member is taken to be, and tells of it.
    pub(super) fn set(&mut self, now: Time, node: NodeId, liveness: Liveness, incarnation: u64, out: &mut Effects) {
        let Some(member) = self.members.get_mut(&node) else { return };
        member.incarnation = incarnation;
        self.rumours.add(node);
        self.suspicions.remove(&node);
        if member.liveness == liveness {
            return;
        }
        (member.liveness, member.since) = (liveness, now);
        self.down.remove(&node);
        match liveness {
            Liveness::Alive => {}
            Liveness::Suspect => self.counters.suspected += 1,
            Liveness::Down => {
                self.counters.downed += 1;
                self.down.insert(node);
                self.urgent.remove(&node);
                self.probes.remove(&node);
            }
        }
        out.observe(Observation::Liveness { peer: node, liveness, incarnation });
    }
}
