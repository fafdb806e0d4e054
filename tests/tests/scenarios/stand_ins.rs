//! Writes for owners that are away: scenarios 4, 13 and 14.

use dynode_client::wire::{Acks, Quorum};
use dynode_storage::rules::Rule;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::Violation;
use tests::world::plan::{Action, Plan};

/// One of two owners is down for a thousand writes; it returns alone, and what it missed comes from those that stood in for
/// it; then the other stops, and it serves all. Killed without stand-ins, and without the word of a stand-in that it holds
/// something.
#[test]
fn scenario_04_an_owner_that_was_down_serves_all_writes_once_they_are_handed_off() {
    hold(
        |off| {
            const KEYS: usize = 1_000;
            let plan = Plan { keys: KEYS, clients: 8, replicas: 2, partitions: 4, ..Plan::calm(4) };
            let mut scene = Scene::of(off, plan)?;
            let [a, b] = scene.owners(0)[..] else { unreachable!("two owners") };
            let shared: Vec<usize> =
                (0..KEYS).filter(|key| scene.owners(*key).contains(&a) && scene.owners(*key).contains(&b)).collect();
            ensure(shared.len() > 100, || format!("{} keys of both", shared.len()))?;
            scene.stop(b)?;
            scene.run(2.0)?;
            let mut last = Vec::new();
            for key in &shared {
                let op = scene.ask(key % 8, a, *key, Action::PutOver, Quorum::All, false);
                let put = scene.wait(op)?;
                last.push(put.done()?);
                ensure(put.acks == Acks { owners: 1, stand_ins: 1 }, || format!("key {key}: {:?}", put.acks))?;
            }
            // The other owner is away before it returns: only stand-ins can tell it.
            scene.stop(a)?;
            scene.start(b)?;
            scene.run(8.0)?;
            for (key, put) in shared.iter().zip(last) {
                let read = scene.strictly(b, *key, Action::Get, Quorum::One)?;
                ensure(read.found == [put], || format!("key {key}: found {:?}, written #{put}", read.found))?;
            }
            // Those that stood in keep what the other owner has not said it contains; and let go once it has.
            scene.start(a)?;
            scene.settle()
        },
        &[Off::Sloppy, Off::Message("Handoff")],
    );
}

/// An owner is down, a stand-in acknowledges in its place, and the power is cut at the stand-in: the hint survives, and is
/// delivered, though nobody else is there to tell. Killed by the durability `os`, and without the word of a stand-in that it
/// holds something.
#[test]
fn scenario_13_a_hint_survives_a_power_cut_and_is_delivered() {
    hold(
        |off| {
            let mut scene = Scene::new(off, 5, 4)?;
            let [a, b, away] = scene.owners(0)[..] else { unreachable!("three owners") };
            scene.stop(away)?;
            scene.run(2.0)?;
            let op = scene.ask(0, a, 0, Action::PutOver, Quorum::All, false);
            let put = scene.wait(op)?;
            let op = put.done()?;
            ensure(put.acks == Acks { owners: 2, stand_ins: 1 }, || format!("{:?}", put.acks))?;
            let stand_in = scene.others(0).into_iter().map(|at| (scene.holds(at, 0), at));
            let stand_in: Vec<usize> = stand_in.filter(|(holds, _)| *holds == Ok(true)).map(|(_, at)| at).collect();
            ensure(stand_in.len() == 1, || format!("{stand_in:?} stand in"))?;
            scene.cut_power(stand_in[0])?;
            scene.kill(a)?;
            scene.kill(b)?;
            scene.start(stand_in[0])?;
            scene.start(away)?;
            scene.run(6.0)?;
            let read = scene.strictly(away, 0, Action::Get, Quorum::One)?;
            ensure(read.found == [op], || format!("the owner found {:?}", read.found))?;
            // The others return: now the hint leaves, and all is whole.
            ensure(scene.holds(stand_in[0], 0)?, || "the hint left before every owner had it".into())?;
            scene.start(a)?;
            scene.start(b)?;
            scene.settle()
        },
        &[Off::Durability, Off::Message("Handoff")],
    );
}

/// The ninety-ninth of a hundred, in microseconds, of how long these took.
fn p99(took: &mut [u64]) -> u64 {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// Reads and writes at a quorum for so many seconds, one after another; none may be refused. How long each took.
fn foreground(scene: &mut Scene, seconds: u64, spacing: u64, keys: usize) -> Result<Vec<u64>, Violation> {
    let mut ops = Vec::new();
    for i in 0..(seconds * 1_000 / spacing) as usize {
        let action = if i % 2 == 0 { Action::PutOver } else { Action::Get };
        // Clients ask the nodes that stay.
        ops.push(scene.ask(i % 8, i % 4, i * 7 % keys, action, Quorum::Majority, false));
        scene.run(spacing as f64 / 1_000.0)?;
    }
    scene.run(1.0)?;
    ops.into_iter().map(|op| scene.answer(op).done().map(|op| scene.answer(op).took)).collect()
}

/// An owner is away for ten minutes of heavy writes, and returns: while it catches up, the p99 of the foreground at most
/// doubles, and nothing is refused, though the budget for hints is long used up. Killed by
/// `greedy`.
#[test]
fn scenario_14_the_foreground_hardly_notices_an_owner_that_catches_up_after_ten_minutes() {
    hold(
        |off| {
            const KEYS: usize = 3_000;
            let plan = Plan {
                keys: KEYS,
                clients: 8,
                partitions: 8,
                value_bytes: 16 << 10,
                hint_bytes_max: 1 << 20,
                disk: (100, 300),
                cost: (20, 5), // 200 MB a second go through a node
                wire: false,
                ..Plan::calm(5)
            };
            let mut scene = Scene::of(off, plan)?;
            let mut before = foreground(&mut scene, 10, 10, KEYS)?;
            scene.stop(4)?;
            scene.run(2.0)?;
            foreground(&mut scene, 600, 100, KEYS)?;
            let (hinted, declined) = (scene.total(|c| c.hinted), scene.total(|c| c.hints_declined));
            let bytes = scene.total(|c| c.sync_bytes_in);
            scene.start(4)?;
            let mut meanwhile = foreground(&mut scene, 1, 5, KEYS)?;
            let caught_up = scene.total(|c| c.sync_bytes_in) - bytes;
            scene.settle()?;
            let (p99_before, p99_meanwhile) = (p99(&mut before), p99(&mut meanwhile));
            println!(
                "p99 {p99_before} us, {p99_meanwhile} us while {caught_up} bytes came; hints {hinted}, declined {declined}"
            );
            ensure(2 * p99_meanwhile <= 3 * p99_before, || {
                format!("p99 went from {p99_before} us to {p99_meanwhile} us")
            })?;
            ensure(caught_up > 8 << 20 && declined > 0, || format!("{caught_up} bytes, {declined} declined: too plain"))
        },
        &[Off::Rule(Rule::Greedy)],
    );
}
