//! Seeds that once failed, each with what it found. They fail again when the fix is undone.
//!
//! The first column says how the seed's run is drawn: `PLAIN` is as it was before there were spells and stand-ins, and does not
//! change when more is drawn. A seed means another run once `Plan::draw` draws anything else, or once the protocol itself
//! draws or sends otherwise: then undo the fix for a moment, and look for one anew.

use tests::runner::{Changes, Options, run_seed};

/// As drawn before there were spells and stand-ins.
const PLAIN: Options = Options {
    plain: true,
    wrong: None,
    nodes: None,
    sloppy: None,
    spell_every: None,
    rot: false,
    changes: Changes::Never,
    go_on: false,
    echo: false,
};

/// As drawn with spells and stand-ins.
const ALL: Options = Options { plain: false, ..PLAIN };

/// As drawn where owners change.
const CHANGES: Options = Options { changes: Changes::Always, ..ALL };

const SEEDS: [(Options, u64, &str); 20] = [
    (PLAIN, 11, "a listing wrote a part of the turn without a sync, and the turn's end saw nothing left to commit"),
    (
        PLAIN,
        31,
        "the same; and: what a pull had asked for came another way meanwhile, and it was taken for going in circles",
    ),
    (PLAIN, 35, "what a pull had asked for came twice"),
    (PLAIN, 285, "a listing wrote a part of the turn without a sync"),
    (PLAIN, 82, "the wall clock was set back, and after a power cut copies went on in the life that had lost writes"),
    (PLAIN, 121, "the same, with lives that were begun and lost again"),
    (PLAIN, 247, "an old backup and a clock set back twice gave the same life to two runs"),
    (PLAIN, 426, "the same: the copy then took itself for rolled back"),
    (PLAIN, 433, "the same: a write got the dot of another"),
    (PLAIN, 5, "the last key of a scan's page was taken for unlisted by the next page, and removed"),
    (PLAIN, 7, "the same"),
    (PLAIN, 18121, "a copy in the middle of a scan told its content with a clock that was behind it: a false alarm"),
    (PLAIN, 23979, "the same"),
    (PLAIN, 13962, "a read forgot what a copy with equal values had seen: a deleted value came back from the third"),
    (PLAIN, 24618, "the same"),
    (
        PLAIN,
        107_109,
        "a crash inside a turn whose first half a scan had written: the dots are given out again, rightly",
    ),
    (
        ALL,
        202_060,
        "an old backup took in what another had, and was set aside with it when it heard what had been closed",
    ),
    (
        ALL,
        8_027_044,
        "the first pages of a scan brought the effect of a delete whose dot had left the index, and the source was lost",
    ),
    (
        ALL,
        8_061_274,
        "a context named closed lives that a node with a new disk and a clock set back had not come to yet: never stripped",
    ),
    (
        CHANGES,
        820,
        "an owner that stayed one was taken for one that contains what the former ones had; then another lost its disk",
    ),
];

#[test]
fn seeds_that_once_failed_hold() {
    for (options, seed, found) in SEEDS {
        if let Err(failed) = run_seed(seed, options) {
            panic!("seed {seed} (it once found: {found}): {}: {}", failed.violation.invariant, failed.violation.detail);
        }
    }
}
