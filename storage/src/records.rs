//! The node's own records in [`Space::Meta`], written with the turn's batch: what it must not forget beside its copies.

use bytes::Bytes;

use crate::engine::{Engine, EngineError, Space, Step};
use crate::store::Store;

impl<E: Engine> Store<E> {
    /// What is stored under a name, as of the last commit.
    pub fn record(&self, name: &str) -> Result<Option<Bytes>, EngineError> {
        self.engine().get(Space::Meta, name.as_bytes())
    }

    /// Stores something under a name, in one batch with the rest of the turn. Until a durable commit
    /// [`Store::must_sync`] says so, whatever the node's setting for writes is.
    pub fn set_record(&mut self, name: &'static str, value: Bytes) {
        self.turn.push(Step::Put(Space::Meta, Bytes::from_static(name.as_bytes()), value));
        self.unsynced_records = true;
    }

    /// Was a record set that a power cut would take? Then the turn's commit must be durable.
    pub fn must_sync(&self) -> bool {
        self.unsynced_records
    }
}
