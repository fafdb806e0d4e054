//! A set of dots: per actor a contiguous base and ranges beyond it.
//!
//! A clock says what a copy contains, a context says what a reader has seen; both are exact sets. Rounding one up to a
//! version vector would lose writes.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::dot::{Actor, Dot};

/// The counters of one actor: `1..=base`, and ranges beyond.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    base: u64,
    /// Inclusive, ascending, disjoint, not adjacent to each other nor to the base.
    beyond: Vec<(u64, u64)>,
}

/// A run of dots of one actor, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotRange {
    /// Whose dots.
    pub actor: Actor,
    /// The first counter.
    pub first: u64,
    /// The last counter.
    pub last: u64,
}

/// An exact set of dots.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Clock {
    /// Ascending by actor; no entry is empty.
    actors: Vec<(Actor, Seen)>,
}

impl Seen {
    fn is_empty(&self) -> bool {
        self.base == 0 && self.beyond.is_empty()
    }

    fn has(&self, counter: u64) -> bool {
        if counter <= self.base {
            return counter > 0;
        }
        let after = self.beyond.partition_point(|r| r.0 <= counter);
        after > 0 && counter <= self.beyond[after - 1].1
    }

    /// Adds `first..=last`.
    fn insert(&mut self, first: u64, last: u64) {
        if first <= self.base.saturating_add(1) {
            self.base = self.base.max(last);
        } else {
            let start = self.beyond.partition_point(|r| r.1.saturating_add(1) < first);
            let end = self.beyond.partition_point(|r| r.0 <= last.saturating_add(1));
            let mut merged = (first, last);
            for r in &self.beyond[start..end] {
                merged = (merged.0.min(r.0), merged.1.max(r.1));
            }
            self.beyond.splice(start..end, [merged]);
        }
        let swallowed = self.beyond.iter().take_while(|r| r.0 <= self.base.saturating_add(1)).count();
        if let Some(last) = swallowed.checked_sub(1) {
            self.base = self.base.max(self.beyond[last].1);
            self.beyond.drain(..swallowed);
        }
    }

    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (self.base > 0).then_some((1, self.base)).into_iter().chain(self.beyond.iter().copied())
    }

    /// Calls `each` for every range of `self` that `other` lacks.
    fn missing_in(&self, other: Option<&Seen>, mut each: impl FnMut(u64, u64)) {
        let Some(other) = other else {
            return self.ranges().for_each(|(a, b)| each(a, b));
        };
        for (mut first, last) in self.ranges() {
            if last <= other.base {
                continue;
            }
            first = first.max(other.base + 1);
            let from = other.beyond.partition_point(|r| r.1 < first);
            let mut whole = true;
            for &(a, b) in other.beyond[from..].iter().take_while(|r| r.0 <= last) {
                if a > first {
                    each(first, a - 1);
                }
                if b >= last {
                    whole = false;
                    break;
                }
                first = b + 1;
            }
            if whole {
                each(first, last);
            }
        }
    }
}

impl Clock {
    /// The empty set.
    pub fn new() -> Clock {
        Clock::default()
    }

    /// True for the empty set.
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty()
    }

    /// How many actors it has dots of.
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// How many dots are in it.
    pub fn len(&self) -> u64 {
        self.ranges().fold(0u64, |n, r| n.saturating_add((r.last - r.first).saturating_add(1)))
    }

    fn seen(&self, actor: Actor) -> Option<&Seen> {
        self.actors.binary_search_by_key(&actor, |e| e.0).ok().map(|i| &self.actors[i].1)
    }

    fn seen_mut(&mut self, actor: Actor) -> &mut Seen {
        let at = match self.actors.binary_search_by_key(&actor, |e| e.0) {
            Ok(at) => at,
            Err(at) => {
                self.actors.insert(at, (actor, Seen::default()));
                at
            }
        };
        &mut self.actors[at].1
    }

    /// Adds one dot. Counter 0 is no dot and is passed over.
    pub fn add(&mut self, dot: Dot) {
        self.add_range(DotRange { actor: dot.actor, first: dot.counter, last: dot.counter });
    }

    /// Adds a run of dots.
    pub fn add_range(&mut self, range: DotRange) {
        let first = range.first.max(1);
        if first <= range.last {
            self.seen_mut(range.actor).insert(first, range.last);
        }
    }

    /// Is the dot in it?
    pub fn has(&self, dot: Dot) -> bool {
        self.seen(dot.actor).is_some_and(|s| s.has(dot.counter))
    }

    /// The actor's contiguous base: all of `1..=base` is in the set. 0 when nothing is.
    pub fn base(&self, actor: Actor) -> u64 {
        self.seen(actor).map_or(0, |s| s.base)
    }

    /// The actor's greatest counter in the set; 0 when there is none.
    pub fn greatest(&self, actor: Actor) -> u64 {
        self.seen(actor).map_or(0, |s| s.beyond.last().map_or(s.base, |r| r.1))
    }

    /// Set union, into `self`.
    pub fn merge(&mut self, other: &Clock) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for (actor, theirs) in &other.actors {
            let mine = self.seen_mut(*actor);
            for (first, last) in theirs.ranges() {
                mine.insert(first, last);
            }
        }
    }

    /// Set union.
    #[must_use]
    pub fn union(&self, other: &Clock) -> Clock {
        let mut out = self.clone();
        out.merge(other);
        out
    }

    /// The contiguous part alone: small enough to travel with every object.
    #[must_use]
    pub fn floor(&self) -> Clock {
        let base = |s: &Seen| Seen { base: s.base, beyond: Vec::new() };
        Clock { actors: self.actors.iter().filter(|e| e.1.base > 0).map(|(a, s)| (*a, base(s))).collect() }
    }

    /// The contiguous part that both have.
    #[must_use]
    pub fn meet_bases(&self, other: &Clock) -> Clock {
        let lower = |(actor, base): (Actor, u64)| (actor, base.min(other.base(actor)));
        let base = |base: u64| Seen { base, beyond: Vec::new() };
        Clock { actors: self.bases().map(lower).filter(|e| e.1 > 0).map(|(a, b)| (a, base(b))).collect() }
    }

    /// The dots above another clock's contiguous base.
    #[must_use]
    pub fn beyond(&self, floor: &Clock) -> Clock {
        let mut out = Clock::new();
        for (actor, seen) in &self.actors {
            let base = floor.base(*actor);
            let mut above = Seen::default();
            for (first, last) in seen.ranges().filter(|r| r.1 > base) {
                above.insert(first.max(base + 1), last);
            }
            if !above.is_empty() {
                out.actors.push((*actor, above));
            }
        }
        out
    }

    /// The dots of `self` that `other` lacks, ascending.
    pub fn missing_in(&self, other: &Clock) -> Vec<DotRange> {
        let mut out = Vec::new();
        for (actor, seen) in &self.actors {
            seen.missing_in(other.seen(*actor), |first, last| out.push(DotRange { actor: *actor, first, last }));
        }
        out
    }

    /// Set difference.
    #[must_use]
    pub fn minus(&self, other: &Clock) -> Clock {
        let mut out = Clock::new();
        self.missing_in(other).into_iter().for_each(|r| out.add_range(r));
        out
    }

    /// Does it contain all of `other`?
    pub fn covers(&self, other: &Clock) -> bool {
        other.actors.iter().all(|(actor, seen)| {
            let mut whole = true;
            seen.missing_in(self.seen(*actor), |_, _| whole = false);
            whole
        })
    }

    /// Does it contain all of `other`'s contiguous base? Cheap, for watermarks.
    pub fn covers_base(&self, other: &Clock) -> bool {
        other.actors.iter().all(|(actor, seen)| seen.base <= self.base(*actor))
    }

    /// Every run of dots, ascending; the base of an actor counts as one run.
    pub fn ranges(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.actors
            .iter()
            .flat_map(|(actor, seen)| seen.ranges().map(|(first, last)| DotRange { actor: *actor, first, last }))
    }

    /// Each actor with its contiguous base, where that is not 0.
    pub fn bases(&self) -> impl Iterator<Item = (Actor, u64)> + '_ {
        self.actors.iter().filter(|e| e.1.base > 0).map(|(a, s)| (*a, s.base))
    }

    /// Is there a gap: a dot beyond some contiguous base?
    pub fn has_gaps(&self) -> bool {
        self.actors.iter().any(|(_, s)| !s.beyond.is_empty())
    }

    /// A hash of the set: equal sets have equal hashes on every machine and in every version of the stored format 1.
    pub fn hash(&self) -> u64 {
        let mut bytes = Vec::with_capacity(self.actors.len() * 40);
        for r in self.ranges() {
            for word in [r.actor.node.0, r.actor.life, r.first, r.last] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        xxh3_64(&bytes)
    }
}

impl FromIterator<Dot> for Clock {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Clock {
        let mut out = Clock::new();
        dots.into_iter().for_each(|d| out.add(d));
        out
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, r) in self.ranges().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match r.first == r.last {
                true => write!(f, "{comma}{}:{}", r.actor, r.first)?,
                false => write!(f, "{comma}{}:{}-{}", r.actor, r.first, r.last)?,
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
