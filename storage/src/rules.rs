//! The known-wrong variants of the protocol, for the checks that must find them.
//!
//! Without the feature `mutations` every question here is a constant `false` that the compiler removes. With it, a check
//! switches one rule off for its own thread and must then see a failure: a check that stays green proves nothing.

/// A rule of the protocol that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Give clients a version vector in place of the exact dots.
    Round,
    /// Send objects without the past that the clock vouches for.
    Fill,
    /// Forget a context before the clock covers it.
    Strip,
    /// Answer a far-behind copy from an index that no longer reaches back.
    Delta,
    /// Do not take over the source's clock after a scan.
    Claim,
    /// Let a scan say what is there, but not what is gone.
    Absence,
    /// Repair a key without the dots of the writes that made it so.
    Dots,
    /// Go on with the same actor after a loss or a rollback.
    Reuse,
    /// Tell peers of dots that are not synced yet.
    Volatile,
    /// Believe a word that was given under another layout.
    Epoch,
    /// Drop a foreign copy before every owner contains it.
    Drop,
    /// Never close the lives that have ended.
    Close,
    /// Close a life before everything that was handed over of it is there.
    HandOver,
    /// Take what is left of a refused life from nodes that have not handed it over, and what was sent in one.
    Refuse,
    /// Sync as much at once as there is, whoever waits meanwhile.
    Greedy,
    /// Go by the new owners of a partition at once.
    Switch,
    /// Answer a read of former owners after having promised not to.
    Fence,
    /// Take a new owner for one that contains everything when it contains what one former owner had.
    OneVoucher,
    /// Read from the new owners when one of them contains everything.
    ReadNew,
    /// Count copies that may lack what they have acknowledged.
    Amnesiac,
    /// Take a node that has lost its disk for one that has promised nothing.
    Forgot,
    /// Take a former owner that becomes one again, and has its copy still, for one that has been one all the time.
    Returns,
    /// Take an owner that stays one, while others come and go, for one that contains what the others had.
    Stays,
}

impl Rule {
    /// Every rule, with the name that the command line knows.
    pub const ALL: [(Rule, &'static str); 23] = [
        (Rule::Round, "round"),
        (Rule::Fill, "fill"),
        (Rule::Strip, "strip"),
        (Rule::Delta, "delta"),
        (Rule::Claim, "claim"),
        (Rule::Absence, "absence"),
        (Rule::Dots, "dots"),
        (Rule::Reuse, "reuse"),
        (Rule::Volatile, "volatile"),
        (Rule::Epoch, "epoch"),
        (Rule::Drop, "drop"),
        (Rule::Close, "close"),
        (Rule::HandOver, "hand_over"),
        (Rule::Refuse, "refuse"),
        (Rule::Greedy, "greedy"),
        (Rule::Switch, "switch"),
        (Rule::Fence, "fence"),
        (Rule::OneVoucher, "one_voucher"),
        (Rule::ReadNew, "read_new"),
        (Rule::Amnesiac, "amnesiac"),
        (Rule::Forgot, "forgot"),
        (Rule::Returns, "returns"),
        (Rule::Stays, "stays"),
    ];
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Rule;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Breaks a rule on this thread (or none).
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.with(|b| b.set(rule));
    }

    /// Is the rule broken on this thread?
    pub fn broken(rule: Rule) -> bool {
        BROKEN.with(|b| b.get() == Some(rule))
    }
}

#[cfg(not(feature = "mutations"))]
mod switch {
    use super::Rule;

    /// Never: this build has no switches.
    #[inline(always)]
    pub fn broken(_: Rule) -> bool {
        false
    }
}

pub use switch::*;
