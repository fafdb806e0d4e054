//! The engine in memory. It forgets on a crash what was not synced, which no real disk does at a test's command.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::engine::{Engine, EngineError, Space, Step, View};

type Records = [BTreeMap<Bytes, Bytes>; 4];

/// Ordered maps, and how to take back what was not synced.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    records: Records,
    /// For each record changed since the last sync: what it was then.
    unsynced: BTreeMap<(Space, Bytes), Option<Bytes>>,
    syncs: u64,
}

/// A copy of the maps.
#[derive(Debug, Clone)]
pub struct MemorySnapshot(Records);

impl MemoryEngine {
    /// An empty disk.
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// A power cut: everything since the last durable write or sync is gone.
    pub fn lose_unsynced(&mut self) {
        for ((space, key), former) in std::mem::take(&mut self.unsynced) {
            match former {
                Some(value) => self.records[space.index()].insert(key, value),
                None => self.records[space.index()].remove(&key),
            };
        }
    }

    /// Is there something that a power cut would take?
    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// How often something was made durable.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    fn set(&mut self, space: Space, key: &Bytes, value: Option<Bytes>) {
        let former = match value {
            Some(value) => self.records[space.index()].insert(key.clone(), value),
            None => self.records[space.index()].remove(key),
        };
        self.unsynced.entry((space, key.clone())).or_insert(former);
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
        for step in steps {
            match step {
                Step::Put(space, key, value) => self.set(*space, key, Some(value.clone())),
                Step::Delete(space, key) => self.set(*space, key, None),
                Step::DeleteRange(space, from, to) => {
                    let keys: Vec<Bytes> = range(&self.records, *space, from, to).map(|(k, _)| k.clone()).collect();
                    keys.iter().for_each(|k| self.set(*space, k, None));
                }
            }
        }
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
