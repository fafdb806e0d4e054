//! Lives that have ended are closed, so that gaps are filled, contexts shrink, and clocks do not grow with restarts.
//!
//! An owner whose copy holds something of them begins, when every member can be reached. First it asks each for its present
//! life in the partition. Then each *refuses* all earlier lives of everybody, for good, and hands over what it has of them:
//! from then on it takes their dots only from members that have refused them too, and nothing that was sent in an earlier
//! life of anybody ([`Node::is_stale`]). So what was handed over is all that there will ever be, and once the owner
//! contains it, it closes. The word goes to the others with the answers to their pulls.
//!
//! Two owners may do so at the same time: promises only grow. What is interrupted is begun anew later.
//!
//! A copy that holds something of a life that was closed without its promise comes from a backup: it is set aside
//! ([`Node::retire_if_old`]).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_client::wire::{AskLife, ErrorCode, Failure, HandedOver, LifeIs, Message, Refuse};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{Part, decode_clock, encode_clock};
use dynode_storage::lives::life_of;
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Clock, Engine, EngineError};

use super::recovery::enough;
use super::{Effects, Heard, Micros, Node, Observation, Operation, ReplyTo, Then, Time, failure};
use crate::limits;

/// What a node knows of lives to be closed, and how sure it is of its own.
pub(super) struct LivesState {
    started: Time,
    /// Closings that this node has under way.
    under_way: BTreeSet<PartitionId>,
    /// Since when there has been something to close in a partition, and when the next try may be.
    open: BTreeMap<PartitionId, (Time, Time)>,
    /// The peers that have answered a round of digests since this node started, so told what they know of it; and whether
    /// what they know is whole.
    answered: BTreeMap<NodeId, bool>,
    /// The partitions whose copies take in what comes: none of them is to be set aside, as far as others have told.
    compared: BTreeSet<PartitionId>,
    /// The partitions whose copies go on in a life of this run, or are known not to have been rolled back.
    sure: BTreeSet<PartitionId>,
}

/// A closing that waits for members.
pub(super) struct Closing {
    partition: PartitionId,
    epoch: u64,
    /// By node: its present life, and whether it has a copy.
    said: BTreeMap<NodeId, (u64, bool)>,
    /// Those that have not answered yet.
    waiting: BTreeSet<NodeId>,
    step: Step,
    gives_up: Time,
}

enum Step {
    /// Asking for lives.
    Asking,
    /// All are refused now; what was handed over so far, and by whom.
    Refusing { lives: Vec<(NodeId, u64)>, handed: BTreeMap<NodeId, Clock> },
}

impl LivesState {
    pub(super) fn new(now: Time) -> LivesState {
        LivesState {
            started: now,
            under_way: BTreeSet::new(),
            open: BTreeMap::new(),
            answered: BTreeMap::new(),
            compared: BTreeSet::new(),
            sure: BTreeSet::new(),
        }
    }

    /// Is more to be had from this peer than it has told of this node?
    pub(super) fn wants_answer(&self, peer: NodeId, knows_its_lives: bool) -> bool {
        self.answered.get(&peer).is_none_or(|whole| !whole && !knows_its_lives)
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn entries(&self) -> usize {
        self.open.len()
    }
}

impl Closing {
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.waiting.contains(&node)
    }
}

impl<E: Engine> Node<E> {
    // ---- messages of former lives

    /// Was this sent in a life that is refused, or does it bring something of one that its sender had not handed over? Then
    /// nothing of it is taken. What the sender refuses is taken over where there is nothing to hand over.
    pub(super) fn is_stale(
        &mut self,
        partition: PartitionId,
        sender: NodeId,
        life: u64,
        theirs: &[(u64, u64)],
        parts: &[Part],
    ) -> Result<bool, EngineError> {
        if broken(Rule::Refuse) {
            return Ok(false);
        }
        let theirs: Vec<(NodeId, u64)> = theirs.iter().map(|(node, life)| (NodeId(*node), *life)).collect();
        let mut stale = life < life_of(self.store.refused(partition), sender);
        if !stale && self.store.refused(partition) != theirs {
            stale = self.store.brings_refused(partition, &theirs, &brought(parts))?;
            if !stale {
                self.store.live_beyond(partition, &theirs)?;
                self.store.adopt_refused(partition, &theirs)?;
            }
        }
        self.counters.stale += u64::from(stale);
        Ok(stale)
    }

    /// A peer knows these lives to be closed. If this node's copy is older than that, it is set aside, and true returned: an
    /// empty one in a new life takes its place.
    pub(super) fn retire_if_old(
        &mut self,
        partition: PartitionId,
        closed: &[(NodeId, u64)],
        out: &mut Effects,
    ) -> Result<bool, EngineError> {
        if closed.is_empty() {
            return Ok(false);
        }
        self.store.live_beyond(partition, closed)?;
        if !self.store.predates(partition, closed)? {
            self.store.adopt_refused(partition, closed)?;
            return Ok(false);
        }
        let aside = self.store.set_aside(partition, closed)?;
        self.counters.set_aside += 1;
        self.lives.compared.insert(partition);
        self.sync.forget(partition);
        out.observe(Observation::SetAside { partition, values: aside });
        Ok(true)
    }

    /// Why a copy takes nothing in yet. One that is recovering may come from a backup, and will have to be set aside if it
    /// holds lives that were closed since; what it had taken meanwhile would be lost with it. So it waits until as many other
    /// owners as make [recovery](super::recovery) sure have told their clocks of it, or, where they cannot be reached, until
    /// [`limits::LIVES_KNOWN_AFTER`] has passed. An empty one has nothing to wait for.
    pub(super) fn not_compared(&mut self, now: Time, partition: PartitionId) -> Result<Option<Failure>, EngineError> {
        if self.lives.compared.contains(&partition) || !self.owns(partition) {
            return Ok(None);
        }
        let refusal = self.still_compares(now, partition)?;
        if refusal.is_none() {
            self.lives.compared.insert(partition);
        }
        Ok(refusal)
    }

    /// The same for a partition that is owned here, without remembering what was found.
    pub(super) fn still_compares(&mut self, now: Time, partition: PartitionId) -> Result<Option<Failure>, EngineError> {
        let may_be_old = |copy: &mut dynode_storage::copy::Copy| copy.is_recovering() && !copy.clock().is_empty();
        let others = self.other_owners(partition);
        let told = others.iter().filter(|peer| self.sync.heard.contains_key(&(partition, **peer))).count();
        let needed = enough(others.len() + 1);
        let is_late = now - self.lives.started >= limits::LIVES_KNOWN_AFTER;
        if told >= needed || is_late || !self.store.find(partition)?.is_some_and(may_be_old) {
            return Ok(None);
        }
        let detail = format!(
            "this node's copy of partition {partition} may be an old one, and {told} of {needed} other owners have told \
             theirs; nothing was changed"
        );
        Ok(Some(failure(ErrorCode::Unavailable, detail)))
    }

    // ---- this node's own lives

    /// Before this node coordinates a write: is it sure that it gives out no dot twice? A restored backup does not know what
    /// it has forgotten. Its peers tell, with their first answers; a copy that must give out a dot before all other owners
    /// have done so goes on in a new life.
    pub(super) fn be_sure_of_life(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        if self.lives.sure.contains(&partition) {
            return Ok(());
        }
        let others = self.other_owners(partition);
        let told = !others.is_empty() && others.iter().all(|peer| self.lives.answered.contains_key(peer));
        let is_old = self.store.is_of_former_run(partition)?;
        if is_old && !(told && self.owns(partition)) {
            self.store.go_on_in_new_life(partition)?;
        }
        self.lives.sure.insert(partition);
        Ok(())
    }

    /// A peer has answered a round of digests: the greatest life of this node that it knows of, and whether it knows all that it
    /// once did.
    pub(super) fn told_of_lives(&mut self, peer: NodeId, last_life: u64, whole: bool) -> Result<(), EngineError> {
        let first = self.lives.answered.insert(peer, whole).is_none();
        if self.store.knows_its_lives() {
            return if first { self.store.live_beyond_all(last_life) } else { Ok(()) };
        }
        self.store.live_beyond_all(last_life)?;
        if self.config.layout.partition_ids().all(|partition| self.was_told_enough(partition)) {
            self.store.now_knows_its_lives();
        }
        Ok(())
    }

    /// Have those told of this node's lives who must know? As many owners of the partition as make
    /// [recovery](super::recovery) sure, none of them in doubt about its own past; or all members, where all may be new.
    fn was_told_enough(&self, partition: PartitionId) -> bool {
        let owners = self.holders(partition);
        let whole = owners.iter().filter(|owner| self.lives.answered.get(owner) == Some(&true)).count();
        let of_others = owners.iter().filter(|owner| **owner != self.config.node).count();
        whole >= enough(owners.len()).clamp(1, of_others.max(1))
            || self.other_members().iter().all(|peer| self.lives.answered.contains_key(peer))
    }

    /// A node on a new disk, or on one that was rolled back, has only the wall clock to tell that its lives are later than
    /// its former ones; a write in an earlier one would be lost on those who have closed it. So it coordinates nothing in a
    /// partition before [enough](Node::was_told_enough) have told what they know of it, or, where they cannot be reached,
    /// somebody has and [`limits::LIVES_KNOWN_AFTER`] has passed.
    pub(super) fn knows_its_lives(&self, now: Time, partition: PartitionId) -> Result<(), Failure> {
        if self.store.knows_its_lives() || self.was_told_enough(partition) {
            return Ok(());
        }
        let is_late = now - self.lives.started >= limits::LIVES_KNOWN_AFTER && !self.lives.answered.is_empty();
        if is_late {
            return Ok(());
        }
        let detail = "this node has begun without knowledge of its past, and too few others have told it yet; nothing was changed";
        Err(failure(ErrorCode::Unavailable, detail))
    }

    // ---- a member's part

    fn present_life(&mut self, partition: PartitionId) -> Result<(u64, bool), EngineError> {
        let next = self.store.next_life();
        Ok(self.store.find(partition)?.map_or((next, false), |copy| (copy.actor().life, true)))
    }

    pub(super) fn ask_life(
        &mut self,
        now: Time,
        peer: NodeId,
        reply_to: ReplyTo,
        m: &AskLife,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let Some(partition) = self.agreed(peer, m.epoch, m.partition, reply_to, out) else { return Ok(()) };
        if let Err(refusal) = self.knows_its_lives(now, partition) {
            out.reply(reply_to, refusal);
            return Ok(());
        }
        self.store.outlive(partition, m.last_life)?;
        let (life, has_copy) = self.present_life(partition)?;
        out.reply(reply_to, LifeIs { life, has_copy });
        Ok(())
    }

    pub(super) fn refuse_lives(
        &mut self,
        now: Time,
        peer: NodeId,
        reply_to: ReplyTo,
        m: &Refuse,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let Some(partition) = self.agreed(peer, m.epoch, m.partition, reply_to, out) else { return Ok(()) };
        let lives: Vec<(NodeId, u64)> = m.lives.iter().map(|(node, life)| (NodeId(*node), *life)).collect();
        self.store.refuse(partition, &lives)?;
        self.adopt_orphans(now, partition)?;
        // What is handed over is what a power cut leaves, and the promise too.
        self.store.commit(true)?;
        let (life, _) = self.present_life(partition)?;
        let has = self.store.hand_over(partition, &lives)?;
        out.reply_with(reply_to, HandedOver { life }, encode_clock(&has).into());
        Ok(())
    }

    /// A scan that is not finished although this copy contains all that every other owner has told will never be: what it has
    /// brought becomes this copy's own word, or its dots could never be handed over.
    fn adopt_orphans(&mut self, now: Time, partition: PartitionId) -> Result<(), EngineError> {
        if !self.owns(partition) || self.knows_its_lives(now, partition).is_err() {
            return Ok(());
        }
        let others = self.other_owners(partition);
        let Some(copy) = self.store.find(partition)?.filter(|copy| copy.is_scanning()) else { return Ok(()) };
        let contains = |peer| self.sync.heard.get(&(partition, peer)).is_some_and(|told| copy.clock().covers(told));
        if others.into_iter().all(contains) {
            self.be_sure_of_life(partition)?;
            self.store.adopt_orphans(partition)?;
        }
        Ok(())
    }

    // ---- the part of the owner that closes

    /// Looks whether there is something to close in a partition that this node owns, and begins if the time has come.
    pub(super) fn consider_closing(
        &mut self,
        now: Time,
        partition: PartitionId,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        // Of members only: what is refused of others nobody can ask them for.
        let mut refused = self.store.refused(partition).to_vec();
        refused.retain(|(node, _)| self.config.layout.member(*node).is_some());
        let Some(copy) = self.store.find(partition)? else { return Ok(()) };
        // Half done, it keeps those who have not heard of it from handing on what they have.
        let is_half_done = refused.iter().any(|(node, life)| *life > copy.clock().closed_below(*node));
        if !copy.has_several_lives() && !copy.clock().has_gaps() && !copy.maybe_unstripped() && !is_half_done {
            self.lives.open.remove(&partition);
            return Ok(());
        }
        let (since, not_before) = *self.lives.open.entry(partition).or_insert((now, Time(0)));
        let owners = self.holders(partition);
        let Some(rank) = owners.iter().position(|owner| *owner == self.config.node) else { return Ok(()) };
        let wait = Micros(limits::CLOSE_AFTER.0 * (rank as u64 + 1));
        let all_up = self.other_members().into_iter().all(|node| self.is_up(node));
        if now < not_before
            || now - since < wait
            || !all_up
            || self.lives.under_way.contains(&partition)
            || self.lives.under_way.len() >= limits::CLOSINGS_MAX
        {
            return Ok(());
        }
        self.lives.open.insert(partition, (since, now + limits::CLOSE_AGAIN));
        self.begin_closing(now, partition, out)
    }

    fn begin_closing(&mut self, now: Time, partition: PartitionId, out: &mut Effects) -> Result<(), EngineError> {
        let epoch = self.config.layout.epoch();
        let last_life = self.store.copy(partition)?.last_life(self.config.node);
        self.store.outlive(partition, last_life)?;
        let own = self.present_life(partition)?;
        let waiting = self.other_members();
        let mut closing = Closing {
            partition,
            epoch,
            said: [(self.config.node, own)].into(),
            waiting,
            step: Step::Asking,
            gives_up: now + limits::CLOSE_TIMEOUT,
        };
        let id = self.new_id();
        for peer in &closing.waiting {
            let last_life = self.store.copy(partition)?.last_life(*peer);
            out.send(*peer, id, AskLife { epoch, partition: partition.0, last_life }, Bytes::new());
        }
        self.lives.under_way.insert(partition);
        if closing.waiting.is_empty() && self.go_on(now, id, &mut closing, out)? {
            self.lives.under_way.remove(&partition);
            return Ok(());
        }
        let alarm = now + limits::CLOSE_EVERY;
        self.begin(id, Operation::Closing(closing), alarm);
        Ok(())
    }

    /// The members, those who are to leave, and guests that are there: a former member may still hold something, whether it
    /// knows that it was one or has lost its disk.
    fn other_members(&self) -> BTreeSet<NodeId> {
        let leaving = self.phases.partitions().flat_map(|p| self.phases.before(p)).copied();
        let guests = self.agree.guests().map(|guest| guest.member.id);
        let members = self.config.layout.members().iter().map(|m| m.id);
        members.chain(leaving).chain(guests).filter(|id| *id != self.config.node).collect()
    }

    pub(super) fn closing_heard(
        &mut self,
        now: Time,
        id: u64,
        closing: &mut Closing,
        heard: Heard,
        out: &mut Effects,
    ) -> Result<Then, EngineError> {
        let ends = match heard {
            Heard::Answer(from, message, body) if closing.waits_for(from) => {
                !self.takes(closing, from, &message, body, out) || {
                    closing.waiting.remove(&from);
                    closing.waiting.is_empty() && self.go_on(now, id, closing, out)?
                }
            }
            Heard::Lost(from) | Heard::Unsent(from) => closing.waits_for(from),
            Heard::Answer(..) => false,
            Heard::Alarm => {
                now >= closing.gives_up || (closing.waiting.is_empty() && self.go_on(now, id, closing, out)?)
            }
        };
        if ends || closing.epoch != self.config.layout.epoch() {
            self.lives.under_way.remove(&closing.partition);
            return Ok(Then::Done);
        }
        Ok(Then::Wait(Some(now + limits::CLOSE_EVERY)))
    }

    /// Takes a member's answer; false if the closing cannot go on with it.
    fn takes(&self, closing: &mut Closing, from: NodeId, message: &Message, body: Bytes, out: &mut Effects) -> bool {
        match (&mut closing.step, message) {
            (Step::Asking, Message::LifeIs(m)) => {
                closing.said.insert(from, (m.life, m.has_copy));
                true
            }
            (Step::Refusing { lives, handed }, Message::HandedOver(m)) => {
                // A copy that has begun a new life meanwhile may have sent something in the former one, which is not refused.
                let had_copy = closing.said.get(&from).is_some_and(|(_, has_copy)| *has_copy);
                let lives_on = !had_copy || m.life == life_of(lives, from);
                match decode_clock(body) {
                    Ok(clock) => {
                        handed.insert(from, clock);
                        lives_on
                    }
                    Err(why) => {
                        out.observe(Observation::Unreadable { peer: from, detail: why.to_string() });
                        false
                    }
                }
            }
            _ => false,
        }
    }

    /// Everybody has answered: goes on with the next step. True when there is no other.
    fn go_on(&mut self, now: Time, id: u64, closing: &mut Closing, out: &mut Effects) -> Result<bool, EngineError> {
        let partition = closing.partition;
        if matches!(closing.step, Step::Asking) {
            let lives: Vec<(NodeId, u64)> = closing.said.iter().map(|(node, (life, _))| (*node, *life)).collect();
            let Some(copy) = self.store.find(partition)? else { return Ok(true) };
            let own = life_of(&lives, self.config.node);
            let any = lives.iter().any(|(node, life)| *life > copy.clock().closed_below(*node));
            if copy.actor().life != own || !any {
                return Ok(true);
            }
            self.store.refuse(partition, &lives)?;
            self.adopt_orphans(now, partition)?;
            closing.waiting = self.other_members();
            let message = Refuse {
                epoch: closing.epoch,
                partition: partition.0,
                lives: lives.iter().map(|(node, life)| (node.0, *life)).collect(),
            };
            for peer in &closing.waiting {
                out.send(*peer, id, message.clone(), Bytes::new());
            }
            closing.step = Step::Refusing { lives, handed: BTreeMap::new() };
            if !closing.waiting.is_empty() {
                return Ok(false);
            }
        }
        let Step::Refusing { lives, handed } = &closing.step else { return Ok(true) };
        let Some(copy) = self.store.find(partition)? else { return Ok(true) };
        if copy.actor().life != life_of(lives, self.config.node) {
            return Ok(true);
        }
        let clock = copy.clock();
        let lacking: Vec<NodeId> = handed.iter().filter(|(_, has)| !clock.covers(has)).map(|(node, _)| *node).collect();
        if (lacking.is_empty() && !copy.is_scanning()) || broken(Rule::HandOver) {
            if self.store.close_lives(partition, lives)? {
                self.counters.closed += 1;
            }
            return Ok(true);
        }
        lacking.into_iter().for_each(|peer| self.sync.want(partition, peer));
        self.begin_pulls(now, out)?;
        Ok(false)
    }
}

/// The dots that an answer brings, as far as they are named.
fn brought(parts: &[Part]) -> Clock {
    let mut dots = Clock::new();
    for part in parts {
        match part {
            Part::Entry(entry) => entry.dots.iter().copied().chain(entry.object.dots()).for_each(|d| dots.add(d)),
            Part::Claim(claim) => claim.clock.ranges().chain(claim.remains.ranges()).for_each(|r| dots.add_range(r)),
            Part::Closed(_) => {}
        }
    }
    dots
}
