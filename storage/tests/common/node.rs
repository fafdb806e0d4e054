//! One node of the world: a store over the engine in memory, and what the node remembers beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::Scan;
use dynode_storage::memory::{MemoryEngine, MemorySnapshot};
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Past, Space, Store, View};

use super::oracle::{Oracle, Truth};
use super::world::{Letter, op_of};

/// Where a scan goes on that this node has asked for.
#[derive(Debug, Clone)]
pub struct Asking {
    pub source: usize,
    pub id: u64,
    pub after: Bytes,
}

pub struct Node {
    pub id: NodeId,
    pub partition: PartitionId,
    pub store: Store<MemoryEngine>,
    /// The letters of the present turn: they leave when it is committed.
    pub outbox: Vec<Letter>,
    /// Which layout it goes by.
    pub epoch: usize,
    /// What owners said, under this node's present layout, that they have synced.
    pub heard: BTreeMap<usize, Clock>,
    /// All lives of these nodes below these are refused: their dots are taken only from nodes that refuse them too, and
    /// nothing at all that was sent in one of them. Kept where no fault takes it back.
    pub refused: BTreeMap<NodeId, u64>,
    /// What was on the disk at some time.
    pub backup: Option<(MemoryEngine, Truth)>,
    pub asking: Option<Asking>,
    /// Scans that others take from here, with the truth of when they began.
    pub scans: BTreeMap<u64, (Scan<MemorySnapshot>, Rc<Truth>)>,
    /// The last delta that came said that there is more.
    pub more: bool,
    /// What was read for deltas, by asker: kept whatever happens to the copy, since that must do no harm.
    pub readings: BTreeMap<usize, Reading>,
    /// What truly came here, and what of it is synced.
    pub truth: Truth,
    pub synced: Truth,
    /// After each turn since the last sync: how many batches are unsynced, and what of the truth they hold.
    pub turns: Vec<(usize, Truth)>,
}

impl Node {
    pub fn new(id: u64, partition: PartitionId, first_life: u64) -> Node {
        let id = NodeId(id);
        Node {
            id,
            partition,
            store: Store::open(MemoryEngine::new(), id, first_life, Past::Whole).unwrap(),
            outbox: Vec::new(),
            epoch: 0,
            heard: BTreeMap::new(),
            refused: BTreeMap::new(),
            backup: None,
            asking: None,
            scans: BTreeMap::new(),
            more: false,
            readings: BTreeMap::new(),
            truth: Truth::default(),
            synced: Truth::default(),
            turns: Vec::new(),
        }
    }

    /// Commits a turn without a sync.
    pub fn end_unsynced_turn(&mut self) {
        self.store.commit(false).unwrap();
        let batches = self.store.engine().unsynced_batches();
        self.turns.retain(|(written, _)| *written < batches);
        if batches > 0 {
            self.turns.push((batches, self.truth.clone()));
        }
    }

    pub fn has_copy(&mut self) -> bool {
        self.store.find(self.partition).unwrap().is_some()
    }

    pub fn is_scanning(&mut self) -> bool {
        self.store.find(self.partition).unwrap().is_some_and(|c| c.is_scanning())
    }

    pub fn clock(&mut self) -> Clock {
        self.store.find(self.partition).unwrap().map_or_else(Clock::new, |c| c.clock().clone())
    }

    /// The life in which this node's next letter is sent, and below which all of its lives have ended.
    pub fn life(&mut self) -> u64 {
        match self.store.find(self.partition).unwrap() {
            Some(copy) => copy.actor().life,
            None => self.store.next_life(),
        }
    }

    /// Opens what is on this disk; all that was only in memory is gone.
    pub fn reopen(&mut self, engine: MemoryEngine, first_life: u64, past: Past) {
        self.store = Store::open(engine, self.id, first_life, past).unwrap();
        self.outbox.clear();
        self.heard.clear();
        self.asking = None;
        self.scans.clear();
        self.turns.clear();
    }

    /// The end of the process, or of the power.
    pub fn take_engine(&mut self) -> MemoryEngine {
        let empty = Store::open(MemoryEngine::new(), self.id, 0, Past::Whole).unwrap();
        std::mem::replace(&mut self.store, empty).into_engine()
    }

    /// What must hold at any time between two turns.
    pub fn check(&mut self, oracle: &Oracle) {
        for (key, reflected) in &self.truth.reflects {
            let object = self.store.read(self.partition, key).unwrap();
            let values: BTreeSet<_> = object.values.iter().map(|s| op_of(&s.value)).collect();
            let expected = oracle.values(reflected);
            assert_eq!(values, expected, "the values of {key}, where {reflected:?} are reflected");
        }
        self.store.commit(false).unwrap();
        let Some(copy) = self.store.find(self.partition).unwrap().cloned() else { return };
        let disk = self.store.engine();
        let (from, to) = (self.partition.0.to_be_bytes(), bound(self.partition));
        let (mut entries, mut listed, mut contexts) = (0u64, BTreeSet::new(), BTreeSet::new());
        disk.scan(Space::Index, &from, &to, &mut |at, _| {
            match at[2] {
                1 => entries += 1,
                _ => assert!(listed.insert(at[3..].to_vec())),
            }
            true
        })
        .unwrap();
        assert_eq!(entries, copy.indexed(), "every dot above the watermark has its index entry");
        disk.scan(Space::Objects, &from, &to, &mut |at, value| {
            let object = dynode_storage::codec::decode_object(Bytes::copy_from_slice(value)).unwrap();
            assert!(!object.values.is_empty() || !object.context.is_empty(), "an object of nothing is stored");
            if !object.context.is_empty() {
                contexts.insert(at[2..].to_vec());
            }
            true
        })
        .unwrap();
        assert_eq!(listed, contexts, "what is not stripped is on the list");
        assert!(listed.is_empty() || copy.maybe_unstripped(), "the list is not forgotten");
        assert_eq!(self.store.recount(self.partition).unwrap().0, copy.content(), "the set hash is kept");
        let mut again = Store::open(self.store.engine().clone(), self.id, u64::MAX / 2, Past::Whole).unwrap();
        let found = again.find(self.partition).unwrap().expect("a copy that was written is found").clone();
        assert_eq!(found.clock(), copy.clock(), "opened anew: the clock");
        assert_eq!(found.watermark(), copy.watermark(), "opened anew: the watermark");
        assert_eq!(found.content(), copy.content(), "opened anew: the set hash");
        assert_eq!(found.actor(), copy.actor(), "opened anew: the actor");
        assert_eq!(found.is_scanning(), copy.is_scanning(), "opened anew: the scans");
    }
}

/// The end of a partition's records.
pub fn bound(partition: PartitionId) -> Vec<u8> {
    partition.0.checked_add(1).map_or_else(|| vec![0xff; 3], |next| next.to_be_bytes().to_vec())
}
