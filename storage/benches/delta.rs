//! What it costs to answer with a delta, by how much the asker lacks. Prints a table; takes a minute or two.
//!
//!     cargo bench -p dynode-storage --features rocksdb --bench delta

#![allow(clippy::disallowed_methods)] // a bench reads the clock

use std::time::{Duration, Instant};

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::Budget;
use dynode_storage::codec::encode_clock;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::reading::Reading;
use dynode_storage::{Engine, Object, ObjectKey, Past, Store};

const P: PartitionId = PartitionId(3);

/// As a node asks while no clients wait.
const PART: Budget = Budget { bytes: 256 * 1024, keys: 1024 };

fn store<E: Engine>(engine: E, node: u64) -> Store<E> {
    Store::open(engine, NodeId(node), 1, Past::Whole).unwrap()
}

/// Two nodes took `count` writes in turns, of as many keys or of a tenth of them.
fn write<E: Engine>(into: &mut Store<E>, count: u64, keys: u64) {
    let mut other = store(MemoryEngine::new(), 2);
    for i in 0..count {
        let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
        let key = ObjectKey::new(b"bench", format!("user{n:012}").as_bytes());
        let dot = if i % 2 == 0 { into.next_dot(P).unwrap() } else { other.next_dot(P).unwrap() };
        let context = into.read(P, &key).unwrap().context;
        let object = Object::put(dot, Bytes::from(vec![i as u8; 128]), context);
        into.apply(P, &key, object, &[dot]).unwrap().unwrap();
        if i % 32 == 31 {
            into.commit(false).unwrap();
        }
    }
    into.commit(true).unwrap();
}

fn measure<E: Engine>(name: &str, engine: E, count: u64, keys: u64) {
    let mut source = store(engine, 1);
    write(&mut source, count, keys);
    let mut reading = Reading::new();
    let mut asker = store(MemoryEngine::new(), 3);
    let (mut parts, mut longest, mut answering, mut taking, mut asked) =
        (0u64, Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    loop {
        let clock = asker.copy(P).unwrap().clock().clone();
        asked += encode_clock(&clock).len();
        let begun = Instant::now();
        let delta = source.delta(P, &clock, &mut reading, PART).unwrap().unwrap();
        let took = begun.elapsed();
        (answering, longest, parts) = (answering + took, longest.max(took), parts + 1);
        let begun = Instant::now();
        asker.absorb_delta(P, delta.entries).unwrap().unwrap();
        asker.commit(true).unwrap();
        taking += begun.elapsed();
        if !delta.more {
            break;
        }
    }
    assert!(asker.copy(P).unwrap().clock().covers(source.copy(P).unwrap().clock()));
    println!(
        "| {name} | {count} | {} | {parts} | {:.2} | {:.1} | {:.2} | {:.2} | {:.3} |",
        keys.min(count),
        answering.as_secs_f64() * 1e3 / parts as f64,
        longest.as_secs_f64() * 1e3,
        answering.as_secs_f64() * 1e6 / count as f64,
        taking.as_secs_f64() * 1e6 / count as f64,
        asked as f64 / 1e6,
    );
}

fn main() {
    println!(
        "| engine | dots missing | keys | parts | ms a part | longest, ms | answering, us a dot | taking in, us a dot | MB asked |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for count in [1_000, 4_000, 16_000, 65_000, 262_000] {
        for keys in [u64::MAX, count / 10] {
            measure("memory", MemoryEngine::new(), count, keys);
            #[cfg(feature = "rocksdb")]
            {
                let directory = tempfile::tempdir().unwrap();
                let engine = dynode_storage::RocksEngine::open(directory.path().join("d"), Default::default()).unwrap();
                measure("rocksdb", engine, count, keys);
            }
        }
    }
}
