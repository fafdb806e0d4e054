//! Copies that are lost, behind or wiped, and how they come back: scenarios 1, 5, 6, 7 and 17.

use dynode_client::wire::Quorum;
use dynode_storage::rules::Rule;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::Violation;
use tests::world::plan::{Action, Plan};

/// Writes every key, at a node that owns it; returns when all are done.
fn write_all(scene: &mut Scene, keys: std::ops::Range<usize>, action: Action) -> Result<(), Violation> {
    for key in keys {
        let at = scene.owners(key)[0];
        scene.does(key % 8, at, key, action)?.done()?;
    }
    Ok(())
}

/// A read of all owners finds exactly the last write of each key.
fn read_all(scene: &mut Scene, keys: std::ops::Range<usize>) -> Result<(), Violation> {
    for key in keys {
        let last = scene.world.journal.acknowledged[key].last().copied();
        let read = scene.strictly(scene.owners(key)[key % 3], key, Action::Get, Quorum::All)?;
        read.done()?;
        ensure(Some(&read.found[..]) == last.as_ref().map(std::slice::from_ref), || {
            format!("key {key}: found {:?}, written last {last:?}", read.found)
        })?;
    }
    Ok(())
}

/// A copy whose data are deleted does not take its next write for an old one. Killed by `reuse`.
#[test]
fn scenario_01_a_write_after_a_lost_copy_is_not_taken_for_an_old_one() {
    hold(
        |off| {
            let mut alone = Scene::new(off, 1, 1)?;
            alone.does(0, 0, 0, Action::PutBlind)?.done()?;
            alone.does(1, 0, 0, Action::PutBlind)?.done()?;
            alone.lose_partition(0, 0)?;
            alone.start(0)?;
            let c = alone.does(2, 0, 0, Action::PutBlind)?.done()?;
            let read = alone.does(0, 0, 0, Action::Get)?;
            ensure(read.found == [c], || format!("alone: found {:?}", read.found))?;

            let mut scene = Scene::new(off, 3, 1)?;
            let a = scene.does(0, 0, 0, Action::PutBlind)?.done()?;
            let b = scene.does(1, 0, 0, Action::PutBlind)?.done()?;
            scene.lose_partition(0, 0)?;
            scene.isolate(0);
            scene.start(0)?;
            let op = scene.ask(2, 0, 0, Action::PutBlind, Quorum::One, false);
            let c = scene.wait(op)?.done()?;
            let op = scene.ask(2, 0, 0, Action::Get, Quorum::One, false);
            let read = scene.wait(op)?;
            ensure(read.found == [c], || format!("before the sync: found {:?}", read.found))?;
            scene.heal();
            scene.settle()?;
            let read = scene.strictly(1, 0, Action::Get, Quorum::All)?;
            ensure(read.found == [a, b, c], || format!("found {:?}", read.found))
        },
        &[Off::Rule(Rule::Reuse)],
    );
}

/// With owners that stop and return, and transfers that are slow and interrupted, every key is readable at r = 3 after each
/// step. (Nodes that join and leave: with ownership changes.) Killed by `claim`, and without pulls.
#[test]
fn scenario_05_all_is_readable_after_each_stop_and_return_though_transfers_are_interrupted() {
    hold(
        |off| {
            const KEYS: usize = 1_000;
            let plan = Plan {
                keys: KEYS,
                clients: 8,
                partitions: 8,
                pull_bytes: 320, // twenty values at a time
                index_entries_max: 30,
                ..Plan::calm(5)
            };
            let mut scene = Scene::of(off, plan)?;
            write_all(&mut scene, 0..KEYS, Action::PutOver)?;
            read_all(&mut scene, 0..KEYS)?;
            for step in 0..5 {
                scene.stop(step)?;
                scene.run(2.0)?;
                for key in (step..KEYS).step_by(3) {
                    let at = scene.owners(key).into_iter().find(|at| *at != step).unwrap_or_default();
                    scene.does(key % 8, at, key, Action::PutOver)?.done()?;
                }
                scene.start(step)?;
                for peer in (0..5).filter(|peer| *peer != step).cycle().take(12) {
                    scene.run(0.15)?;
                    scene.reset(step, peer);
                }
                scene.settle()?;
                read_all(&mut scene, 0..KEYS)?;
            }
            let scans = scene.total(|c| c.scans);
            ensure(scans > 0 && scene.total(|c| c.no_progress) == 0, || format!("{scans} scans"))
        },
        &[Off::Rule(Rule::Claim), Off::Message("Pull")],
    );
}

/// Each node's copies are wiped in turn, nobody reads, and every copy is back and equal; its neighbours are not touched.
/// Killed by `claim`, and without pulls.
#[test]
fn scenario_06_a_wiped_copy_is_back_without_a_read_and_its_neighbours_are_not_touched() {
    hold(
        |off| {
            let mut scene = Scene::new(off, 5, 200)?;
            write_all(&mut scene, 0..200, Action::PutBlind)?;
            scene.settle()?;
            for at in 0..5 {
                let neighbours: Vec<usize> = (0..5).filter(|n| *n != at).collect();
                let before: Vec<_> = neighbours.iter().map(|n| taken_in(&scene, *n)).collect();
                scene.lose_disk(at)?;
                scene.start(at)?;
                scene.settle()?;
                let after: Vec<_> = neighbours.iter().map(|n| taken_in(&scene, *n)).collect();
                ensure(before == after, || format!("n{at} was wiped, and others took in {before:?}, then {after:?}"))?;
                ensure(scene.counters(at).sync_entries_in > 0, || format!("n{at} got nothing back"))?;
            }
            scene.is_at_rest()
        },
        &[Off::Rule(Rule::Claim), Off::Message("Pull")],
    );
}

fn taken_in(scene: &Scene, at: usize) -> (u64, u64) {
    let counters = scene.counters(at);
    (counters.sync_entries_in, counters.lives_begun)
}

/// What only one replica has comes to all, whatever way it came to be so, and then nothing more moves. Killed without
/// digests, and without pulls. (Lost data alone, or a lost index alone: scenario 18.)
#[test]
fn scenario_07_what_one_replica_alone_has_comes_to_all_and_further_sync_moves_nothing() {
    hold(
        |off| {
            const KEYS: usize = 1_000;
            let mut scene = Scene::new(off, 3, KEYS)?;
            // Written to one replica only; then updated there.
            for _ in 0..2 {
                scene.isolate(0);
                for key in 0..KEYS {
                    let op = scene.ask(key % 8, 0, key, Action::PutOver, Quorum::One, true);
                    scene.wait(op)?.done()?;
                }
                scene.heal();
                scene.settle()?;
                scene.is_at_rest()?;
                read_all(&mut scene, 0..KEYS)?;
            }
            // Data and index lost.
            scene.lose_partition(1, 0)?;
            scene.start(1)?;
            scene.settle()?;
            scene.is_at_rest()?;
            read_all(&mut scene, 0..KEYS)
        },
        &[Off::Message("Digests"), Off::Message("Pull")],
    );
}

/// The bytes that a sync moves are in proportion to what differs, not to what there is; a second pass moves none. Killed
/// without the index, when a scan moves the names of all.
#[test]
fn scenario_17_a_sync_moves_what_differs_and_not_what_there_is() {
    hold(
        |off| {
            // (keys there are, keys that differ) -> bytes moved
            let moved = |keys: usize, differ: usize| -> Result<u64, Violation> {
                let plan = Plan { value_bytes: 100, ..Plan { keys, clients: 8, ..Plan::calm(3) } };
                let mut scene = Scene::of(off, plan)?;
                write_all(&mut scene, 0..keys, Action::PutOver)?;
                scene.settle()?;
                scene.isolate(2);
                scene.run(3.0)?;
                let before = scene.total(|c| c.sync_bytes_out);
                for key in 0..differ {
                    scene.does(key % 8, 0, key * keys / differ, Action::PutOver)?.done()?;
                }
                scene.run(2.0)?;
                scene.heal();
                scene.settle()?;
                let bytes = scene.total(|c| c.sync_bytes_out) - before;
                scene.is_at_rest()?;
                Ok(bytes)
            };
            let (few, many) = (moved(300, 20)?, moved(6_000, 20)?);
            ensure(many < few * 11 / 10, || format!("20 keys of 300 took {few} bytes, 20 of 6,000 took {many}"))?;
            let more = moved(6_000, 200)?;
            ensure((8 * many..12 * many).contains(&more), || format!("20 keys took {many} bytes, 200 took {more}"))?;
            // Within 1.5 times what is missing: values, keys and dots.
            ensure(more < 200 * 150 * 3 / 2, || format!("200 keys of 100 bytes took {more} bytes"))
        },
        &[Off::Index],
    );
}
