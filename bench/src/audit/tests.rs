//! Audits of a store in memory, whole and broken each way: the audit must pass the one and find the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::journal::{Journal, Kind};
use super::survey::survey;
use super::verdict::Verdict;
use super::writers::{Plan, Tally, write};
use super::*;
use crate::clock::{Clock, nanos};
use crate::fake::{Fake, Fate as Fault};
use crate::run::lane::Limits;

struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> u64 {
        nanos(self.0.elapsed())
    }

    async fn sleep_until(&self, at: u64) {
        tokio::time::sleep_until(self.0 + Duration::from_nanos(at)).await;
    }
}

/// Writes 2,000 times to `fake`, lets `between` happen, and judges.
fn audit(fake: &Fake, between: impl FnOnce(&Fake, &mut Journal)) -> (Journal, Verdict) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let run = Run { name: "t1".into(), keys: 10 };
        let plan = Plan { run: run.clone(), writers: 8, value_size: 64, rate: None, seed: 3 };
        let start = tokio::time::Instant::now();
        let limits = Rc::new(Limits::new(0, None, Some(2_000)));
        let mut journal = Journal::new(run, "bench", 0);
        journal.is_strict = true;
        let mut journal =
            write(fake.clone(), PausedClock(start), plan, limits, journal, Rc::new(Tally::default())).await;
        fake.writes(|_, _| Fault::Well);
        between(fake, &mut journal);
        let survey = survey(fake, &PausedClock(start), &journal, Duration::from_secs(5)).await;
        let verdict = Verdict::new(&journal, &survey);
        (journal, verdict)
    })
}

#[test]
fn a_good_store_passes_and_all_kinds_of_writes_were_made() {
    let (journal, verdict) = audit(&Fake::new(), |_, _| {});
    assert!(verdict.passed, "{}", verdict.render());
    assert_eq!(verdict.acknowledged, 2_000);
    for kind in [Kind::Over, Kind::Blind, Kind::Follow] {
        assert!(journal.writes.iter().filter(|w| w.kind == kind).count() > 100, "{kind:?}");
    }
    assert!(journal.writes.iter().any(|w| w.seen.len() > 2), "siblings were merged");
}

#[test]
fn strict_reads_are_checked_and_a_doctored_history_is_found() {
    let (_, verdict) = audit(&Fake::new(), |_, _| {});
    assert!(verdict.passed && verdict.strict_reads > 500, "{}", verdict.render());
    let (_, verdict) = audit(&Fake::new(), |_, journal| {
        // In this world no time passes: the read begins later than it did.
        let last = journal.reads.last_mut().expect("there were reads");
        (last.began, last.values) = (last.began + 1, Box::new([]));
    });
    assert!(!verdict.passed, "{}", verdict.render());
    assert_eq!((verdict.missed.len(), verdict.lost.len()), (1, 0), "{}", verdict.render());
    assert!(verdict.render().contains("missed write"), "{}", verdict.render());
}

#[test]
fn a_store_with_honest_errors_passes() {
    let fake = Fake::new();
    fake.reads(|number, _| if number % 13 == 0 { Fault::Refused } else { Fault::Well });
    fake.writes(|number, _| match number % 7 {
        0 => Fault::Refused,
        1 => Fault::Unknown { done: true },
        2 => Fault::Unknown { done: false },
        _ => Fault::After(Duration::from_millis(number % 5)),
    });
    let (_, verdict) = audit(&fake, |fake, _| fake.reads(|_, _| Fault::Well));
    assert!(verdict.passed, "{}", verdict.render());
    assert!(verdict.unknown > 200 && verdict.failed > 100, "{verdict:?}");
    assert_eq!(verdict.errors.len(), 2);
}

#[test]
fn an_acknowledged_write_that_was_not_done_is_lost() {
    let fake = Fake::new();
    let lost = Rc::new(RefCell::new(0));
    let counted = lost.clone();
    fake.writes(move |number, _| {
        if number == 1_500 || number == 1_501 {
            *counted.borrow_mut() += 1;
            return Fault::Lost;
        }
        Fault::Well
    });
    let (_, verdict) = audit(&fake, |_, _| {});
    assert!(!verdict.passed);
    assert!(*lost.borrow() > 0);
    // One that its writer followed up is excused only if the follower is there, which replaced it.
    assert!(!verdict.lost.is_empty() && verdict.lost.len() <= *lost.borrow(), "{verdict:?}");
    assert_eq!((verdict.resurrected.len(), verdict.false_words.len(), verdict.strange.len()), (0, 0, 0));
    assert!(verdict.render().contains("FAILED"));
}

#[test]
fn a_value_that_vanishes_at_the_end_is_lost() {
    let (_, verdict) = audit(&Fake::new(), |fake, journal| {
        fake.tamper(&journal.run.key(4), Vec::clear);
    });
    assert!(!verdict.passed && !verdict.lost.is_empty());
    assert!(verdict.lost.iter().all(|offence| offence.key == "audit-t1-4"), "{verdict:?}");
}

#[test]
fn a_replaced_value_that_stays_is_found() {
    let fake = Fake::new();
    fake.writes(|number, _| if number > 2_900 { Fault::ReplacesNothing } else { Fault::Well });
    let (_, verdict) = audit(&fake, |_, _| {});
    assert!(!verdict.passed && !verdict.resurrected.is_empty());
    assert!(verdict.lost.is_empty(), "{verdict:?}");
}

#[test]
fn a_replaced_value_that_comes_back_later_is_found() {
    let (_, verdict) = audit(&Fake::new(), |fake, journal| {
        let replaced = journal.writes.iter().find(|w| !w.seen.is_empty()).expect("a write over another");
        let (id, key) = (replaced.seen[0], replaced.key);
        let old = value::encode(&journal.run, key, id, &[], 64);
        fake.tamper(&journal.run.key(key), |values| values.push(old));
    });
    assert_eq!(verdict.resurrected.len(), 1, "{verdict:?}");
    assert!(verdict.lost.is_empty());
}

#[test]
fn attempts_that_arrive_late_bring_values_back_once() {
    let late = |arrive: bool| {
        let fake = Fake::new();
        fake.writes(|number, _| if number % 20 == 0 { Fault::Twice } else { Fault::Well });
        audit(&fake, |fake, _| {
            if arrive {
                fake.arrive();
            }
        })
        .1
    };
    let verdict = late(true);
    assert!(verdict.passed && verdict.brought_back > 20, "{}", verdict.render());
    assert!(verdict.render().contains("brought back by late attempts"));
    assert_eq!(late(false).brought_back, 0);
}

#[test]
fn a_write_called_failed_that_was_done_is_a_false_word() {
    let fake = Fake::new();
    fake.writes(|number, _| if number == 1_000 || number == 1_001 { Fault::FalseWord } else { Fault::Well });
    let (_, verdict) = audit(&fake, |_, _| {});
    assert!(!verdict.passed);
    assert!(!verdict.false_words.is_empty(), "{verdict:?}");
}

#[test]
fn damaged_and_foreign_values_are_strange() {
    let (_, verdict) = audit(&Fake::new(), |fake, journal| {
        let foreign = value::encode(&journal.run, 3, Id { writer: 900, number: 1 }, &[], 64);
        fake.tamper(&journal.run.key(3), |values| values.push(foreign));
        fake.tamper(&journal.run.key(5), |values| values.push(Bytes::from_static(b"hello")));
    });
    assert!(!verdict.passed);
    assert_eq!(verdict.strange.len(), 2, "{verdict:?}");
}

#[test]
fn a_key_that_cannot_be_read_fails_the_audit_and_one_that_settles_does_not() {
    let unread = |fails: u64| {
        audit(&Fake::new(), |fake, journal| {
            let (bad, mut left) = (journal.run.key(7), fails);
            fake.reads(move |_, key| {
                if *key != bad || left == 0 {
                    return Fault::Well;
                }
                left -= 1;
                Fault::Refused
            });
        })
        .1
    };
    let never = unread(u64::MAX);
    assert!(!never.passed);
    assert_eq!(never.unread.len(), 1);
    let late = unread(3);
    assert!(late.passed, "{}", late.render());
    assert_eq!(late.settled_late, 1);
}

#[test]
fn where_nobody_answers_the_survey_ends_soon_after_its_time() {
    let (_, verdict) = audit(&Fake::new(), |fake, _| fake.reads(|_, _| Fault::Silent(Duration::from_secs(5))));
    assert_eq!(verdict.unread.len(), 10);
    assert!(verdict.settle_seconds < 11.0, "{} s for ten keys", verdict.settle_seconds);
}

#[test]
fn a_cut_journal_excuses_what_came_after_but_not_what_it_knows() {
    let (_, verdict) = audit(&Fake::new(), |_, journal| {
        journal.writes.truncate(1_000);
        journal.complete = false;
    });
    // Values that were written after the cut are not strange, and say themselves what they replaced; what was
    // replaced in between by writes that left no trace cannot be told from a loss.
    assert!(verdict.strange.is_empty() && verdict.resurrected.is_empty(), "{verdict:?}");
    assert!(verdict.render().contains("the journal was cut"));
}
