//! Copies read from end to end, and what is taken over from an engine of which nobody knows what it has lost.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::engine::Step;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::quarantine::Quarantine;
use dynode_storage::salvage::{Ownership, Salvaged, salvage};
use dynode_storage::{Clock, Engine, EngineError, Object, ObjectKey, Past, Space, Store, View};

const NODE: NodeId = NodeId(1);
const PARTITIONS: u16 = 4;

fn put(store: &mut Store<MemoryEngine>, partition: PartitionId, key: u8, context: Clock) {
    let dot = store.next_dot(partition).unwrap();
    let object = Object::put(dot, Bytes::from(vec![key; 50]), context);
    store.apply(partition, &ObjectKey::new(b"b", &[key]), object, &[dot]).unwrap().unwrap();
}

/// Copies of three of four partitions, with index entries, checkpoints, and contexts that are not stripped.
fn engine() -> MemoryEngine {
    let mut store = Store::open(MemoryEngine::new(), NODE, 1, Past::Whole).unwrap();
    let unseen = dynode_storage::Dot { actor: dynode_storage::Actor { node: NodeId(2), life: 1 }, counter: 3 };
    for partition in 0..3 {
        for key in 0..30 {
            let context = if key % 7 == 0 { [unseen].into_iter().collect() } else { Clock::new() };
            put(&mut store, PartitionId(partition), key, context);
        }
        if partition == 1 {
            store.collect(PartitionId(partition), &[]).unwrap();
        }
    }
    store.close().unwrap();
    put(&mut store, PartitionId(0), 40, Clock::new());
    store.commit(true).unwrap();
    store.into_engine()
}

fn records(engine: &MemoryEngine, space: Space) -> Vec<(Bytes, Bytes)> {
    let mut out = Vec::new();
    let all = &mut |k: &[u8], v: &[u8]| {
        out.push((Bytes::copy_from_slice(k), Bytes::copy_from_slice(v)));
        true
    };
    engine.scan(space, &[], &[0xff; 64], all).unwrap();
    out
}

fn check(engine: MemoryEngine, partition: u16, slice: (u64, u64)) -> Result<u64, EngineError> {
    let mut store = Store::open(engine, NODE, 100, Past::Whole)?;
    let mut check = store.check(PartitionId(partition))?.expect("a copy");
    let mut slices = 0;
    while !check.slice(slice.0, slice.1)? {
        slices += 1;
        let read = check.read();
        assert!(read.records <= slices * slice.0, "a slice is bounded: {read:?} in {slices}");
    }
    Ok(check.read().records)
}

#[test]
fn a_sound_copy_is_sound_in_slices_of_any_size() {
    for partition in 0..3 {
        let whole = check(engine(), partition, (u64::MAX, u64::MAX)).unwrap();
        assert!(whole >= 30);
        for slice in [(1, u64::MAX), (7, 100), (1000, 1)] {
            assert_eq!(check(engine(), partition, slice).unwrap(), whole);
        }
    }
}

/// Any record that is missing, changed or too many is noticed, whichever it is.
#[test]
fn every_record_counts() {
    let sound = engine();
    for space in [Space::Objects, Space::Index, Space::Clocks] {
        for (at, value) in records(&sound, space) {
            let partition = u16::from_be_bytes([at[0], at[1]]);
            let mut wreck = sound.clone();
            wreck.write(&[Step::Delete(space, at.clone())], true).unwrap();
            match space {
                // A copy without a clock is none: what is left of it is noticed when it is salvaged.
                Space::Clocks => {}
                // Newer than the checkpoint: the copy is as it was before that write, but for its object.
                _ => assert!(check(wreck, partition, (9, 999)).is_err(), "{space:?} {at:?} is missing"),
            }
            let mut wreck = sound.clone();
            wreck.write(&[Step::Put(space, at.clone(), value.slice(..value.len() / 2))], true).unwrap();
            let unnoticed = space == Space::Index && at[2] == 2; // its value says nothing
            assert!(unnoticed || check(wreck, partition, (9, 999)).is_err(), "{space:?} {at:?} is cut short");
        }
    }
    let mut wreck = sound.clone();
    let (at, value) = records(&sound, Space::Objects).remove(0);
    let other = Bytes::from([&at[..], b"x"].concat());
    wreck.write(&[Step::Put(Space::Objects, other, value)], true).unwrap();
    assert!(check(wreck, 0, (9, 999)).is_err(), "an object that was never written");
}

#[test]
fn writes_meanwhile_raise_no_alarm() {
    let mut store = Store::open(engine(), NODE, 100, Past::Whole).unwrap();
    for partition in 0..3 {
        let partition = PartitionId(partition);
        let mut check = store.check(partition).unwrap().unwrap();
        let mut key = 0;
        while !check.slice(3, 1000).unwrap() {
            put(&mut store, partition, key, Clock::new());
            store.collect(partition, &[]).unwrap();
            store.strip(partition, 10).unwrap();
            store.commit(true).unwrap();
            key += 1;
        }
        assert!(key > 5);
    }
}

fn salvaged(source: Option<&MemoryEngine>, ownership: Ownership) -> (Salvaged, MemoryEngine) {
    let mut target = MemoryEngine::new();
    let partitions = (0..PARTITIONS).map(|p| (PartitionId(p), ownership));
    let mut heard = Vec::new();
    let made = salvage(source, &mut target, NODE, partitions, |done| heard.push(done)).unwrap();
    assert_eq!(heard, [0, 1, 2, 3]);
    assert!(!target.has_unsynced());
    (made, target)
}

#[test]
fn sound_copies_are_taken_over_and_others_are_not() {
    let mut wreck = engine();
    let (at, _) = records(&wreck, Space::Objects).into_iter().find(|(at, _)| at[1] == 1).unwrap();
    wreck.write(&[Step::Delete(Space::Objects, at)], true).unwrap();
    let at = Bytes::from_static(&[0, 2]);
    wreck.write(&[Step::Delete(Space::Clocks, at)], true).unwrap();
    let (made, target) = salvaged(Some(&wreck), Ownership::Shared);
    assert_eq!(made.whole, [PartitionId(0)]);
    assert_eq!(made.lost.iter().map(|(p, _)| p.0).collect::<Vec<_>>(), [1, 2]);
    assert!(made.lost[1].1.contains("lost its clock"), "{made:?}");
    let mut store = Store::open(target, NODE, 1000, Past::MayLack).unwrap();
    // Nobody knows what is missing, so nothing is relied on until the other owners were heard; and lives are new.
    for partition in 0..PARTITIONS {
        assert_eq!(store.quarantine(PartitionId(partition)), Some(Quarantine::Rebuilding));
    }
    assert_eq!(store.recount(PartitionId(0)).unwrap().1, 31);
    assert!(store.find(PartitionId(0)).unwrap().unwrap().actor().life >= 1000);
    assert!(store.find(PartitionId(1)).unwrap().is_none() && store.find(PartitionId(2)).unwrap().is_none());
    for space in [Space::Objects, Space::Index, Space::Clocks] {
        assert!(records(store.engine(), space).iter().all(|(at, _)| at[1] == 0), "nothing is left of the others");
    }
}

#[test]
fn of_the_only_copy_it_is_said_that_it_is_one() {
    let mut wreck = engine();
    let (at, _) = records(&wreck, Space::Objects).remove(0);
    wreck.write(&[Step::Delete(Space::Objects, at)], true).unwrap();
    let (made, _) = salvaged(Some(&wreck), Ownership::Alone);
    assert_eq!(made.only_here.iter().map(|(p, _)| p.0).collect::<Vec<_>>(), [0]);
    assert_eq!(made.lost, []);
    let (made, target) = salvaged(None, Ownership::Shared);
    assert_eq!((made.whole.len(), made.lost.len()), (0, 4));
    let store = Store::open(target, NODE, 1000, Past::MayLack).unwrap();
    assert_eq!(store.quarantined().count(), 4);
}

#[test]
fn a_quarantine_is_as_durable_as_what_it_speaks_of() {
    let p = PartitionId(0);
    let mut store = Store::open(engine(), NODE, 100, Past::Whole).unwrap();
    store.find(p).unwrap();
    store.rebuild(p).unwrap();
    store.shelve(PartitionId(1));
    store.commit(true).unwrap();
    let mut store = Store::open(store.into_engine(), NODE, 200, Past::Whole).unwrap();
    let held: Vec<_> = store.quarantined().collect();
    assert_eq!(held, [(p, Quarantine::Rebuilding), (PartitionId(1), Quarantine::Shelved)]);
    assert!(store.find(p).unwrap().is_none() && store.find(PartitionId(1)).unwrap().is_none());
    // The one begins anew; the other is neither shown nor touched.
    put(&mut store, p, 1, Clock::new());
    assert!(store.copy(p).unwrap().actor().life >= 100);
    assert!(matches!(store.copy(PartitionId(1)), Err(EngineError::Damaged { partition: Some(PartitionId(1)), .. })));
    store.end_rebuild(p);
    store.end_rebuild(PartitionId(1));
    store.close().unwrap();
    let engine = store.into_engine();
    assert_eq!(records(&engine, Space::Objects).iter().filter(|(at, _)| at[1] == 1).count(), 30);
    let store = Store::open(engine, NODE, 300, Past::Whole).unwrap();
    assert_eq!(store.quarantined().collect::<Vec<_>>(), [(PartitionId(1), Quarantine::Shelved)]);
}
