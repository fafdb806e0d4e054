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
