//! Sessions: a client that asks one copy at a time, and another one each time, never sees less than it has seen.

use dynode_client::wire::Quorum;
use tests::scene::{Off, Scene, ensure, hold};
use tests::world::plan::{Action, Plan};

/// Operations of the test: half of them writes.
const OPERATIONS: usize = 10_000;

/// `r = w = 1`, sloppy, and copies that lag behind by a second, since what a coordinator sends them gets lost: a session
/// never reads older than it wrote, in 10,000 operations on 20 keys. Killed where reads do not say what was seen.
#[test]
fn a_session_never_reads_older_than_it_wrote() {
    hold(
        |off| {
            let mut scene = Scene::of(off, Plan { keys: 20, clients: 8, sessions: 16, ..Plan::calm(3) })?;
            scene.world.muted.push("Replicate");
            for i in 0..OPERATIONS / 2 {
                let (key, at) = (i % 20, i % 3);
                let put = scene.ask(0, at, key, Action::PutOver, Quorum::One, false);
                let put = scene.wait(put)?.done()?;
                let get = scene.ask(0, (at + 1 + i % 2) % 3, key, Action::Get, Quorum::One, false);
                let read = scene.wait(get)?;
                read.done()?;
                ensure(read.found == [put], || format!("after #{put} it read {:?}", read.found))?;
            }
            Ok(())
        },
        &[Off::Sessions],
    );
}
