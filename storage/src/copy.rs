//! One copy of a partition: its clock, and how a key is read and written.
//!
//! What is stored of a copy: its objects; an index entry for every dot of its clock above the *watermark* (dots up to
//! there are in every owner's copy and have left the index); and a checkpoint of the clock. The clock is the checkpoint
//! plus the index entries since, so that a write costs one object and one index entry. Each index entry also says by how
//! much it moved the copy's *set hash* (a sum over keys of a hash of the key and its values' dots), so that the hash is
//! kept in the same batch as what it speaks of.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::clock::{Clock, DotRange};
use crate::codec::{self, Checkpoint, Claim};
use crate::dot::{Actor, Dot};
use crate::engine::{Engine, EngineError, Space, Step};
use crate::key::ObjectKey;
use crate::object::{Object, Payload, Sibling, merge_values};
use crate::place::{index_at, object_at, unstripped_at};
use crate::rules::{Rule, broken};
use crate::scans::Scans;
use crate::store::{Refused, Turn};

/// A checkpoint is due after so many dots: it bounds what is read when the copy is opened.
const CHECKPOINT_EVERY: u64 = 4096;

/// Index entries in a row that leave one by one. A deleted range is one record however many there were in it; but every reader of
/// the index has to arrange all such ranges that there are, so that many small ones make all reads slow.
const DELETED_ONE_BY_ONE: u64 = 32;

/// How much of what it should have does a copy have?
#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq, Default)]
pub enum Wholeness {
    /// All that it has acknowledged, and all that the former owners had acknowledged when the partition last got other owners.
    Whole,
    /// It was whole when the partition last got other owners, its own node among them. What the former owners acknowledged
    /// without it until then it may lack.
    Stays,
    /// It began when its node became an owner: it has all that it has acknowledged, and lacks what others had before.
    New,
    /// It may lack what it had acknowledged in a former life.
    #[default]
    MayLack,
}

/// One node's copy of one partition, an owner's or a stand-in's.
#[derive(Debug, Clone)]
pub struct Copy {
    partition: PartitionId,
    actor: Actor,
    wholeness: Wholeness,
    /// The last counter given out in this life.
    pub(crate) counter: u64,
    pub(crate) clock: Clock,
    pub(crate) watermark: Clock,
    /// The dots of closed lives that are still in the index: the clock does not name them any more.
    pub(crate) remains: Clock,
    pub(crate) content: u64,
    pub(crate) scans: Scans,
    /// Clock and content as of the last sync.
    synced: (Clock, u64),
    /// A scan was unfinished at the last sync.
    synced_ahead: bool,
    pub(crate) checkpoint_due: bool,
    /// Dots that came since the last checkpoint.
    pub(crate) since_checkpoint: u64,
    pub(crate) strips: Strips,
}

/// How far [`Store::strip`](crate::Store::strip) has come with the list of what is not stripped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strips {
    /// Some key may be on the list.
    pub(crate) any: bool,
    /// Some key was put on the list since the present pass began.
    pub(crate) added: bool,
    /// Keys of the present pass whose context must stay for now.
    pub(crate) left: usize,
    /// The greatest life of each node that those contexts name.
    pub(crate) named: BTreeMap<NodeId, u64>,
    /// Where the pass goes on; empty: it begins.
    pub(crate) from: Vec<u8>,
}

impl Copy {
    pub(crate) fn empty(partition: PartitionId, actor: Actor) -> Copy {
        Copy {
            partition,
            actor,
            wholeness: Wholeness::MayLack,
            counter: 0,
            clock: Clock::new(),
            watermark: Clock::new(),
            remains: Clock::new(),
            content: 0,
            scans: Scans::default(),
            synced: (Clock::new(), 0),
            synced_ahead: false,
            checkpoint_due: true,
            since_checkpoint: 0,
            strips: Strips::default(),
        }
    }

    /// Which partition.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The present life.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The set of dots whose effect the copy contains.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Dots up to here have left the index.
    pub fn watermark(&self) -> &Clock {
        &self.watermark
    }

    /// The clock that peers are told: what would survive a power cut.
    pub fn told(&self) -> &Clock {
        if broken(Rule::Volatile) { &self.clock } else { &self.synced.0 }
    }

    /// The set hash that belongs to [`Copy::told`]. Equal clocks have equal hashes, except where one of the copies
    /// [is ahead of its clock](Copy::told_ahead).
    pub fn told_content(&self) -> u64 {
        if broken(Rule::Volatile) { self.content } else { self.synced.1 }
    }

    /// Was a scan unfinished, or the copy recovering, at the moment that [`Copy::told`] speaks of? Its content then may be
    /// ahead of its clock, and says nothing about copies with an equal one: a scan brings objects before their dots, and one
    /// that begins anew is told of objects by copies that have forgotten the dots that all had.
    pub fn told_ahead(&self) -> bool {
        self.synced_ahead
    }

    /// The set hash as of now.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// How many dots may still be in the index: those of the clock above the watermark.
    pub fn indexed(&self) -> u64 {
        let open = self.watermark.bases().filter(|(actor, _)| !self.clock.is_closed(*actor));
        let below: u64 = open.map(|(_, base)| base).sum();
        (self.clock.len() + self.remains.len()).saturating_sub(below)
    }

    /// The dots of the index that the asker lacks, ascending within the open and within the closed lives.
    pub(crate) fn missing_in(&self, asker: &Clock) -> Vec<DotRange> {
        let mut missing = self.remains.missing_in(asker);
        missing.extend(self.clock.missing_in(asker));
        missing
    }

    /// What it has of the lives of these nodes below these, unfinished scans included.
    pub(crate) fn hand_over(&self, lives: &[(NodeId, u64)]) -> Clock {
        let mut has = self.clock.below(lives);
        self.scans.as_slice().iter().for_each(|scan| has.merge(&scan.clock.below(lives)));
        has
    }

    /// Does it name dots of more than one life of some node? All but the last have ended.
    pub fn has_several_lives(&self) -> bool {
        self.clock.names_several_lives()
    }

    /// Is a scan unfinished? Such a copy lacks some of what it has heard of, and has some of which its clock says nothing.
    pub fn is_scanning(&self) -> bool {
        !self.scans.is_empty()
    }

    /// May [`Store::strip`](crate::Store::strip) find something to do?
    pub fn maybe_unstripped(&self) -> bool {
        self.strips.any || !self.scans.is_empty()
    }

    /// The greatest life of a node that the copy knows of, from its clock or from contexts that could not be stripped.
    pub fn last_life(&self, node: NodeId) -> u64 {
        self.clock.last_life(node).max(self.strips.named.get(&node).copied().unwrap_or(0))
    }

    /// How much it has of what it should.
    pub fn wholeness(&self) -> Wholeness {
        self.wholeness
    }

    /// May it lack what it had acknowledged in a former life, or what others had when it began? So it is until
    /// [`Store::recovered`](crate::Store::recovered), restarts included.
    pub fn is_recovering(&self) -> bool {
        matches!(self.wholeness, Wholeness::New | Wholeness::MayLack)
    }

    /// May it lack what it has acknowledged itself? One that is [new](Wholeness::New) to its owner has not acknowledged anything
    /// before it began.
    pub fn may_lack(&self) -> bool {
        self.wholeness == Wholeness::MayLack
    }

    pub(crate) fn set_wholeness(&mut self, wholeness: Wholeness) {
        self.checkpoint_due |= self.wholeness != wholeness;
        self.wholeness = wholeness;
    }

    /// Does this dot of the copy's own present life say that the copy once contained more than it does?
    pub fn is_ahead(&self, dot: Dot) -> bool {
        dot.actor == self.actor && dot.counter > self.counter
    }

    /// Does this clock know dots of the copy's own present life that the copy does not know of itself?
    pub fn is_behind_itself(&self, clock: &Clock) -> bool {
        clock.greatest(self.actor) > self.counter
    }

    pub(crate) fn begin_life(&mut self, life: u64) {
        self.actor.life = life;
        self.counter = 0;
        self.checkpoint_due = true;
    }

    pub(crate) fn next_dot(&mut self) -> Dot {
        self.counter += 1;
        Dot { actor: self.actor, counter: self.counter }
    }

    pub(crate) fn mark_synced(&mut self) {
        self.synced.0.clone_from(&self.clock);
        self.synced.1 = self.content;
        self.synced_ahead = self.is_scanning() || self.is_recovering();
    }

    /// Asks for a checkpoint with the next batch if there is anything new to say; true if there is.
    pub(crate) fn want_checkpoint(&mut self) -> bool {
        self.checkpoint_due |= self.since_checkpoint > 0;
        self.checkpoint_due
    }

    pub(crate) fn take_checkpoint(&mut self) -> Option<Vec<u8>> {
        if !self.checkpoint_due && self.since_checkpoint < CHECKPOINT_EVERY {
            return None;
        }
        self.checkpoint_due = false;
        self.since_checkpoint = 0;
        Some(codec::encode_checkpoint(&Checkpoint {
            life: self.actor.life,
            wholeness: self.wholeness,
            clock: self.clock.clone(),
            watermark: self.watermark.clone(),
            content: self.content,
            remains: self.remains.clone(),
            scans: self.scans.as_slice().to_vec(),
        }))
    }

    pub(crate) fn read<E: Engine>(&self, engine: &E, turn: &Turn, key: &ObjectKey) -> Result<Object, EngineError> {
        let stored = turn.object_to_read(engine, object_at(self.partition, key.as_bytes()))?;
        Ok(self.fill(key, stored))
    }

    /// The travelling form of a stored object: its context with the past that the clock vouches for.
    pub(crate) fn fill(&self, key: &ObjectKey, stored: Object) -> Object {
        let mut context = if broken(Rule::Fill) { Clock::new() } else { self.clock.floor() };
        context.merge(&stored.context);
        self.scans.of(key).for_each(|clock| context.merge(clock));
        stored.dots().for_each(|d| context.add(d));
        Object { values: stored.values, context }
    }

    pub(crate) fn apply<E: Engine>(
        &mut self,
        engine: &E,
        turn: &mut Turn,
        key: &ObjectKey,
        incoming: Object,
        dots: &[Dot],
    ) -> Result<Result<usize, Refused>, EngineError> {
        let at = object_at(self.partition, key.as_bytes());
        let stored = turn.object(engine, &at)?;
        let mut new: Vec<Dot> = dots.iter().copied().chain(incoming.dots()).filter(|d| !self.clock.has(*d)).collect();
        new.sort_unstable();
        new.dedup();
        let mut context = incoming.context;
        let Some(kept) = self.merged(key, &stored, incoming.values, |d| context.has(d)) else {
            return Ok(Err(Refused));
        };
        let moved = content_moved(key, &stored, &kept);
        let mut unsaid = moved;
        for dot in &new {
            self.clock.add(*dot);
            if dot.counter > self.watermark.base(dot.actor) {
                let said = std::mem::take(&mut unsaid);
                turn.push(Step::Put(
                    Space::Index,
                    index_at(self.partition, *dot),
                    codec::encode_index(key, said).into(),
                ));
            }
        }
        self.since_checkpoint += new.len() as u64;
        self.checkpoint_due |= unsaid != 0;
        self.content = self.content.wrapping_add(moved);
        context.merge(&stored.context);
        self.store(turn, key, at, &stored, Object { values: kept, context });
        Ok(Ok(new.len()))
    }

    /// Takes in what a scan's source holds of a key, without its dots: they come with the claim at the scan's end, and
    /// until then the copy remembers in its [`Scans`] what it has seen of the keys behind the scan.
    pub(crate) fn apply_scanned<E: Engine>(
        &mut self,
        engine: &E,
        turn: &mut Turn,
        key: &ObjectKey,
        incoming: Object,
        source: &Clock,
    ) -> Result<Result<(), Refused>, EngineError> {
        let at = object_at(self.partition, key.as_bytes());
        let stored = turn.object(engine, &at)?;
        let mut context = incoming.context;
        let Some(kept) = self.merged(key, &stored, incoming.values, |d| source.has(d) || context.has(d)) else {
            return Ok(Err(Refused));
        };
        let moved = content_moved(key, &stored, &kept);
        self.content = self.content.wrapping_add(moved);
        self.checkpoint_due |= moved != 0;
        context.merge(&stored.context);
        if stored.dots().any(|d| kept.iter().all(|s| s.dot != d)) {
            // What took a value from here must be found again should the scan never end: see `orphans`.
            context.merge(source);
        }
        self.store(turn, key, at, &stored, Object { values: kept, context });
        Ok(Ok(()))
    }

    /// Has the copy every value that this object leaves out as known and that would survive here?
    pub(crate) fn has_known<E: Engine>(
        &self,
        engine: &E,
        turn: &Turn,
        key: &ObjectKey,
        incoming: &Object,
    ) -> Result<bool, EngineError> {
        let mut known = incoming.values.iter().filter(|s| s.value == Payload::Known).map(|s| s.dot).peekable();
        if known.peek().is_none() {
            return Ok(true);
        }
        let stored = turn.object(engine, &object_at(self.partition, key.as_bytes()))?;
        Ok(known.all(|d| stored.value(d).is_some() || self.has_seen(key, &stored, d)))
    }

    /// Has the copy seen the dot, as far as this key is concerned?
    fn has_seen(&self, key: &ObjectKey, stored: &Object, dot: Dot) -> bool {
        self.clock.has(dot) || stored.context.has(dot) || self.scans.have_seen(key, dot)
    }

    /// The values that survive; `None` when one is needed that did not come along.
    fn merged(
        &self,
        key: &ObjectKey,
        stored: &Object,
        incoming: Vec<Sibling>,
        seen_by_them: impl Fn(Dot) -> bool,
    ) -> Option<Vec<Sibling>> {
        let unseen_by_us = |d| !self.has_seen(key, stored, d);
        let kept = merge_values(stored.values.clone(), incoming, |d| !seen_by_them(d), unseen_by_us);
        kept.iter().all(|s| s.value != Payload::Known).then_some(kept)
    }

    /// Writes an object in stored form: its context without what the clock already says. A delete leaves nothing behind:
    /// the clock remembers it.
    pub(crate) fn store(&mut self, turn: &mut Turn, key: &ObjectKey, at: Vec<u8>, former: &Object, mut object: Object) {
        let mut beyond = if broken(Rule::Strip) { Clock::new() } else { object.context.beyond(&self.clock) };
        if !beyond.is_empty() {
            beyond = beyond.minus(&object.dots().collect());
        }
        if beyond.is_empty() != former.context.is_empty() {
            let marker = unstripped_at(self.partition, key);
            if !beyond.is_empty() {
                (self.strips.any, self.strips.added) = (true, true);
            }
            turn.push(match beyond.is_empty() {
                true => Step::Delete(Space::Index, marker),
                false => Step::Put(Space::Index, marker, Bytes::from_static(&[codec::FORMAT])),
            });
        }
        object.context = beyond;
        if object.values.is_empty() && object.context.is_empty() {
            if !(former.values.is_empty() && former.context.is_empty()) {
                turn.set_object(at.into(), None);
            }
        } else if !(object.same_values(former) && object.context == former.context) {
            let bytes = codec::encode_object(&object);
            turn.set_object(at.into(), Some(bytes));
        }
    }

    /// Raises the watermark and takes what is below it out of the index.
    pub(crate) fn raise_watermark(&mut self, turn: &mut Turn, actor: Actor, stable: u64) {
        let former = self.watermark.base(actor);
        let stable = stable.min(self.clock.base(actor));
        if stable > former {
            let at = |counter| index_at(self.partition, Dot { actor, counter });
            if stable - former <= DELETED_ONE_BY_ONE {
                (former + 1..=stable).for_each(|counter| turn.push(Step::Delete(Space::Index, at(counter))));
            } else {
                turn.push(Step::DeleteRange(Space::Index, at(former + 1), at(stable + 1)));
            }
            self.watermark.add_range(DotRange { actor, first: 1, last: stable });
            self.remains.forget_base(actor, stable);
            self.checkpoint_due = true;
        }
    }

    /// Raises the watermark over all of the node's lives below `life`, which are closed here, and takes what is left of them
    /// out of the index.
    pub(crate) fn raise_watermark_over(&mut self, turn: &mut Turn, node: NodeId, life: u64) {
        let former = self.watermark.closed_below(node);
        let life = life.min(self.clock.closed_below(node));
        if life > former {
            if !self.remains.of_lives_below(node, life).is_empty() {
                let at = |life| index_at(self.partition, Dot { actor: Actor { node, life }, counter: 0 });
                turn.push(Step::DeleteRange(Space::Index, at(former), at(life)));
                self.remains.forget_lives_below(node, life);
            }
            self.watermark.close(node, life);
            self.checkpoint_due = true;
        }
    }

    /// Takes in that all lives of a node below `life` are closed, and that this copy contains all their dots. What is still in
    /// the index of them stays there until every owner knows the same. Returns whether that is news.
    pub(crate) fn close(&mut self, node: NodeId, life: u64) -> bool {
        if life <= self.clock.closed_below(node) {
            return false;
        }
        for r in self.clock.of_lives_below(node, life).ranges() {
            let first = r.first.max(self.watermark.base(r.actor).saturating_add(1));
            self.remains.add_range(DotRange { first, ..r });
        }
        self.clock.close(node, life);
        self.checkpoint_due = true;
        true
    }

    /// Remembers how far a scan has come.
    pub(crate) fn scanned(&mut self, upto: &Bytes, clock: &Clock) {
        if !self.clock.covers(clock) {
            self.scans.remember(upto, clock);
            self.checkpoint_due = true;
        }
    }

    /// Remembers that a scan has brought entries of its source's index, which have seen all of `clock`.
    pub(crate) fn indexed_page(&mut self, clock: &Clock) {
        if !self.clock.covers(clock) && self.scans.remember_indexed(clock) {
            self.checkpoint_due = true;
        }
    }

    /// Takes over the clock and watermark of a finished scan's source.
    pub(crate) fn claim(&mut self, turn: &mut Turn, claim: &Claim) {
        if !broken(Rule::Claim) {
            for (node, life) in claim.clock.closed() {
                self.close(*node, *life);
            }
            self.clock.merge(&claim.clock);
            for (actor, top) in claim.watermark.bases() {
                self.raise_watermark(turn, actor, top);
            }
            for (node, life) in claim.watermark.closed() {
                self.raise_watermark_over(turn, *node, *life);
            }
        }
        self.forget_scans();
        self.checkpoint_due = true;
    }

    /// Forgets all scans that are not finished.
    pub(crate) fn drop_scans(&mut self) {
        self.scans = Scans::default();
        self.checkpoint_due = true;
    }

    /// Forgets the scans that the clock has caught up with. Returns whether there were any.
    pub(crate) fn forget_scans(&mut self) -> bool {
        let any = self.scans.forget(&self.clock);
        self.checkpoint_due |= any;
        any
    }
}

/// By how much a key's change of values moves the copy's set hash.
fn content_moved(key: &ObjectKey, stored: &Object, kept: &[Sibling]) -> u64 {
    if stored.dots().eq(kept.iter().map(|s| s.dot)) {
        return 0;
    }
    set_hash(key, kept.iter().map(|s| s.dot)).wrapping_sub(set_hash(key, stored.dots()))
}

/// What a key with these values adds to a copy's set hash; nothing when there are none.
pub(crate) fn set_hash(key: &ObjectKey, mut dots: impl Iterator<Item = Dot>) -> u64 {
    let Some(first) = dots.next() else { return 0 };
    std::iter::once(first).chain(dots).fold(xxh3_64(key.as_bytes()), |hash, dot| {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&dot.actor.node.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&dot.actor.life.to_le_bytes());
        bytes[16..].copy_from_slice(&dot.counter.to_le_bytes());
        xxh3_64_with_seed(&bytes, hash)
    })
}
