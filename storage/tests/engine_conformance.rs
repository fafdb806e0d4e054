//! One suite that every engine must pass.

use bytes::Bytes;
use dynode_storage::engine::Step;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::{Engine, Space, View};

/// An engine on a disk of its own, which can be stopped and opened again.
trait Bed: Sized {
    type E: Engine;
    fn new() -> Self;
    fn engine(&mut self) -> &mut Self::E;
    /// What is there after the worst that the machine may do to it at this moment.
    fn crash(self) -> Self;
}

struct Memory(MemoryEngine);

impl Bed for Memory {
    type E = MemoryEngine;

    fn new() -> Memory {
        Memory(MemoryEngine::new())
    }

    fn engine(&mut self) -> &mut MemoryEngine {
        &mut self.0
    }

    fn crash(mut self) -> Memory {
        self.0.lose_unsynced();
        self
    }
}

#[cfg(feature = "rocksdb")]
struct Rocks {
    engine: dynode_storage::RocksEngine,
    directory: tempfile::TempDir,
}

#[cfg(feature = "rocksdb")]
impl Bed for Rocks {
    type E = dynode_storage::RocksEngine;

    fn new() -> Rocks {
        let directory = tempfile::tempdir().unwrap();
        Rocks { engine: dynode_storage::RocksEngine::open(directory.path(), Default::default()).unwrap(), directory }
    }

    fn engine(&mut self) -> &mut Self::E {
        &mut self.engine
    }

    fn crash(self) -> Rocks {
        drop(self.engine);
        let directory = self.directory;
        Rocks { engine: dynode_storage::RocksEngine::open(directory.path(), Default::default()).unwrap(), directory }
    }
}

fn put(space: Space, key: &str, value: &str) -> Step {
    Step::Put(space, Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
}

fn delete(space: Space, key: &str) -> Step {
    Step::Delete(space, Bytes::copy_from_slice(key.as_bytes()))
}

fn delete_range(space: Space, from: &str, to: &str) -> Step {
    Step::DeleteRange(space, Bytes::copy_from_slice(from.as_bytes()), Bytes::copy_from_slice(to.as_bytes()))
}

/// All records of `from..to`, as `key=value key=value`.
fn records(view: &impl View, space: Space, from: &str, to: &str) -> String {
    let mut out = Vec::new();
    view.scan(space, from.as_bytes(), to.as_bytes(), &mut |key, value| {
        out.push(format!("{}={}", key.escape_ascii(), value.escape_ascii()));
        true
    })
    .unwrap();
    out.join(" ")
}

fn get(view: &impl View, space: Space, key: &str) -> Option<String> {
    view.get(space, key.as_bytes()).unwrap().map(|v| v.escape_ascii().to_string())
}

const ALL: (&str, &str) = ("", "\u{7f}");

fn puts_gets_and_deletes_in_each_space<B: Bed>() {
    let mut bed = B::new();
    for space in Space::ALL {
        bed.engine().write(&[put(space, "k", space.name()), put(space, "", "empty key")], false).unwrap();
    }
    for space in Space::ALL {
        assert_eq!(get(bed.engine(), space, "k").as_deref(), Some(space.name()));
        assert_eq!(get(bed.engine(), space, "").as_deref(), Some("empty key"));
        assert_eq!(get(bed.engine(), space, "kk"), None);
    }
    bed.engine().write(&[delete(Space::Index, "k"), delete(Space::Index, "never there")], true).unwrap();
    bed.engine().write(&[put(Space::Objects, "k", "")], true).unwrap();
    assert_eq!(get(bed.engine(), Space::Index, "k"), None);
    assert_eq!(get(bed.engine(), Space::Objects, "k").as_deref(), Some(""), "an empty value is not an absent one");
    assert_eq!(get(bed.engine(), Space::Meta, "k").as_deref(), Some("meta"), "spaces do not mix");
}

fn steps_are_taken_in_order<B: Bed>() {
    let mut bed = B::new();
    let space = Space::Index;
    bed.engine().write(&[put(space, "a", "0"), put(space, "b", "0"), put(space, "c", "0")], false).unwrap();
    bed.engine()
        .write(
            &[
                put(space, "aa", "before the range is deleted"),
                delete_range(space, "a", "c"),
                put(space, "b", "after it"),
                put(space, "d", "1"),
                delete(space, "d"),
                delete(space, "e"),
                put(space, "e", "1"),
                put(space, "f", "1"),
                put(space, "f", "2"),
            ],
            false,
        )
        .unwrap();
    assert_eq!(records(bed.engine(), space, ALL.0, ALL.1), "b=after it c=0 e=1 f=2");
}

fn scans_keep_their_bounds<B: Bed>() {
    let mut bed = B::new();
    let space = Space::Objects;
    let keys = ["a", "aa", "ab", "b", "ba", "c"];
    bed.engine().write(&keys.map(|k| put(space, k, k)), false).unwrap();
    let view = bed.engine();
    assert_eq!(records(view, space, "a", "b"), "a=a aa=aa ab=ab", "from is in, to is out");
    assert_eq!(records(view, space, "aaa", "bb"), "ab=ab b=b ba=ba");
    assert_eq!(records(view, space, "b", "b"), "", "an empty range");
    assert_eq!(records(view, space, "c", "a"), "", "a range that ends before it begins");
    assert_eq!(records(view, space, "d", "e"), "");
    assert_eq!(records(view, Space::Index, ALL.0, ALL.1), "");
    let mut seen = 0;
    view.scan(space, b"", b"z", &mut |_, _| {
        seen += 1;
        seen < 3
    })
    .unwrap();
    assert_eq!(seen, 3, "a visit ends the scan");
}

fn empty_ranges_delete_nothing<B: Bed>() {
    let mut bed = B::new();
    let space = Space::Objects;
    bed.engine().write(&[put(space, "a", "1"), put(space, "b", "1")], false).unwrap();
    let steps = [delete_range(space, "b", "b"), delete_range(space, "z", "a"), delete_range(space, "x", "y")];
    bed.engine().write(&steps, true).unwrap();
    bed.engine().write(&[], true).unwrap();
    assert_eq!(records(bed.engine(), space, ALL.0, ALL.1), "a=1 b=1");
}

fn snapshots_stay_as_they_were<B: Bed>() {
    let mut bed = B::new();
    let space = Space::Objects;
    bed.engine().write(&[put(space, "a", "1"), put(space, "b", "1"), put(space, "c", "1")], false).unwrap();
    let first = bed.engine().snapshot();
    bed.engine().write(&[put(space, "a", "2"), delete(space, "b"), put(space, "d", "2")], true).unwrap();
    let second = bed.engine().snapshot();
    bed.engine().write(&[delete_range(space, "a", "z")], true).unwrap();
    assert_eq!(records(&first, space, ALL.0, ALL.1), "a=1 b=1 c=1");
    assert_eq!(records(&second, space, ALL.0, ALL.1), "a=2 c=1 d=2");
    assert_eq!(records(bed.engine(), space, ALL.0, ALL.1), "");
    assert_eq!((get(&first, space, "b"), get(&second, space, "b")), (Some("1".into()), None));
}

fn a_durable_write_takes_all_before_it_along<B: Bed>() {
    let mut bed = B::new();
    bed.engine().write(&[put(Space::Index, "a", "1")], false).unwrap();
    bed.engine().write(&[put(Space::Objects, "b", "1"), delete(Space::Index, "x")], true).unwrap();
    let mut bed = bed.crash();
    assert_eq!(get(bed.engine(), Space::Index, "a").as_deref(), Some("1"));
    assert_eq!(get(bed.engine(), Space::Objects, "b").as_deref(), Some("1"));
    bed.engine().write(&[put(Space::Meta, "c", "1"), delete_range(Space::Index, "a", "b")], false).unwrap();
    bed.engine().sync().unwrap();
    let mut bed = bed.crash();
    assert_eq!(get(bed.engine(), Space::Meta, "c").as_deref(), Some("1"), "so does a sync");
    assert_eq!(get(bed.engine(), Space::Index, "a"), None);
}

fn large_values_come_back_whole<B: Bed>() {
    let mut bed = B::new();
    let large: Vec<u8> = (0..9u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let key = vec![b'k'; 2050];
    let step = Step::Put(Space::Objects, key.clone().into(), large.clone().into());
    bed.engine().write(&[step], true).unwrap();
    let mut bed = bed.crash();
    assert!(bed.engine().get(Space::Objects, &key).unwrap().is_some_and(|v| v == large));
}

fn size_is_about_what_is_there<B: Bed>() {
    let mut bed = B::new();
    let before = bed.engine().size(Space::Objects);
    let value: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for i in 0..2000u32 {
        let key = Bytes::copy_from_slice(&i.to_be_bytes());
        bed.engine().write(&[Step::Put(Space::Objects, key, value.clone().into())], false).unwrap();
    }
    let size = bed.engine().size(Space::Objects) - before;
    assert!((1_500_000..6_000_000).contains(&size), "{size} bytes for 2 MB");
    assert!(bed.engine().size(Space::Index) < 100_000, "each space for itself");
}

macro_rules! suite {
    ($name:ident: $bed:ty) => {
        suite!($name: $bed, puts_gets_and_deletes_in_each_space, steps_are_taken_in_order, scans_keep_their_bounds,
            empty_ranges_delete_nothing, snapshots_stay_as_they_were, a_durable_write_takes_all_before_it_along,
            large_values_come_back_whole, size_is_about_what_is_there);
    };
    ($name:ident: $bed:ty, $($check:ident),*) => {
        mod $name {
            $(#[test] fn $check() { super::$check::<$bed>(); })*
        }
    };
}

suite!(memory: super::Memory);
#[cfg(feature = "rocksdb")]
suite!(rocks: super::Rocks);

#[test]
fn memory_forgets_what_was_not_synced() {
    let mut bed = Memory::new();
    let space = Space::Objects;
    bed.engine().write(&[put(space, "a", "1"), put(space, "b", "1")], true).unwrap();
    bed.engine().write(&[put(space, "a", "2"), delete(space, "b"), put(space, "c", "2")], false).unwrap();
    bed.engine().write(&[put(space, "a", "3"), delete_range(space, "a", "c")], false).unwrap();
    assert!(bed.engine().has_unsynced());
    let mut bed = bed.crash();
    assert_eq!(records(bed.engine(), space, ALL.0, ALL.1), "a=1 b=1");
    assert!(!bed.engine().has_unsynced());
}

/// As of a log with checksums: the first so many of the unsynced batches, each whole, and none without those before it.
#[test]
fn a_power_cut_leaves_a_beginning_of_what_was_not_synced() {
    let put = |i: u8, value: u8| Step::Put(Space::Meta, Bytes::copy_from_slice(&[i]), Bytes::copy_from_slice(&[value]));
    for survivors in 0..=4 {
        let mut engine = MemoryEngine::new();
        engine.write(&[put(0, 0), put(9, 0)], true).unwrap();
        for batch in 1..=4 {
            engine.write(&[put(batch, batch), put(9, batch)], false).unwrap();
        }
        engine.write(&[], false).unwrap();
        assert_eq!(engine.unsynced_batches(), 5);
        engine.cut_power(usize::from(survivors));
        let get = |i: u8| engine.get(Space::Meta, &[i]).unwrap().map(|v| v[0]);
        assert_eq!(get(9), Some(survivors), "the overwritten record is as the last surviving batch left it");
        for batch in 0..=4 {
            assert_eq!(get(batch), (batch <= survivors).then_some(batch), "batch {batch} of {survivors} survivors");
        }
        // What was left is on the disk: a second power cut takes nothing.
        assert!(!engine.has_unsynced());
    }
}
