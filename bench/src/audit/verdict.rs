//! The verdict: counts and offending keys, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use owo_colors::OwoColorize;
use serde::{Deserialize, Serialize};

use super::Id;
use super::check::Findings;
use super::journal::{Fate, Journal};
use super::register::{Missed, missed};
use super::survey::Survey;
use crate::units::count;

/// How many offenders of a kind are shown to people; the JSON has all.
const SHOWN_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offence {
    /// The key.
    pub key: String,
    /// The write, or what is wrong with the value.
    pub what: String,
}

/// What an audit came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Nothing is wrong.
    pub passed: bool,
    /// The audit's own name, in its keys.
    pub run: String,
    /// The bucket.
    pub bucket: String,
    /// Keys.
    pub keys: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes whose outcome is unknown.
    pub unknown: u64,
    /// Writes that failed.
    pub failed: u64,
    /// Errors of writes by kind.
    pub errors: BTreeMap<String, u64>,
    /// Values that are there now.
    pub values: u64,
    /// Acknowledged, and gone.
    pub lost: Vec<Offence>,
    /// Replaced, and back.
    pub resurrected: Vec<Offence>,
    /// Called failed, and seen.
    pub false_words: Vec<Offence>,
    /// Nobody wrote it, or it is damaged.
    pub strange: Vec<Offence>,
    /// Keys that could not be read: nothing is known about them.
    pub unread: Vec<Offence>,
    /// Strict reads on the way that missed a write which was acknowledged before they began.
    pub missed: Vec<Offence>,
    /// Strict reads that were checked for that.
    pub strict_reads: u64,
    /// Replaced, and brought back by an attempt that arrived late, as often as attempts were under way at most: no offence.
    pub brought_back: u64,
    /// Keys that were right only after a while.
    pub settled_late: u64,
    /// Seconds until all was right, or until the time was over.
    pub settle_seconds: f64,
    /// The journal was cut, so that writes may be missing from it.
    pub journal_complete: bool,
}

fn told_missed(missed: &Missed) -> String {
    let before = (missed.began - missed.acknowledged) as f64 / 1e6;
    format!(
        "a read {:.3} s into the audit missed write {}, acknowledged {before:.3} ms before",
        missed.began as f64 / 1e9,
        missed.write
    )
}

impl Verdict {
    /// From the journal and the survey.
    pub fn new(journal: &Journal, survey: &Survey) -> Verdict {
        let key = |number: u32| String::from_utf8_lossy(&journal.run.key(number)).into_owned();
        let offences = |pick: fn(&Findings) -> &std::collections::BTreeSet<Id>| -> Vec<Offence> {
            let all = survey.findings.iter().flat_map(|(number, found)| pick(found).iter().map(move |id| (number, id)));
            all.map(|(number, id)| Offence { key: key(*number), what: format!("write {id}") }).collect()
        };
        let told = |(number, why): (&u32, &String)| Offence { key: key(*number), what: why.clone() };
        let mut strange = offences(|f| &f.strange);
        strange.extend(survey.strange.iter().map(|(number, why)| told((number, why))));
        strange.extend(journal.strange.iter().map(|(number, why)| told((number, why))));
        let mut verdict = Verdict {
            passed: false,
            run: journal.run.name.clone(),
            bucket: journal.bucket.clone(),
            keys: u64::from(journal.run.keys),
            acknowledged: journal.count(Fate::Acknowledged),
            unknown: journal.count(Fate::Unknown),
            failed: journal.count(Fate::Failed),
            errors: journal.errors(),
            values: survey.values,
            lost: offences(|f| &f.lost),
            resurrected: offences(|f| &f.resurrected),
            false_words: offences(|f| &f.false_words),
            strange,
            unread: survey.unread.iter().map(told).collect(),
            missed: missed(journal)
                .iter()
                .map(|found| Offence { key: key(found.key), what: told_missed(found) })
                .collect(),
            strict_reads: journal.reads.len() as u64,
            brought_back: survey.brought_back,
            settled_late: survey.settled_late,
            settle_seconds: survey.took as f64 / 1e9,
            journal_complete: journal.complete,
        };
        verdict.passed = verdict.offences().iter().all(|(_, offences)| offences.is_empty());
        verdict
    }

    /// The kinds of offences.
    fn offences(&self) -> [(&'static str, &[Offence]); 6] {
        [
            ("lost", &self.lost),
            ("resurrected", &self.resurrected),
            ("false words", &self.false_words),
            ("strange values", &self.strange),
            ("unreadable keys", &self.unread),
            ("stale reads", &self.missed),
        ]
    }

    /// As text, with colours.
    pub fn render(&self) -> String {
        let mut text = format!("{} of {} keys in bucket {}\n", "audit".bold(), count(self.keys), self.bucket);
        let mut line = |name: &str, n: u64, bad: bool| {
            let line = format!("{name:<16}{:>12}", count(n));
            let _ = if bad { writeln!(text, "{}", line.red().bold()) } else { writeln!(text, "{line}") };
        };
        line("acknowledged", self.acknowledged, false);
        line("unknown", self.unknown, false);
        line("failed", self.failed, false);
        if self.strict_reads > 0 {
            line("strict reads", self.strict_reads, false);
        }
        for (name, offences) in self.offences() {
            line(name, offences.len() as u64, !offences.is_empty());
        }
        for (error, n) in &self.errors {
            let _ = writeln!(text, "  {} writes ended with {error}", count(*n));
        }
        if self.brought_back > 0 {
            let _ = writeln!(
                text,
                "{} values were brought back by late attempts, as they may be",
                count(self.brought_back)
            );
        }
        if self.settled_late > 0 {
            let late = count(self.settled_late);
            let _ = writeln!(text, "{late} keys were right only after a while ({:.1} s in all)", self.settle_seconds);
        }
        if !self.journal_complete {
            let _ = writeln!(text, "{}", "the journal was cut: writes may be missing from it".yellow());
        }
        for (name, offences) in self.offences() {
            for offence in offences.iter().take(SHOWN_MAX) {
                let _ = writeln!(text, "{} {}: {}", format!("{name}:").red(), offence.key, offence.what);
            }
            if offences.len() > SHOWN_MAX {
                let _ = writeln!(text, "{name}: {} more; --json has all", count((offences.len() - SHOWN_MAX) as u64));
            }
        }
        let _ = if self.passed {
            writeln!(text, "{}", "passed: every acknowledged write is there or was replaced".green().bold())
        } else {
            writeln!(text, "{}", "FAILED".red().bold())
        };
        text
    }
}
