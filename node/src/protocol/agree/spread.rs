//! Who stands where: words about epochs and staged changes, guests, and fetching what others know more of.
//!
//! A node tells where it stands when a connection is made, a few times to random members while it has news, and now and then
//! to one of them. Whoever learns that the other knows more asks for it.

use bytes::Bytes;
use dynode_client::wire::{GetChange, GuestIs, Standing};
use dynode_ring::{Member, NodeId, TEXT_BYTES_MAX};
use rand::seq::SliceRandom;
use std::sync::Arc;

use super::change::{Op, member_is, member_of};
use super::staged::Staged;
use super::{Agree, codec};
use crate::limits;
use crate::protocol::{Effects, Observation, ReplyTo, Time};

/// A node that is not a member.
#[derive(Debug, Clone)]
pub struct Guest {
    /// As the member that it would be.
    pub member: Member,
    /// It was one once.
    pub former: bool,
    /// When it was heard of last.
    pub heard: Time,
}

impl Agree {
    /// A peer's message names the epoch that it goes by. Whoever has the older layout gets the newer one.
    pub fn saw_epoch(&mut self, now: Time, peer: NodeId, theirs: u64, out: &mut Effects) {
        let ours = self.layout().epoch();
        if theirs > ours {
            self.fetch(now, peer, theirs, out);
        } else if theirs < ours && self.told.get(&peer).is_none_or(|last| now - *last >= limits::STANDING_PAUSE) {
            if self.up.contains(&peer) {
                self.told.insert(peer, now);
            }
            self.tell_standing(peer, out);
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let card = self.card.as_ref().filter(|_| !self.is_member());
        Standing {
            // Of a layout that it was only told this node has nothing to tell: it is behind everybody.
            epoch: if self.is_hearsay { 0 } else { self.layout().epoch() },
            layout: self.decision.hash(),
            staged: self.staged_hash,
            voted: self.vote.promised.round > 0,
            accepted: self.vote.accepted.is_some(),
            abstains: !self.knows_its_votes(),
            guest: card.map(|card| GuestIs { member: member_is(card), former: self.former }),
        }
    }

    pub(super) fn tell_standing(&mut self, to: NodeId, out: &mut Effects) {
        let standing = self.standing();
        self.send(to, standing, Bytes::new(), out);
    }

    /// A peer tells where it stands; `answers`: in answer to this node's own word.
    pub(super) fn heard_standing(&mut self, now: Time, from: NodeId, m: &Standing, answers: bool, out: &mut Effects) {
        if let Some(guest) = &m.guest {
            self.hear_of_guest(now, from, guest, out);
        }
        let ours = self.layout().epoch();
        if m.epoch > ours || (m.epoch == ours && m.layout != self.decision.hash()) {
            self.fetch(now, from, m.epoch, out);
        } else if m.epoch == ours {
            match m.abstains {
                true => self.abstaining.insert(from),
                false => self.abstaining.remove(&from),
            };
            self.stood.insert(from);
            if self.layout().member(from).is_some() {
                self.hear_votes(from, m);
            }
            if answers && m.staged != self.staged_hash {
                let staged = codec::encode_staged(&self.staged);
                self.send(from, dynode_client::wire::Staged { epoch: ours }, staged, out);
            }
        }
    }

    fn hear_of_guest(&mut self, now: Time, from: NodeId, guest: &GuestIs, out: &mut Effects) {
        let member = member_of(&guest.member);
        let fits = [&member.name, &member.addr, &member.zone].iter().all(|text| text.len() <= TEXT_BYTES_MAX);
        let is_itself = member.id == from && !member.name.is_empty() && member.weight > 0;
        if self.layout().member(from).is_some() || !fits || !is_itself {
            return;
        }
        if self.guests.len() >= limits::GUESTS_MAX && !self.guests.contains_key(&from) {
            return; // it goes on telling
        }
        let known = self.guests.insert(from, Guest { member: member.clone(), former: guest.former, heard: now });
        if known.as_ref().is_none_or(|known| known.member != member) {
            self.neighbours += 1;
        }
        if known.is_none() {
            out.observe(Observation::Guest { peer: from, former: guest.former });
        }
        self.join_by_itself(now, from);
    }

    /// With `auto` on, a guest becomes a member without an operator's word; a former member does not.
    fn join_by_itself(&mut self, now: Time, guest: NodeId) {
        let Some(known) = self.guests.get(&guest).filter(|g| !g.former && self.auto_join && self.is_member()) else {
            return;
        };
        let op = Op::Join(known.member.clone());
        let epoch = self.layout().epoch();
        let about_it = self.staged.entries().find(|(_, entry)| entry.op.is_about(guest));
        let id = match about_it.map(|(id, entry)| (*id, entry)) {
            // An operator has said something about it: that holds.
            Some((_, entry)) if entry.cancelled || entry.op != op => return,
            Some((_, entry)) if entry.committed == Some(epoch) => return,
            Some((id, _)) => id,
            None if self.staged.has_room() => {
                let id = Staged::id_for_all(epoch, &op);
                self.staged.stage(id, op);
                id
            }
            None => return,
        };
        self.staged.commit(&id, epoch);
        self.staged_changed(now);
    }

    /// Takes in another node's staged changes.
    pub(super) fn hear_staged(&mut self, now: Time, from: NodeId, epoch: u64, body: Bytes, out: &mut Effects) {
        if epoch != self.layout().epoch() {
            return self.saw_epoch(now, from, epoch, out);
        }
        match codec::decode_staged(body) {
            Ok(theirs) => {
                if self.staged.merge(theirs) {
                    self.staged_changed(now);
                }
            }
            Err(why) => out.observe(Observation::Unreadable { peer: from, detail: why.to_string() }),
        }
    }

    /// Asks for the layout of a peer that knows more. One to which no connection stands yet, though it has spoken on its own, is
    /// not asked: it speaks again, and others who can be asked do meanwhile.
    fn fetch(&mut self, now: Time, from: NodeId, epoch: u64, out: &mut Effects) {
        if !self.up.contains(&from) {
            return;
        }
        let waits = self.fetching.is_some_and(|(_, asked, until)| asked >= epoch && now < until);
        if !waits {
            self.fetching = Some((from, epoch, now + limits::LAYOUT_FETCH_TIMEOUT));
            let epoch = self.layout().epoch();
            self.send(from, GetChange { epoch }, Bytes::new(), out);
        }
    }

    pub(super) fn tell_change(&self, reply_to: ReplyTo, out: &mut Effects) {
        let epoch = self.layout().epoch();
        out.reply_with(reply_to, dynode_client::wire::Change { epoch }, self.decision.bytes().clone());
    }

    pub(super) fn heard_change(&mut self, now: Time, from: NodeId, body: Bytes, out: &mut Effects) {
        if self.fetching.is_some_and(|(of, ..)| of == from) {
            self.fetching = None;
        }
        let Some(decision) = self.read(from, body, out) else { return };
        if decision.layout.partitions() != self.layout().partitions() {
            let detail = "a layout with another number of partitions: of another cluster?".into();
            return out.observe(Observation::Unreadable { peer: from, detail });
        }
        if self.is_hearsay || decision.beats(&self.decision) {
            self.decide(now, Arc::new(decision), out);
        } else if decision.epoch() == self.decision.epoch() && decision.hash() != self.decision.hash() {
            // Theirs gives way; they learn it from the answer to this.
            let (ours, theirs) = (self.decision.epoch(), decision.epoch());
            out.observe(Observation::Overruled { ours: theirs, theirs: ours, by: None });
            self.tell_standing(from, out);
        }
    }

    pub(super) fn has_news(&mut self, now: Time) {
        let members = self.layout().members().len() as u32;
        self.news = limits::LAYOUT_NEWS_ROUNDS * (members.ilog10() + 1);
        self.next_news = now;
    }

    pub(super) fn spread(&mut self, now: Time, out: &mut Effects) {
        let before = self.guests.len();
        self.guests.retain(|_, guest| now - guest.heard < limits::GUEST_GONE_AFTER);
        self.neighbours += u64::from(self.guests.len() != before);
        if self.news > 0 && now >= self.next_news {
            self.news -= 1;
            self.next_news = now + limits::LAYOUT_NEWS_EVERY;
            self.tell_some(limits::LAYOUT_NEWS_FANOUT, out);
        }
        if now >= self.next_standing {
            let span = self.random(limits::STANDING_EVERY);
            self.next_standing = now + crate::protocol::Micros((limits::STANDING_EVERY.0 + span.0) / 2);
            // A guest is known only to those that hear of it, and who may not vote yet needs everybody's word.
            let is_known = self.is_member() && self.knows_its_votes();
            let count = if is_known { 1 } else { usize::MAX };
            self.tell_some(count, out);
        }
    }

    fn tell_some(&mut self, count: usize, out: &mut Effects) {
        let mut peers: Vec<NodeId> = self.up.iter().copied().collect();
        let (some, _) = peers.partial_shuffle(&mut self.rng, count);
        let some: Vec<NodeId> = some.into();
        for node in some {
            self.tell_standing(node, out);
        }
    }
}
