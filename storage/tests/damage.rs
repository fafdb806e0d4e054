//! Damage is damage, never "not found": absence means deleted here, and would spread to the other copies.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::Budget;
use dynode_storage::engine::Step;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Engine, EngineError, Object, ObjectKey, Past, Space, Store, View};

const P: PartitionId = PartitionId(5);
const ALL: Budget = Budget { bytes: usize::MAX, keys: usize::MAX };

fn key(i: u8) -> ObjectKey {
    ObjectKey::new(b"bk", &[b'k', i])
}

fn put(store: &mut Store<MemoryEngine>, key: &ObjectKey, context: Clock) {
    let dot = store.next_dot(P).unwrap();
    let object = Object::put(dot, Bytes::from_static(b"value"), context);
    assert_eq!(store.apply(P, key, object, &[dot]).unwrap(), Ok(1));
}

/// A copy of three keys; the last has a context that is not stripped.
fn engine() -> MemoryEngine {
    let mut store = Store::open(MemoryEngine::new(), NodeId(1), 1, Past::Whole).unwrap();
    let unseen = dynode_storage::Dot { actor: dynode_storage::Actor { node: NodeId(2), life: 1 }, counter: 3 };
    (0..3).for_each(|i| put(&mut store, &key(i), if i == 2 { [unseen].into_iter().collect() } else { Clock::new() }));
    store.close().unwrap();
    put(&mut store, &key(0), Clock::new());
    store.commit(true).unwrap();
    store.into_engine()
}

fn records(engine: &MemoryEngine, space: Space) -> Vec<(Bytes, Bytes)> {
    let mut out = Vec::new();
    engine
        .scan(space, &[], &[0xff; 4], &mut |k, v| {
            out.push((Bytes::copy_from_slice(k), Bytes::copy_from_slice(v)));
            true
        })
        .unwrap();
    out
}

fn with(engine: &MemoryEngine, space: Space, at: &Bytes, value: Vec<u8>) -> Store<MemoryEngine> {
    let mut engine = engine.clone();
    engine.write(&[Step::Put(space, at.clone(), value.into())], true).unwrap();
    Store::open(engine, NodeId(1), 9, Past::Whole).unwrap()
}

fn is_damage<T: std::fmt::Debug>(answer: Result<T, EngineError>, of: Space) {
    match answer {
        Err(EngineError::Damaged { place, .. }) => assert_eq!(place, of.name()),
        other => panic!("damage of the {} is taken for {other:?}", of.name()),
    }
}

/// Each record with its format byte changed, with one byte less, and with one more.
fn wrecks(value: &Bytes) -> [Vec<u8>; 3] {
    let mut foreign = value.to_vec();
    foreign[0] ^= 0x40;
    [foreign, value[..value.len() - 1].to_vec(), [value, &[0][..]].concat()]
}

#[test]
fn a_damaged_object() {
    let engine = engine();
    for (i, (at, value)) in records(&engine, Space::Objects).into_iter().enumerate() {
        for wreck in wrecks(&value) {
            let mut store = with(&engine, Space::Objects, &at, wreck);
            let key = key(i as u8);
            is_damage(store.read(P, &key), Space::Objects);
            let dot = store.next_dot(P).unwrap();
            is_damage(store.apply(P, &key, Object::delete(Clock::new()), &[dot]), Space::Objects);
            is_damage(store.delta(P, &Clock::new(), &mut Reading::new(), ALL), Space::Objects);
            is_damage(store.delta_of(P, &Clock::new(), &key), Space::Objects);
            is_damage(store.recount(P), Space::Objects);
            is_damage(store.list(P, b"bk", b"", b"", 10, |_| true), Space::Objects);
            let none = Clock::new();
            is_damage(store.scan(P).unwrap().page(&none, &Bytes::new(), ALL), Space::Objects);
            if i == 2 {
                is_damage(store.strip(P, 10), Space::Objects);
            }
        }
    }
}

#[test]
fn a_damaged_index() {
    let engine = engine();
    let entries: Vec<_> =
        records(&engine, Space::Index).into_iter().filter(|r| r.0.len() == 27 && r.0[2] == 1).collect();
    assert_eq!(entries.len(), 4);
    for (i, (at, value)) in entries.into_iter().enumerate() {
        let [foreign, _, _] = wrecks(&value);
        for wreck in [foreign, value[..8].to_vec(), Vec::new()] {
            let mut store = with(&engine, Space::Index, &at, wreck);
            // The last entry is newer than the checkpoint: the copy does not even open.
            is_damage(store.delta(P, &Clock::new(), &mut Reading::new(), ALL), Space::Index);
            match store.read(P, &key(1)) {
                Ok(object) => assert!(i != 3 && object.values.len() == 1),
                damage => is_damage(damage, Space::Index),
            }
        }
        let mut engine = engine.clone();
        engine.write(&[Step::Delete(Space::Index, at)], true).unwrap();
        let mut store = Store::open(engine, NodeId(1), 9, Past::Whole).unwrap();
        if i < 3 {
            is_damage(store.delta(P, &Clock::new(), &mut Reading::new(), ALL), Space::Index); // a hole: a write nobody is told of
        }
    }
}

#[test]
fn a_damaged_list_of_what_is_not_stripped() {
    let engine = engine();
    let at = Bytes::from_static(&[0, 5, 2, 0xff]);
    let mut store = with(&engine, Space::Index, &at, vec![1]);
    is_damage(store.strip(P, 10), Space::Index);
}

#[test]
fn a_damaged_checkpoint() {
    let engine = engine();
    let (at, value) = records(&engine, Space::Clocks).remove(0);
    for wreck in wrecks(&value).into_iter().chain([Vec::new()]) {
        let mut store = with(&engine, Space::Clocks, &at, wreck);
        is_damage(store.find(P).map(|c| c.is_some()), Space::Clocks);
        is_damage(store.read(P, &key(0)), Space::Clocks);
        is_damage(store.told(P), Space::Clocks);
        is_damage(store.next_dot(P), Space::Clocks);
        is_damage(store.apply(P, &key(0), Object::default(), &[]), Space::Clocks);
        is_damage(store.delta(P, &Clock::new(), &mut Reading::new(), ALL), Space::Clocks);
        // What is damaged is discarded whole, and begins anew.
        store.discard(P).unwrap();
        store.commit(true).unwrap();
        assert!(store.find(P).unwrap().is_none());
        assert!(store.copy(P).unwrap().actor().life > 1);
        assert_eq!(store.read(P, &key(0)).unwrap(), Object::default());
    }
}

#[test]
fn a_damaged_word_on_lives() {
    let engine = engine();
    let engine = Store::open(engine, NodeId(1), 20, Past::MayLack).unwrap().into_engine();
    for (at, _) in records(&engine, Space::Meta) {
        for wreck in [&b"short"[..], &[0xff; 8], &[]] {
            let mut engine = engine.clone();
            engine.write(&[Step::Put(Space::Meta, at.clone(), Bytes::copy_from_slice(wreck))], true).unwrap();
            is_damage(Store::open(engine, NodeId(1), 30, Past::Whole).map(|_| ()), Space::Meta);
        }
    }
}

/// Whatever byte is flipped, a key that has a value is not read as absent.
#[test]
fn no_flipped_byte_makes_an_object_absent() {
    let engine = engine();
    for (i, (at, value)) in records(&engine, Space::Objects).into_iter().enumerate() {
        for byte in 0..value.len() {
            for bit in 0..8 {
                let mut wreck = value.to_vec();
                wreck[byte] ^= 1 << bit;
                let mut store = with(&engine, Space::Objects, &at, wreck);
                match store.read(P, &key(i as u8)) {
                    Ok(object) => assert!(!object.values.is_empty(), "byte {byte}, bit {bit}"),
                    Err(e) => assert!(matches!(e, EngineError::Damaged { .. }), "{e}"),
                }
            }
        }
    }
}
