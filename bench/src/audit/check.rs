//! The check of one key: what is there, against the journal.
//!
//! A write *counts* when it was acknowledged or is there at the end. What a write that counts has seen, and what those
//! had seen in turn, is *replaced*. Then:
//!
//! - an acknowledged write that is neither there nor replaced is **lost**;
//! - a value that is there and replaced has **come back**, more often than it may;
//! - a write that was called a failure and was seen by any reader is a **false word**;
//! - a value that nobody wrote, or that is damaged, is **strange**.
//!
//! A put that got no answer is tried again by the client. The first attempt may arrive late, when the second one's value has
//! been read and replaced: nobody had seen that attempt, so its value is back, rightly, once. How often a value has been
//! written at least is known: of two writes that have both seen it, the second of which has seen the first as well, the
//! second saw another attempt's, since what the first had seen could not be shown beside it any more. A value that was
//! written more often than there were attempts has come back.

use std::collections::{BTreeMap, BTreeSet};

use super::Id;
use super::journal::{Fate, Write};

/// What is wrong with a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged, not there, and not replaced.
    pub lost: BTreeSet<Id>,
    /// There, though replaced.
    pub resurrected: BTreeSet<Id>,
    /// Called failed, yet seen.
    pub false_words: BTreeSet<Id>,
    /// There, though nobody wrote it.
    pub strange: BTreeSet<Id>,
    /// There, though replaced, by an attempt that arrived late: nothing is wrong with that.
    pub brought_back: BTreeSet<Id>,
}

impl Findings {
    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        let Findings { lost, resurrected, false_words, strange, brought_back: _ } = self;
        [lost, resurrected, false_words, strange].iter().all(|ids| ids.is_empty())
    }
}

/// Checks one key: `writes` are all that were made to it, `there` is what a read found now, `sighted` what any reader
/// has found at any time.
pub fn check(writes: &[&Write], there: &BTreeSet<Id>, sighted: &BTreeSet<Id>) -> Findings {
    let known: BTreeMap<Id, &Write> = writes.iter().map(|w| (w.id, *w)).collect();
    let acknowledged = || writes.iter().filter(|w| w.fate == Fate::Acknowledged).map(|w| w.id);

    let mut replaced: BTreeSet<Id> = BTreeSet::new();
    let mut open: Vec<Id> = acknowledged().chain(there.iter().copied()).collect();
    while let Some(id) = open.pop() {
        for seen in known.get(&id).into_iter().flat_map(|w| w.seen.iter()) {
            if replaced.insert(*seen) {
                open.push(*seen);
            }
        }
    }

    let mut seen: BTreeSet<Id> = sighted | there;
    seen.extend(writes.iter().flat_map(|w| w.seen.iter()));
    let failed = writes.iter().filter(|w| w.fate == Fate::Failed).map(|w| w.id);
    // All that count: replaced ones were seen by one that does.
    let counting: BTreeSet<Id> = acknowledged().chain(there.iter().copied()).chain(replaced.iter().copied()).collect();
    let may_be = |id: &Id| {
        let late = known.get(id).map_or(0, |w| w.late as usize);
        late > 0 && times_replaced(&known, &counting, *id) <= late
    };
    let (brought_back, resurrected) = (there & &replaced).into_iter().partition(may_be);
    Findings {
        lost: acknowledged().filter(|id| !there.contains(id) && !replaced.contains(id)).collect(),
        resurrected,
        brought_back,
        false_words: failed.filter(|id| seen.contains(id)).collect(),
        strange: there.iter().copied().filter(|id| !known.contains_key(id)).collect(),
    }
}

/// How often a value was surely replaced: the longest chain of counting writes that have each seen it, and each the one
/// before.
fn times_replaced(known: &BTreeMap<Id, &Write>, counting: &BTreeSet<Id>, id: Id) -> usize {
    let seers = known.values().filter(|w| counting.contains(&w.id) && w.seen.contains(&id));
    // With what each has seen, directly or not. Fewer come before: a write's past is larger than that of any in it.
    let mut pasts: Vec<(Id, BTreeSet<Id>)> = seers.map(|w| (w.id, past(known, w.id))).collect();
    pasts.sort_by_key(|(_, past)| past.len());
    let mut chains: Vec<usize> = Vec::new();
    for (at, (_, past)) in pasts.iter().enumerate() {
        let before = pasts[..at].iter().zip(&chains).filter(|((seer, _), _)| past.contains(seer));
        chains.push(1 + before.map(|(_, chain)| *chain).max().unwrap_or(0));
    }
    chains.into_iter().max().unwrap_or(0)
}

/// All that a write has seen, directly or not.
fn past(known: &BTreeMap<Id, &Write>, id: Id) -> BTreeSet<Id> {
    let mut past = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        open.extend(known.get(&id).into_iter().flat_map(|w| w.seen.iter()).filter(|seen| past.insert(**seen)));
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::journal::Kind;

    fn id(number: u32) -> Id {
        Id { writer: 1, number }
    }

    fn ids(numbers: &[u32]) -> BTreeSet<Id> {
        numbers.iter().map(|n| id(*n)).collect()
    }

    /// `(number, fate, seen)`.
    fn writes(list: &[(u32, Fate, &[u32])]) -> Vec<Write> {
        let write = |(number, fate, seen): &(u32, Fate, &[u32])| Write {
            id: id(*number),
            key: 0,
            kind: Kind::Over,
            fate: *fate,
            seen: seen.iter().map(|n| id(*n)).collect(),
            late: 0,
            error: None,
            ended: 0,
        };
        list.iter().map(write).collect()
    }

    fn found(list: &[(u32, Fate, &[u32])], there: &[u32]) -> Findings {
        let writes = writes(list);
        check(&writes.iter().collect::<Vec<_>>(), &ids(there), &BTreeSet::new())
    }

    use Fate::{Acknowledged as A, Failed as F, Unknown as U};

    #[test]
    fn a_chain_leaves_its_end_and_blind_writes_leave_siblings() {
        assert!(found(&[(1, A, &[]), (2, A, &[1]), (3, A, &[2])], &[3]).is_empty());
        assert!(found(&[(1, A, &[]), (2, A, &[]), (3, A, &[1])], &[2, 3]).is_empty());
        assert!(found(&[(1, F, &[])], &[]).is_empty());
        assert!(found(&[], &[]).is_empty());
    }

    #[test]
    fn unknown_writes_may_be_there_or_not() {
        assert!(found(&[(1, A, &[]), (2, U, &[1])], &[1]).is_empty());
        assert!(found(&[(1, A, &[]), (2, U, &[1])], &[2]).is_empty());
        // Replaced by an unknown one that an acknowledged one has seen: fine, whatever is there of it.
        assert!(found(&[(1, A, &[]), (2, U, &[1]), (3, A, &[2])], &[3]).is_empty());
    }

    #[test]
    fn a_lost_write_is_found() {
        assert_eq!(found(&[(1, A, &[])], &[]).lost, ids(&[1]));
        assert_eq!(found(&[(1, A, &[]), (2, A, &[])], &[2]).lost, ids(&[1]));
        // Only the last of a chain is lost: what it replaced was rightly gone.
        assert_eq!(found(&[(1, A, &[]), (2, A, &[1])], &[]).lost, ids(&[2]));
        // An unknown write that is nowhere excuses nothing, nor does a failed one.
        assert_eq!(found(&[(1, A, &[]), (2, U, &[1])], &[]).lost, ids(&[1]));
        assert_eq!(found(&[(1, A, &[]), (2, F, &[1])], &[]).lost, ids(&[1]));
    }

    #[test]
    fn what_came_back_is_found() {
        assert_eq!(found(&[(1, A, &[]), (2, A, &[1])], &[1, 2]).resurrected, ids(&[1]));
        // Over two steps, and when the replaced write was unknown.
        assert_eq!(found(&[(1, U, &[]), (2, U, &[1]), (3, A, &[2])], &[1, 3]).resurrected, ids(&[1]));
        // Beside an unknown one that is there, as that replaces it as well.
        assert_eq!(found(&[(1, A, &[]), (2, U, &[1])], &[1, 2]).resurrected, ids(&[1]));
        // It came back and the one that replaced it is gone: both are said.
        let both = found(&[(1, A, &[]), (2, A, &[1])], &[1]);
        assert_eq!((both.resurrected, both.lost), (ids(&[1]), ids(&[2])));
    }

    #[test]
    fn a_late_attempt_brings_a_value_back_once_and_no_more() {
        // What is found when 1 had so many late attempts.
        let found = |late: u32, list: &[(u32, Fate, &[u32])], there: &[u32]| {
            let mut writes = writes(list);
            writes[0].late = late;
            let found = check(&writes.iter().collect::<Vec<_>>(), &ids(there), &BTreeSet::new());
            (found.is_empty(), found.resurrected, found.brought_back)
        };
        let (none, one) = (ids(&[]), ids(&[1]));
        let fine = (true, none.clone(), one.clone());
        let back = (false, one, none.clone());
        let once: &[(u32, Fate, &[u32])] = &[(1, A, &[]), (2, A, &[1])];
        assert_eq!(found(0, once, &[1, 2]), back);
        assert_eq!(found(1, once, &[1, 2]), fine);
        assert_eq!(found(1, &[(1, U, &[]), (2, A, &[1])], &[1, 2]), fine);
        // Two that did not know of each other have replaced the same one.
        assert_eq!(found(1, &[(1, A, &[]), (2, A, &[1]), (3, A, &[1])], &[1, 2, 3]), fine);
        // 3 has seen it beside 2, which had replaced it, directly or by way of another: it was there twice, and is a third time.
        let twice: &[(u32, Fate, &[u32])] = &[(1, A, &[]), (2, A, &[1]), (3, A, &[1, 2])];
        assert_eq!(found(1, twice, &[1, 3]), back);
        assert_eq!(found(2, twice, &[1, 3]), fine);
        assert_eq!(found(1, twice, &[3]), (true, none.clone(), none));
        assert_eq!(found(1, &[(1, A, &[]), (2, A, &[1]), (4, U, &[2]), (3, A, &[1, 4])], &[1, 3]), back);
        // One that is nowhere has replaced nothing.
        assert_eq!(found(1, &[(1, A, &[]), (2, A, &[1]), (3, U, &[1, 2])], &[1, 2]), fine);
        // It does not excuse a loss, nor another value.
        assert!(!found(1, once, &[1]).0);
        assert_eq!(found(1, &[(1, A, &[]), (2, A, &[]), (3, A, &[1, 2])], &[2, 3]).1, ids(&[2]));
    }

    #[test]
    fn a_false_word_is_found_wherever_it_was_seen() {
        assert_eq!(found(&[(1, F, &[])], &[1]).false_words, ids(&[1]));
        assert_eq!(found(&[(1, F, &[]), (2, A, &[1])], &[2]).false_words, ids(&[1]));
        let list = writes(&[(1, F, &[])]);
        assert_eq!(check(&[&list[0]], &ids(&[]), &ids(&[1])).false_words, ids(&[1]));
    }

    #[test]
    fn what_nobody_wrote_is_strange() {
        assert_eq!(found(&[(1, A, &[])], &[1, 9]).strange, ids(&[9]));
    }
}
