//! Switches that break one rule, so that the tests can prove that they would notice. Absent outside of them.

/// A rule that a test can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// What was promised and accepted is stored before it is said.
    ForgetVotes,
    /// A promise binds what is accepted afterwards.
    AcceptBelowPromise,
    /// What may have been chosen already is proposed again, and nothing else.
    IgnoreAccepted,
    /// A node that may have forgotten its votes abstains.
    VoteAfterLoss,
    /// A member that has not said otherwise may have accepted what a node on a new disk went on by.
    SilenceIsNo,
    /// Nor does the word count of one that may have forgotten what it accepted.
    ForgetfulWord,
    /// What the one side told a node of its votes is not true of a layout that the other side forced.
    VotesAcrossForce,
}

#[cfg(test)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn break_rule(rule: Option<Rule>) {
    BROKEN.set(rule);
}

#[cfg(test)]
pub(super) fn broken(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}

#[cfg(not(test))]
pub(super) fn broken(_: Rule) -> bool {
    false
}
