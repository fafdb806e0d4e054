//! When to ask again: what is safe, how long to pause, and how much of it is allowed. Decisions only.
//!
//! Reads are asked again after anything that another node or a moment may change; so are writes that do no more when they
//! are made twice: puts with a request id, and deletes of what was seen. Other writes only when the failed attempt cannot
//! have changed anything, now or later: never sent, or refused by the node in words that say so. A write that may have
//! arrived and was not answered ends as [`Error::OutcomeUnknown`], whatever came of later attempts but success.
//!
//! Retries make an overload worse, so each client has a budget for them: a tenth of its requests, as "Handling
//! Overload" in Google's *Site Reliability Engineering* advises. Trouble that is no sign of overload (a layout that
//! changed, a connection that broke once, a node that was never reached) does not count against it, but against the
//! attempts of the one call.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use rand::RngExt;

use crate::Error;
use crate::connection::Trouble;
use crate::limits::{LAYOUT_RETRIES_MAX, PAUSE_MAX, PAUSE_MIN};

/// What a failed attempt may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes nothing, whatever happens.
    Read,
    /// Must not happen twice unseen.
    Write,
    /// A write that does no more when it is made twice.
    Repeatable,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Tell the caller.
    GiveUp(Error),
    /// Ask again; should there be no time, attempt or budget left, tell the caller this.
    Again {
        error: Error,
        /// Pause first.
        pause: bool,
        /// The retry counts against the client's budget.
        paid: bool,
        /// Fetch the layout first.
        layout: bool,
    },
}

/// How far a call has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Attempts that ended with a lost connection.
    pub(crate) lost: u32,
    /// Attempts that ended with `OtherLayout`.
    pub(crate) other_layout: u32,
    /// What an attempt said that may have written.
    pub(crate) unknown: Option<String>,
    /// How many attempts there were that may have written.
    pub(crate) unknown_attempts: u32,
}

impl Progress {
    /// An attempt may have written.
    fn may_have_written(&mut self, why: String) {
        self.unknown = Some(why);
        self.unknown_attempts += 1;
    }

    /// What to tell the caller of a write that came to this error.
    pub(crate) fn ended(&mut self, error: Error) -> Error {
        let all = self.unknown_attempts.max(1);
        match (self.unknown.take(), error) {
            (_, Error::OutcomeUnknown { needed, received, detail, .. }) => {
                Error::OutcomeUnknown { needed, received, attempts: all, detail }
            }
            (Some(before), error) => {
                let detail = format!("an attempt may have written ({before}); the last one: {error}");
                Error::OutcomeUnknown { needed: 0, received: 0, attempts: all, detail }
            }
            (None, error) => error,
        }
    }
}

/// Judges an attempt that a node answered with a failure.
pub(crate) fn judge_failure(kind: Kind, error: Error, progress: &mut Progress) -> Verdict {
    let again = |error, pause, layout| Verdict::Again { error, pause, paid: true, layout };
    match error {
        Error::Overloaded { .. } => again(error, true, false),
        // Stopping or not ready: another node is, most likely.
        Error::Unavailable { .. } => again(error, true, true),
        // Nothing was changed, and a cluster that has just lost a node soon has a quorum again.
        Error::QuorumNotMet { .. } => again(error, true, false),
        Error::OtherLayout { .. } => {
            progress.other_layout += 1;
            let often = progress.other_layout > LAYOUT_RETRIES_MAX;
            Verdict::Again { error, pause: often, paid: often, layout: true }
        }
        Error::Internal { .. } | Error::Unexpected { .. } | Error::OutcomeUnknown { .. } if kind == Kind::Read => {
            again(error, true, false)
        }
        Error::NotSeenYet { .. } if kind == Kind::Read => again(error, true, false),
        Error::Internal { .. } | Error::Unexpected { .. } | Error::OutcomeUnknown { .. }
            if kind == Kind::Repeatable =>
        {
            progress.may_have_written(error.to_string());
            again(error, true, false)
        }
        _ => Verdict::GiveUp(error),
    }
}

/// Judges an attempt that got no answer.
pub(crate) fn judge_trouble(kind: Kind, trouble: Trouble, progress: &mut Progress) -> Verdict {
    let unknown = |detail| Verdict::GiveUp(Error::OutcomeUnknown { needed: 0, received: 0, attempts: 1, detail });
    if let (Trouble::Lost(error), Kind::Repeatable) = (&trouble, kind) {
        progress.may_have_written(format!("the connection was lost: {error}"));
    }
    if let (Trouble::Silent, Kind::Repeatable) = (&trouble, kind) {
        progress.may_have_written("no answer in time".into());
    }
    match (trouble, kind) {
        (Trouble::DoesNotFit(e), _) => Verdict::GiveUp(e.into()),
        (Trouble::NotSent(error), _) => Verdict::Again { error, pause: false, paid: false, layout: false },
        (Trouble::Busy, _) => {
            let detail = "this client's own limit of requests in flight was reached all the time".to_owned();
            Verdict::Again { error: Error::Overloaded { detail }, pause: false, paid: true, layout: false }
        }
        (Trouble::Lost(error), Kind::Read | Kind::Repeatable) => {
            progress.lost += 1;
            let often = progress.lost > 1;
            Verdict::Again { error, pause: often, paid: often, layout: false }
        }
        (Trouble::Lost(error), Kind::Write) => unknown(format!("sent, then the connection was lost: {error}")),
        (Trouble::Silent, Kind::Read | Kind::Repeatable) => {
            Verdict::Again { error: Error::TimedOut, pause: false, paid: true, layout: false }
        }
        (Trouble::Silent, Kind::Write) => unknown("sent, and not answered in the time allowed".into()),
    }
}

/// The pause before retry number `retry` (from 0): anything up to a bound that doubles each time ("full jitter"), so
/// that clients which failed together do not come back together.
pub(crate) fn pause(retry: u32) -> Duration {
    jittered(PAUSE_MIN, PAUSE_MAX, retry)
}

/// A random part of `min` doubled `times` times, `max` at most.
pub(crate) fn jittered(min: Duration, max: Duration, times: u32) -> Duration {
    min.saturating_mul(1 << times.min(16)).min(max).mul_f64(rand::rng().random::<f64>())
}

/// The further requests that a client may still make: retries, or hedges. Counted in hundredths.
pub(crate) struct Budget {
    left: AtomicI64,
    per_hundred: i64,
    max: i64,
}

const HUNDREDTHS: i64 = 100;

impl Budget {
    /// So many for a hundred calls, of which so many can be saved up. Full: a client that starts in trouble may retry a
    /// little.
    pub(crate) fn new(per_hundred: i64, saved_max: i64) -> Budget {
        let max = saved_max * HUNDREDTHS;
        Budget { left: AtomicI64::new(max), per_hundred, max }
    }

    /// A call was made.
    pub(crate) fn earn(&self) {
        // Requests on several threads may pass the bound by one each; nobody cares.
        if self.left.load(Relaxed) < self.max {
            self.left.fetch_add(self.per_hundred, Relaxed);
        }
    }

    /// Whether one more is allowed; takes it then.
    pub(crate) fn spend(&self) -> bool {
        let taken = |left| (left >= HUNDREDTHS).then_some(left - HUNDREDTHS);
        self.left.fetch_update(Relaxed, Relaxed, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WireError;

    fn detail() -> String {
        "d".into()
    }

    fn again(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Again { .. })
    }

    #[test]
    fn writes_are_repeated_only_when_nothing_can_have_changed() {
        let errors = [
            (Error::Overloaded { detail: detail() }, true),
            (Error::Unavailable { detail: detail() }, true),
            (Error::OtherLayout { detail: detail() }, true),
            (Error::QuorumNotMet { needed: 2, received: 1, detail: detail() }, true),
            (Error::OutcomeUnknown { needed: 2, received: 1, attempts: 1, detail: detail() }, false),
            (Error::Internal { detail: detail() }, false),
            (Error::Unexpected { detail: detail() }, false),
            (Error::BadRequest { detail: detail() }, false),
            (Error::TooLarge { detail: detail() }, false),
            (Error::Refused { detail: detail() }, false),
            (Error::TooManySiblings, false),
            (Error::ForeignContext, false),
        ];
        for (error, repeated) in errors {
            assert!(!repeated || error.changed() == crate::Changed::Nothing);
            let verdict = judge_failure(Kind::Write, error, &mut Progress::default());
            assert_eq!(again(&verdict), repeated, "{verdict:?}");
        }
        let lost = || Error::Unreachable { detail: detail() };
        let troubles = [
            (Trouble::NotSent(lost()), true),
            (Trouble::Busy, true),
            (Trouble::Lost(lost()), false),
            (Trouble::Silent, false),
            (Trouble::DoesNotFit(WireError::UnknownKind(0)), false),
        ];
        for (trouble, repeated) in troubles {
            let verdict = judge_trouble(Kind::Write, trouble.clone(), &mut Progress::default());
            assert_eq!(again(&verdict), repeated, "{verdict:?}");
            let unknown = matches!(verdict, Verdict::GiveUp(Error::OutcomeUnknown { .. }));
            assert_eq!(unknown, matches!(trouble, Trouble::Lost(_) | Trouble::Silent), "{verdict:?}");
        }
    }

    #[test]
    fn reads_are_repeated_unless_the_request_itself_is_wrong() {
        for error in [
            Error::Overloaded { detail: detail() },
            Error::Unavailable { detail: detail() },
            Error::OtherLayout { detail: detail() },
            Error::QuorumNotMet { needed: 2, received: 1, detail: detail() },
            Error::Internal { detail: detail() },
        ] {
            assert!(again(&judge_failure(Kind::Read, error, &mut Progress::default())));
        }
        for error in [Error::BadRequest { detail: detail() }, Error::TooLarge { detail: detail() }] {
            assert!(!again(&judge_failure(Kind::Read, error, &mut Progress::default())));
        }
        for trouble in
            [Trouble::Silent, Trouble::Busy, Trouble::Lost(Error::TimedOut), Trouble::NotSent(Error::TimedOut)]
        {
            assert!(again(&judge_trouble(Kind::Read, trouble, &mut Progress::default())));
        }
    }

    #[test]
    fn what_may_be_made_twice_is_repeated_and_never_called_a_failure_then() {
        let failures = [
            Error::OutcomeUnknown { needed: 2, received: 1, attempts: 1, detail: detail() },
            Error::Internal { detail: detail() },
            Error::Unexpected { detail: detail() },
        ];
        for error in failures {
            let mut progress = Progress::default();
            assert!(again(&judge_failure(Kind::Repeatable, error, &mut progress)));
            let ended = progress.ended(Error::QuorumNotMet { needed: 2, received: 1, detail: detail() });
            assert_eq!(ended.changed(), crate::Changed::Unknown);
        }
        for trouble in [Trouble::Lost(Error::TimedOut), Trouble::Silent] {
            let mut progress = Progress::default();
            assert!(again(&judge_trouble(Kind::Repeatable, trouble, &mut progress)));
            assert!(again(&judge_trouble(Kind::Repeatable, Trouble::Busy, &mut progress)), "never sent");
            assert!(again(&judge_trouble(Kind::Repeatable, Trouble::Silent, &mut progress)));
            let ended = progress.ended(Error::TimedOut);
            assert_eq!(ended.changed(), crate::Changed::Unknown);
            assert!(matches!(ended, Error::OutcomeUnknown { attempts: 2, .. }), "{ended:?}");
        }
        let mut progress = Progress::default();
        let refused = Error::QuorumNotMet { needed: 2, received: 1, detail: detail() };
        assert!(again(&judge_failure(Kind::Repeatable, refused.clone(), &mut progress)));
        assert_eq!(progress.ended(refused.clone()), refused, "nothing can have changed");
    }

    #[test]
    fn another_layout_is_asked_again_at_once_but_not_forever() {
        let mut progress = Progress::default();
        for round in 1..=LAYOUT_RETRIES_MAX + 1 {
            let verdict = judge_failure(Kind::Write, Error::OtherLayout { detail: detail() }, &mut progress);
            let often = round > LAYOUT_RETRIES_MAX;
            let expected = Verdict::Again {
                error: Error::OtherLayout { detail: detail() },
                pause: often,
                paid: often,
                layout: true,
            };
            assert_eq!(verdict, expected);
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        for retry in [0, 3, 6, 7, 31, u32::MAX] {
            let bound = PAUSE_MIN.saturating_mul(1 << retry.min(16)).min(PAUSE_MAX);
            let longest = (0..200).map(|_| pause(retry)).max().unwrap_or_default();
            assert!(longest <= bound && longest > bound / 2, "{longest:?} of {bound:?}");
        }
    }

    #[test]
    fn the_budget_is_a_tenth_of_the_requests() {
        let budget = Budget::new(10, 100);
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 100);
        (0..95).for_each(|_| budget.earn());
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 9);
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 100);
    }
}
