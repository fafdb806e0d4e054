//! All copies that one node holds: the turn's one batch, commits, and the lives of the copies.
//!
//! A turn changes copies in memory and gathers one batch; [`Store::commit`] writes it, and only then may anything that
//! was decided leave the node. Reads see the turn's own writes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::clock::Clock;
use crate::codec::{self, Corrupt};
use crate::copy::{Copy, Wholeness};
use crate::dot::{Actor, Dot, LIFE_MAX};
use crate::engine::{Engine, EngineError, Space, Step};
use crate::key::ObjectKey;
use crate::lives::{life_of, read_refused};
use crate::object::Object;
use crate::place::{clock_at, partition_end, partition_start, place_partition};
use crate::quarantine::{self, Quarantine};
use crate::rules::{Rule, broken};

/// The record in [`Space::Meta`] that says from which life on copies may go on.
const LIVES_FROM: &[u8] = b"lives-from";

/// The record in [`Space::Meta`] that no life given out so far reaches.
const LIVES_TO: &[u8] = b"lives-to";

/// The record in [`Space::Meta`] that says that the node has been told of its former lives by those who know, or has none.
const LIVES_KNOWN: &[u8] = b"lives-known";

/// Lives that one run may give out: every copy may begin one when it is opened, and another now and then.
const LIVES_A_RUN: u64 = 1 << 20;

/// What is known of how the last run on these data ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing that left the node can be missing here: it was stopped cleanly, or synced before it sent.
    Whole,
    /// The machine stopped without a word. What was synced is here; writes that were not, and that others have seen, may be
    /// missing: every copy begins a new life.
    Unsynced,
    /// Anything that others have seen may be missing, as on an older disk: every copy begins a new life, and nothing that the
    /// data say of what the node had done holds.
    MayLack,
}

/// By partition: all lives of these nodes below these, ascending by node.
pub(crate) type Lives = BTreeMap<PartitionId, Vec<(NodeId, u64)>>;

/// The copies of one node over one engine.
pub struct Store<E> {
    pub(crate) engine: E,
    node: NodeId,
    next_life: u64,
    /// Lives of this run are not below this one, all former ones on these data are.
    run_from: u64,
    /// No life up to here is given out in a later run.
    lives_to: u64,
    /// Random, and different in every run: so far beyond a former life that others know of a new one begins.
    life_step: u64,
    lives_from: u64,
    /// See [`Store::knows_its_lives`].
    knows_its_lives: bool,
    /// Every copy that is stored has been opened.
    all_opened: bool,
    pub(crate) refused: Lives,
    copies: BTreeMap<PartitionId, Copy>,
    /// The partitions known to have no copy here, so that asking again costs nothing.
    absent: BTreeSet<PartitionId>,
    pub(crate) turn: Turn,
    /// Partitions whose copies have changed, or gone, since the last sync.
    unsynced: BTreeSet<PartitionId>,
    /// Partitions whose copies cannot be relied on, as stored.
    pub(crate) quarantined: BTreeMap<PartitionId, Quarantine>,
    /// Records of the node itself have changed since the last sync.
    pub(crate) unsynced_records: bool,
}

/// What one turn has changed so far.
#[derive(Default)]
pub(crate) struct Turn {
    /// The objects written in this turn: each is written once, in its last state.
    objects: BTreeMap<Bytes, Option<Bytes>>,
    /// The object that was read last: a coordinator looks at a key before it takes a write to it.
    read: RefCell<Option<(Vec<u8>, Object)>>,
    steps: Vec<Step>,
    touched: BTreeSet<PartitionId>,
}

impl<E: Engine> Store<E> {
    /// Opens the copies of `node`. `first_life` is greater than any life the node has ever had, and comes from where a
    /// lost or restored disk cannot take it back (the wall clock, with random low bits): copies made in this run have
    /// lives from there on. Everything that is on the disk is made durable first.
    pub fn open(mut engine: E, node: NodeId, first_life: u64, past: Past) -> Result<Store<E>, EngineError> {
        engine.sync()?;
        // The wall clock may have been set back since the last run: lives go on from where that one could have come to,
        // and a random step beyond it, since the data may be an old backup with a later run on other data.
        let last = read_life(&engine, LIVES_TO)?;
        let beyond_the_last = last.saturating_add(first_life % LIVES_A_RUN);
        let refused = read_refused(&engine)?;
        let own = refused.values().map(|lives| life_of(lives, node)).max().unwrap_or(0);
        let next_life = first_life.max(beyond_the_last).max(own).min(LIFE_MAX);
        let mut lives_from = read_life(&engine, LIVES_FROM)?;
        if past != Past::Whole && !broken(Rule::Reuse) {
            lives_from = next_life;
        }
        let lives_to = next_life.saturating_add(LIVES_A_RUN);
        // A rolled back disk may have forgotten lives, and the runs after this one have forgotten them as well.
        let knows_its_lives = past != Past::MayLack && engine.get(Space::Meta, LIVES_KNOWN)?.is_some();
        let mut begun = vec![life_record(LIVES_FROM, lives_from), life_record(LIVES_TO, lives_to)];
        if !knows_its_lives {
            begun.push(Step::Delete(Space::Meta, Bytes::from_static(LIVES_KNOWN)));
        }
        engine.write(&begun, true)?;
        let quarantined = quarantine::load(&engine)?;
        Ok(Store {
            engine,
            node,
            next_life,
            run_from: next_life,
            lives_to,
            life_step: 1 + first_life % LIVES_A_RUN,
            lives_from,
            knows_its_lives,
            all_opened: false,
            refused,
            copies: BTreeMap::new(),
            absent: BTreeSet::new(),
            turn: Turn::default(),
            unsynced: BTreeSet::new(),
            quarantined,
            unsynced_records: false,
        })
    }

    /// The engine below, to look at.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The engine below, given back; what was not committed is dropped.
    pub fn into_engine(self) -> E {
        self.engine
    }

    /// About how many bytes the objects of a partition take, as of the last commit. Tenths of a millisecond, where they are many.
    pub fn stored_bytes(&self, partition: PartitionId) -> u64 {
        self.engine.size_between(Space::Objects, &partition_start(partition), &partition_end(partition))
    }

    /// The partitions of which a copy is stored, as of the last commit.
    pub fn stored_partitions(&self) -> Result<Vec<PartitionId>, EngineError> {
        let mut partitions = Vec::new();
        let mut wrong = false;
        self.engine.scan(Space::Clocks, &[], &[0xff; 3], &mut |at, _| {
            let partition = at.try_into().map(|bytes| PartitionId(u16::from_be_bytes(bytes)));
            wrong |= partition.is_err();
            partitions.extend(partition);
            true
        })?;
        if wrong {
            let detail = "the place of a checkpoint".into();
            return Err(EngineError::Damaged { place: Space::Clocks.name(), partition: None, detail });
        }
        Ok(partitions)
    }

    /// The copy of a partition, where this node holds one. One that is [shelved](Quarantine::Shelved) is not shown.
    pub fn find(&mut self, partition: PartitionId) -> Result<Option<&mut Copy>, EngineError> {
        if !self.copies.contains_key(&partition) {
            if self.absent.contains(&partition) || self.is_shelved(partition) {
                return Ok(None);
            }
            match Copy::load(&self.engine, self.node, partition)? {
                Some(copy) => {
                    let outlived = copy.actor().life < self.lives_from;
                    self.copies.insert(partition, copy);
                    if outlived {
                        self.begin_life(partition)?;
                    }
                }
                None => {
                    self.absent.insert(partition);
                    return Ok(None);
                }
            }
        }
        Ok(self.copies.get_mut(&partition))
    }

    /// The copy of a partition; an empty one in a new life where there is none.
    pub fn copy(&mut self, partition: PartitionId) -> Result<&mut Copy, EngineError> {
        if self.find(partition)?.is_none() {
            if self.is_shelved(partition) {
                return Err(damaged(partition, Space::Objects, &Corrupt("the copy is shelved: nobody else has it")));
            }
            let life = if broken(Rule::Reuse) { 1 } else { self.take_life() };
            let actor = Actor { node: self.node, life };
            self.absent.remove(&partition);
            self.copies.insert(partition, Copy::empty(partition, actor));
            self.touch(partition);
        }
        self.copies.get_mut(&partition).ok_or_else(|| EngineError::Failed("a copy vanished".into()))
    }

    /// A copy that is loaded already.
    pub(crate) fn loaded(&mut self, partition: PartitionId) -> Option<(&E, &mut Turn, &mut Copy)> {
        self.copies.get_mut(&partition).map(|copy| (&self.engine, &mut self.turn, copy))
    }

    /// Ends the copy's life, since it lacks something that it had or may have had: its actor is never used again, and it is
    /// recovering.
    pub fn begin_life(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        self.go_on_in_new_life(partition)?;
        self.copy(partition)?.set_wholeness(Wholeness::MayLack);
        Ok(())
    }

    /// Ends the copy's life, as a precaution: its actor is never used again.
    pub fn go_on_in_new_life(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        let life = self.take_life();
        let copy = self.copy(partition)?;
        if !broken(Rule::Reuse) {
            copy.begin_life(life);
            self.touch(partition);
        }
        Ok(())
    }

    /// The node has become an owner of the partition: its copy, if any, may lack what other owners have acknowledged, but
    /// nothing that it acknowledges from now on.
    pub fn begin_ownership(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        self.copy(partition)?.set_wholeness(Wholeness::New);
        self.touch(partition);
        Ok(())
    }

    /// The partition gets other owners, and this node was one of them. Where it `stays` one, there is more that its copy has to
    /// contain from now on. One that had not come to contain all when that happened the last time is as good as
    /// [new](Wholeness::New).
    pub fn owners_change(&mut self, partition: PartitionId, stays: bool) -> Result<(), EngineError> {
        let Some(copy) = self.find(partition)? else { return Ok(()) };
        let next = match copy.wholeness() {
            Wholeness::Whole if stays => Wholeness::Stays,
            Wholeness::Stays => Wholeness::New,
            _ => return Ok(()),
        };
        copy.set_wholeness(next);
        self.touch(partition);
        Ok(())
    }

    /// The copy contains what enough others have: it is whole.
    pub fn recovered(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        if let Some(copy) = self.find(partition)?.filter(|c| c.wholeness() != Wholeness::Whole) {
            copy.set_wholeness(Wholeness::Whole);
            self.touch(partition);
        }
        Ok(())
    }

    /// Hears that somebody knows these dots: a peer's clock, a client's context. If they include dots of the copy's own
    /// present life that the copy does not know of, it was rolled back unnoticed, and begins a new life before it can give
    /// those dots out again. True if it did. To be asked before [`Store::next_dot`], with the context of the write.
    pub fn hear(&mut self, partition: PartitionId, clock: &Clock) -> Result<bool, EngineError> {
        let last = clock.last_life(self.node);
        self.raise_lives(last);
        let is_behind = |copy: &mut Copy| copy.actor().life < last || copy.is_behind_itself(clock);
        let behind = self.find(partition)?.is_some_and(is_behind) && !broken(Rule::Reuse);
        if behind {
            self.begin_life(partition)?;
        }
        Ok(behind)
    }

    /// Hears that these nodes' lives below these are closed, or soon will be. A copy of this node that lives in one of them
    /// begins a new life beyond. True if it did.
    pub fn live_beyond(&mut self, partition: PartitionId, closed: &[(NodeId, u64)]) -> Result<bool, EngineError> {
        match life_of(closed, self.node) {
            0 => Ok(false),
            life if self.find(partition)?.is_some_and(|copy| copy.actor().life >= life) => Ok(false),
            life => {
                self.raise_lives(life - 1);
                let lives = self.find(partition)?.is_some() && !broken(Rule::Reuse);
                if lives {
                    self.begin_life(partition)?;
                }
                Ok(lives)
            }
        }
    }

    /// Hears of the greatest life of this node that somebody knows of in the partition. A copy that lives an earlier one begins
    /// a later one: such a life can only come of a clock that was set back, and it could never be closed. True if it did.
    pub fn outlive(&mut self, partition: PartitionId, last: u64) -> Result<bool, EngineError> {
        self.raise_lives(last);
        let ends = self.find(partition)?.is_some_and(|copy| copy.actor().life < last) && !broken(Rule::Reuse);
        if ends {
            self.begin_life(partition)?;
        }
        Ok(ends)
    }

    /// Closes all lives of these nodes below these, in this copy, from where answers bring the word to others. To be called
    /// only when every member has handed over what it had of them, takes no more of them but from those that have done the
    /// same, and this copy contains all that was handed over: then no other dot of them exists anywhere. So gaps are
    /// filled, contexts shrink, and clocks do not grow with restarts. Returns whether that is news.
    pub fn close_lives(&mut self, partition: PartitionId, lives: &[(NodeId, u64)]) -> Result<bool, EngineError> {
        if broken(Rule::Close) {
            return Ok(false);
        }
        self.absorb_closed(partition, lives)
    }

    /// Can the node be sure that the lives it gives out are greater than all it has ever had? It is so on data that remember
    /// that it [was told](Store::now_knows_its_lives). On a new disk, or after a rollback, there is only the wall clock, which
    /// may have been set back.
    pub fn knows_its_lives(&self) -> bool {
        self.knows_its_lives
    }

    /// Those who must know the node's former lives have told of them. Remembered with the turn's batch, restarts included.
    pub fn now_knows_its_lives(&mut self) {
        if !self.knows_its_lives {
            self.knows_its_lives = true;
            self.turn.push(Step::Put(Space::Meta, Bytes::from_static(LIVES_KNOWN), Bytes::new()));
        }
    }

    /// Opens every copy that is stored: before that, nobody can say what this node knows.
    pub(crate) fn open_all(&mut self) -> Result<(), EngineError> {
        if !self.all_opened {
            for partition in self.stored_partitions()? {
                self.find(partition)?;
            }
            self.all_opened = true;
        }
        Ok(())
    }

    /// Is there a copy whose present life began before this run?
    pub fn is_of_former_run(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        let run_from = self.run_from;
        Ok(self.find(partition)?.is_some_and(|copy| copy.actor().life < run_from))
    }

    pub(crate) fn raise_lives(&mut self, last: u64) {
        if last >= self.next_life {
            self.next_life = last.saturating_add(self.life_step).min(LIFE_MAX);
            self.reserve_lives();
        }
    }

    pub(crate) fn copies(&self) -> impl Iterator<Item = &Copy> {
        self.copies.values()
    }

    /// No life that is given out from now on is below this one.
    pub fn next_life(&self) -> u64 {
        self.next_life
    }

    /// The next dot of this node's copy of the partition. It is to be applied in the same turn: a dot that is never
    /// applied leaves a gap in every clock for good.
    pub fn next_dot(&mut self, partition: PartitionId) -> Result<Dot, EngineError> {
        Ok(self.copy(partition)?.next_dot())
    }

    /// What the copy has of a key, as it travels: its context filled with the past that the copy's clock vouches for.
    /// Nothing where there is no copy.
    pub fn read(&mut self, partition: PartitionId, key: &ObjectKey) -> Result<Object, EngineError> {
        self.find(partition)?;
        match self.loaded(partition) {
            Some((engine, turn, copy)) => copy.read(engine, turn, key),
            None => Ok(Object::default()),
        }
    }

    /// Merges an object or a delta that carries the writes `dots` into the copy: object, clock and index in one batch.
    /// Returns how many of the dots were new. [`Refused`] leaves the copy as it was.
    pub fn apply(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        object: Object,
        dots: &[Dot],
    ) -> Result<Result<usize, Refused>, EngineError> {
        self.raise_lives(object.context.last_life(self.node));
        let copy = self.copy(partition)?;
        let ahead = dots.iter().copied().chain(object.dots()).any(|d| copy.is_ahead(d));
        if (ahead || copy.is_behind_itself(&object.context)) && !broken(Rule::Reuse) {
            // Others know more of this actor than it does itself: its copy was rolled back.
            self.begin_life(partition)?;
        }
        self.touch(partition);
        match self.loaded(partition) {
            Some((engine, turn, copy)) => copy.apply(engine, turn, key, object, dots),
            None => Ok(Ok(0)),
        }
    }

    /// The clock that peers are told: what would survive a power cut. Empty where there is no copy.
    pub fn told(&mut self, partition: PartitionId) -> Result<Clock, EngineError> {
        Ok(self.find(partition)?.map_or_else(Clock::new, |c| c.told().clone()))
    }

    /// Writes the turn's batch. `durable`: all written so far survives a power cut once this returns.
    pub fn commit(&mut self, durable: bool) -> Result<(), EngineError> {
        self.turn.read.take();
        for partition in std::mem::take(&mut self.turn.touched) {
            let Some(copy) = self.copies.get_mut(&partition) else { continue };
            self.unsynced.insert(partition);
            if let Some(checkpoint) = copy.take_checkpoint() {
                self.turn.steps.push(Step::Put(Space::Clocks, clock_at(partition), checkpoint.into()));
            }
        }
        let mut steps = std::mem::take(&mut self.turn.steps);
        for (key, value) in std::mem::take(&mut self.turn.objects) {
            steps.push(match value {
                Some(value) => Step::Put(Space::Objects, key, value),
                None => Step::Delete(Space::Objects, key),
            });
        }
        if !steps.is_empty() {
            self.engine.write(&steps, durable)?;
        } else if durable && (!self.unsynced.is_empty() || self.unsynced_records) {
            self.engine.sync()?;
        }
        steps.clear();
        self.turn.steps = steps;
        if durable {
            self.unsynced_records = false;
            for partition in std::mem::take(&mut self.unsynced) {
                if let Some(copy) = self.copies.get_mut(&partition) {
                    copy.mark_synced();
                }
            }
        }
        Ok(())
    }

    /// Is there something that [`Store::commit`] would write?
    pub fn has_pending(&self) -> bool {
        !self.turn.steps.is_empty() || !self.turn.objects.is_empty() || !self.turn.touched.is_empty()
    }

    /// Is there something that a power cut would take?
    pub fn has_unsynced(&self) -> bool {
        self.has_pending() || !self.unsynced.is_empty() || self.unsynced_records
    }

    /// Writes a checkpoint of every copy that has changed since its last, and syncs: for a clean stop.
    pub fn close(&mut self) -> Result<(), EngineError> {
        for (partition, copy) in &mut self.copies {
            if copy.want_checkpoint() {
                self.turn.touched.insert(*partition);
            }
        }
        self.commit(true)
    }

    /// Marks the copy as changed in this turn.
    pub(crate) fn touch(&mut self, partition: PartitionId) {
        self.turn.touched.insert(partition);
    }

    /// Forgets the copy and what this turn would have written of its objects.
    pub(crate) fn forget(&mut self, partition: PartitionId) {
        self.copies.remove(&partition);
        self.absent.insert(partition);
        self.unsynced.insert(partition);
        self.turn.touched.remove(&partition);
        self.turn.objects.retain(|at, _| !at.starts_with(&partition.0.to_be_bytes()));
    }

    pub(crate) fn take_life(&mut self) -> u64 {
        let life = self.next_life;
        self.next_life += 1;
        self.reserve_lives();
        life
    }

    /// Peers may know of greater lives than this run began with: the next run must not forget it.
    fn reserve_lives(&mut self) {
        if self.next_life >= self.lives_to {
            self.lives_to = self.next_life.saturating_add(LIVES_A_RUN);
            self.turn.push(life_record(LIVES_TO, self.lives_to));
        }
    }
}

fn life_record(key: &'static [u8], life: u64) -> Step {
    Step::Put(Space::Meta, Bytes::from_static(key), Bytes::copy_from_slice(&life.to_le_bytes()))
}

/// A record of [`Space::Meta`] that holds a life; 0 where there is none yet.
fn read_life<E: Engine>(engine: &E, key: &[u8]) -> Result<u64, EngineError> {
    let stored = engine.get(Space::Meta, key)?;
    let life = stored.map_or(Ok(0), |bytes| bytes[..].try_into().map(u64::from_le_bytes));
    match life {
        Ok(life) if life <= LIFE_MAX => Ok(life),
        _ => {
            let detail = "a life that cannot be".into();
            Err(EngineError::Damaged { place: Space::Meta.name(), partition: None, detail })
        }
    }
}

/// An object came without a value that this copy would need: it was made for a copy that contained more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl Turn {
    /// The stored object of a key, as this turn sees it, and remembered for the write that may follow.
    pub(crate) fn object_to_read<E: Engine>(&self, engine: &E, at: Vec<u8>) -> Result<Object, EngineError> {
        let object = self.object(engine, &at)?;
        self.read.replace(Some((at, object.clone())));
        Ok(object)
    }

    /// The stored object of a key, as this turn sees it.
    pub(crate) fn object<E: Engine>(&self, engine: &E, at: &[u8]) -> Result<Object, EngineError> {
        if let Some((_, object)) = self.read.take().filter(|(read, _)| read == at) {
            return Ok(object);
        }
        let bytes = match self.objects.get(at) {
            Some(written) => written.clone(),
            None => engine.get(Space::Objects, at)?,
        };
        let wrong = |e| damaged(place_partition(at), Space::Objects, &e);
        bytes.map_or(Ok(Object::default()), |b| codec::decode_object(b).map_err(wrong))
    }

    pub(crate) fn set_object(&mut self, at: Bytes, value: Option<Vec<u8>>) {
        self.read.take();
        self.objects.insert(at, value.map(Bytes::from));
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.read.take(); // the step may remove what was read
        self.steps.push(step);
    }
}

/// The error for stored bytes that make no sense.
pub(crate) fn damaged(partition: PartitionId, space: Space, what: &Corrupt) -> EngineError {
    EngineError::Damaged { place: space.name(), partition: Some(partition), detail: what.to_string() }
}
