//! How the next layout is agreed on, without a leader, and how all nodes come to know it.
//!
//! Operators *stage* changes at any node; staged changes merge, and spread. When some are *committed*, members propose the
//! layout that they lead to, and a majority of the members of the present layout chooses one by single-decree Paxos, one
//! instance an epoch: so there is one layout an epoch. What it contains is no longer staged; what it does not contain still
//! is. The decision spreads by words about where everybody stands, and whoever is behind asks for it.
//!
//! [`Agree`] is a state machine without I/O, like `swim`: the node hands it events, stores what
//! [`Agree::take_records`] gives before anything is said (*persist, then send*), and goes by what
//! [`Agree::take_decided`] gives.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `change` | what operators can ask for, and what the members are then |
//! | `staged` | changes that no layout contains yet |
//! | `decision` | a layout and how it came about; which of two holds |
//! | `paxos` | votes and proposals |
//! | `choose` | who proposes when; both sides of the messages of Paxos |
//! | `forgotten` | what a node may have promised that lost its disk, and how it learns that it has not |
//! | `spread` | who stands where, guests, fetching layouts |
//! | `operate` | operators' requests, and what they are told |
//! | `codec` | stored and sent forms |
//!
//! The argument, and what can stall: `docs/membership.md`.

mod change;
mod choose;
mod codec;
mod decision;
mod forgotten;
mod operate;
mod paxos;
mod rules;
mod spread;
mod staged;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dynode_client::wire::Message;
use dynode_ring::{Layout, Member, NodeId};
use dynode_storage::codec::Corrupt;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

pub use change::{Op, Outcome, apply};
pub use decision::{Base, Decision};
pub use operate::{Circumstances, read as read_change_id, written as write_change_id};
pub use paxos::Vote;
pub use spread::Guest;
pub use staged::{Entry, Staged};

use self::paxos::Proposal;
use super::{Effects, Micros, Observation, ReplyTo, Time};
use crate::limits;

/// Request ids with this bit are this machine's; liveness has the one above, and the node's others never get there.
const IDS: u64 = 1 << 62;

/// The stored decision that the node goes by.
const RECORD_LAYOUT: &str = "layout";
/// The stored vote.
const RECORD_VOTE: &str = "layout-vote";
/// The stored staged changes.
const RECORD_STAGED: &str = "layout-staged";
/// Stored as 1 byte: the node was a member once, and is no more.
const RECORD_FORMER: &str = "layout-former";

/// What a node has stored of all this; nothing on a new disk.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    decision: Option<Decision>,
    /// With the epoch from which on the node knows its votes.
    vote: Option<(u64, Vote)>,
    staged: Staged,
    former: bool,
}

impl Stored {
    /// Reads it, with `read` giving the record of a name.
    ///
    /// # Errors
    ///
    /// What `read` refuses. The name of a record that makes no sense.
    pub fn read<F>(read: impl Fn(&'static str) -> Result<Option<Bytes>, F>) -> Result<Result<Stored, Unreadable>, F> {
        fn decoded<T>(
            name: &'static str,
            bytes: Option<Bytes>,
            decode: impl Fn(Bytes) -> Result<T, Corrupt>,
        ) -> Result<Option<T>, Unreadable> {
            bytes.map(decode).transpose().map_err(|why| Unreadable { name, why: why.to_string() })
        }
        let (layout, vote, staged) = (read(RECORD_LAYOUT)?, read(RECORD_VOTE)?, read(RECORD_STAGED)?);
        let former = read(RECORD_FORMER)?.is_some_and(|bytes| bytes[..] == [1]);
        let stored = || {
            Ok(Stored {
                decision: decoded(RECORD_LAYOUT, layout, codec::decode_decision)?,
                vote: decoded(RECORD_VOTE, vote, codec::decode_vote)?,
                staged: decoded(RECORD_STAGED, staged, codec::decode_staged)?.unwrap_or_default(),
                former,
            })
        };
        Ok(stored())
    }

    /// The layout that the node went by.
    pub fn layout(&self) -> Option<&Layout> {
        self.decision.as_ref().map(|decision| &decision.layout)
    }
}

/// A stored record that makes no sense.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record `{name}` cannot be read: {why}")]
pub struct Unreadable {
    /// Its name.
    pub name: &'static str,
    /// What is wrong.
    pub why: String,
}

/// What has changed since it was stored.
#[derive(Debug, Default)]
struct Unstored {
    decision: bool,
    vote: bool,
    staged: bool,
}

/// One node's part in agreeing on layouts: a state machine without I/O.
#[derive(Debug)]
pub struct Agree {
    own: NodeId,
    rng: Pcg64,
    next_id: u64,
    decision: Arc<Decision>,
    /// The layout is one that the node was [told](Decision::told) before its start. It finds its peers by it, says nothing of it, and
    /// takes the first decision that it hears of.
    is_hearsay: bool,
    /// It was a member once, and is no more.
    former: bool,
    vote: Vote,
    /// The first epoch of which it knows all that it has ever promised, and may vote; [`u64::MAX`]: not known.
    votes_from: u64,
    /// The other members that have said since its start that they have not voted in this epoch.
    unvoted: BTreeSet<NodeId>,
    /// Those that have said since that they have accepted nothing in it, and whether they knew all of their votes then.
    unaccepted: BTreeMap<NodeId, bool>,
    /// The nodes that have said since its start that they go by this layout.
    stood: BTreeSet<NodeId>,
    /// Peers that take no part in choosing: they may have lost what they had promised in this epoch.
    abstaining: BTreeSet<NodeId>,
    staged: Staged,
    staged_hash: u64,
    proposal: Option<Proposal>,
    /// The highest round that was seen in this epoch.
    round: u64,
    /// When to propose; `None` while there is nothing to choose.
    next_try: Option<Time>,
    ballot_wait: Micros,
    up: BTreeSet<NodeId>,
    /// The layout that was asked for: of whom, which epoch, until when to wait.
    fetching: Option<(NodeId, u64, Time)>,
    /// Peers of other epochs, and when they were told so last.
    told: BTreeMap<NodeId, Time>,
    /// Rounds of news still to be told.
    news: u32,
    next_news: Time,
    next_standing: Time,
    guests: BTreeMap<NodeId, Guest>,
    /// How often members or guests have changed.
    neighbours: u64,
    /// This node as the member that it would be.
    card: Option<Member>,
    /// Guests become members without an operator's word.
    auto_join: bool,
    unstored: Unstored,
    decided: Vec<Arc<Decision>>,
}

impl Agree {
    /// `configured`: the first layout of a new cluster, or the present one of the cluster that the node has come to; what is stored
    /// goes before it.
    /// `remembers`: the disk is one that this node has used before, and has lost nothing since.
    pub fn new(own: NodeId, configured: Layout, stored: Stored, remembers: bool, seed: u64, now: Time) -> Agree {
        let mut rng = Pcg64::seed_from_u64(seed);
        let next_id = IDS | rng.next_u64() >> 16;
        let is_hearsay = stored.decision.is_none() && configured.epoch() > 1;
        let decision = match stored.decision {
            Some(stored) => stored,
            None if is_hearsay => Decision::told(&configured),
            None => Decision::first(configured),
        };
        let votes_from = match stored.vote.as_ref().filter(|_| remembers) {
            Some((votes_from, _)) => *votes_from,
            None if rules::broken(rules::Rule::VoteAfterLoss) => 0,
            None => u64::MAX,
        };
        let vote = stored.vote.map(|(_, vote)| vote).filter(|vote| vote.epoch == decision.epoch());
        let staged = stored.staged;
        let mut agree = Agree {
            own,
            next_id,
            former: stored.former,
            vote: vote.unwrap_or_else(|| Vote::new(decision.epoch())),
            decision: Arc::new(decision),
            is_hearsay,
            votes_from,
            unvoted: BTreeSet::new(),
            unaccepted: BTreeMap::new(),
            stood: BTreeSet::new(),
            abstaining: BTreeSet::new(),
            staged_hash: staged.hash(),
            staged,
            proposal: None,
            round: 0,
            next_try: None,
            ballot_wait: limits::BALLOT_WAIT_FIRST,
            up: BTreeSet::new(),
            fetching: None,
            told: BTreeMap::new(),
            news: 0,
            next_news: now,
            next_standing: now,
            guests: BTreeMap::new(),
            neighbours: 0,
            card: None,
            auto_join: false,
            // What an older disk says of votes must not be believed by a later run either.
            unstored: Unstored { decision: true, vote: !remembers, staged: false },
            decided: Vec::new(),
            rng,
        };
        agree.round = agree.vote.promised.round;
        // Nodes that start together should not march in step.
        agree.next_standing = now + agree.random(limits::STANDING_EVERY);
        agree.learn_own_votes();
        agree
    }

    /// As what this node would join, and whether guests that it hears of become members without an operator's word.
    pub fn introduce_as(&mut self, card: Member, auto_join: bool) {
        (self.card, self.auto_join) = (Some(card), auto_join);
    }

    /// Is this the id of one of this machine's requests?
    pub fn is_own(request: u64) -> bool {
        request & (IDS << 1 | IDS) == IDS
    }

    /// The layout that this node goes by, and how it came about.
    pub fn decision(&self) -> &Arc<Decision> {
        &self.decision
    }

    /// What is staged, as far as this node knows.
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// The nodes that are not members, and have been heard of lately.
    pub fn guests(&self) -> impl Iterator<Item = &Guest> {
        self.guests.values()
    }

    /// Was this node, which is not a member, heard of lately?
    pub fn knows_guest(&self, node: NodeId) -> bool {
        self.guests.contains_key(&node)
    }

    /// Another number whenever members or guests are others.
    pub fn neighbours_version(&self) -> u64 {
        self.neighbours
    }

    /// Does the layout name this node?
    pub fn is_member(&self) -> bool {
        self.layout().member(self.own).is_some()
    }

    /// It was a member once, and is no more.
    pub fn is_former(&self) -> bool {
        self.former && !self.is_member()
    }

    /// When the next [`Agree::tick`] is due.
    pub fn next_wake(&self) -> Time {
        let mut wake = self.next_standing;
        wake = wake.min(self.proposal.as_ref().map_or(Time(u64::MAX), |proposal| proposal.until));
        wake = wake.min(self.next_try.filter(|_| self.proposal.is_none()).unwrap_or(Time(u64::MAX)));
        if self.news > 0 { wake.min(self.next_news) } else { wake }
    }

    /// The decisions that came since this was asked last, in order; the last one holds.
    pub fn take_decided(&mut self) -> Vec<Arc<Decision>> {
        std::mem::take(&mut self.decided)
    }

    /// What must be stored, durably, before the effects so far are performed.
    pub fn take_records(&mut self) -> Vec<(&'static str, Bytes)> {
        let Unstored { decision, vote, staged } = std::mem::take(&mut self.unstored);
        let mut records = Vec::new();
        if decision && !self.is_hearsay {
            records.push((RECORD_LAYOUT, self.decision.bytes().clone()));
            records.push((RECORD_FORMER, Bytes::from(vec![u8::from(self.is_former())])));
        }
        if vote {
            let nothing = rules::broken(rules::Rule::ForgetVotes).then(|| Vote::new(self.vote.epoch));
            let vote = nothing.as_ref().unwrap_or(&self.vote);
            records.push((RECORD_VOTE, codec::encode_vote(self.votes_from, vote)));
        }
        if staged {
            records.push((RECORD_STAGED, codec::encode_staged(&self.staged)));
        }
        records
    }

    /// A peer asks.
    pub fn request(
        &mut self,
        now: Time,
        from: NodeId,
        reply_to: ReplyTo,
        message: &Message,
        body: Bytes,
        out: &mut Effects,
    ) {
        match message {
            Message::Standing(m) => {
                let own = self.standing();
                out.reply(reply_to, own);
                self.heard_standing(now, from, m, false, out);
            }
            Message::GetChange(_) => self.tell_change(reply_to, out),
            Message::Staged(m) => {
                self.hear_staged(now, from, m.epoch, body, out);
                let (epoch, staged) = (self.layout().epoch(), codec::encode_staged(&self.staged));
                out.reply_with(reply_to, dynode_client::wire::Staged { epoch }, staged);
            }
            Message::Prepare(m) => self.prepare(now, from, reply_to, m, out),
            Message::Accept(m) => self.accept(now, from, reply_to, m, body, out),
            _ => {}
        }
    }

    /// A peer answers a request of this machine ([`Agree::is_own`]).
    pub fn response(&mut self, now: Time, from: NodeId, message: &Message, body: Bytes, out: &mut Effects) {
        match message {
            Message::Standing(m) => self.heard_standing(now, from, m, true, out),
            Message::Change(_) => self.heard_change(now, from, body, out),
            Message::Staged(m) => self.hear_staged(now, from, m.epoch, body, out),
            Message::Promise(m) => self.promised(now, from, m, body, out),
            Message::Accepted(m) => self.accepted(now, from, m, out),
            _ => {} // a refusal: there is another time
        }
    }

    /// The connection to a peer stands.
    pub fn up(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        self.up.insert(node);
        self.tell_standing(node, out);
        if self.next_try.is_some() {
            self.next_try = Some(now); // perhaps it is the one that was missing
        }
    }

    /// The connection to a peer is gone.
    pub fn down(&mut self, node: NodeId) {
        self.up.remove(&node);
        self.told.remove(&node);
        self.abstaining.remove(&node);
        if self.fetching.is_some_and(|(of, ..)| of == node) {
            self.fetching = None;
        }
    }

    /// Does what has become due. `settled`: every partition is stable, and the next layout may be chosen.
    pub fn tick(&mut self, now: Time, settled: bool, out: &mut Effects) {
        self.look_at_proposal(now, settled, out);
        self.spread(now, out);
    }

    fn layout(&self) -> &Layout {
        &self.decision.layout
    }

    fn send(&mut self, to: NodeId, message: impl Into<Message>, body: Bytes, out: &mut Effects) {
        self.next_id = IDS | (self.next_id + 1) & (IDS - 1);
        out.send(to, self.next_id, message, body);
    }

    /// The members but this node.
    fn others(&self) -> Vec<NodeId> {
        self.layout().members().iter().map(|m| m.id).filter(|id| *id != self.own).collect()
    }

    /// Something is decided: this node goes by it from now on.
    fn decide(&mut self, now: Time, decision: Arc<Decision>, out: &mut Effects) {
        if !self.is_hearsay && decision.overrules(&self.decision) {
            let (ours, theirs) = (self.layout().epoch(), decision.epoch());
            out.observe(Observation::Overruled { ours, theirs, by: decision.forced.map(|base| base.by) });
        }
        if !self.keeps_its_votes(&decision) {
            self.votes_from = u64::MAX;
        }
        let was_member = self.is_member();
        self.staged.passed(&decision);
        self.staged_hash = self.staged.hash();
        self.vote = Vote::new(decision.epoch());
        let before = std::mem::replace(&mut self.decision, Arc::clone(&decision));
        self.is_hearsay = false;
        self.former = !self.is_member() && (was_member || self.former);
        self.proposal = None;
        (self.round, self.next_try, self.ballot_wait) = (0, None, limits::BALLOT_WAIT_FIRST);
        self.fetching = None;
        self.unvoted.clear();
        self.unaccepted.clear();
        self.stood.clear();
        self.abstaining.clear();
        self.know_former_members(now, &before.layout);
        self.neighbours += 1;
        self.unstored = Unstored { decision: true, vote: true, staged: true };
        self.decided.push(decision);
        self.learn_own_votes();
        self.has_news(now);
    }

    /// Who was a member until now still counts where its partitions are on their way: it stays a neighbour, without having to
    /// introduce itself first.
    fn know_former_members(&mut self, now: Time, before: &Layout) {
        let members = &self.decision.layout;
        self.guests.retain(|id, _| members.member(*id).is_none());
        for member in before.members().iter().filter(|m| m.id != self.own && members.member(m.id).is_none()) {
            if self.guests.len() < limits::GUESTS_MAX {
                self.guests.insert(member.id, Guest { member: member.clone(), former: true, heard: now });
            }
        }
    }

    fn staged_changed(&mut self, now: Time) {
        self.staged_hash = self.staged.hash();
        self.unstored.staged = true;
        self.has_news(now);
    }

    fn random(&mut self, most: Micros) -> Micros {
        Micros(self.rng.random_range(0..=most.0))
    }
}
