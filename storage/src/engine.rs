//! What a copy needs of a disk: ordered spaces, atomic batches, a sync that is separate from a write, snapshots.

use bytes::Bytes;
use dynode_ring::PartitionId;

/// The ordered key spaces of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// (partition, bucket, key) -> object.
    Objects,
    /// (partition, actor, counter) -> key, and the list of what is not stripped yet.
    Index,
    /// partition -> checkpoint.
    Clocks,
    /// The node's own records: identity, lives.
    Meta,
}

impl Space {
    /// Every space, in the order of [`Space::index`].
    pub const ALL: [Space; 4] = [Space::Objects, Space::Index, Space::Clocks, Space::Meta];

    /// Its place in [`Space::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its stable name on disk and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Space::Objects => "objects",
            Space::Index => "index",
            Space::Clocks => "clocks",
            Space::Meta => "meta",
        }
    }
}

/// An engine's refusal. After a failed write or sync nothing is known of the batch: the node must stop acknowledging.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The disk or the engine failed.
    #[error("storage failed: {0}")]
    Failed(String),
    /// What was read is damaged: a checksum or a form does not fit. Never taken for "not found".
    #[error("storage is damaged ({place}{}): {detail}", of(*partition))]
    Damaged {
        /// Which space.
        place: &'static str,
        /// The only copy that it concerns; `None`: the engine itself is damaged, and no copy on it can be relied on.
        partition: Option<PartitionId>,
        /// What does not fit.
        detail: String,
    },
}

fn of(partition: Option<PartitionId>) -> String {
    partition.map_or_else(String::new, |p| format!(" of partition {p}"))
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Set a record.
    Put(Space, Bytes, Bytes),
    /// Remove a record.
    Delete(Space, Bytes),
    /// Remove all records of `from..to`.
    DeleteRange(Space, Bytes, Bytes),
}

/// What is read from: the engine as it is, or a snapshot of it.
pub trait View {
    /// The record of `key`.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits the records of `from..to` in order until `visit` returns false.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError>;
}

impl<V: View> View for &V {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        (**self).get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        (**self).scan(space, from, to, visit)
    }
}

/// A disk, or what stands for one.
pub trait Engine: View {
    /// A view that stays as the engine was.
    type Snapshot: View;

    /// Keeps the present state readable, cheaply.
    fn snapshot(&self) -> Self::Snapshot;

    /// Performs the steps in order, all or none. `durable`: survives a power cut once this returns, with everything
    /// written before it; else it survives only the end of the process until the next durable write or [`Engine::sync`].
    /// Of what was not durable a power cut leaves the first so many writes, never a later one without an earlier.
    fn write(&mut self, steps: &[Step], durable: bool) -> Result<(), EngineError>;

    /// Makes everything written so far survive a power cut.
    fn sync(&mut self) -> Result<(), EngineError>;

    /// Keeps what is stored now beside the data under this name, for people to look at: cheaply, or not at all. Returns
    /// where, or `None` when the engine has no such place or no room for more.
    fn set_aside(&mut self, name: &str) -> Result<Option<String>, EngineError> {
        let _ = name;
        Ok(None)
    }

    /// How the engine is doing, for metrics: names and numbers, where it has any.
    fn figures(&self) -> Vec<(&'static str, Vec<u64>)> {
        Vec::new()
    }

    /// About how many bytes a space takes, as the engine knows it without reading the data.
    fn size(&self, space: Space) -> u64;

    /// About how many bytes the records of `from..to` take, as the engine knows it without reading the data; what was
    /// written last may not be counted yet.
    fn size_between(&self, space: Space, from: &[u8], to: &[u8]) -> u64;
}
