//! A machine's disk: the engine in memory, and what may be wrong with it.

use std::cell::Cell;
use std::rc::Rc;

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
pub(crate) type Hand = Rc<Cell<Option<Trouble>>>;

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

impl View for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<bytes::Bytes>, EngineError> {
        self.memory.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        self.memory.scan(space, from, to, visit)
    }
}

impl Engine for Disk {
    type Snapshot = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        self.memory.snapshot()
    }

    fn write(&mut self, steps: &[Step], durable: bool) -> Result<(), EngineError> {
        match self.refusal() {
            None => self.memory.write(steps, durable),
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
