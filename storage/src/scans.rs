//! Scans that are not finished: of which keys a copy has seen more than its clock says.
//!
//! A scan brings objects without the dots of the writes that made them so; those come with the claim at its end. Until
//! then the copy remembers how far it has come: of all keys up to there it has also seen what the source's clock
//! contains. A scan that its source did not live to finish stays on the list until the clock has caught up with it.
//!
//! Before its keys a scan brings what its source's index still has, with the dots. But where the index was cut, the dots of
//! older writes to the same keys do not come along, and their effect does. So from the first such page on the copy is ahead
//! of its clock; the list then has an entry that speaks of no key.

use bytes::Bytes;

use crate::clock::Clock;
use crate::codec::Scanned;
use crate::dot::Dot;
use crate::key::ObjectKey;

/// Unfinished scans remembered. Each further one costs a write for every key that it was the only word about
/// (see [`Scans::most_dispensable`]).
const SCANS_MAX: usize = 4;

/// The unfinished scans of one copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scans(Vec<Scanned>);

impl Scans {
    pub(crate) fn new(scans: Vec<Scanned>) -> Scans {
        Scans(scans)
    }

    pub(crate) fn as_slice(&self) -> &[Scanned] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The clocks that the copy has seen of this key.
    pub(crate) fn of<'a>(&'a self, key: &'a ObjectKey) -> impl Iterator<Item = &'a Clock> {
        self.0.iter().filter(|s| *key.as_bytes() <= s.upto).map(|s| &s.clock)
    }

    /// Has the copy seen the dot, as far as this key is concerned?
    pub(crate) fn have_seen(&self, key: &ObjectKey, dot: Dot) -> bool {
        self.of(key).any(|clock| clock.has(dot))
    }

    /// Has the copy, of all keys up to `upto`, seen all of `clock`?
    pub(crate) fn reach(&self, upto: &Bytes, clock: &Clock) -> bool {
        self.0.iter().any(|s| *upto <= s.upto && s.clock.covers(clock))
    }

    /// Remembers that of all keys up to `upto` all of `clock` has been seen. A page that comes twice takes nothing back.
    pub(crate) fn remember(&mut self, upto: &Bytes, clock: &Clock) {
        if !self.reach(upto, clock) {
            self.0.retain(|s| s.upto.is_empty() || s.upto > *upto || !clock.covers(&s.clock));
            self.0.push(Scanned { upto: upto.clone(), clock: clock.clone() });
        }
    }

    /// Remembers that some keys may show the effect of all that is in `clock`. Returns whether that is news.
    pub(crate) fn remember_indexed(&mut self, clock: &Clock) -> bool {
        match self.0.iter_mut().find(|s| s.upto.is_empty()) {
            Some(indexed) if indexed.clock.covers(clock) => return false,
            Some(indexed) => indexed.clock.merge(clock),
            None => self.0.push(Scanned { upto: Bytes::new(), clock: clock.clone() }),
        }
        true
    }

    /// Forgets the scans that the copy's clock has caught up with. True if there were any.
    pub(crate) fn forget(&mut self, clock: &Clock) -> bool {
        let before = self.0.len();
        self.0.retain(|s| !clock.covers(&s.clock));
        self.0.len() != before
    }

    /// When the list is full and a scan of `clock` would make it longer: the entry that speaks of the fewest keys. Before
    /// it is dropped, the objects among them that depend on it must be told what it says. The entry that speaks of no key, of
    /// which there is one at most, stays: nothing but the clock can take its place.
    pub(crate) fn most_dispensable(&self, clock: &Clock) -> Option<Scanned> {
        let of_keys = || self.0.iter().filter(|s| !s.upto.is_empty());
        let full = of_keys().count() >= SCANS_MAX && self.0.iter().all(|s| s.clock != *clock);
        of_keys().min_by(|a, b| a.upto.cmp(&b.upto)).filter(|_| full).cloned()
    }

    /// Drops an entry.
    pub(crate) fn remove(&mut self, entry: &Scanned) {
        self.0.retain(|s| s != entry);
    }
}
