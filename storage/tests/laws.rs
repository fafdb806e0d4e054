//! The laws of copies: nothing acknowledged is lost, nothing comes back, copies converge, nothing is left behind.
//!
//! Random runs of several copies of one partition, checked against the true history; `SEEDS=100000` runs more of them,
//! `SEED=n TRACE=1` shows one.

mod common;

use common::run::{run_all, seeds};
use common::scripts;

#[test]
fn random_runs_keep_every_law() {
    let seeds = seeds(10_000);
    let many = seeds.end - seeds.start >= 10_000;
    let counts = run_all(seeds);
    eprintln!("{counts:?}");
    // What never comes about is not tested.
    for (what, times) in counts.each().into_iter().filter(|_| many) {
        assert!(times > 10, "too few of {what}: {times}");
    }
}

#[test]
fn a_repair_carries_the_dots_of_what_it_repairs() {
    scripts::dots();
}

#[test]
fn a_scan_says_what_is_gone() {
    scripts::absence();
}

#[test]
fn a_stand_in_lets_go_on_synced_words_only() {
    scripts::volatile();
}

#[test]
fn a_word_counts_only_under_the_layout_it_was_given_under() {
    scripts::epoch();
}

#[test]
fn a_stand_in_lets_go_only_of_what_every_owner_contains() {
    scripts::drop_early();
}

#[test]
fn a_life_that_ended_with_a_gap_is_closed() {
    scripts::gap();
}

#[test]
fn what_was_not_handed_over_comes_too_late() {
    scripts::late();
}

#[test]
fn a_hundred_lives_leave_a_clock_as_small_as_one() {
    scripts::many_lives();
}

#[test]
fn index_entries_leave_on_synced_words_only() {
    scripts::volatile_index();
}
