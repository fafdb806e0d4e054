//! A check that stays green proves nothing: each rule of the protocol is broken in turn, and must be found.
//!
//! | rule | found by |
//! | --- | --- |
//! | `round`, `fill`, `strip`, `delta`, `claim`, `absence`, `dots`, `reuse`, `volatile`, `close`, `hand_over` | random seeds |
//! | `absence`, `dots`, `volatile` | also `scripts/away_during_delete.txt`, `delete_by_repair.txt`, `told_unsynced.txt` |
//! | `switch`, `fence`, `amnesiac`, `epoch`, `drop` | random seeds in which owners change |
//! | `stays`, `one_voucher`, `forgot` | random seeds in which owners change, by faults aimed at changes (`world/aimed.rs`); also `scenarios/owners.rs` |
//! | `returns`, `read_new` | `scenarios/owners.rs` |
//! | effects before the commit ("send, then persist") | random seeds |
//! | going on after the disk has refused a batch | random seeds |
//! | puts that are asked for again without the id of their request; reads that do not say what their client has seen | random seeds |

use dynode_storage::rules::{Rule, break_rule};
use tests::runner::{Break, Changes, Options, run_range};
use tests::script::play;

/// Seeds among which each break must show. The one that hides best, `dots`, showed within six thousand: most of what is
/// repaired comes with the sync as well.
const WITHIN: u64 = 10_000;

fn is_found(wrong: Break) {
    is_found_among(Options { wrong: Some(wrong), ..Options::default() });
}

/// As [`is_found`], where owners change in every run.
fn is_found_in_changes(rule: Rule) {
    let wrong = Some(Break::Rule(rule));
    is_found_among(Options { wrong, changes: Changes::Always, ..Options::default() });
}

fn is_found_among(options: Options) {
    let Some(wrong) = options.wrong else { return };
    let (_, failed) = run_range(0..WITHIN, options, 1, &|_| {});
    let first = failed.first().unwrap_or_else(|| panic!("{wrong:?} was not found in {WITHIN} seeds"));
    println!("{wrong:?}: seed {}, {}: {}", first.seed, first.violation.invariant, first.violation.detail);
}

fn script_stops(script: &str, rule: Rule) {
    assert_eq!(play(script).1, Ok(()), "the script itself");
    break_rule(Some(rule));
    let ended = play(script).1;
    break_rule(None);
    assert!(ended.is_err(), "{rule:?} was not found");
}

#[test]
fn round_is_found() {
    is_found(Break::Rule(Rule::Round));
}

#[test]
fn fill_is_found() {
    is_found(Break::Rule(Rule::Fill));
}

#[test]
fn strip_is_found() {
    is_found(Break::Rule(Rule::Strip));
}

#[test]
fn delta_is_found() {
    is_found(Break::Rule(Rule::Delta));
}

#[test]
fn claim_is_found() {
    is_found(Break::Rule(Rule::Claim));
}

#[test]
fn absence_is_found() {
    is_found(Break::Rule(Rule::Absence));
}

#[test]
fn dots_is_found() {
    is_found(Break::Rule(Rule::Dots));
}

#[test]
fn reuse_is_found() {
    is_found(Break::Rule(Rule::Reuse));
}

#[test]
fn volatile_is_found() {
    is_found(Break::Rule(Rule::Volatile));
}

#[test]
fn close_is_found() {
    is_found(Break::Rule(Rule::Close));
}

#[test]
fn hand_over_is_found() {
    is_found(Break::Rule(Rule::HandOver));
}

#[test]
fn switching_at_once_is_found() {
    is_found_in_changes(Rule::Switch);
}

#[test]
fn reads_of_former_owners_without_a_fence_are_found() {
    is_found_in_changes(Rule::Fence);
}

#[test]
fn counting_copies_that_forgot_is_found() {
    is_found_in_changes(Rule::Amnesiac);
}

#[test]
fn words_of_other_epochs_are_found() {
    is_found_in_changes(Rule::Epoch);
}

#[test]
fn dropping_copies_early_is_found() {
    is_found_in_changes(Rule::Drop);
}

#[test]
fn one_former_owner_that_vouches_for_all_is_found() {
    is_found_in_changes(Rule::OneVoucher);
}

#[test]
fn taking_owners_that_stay_for_whole_is_found() {
    is_found_in_changes(Rule::Stays);
}

#[test]
fn promises_that_were_lost_with_a_disk_are_found() {
    is_found_in_changes(Rule::Forgot);
}

#[test]
fn sending_before_the_commit_is_found() {
    is_found(Break::SendFirst);
}

#[test]
fn going_on_after_a_refused_batch_is_found() {
    is_found(Break::Unfenced);
}

#[test]
fn retries_without_a_request_id_are_found() {
    is_found(Break::NoRequestIds);
}

#[test]
fn sessions_that_do_not_say_what_they_saw_are_found() {
    is_found(Break::NoSessions);
}

#[test]
fn absence_is_found_by_a_script() {
    script_stops(include_str!("scripts/away_during_delete.txt"), Rule::Absence);
}

#[test]
fn dots_is_found_by_a_script() {
    script_stops(include_str!("scripts/delete_by_repair.txt"), Rule::Dots);
}

#[test]
fn volatile_is_found_by_a_script() {
    script_stops(include_str!("scripts/told_unsynced.txt"), Rule::Volatile);
}
