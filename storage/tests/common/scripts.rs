//! Rules for which random runs seldom bring all the circumstances together: each played out.

use dynode_storage::{ObjectKey, codec};

use super::world::{Session, World, generous};

pub const SCRIPTS: [(&str, fn()); 8] = [
    ("dots", dots),
    ("absence", absence),
    ("volatile", volatile),
    ("volatile_index", volatile_index),
    ("epoch", epoch),
    ("drop_early", drop_early),
    ("gap", gap),
    ("late", late),
];

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

    /// Every node goes by a new layout.
    fn lay(&mut self, owners: [usize; 3]) {
        self.layouts.push(owners);
        let epoch = self.layouts.len() - 1;
        (0..super::world::NODES).for_each(|n| self.adopt(n, epoch));
    }

    /// Each asker takes in what each source has, and both hear of each other's clocks.
    fn tell(&mut self, askers: [usize; 3], sources: [usize; 3]) {
        for asker in askers {
            for source in sources {
                self.ask(asker, source, None, generous());
                self.flush();
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
    world.group = [0, 0, 1, 0, 0, 0];
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
    (0..3).for_each(|n| world.power_cut_leaving(n, 0));
    world.end();
}

/// Two sets of owners let their copies go, each on the other's word from an earlier layout.
pub fn epoch() {
    let (mut world, key) = world(true);
    world.write_at(0, &key, true, &Session::new(), &[1, 2]);
    world.flush();
    world.lay([3, 4, 5]);
    world.tell([3, 4, 5], [0, 1, 2]);
    world.tell([3, 4, 5], [0, 1, 2]);
    world.lay([0, 1, 2]);
    world.tell([0, 1, 2], [3, 4, 5]);
    (3..6).for_each(|n| world.housekeep(n, 100));
    world.lay([3, 4, 5]);
    (0..3).for_each(|n| world.housekeep(n, 100));
    world.end();
}

/// A write is acknowledged by two stand-ins, and only one owner has heard of it when they tidy up.
pub fn drop_early() {
    let (mut world, key) = world(true);
    world.write_at(3, &key, true, &Session::new(), &[4]);
    world.flush();
    world.ask(0, 3, None, generous());
    world.ask(0, 4, None, generous());
    world.housekeep(3, 100);
    world.housekeep(4, 100);
    world.flush();
    world.end();
}

/// A node loses its disk, and with it the first of two writes that only it had; the second lives on, beyond a gap, with an
/// index entry; and a client has seen both.
pub fn gap() {
    let (mut world, key) = world(true);
    let mut session = Session::new();
    world.write_at(0, &key, true, &session, &[]);
    world.write_at(0, &ObjectKey::new(b"bk", b"kk"), true, &session, &[1]);
    world.flush();
    world.read_at(&[0], &key, &mut session);
    world.lose_disk(0);
    world.write_at(1, &key, true, &session, &[2]);
    world.flush();
    world.end();
}

/// A write is on its way when its coordinator loses its disk; it arrives after its life was closed without it, at a node that
/// has not heard of that.
pub fn late() {
    let (mut world, key) = world(true);
    world.write_at(2, &key, true, &Session::new(), &[1]);
    world.flush();
    world.write_at(0, &key, true, &Session::new(), &[1]);
    world.lose_disk(0);
    world.close_lives(2);
    world.flush();
    world.end();
}

/// A node loses its disk a hundred times, with writes in between: what it has been before takes one word.
pub fn many_lives() {
    let (mut world, key) = world(true);
    for _ in 0..100 {
        world.write_at(0, &key, true, &Session::new(), &[1, 2]);
        world.write_at(0, &key, false, &Session::new(), &[1]);
        world.flush();
        world.lose_disk(0);
        world.tell([0, 1, 2], [1, 2, 0]);
        world.close_lives(1);
        world.tell([0, 2, 0], [1, 1, 2]);
    }
    let clock = world.nodes[1].clock();
    assert!(clock.closed().len() <= 6 && clock.actors() <= 1, "a hundred lives are kept apart: {clock}");
    assert!(codec::encode_clock(&clock).len() < 200);
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
    world.power_cut_leaving(1, 0);
    world.power_cut_leaving(2, 0);
    // One of them scans the first, but does not get to the end before that is lost.
    world.write_at(0, &ObjectKey::new(b"bk", b"kk"), true, &Session::new(), &[]);
    world.ask(1, 0, None, dynode_storage::answer::Budget { bytes: 1, keys: 1 });
    world.flush();
    world.ask(1, 0, None, dynode_storage::answer::Budget { bytes: 1, keys: 1 });
    world.flush();
    world.lose_disk(0);
    world.end();
}
