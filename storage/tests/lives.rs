//! What a thousand unclean restarts leave behind: little, once the lives that have ended are closed.

mod common;

use common::hand::*;
use dynode_ring::NodeId;
use dynode_storage::codec::encode_clock;
use dynode_storage::{Clock, ObjectKey, Past, Space, Store, View};

const RESTARTS: u64 = 1_000;
const KEYS: u8 = 20;

/// What is held of one copy, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    clock: usize,
    client_context: usize,
    checkpoint: usize,
    object_stored: usize,
    index: usize,
}

/// Three copies; before each write the copy that takes it loses power, and begins a new life. `closing`: with the closing
/// of the lives that have ended, ten restarts at a time.
fn live(closing: bool) -> Sizes {
    let mut stores: Vec<Mem> = (1..=3).map(store).collect();
    for n in 0..RESTARTS {
        let at = (n % 3) as usize;
        let old = std::mem::replace(&mut stores[at], store(9));
        let mut engine = old.into_engine();
        engine.lose_unsynced();
        stores[at] = Store::open(engine, NodeId(at as u64 + 1), (n + 2) << 22, Past::MayLack).unwrap();
        replace(&mut stores[at], &key((n % u64::from(KEYS)) as u8), b"value");
        stores[at].commit(true).unwrap();
        for other in (0..3).filter(|other| *other != at) {
            let [from, to] = stores.get_disjoint_mut([at, other]).unwrap();
            pull(to, from);
            to.commit(true).unwrap();
        }
        if closing && n % 10 == 9 {
            let lives: Vec<(NodeId, u64)> = (0..3)
                .map(|i| (NodeId(i as u64 + 1), stores[i].find(P).unwrap().map_or(1, |copy| copy.actor().life)))
                .collect();
            let closer = (n / 10 % 3) as usize;
            assert!(stores[closer].close_lives(P, &lives).unwrap());
            for other in (0..3).filter(|other| *other != closer) {
                let [from, to] = stores.get_disjoint_mut([closer, other]).unwrap();
                pull(to, from);
            }
        }
        let clocks: Vec<Clock> = stores.iter_mut().map(clock).collect();
        for (at, store) in stores.iter_mut().enumerate() {
            let others: Vec<&Clock> = clocks.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, c)| c).collect();
            store.collect(P, &others).unwrap();
            store.strip(P, 100).unwrap();
            store.commit(true).unwrap();
        }
    }
    let clocks: Vec<Clock> = stores.iter_mut().map(clock).collect();
    assert!(clocks.iter().all(|c| *c == clocks[0]), "the copies are equal");
    sizes(&mut stores[0], &key(0))
}

fn sizes(store: &mut Mem, key: &ObjectKey) -> Sizes {
    store.close().unwrap();
    let context = store.read(P, key).unwrap().client_context();
    let clock = encode_clock(&clock(store)).len();
    let stored = |space, from: &[u8], to: &[u8]| {
        let mut bytes = 0;
        let mut add = |at: &[u8], value: &[u8]| (bytes += at.len() + value.len(), true).1;
        store.engine().scan(space, from, to, &mut add).unwrap();
        bytes
    };
    let object = store.engine().get(Space::Objects, &[&[0, 7][..], key.as_bytes()].concat()).unwrap().unwrap();
    Sizes {
        clock,
        client_context: encode_clock(&context).len(),
        checkpoint: stored(Space::Clocks, &[], &[0xff; 3]),
        object_stored: object.len() - b"value".len(),
        index: stored(Space::Index, &[], &[0xff; 3]),
    }
}

#[test]
fn a_thousand_unclean_restarts_leave_little_behind() {
    let (open, closed) = (live(false), live(true));
    println!("after {RESTARTS} unclean restarts of three copies, bytes: {open:?} with lives left open");
    println!("after {RESTARTS} unclean restarts of three copies, bytes: {closed:?} with lives closed");
    assert!(open.clock > 16_000, "else there is nothing to close");
    for size in [closed.clock, closed.client_context, closed.checkpoint] {
        assert!(size < 1024, "{closed:?}");
    }
    assert!(closed.object_stored < 64, "a settled key has one dot: {closed:?}");
    assert!(closed.index == 0, "nothing is left in the index: {closed:?}");
}
