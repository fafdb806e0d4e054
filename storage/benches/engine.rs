//! What a write and a read cost, bare and through the store. Prints a table; takes half a minute.
//!
//!     cargo test --release -p dynode-storage --features rocksdb --bench engine
//!     cargo test --release -p dynode-storage --features rocksdb --bench engine -- apply    only rows of this name

#![allow(clippy::disallowed_methods)] // a bench reads the clock

use std::time::{Duration, Instant};

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
#[cfg(feature = "rocksdb")]
use dynode_storage::engine::Step;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::{Actor, Clock, Dot, Engine, Object, ObjectKey, Past, Store, codec};

const KEYS: u64 = 200_000;
const BATCH: u64 = 32;
const PARTITIONS: u16 = 64;
const ROUNDS: usize = 5;

/// Keys in an order that hits partitions and keys as hashing does.
fn nth(i: u64) -> (PartitionId, ObjectKey) {
    let n = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % KEYS;
    let partition = (n.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 40) as u16 % PARTITIONS;
    (PartitionId(partition), ObjectKey::new(b"bench", format!("user{n:012}").as_bytes()))
}

fn value(i: u64) -> Bytes {
    (0..16u64).flat_map(|n| (i + n).wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()).collect::<Vec<u8>>().into()
}

/// The median over rounds, in microseconds an operation.
fn measure(name: &str, count: u64, mut once: impl FnMut(u64)) -> f64 {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    if !name.contains(&wanted) {
        return 0.0;
    }
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..ROUNDS as u64 {
        let start = Instant::now();
        (round * count..(round + 1) * count).for_each(&mut once);
        times.push(start.elapsed());
    }
    times.sort();
    let us = times[ROUNDS / 2].as_secs_f64() * 1e6 / count as f64;
    println!("| {name:<58} | {us:>8.3} | {:>10.0} |", 1e6 / us);
    us
}

fn store<E: Engine>(engine: E) -> Store<E> {
    Store::open(engine, NodeId(1), 1, Past::Whole).unwrap()
}

fn apply<E: Engine>(store: &mut Store<E>, i: u64, durable: bool) {
    let (partition, key) = nth(i);
    let dot = store.next_dot(partition).unwrap();
    // What a client sends that has read before: a context of this partition's clock.
    let context = store.copy(partition).unwrap().clock().floor();
    store.apply(partition, &key, Object::put(dot, value(i), context), &[dot]).unwrap().unwrap();
    if i % BATCH == BATCH - 1 {
        store.commit(durable).unwrap();
    }
}

fn through_the_store<E: Engine>(name: &str, store: &mut Store<E>, count: u64) {
    measure(&format!("{name}: apply (object + index), batches of 32"), count, |i| apply(store, i, false));
    store.commit(false).unwrap();
    measure(&format!("{name}: Store::read"), count, |i| {
        let (partition, key) = nth(i * 7);
        std::hint::black_box(store.read(partition, &key).unwrap());
    });
}

#[cfg(feature = "rocksdb")]
fn bare<E: Engine>(name: &str, engine: &mut E, count: u64) {
    let mut steps = Vec::new();
    measure(&format!("{name}: put of 128 bytes, batches of 32"), count, |i| {
        let (_, key) = nth(i);
        steps.push(Step::Put(dynode_storage::Space::Objects, key.as_bytes().clone(), value(i)));
        if steps.len() as u64 == BATCH {
            engine.write(&steps, false).unwrap();
            steps.clear();
        }
    });
    measure(&format!("{name}: put of 128 bytes and an index entry, batches of 32"), count, |i| {
        let (partition, key) = nth(i);
        let index = codec::encode_index(&key, i);
        steps.push(Step::Put(dynode_storage::Space::Objects, key.as_bytes().clone(), value(i)));
        let at = [&partition.0.to_be_bytes()[..], &[0; 17], &i.to_be_bytes()].concat();
        steps.push(Step::Put(dynode_storage::Space::Index, at.into(), index.into()));
        if steps.len() as u64 == 2 * BATCH {
            engine.write(&steps, false).unwrap();
            steps.clear();
        }
    });
    measure(&format!("{name}: get"), count, |i| {
        let (_, key) = nth(i * 7);
        std::hint::black_box(engine.get(dynode_storage::Space::Objects, key.as_bytes()).unwrap());
    });
    measure(&format!("{name}: get of what is not there"), count, |i| {
        let key = ObjectKey::new(b"bench", format!("nobody{i:010}").as_bytes());
        std::hint::black_box(engine.get(dynode_storage::Space::Objects, key.as_bytes()).unwrap());
    });
}

/// Bytes of metadata, counted and not timed.
fn sizes() {
    let key = ObjectKey::new(b"bench", b"user000000000001");
    let dot = Dot { actor: Actor { node: NodeId(u64::MAX), life: u64::MAX }, counter: 10_000_000 };
    let object = Object::put(dot, value(1), Clock::new());
    let settled = codec::encode_object(&object).len() - value(1).len();
    let index = 27 + codec::encode_index(&key, u64::MAX).len() - key.as_bytes().len();
    println!("\nmetadata of a settled key: {settled} bytes beside key and value (and 2 of the partition in its place)");
    println!("an index entry: {index} bytes beside its key");
}

fn main() {
    println!("| {:<58} | {:>8} | {:>10} |", "", "us", "a second");
    println!("|{:-<60}|{:->10}|{:->12}|", "", ":", ":");
    measure("making the key and the value of an operation", KEYS, |i| drop(std::hint::black_box((nth(i), value(i)))));
    through_the_store("memory", &mut store(MemoryEngine::new()), KEYS / 4);
    #[cfg(feature = "rocksdb")]
    {
        use dynode_storage::RocksEngine;
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| RocksEngine::open(directory.path().join(name), Default::default()).unwrap();
        bare("rocksdb", &mut open("bare"), KEYS);
        let mut store = store(open("store"));
        through_the_store("rocksdb", &mut store, KEYS);
        measure("rocksdb: apply, batches of 32, synced", KEYS / 20, |i| apply(&mut store, i, true));
        measure("rocksdb: collect, 64 partitions", 64, |i| {
            (0..BATCH).for_each(|n| apply(&mut store, i * BATCH + n, false));
            let partition = PartitionId(i as u16 % PARTITIONS);
            let own = store.copy(partition).unwrap().clock().clone();
            store.collect(partition, &[&own]).unwrap();
        });
        println!("\n{:?}", store.engine().stats());
    }
    sizes();
}
