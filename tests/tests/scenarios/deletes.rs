//! Nothing comes back: scenarios 15 and 16.

use dynode_client::wire::Quorum;
use dynode_storage::rules::Rule;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::Outcome;
use tests::world::plan::{Action, Plan};

/// A delete while a replica is away for longer than any window: the key stays deleted when it returns. Killed by `absence`.
#[test]
fn scenario_15_a_key_deleted_while_a_replica_is_away_for_an_hour_stays_deleted() {
    hold(
        |off| {
            // No index for those that are away: what is left of the delete is absence and the clock.
            let plan = Plan { keys: 20, clients: 8, index_entries_max: 0, ..Plan::calm(3) };
            let mut scene = Scene::of(off, plan)?;
            for key in 0..20 {
                scene.does(0, 0, key, Action::PutOver)?.done()?;
            }
            scene.settle()?;
            scene.stop(2)?;
            scene.run(2.0)?;
            for key in 0..10 {
                scene.does(0, 1, key, Action::DeleteOver)?.done()?;
            }
            scene.run(3_600.0)?;
            let indexed = scene.indexed(0, 0)?;
            ensure(indexed == 0, || format!("{indexed} index entries are kept: the window is not over"))?;
            scene.start(2)?;
            scene.settle()?;
            for key in 0..20 {
                let read = scene.strictly(2, key, Action::Get, Quorum::All)?;
                read.done()?;
                ensure(read.found.is_empty() == (key < 10), || format!("key {key}: found {:?}", read.found))?;
            }
            scene.is_at_rest()
        },
        &[Off::Rule(Rule::Absence)],
    );
}

/// A delete that one replica alone has not heard of, while read repair and sync meet there: the value does not come back,
/// and the copies do not go on correcting each other. Killed by `absence`; `dots` by
/// `scripts/delete_by_repair.txt`.
#[test]
fn scenario_16_a_delete_forgotten_on_one_replica_neither_comes_back_nor_goes_round() {
    hold(
        |off| {
            for round in 0..20 {
                // The index reaches back, or it does not; and repair alone tells of the delete, or sync too.
                let index_entries_max = if round % 2 == 0 { 0 } else { 1_000 };
                let mut scene = Scene::of(off, Plan { keys: 1, clients: 8, index_entries_max, ..Plan::calm(3) })?;
                scene.does(0, 0, 0, Action::PutOver)?.done()?;
                scene.settle()?;
                scene.isolate(0);
                scene.run(2.0)?;
                let delete = scene.ask(0, 0, 0, Action::DeleteOver, Quorum::One, true);
                scene.wait(delete)?.done()?;
                scene.run(2.0)?;
                // A second copy is told by a read, while the clocks are being compared; the third has not heard of it.
                scene.heal();
                scene.cut(0, 2);
                while scene.strictly(1, 0, Action::Get, Quorum::Majority)?.outcome != Outcome::Done
                    || scene.counters(1).sync_dots_in + scene.total(|c| c.repairs) == 0
                {
                    scene.run(0.02)?;
                }
                scene.run(0.0002 * round as f64)?;
                if round % 4 > 1 {
                    scene.lose_disk(0)?; // the one that knew it first is gone
                    scene.start(0)?;
                }
                scene.heal();
                for at in 0..3 {
                    scene.ask(at, at, 0, Action::Get, Quorum::All, true);
                    scene.run(0.001)?;
                }
                scene.settle()?;
                let read = scene.strictly(2, 0, Action::Get, Quorum::All)?;
                read.done()?;
                let copies = (0..3).map(|at| scene.indexed(at, 0)).collect::<Result<Vec<_>, _>>()?;
                let deleted = read.found.is_empty();
                // Where it was lost before anybody else had it, the delete was never done, as far as anybody can know.
                let knew = scene.world.journal.op(delete).dot.is_some() && !scene.world.journal.op(delete).taken;
                ensure(deleted || !knew, || format!("round {round}: found {:?}, index {copies:?}", read.found))?;
                scene.is_at_rest()?;
            }
            Ok(())
        },
        &[Off::Rule(Rule::Absence)],
    );
}
