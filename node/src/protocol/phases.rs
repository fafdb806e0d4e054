//! Where each partition is on its way from former owners O to new owners N, so that strict quorums stay strict.
//!
//! | phase | writes | reads | ends when |
//! | --- | --- | --- | --- |
//! | joint | `w` of O and `w` of N | O | a majority of N contain what O had acknowledged before |
//! | read-new | `w` of O and `w` of N | N | so many of O have promised to answer no read of O any more that no such read can be answered |
//! | stable | N | N | (copies of former owners leave by the rule of [`super::handoff`]) |
//!
//! Going by the layout is the promise to take no write of the one before. A new owner *contains what O had* when it contains
//! what so many of O have told of their synced clocks since they promised that every acknowledged write is among it, be it of
//! O as well or not; until then it counts in no strict read of N ([`super::recovery`]). Its acknowledgements of writes count
//! at once: it has lost none. A copy that may lack what it acknowledged itself counts nowhere, and its clock proves nothing.
//!
//! Phases only go forward. They are promised durably before anything is said under them, and spread by maximum, with words
//! about them and with requests. Those who hold a partition tell each other, since they move it on; to all others the words
//! come as news does, from each to a few. The argument: `docs/membership.md`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_client::wire::{PhaseIs, Phases as Words};
use dynode_ring::{Layout, NodeId, PartitionId};
use dynode_storage::codec::{Corrupt, Reader, put_varint};
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Engine, EngineError};
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::agree::{Agree, Decision};
use super::recovery::{Vouchers, enough};
use super::{Effects, Node, Observation, Time};
use crate::limits;

/// The stored record: the epoch, whether promises were forgotten, and the phases of partitions that are not stable.
const RECORD: &str = "phases";

/// How far a partition is on its way to new owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The former owners answer reads.
    Joint,
    /// The new owners answer reads; writes still go to both.
    ReadNew,
    /// Only the new owners count.
    Stable,
}

/// A partition that is not stable yet.
#[derive(Debug, Clone)]
struct Moving {
    phase: Phase,
    /// The former owners.
    before: Vec<NodeId>,
    /// New owners that contain what the former ones had.
    whole: BTreeSet<NodeId>,
    /// Former owners that answer no read of the former owners any more.
    promised: BTreeSet<NodeId>,
}

/// The partitions on their way, as far as this node knows.
#[derive(Debug, Default)]
pub(super) struct Phases {
    moving: BTreeMap<PartitionId, Moving>,
    /// This node has lost its disk, and may have promised before to answer no read of former owners any more.
    forgot: bool,
    /// There is something to tell that has not been told.
    news: bool,
    /// The partitions among it that have moved on, with their former owners.
    lately: BTreeMap<PartitionId, Vec<NodeId>>,
    next_words: Time,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Joint => "joint",
            Phase::ReadNew => "read-new",
            Phase::Stable => "stable",
        }
    }

    fn from_byte(byte: u8) -> Option<Phase> {
        [Phase::Joint, Phase::ReadNew, Phase::Stable].into_iter().find(|phase| *phase as u8 == byte)
    }
}

/// So many of `n` owners that a majority of them cannot be without one of these.
fn blocking(n: usize) -> usize {
    n - n / 2
}

impl Phases {
    /// After a decision, with what was promised of it before.
    pub(super) fn of(decision: &Decision, promised: &BTreeMap<PartitionId, Phase>, forgot: bool) -> Phases {
        let moving = |(partition, before): &(PartitionId, Vec<NodeId>)| {
            let phase = promised.get(partition).copied().unwrap_or(Phase::Joint);
            let (whole, promised) = (BTreeSet::new(), BTreeSet::new());
            (phase < Phase::Stable && !broken(Rule::Switch))
                .then(|| (*partition, Moving { phase, before: before.clone(), whole, promised }))
        };
        let moving: BTreeMap<_, _> = decision.before.iter().filter_map(moving).collect();
        Phases { news: !moving.is_empty(), moving, forgot, lately: BTreeMap::new(), next_words: Time(0) }
    }

    /// As [`Phases::of`], from what is stored: nothing stored of this epoch means that nothing was promised but the layout.
    pub(super) fn read(decision: &Decision, stored: Option<Bytes>) -> Result<Phases, Corrupt> {
        let Some(stored) = stored else { return Ok(Phases::of(decision, &BTreeMap::new(), false)) };
        let mut r = Reader::with_format(stored)?;
        if r.varint()? != decision.epoch() {
            return Ok(Phases::of(decision, &BTreeMap::new(), false));
        }
        let forgot = r.byte()? != 0;
        let mut promised: BTreeMap<PartitionId, Phase> =
            decision.before.iter().map(|(partition, _)| (*partition, Phase::Stable)).collect();
        for _ in 0..r.count(2)? {
            let partition = u16::try_from(r.varint()?).map_err(|_| Corrupt("a partition that cannot be"))?;
            let phase = Phase::from_byte(r.byte()?).ok_or(Corrupt("a phase that there is not"))?;
            promised.insert(PartitionId(partition), phase);
        }
        r.finish()?;
        Ok(Phases::of(decision, &promised, forgot))
    }

    fn record(&self, epoch: u64) -> Bytes {
        let mut out = vec![1];
        put_varint(&mut out, epoch);
        out.push(u8::from(self.forgot));
        put_varint(&mut out, self.moving.len() as u64);
        for (partition, moving) in &self.moving {
            put_varint(&mut out, u64::from(partition.0));
            out.push(moving.phase as u8);
        }
        out.into()
    }

    /// Is every partition stable?
    pub(super) fn is_settled(&self) -> bool {
        self.moving.is_empty()
    }

    /// How many partitions are not stable.
    pub(super) fn len(&self) -> usize {
        self.moving.len()
    }

    pub(super) fn phase(&self, partition: PartitionId) -> Phase {
        self.moving.get(&partition).map_or(Phase::Stable, |moving| moving.phase)
    }

    /// The partitions that are not stable.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.moving.keys().copied()
    }

    /// The former owners, while the partition is not stable.
    pub(super) fn before(&self, partition: PartitionId) -> &[NodeId] {
        self.moving.get(&partition).map_or(&[], |moving| &moving.before)
    }

    /// Those who answer reads.
    pub(super) fn readers<'a>(&'a self, layout: &'a Layout, partition: PartitionId) -> &'a [NodeId] {
        match self.moving.get(&partition) {
            Some(moving) if moving.phase == Phase::Joint => &moving.before,
            _ => layout.owners(partition),
        }
    }

    pub(super) fn is_holder(&self, layout: &Layout, node: NodeId, partition: PartitionId) -> bool {
        layout.owns(node, partition) || self.before(partition).contains(&node)
    }

    /// All owners, new ones and former ones that still count: those who answer reads first.
    pub(super) fn holders(&self, layout: &Layout, partition: PartitionId) -> Vec<NodeId> {
        let mut holders = self.readers(layout, partition).to_vec();
        for node in layout.owners(partition).iter().chain(self.before(partition)) {
            if !holders.contains(node) {
                holders.push(*node);
            }
        }
        holders
    }
}

impl<E: Engine> Node<E> {
    /// How far a partition is on its way to new owners, as far as this node knows.
    pub fn phase(&self, partition: PartitionId) -> Phase {
        self.phases.phase(partition)
    }

    /// The partitions that are not stable, as far as this node knows.
    pub fn moving(&self) -> usize {
        self.phases.len()
    }

    /// The partitions that are not stable, for people: whom they leave, to whom they come, and who contains all already.
    pub(super) fn moving_report(&self) -> Value {
        let ids = |nodes: &mut dyn Iterator<Item = &NodeId>| nodes.map(NodeId::to_string).collect::<Vec<String>>();
        let one = |(partition, moving): (&PartitionId, &Moving)| {
            let owners = self.config.layout.owners(*partition);
            json!({
                "partition": partition.0,
                "phase": moving.phase.name(),
                "leaves": ids(&mut moving.before.iter().filter(|node| !owners.contains(node))),
                "comes_to": ids(&mut owners.iter().filter(|node| !moving.before.contains(node))),
                "contained_by": ids(&mut moving.whole.iter()),
            })
        };
        self.phases.moving.iter().map(one).collect()
    }

    /// Does this node answer reads of the partition?
    pub(super) fn reads(&self, partition: PartitionId) -> bool {
        self.readers(partition).contains(&self.config.node)
    }

    /// May this node have promised to answer no read of these owners any more, and have lost that with its disk? Then what it
    /// answers counts in no strict read.
    pub(super) fn may_have_promised(&self, partition: PartitionId) -> bool {
        let of_reads = self.phases.forgot && self.phase(partition) == Phase::Joint;
        (of_reads || self.agree.may_have_gone_on()) && !broken(Rule::Forgot)
    }

    /// May what this node acknowledges be lost on others, since its copy lacks what it had acknowledged before, or since it may have
    /// gone by a later layout, and promised by that to take no write under this one, before it lost its disk?
    pub(super) fn acknowledges_in_doubt(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        let is_bound = self.agree.may_have_gone_on() && !broken(Rule::Forgot);
        Ok(is_bound || self.may_lack(partition)?)
    }

    pub(super) fn readers(&self, partition: PartitionId) -> &[NodeId] {
        self.phases.readers(&self.config.layout, partition)
    }

    pub(super) fn holders(&self, partition: PartitionId) -> Vec<NodeId> {
        self.phases.holders(&self.config.layout, partition)
    }

    pub(super) fn is_holder(&self, node: NodeId, partition: PartitionId) -> bool {
        self.phases.is_holder(&self.config.layout, node, partition)
    }

    /// The partitions of which this node is an owner, a new or a former one that still counts, in order.
    pub(super) fn held_here(&self) -> Vec<PartitionId> {
        let (node, mut held) = (self.config.node, self.owned.clone());
        let former = self.phases.partitions().filter(|p| self.phases.before(*p).contains(&node));
        let former: Vec<PartitionId> = former.filter(|p| held.binary_search(p).is_err()).collect();
        if !former.is_empty() {
            held.extend(former);
            held.sort_unstable();
        }
        held
    }

    /// A word about where partitions are, from a peer that goes by the same layout. Whoever is behind is told.
    pub(super) fn phases_told(
        &mut self,
        now: Time,
        peer: NodeId,
        m: &Words,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        if m.epoch != self.config.layout.epoch() {
            self.saw_epoch(peer, m.epoch, out);
            return Ok(());
        }
        let (mut behind, mut moved) = (Vec::new(), false);
        for PhaseIs { partition, phase, whole } in &m.partitions {
            let (partition, Some(phase)) = (PartitionId(*partition), Phase::from_byte(*phase)) else { continue };
            if phase < self.phase(partition) && u32::from(partition.0) < self.config.layout.partitions() {
                behind.push(partition);
            }
            let Some(moving) = self.phases.moving.get_mut(&partition) else { continue };
            if *whole && self.config.layout.owns(peer, partition) {
                moving.whole.insert(peer);
            }
            if phase >= Phase::ReadNew && moving.before.contains(&peer) {
                moving.promised.insert(peer);
            }
            moved |= self.go_to(now, partition, phase, out)?;
        }
        self.store_phases(moved);
        if !behind.is_empty() && !m.partitions.is_empty() {
            let words = self.words(behind)?;
            out.send(peer, 0, words, Bytes::new());
        }
        Ok(())
    }

    fn words(&mut self, partitions: Vec<PartitionId>) -> Result<Words, EngineError> {
        let mut words = Vec::new();
        for partition in partitions {
            let phase = self.phase(partition) as u8;
            let whole = self.config.layout.owns(self.config.node, partition) && self.contains_all(partition)?;
            words.push(PhaseIs { partition: partition.0, phase, whole });
        }
        Ok(Words { epoch: self.config.layout.epoch(), partitions: words })
    }

    /// What this node says of a partition to one who asks under an older phase.
    pub(super) fn word_of(&mut self, partition: PartitionId) -> Result<Words, EngineError> {
        self.words(vec![partition])
    }

    /// The partition has come to this phase, as somebody has proved: goes by it, and promises to. Nothing if it had come
    /// further already.
    pub(super) fn move_on(
        &mut self,
        now: Time,
        partition: PartitionId,
        to: Phase,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let moved = self.go_to(now, partition, to, out)?;
        self.store_phases(moved);
        Ok(())
    }

    /// As [`Node::move_on`], where [`Node::store_phases`] follows in the same turn. Returns whether it moved.
    fn go_to(&mut self, now: Time, partition: PartitionId, to: Phase, out: &mut Effects) -> Result<bool, EngineError> {
        let Some(moving) = self.phases.moving.get_mut(&partition).filter(|moving| moving.phase < to) else {
            return Ok(false);
        };
        moving.phase = to;
        self.phases.lately.insert(partition, moving.before.clone());
        self.phases.news = true;
        if to == Phase::Stable {
            self.phases.moving.remove(&partition);
            self.sync.only_of(partition, self.config.layout.owners(partition));
            if !self.owns(partition) && self.store.find(partition)?.is_some() {
                // What it has goes to those owners who lack it, and then it leaves.
                self.hints.found(partition, self.store.stored_bytes(partition), now);
            }
        }
        out.observe(Observation::Phase { partition, phase: to });
        self.ask_anew(now, partition, out)?;
        Ok(true)
    }

    /// Once for all that has moved in a turn: the record has all partitions in it.
    fn store_phases(&mut self, moved: bool) {
        if moved {
            self.store.set_record(RECORD, self.phases.record(self.config.layout.epoch()));
        }
    }

    /// Moves partitions on where it can be proved, and tells others where they are. Ten times a second.
    pub(super) fn tend_phases(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        let partitions: Vec<PartitionId> = self.phases.partitions().collect();
        let me = self.config.node;
        let mut moved = false;
        for partition in &partitions {
            self.is_whole_by_now(*partition)?;
            let own_is_whole = self.config.layout.owns(me, *partition) && self.contains_all(*partition)?;
            let owners = self.config.layout.owners(*partition).len();
            let Some(moving) = self.phases.moving.get_mut(partition) else { continue };
            if own_is_whole && moving.whole.insert(me) {
                self.phases.news = true;
            }
            if moving.phase == Phase::ReadNew && moving.before.contains(&me) {
                moving.promised.insert(me);
            }
            let next = match moving.phase {
                Phase::Joint if moving.whole.len() > owners / 2 => Phase::ReadNew,
                Phase::Joint if !moving.whole.is_empty() && broken(Rule::ReadNew) => Phase::ReadNew,
                Phase::ReadNew if moving.promised.len() >= blocking(moving.before.len()) => Phase::Stable,
                as_it_is => as_it_is,
            };
            moved |= self.go_to(now, *partition, next, out)?;
        }
        self.store_phases(moved);
        let due = now >= self.phases.next_words && !self.phases.is_settled();
        if self.phases.news || due {
            self.phases.news = false;
            if due {
                self.phases.next_words = now + limits::SYNC_EVERY;
            }
            self.tell_phases(due, out)?;
        }
        Ok(())
    }

    /// Tells those who hold the same partitions of all of these, and a few of all others of what has moved, or, when it is
    /// `due`, of everything that moves. To tell everybody everything costs members² messages.
    fn tell_phases(&mut self, due: bool, out: &mut Effects) -> Result<(), EngineError> {
        let me = self.config.node;
        let lately = std::mem::take(&mut self.phases.lately);
        let all: BTreeSet<PartitionId> = lately.keys().copied().chain(self.phases.partitions()).collect();
        let mut to: BTreeMap<NodeId, BTreeSet<PartitionId>> = BTreeMap::new();
        for partition in &all {
            let mut holders: BTreeSet<NodeId> = self.holders(*partition).into_iter().collect();
            holders.extend(lately.get(partition).into_iter().flatten());
            if holders.remove(&me) {
                holders.into_iter().for_each(|node| {
                    to.entry(node).or_default().insert(*partition);
                });
            }
        }
        let mut peers: Vec<NodeId> = self.up.iter().copied().collect();
        let (some, _) = peers.partial_shuffle(&mut self.rng, limits::LAYOUT_NEWS_FANOUT);
        for node in some.iter() {
            let news: Vec<PartitionId> =
                if due { all.iter().copied().collect() } else { lately.keys().copied().collect() };
            to.entry(*node).or_default().extend(news);
        }
        for (peer, partitions) in to {
            if !partitions.is_empty() && self.is_up(peer) {
                let words = self.words(partitions.into_iter().collect())?;
                out.send(peer, 0, words, Bytes::new());
            }
        }
        Ok(())
    }

    /// Under a new layout: everything that it moves is joint. Who cannot know what it has promised of it before is as good as
    /// bound by it.
    pub(super) fn begin_phases(&mut self, decision: &Decision) {
        self.phases = Phases::of(decision, &BTreeMap::new(), !self.agree.knows_its_votes());
        self.store.set_record(RECORD, self.phases.record(decision.epoch()));
    }

    /// Is this node a former owner of a partition that is not stable?
    pub(super) fn was_owner(&self, partition: PartitionId) -> bool {
        self.phases.before(partition).contains(&self.config.node)
    }

    /// Is there another copy that could tell what this node's lacks?
    pub(super) fn has_vouchers(&self, partition: PartitionId) -> bool {
        let before = self.phases.before(partition);
        let owners = if before.is_empty() { self.config.layout.owners(partition) } else { before };
        owners.iter().any(|node| *node != self.config.node)
    }

    /// Of how many of which nodes' synced clocks must a copy that is not whole contain all, until it contains every write that
    /// was acknowledged before? See [`Node::recover`]. Who has forgotten what it promised may have served when only the new owners
    /// counted: what it has acknowledged then former owners do not know.
    pub(super) fn vouchers(&mut self, partition: PartitionId) -> Result<Vec<Vouchers>, EngineError> {
        let me = self.config.node;
        let has_own = self.store.find(partition)?.is_some_and(|copy| !copy.may_lack());
        let before = self.phases.before(partition);
        let owners = if before.is_empty() { self.config.layout.owners(partition) } else { before };
        let others: Vec<NodeId> = owners.iter().copied().filter(|node| *node != me).collect();
        let needed = match (before.is_empty(), owners.contains(&me)) {
            _ if broken(Rule::OneVoucher) && !before.is_empty() => 1,
            // What was acknowledged by itself it has.
            (false, true) if has_own => blocking(owners.len()) - 1,
            (false, false) => blocking(owners.len()),
            (true, _) if has_own => 1.min(others.len()),
            _ => enough(owners.len()),
        };
        let mut vouchers = vec![Vouchers { needed, one_whole: true, nodes: others }];
        if !before.is_empty() && !has_own && self.phases.forgot && !broken(Rule::Forgot) {
            let owners = self.config.layout.owners(partition);
            let nodes = owners.iter().copied().filter(|node| *node != me).collect();
            vouchers.push(Vouchers { needed: enough(owners.len()), one_whole: false, nodes });
        }
        Ok(vouchers)
    }
}

/// The phases that this node has promised.
pub(super) fn phases_of<E: Engine>(agree: &Agree, store: &mut dynode_storage::Store<E>) -> Result<Phases, EngineError> {
    let mut phases = Phases::read(agree.decision(), store.record(RECORD)?).map_err(|why| EngineError::Damaged {
        place: "meta",
        partition: None,
        detail: why.to_string(),
    })?;
    // On an older disk it may have promised more since. A later run, which may know its votes, must not take that for less.
    if !agree.knows_its_votes() && !phases.forgot {
        phases.forgot = true;
        if !phases.is_settled() {
            store.set_record(RECORD, phases.record(agree.decision().epoch()));
        }
    }
    Ok(phases)
}
