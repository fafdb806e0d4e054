//! Bits that flip on a disk: scenario 18.

use bytes::Bytes;
use dynode_client::wire::Quorum;
use dynode_storage::{Space, View};
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::Violation;
use tests::world::plan::{Action, Plan};

/// A damaged record of an object or of the index: it is found by whoever meets it, or by a scrub; nothing of the
/// copy is served from then on until it is whole again, in a new life; and no other copy loses anything. Killed without
/// pulls, when the copy cannot be rebuilt. (A clock or a list of lives that cannot be read is met at the start, before there
/// are copies, and the database is salvaged: `tests/processes/damage.rs`.)
#[test]
fn scenario_18_damage_is_found_never_served_rebuilt_and_never_spread_as_a_delete() {
    hold(
        |off| {
            for (space, restarts) in [(Space::Objects, false), (Space::Index, true)] {
                const KEYS: usize = 60;
                let plan = Plan { keys: KEYS, clients: 8, ..Plan::calm(3) };
                let mut scene = Scene::of(off, plan)?;
                for key in 0..KEYS {
                    scene.strictly(key % 3, key, Action::PutOver, Quorum::All)?.done()?;
                }
                if space == Space::Index {
                    scene.isolate(2); // so that there is an index to be damaged
                    scene.run(2.0)?;
                    for key in 0..KEYS {
                        scene.does(0, key % 2, key, Action::PutOver)?.done()?;
                    }
                    scene.heal();
                    scene.run(0.05)?;
                } else {
                    scene.settle()?;
                }
                let records = records(&mut scene, 0, space)?;
                ensure(!records.is_empty(), || format!("no records of {}", space.name()))?;
                if restarts {
                    scene.stop(0)?;
                    scene.rot(0, space, records[records.len() / 2].clone());
                    scene.start(0)?;
                } else {
                    scene.rot(0, space, records[records.len() / 2].clone());
                }
                // Every key is read at every node, again and again: what is found is right, or nothing is said.
                for round in 0..4 {
                    for key in 0..KEYS {
                        let op = scene.ask(key % 8, round % 3, key, Action::Get, Quorum::One, false);
                        let read = scene.wait(op)?;
                        let last = scene.world.journal.acknowledged[key].last().copied();
                        let is_right = read.done().is_err() || read.found.last().copied() == last;
                        ensure(is_right, || format!("{} damaged, key {key}: found {:?}", space.name(), read.found))?;
                    }
                    scene.run(0.5)?;
                }
                scene.scrub(0);
                scene.run(2.0)?;
                scene.settle()?;
                let found = scene.counters(0).copies_damaged;
                ensure(found > 0 || space == Space::Index, || format!("{}: nobody found it", space.name()))?;
                for key in 0..KEYS {
                    let read = scene.strictly(0, key, Action::Get, Quorum::All)?;
                    read.done()?;
                    let last = scene.world.journal.acknowledged[key].last().copied();
                    ensure(read.found.last().copied() == last && read.found.len() == 1, || {
                        format!("{} damaged, key {key}: {:?} is left", space.name(), read.found)
                    })?;
                }
            }
            Ok(())
        },
        &[Off::Message("Pull")],
    );
}

/// The keys of a node's records.
fn records(scene: &mut Scene, at: usize, space: Space) -> Result<Vec<Bytes>, Violation> {
    let mut keys = Vec::new();
    scene.on_disk(at, |disk| {
        disk.scan(space, &[], &[0xff; 8], &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            true
        })
    })?;
    Ok(keys)
}
