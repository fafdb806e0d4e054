//! The check of a register: with strict quorums, `r + w > n`, no read misses a write that was acknowledged before it began
//! (a *regular* register: Lamport, "On interprocess communication", 1986; here with siblings).
//!
//! A read does not miss a write when it gives its value, or a value whose writer had seen it, directly or by way of others:
//! then it was replaced. All times are of one process's clock, so that "before" needs no trust in any other.

use std::collections::BTreeMap;

use super::Id;
use super::journal::{Fate, Journal, Read, Write};

/// A read that missed a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The key.
    pub key: u32,
    /// The first of the acknowledged writes that were missed.
    pub write: Id,
    /// When it was acknowledged, in nanoseconds of the audit's clock.
    pub acknowledged: u64,
    /// When the read began.
    pub began: u64,
}

/// Checks every read of a journal. Gives those that missed something; none where reads and writes were not strict.
pub fn missed(journal: &Journal) -> Vec<Missed> {
    let mut reads: BTreeMap<u32, Vec<&Read>> = BTreeMap::new();
    for read in journal.reads.iter().filter(|_| journal.is_strict) {
        reads.entry(read.key).or_default().push(read);
    }
    if reads.is_empty() {
        return Vec::new();
    }
    let by_key = journal.by_key();
    reads.into_iter().flat_map(|(key, reads)| of_key(key, &by_key[&key], &reads)).collect()
}

fn of_key(key: u32, writes: &[&Write], reads: &[&Read]) -> Vec<Missed> {
    let at: BTreeMap<Id, usize> = writes.iter().enumerate().map(|(at, write)| (write.id, at)).collect();
    let mut acknowledged: Vec<&Write> = writes.iter().copied().filter(|w| w.fate == Fate::Acknowledged).collect();
    acknowledged.sort_by_key(|write| write.ended);
    let mut missed = Vec::new();
    for read in reads {
        // What the read gave, and all that this had replaced.
        let mut contained = vec![false; writes.len()];
        let mut open: Vec<usize> = read.values.iter().filter_map(|id| at.get(id).copied()).collect();
        while let Some(write) = open.pop() {
            if !std::mem::replace(&mut contained[write], true) {
                open.extend(writes[write].seen.iter().filter_map(|id| at.get(id).copied()));
            }
        }
        let before = acknowledged.iter().take_while(|write| write.ended < read.began);
        if let Some(write) = before.into_iter().find(|write| !contained[at[&write.id]]) {
            missed.push(Missed { key, write: write.id, acknowledged: write.ended, began: read.began });
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Run;
    use crate::audit::journal::Kind;

    fn id(number: u32) -> Id {
        Id { writer: 1, number }
    }

    fn ids(numbers: &[u32]) -> Box<[Id]> {
        numbers.iter().map(|number| id(*number)).collect()
    }

    /// Writes `(number, seen, fate, ended)` and reads `(values, began)` of one key: the write that each read missed.
    fn misses(writes: &[(u32, &[u32], Fate, u64)], reads: &[(&[u32], u64)]) -> Vec<u32> {
        let mut journal = Journal::new(Run { name: "r".into(), keys: 1 }, "b", 0);
        journal.is_strict = true;
        for (number, seen, fate, ended) in writes {
            let (id, seen) = (id(*number), ids(seen));
            let (kind, fate, ended) = (Kind::Over, *fate, *ended);
            journal.writes.push(Write { id, key: 0, kind, fate, seen, late: 0, error: None, ended });
        }
        for (values, began) in reads {
            journal.reads.push(Read { key: 0, began: *began, ended: began + 5, values: ids(values) });
        }
        let found = missed(&journal);
        journal.is_strict = false;
        assert!(missed(&journal).is_empty(), "sloppy reads may miss what they like");
        found.into_iter().map(|missed| missed.write.number).collect()
    }

    use Fate::{Acknowledged as A, Failed as F, Unknown as U};

    #[test]
    fn a_read_that_gives_all_or_what_replaced_it_is_well() {
        let writes = [(1, &[][..], A, 10), (2, &[1][..], A, 20), (3, &[][..], A, 30)];
        assert!(misses(&writes, &[(&[1], 15), (&[2], 25), (&[2, 3], 35)]).is_empty());
        // A write that was not acknowledged may be seen or not, and replaces what it has seen where it is.
        assert!(misses(&[(1, &[], A, 10), (2, &[1], U, 20)], &[(&[1], 30), (&[2], 30)]).is_empty());
        assert!(misses(&[(1, &[], F, 10)], &[(&[], 20)]).is_empty());
    }

    #[test]
    fn writes_at_the_same_time_as_the_read_may_be_missed() {
        let writes = [(1, &[][..], A, 10), (2, &[1][..], A, 20)];
        assert!(misses(&writes, &[(&[1], 19), (&[1], 20), (&[2], 11)]).is_empty());
    }

    #[test]
    fn a_doctored_history_is_found() {
        let writes = [(1, &[][..], A, 10), (2, &[1][..], A, 20), (3, &[2][..], A, 30), (4, &[][..], A, 40)];
        assert_eq!(misses(&writes, &[(&[], 11)]), [1]); // nothing where something was
        assert_eq!(misses(&writes, &[(&[1], 21)]), [2]); // the value before
        assert_eq!(misses(&writes, &[(&[2], 35)]), [3]); // two steps back is one too many
        assert_eq!(misses(&writes, &[(&[3], 41)]), [4]); // one of two siblings
        assert_eq!(misses(&writes, &[(&[4], 41)]), [1], "the first one that it missed");
        assert_eq!(misses(&writes, &[(&[3, 4], 41), (&[2], 42), (&[3, 4], 43)]), [3]);
        // An unknown write excuses only what it had seen itself.
        assert_eq!(misses(&[(1, &[], A, 10), (2, &[], U, 20)], &[(&[2], 30)]), [1]);
    }
}
