//! A machine's disk: the engine in memory, and what may be wrong with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::rc::Rc;

use bytes::Bytes;
use dynode_ring::PartitionId;
use dynode_storage::engine::Step;
use dynode_storage::memory::{MemoryEngine, MemorySnapshot};
use dynode_storage::{Engine, EngineError, Space, View};

/// What is wrong with a disk that is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It takes nothing more, and has taken nothing of what it refuses.
    Full,
    /// It fails to write or to sync, and has perhaps taken what it was given.
    Fails,
}

/// The world's hand on a disk that a process has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hand {
    trouble: Rc<Cell<Option<Trouble>>>,
    /// Records whose checksum does not fit any more. Until they are written anew, reading them is an error.
    rotten: Rc<RefCell<BTreeSet<(Space, Bytes)>>>,
}

impl Hand {
    pub(crate) fn get(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    pub(crate) fn set(&self, trouble: Option<Trouble>) {
        self.trouble.set(trouble);
    }

    /// Damages a record.
    pub(crate) fn rot(&self, space: Space, key: Bytes) {
        self.rotten.borrow_mut().insert((space, key));
    }

    /// The disk is another.
    pub(crate) fn mend(&self) {
        self.trouble.set(None);
        self.rotten.borrow_mut().clear();
    }

    /// Is a record of this partition damaged?
    pub(crate) fn is_rotten(&self, partition: PartitionId) -> bool {
        self.rotten.borrow().iter().any(|(_, key)| key.starts_with(&partition.0.to_be_bytes()))
    }

    fn first_rotten(&self, space: Space, from: &[u8], to: &[u8]) -> Option<Bytes> {
        let rotten = self.rotten.borrow();
        let from = (space, Bytes::copy_from_slice(from));
        let mut after = rotten.range((Bound::Included(from), Bound::Unbounded));
        after.next().filter(|(s, key)| *s == space && key[..] < *to).map(|(_, key)| key.clone())
    }

    fn get_from(&self, view: &impl View, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.first_rotten(space, key, &[key, &[0]].concat()) {
            Some(_) => Err(damage(space, key)),
            None => view.get(space, key),
        }
    }

    fn scan_of(
        &self,
        view: &impl View,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let Some(rotten) = self.first_rotten(space, from, to) else {
            return view.scan(space, from, to, visit);
        };
        let mut goes_on = true;
        view.scan(space, from, &rotten, &mut |key, value| {
            goes_on = visit(key, value);
            goes_on
        })?;
        if goes_on { Err(damage(space, &rotten)) } else { Ok(()) }
    }

    /// What is written is sound.
    fn overwrite(&self, steps: &[Step]) {
        let mut rotten = self.rotten.borrow_mut();
        if rotten.is_empty() {
            return;
        }
        for step in steps {
            match step {
                Step::Put(space, key, _) | Step::Delete(space, key) => drop(rotten.remove(&(*space, key.clone()))),
                Step::DeleteRange(space, from, to) => {
                    rotten.retain(|(s, key)| s != space || key[..] < from[..] || key[..] >= to[..]);
                }
            }
        }
    }
}

fn damage(space: Space, key: &[u8]) -> EngineError {
    let partition = key.get(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes).map(PartitionId);
    EngineError::Damaged { place: space.name(), partition, detail: "simulated: a checksum does not fit".into() }
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    memory: MemoryEngine,
    trouble: Hand,
}

impl Disk {
    /// An empty disk of a machine.
    pub(crate) fn new(hand: &Hand) -> Disk {
        Disk { memory: MemoryEngine::new(), trouble: hand.clone() }
    }

    /// What is on the disk now, with nothing wrong.
    pub(crate) fn image(&self) -> MemoryEngine {
        self.memory.clone()
    }

    /// A disk with this on it.
    pub(crate) fn with(memory: MemoryEngine, hand: &Hand) -> Disk {
        Disk { memory, trouble: hand.clone() }
    }

    /// A power cut.
    pub(crate) fn lose_unsynced(&mut self) {
        self.memory.lose_unsynced();
    }

    /// A power cut that leaves the first so many of the batches that were not synced.
    pub(crate) fn cut_power(&mut self, survivors: usize) {
        self.memory.cut_power(survivors);
    }

    /// How many batches a power cut could take.
    pub(crate) fn unsynced_batches(&self) -> usize {
        self.memory.unsynced_batches()
    }

    fn refusal(&self) -> Option<EngineError> {
        self.trouble.get().map(|trouble| EngineError::Failed(format!("simulated: {trouble:?}")))
    }
}

/// The disk as it was. What has become damaged since cannot be read of it either.
pub(crate) struct DiskSnapshot {
    memory: MemorySnapshot,
    hand: Hand,
}

impl View for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.trouble.get_from(&self.memory, space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        self.trouble.scan_of(&self.memory, space, from, to, visit)
    }
}

impl View for DiskSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.hand.get_from(&self.memory, space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        self.hand.scan_of(&self.memory, space, from, to, visit)
    }
}

impl Engine for Disk {
    type Snapshot = DiskSnapshot;

    fn snapshot(&self) -> DiskSnapshot {
        DiskSnapshot { memory: self.memory.snapshot(), hand: self.trouble.clone() }
    }

    fn write(&mut self, steps: &[Step], durable: bool) -> Result<(), EngineError> {
        match self.refusal() {
            None => {
                self.trouble.overwrite(steps);
                self.memory.write(steps, durable)
            }
            Some(refusal) => {
                if self.trouble.get() == Some(Trouble::Fails) {
                    self.memory.write(steps, false)?;
                }
                Err(refusal)
            }
        }
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.refusal().map_or_else(|| self.memory.sync(), Err)
    }

    fn size(&self, space: Space) -> u64 {
        self.memory.size(space)
    }

    fn size_between(&self, space: Space, from: &[u8], to: &[u8]) -> u64 {
        self.memory.size_between(space, from, to)
    }
}
