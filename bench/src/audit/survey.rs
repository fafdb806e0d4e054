//! The survey at the end: every key is read and checked, again and again for a while where something is not right yet.
//!
//! A quorum may be sloppy: what stand-ins hold reaches the owners some time after the faults' end. So a key that is
//! not right is read again until it is, or until the time to settle is over; the last read decides. Except for false
//! words: what was called a failure must not be seen even once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Id;
use super::check::{Findings, check};
use super::journal::{Fate, Journal, Kind, Write};
use super::value;
use crate::clock::Clock;
use crate::target::Target;

/// Time between two reads of a key that is not right yet.
const AGAIN: Duration = Duration::from_millis(250);

/// What the survey found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// What is wrong, by key.
    pub findings: BTreeMap<u32, Findings>,
    /// Keys that could not be read, with the last error.
    pub unread: BTreeMap<u32, String>,
    /// Values that are damaged, or belong elsewhere.
    pub strange: BTreeSet<(u32, String)>,
    /// Keys that were not right at first, but then were.
    pub settled_late: u64,
    /// Nanoseconds until the last key was right, or the time was over.
    pub took: u64,
    /// Values that a late attempt brought back, as it may.
    pub brought_back: u64,
    /// Values that were there, all keys together.
    pub values: u64,
}

/// Reads and checks all keys of a journal.
pub async fn survey<T: Target, C: Clock>(target: &T, clock: &C, journal: &Journal, settle: Duration) -> Survey {
    let by_key = journal.by_key();
    let began = clock.now();
    let deadline = began + crate::clock::nanos(settle);
    let mut survey = Survey::default();
    let mut sighted: BTreeMap<u32, BTreeSet<Id>> = BTreeMap::new();
    let mut open: Vec<u32> = by_key.keys().copied().collect();
    let mut first = true;
    loop {
        let (mut again, mut last_failed) = (Vec::new(), false);
        for key in open {
            // Where nobody answers, each read takes its whole timeout: one after the end of the time is enough.
            if last_failed && clock.now() >= deadline {
                survey.unread.entry(key).or_insert_with(|| "not tried any more, as the time to settle was over".into());
                continue;
            }
            let writes = &by_key[&key];
            let there = match read(target, journal, key, &mut survey).await {
                Ok(there) => there,
                Err(why) => {
                    last_failed = true;
                    survey.unread.insert(key, why);
                    again.push(key);
                    continue;
                }
            };
            last_failed = false;
            survey.unread.remove(&key);
            let sighted = sighted.entry(key).or_default();
            sighted.extend(there.keys());
            let findings = judge(journal, writes, &there, sighted);
            if findings.is_empty() {
                survey.findings.remove(&key);
                survey.values += there.len() as u64;
                survey.brought_back += findings.brought_back.len() as u64;
                survey.settled_late += u64::from(!first);
                continue;
            }
            // False words stay: no need to look again for them alone.
            let hopeless = Findings { false_words: BTreeSet::new(), ..findings.clone() }.is_empty();
            survey.findings.insert(key, findings);
            if !hopeless {
                again.push(key);
            }
        }
        survey.took = clock.now() - began;
        if again.is_empty() || clock.now() >= deadline {
            return survey;
        }
        (open, first) = (again, false);
        tokio::time::sleep(AGAIN).await;
    }
}

/// The writes that are there, with what each replaces.
async fn read<T: Target>(
    target: &T,
    journal: &Journal,
    key: u32,
    survey: &mut Survey,
) -> Result<BTreeMap<Id, Vec<Id>>, String> {
    let seen = target.get(journal.run.key(key)).await.map_err(|e| e.to_string())?;
    let mut there = BTreeMap::new();
    for bytes in &seen.values {
        match value::decode(&journal.run, key, bytes) {
            Ok(value) => {
                there.insert(value.id, value.seen);
            }
            Err(why) => {
                survey.strange.insert((key, why));
            }
        }
    }
    Ok(there)
}

fn judge(journal: &Journal, writes: &[&Write], there: &BTreeMap<Id, Vec<Id>>, sighted: &BTreeSet<Id>) -> Findings {
    let ids: BTreeSet<Id> = there.keys().copied().collect();
    if journal.complete {
        return check(writes, &ids, sighted);
    }
    // The journal was cut: what it does not know was written after, and says itself what it replaces.
    let known: BTreeSet<Id> = writes.iter().map(|w| w.id).collect();
    let unknown = there.iter().filter(|(id, _)| !known.contains(id)).map(|(id, seen)| Write {
        id: *id,
        key: 0,
        kind: Kind::Over,
        fate: Fate::Unknown,
        seen: seen.clone().into_boxed_slice(),
        late: 0,
        error: None,
        ended: 0,
    });
    let unknown: Vec<Write> = unknown.collect();
    let all: Vec<&Write> = writes.iter().copied().chain(&unknown).collect();
    check(&all, &ids, sighted)
}
