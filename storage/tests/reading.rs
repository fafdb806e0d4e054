//! Deltas of several parts: every entry has all dots of its key, whatever happens between the parts, and the index is
//! read a bounded number of times.

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use common::hand::*;
use common::rng::Rng;
use dynode_ring::NodeId;
use dynode_storage::answer::{Budget, without_known};
use dynode_storage::codec::Entry;
use dynode_storage::engine::Step;
use dynode_storage::memory::{MemoryEngine, MemorySnapshot};
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Dot, Engine, EngineError, Object, ObjectKey, Past, Space, Store, View};

/// The engine in memory, counting the index entries that are read.
struct Counting(MemoryEngine, Rc<Cell<usize>>);

impl View for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.1.set(self.1.get() + usize::from(space == Space::Index));
        self.0.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        self.0.scan(space, from, to, &mut |key, value| {
            self.1.set(self.1.get() + usize::from(space == Space::Index));
            visit(key, value)
        })
    }
}

impl Engine for Counting {
    type Snapshot = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        self.0.snapshot()
    }

    fn write(&mut self, steps: &[Step], durable: bool) -> Result<(), EngineError> {
        self.0.write(steps, durable)
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.0.sync()
    }

    fn size(&self, space: Space) -> u64 {
        self.0.size(space)
    }

    fn size_between(&self, space: Space, from: &[u8], to: &[u8]) -> u64 {
        self.0.size_between(space, from, to)
    }
}

/// What a whole pull took.
struct Pulled {
    parts: usize,
    reads: usize,
    reads_of_a_part_max: usize,
    runs_max: usize,
}

/// Pulls `writes` writes of two nodes, of `keys` keys in an order like that of hashes.
fn pull_in_parts(writes: u64, keys: u64, room: usize, budget: Budget) -> Pulled {
    let reads = Rc::new(Cell::new(0));
    let engine = Counting(MemoryEngine::new(), Rc::clone(&reads));
    let mut source = Store::open(engine, NodeId(1), 1, Past::Whole).unwrap();
    let (mut other, mut asker) = (store(2), store(3));
    for i in 0..writes {
        let key = ObjectKey::new(b"bk", &(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys).to_be_bytes());
        let dot = if i % 2 == 0 { source.next_dot(P).unwrap() } else { other.next_dot(P).unwrap() };
        let context = source.read(P, &key).unwrap().client_context();
        let object = Object::put(dot, Bytes::from_static(b"v"), context);
        source.apply(P, &key, object, &[dot]).unwrap().unwrap();
    }
    source.commit(true).unwrap();
    let mut pulled = Pulled { parts: 0, reads: 0, reads_of_a_part_max: 0, runs_max: 0 };
    let mut reading = Reading::with_room(room);
    loop {
        reads.set(0);
        let asked = clock(&mut asker);
        let delta = source.delta(P, &asked, &mut reading, budget).unwrap().unwrap();
        pulled.parts += 1;
        pulled.reads += reads.get();
        pulled.reads_of_a_part_max = pulled.reads_of_a_part_max.max(reads.get());
        asker.absorb_delta(P, delta.entries).unwrap().unwrap();
        pulled.runs_max = pulled.runs_max.max(clock(&mut asker).ranges().count());
        if !delta.more {
            break;
        }
    }
    assert_eq!(clock(&mut asker), *source.copy(P).unwrap().clock());
    assert_eq!(asker.copy(P).unwrap().content(), source.copy(P).unwrap().content());
    pulled
}

const PART: Budget = Budget { bytes: usize::MAX, keys: 64 };

#[test]
fn the_index_is_read_twice_however_many_parts_it_takes() {
    for writes in [1_000, 4_000, 16_000] {
        let pulled = pull_in_parts(writes, u64::MAX, 1 << 17, PART);
        assert!(pulled.parts > writes as usize / PART.keys);
        assert_eq!(pulled.reads, 2 * writes as usize, "of {writes} writes");
        assert!(pulled.runs_max <= 2, "the asker's clock stays in one run a writer, not {}", pulled.runs_max);
    }
}

#[test]
fn a_part_reads_a_bounded_piece_of_the_index() {
    let pulled = pull_in_parts(16_000, u64::MAX, 1 << 17, PART);
    let most = 8 * PART.keys + PART.keys;
    assert!(pulled.reads_of_a_part_max <= most, "{} in a part", pulled.reads_of_a_part_max);
}

#[test]
fn keys_written_often_are_read_once_more_for_each_further_dot() {
    let pulled = pull_in_parts(4_000, 400, 1 << 17, PART);
    assert!(pulled.reads <= 4 * 4_000, "{} index entries read for 4,000", pulled.reads);
}

#[test]
fn what_is_kept_is_bounded_and_windows_follow_each_other() {
    for keys in [u64::MAX, 400, 1] {
        let pulled = pull_in_parts(4_000, keys, 500, PART);
        assert!(pulled.reads <= 16 * 4_000, "{} index entries read for 4,000 of {keys} keys", pulled.reads);
    }
}

/// One source, one asker, whatever may happen to them between two parts, and which key each dot wrote.
struct Scene {
    rng: Rng,
    source: Mem,
    other: Mem,
    asker: Mem,
    former: MemoryEngine,
    keys: BTreeMap<Dot, ObjectKey>,
}

impl Scene {
    fn write(&mut self) {
        let key = key(self.rng.below(12) as u8);
        let by_other = self.rng.below(2) == 0;
        let dot = if by_other { self.other.next_dot(P).unwrap() } else { self.source.next_dot(P).unwrap() };
        let context = match self.rng.below(3) {
            0 => Clock::new(),
            _ => self.source.read(P, &key).unwrap().client_context(),
        };
        let object = match self.rng.below(3) {
            0 => Object::delete(context),
            _ => Object::put(dot, Bytes::from_static(b"v"), context),
        };
        self.keys.insert(dot, key.clone());
        self.source.apply(P, &key, object, &[dot]).unwrap().unwrap();
    }

    /// Something else tells the asker of one key.
    fn repair(&mut self) {
        let key = key(self.rng.below(12) as u8);
        let asked = clock(&mut self.asker);
        let delta = self.source.delta_of(P, &asked, &key).unwrap().unwrap();
        self.asker.absorb_delta(P, delta.entries).unwrap().unwrap();
    }

    /// The asker is as it was some time ago.
    fn roll_back(&mut self) {
        let life = 1000 + self.rng.below(1 << 30) as u64;
        self.asker = Store::open(self.former.clone(), NodeId(3), life, Past::MayLack).unwrap();
    }

    fn back_up(&mut self) {
        self.asker.commit(true).unwrap();
        self.former = self.asker.engine().clone();
    }

    /// The source collects what the asker has.
    fn collect(&mut self) {
        let (asker, source) = (clock(&mut self.asker), clock(&mut self.source));
        self.source.collect(P, &[&asker, &source]).unwrap();
    }

    fn check(&mut self, asked: &Clock, entry: &Entry) {
        let missing = self.keys.iter().filter(|(dot, key)| **key == entry.key && !asked.has(**dot));
        assert_eq!(entry.dots, missing.map(|(dot, _)| *dot).collect::<Vec<_>>(), "of {}", entry.key);
        assert_eq!(entry.object, without_known(self.source.read(P, &entry.key).unwrap(), asked));
    }
}

#[test]
fn every_entry_has_all_dots_of_its_key_whatever_happens_between_the_parts() {
    for seed in 0..400 {
        let (source, other, asker) = (store(1), store(2), store(3));
        let mut scene =
            Scene { rng: Rng::new(seed), source, other, asker, former: MemoryEngine::new(), keys: BTreeMap::new() };
        let mut reading = Reading::with_room(1 + scene.rng.below(40));
        for _ in 0..scene.rng.below(200) {
            scene.write();
        }
        let mut calm = 0;
        for round in 0.. {
            assert!(round < 20_000, "seed {seed} comes to no end");
            if round < 300 {
                match scene.rng.below(12) {
                    0..=3 => scene.write(),
                    4 => scene.repair(),
                    5 => scene.back_up(),
                    6 if scene.rng.below(8) == 0 => scene.roll_back(),
                    7 => scene.collect(),
                    _ => {}
                }
            }
            let budget = Budget { bytes: usize::MAX, keys: scene.rng.below(4) };
            let asked = clock(&mut scene.asker);
            let Some(delta) = scene.source.delta(P, &asked, &mut reading, budget).unwrap() else {
                // It was rolled back behind what has been collected: a scan would follow.
                let claimed = scene.source.scan(P).unwrap().clock().clone();
                scene.keys.retain(|dot, _| !claimed.has(*dot));
                break;
            };
            delta.entries.iter().for_each(|entry| scene.check(&asked, entry));
            let is_lost = round < 300 && scene.rng.below(4) == 0;
            if !is_lost {
                scene.asker.absorb_delta(P, delta.entries).unwrap().unwrap();
            }
            calm = if is_lost || delta.more || round < 300 { 0 } else { calm + 1 };
            if calm == 1 {
                assert_eq!(clock(&mut scene.asker), clock(&mut scene.source), "seed {seed}");
                break;
            }
        }
    }
}
