//! The clock against the plainest of all sets of dots.

use std::collections::BTreeSet;

use dynode_ring::NodeId;
use dynode_storage::clock::DotRange;
use dynode_storage::codec::{decode_clock, encode_clock};
use dynode_storage::dot::COUNTER_MAX;
use dynode_storage::{Actor, Clock, Dot};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

type Set = BTreeSet<Dot>;

const TOP: u64 = 24;

/// All counters that there are: more than runs reach, so that naming dots never amounts to closing their life.
const ALL: u64 = TOP + 16;

/// All lives of each of the two nodes.
const LIVES: u64 = 4;

fn actor(n: u64) -> Actor {
    Actor { node: NodeId(n % 2), life: n / 2 }
}

fn actors() -> impl Iterator<Item = Actor> {
    (0..2).flat_map(|node| (0..LIVES).map(move |life| Actor { node: NodeId(node), life }))
}

fn dot(actor_number: u64, counter: u64) -> Dot {
    Dot { actor: actor(actor_number), counter }
}

fn every_dot() -> impl Iterator<Item = Dot> {
    actors().flat_map(|actor| (1..=ALL).map(move |counter| Dot { actor, counter }))
}

/// Runs of dots, in any order, overlapping or not, empty ones and counter 0 among them; and between them lives that are
/// closed.
#[derive(Debug, Clone)]
enum Step {
    Run(DotRange),
    Close(NodeId, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = (0..2 * LIVES, 0..TOP, 0..6u64).prop_map(|(a, first, len)| {
        Step::Run(DotRange { actor: actor(a), first, last: (first + len).saturating_sub(1) })
    });
    let close = (0..2u64, 0..LIVES).prop_map(|(node, life)| Step::Close(NodeId(node), life));
    prop::collection::vec(prop_oneof![8 => run, 1 => close], 0..12)
}

fn build(steps: &[Step]) -> (Clock, Set) {
    let (mut clock, mut set) = (Clock::new(), Set::new());
    for step in steps {
        match step {
            Step::Run(run) => {
                clock.add_range(*run);
                set.extend((run.first.max(1)..=run.last).map(|counter| Dot { actor: run.actor, counter }));
            }
            Step::Close(node, life) => {
                clock.close(*node, *life);
                set.extend(every_dot().filter(|d| d.actor.node == *node && d.actor.life < *life));
            }
        }
    }
    (clock, set)
}

/// The dots that are named.
fn named(clock: &Clock) -> Set {
    let counters = |r: DotRange| (r.first..=r.last).map(move |counter| Dot { actor: r.actor, counter });
    clock.ranges().flat_map(counters).collect()
}

fn base(set: &Set, of: Actor) -> u64 {
    (1..).take_while(|counter| set.contains(&Dot { actor: of, counter: *counter })).last().unwrap_or(0)
}

/// Below which life the set contains all of a node.
fn closed_below(set: &Set, node: NodeId) -> u64 {
    (0..LIVES).take_while(|life| base(set, Actor { node, life: *life }) == ALL).count() as u64
}

fn is_closed(set: &Set, of: Actor) -> bool {
    of.life < closed_below(set, of.node)
}

/// All that a clock says of itself fits the set.
fn same(clock: &Clock, set: &Set) -> Result<(), TestCaseError> {
    for d in every_dot() {
        prop_assert_eq!(clock.has(d), set.contains(&d), "{}", d);
    }
    for actor in actors() {
        prop_assert!(!clock.has(Dot { actor, counter: 0 }), "counter 0 is no dot");
    }
    let open: Set = set.iter().copied().filter(|d| !is_closed(set, d.actor)).collect();
    prop_assert_eq!(&named(clock), &open);
    prop_assert_eq!(clock.len(), open.len() as u64);
    prop_assert_eq!(clock.is_empty(), set.is_empty());
    prop_assert_eq!(clock.actors(), open.iter().map(|d| d.actor).collect::<BTreeSet<_>>().len());
    for a in actors() {
        prop_assert_eq!(clock.is_closed(a), is_closed(set, a));
        let expected = |counter| if is_closed(set, a) { COUNTER_MAX } else { counter };
        prop_assert_eq!(clock.base(a), expected(base(set, a)));
        let greatest = set.iter().filter(|d| d.actor == a).map(|d| d.counter).max();
        prop_assert_eq!(clock.greatest(a), expected(greatest.unwrap_or(0)));
    }
    let gaps = open.iter().any(|d| d.counter > base(set, d.actor));
    prop_assert_eq!(clock.has_gaps(), gaps);
    let bases: Vec<(Actor, u64)> =
        actors().filter(|a| !is_closed(set, *a)).map(|a| (a, base(set, a))).filter(|b| b.1 > 0).collect();
    prop_assert_eq!(clock.bases().collect::<Vec<_>>(), bases);
    // Runs ascend and do not touch: there is one form for a set, and so one hash and one encoding.
    let ranges: Vec<DotRange> = clock.ranges().collect();
    for pair in ranges.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        prop_assert!(a.actor < b.actor || a.actor == b.actor && a.last + 1 < b.first);
    }
    let mut again: Clock = open.iter().copied().collect();
    (0..2).for_each(|node| again.close(NodeId(node), closed_below(set, NodeId(node))));
    prop_assert_eq!(&again, clock);
    prop_assert_eq!(again.hash(), clock.hash());
    prop_assert_eq!(encode_clock(&again), encode_clock(clock));
    prop_assert_eq!(&decode_clock(encode_clock(clock).into()).unwrap(), clock);
    Ok(())
}

/// The same cases on every run; one that fails is kept in a file beside this one and tried first from then on.
fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("tests/clock_laws.regressions");
    let failure_persistence: Option<Box<dyn proptest::test_runner::FailurePersistence>> = Some(Box::new(kept));
    ProptestConfig { cases: 3000, rng_seed: RngSeed::Fixed(1), failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn adding_is_adding_to_a_set(steps in steps()) {
        let (clock, set) = build(&steps);
        same(&clock, &set)?;
        let mut singly: Clock = named(&clock).into_iter().rev().collect();
        clock.closed().iter().rev().for_each(|(node, life)| singly.close(*node, *life));
        prop_assert_eq!(singly, clock);
    }

    #[test]
    fn two_clocks_are_two_sets(a in steps(), b in steps()) {
        let ((ca, sa), (cb, sb)) = (build(&a), build(&b));
        let union: Set = sa.union(&sb).copied().collect();
        same(&ca.union(&cb), &union)?;
        prop_assert_eq!(ca.union(&cb), cb.union(&ca));
        prop_assert_eq!(ca.covers(&cb), sa.is_superset(&sb));
        prop_assert!(ca.union(&cb).covers(&ca) && ca.covers(&Clock::new()));
        prop_assert_eq!(ca.hash() == cb.hash(), sa == sb);
        prop_assert_eq!(encode_clock(&ca) == encode_clock(&cb), sa == sb);
        let floor: Set = sb.iter().filter(|d| d.counter <= base(&sb, d.actor)).copied().collect();
        same(&cb.floor(), &floor)?;
        let met: Set = floor.iter().filter(|d| d.counter <= base(&sa, d.actor)).copied().collect();
        same(&ca.meet_bases(&cb), &met)?;
        same(&cb.meet_bases(&ca), &met)?;
    }

    #[test]
    fn what_is_taken_out_of_a_clock_is_what_is_named(a in steps(), b in steps()) {
        let ((ca, sa), (cb, sb)) = (build(&a), build(&b));
        let open = |d: &&Dot| !is_closed(&sa, d.actor);
        let minus: Set = sa.difference(&sb).filter(open).copied().collect();
        prop_assert_eq!(&named(&ca.minus(&cb)), &minus);
        let missing: Vec<DotRange> = ca.missing_in(&cb);
        prop_assert_eq!(&build(&missing.iter().map(|r| Step::Run(*r)).collect::<Vec<_>>()).1, &minus);
        prop_assert_eq!(missing.iter().map(|r| r.last - r.first + 1).sum::<u64>(), minus.len() as u64);
        let beyond: Set = sa.iter().filter(|d| d.counter > base(&sb, d.actor)).filter(open).copied().collect();
        prop_assert_eq!(&named(&ca.beyond(&cb)), &beyond);
        // Where more lives are closed, that is said still: nothing of what is missing is left out.
        let closed: Vec<(NodeId, u64)> = (0..2)
            .map(|n| (NodeId(n), closed_below(&sa, NodeId(n))))
            .filter(|(node, life)| *life > closed_below(&sb, *node))
            .collect();
        prop_assert_eq!(&ca.minus(&cb).closed().to_vec(), &closed);
        prop_assert_eq!(&ca.beyond(&cb).closed().to_vec(), &closed);
        prop_assert_eq!(ca.closed_beyond(&cb), closed);
        prop_assert_eq!(ca.minus(&cb).union(&cb), ca.union(&cb));
        prop_assert_eq!(ca.beyond(&cb).union(&cb), ca.union(&cb));
    }

    #[test]
    fn lives_are_taken_out_whole(steps in steps(), node in 0..2u64, life in 0..=LIVES, counter in 0..TOP) {
        let ((clock, set), node) = (build(&steps), NodeId(node));
        let low = |d: &Dot| d.actor.node == node && d.actor.life < life;
        same(&clock.below(&[(node, life)]), &set.iter().copied().filter(low).collect())?;
        prop_assert_eq!(named(&clock.of_lives_below(node, life)), named(&clock).into_iter().filter(low).collect::<Set>());
        let mut left = clock.clone();
        left.forget_lives_below(node, life);
        prop_assert_eq!(named(&left), named(&clock).into_iter().filter(|d| !low(d)).collect::<Set>());
        for actor in actors() {
            let mut left = clock.clone();
            left.forget_base(actor, counter);
            let above = |d: &Dot| d.actor != actor || d.counter > counter;
            prop_assert_eq!(named(&left), named(&clock).into_iter().filter(above).collect::<Set>());
        }
    }

    #[test]
    fn merging_is_associative_and_idempotent(a in steps(), b in steps(), c in steps()) {
        let (a, b, c) = (build(&a).0, build(&b).0, build(&c).0);
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.union(&a), a);
    }
}

#[test]
fn the_ends_of_the_numbers_are_no_trap() {
    let all = |first, last| {
        let mut clock = Clock::new();
        clock.add_range(DotRange { actor: actor(0), first, last });
        clock
    };
    let (high, whole) = (all(u64::MAX - 2, u64::MAX), all(0, u64::MAX));
    assert!(high.missing_in(&high).is_empty() && high.missing_in(&whole).is_empty());
    assert_eq!(whole.minus(&high), all(1, u64::MAX - 3));
    assert_eq!(all(u64::MAX, u64::MAX).minus(&all(5, u64::MAX)), Clock::new());
    assert!(whole.covers(&high) && !high.covers(&whole) && whole.beyond(&whole).is_empty());
    assert_eq!(whole.len(), u64::MAX);
    assert_eq!(high.union(&all(1, u64::MAX - 3)), whole);
    let mut clock = Clock::new();
    clock.add(dot(0, 0));
    assert!(clock.is_empty(), "counter 0 is no dot");
}
