//! Rules for which random runs seldom bring all the circumstances together: each played out.

use dynode_storage::ObjectKey;

use super::world::{Session, World, generous};

pub const SCRIPTS: [(&str, fn()); 4] =
    [("dots", dots), ("absence", absence), ("volatile", volatile), ("volatile_index", volatile_index)];

fn world(sync_always: bool) -> (World, ObjectKey) {
    let mut world = World::new(0);
    world.sync_always = sync_always;
    world.long_turns = false;
    (world, ObjectKey::new(b"bk", b"k"))
}

impl World {
    /// Delivers what is under way to one node; the rest is lost.
    fn flush_to(&mut self, to: usize) {
        for letter in std::mem::take(&mut self.queue) {
            if letter.to == to {
                self.deliver(letter);
            }
        }
    }

    fn end(mut self) {
        self.heal();
        self.check();
    }
}

/// A delete known to one copy reaches a second by repair; the first is lost; the third must still hear of it.
pub fn dots() {
    let (mut world, key) = world(true);
    let mut session = Session::new();
    world.write_at(0, &key, true, &session, &[1, 2]);
    world.flush();
    world.read_at(&[0], &key, &mut session);
    world.write_at(0, &key, false, &session, &[]);
    world.ask(1, 0, Some(key), generous());
    world.flush();
    world.lose_disk(0);
    world.end();
}

/// A node returns after a delete that has left every index: what it still has must go.
pub fn absence() {
    let (mut world, key) = world(true);
    let mut session = Session::new();
    world.write_at(0, &key, true, &session, &[1, 2]);
    world.flush();
    world.read_at(&[0], &key, &mut session);
    world.group = [0, 0, 1, 0];
    world.write_at(0, &key, false, &session, &[1]);
    world.flush();
    for (n, other) in [(0, 1), (1, 0)] {
        let clock = world.nodes[other].clock();
        let partition = world.partition();
        world.nodes[n].store.cut_index(partition, &[&clock]).unwrap();
    }
    world.end();
}

/// Owners tell of what they have not synced; the stand-in lets go; the power fails.
pub fn volatile() {
    let (mut world, key) = world(false);
    world.write_at(3, &key, true, &Session::new(), &[0]);
    world.flush();
    // Acknowledged: synced at the stand-in and at one owner, whose disk is lost when the stand-in is there still.
    world.sync(3);
    world.sync(0);
    world.lose_disk(0);
    for owner in 0..3 {
        world.pull_all(owner, 3, generous());
        world.ask(owner, 3, None, generous());
        world.flush();
    }
    world.housekeep(3, 100);
    (0..3).for_each(|n| world.power_cut(n));
    world.end();
}

/// An owner lets index entries go on the word of others who have not synced them, and they lose power.
pub fn volatile_index() {
    let (mut world, key) = world(false);
    let mut session = Session::new();
    world.write_at(0, &key, true, &session, &[1, 2]);
    world.flush();
    (0..3).for_each(|n| world.sync(n));
    world.read_at(&[0], &key, &mut session);
    // A delete that only its coordinator syncs.
    world.write_at(0, &key, false, &session, &[1, 2]);
    world.flush();
    for owner in [1, 2] {
        world.ask(owner, 0, None, generous());
        world.flush();
    }
    world.housekeep(0, 100);
    world.power_cut(1);
    world.power_cut(2);
    // One of them scans the first, but does not get to the end before that is lost.
    world.write_at(0, &ObjectKey::new(b"bk", b"kk"), true, &Session::new(), &[]);
    world.ask(1, 0, None, dynode_storage::answer::Budget { bytes: 1, keys: 1 });
    world.flush();
    world.ask(1, 0, None, dynode_storage::answer::Budget { bytes: 1, keys: 1 });
    world.flush();
    world.lose_disk(0);
    world.end();
}
