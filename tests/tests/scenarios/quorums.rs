//! What an acknowledgement means: scenarios 2, 12 and 19.

use dynode_client::wire::{ErrorCode, Quorum};
use tests::runner::Break;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::plan::{Action, Fault, MS, Plan, SECOND};
use tests::world::{Outcome, Violation, World};

/// An owner is silent, then stopped: strict `all` says 2 of 3, quorums work, and its return restores all. Killed where the
/// word `strict` is not heeded, and without pulls.
#[test]
fn scenario_02_an_unreachable_owner_is_named_by_strict_all_and_quorums_work() {
    hold(
        |off| {
            let plan = Plan { keys: 2, clients: 8, notice: (30 * SECOND, 0), ..Plan::calm(5) };
            let mut scene = Scene::of(off, plan)?;
            let [at, second, away] = scene.owners(0)[..] else { unreachable!("three owners") };
            scene.strictly(at, 0, Action::PutOver, Quorum::All)?.done()?;
            // Silent: a write that was sent to it may yet arrive there, a read just was not answered.
            scene.isolate(away);
            scene.strictly(at, 0, Action::PutOver, Quorum::All)?.fails(ErrorCode::OutcomeUnknown, (3, 2))?;
            scene.strictly(at, 0, Action::Get, Quorum::All)?.fails(ErrorCode::QuorumNotMet, (3, 2))?;
            scene.strictly(at, 0, Action::PutOver, Quorum::Majority)?.done()?;
            scene.strictly(second, 0, Action::Get, Quorum::Majority)?.done()?;
            // Stopped: nothing is begun that cannot be done.
            scene.heal();
            scene.stop(away)?;
            scene.run(2.0)?;
            scene.strictly(at, 0, Action::PutOver, Quorum::All)?.fails(ErrorCode::QuorumNotMet, (3, 2))?;
            scene.strictly(at, 0, Action::Get, Quorum::All)?.fails(ErrorCode::QuorumNotMet, (3, 2))?;
            let last = scene.strictly(second, 0, Action::PutOver, Quorum::Majority)?.done()?;
            scene.start(away)?;
            scene.settle()?;
            let read = scene.strictly(away, 0, Action::Get, Quorum::All)?;
            read.done()?;
            ensure(read.found.contains(&last), || format!("found {:?} without #{last}", read.found))?;
            scene.strictly(away, 0, Action::PutOver, Quorum::All)?.done().map(drop)
        },
        &[Off::Strict, Off::Message("Pull")],
    );
}

/// Strict quorums under kill, pause and restart: every later read contains every acknowledged write. Killed where effects
/// are let out before the turn is committed.
#[test]
fn scenario_12_later_reads_contain_every_acknowledged_write_through_kills_and_pauses() {
    let run = |wrong: Option<Break>| -> Result<(u64, u64), Violation> {
        let (mut reads, mut kills) = (0, 0);
        for seed in 0..40 {
            let faults = Fault::ALL.iter().map(|(fault, ..)| match fault {
                Fault::Kill | Fault::Pause => 10,
                Fault::Stop => 3,
                _ => 0,
            });
            let plan = Plan {
                keys: 3,
                clients: 8,
                partitions: 4,
                think: 20 * MS,
                faults_until: 20 * SECOND,
                actions: Action::ALL.iter().map(|(_, weight)| *weight).collect(),
                fault_every: 300 * MS,
                faults: faults.collect(),
                crash_in_turn_ppm: 2_000,
                ..Plan::calm(5)
            };
            let mut world = World::new(seed, plan, false, false);
            world.sends_first = wrong == Some(Break::SendFirst);
            world.run()?;
            reads += world.stats.operations.get("get done").copied().unwrap_or(0);
            kills += world.stats.faults.get("process killed").copied().unwrap_or(0);
        }
        Ok((reads, kills))
    };
    let (reads, kills) = run(None).unwrap_or_else(|v| panic!("{}: {}", v.invariant, v.detail));
    assert!(reads > 5_000 && kills > 500, "{reads} reads through {kills} kills show little");
    let found = run(Some(Break::SendFirst)).expect_err("sending before persisting was not found");
    println!("sending first: {}: {}", found.invariant, found.detail);
}

/// The power of the whole cluster fails at any moment, with all that was not synced: every write acknowledged under `group`
/// is readable. Killed by the durability `os`.
#[test]
fn scenario_19_after_a_blackout_every_acknowledged_write_is_readable() {
    hold(
        |off| {
            const KEYS: usize = 600;
            let plan = Plan { keys: KEYS, clients: 8, partitions: 8, disk: (50, 5 * MS), ..Plan::calm(5) };
            let mut scene = Scene::of(off, plan)?;
            let mut acknowledged = 0;
            for blackout in 0..20 {
                // Thirty writes on their way, and the power fails a moment later.
                let keys = blackout * 30..(blackout + 1) * 30;
                let ops: Vec<_> = keys
                    .clone()
                    .map(|key| scene.ask(key % 8, key % 5, key, Action::PutBlind, Quorum::Majority, true))
                    .collect();
                scene.run(0.002 + 0.0015 * blackout as f64)?;
                acknowledged += ops.iter().filter(|op| scene.answer(**op).outcome == Outcome::Done).count();
                (0..5).try_for_each(|at| scene.cut_power(at))?;
                (0..5).try_for_each(|at| scene.start(at))?;
                scene.run(3.0)?;
                for (op, key) in ops.into_iter().zip(keys) {
                    let read = scene.strictly(key % 5, key, Action::Get, Quorum::Majority)?;
                    read.done()?;
                    let is_there = scene.answer(op).outcome != Outcome::Done || read.found == [op];
                    ensure(is_there, || format!("blackout {blackout}: acknowledged #{op}, found {:?}", read.found))?;
                }
            }
            ensure((100..500).contains(&acknowledged), || format!("{acknowledged} of {KEYS} came through: too plain"))
        },
        &[Off::Durability],
    );
}
