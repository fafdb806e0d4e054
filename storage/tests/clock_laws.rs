//! The clock against the plainest of all sets of dots.

use std::collections::BTreeSet;

use dynode_ring::NodeId;
use dynode_storage::clock::DotRange;
use dynode_storage::codec::{decode_clock, encode_clock};
use dynode_storage::{Actor, Clock, Dot};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

type Set = BTreeSet<Dot>;

const TOP: u64 = 24;

fn actor(n: u64) -> Actor {
    Actor { node: NodeId(n % 2), life: n / 2 }
}

fn dot(actor_number: u64, counter: u64) -> Dot {
    Dot { actor: actor(actor_number), counter }
}

/// Runs of dots, in any order, overlapping or not, empty ones and counter 0 among them.
fn runs() -> impl Strategy<Value = Vec<DotRange>> {
    let run = (0..4u64, 0..TOP, 0..6u64);
    prop::collection::vec(run, 0..12).prop_map(|runs| {
        let range = |(a, first, len): (u64, u64, u64)| DotRange {
            actor: actor(a),
            first,
            last: (first + len).saturating_sub(1),
        };
        runs.into_iter().map(range).collect()
    })
}

fn build(runs: &[DotRange]) -> (Clock, Set) {
    let (mut clock, mut set) = (Clock::new(), Set::new());
    for run in runs {
        clock.add_range(*run);
        set.extend((run.first.max(1)..=run.last).map(|counter| Dot { actor: run.actor, counter }));
    }
    (clock, set)
}

fn dots(clock: &Clock) -> Set {
    let counters = |r: DotRange| (r.first..=r.last).map(move |counter| Dot { actor: r.actor, counter });
    clock.ranges().flat_map(counters).collect()
}

fn base(set: &Set, of: Actor) -> u64 {
    (1..).take_while(|counter| set.contains(&Dot { actor: of, counter: *counter })).last().unwrap_or(0)
}

/// All that a clock says of itself fits the set.
fn same(clock: &Clock, set: &Set) -> Result<(), TestCaseError> {
    prop_assert_eq!(&dots(clock), set);
    prop_assert_eq!(clock.len(), set.len() as u64);
    prop_assert_eq!(clock.is_empty(), set.is_empty());
    prop_assert_eq!(clock.actors(), set.iter().map(|d| d.actor).collect::<BTreeSet<_>>().len());
    for a in 0..4 {
        prop_assert_eq!(clock.base(actor(a)), base(set, actor(a)));
        let greatest = set.iter().filter(|d| d.actor == actor(a)).map(|d| d.counter).max();
        prop_assert_eq!(clock.greatest(actor(a)), greatest.unwrap_or(0));
        for counter in 0..=TOP + 8 {
            prop_assert_eq!(clock.has(dot(a, counter)), set.contains(&dot(a, counter)));
        }
    }
    let gaps = set.iter().any(|d| d.counter > base(set, d.actor));
    prop_assert_eq!(clock.has_gaps(), gaps);
    let bases: Vec<(Actor, u64)> = (0..2)
        .flat_map(|node| (0..2).map(move |life| Actor { node: NodeId(node), life }))
        .map(|a| (a, base(set, a)))
        .filter(|b| b.1 > 0)
        .collect();
    prop_assert_eq!(clock.bases().collect::<Vec<_>>(), bases);
    // Runs ascend and do not touch: there is one form for a set, and so one hash and one encoding.
    let ranges: Vec<DotRange> = clock.ranges().collect();
    for pair in ranges.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        prop_assert!(a.actor < b.actor || a.actor == b.actor && a.last + 1 < b.first);
    }
    let again: Clock = set.iter().copied().collect();
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
    fn adding_is_adding_to_a_set(runs in runs()) {
        let (clock, set) = build(&runs);
        same(&clock, &set)?;
        let singly: Clock = set.iter().rev().copied().collect();
        prop_assert_eq!(singly, clock);
    }

    #[test]
    fn two_clocks_are_two_sets(a in runs(), b in runs()) {
        let ((ca, sa), (cb, sb)) = (build(&a), build(&b));
        let union: Set = sa.union(&sb).copied().collect();
        same(&ca.union(&cb), &union)?;
        prop_assert_eq!(ca.union(&cb), cb.union(&ca));
        let minus: Set = sa.difference(&sb).copied().collect();
        same(&ca.minus(&cb), &minus)?;
        let missing: Vec<DotRange> = ca.missing_in(&cb);
        same(&build(&missing).0, &minus)?;
        prop_assert_eq!(missing.iter().map(|r| r.last - r.first + 1).sum::<u64>(), minus.len() as u64);
        prop_assert_eq!(ca.covers(&cb), sa.is_superset(&sb));
        prop_assert!(ca.union(&cb).covers(&ca) && ca.covers(&Clock::new()));
        let floor: Set = sb.iter().filter(|d| d.counter <= base(&sb, d.actor)).copied().collect();
        same(&cb.floor(), &floor)?;
        prop_assert_eq!(ca.covers_base(&cb), (0..4).all(|n| base(&sa, actor(n)) >= base(&sb, actor(n))));
        let beyond: Set = sa.iter().filter(|d| d.counter > base(&sb, d.actor)).copied().collect();
        same(&ca.beyond(&cb), &beyond)?;
        prop_assert_eq!(ca.hash() == cb.hash(), sa == sb);
        prop_assert_eq!(encode_clock(&ca) == encode_clock(&cb), sa == sb);
    }

    #[test]
    fn merging_is_associative_and_idempotent(a in runs(), b in runs(), c in runs()) {
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
