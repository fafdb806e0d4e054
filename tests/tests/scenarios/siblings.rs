//! Writers that do not know of each other: scenarios 3, 9, 10 and 11.

use dynode_client::wire::limits::{SIBLINGS_MAX, VALUE_BYTES_MAX};
use dynode_client::wire::{ErrorCode, Quorum};
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::plan::{Action, Plan};
use tests::world::{Outcome, journal::OpId};

/// Two clients interleave a hundred read-modify-writes, each knowing only its own: exactly two siblings are left, and
/// together they have all hundred. Killed where contexts are not told, and where writes replace whatever is there.
#[test]
fn scenario_03_two_clients_with_stale_contexts_leave_two_siblings_that_have_everything() {
    hold(
        |off| {
            let mut scene = Scene::new(off, 3, 1)?;
            let mut all = Vec::new();
            for i in 0..100 {
                all.push(scene.does(i % 2, i / 2 % 3, 0, Action::PutOver)?.done()?);
            }
            scene.settle()?;
            let read = scene.strictly(0, 0, Action::Get, Quorum::All)?;
            ensure(read.found.len() == 2, || format!("{} siblings", read.found.len()))?;
            let known = scene.all_behind(&read.found);
            ensure(known == all, || format!("{} of 100 are known", known.len()))
        },
        &[Off::Contexts, Off::Siblings],
    );
}

/// A value or siblings over their limits are refused before anything is written; what meets by sync, repair or handoff is
/// exempt. Killed without pulls. (The limits themselves: the refusals are asserted here, and fail when they are lifted.)
#[test]
fn scenario_09_limits_are_told_before_anything_is_written_and_sync_is_exempt() {
    hold(
        |off| {
            let mut scene = Scene::new(off, 3, 2)?;
            scene.world.plan.value_bytes = VALUE_BYTES_MAX + 1;
            scene.does(0, 0, 0, Action::PutBlind)?.fails(ErrorCode::TooLarge, (0, 0))?;
            let read = scene.strictly(1, 0, Action::Get, Quorum::All)?;
            ensure(read.found.is_empty(), || "something was written".into())?;
            scene.world.plan.value_bytes = VALUE_BYTES_MAX;
            scene.does(0, 0, 0, Action::PutBlind)?.done()?;
            scene.world.plan.value_bytes = 16;
            // Each side of a split may take as many siblings as there may be.
            scene.isolate(0);
            scene.run(2.0)?;
            for at in [0, 1] {
                for _ in 0..SIBLINGS_MAX {
                    let op = scene.ask(0, at, 1, Action::PutBlind, Quorum::One, true);
                    scene.wait(op)?.done()?;
                }
                let op = scene.ask(0, at, 1, Action::PutBlind, Quorum::One, true);
                scene.wait(op)?.fails(ErrorCode::TooManySiblings, (0, 0))?;
            }
            scene.heal();
            scene.settle()?;
            scene.does(0, 2, 1, Action::PutBlind)?.fails(ErrorCode::TooManySiblings, (0, 0))?;
            let read = scene.strictly(2, 1, Action::Get, Quorum::All)?;
            ensure(read.found.len() == 2 * SIBLINGS_MAX, || format!("{} siblings have met", read.found.len()))?;
            // Who has read them may write over them.
            let over = scene.does(0, 2, 1, Action::PutOver)?.done()?;
            scene.settle()?;
            let read = scene.strictly(0, 1, Action::Get, Quorum::All)?;
            ensure(read.found == [over], || format!("found {:?}", read.found))
        },
        &[Off::Message("Pull")],
    );
}

/// Elements are added to a set by read-modify-write at whatever quorum can be had, while the network is split in rotating
/// ways: no acknowledged element is lost. Killed where writes replace whatever is there.
#[test]
fn scenario_10_no_element_added_to_a_set_is_lost_through_rotating_splits() {
    hold(
        |off| {
            let mut scene = Scene::new(off, 5, 1)?;
            let mut acknowledged: Vec<OpId> = Vec::new();
            for round in 0..60 {
                scene.heal();
                match round % 4 {
                    0 => scene.split(&[round % 5, (round + 1) % 5]), // two halves
                    1 => {
                        // Rings of majorities: everybody sees three, nobody the same three.
                        (0..5).for_each(|at| scene.cut(at, (at + 2) % 5));
                    }
                    2 => {
                        // A bridge: two halves that one node alone can see.
                        let at = |n: usize| (round + n) % 5;
                        [(0, 2), (0, 3), (1, 2), (1, 3)].iter().for_each(|(a, b)| scene.cut(at(*a), at(*b)));
                    }
                    _ => {}
                }
                scene.run(0.3)?;
                let quorum = if round % 3 == 0 { Quorum::Majority } else { Quorum::One };
                let mut adds: Vec<OpId> = Vec::new();
                for client in 0..5 {
                    scene.ask(client, (client + round) % 5, 0, Action::Get, quorum, false);
                    scene.run(0.02)?;
                    adds.push(scene.ask(client, (client + 2 * round) % 5, 0, Action::PutOver, quorum, false));
                    scene.run(0.1)?;
                }
                scene.run(0.7)?;
                acknowledged.extend(adds.into_iter().filter(|op| scene.answer(*op).outcome == Outcome::Done));
            }
            scene.heal();
            scene.run(6.0)?;
            scene.settle()?;
            let read = scene.strictly(0, 0, Action::Get, Quorum::All)?;
            read.done()?;
            let known = scene.all_behind(&read.found);
            let lost: Vec<&OpId> = acknowledged.iter().filter(|op| !known.contains(op)).collect();
            ensure(lost.is_empty(), || {
                format!("{} of {} elements are lost: {lost:?}", lost.len(), acknowledged.len())
            })?;
            ensure(acknowledged.len() > 150, || format!("only {} of 300 adds came through", acknowledged.len()))
        },
        &[Off::Siblings],
    );
}

/// Ten thousand interleaved puts with contexts that are stale by some writes, and retries that repeat a write: concurrent
/// values are kept, and there are never more siblings than writers (a retry counts as one) since the last read. Killed
/// where contexts are not told (siblings explode), and where writes replace whatever is there (concurrent values are lost).
#[test]
fn scenario_11_siblings_do_not_explode_and_concurrent_values_are_kept() {
    hold(
        |off| {
            const WRITERS: usize = 8;
            let mut scene = Scene::of(off, Plan { keys: 1, clients: WRITERS, ..Plan::calm(3) })?;
            let (mut puts, mut most) = (0, 0);
            for round in 0..310 {
                // Everybody reads; then each writes four times knowing only of itself, and one of them repeats a write.
                for client in 0..WRITERS {
                    scene.does(client, client % 3, 0, Action::Get)?.done()?;
                }
                for _ in 0..4 {
                    let action = if round % 10 == 9 { Action::PutStale } else { Action::PutOver };
                    let ops: Vec<OpId> = (0..WRITERS)
                        .map(|client| scene.ask(client, (client + round) % 3, 0, action, Quorum::Majority, false))
                        .collect();
                    puts += ops.len();
                    for op in ops {
                        scene.wait(op)?.done()?;
                    }
                }
                let repeated = scene.ask(round % WRITERS, round % 3, 0, Action::PutStale, Quorum::Majority, false);
                scene.wait(repeated)?.done()?;
                puts += 1;
                let read = scene.does(0, round % 3, 0, Action::Get)?;
                most = most.max(read.found.len());
                // A stale context replaces less than it could: each write in that round may leave one beside it.
                let limit = if round % 10 == 9 { 4 * WRITERS + 1 } else { WRITERS + 1 };
                ensure(read.found.len() <= limit, || {
                    format!("round {round}: {} siblings of {WRITERS} writers", read.found.len())
                })?;
            }
            scene.settle()?;
            ensure(puts > 10_000 && most >= WRITERS, || format!("{puts} puts, at most {most} siblings: too plain"))
        },
        &[Off::Contexts, Off::Siblings],
    );
}
