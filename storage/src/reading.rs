//! Reading the index for one that is behind, part by part, in time that grows with what is missing and not with its square.
//!
//! An entry carries *every* dot of its key that the asker lacks: an effect never travels without its dot. So before the
//! first entry can be given the index of all that is missing must have been read. It is read once, in slices, and of each
//! dot are kept a hash of its key and where it is: 16 bytes. Then the entries go out in the order of their dots, so that
//! the asker's clock stays in few runs, and the hash tells which further dots a key has. What is written meanwhile is
//! read before the next part goes out. Where more is missing than may be kept, the first so many dots are a *window*:
//! their keys' other dots are kept wherever they are, the rest waits for the next window.
//!
//! The asker's clock, which comes with every question, is the only word of what it has taken in: what was lost on the way
//! is given again.

use std::collections::{BTreeSet, VecDeque};

use dynode_ring::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use crate::answer::{Budget, Delta, entry};
use crate::clock::{Clock, DotRange};
use crate::codec::{self, Corrupt};
use crate::copy::Copy;
use crate::dot::{Actor, Dot};
use crate::engine::{EngineError, Space, View};
use crate::key::ObjectKey;
use crate::place::{index_at, index_dot};
use crate::rules::{Rule, broken};
use crate::store::damaged;

/// Dots kept by one reading: 3 MiB. It takes so many missing in one partition to need a second window.
const ROOM: usize = 1 << 17;

/// A key that was written more often than this while its asker was away is given with so many dots, and the rest of them
/// with a later part. It takes an index that could not be cut ([`crate::Store::cut_index`]), for one key alone.
const DOTS_A_KEY_MAX: usize = 1 << 20;

/// Index entries read for one part, for each key that it may have: reading one costs about a tenth of giving it.
const READS_A_KEY: usize = 8;

/// Index entries read at a time while a part is made: a few more than it takes may be read in vain.
const BATCH: usize = 128;

/// No dot comes after this.
const AFTER_ALL: Dot = Dot { actor: Actor { node: NodeId(u64::MAX), life: u64::MAX }, counter: u64::MAX };

/// What the source of a delta remembers between its parts.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What the asker had when it asked last. One that has less than that is another copy, or was rolled back.
    asker: Clock,
    /// What the source had then.
    source: Clock,
    /// What has been read or stands in `pending`, and what the asker had.
    seen: Clock,
    /// What is still to be read.
    pending: Clock,
    /// The dots that can be given: of their keys all that the asker lacks is held.
    window: Clock,
    /// The window is all that is missing.
    whole: bool,
    held: Held,
    room: usize,
    /// So many dots may be held before the window gets smaller.
    limit: usize,
}

/// Dots by the hash of their key. Keys that share a hash are told apart by the index.
#[derive(Debug, Clone, Default)]
struct Held {
    actors: Vec<Actor>,
    /// Hash, place of the actor, counter.
    dots: BTreeSet<(u32, u32, u64)>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading::with_room(ROOM)
    }
}

impl Reading {
    /// Nothing has been read yet.
    pub fn new() -> Reading {
        Reading::default()
    }

    /// One that keeps about so many dots.
    pub fn with_room(room: usize) -> Reading {
        Reading {
            asker: Clock::new(),
            source: Clock::new(),
            seen: Clock::new(),
            pending: Clock::new(),
            window: Clock::new(),
            whole: true,
            held: Held::default(),
            room,
            limit: room,
        }
    }

    /// The next part for an asker that has this clock now. With `more` and no entries it was not read far enough yet: no
    /// part takes longer than reading so much of the index as its budget allows.
    pub(crate) fn part<V: View>(
        &mut self,
        view: &V,
        copy: &Copy,
        asker: &Clock,
        budget: Budget,
    ) -> Result<Delta, EngineError> {
        self.look(copy, asker);
        self.read(view, copy, budget)?;
        if !self.pending.is_empty() {
            return Ok(Delta { more: true, ..Delta::default() });
        }
        self.give(view, copy, asker, budget)
    }

    /// Finds what is to be read besides.
    fn look(&mut self, copy: &Copy, asker: &Clock) {
        let goes_on = asker.covers(&self.asker) && copy.clock().covers(&self.source);
        let is_given = !self.whole && asker.covers(&self.window);
        if !goes_on || is_given {
            *self = Reading::with_room(self.room);
        }
        self.asker.clone_from(asker);
        self.source.clone_from(copy.clock());
        self.seen.merge(asker);
        // What the asker was told by others may have left the index.
        self.pending = self.pending.minus(asker);
        above_watermark(copy, copy.missing_in(&self.seen)).for_each(|range| self.pending.add_range(range));
        self.seen.merge(copy.clock());
        self.seen.merge(&copy.remains);
    }

    fn read<V: View>(&mut self, view: &V, copy: &Copy, budget: Budget) -> Result<(), EngineError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut ranges: VecDeque<DotRange> = std::mem::take(&mut self.pending).ranges().collect();
        let most = budget.keys.max(1).saturating_mul(READS_A_KEY);
        let read = read_index(view, copy, &mut ranges, most, &mut |dot, key| self.hold(dot, &key));
        ranges.into_iter().for_each(|range| self.pending.add_range(range));
        read
    }

    fn hold(&mut self, dot: Dot, key: &ObjectKey) {
        let hash = hash(key);
        self.whole &= self.held.dots.len() < self.room.max(DOTS_A_KEY_MAX);
        if self.whole {
            self.window.add(dot);
        } else if self.held.of(hash).next().is_none() || self.held.dots.len() >= self.room.max(DOTS_A_KEY_MAX) {
            return;
        }
        self.held.insert(hash, dot);
        if self.held.dots.len() > self.limit {
            self.shrink();
            // One key's dots may be more than there is room for.
            self.limit = self.room.max(2 * self.held.dots.len());
        }
    }

    /// Makes the window so small that what is held of its keys takes half of the room, or is of one key.
    fn shrink(&mut self) {
        // Of each key its first dot in the window, and how many dots are held.
        let mut keys: Vec<(Dot, usize, u32)> = Vec::new();
        let mut last = None;
        for (hash, dot) in self.held.iter() {
            let first = if self.window.has(dot) { dot } else { AFTER_ALL };
            match keys.last_mut().filter(|_| last == Some(hash)) {
                Some(key) => *key = (key.0.min(first), key.1 + 1, hash),
                None => keys.push((first, 1, hash)),
            }
            last = Some(hash);
        }
        keys.sort_unstable();
        let mut held = 0;
        let fits = |key: &&(Dot, usize, u32)| {
            held += key.1;
            held <= self.room / 2
        };
        let kept = keys.iter().take_while(fits).count().max(1);
        let Some((end, ..)) = keys.get(kept) else { return };
        let dropped: BTreeSet<u32> = keys[kept..].iter().map(|key| key.2).collect();
        self.whole = false;
        self.window = before(&self.window, *end);
        self.held.dots.retain(|(hash, ..)| !dropped.contains(hash));
    }

    /// All that is missing has been read: gives the next entries of the window.
    fn give<V: View>(&self, view: &V, copy: &Copy, asker: &Clock, budget: Budget) -> Result<Delta, EngineError> {
        let mut delta = Delta::default();
        let mut todo: VecDeque<DotRange> = self.window.missing_in(asker).into();
        let (mut size, mut given) = (0, Clock::new());
        while !todo.is_empty() && !budget.is_spent(size, delta.entries.len()) {
            let mut batch = Vec::new();
            let most = BATCH.min(budget.keys.saturating_sub(delta.entries.len())).max(1);
            read_index(view, copy, &mut todo, most, &mut |dot, key| batch.push((dot, key)))?;
            for (dot, key) in batch {
                if given.has(dot) {
                    continue;
                }
                if budget.is_spent(size, delta.entries.len()) {
                    break;
                }
                let dots = self.dots_of(view, copy, asker, dot, &key)?;
                let (entry, bytes) = entry(view, copy, asker, key, dots)?;
                size += bytes;
                entry.dots.iter().for_each(|d| given.add(*d));
                delta.entries.push(entry);
            }
        }
        given.merge(asker);
        delta.more = !self.whole || !given.covers(&self.window);
        Ok(delta)
    }

    /// Every dot of the key that the asker lacks, ascending; `dot` is one of them.
    fn dots_of<V: View>(
        &self,
        view: &V,
        copy: &Copy,
        asker: &Clock,
        dot: Dot,
        key: &ObjectKey,
    ) -> Result<Vec<Dot>, EngineError> {
        let mut dots = vec![dot];
        for other in self.held.of(hash(key)).filter(|other| *other != dot && !asker.has(*other)) {
            let bytes = view.get(Space::Index, &index_at(copy.partition(), other))?;
            match bytes.map(codec::decode_index) {
                Some(Ok((of, _))) if of == *key => dots.push(other),
                Some(Ok(_)) => {} // the hash alone is the same
                Some(Err(e)) => return Err(damaged(copy.partition(), Space::Index, &e)),
                None => return Err(damaged(copy.partition(), Space::Index, &HOLE)),
            }
        }
        dots.sort_unstable();
        Ok(dots)
    }
}

impl Held {
    fn insert(&mut self, hash: u32, dot: Dot) {
        let at = self.actors.iter().rposition(|actor| *actor == dot.actor).unwrap_or_else(|| {
            self.actors.push(dot.actor);
            self.actors.len() - 1
        });
        self.dots.insert((hash, at as u32, dot.counter));
    }

    fn iter(&self) -> impl Iterator<Item = (u32, Dot)> + '_ {
        let dot = |at: u32, counter| Dot { actor: self.actors[at as usize], counter };
        self.dots.iter().map(move |(hash, at, counter)| (*hash, dot(*at, *counter)))
    }

    fn of(&self, hash: u32) -> impl Iterator<Item = Dot> + '_ {
        let dots = self.dots.range((hash, 0, 0)..=(hash, u32::MAX, u64::MAX));
        dots.map(|(_, at, counter)| Dot { actor: self.actors[*at as usize], counter: *counter })
    }
}

/// Every dot above the watermark has its entry: a hole would be a write that nobody can be told of.
const HOLE: Corrupt = Corrupt("the index lacks an entry of the clock");

/// What of these is in the index.
pub(crate) fn above_watermark(copy: &Copy, missing: Vec<DotRange>) -> impl Iterator<Item = DotRange> + '_ {
    let floor = |r: &DotRange| copy.watermark().base(r.actor).saturating_add(1);
    missing.into_iter().map(move |r| DotRange { first: r.first.max(floor(&r)), ..r }).filter(|r| r.first <= r.last)
}

/// Reads the index entries of the first dots of `ranges`, at most so many, and takes these dots out.
pub(crate) fn read_index<V: View>(
    view: &V,
    copy: &Copy,
    ranges: &mut VecDeque<DotRange>,
    most: usize,
    each: &mut dyn FnMut(Dot, ObjectKey),
) -> Result<(), EngineError> {
    let mut left = most;
    while left > 0
        && let Some(range) = ranges.front_mut()
    {
        let at = |counter| index_at(copy.partition(), Dot { actor: range.actor, counter });
        let (from, to) = (at(range.first), at(range.last.saturating_add(1)));
        let (mut next, mut wrong) = (range.first, None);
        view.scan(Space::Index, &from, &to, &mut |at, value| {
            left -= 1;
            match index_dot(at).zip(codec::decode_index(bytes::Bytes::copy_from_slice(value)).ok()) {
                Some((dot, (key, _))) if dot.counter == next || broken(Rule::Delta) => {
                    next = dot.counter + 1;
                    each(dot, key);
                }
                Some(_) => wrong = Some(HOLE),
                None => wrong = Some(Corrupt("an index entry")),
            }
            wrong.is_none() && left > 0
        })?;
        let is_read = next > range.last;
        if wrong.is_none() && left > 0 && !is_read && !broken(Rule::Delta) {
            wrong = Some(HOLE);
        }
        if let Some(wrong) = wrong {
            return Err(damaged(copy.partition(), Space::Index, &wrong));
        }
        match is_read || left > 0 {
            true => drop(ranges.pop_front()),
            false => range.first = next,
        }
    }
    Ok(())
}

/// The dots of a window before this one.
fn before(window: &Clock, end: Dot) -> Clock {
    let mut out = Clock::new();
    for range in window.ranges().filter(|r| Dot { actor: r.actor, counter: r.first } < end) {
        let last = if range.actor == end.actor { range.last.min(end.counter - 1) } else { range.last };
        out.add_range(DotRange { last, ..range });
    }
    out
}

fn hash(key: &ObjectKey) -> u32 {
    xxh3_64(key.as_bytes()) as u32
}
