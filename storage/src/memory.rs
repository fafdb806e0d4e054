//! The engine in memory. It forgets on a power cut what was not synced, which no real disk does at a test's command.
//!
//! What a power cut leaves is what a write-ahead log leaves whose records have checksums: the synced batches, and of those
//! after them any number *from the first on*. A batch that was torn in the middle is gone whole, and with it all that
//! came later. A later batch never survives an earlier one: copies rely on that (a stored context is stripped of what the
//! clock said in earlier batches; were those gone, what it had seen could come back), and [`Engine::write`] promises it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Engine, EngineError, Space, Step, View};

/// Shared with snapshots; the first write after one copies the map, so that a snapshot costs nothing where nobody writes.
type Records = [Arc<BTreeMap<Bytes, Bytes>>; 4];

/// Ordered maps, and how to take back what was not synced.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    records: Records,
    /// For each batch since the last sync, how to take it back.
    unsynced: Vec<Undo>,
    syncs: u64,
}

/// What the records that a batch changed were before it, in the order of its steps.
type Undo = Vec<(Space, Bytes, Option<Bytes>)>;

/// The maps as they were.
#[derive(Debug, Clone)]
pub struct MemorySnapshot(Records);

impl MemoryEngine {
    /// An empty disk.
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// A power cut that takes everything since the last durable write or sync.
    pub fn lose_unsynced(&mut self) {
        self.cut_power(0);
    }

    /// A power cut that leaves the first `survivors` of the batches since the last durable write or sync: those that the
    /// disk had got round to. They are as durable afterwards as if they had been synced.
    pub fn cut_power(&mut self, survivors: usize) {
        let lost = self.unsynced.split_off(survivors.min(self.unsynced.len()));
        for (space, key, former) in lost.into_iter().rev().flat_map(|batch| batch.into_iter().rev()) {
            let records = Arc::make_mut(&mut self.records[space.index()]);
            match former {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
        self.unsynced.clear();
    }

    /// How many batches a power cut could take.
    pub fn unsynced_batches(&self) -> usize {
        self.unsynced.len()
    }

    /// Is there something that a power cut would take?
    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// How often something was made durable.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    fn set(&mut self, undo: &mut Undo, space: Space, key: &Bytes, value: Option<Bytes>) {
        let records = Arc::make_mut(&mut self.records[space.index()]);
        let former = match value {
            Some(value) => records.insert(key.clone(), value),
            None => records.remove(key),
        };
        undo.push((space, key.clone(), former));
    }
}

fn range<'a>(
    records: &'a Records,
    space: Space,
    from: &[u8],
    to: &[u8],
) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
    let bounds = (Bound::Included(from), Bound::Excluded(to));
    (from < to).then(|| records[space.index()].range::<[u8], _>(bounds)).into_iter().flatten()
}

fn scan(records: &Records, space: Space, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
    for (key, value) in range(records, space, from, to) {
        if !visit(key, value) {
            return;
        }
    }
}

impl View for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.records[space.index()].get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        scan(&self.records, space, from, to, visit);
        Ok(())
    }
}

impl View for MemorySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0[space.index()].get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        scan(&self.0, space, from, to, visit);
        Ok(())
    }
}

impl Engine for MemoryEngine {
    type Snapshot = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot(self.records.clone())
    }

    fn write(&mut self, steps: &[Step], durable: bool) -> Result<(), EngineError> {
        let mut undo = Undo::new();
        for step in steps {
            match step {
                Step::Put(space, key, value) => self.set(&mut undo, *space, key, Some(value.clone())),
                Step::Delete(space, key) => self.set(&mut undo, *space, key, None),
                Step::DeleteRange(space, from, to) => {
                    let keys: Vec<Bytes> = range(&self.records, *space, from, to).map(|(k, _)| k.clone()).collect();
                    keys.iter().for_each(|k| self.set(&mut undo, *space, k, None));
                }
            }
        }
        self.unsynced.push(undo);
        if durable { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.unsynced.clear();
        self.syncs += 1;
        Ok(())
    }

    fn size(&self, space: Space) -> u64 {
        self.records[space.index()].iter().map(|(k, v)| (k.len() + v.len()) as u64).sum()
    }

    fn size_between(&self, space: Space, from: &[u8], to: &[u8]) -> u64 {
        range(&self.records, space, from, to).map(|(k, v)| (k.len() + v.len()) as u64).sum()
    }
}
