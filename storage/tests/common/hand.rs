//! Copies led by hand: two or three stores, one partition, and short words for what they do to each other.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::{Budget, Page, Scan};
use dynode_storage::memory::{MemoryEngine, MemorySnapshot};
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Dot, Object, ObjectKey, Past, Payload, Refused, Store};

pub const P: PartitionId = PartitionId(7);
pub const ALL: Budget = Budget { bytes: usize::MAX, keys: usize::MAX };
pub const ONE: Budget = Budget { bytes: 1, keys: 1 };

pub type Mem = Store<MemoryEngine>;

pub fn store(node: u64) -> Mem {
    Store::open(MemoryEngine::new(), NodeId(node), 1, Past::Whole).unwrap()
}

pub fn key(i: u8) -> ObjectKey {
    ObjectKey::new(b"bk", &[b'a' + i])
}

pub fn put(store: &mut Mem, key: &ObjectKey, value: &'static [u8], context: Clock) -> Dot {
    let dot = store.next_dot(P).unwrap();
    assert_eq!(store.apply(P, key, Object::put(dot, Bytes::from_static(value), context), &[dot]).unwrap(), Ok(1));
    dot
}

pub fn replace(store: &mut Mem, key: &ObjectKey, value: &'static [u8]) -> Dot {
    let context = store.read(P, key).unwrap().client_context();
    put(store, key, value, context)
}

pub fn delete(store: &mut Mem, key: &ObjectKey) -> Dot {
    let context = store.read(P, key).unwrap().client_context();
    let dot = store.next_dot(P).unwrap();
    assert_eq!(store.apply(P, key, Object::delete(context), &[dot]).unwrap(), Ok(1));
    dot
}

pub fn values(store: &mut Mem, key: &ObjectKey) -> Vec<Bytes> {
    let here = |p: Payload| p.bytes().cloned().expect("a stored value is here");
    store.read(P, key).unwrap().values.into_iter().map(|s| here(s.value)).collect()
}

pub fn clock(store: &mut Mem) -> Clock {
    store.copy(P).unwrap().clock().clone()
}

/// Pulls by delta, all at once.
pub fn pull(to: &mut Mem, from: &mut Mem) {
    let asker = clock(to);
    let delta = from.delta(P, &asker, &mut Reading::new(), ALL).unwrap().expect("the index reaches back");
    to.absorb_delta(P, delta.entries).unwrap().unwrap();
    to.absorb_closed(P, &delta.closed).unwrap();
}

/// The index of `at` goes, on the word of a copy that contains all.
pub fn cut(at: &mut Mem) {
    let own = clock(at);
    at.cut_index(P, &[&own]).unwrap();
}

pub fn page(scan: &mut Scan<MemorySnapshot>, to: &mut Mem, after: &Bytes, budget: Budget) -> Page {
    scan.page(&clock(to), after, budget).unwrap()
}

pub fn take(to: &mut Mem, before: &Bytes, page: Page) -> Result<(), Refused> {
    to.absorb_page(P, before, &page.after, page.done, page.parts).unwrap().map(|_| ())
}
