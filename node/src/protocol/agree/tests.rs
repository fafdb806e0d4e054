//! Agreeing under loss, duplication, reordering, cuts, crashes between storing and sending, and lost disks: one layout an
//! epoch at all times, and after the faults everybody has the same, and no change was forgotten.

mod fetch;
mod forms;
mod world;

use world::{Faults, Run};

use super::rules::{Rule, break_rule};

/// Runs of each kind: some seconds together.
const RUNS: u64 = 2000;

fn all(seeds: std::ops::Range<u64>, faults: impl Fn(u64) -> Faults) -> Result<(u64, u64), String> {
    let (mut decided, mut contended) = (0, 0);
    for seed in seeds {
        let mut run = Run::new(seed, faults(seed));
        run.go().map_err(|why| format!("seed {seed}: {why}"))?;
        decided += run.decided();
        contended += run.ballots_outbid();
    }
    Ok((decided, contended))
}

fn kind(seed: u64) -> Faults {
    Faults { nodes: [3, 4, 5, 7][(seed % 4) as usize], operators: [2, 5][(seed / 4 % 2) as usize], ..Faults::default() }
}

#[test]
fn an_epoch_has_one_layout_on_every_node_at_all_times_and_all_end_with_the_same() {
    let (decided, contended) = all(0..RUNS, kind).unwrap();
    assert!(decided > RUNS, "{decided} decisions: the runs do not do much");
    assert!(contended > RUNS / 10, "{contended} ballots met others: the runs are too quiet");
}

#[test]
fn the_same_with_halves_that_are_cut_off_from_each_other() {
    all(0..RUNS, |seed| Faults { cuts: true, ..kind(seed) }).unwrap();
}

#[test]
fn the_same_with_disks_that_are_lost() {
    all(0..RUNS, |seed| Faults { cuts: true, lost_disks: true, ..kind(seed) }).unwrap();
}

/// The check must notice when a rule is broken.
fn is_found(rule: Rule, faults: impl Fn(u64) -> Faults) {
    break_rule(Some(rule));
    let found = all(0..20 * RUNS, faults);
    break_rule(None);
    let why = found.expect_err("nobody noticed");
    let what = if rule == Rule::SilenceIsNo { "takes itself for free" } else { "two layouts" };
    assert!(why.contains(what), "{rule:?}: {why}");
}

#[test]
fn votes_that_a_restart_forgets_are_found() {
    is_found(Rule::ForgetVotes, |seed| Faults { cuts: true, ..kind(seed) });
}

#[test]
fn a_vote_below_a_promise_is_found() {
    is_found(Rule::AcceptBelowPromise, |seed| Faults { cuts: true, ..kind(seed) });
}

#[test]
fn a_proposal_that_ignores_what_was_accepted_is_found() {
    is_found(Rule::IgnoreAccepted, |seed| Faults { cuts: true, ..kind(seed) });
}

#[test]
fn a_vote_after_a_lost_disk_is_found() {
    is_found(Rule::VoteAfterLoss, |seed| Faults { cuts: true, lost_disks: true, ..kind(seed) });
}

#[test]
fn taking_oneself_for_free_before_others_have_spoken_is_found() {
    is_found(Rule::SilenceIsNo, |seed| Faults { cuts: true, lost_disks: true, ..kind(seed) });
}

/// Somebody has promised a ballot, of which nothing came: whoever loses its disk does not find out whether it has promised one as
/// well, but that nobody can have gone on; and a restart does not take that back.
#[test]
fn a_lost_disk_binds_until_enough_have_accepted_nothing_whatever_they_have_promised() {
    let mut run = Run::new(5, Faults { nodes: 3, operators: 0, ..Faults::none() });
    run.pass(10_000);
    run.cut_off(&[0]);
    run.commit_join(0); // it promises itself before it asks anybody
    run.cancel_all(0);
    run.take_disk(1);
    run.pass(20_000);
    assert!(run.may_have_gone_on(1), "it has heard of one other, and two may have chosen");
    run.heal();
    run.pass(20_000);
    let knows = |run: &Run| (run.epoch(1), run.knows_its_votes(1), run.may_have_gone_on(1));
    assert_eq!(knows(&run), (1, false, false));
    run.cut_off(&[1]);
    run.restart(1);
    assert_eq!(knows(&run), (1, false, false), "after a restart");
}

/// Three of five chose the next layout, and two of these lost their disks. What the one of them says to the other is no proof that
/// nothing was chosen: the third, who knows, cannot be reached.
#[test]
fn the_word_of_a_member_that_may_have_forgotten_frees_nobody() {
    let go = || {
        let mut run = Run::new(6, Faults { nodes: 5, operators: 0, ..Faults::none() });
        run.pass(10_000);
        run.cut_off(&[3, 4]);
        run.commit_join(0);
        run.pass_until(|run| (0..3).all(|at| run.epoch(at) == 2));
        run.cut_off(&[0, 1, 3, 4]);
        run.take_disk(0);
        run.take_disk(1);
        run.pass(20_000);
        run.verdict()?;
        assert_eq!([0, 1].map(|at| (run.epoch(at), run.may_have_gone_on(at))), [(1, true); 2]);
        run.heal();
        run.pass(20_000);
        assert_eq!([0, 1].map(|at| (run.epoch(at), run.may_have_gone_on(at))), [(2, false); 2]);
        run.verdict()
    };
    assert_eq!(go(), Ok(()));
    break_rule(Some(Rule::ForgetfulWord));
    let found = go();
    break_rule(None);
    assert!(found.unwrap_err().contains("takes itself for free"));
}

/// A node has voted under a forced layout, loses its disk, and is told by those who have not heard of that layout that it cannot
/// have voted.
#[test]
fn what_is_known_of_votes_does_not_hold_under_a_layout_that_others_forced() {
    let go = || {
        let mut run = Run::new(7, Faults { nodes: 5, operators: 0, ..Faults::none() });
        run.pass(10_000);
        run.cut_off(&[3, 4]);
        run.force_remove(3, 0).unwrap();
        run.pass_until(|run| run.epoch(4) == crate::limits::FORCED_LEAP);
        run.commit_join(3);
        run.pass(1_000); // 4 promises; two of four decide nothing
        run.cut_off(&[3]);
        run.take_disk(4);
        run.pass(20_000);
        assert_eq!((run.epoch(4), run.may_have_gone_on(4)), (1, false), "so the others say");
        run.heal();
        run.pass_until(|run| run.epoch(4) == crate::limits::FORCED_LEAP);
        let knew = run.knows_its_votes(4);
        run.pass(20_000);
        assert_eq!((run.epoch(4), run.knows_its_votes(4)), (crate::limits::FORCED_LEAP + 1, true), "at last");
        knew
    };
    assert!(!go());
    break_rule(Some(Rule::VotesAcrossForce));
    let knew = go();
    break_rule(None);
    assert!(knew, "the test is blind");
}

#[test]
fn without_a_majority_a_change_waits_and_goes_on_when_it_is_back() {
    let mut run = Run::new(1, Faults { nodes: 5, operators: 0, ..Faults::none() });
    run.pass(10_000);
    run.cut_off(&[3, 4]); // the other three are a majority
    run.commit_join(3);
    run.pass(30_000);
    assert_eq!((run.epoch(3), run.epoch(0)), (1, 1), "two of five have chosen");
    run.heal();
    run.pass(20_000);
    assert_eq!((run.epoch(3), run.epoch(0)), (2, 2));
    assert_eq!(run.members(0), 6);
}

/// Partitions that leave it need its word, and nobody may wait until it has introduced itself.
#[test]
fn who_has_just_left_stays_a_neighbour_as_a_former_member() {
    let mut run = Run::new(3, Faults { nodes: 3, operators: 0, ..Faults::none() });
    run.pass(10_000);
    run.cut_off(&[2]);
    run.force_remove(2, 0).unwrap();
    assert_eq!((run.members(2), run.former_members(2)), (2, vec![0]));
}

/// The rest have lost with their disks what they had promised in an epoch in which somebody has voted: they can be reached, but
/// waiting for them would help nobody.
#[test]
fn an_operator_may_force_where_too_few_members_take_part_in_choosing() {
    let forced = |lost: &[usize]| {
        let mut run = Run::new(4, Faults { nodes: 3, operators: 0, ..Faults::none() });
        run.pass(10_000);
        run.cut_off(&[0]);
        run.commit_join(0); // it votes itself before it asks anybody
        lost.iter().for_each(|at| run.take_disk(*at));
        run.pass(5_000); // nobody but those two can tell each other that they have not voted
        run.heal();
        run.pass(10_000);
        (run.epoch(0), run.force_remove(0, 2).map(|()| run.epoch(0)))
    };
    assert_eq!(forced(&[1, 2]), (1, Ok(crate::limits::FORCED_LEAP)));
    let (epoch, refused) = forced(&[2]);
    assert_eq!(epoch, 2, "two choose");
    assert!(refused.unwrap_err().contains("without force"));
}

#[test]
fn a_forced_layout_wins_over_what_the_other_side_decides() {
    let mut run = Run::new(2, Faults { nodes: 5, operators: 0, ..Faults::none() });
    run.pass(10_000);
    run.commit_join(0);
    run.pass(5_000);
    run.cut_off(&[3, 4]);
    run.pass(1_000);
    let refused = run.force_remove(0, 4).unwrap_err();
    assert!(refused.contains("without force"), "{refused}");
    run.force_remove(3, 0).unwrap();
    run.commit_join(1); // the majority goes on meanwhile
    run.pass(10_000);
    assert_eq!(run.epoch(1), 3);
    assert_eq!(run.epoch(3), crate::limits::FORCED_LEAP);
    assert_eq!(run.overruled(), 0);
    run.heal();
    run.pass(20_000);
    for node in 0..5 {
        assert_eq!(run.epoch(node), crate::limits::FORCED_LEAP, "node {node}");
    }
    assert!(run.overruled() > 0, "nobody was told");
    // And further changes are chosen as ever.
    run.commit_join(2);
    run.pass(10_000);
    assert_eq!(run.epoch(1), crate::limits::FORCED_LEAP + 1);
}
