//! A set of dots: per actor a contiguous base and ranges beyond it, and per node the lives that are closed.
//!
//! A clock says what a copy contains, a context says what a reader has seen; both are exact sets. Rounding one up to a
//! version vector would lose writes.
//!
//! That all lives of a node *below* some life are closed stands for every dot of theirs: those that exist are contained,
//! the others exist nowhere and never will (see [`crate::store::Store::close_lives`]). So a clock holds one word for all
//! that a node has ever been before, however often it was restarted.

use std::fmt;

use dynode_ring::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use crate::dot::{Actor, COUNTER_MAX, Dot};

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
    /// All dots of the node's lives below this one. Ascending by node; no life is 0.
    closed: Vec<(NodeId, u64)>,
    /// Ascending by actor; no entry is empty, none is of a closed life.
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
        self.actors.is_empty() && self.closed.is_empty()
    }

    /// How many actors it has dots of, those of closed lives aside.
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// The nodes some of whose lives are closed: all dots of their lives below the one that is named are in the set.
    pub fn closed(&self) -> &[(NodeId, u64)] {
        &self.closed
    }

    /// All dots of the node's lives below this one are in the set. 0 when none of its lives is closed.
    pub fn closed_below(&self, node: NodeId) -> u64 {
        self.closed.binary_search_by_key(&node, |e| e.0).map_or(0, |at| self.closed[at].1)
    }

    /// Is this life closed?
    pub fn is_closed(&self, actor: Actor) -> bool {
        actor.life < self.closed_below(actor.node)
    }

    /// Adds all dots of the node's lives below `life`.
    pub fn close(&mut self, node: NodeId, life: u64) {
        if life <= self.closed_below(node) {
            return;
        }
        match self.closed.binary_search_by_key(&node, |e| e.0) {
            Ok(at) => self.closed[at].1 = life,
            Err(at) => self.closed.insert(at, (node, life)),
        }
        let lives = self.lives_below(node, life);
        self.actors.drain(lives);
    }

    /// The dots of the node's lives below `life` that are named one by one.
    #[must_use]
    pub fn of_lives_below(&self, node: NodeId, life: u64) -> Clock {
        Clock { closed: Vec::new(), actors: self.actors[self.lives_below(node, life)].to_vec() }
    }

    /// What the set says of these nodes' lives below these.
    #[must_use]
    pub fn below(&self, lives: &[(NodeId, u64)]) -> Clock {
        let mut out = Clock::new();
        for (node, life) in lives {
            out.close(*node, self.closed_below(*node).min(*life));
            out.merge(&self.of_lives_below(*node, *life));
        }
        out
    }

    /// Takes out the dots of the node's lives below `life` that are named one by one.
    pub fn forget_lives_below(&mut self, node: NodeId, life: u64) {
        let lives = self.lives_below(node, life);
        self.actors.drain(lives);
    }

    /// Takes out `1..=base` of the actor, where its dots are named one by one.
    pub fn forget_base(&mut self, actor: Actor, base: u64) {
        let Ok(at) = self.actors.binary_search_by_key(&actor, |e| e.0) else { return };
        let mut left = Seen::default();
        for (first, last) in self.actors[at].1.ranges().filter(|r| r.1 > base) {
            left.insert(first.max(base.saturating_add(1)), last);
        }
        match left.is_empty() {
            true => drop(self.actors.remove(at)),
            false => self.actors[at].1 = left,
        }
    }

    /// The greatest life of the node that it knows of; 0 when none. Of closed lives that is the one before the first that is not
    /// closed, whether or not it ever was.
    pub fn last_life(&self, node: NodeId) -> u64 {
        let end = self.lives_below(node, u64::MAX).end;
        let named = self.actors[..end].last().filter(|e| e.0.node == node).map_or(0, |e| e.0.life);
        named.max(self.closed_below(node).saturating_sub(1))
    }

    /// Does it name dots of more than one life of some node?
    pub fn names_several_lives(&self) -> bool {
        self.actors.windows(2).any(|pair| pair[0].0.node == pair[1].0.node)
    }

    fn lives_below(&self, node: NodeId, life: u64) -> std::ops::Range<usize> {
        let at = |life| self.actors.partition_point(|e| e.0 < Actor { node, life });
        at(0)..at(life)
    }

    /// How many dots are in it, those of closed lives aside.
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
        if first <= range.last && !self.is_closed(range.actor) {
            self.seen_mut(range.actor).insert(first, range.last);
        }
    }

    /// Is the dot in it?
    pub fn has(&self, dot: Dot) -> bool {
        match self.seen(dot.actor) {
            Some(seen) => seen.has(dot.counter),
            None => self.is_closed(dot.actor) && dot.counter > 0,
        }
    }

    /// The actor's contiguous base: all of `1..=base` is in the set. 0 when nothing is; no counter is greater than that
    /// of a closed life.
    pub fn base(&self, actor: Actor) -> u64 {
        self.seen(actor).map_or_else(|| self.base_unnamed(actor), |s| s.base)
    }

    /// The actor's greatest counter in the set; 0 when there is none, no counter is greater than that of a closed life.
    pub fn greatest(&self, actor: Actor) -> u64 {
        let greatest = |s: &Seen| s.beyond.last().map_or(s.base, |r| r.1);
        self.seen(actor).map_or_else(|| self.base_unnamed(actor), greatest)
    }

    fn base_unnamed(&self, actor: Actor) -> u64 {
        if self.is_closed(actor) { COUNTER_MAX } else { 0 }
    }

    /// Set union, into `self`.
    pub fn merge(&mut self, other: &Clock) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for (node, life) in &other.closed {
            self.close(*node, *life);
        }
        for (actor, theirs) in &other.actors {
            if !self.closed.is_empty() && self.is_closed(*actor) {
                continue;
            }
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
        let actors = self.actors.iter().filter(|e| e.1.base > 0).map(|(a, s)| (*a, base(s))).collect();
        Clock { closed: self.closed.clone(), actors }
    }

    /// The contiguous part that both have.
    #[must_use]
    pub fn meet_bases(&self, other: &Clock) -> Clock {
        let mut out = Clock::new();
        for (node, life) in &self.closed {
            let life = *life.min(&other.closed_below(*node));
            if life > 0 {
                out.closed.push((*node, life));
            }
        }
        // What only one of them names is met by the other's closed lives.
        let named = self.bases().chain(other.bases().filter(|(actor, _)| self.is_closed(*actor)));
        for (actor, _) in named.collect::<Vec<_>>() {
            let last = self.base(actor).min(other.base(actor));
            out.add_range(DotRange { actor, first: 1, last });
        }
        out
    }

    /// The dots above another clock's contiguous base. Where this one says of more of a node's lives that they are closed,
    /// it says so still.
    #[must_use]
    pub fn beyond(&self, floor: &Clock) -> Clock {
        let mut out = Clock { closed: self.closed_beyond(floor), actors: Vec::new() };
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

    /// The nodes of whose lives this clock knows more to be closed than the other.
    pub fn closed_beyond(&self, other: &Clock) -> Vec<(NodeId, u64)> {
        self.closed.iter().filter(|(node, life)| *life > other.closed_below(*node)).copied().collect()
    }

    /// The dots of `self` that `other` lacks, ascending; those of closed lives are not named.
    pub fn missing_in(&self, other: &Clock) -> Vec<DotRange> {
        let mut out = Vec::new();
        for (actor, seen) in &self.actors {
            if other.closed.is_empty() || !other.is_closed(*actor) {
                seen.missing_in(other.seen(*actor), |first, last| out.push(DotRange { actor: *actor, first, last }));
            }
        }
        out
    }

    /// Set difference, as far as dots are named. Where this one says of more of a node's lives that they are closed, it says
    /// so still: a part of that cannot be taken out.
    #[must_use]
    pub fn minus(&self, other: &Clock) -> Clock {
        let mut out = Clock { closed: self.closed_beyond(other), actors: Vec::new() };
        self.missing_in(other).into_iter().for_each(|r| out.add_range(r));
        out
    }

    /// Does it contain all of `other`?
    pub fn covers(&self, other: &Clock) -> bool {
        other.closed.iter().all(|(node, life)| *life <= self.closed_below(*node))
            && other.actors.iter().filter(|e| self.closed.is_empty() || !self.is_closed(e.0)).all(|(actor, seen)| {
                let mut whole = true;
                seen.missing_in(self.seen(*actor), |_, _| whole = false);
                whole
            })
    }

    /// Every run of dots, ascending, those of closed lives aside; the base of an actor counts as one run.
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
        let mut bytes = Vec::with_capacity((self.actors.len() + self.closed.len()) * 40);
        for (node, life) in &self.closed {
            // No run begins at 0.
            [node.0, *life, 0, 0].iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        }
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
        for (i, (node, life)) in self.closed.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{node}.<{life:x}")?;
        }
        for (i, r) in self.ranges().enumerate() {
            let comma = if i == 0 && self.closed.is_empty() { "" } else { ", " };
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
