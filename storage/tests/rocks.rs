//! What only the engine on RocksDB has: a lock, tables and a log that can be damaged, numbers for metrics.
#![cfg(feature = "rocksdb")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::Budget;
use dynode_storage::engine::Step;
use dynode_storage::reading::Reading;
use dynode_storage::rocks::{LogDamage, Options};
use dynode_storage::{Clock, Engine, EngineError, Object, ObjectKey, Past, RocksEngine, Space, Store, View};

const P: PartitionId = PartitionId(3);

fn key(i: u32) -> ObjectKey {
    ObjectKey::new(b"bucket", format!("key-{i:06}").as_bytes())
}

fn open(path: &Path, log_damage: LogDamage) -> Result<RocksEngine, EngineError> {
    RocksEngine::open(path, Options { log_damage, memtable_bytes: 1 << 20, ..Options::default() })
}

fn store(path: &Path) -> Store<RocksEngine> {
    Store::open(open(path, LogDamage::Refuse).unwrap(), NodeId(1), 1, Past::Whole).unwrap()
}

fn put(store: &mut Store<RocksEngine>, key: &ObjectKey, value: &[u8]) {
    let dot = store.next_dot(P).unwrap();
    let object = Object::put(dot, Bytes::copy_from_slice(value), Clock::new());
    assert_eq!(store.apply(P, key, object, &[dot]).unwrap(), Ok(1));
}

/// Files with this ending, the largest last.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == ending));
    files.sort_by_key(|f| fs::metadata(f).unwrap().len());
    files
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x40;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_directory_in_use_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), LogDamage::Refuse).unwrap();
    let text = open(directory.path(), LogDamage::Refuse).err().expect("the directory is locked").to_string();
    assert!(text.contains(&directory.path().display().to_string()) && text.contains("stop the node"), "{text}");
    drop(first);
    open(directory.path(), LogDamage::Refuse).unwrap();
}

#[test]
fn a_snapshot_outlives_the_engine() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = open(directory.path(), LogDamage::Refuse).unwrap();
    engine.write(&[Step::Put(Space::Meta, Bytes::from_static(b"k"), Bytes::from_static(b"v"))], false).unwrap();
    let snapshot = engine.snapshot();
    drop(engine);
    assert_eq!(snapshot.get(Space::Meta, b"k").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn the_numbers_move() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = store(directory.path());
    let before = store.engine().stats();
    for i in 0..30_000 {
        put(&mut store, &key(i), &[i as u8; 100]);
        if i % 100 == 0 {
            store.commit(false).unwrap();
        }
    }
    store.commit(true).unwrap();
    let after = store.engine().stats();
    assert!(after.memtable_bytes > 0 && after.table_bytes > before.table_bytes, "{after:?}");
    assert!(after.files_per_level.iter().sum::<u64>() > 0, "{after:?}");
    assert!(!after.write_stopped && after.background_errors == 0, "{after:?}");
    let snapshot = store.engine().snapshot();
    assert_eq!(store.engine().stats().snapshots, 1);
    drop(snapshot);
    assert_eq!(store.engine().stats().snapshots, 0);
}

/// A copy on tables, not in the log: what is read comes from the files.
fn on_tables(directory: &Path) {
    let mut store = store(directory);
    for i in 0..20_000 {
        put(&mut store, &key(i), &[i as u8; 60]);
        if i % 100 == 0 {
            store.commit(false).unwrap();
        }
    }
    store.close().unwrap();
    drop(store);
    // More of something else pushes what is there out of the memtables.
    let mut engine = open(directory, LogDamage::Refuse).unwrap();
    for space in [Space::Objects, Space::Index, Space::Clocks] {
        for i in 0..40u32 {
            let key = Bytes::copy_from_slice(&[&[0xff, 0xfe][..], &i.to_be_bytes()].concat());
            engine.write(&[Step::Put(space, key, vec![i as u8; 60_000].into())], false).unwrap();
        }
    }
    engine.sync().unwrap();
}

#[test]
fn damaged_tables_are_damage_and_never_absence() {
    let directory = tempfile::tempdir().unwrap();
    on_tables(directory.path());
    let mut noticed = [0; 3];
    for table in files(directory.path(), "sst") {
        let sound = fs::read(&table).unwrap();
        // All over the data blocks: half the table, so that whatever is read next meets it.
        let mut bytes = sound.clone();
        bytes.iter_mut().take(sound.len() * 7 / 10).step_by(97).for_each(|b| *b ^= 0x10);
        fs::write(&table, &bytes).unwrap();
        if let Ok(engine) = open(directory.path(), LogDamage::Refuse) {
            let mut store = match Store::open(engine, NodeId(1), 1, Past::Whole) {
                Ok(store) => store,
                Err(e) => {
                    assert!(matches!(e, EngineError::Damaged { .. }), "{e}"); // a table of the node's own records
                    fs::write(&table, &sound).unwrap();
                    continue;
                }
            };
            for i in (0..20_000).step_by(61) {
                match store.read(P, &key(i)) {
                    Ok(object) => assert_eq!(object.values.len(), 1, "{} is said to be absent", key(i)),
                    Err(e) => {
                        assert!(matches!(e, EngineError::Damaged { .. }), "{e}");
                        noticed[0] += 1;
                    }
                }
            }
            let all = Budget { bytes: usize::MAX, keys: usize::MAX };
            match store.delta(P, &Clock::new(), &mut Reading::new(), all) {
                Ok(delta) => assert_eq!(delta.expect("the index reaches back").entries.len(), 20_000),
                Err(e) => {
                    assert!(matches!(e, EngineError::Damaged { .. }), "{e}");
                    noticed[1] += 1;
                }
            }
            noticed[2] += usize::from(store.recount(P).is_err());
        }
        fs::write(&table, &sound).unwrap();
    }
    assert!(noticed.iter().all(|n| *n > 0), "the damage was met: {noticed:?}");
}

#[test]
fn a_damaged_log_is_refused_or_rolled_back_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = open(directory.path(), LogDamage::Refuse).unwrap();
    for i in 0..200u32 {
        let key = Bytes::copy_from_slice(&i.to_be_bytes());
        engine.write(&[Step::Put(Space::Meta, key, vec![7; 500].into())], true).unwrap();
    }
    drop(engine);
    let log = files(directory.path(), "log").pop().expect("a write-ahead log");
    let sound = fs::read(&log).unwrap();

    // A torn last record was promised to nobody.
    fs::write(&log, &sound[..sound.len() - 100]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let engine = open(copy.path(), LogDamage::Refuse).unwrap();
    assert!(engine.get(Space::Meta, &198u32.to_be_bytes()).unwrap().is_some());
    assert!(engine.get(Space::Meta, &199u32.to_be_bytes()).unwrap().is_none());

    // But it may be a flipped bit that only looks like that: whoever asks for a whole log is told.
    fs::write(&log, &sound).unwrap();
    for end in [1, 100, 400] {
        fs::write(&log, &sound[..sound.len() - end]).unwrap();
        let refused = open(directory.path(), LogDamage::Whole).err();
        assert!(matches!(refused, Some(EngineError::Damaged { .. })), "{end} bytes less: {refused:?}");
    }

    // Damage with synced records behind it is another thing.
    fs::write(&log, &sound).unwrap();
    flip(&log, sound.len() / 2);
    let refused = open(directory.path(), LogDamage::Refuse).err();
    assert!(matches!(refused, Some(EngineError::Damaged { .. })), "{refused:?}");
    let engine = open(directory.path(), LogDamage::RollBack).unwrap();
    let left: Vec<u32> =
        (0..200).filter(|i: &u32| engine.get(Space::Meta, &i.to_be_bytes()).unwrap().is_some()).collect();
    let first: Vec<u32> = (0..left.len() as u32).collect();
    assert_eq!(left, first, "what was before the damage, and nothing from behind it");
    assert!((50..190).contains(&left.len()), "{} records before the damage", left.len());
}

/// RocksDB takes the last record of a manifest for torn when its length is damaged, and forgets a table.
#[test]
fn a_damaged_manifest_is_damage_and_not_an_older_state() {
    let directory = tempfile::tempdir().unwrap();
    on_tables(directory.path());
    let is_manifest = |f: &PathBuf| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("MANIFEST"));
    let manifest = fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap().path()).find(is_manifest).unwrap();
    let sound = fs::read(&manifest).unwrap();
    for byte in (0..sound.len()).step_by(sound.len() / 97 + 1).chain(sound.len() - 60..sound.len()) {
        let mut wreck = sound.clone();
        wreck[byte] ^= 1 << (byte % 8);
        fs::write(&manifest, &wreck).unwrap();
        let refused = open(directory.path(), LogDamage::Refuse).err();
        assert!(matches!(refused, Some(EngineError::Damaged { .. })), "byte {byte}: {refused:?}");
    }
    fs::write(&manifest, &sound).unwrap();
    let current = directory.path().join("CURRENT");
    let named = fs::read(&current).unwrap();
    for wreck in [&b""[..], b"MANIFEST-000001\n", b"MANIFEST-", b"\xff\xff", &named[..named.len() - 1]] {
        fs::write(&current, wreck).unwrap();
        let refused = open(directory.path(), LogDamage::Refuse).err();
        assert!(matches!(refused, Some(EngineError::Damaged { .. })), "{wreck:?}: {refused:?}");
    }
    fs::remove_file(&current).unwrap();
    let refused = open(directory.path(), LogDamage::Refuse).err();
    assert!(matches!(refused, Some(EngineError::Damaged { .. })), "no CURRENT: {refused:?}");
    assert!(!current.exists(), "no new database is made over the tables of another");
    fs::write(&current, &named).unwrap();
    let mut store = store(directory.path());
    assert_eq!(store.recount(P).unwrap().1, 20_000);
}

#[test]
fn what_is_set_aside_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = open(&directory.path().join("db"), LogDamage::Refuse).unwrap();
    let step = |value: &'static [u8]| [Step::Put(Space::Meta, Bytes::from_static(b"k"), Bytes::from_static(value))];
    engine.write(&step(b"before"), true).unwrap();
    let place = engine.set_aside("damaged-1").unwrap().expect("there is room");
    engine.write(&step(b"after"), true).unwrap();
    assert_eq!(engine.set_aside("damaged-1").unwrap(), None, "a name is used once");
    let made: Vec<bool> = (2..20).map(|n| engine.set_aside(&format!("damaged-{n}")).unwrap().is_some()).collect();
    assert_eq!(made.iter().filter(|made| **made).count(), 7, "and disk space is not taken without end");
    drop(engine);
    let aside = open(Path::new(&place), LogDamage::Refuse).unwrap();
    assert_eq!(aside.get(Space::Meta, b"k").unwrap().as_deref(), Some(&b"before"[..]));
}

#[test]
fn syncs_and_the_cache_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = open(directory.path(), LogDamage::Refuse).unwrap();
    let figure = |engine: &RocksEngine, name: &str| {
        let figures = engine.figures();
        figures.into_iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("no {name}")).1
    };
    let record = |i: u32| Step::Put(Space::Objects, i.to_be_bytes().to_vec().into(), Bytes::from(vec![7; 2000]));
    let syncs = |engine: &RocksEngine| *figure(engine, "fsyncs").last().unwrap();
    engine.write(&[record(0)], false).unwrap();
    assert_eq!(syncs(&engine), 0, "nothing was to be made durable");
    engine.write(&[record(1)], true).unwrap();
    engine.sync().unwrap();
    assert_eq!(syncs(&engine), 2);
    assert_eq!(figure(&engine, "fsync_bounds_us").len() + 1, figure(&engine, "fsyncs").len());
    // More than the memtables hold, so that tables are read.
    for i in 0..2000 {
        engine.write(&[record(i)], false).unwrap();
    }
    let found = |engine: &RocksEngine| (figure(engine, "cache_hits")[0], figure(engine, "cache_misses")[0]);
    let before = found(&engine);
    for _ in 0..2 {
        for i in 0..2000u32 {
            assert!(engine.get(Space::Objects, &i.to_be_bytes()).unwrap().is_some());
        }
    }
    let after = found(&engine);
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    assert_eq!(figure(&engine, "cache_bytes_max"), [Options::default().block_cache_bytes as u64]);
}
