//! Copies that cannot be relied on.
//!
//! Absence plus clock means deleted, so a copy that lost something must not say a word of what it has. A damaged copy is
//! set aside, discarded whole and begun anew in a new life, *rebuilding*: it takes writes and syncs, but until it contains
//! what the other owners' copies contain it answers no read. Where there is no other owner nothing could bring the
//! data back: such a copy is *shelved*, neither shown nor touched, until a person decides. Both are stored, so that a
//! restart forgets nothing of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_ring::PartitionId;

use crate::codec::FORMAT;
use crate::engine::{Engine, EngineError, Space, Step};
use crate::store::Store;

/// Where it is stored, in [`Space::Meta`]: this and the partition, big-endian.
const PREFIX: &[u8] = b"quarantine/";

/// Why a copy is not relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quarantine {
    /// It may lack what it once had, and is being brought up to date from the other owners.
    Rebuilding,
    /// It is damaged, and no other node has one: it is left as it is.
    Shelved,
}

impl<E: Engine> Store<E> {
    /// Whether and why the partition's copy is not relied on.
    pub fn quarantine(&self, partition: PartitionId) -> Option<Quarantine> {
        self.quarantined.get(&partition).copied()
    }

    /// All copies that are not relied on, in order.
    pub fn quarantined(&self) -> impl Iterator<Item = (PartitionId, Quarantine)> + '_ {
        self.quarantined.iter().map(|(p, q)| (*p, *q))
    }

    pub(crate) fn is_shelved(&self, partition: PartitionId) -> bool {
        self.quarantine(partition) == Some(Quarantine::Shelved)
    }

    /// Discards a damaged copy that other owners can rebuild, after setting it aside where the engine can. Returns where.
    /// The node's next copy of the partition is empty, in a new life, and rebuilding.
    pub fn rebuild(&mut self, partition: PartitionId) -> Result<Option<String>, EngineError> {
        let name = format!("damaged-{partition}-{}", self.take_life());
        let aside = self.engine.set_aside(&name)?;
        self.set(partition, Some(Quarantine::Rebuilding)); // with the discard, in one batch
        self.discard(partition)?;
        Ok(aside)
    }

    /// Leaves a damaged copy as it is and shows it no more: there is no other.
    pub fn shelve(&mut self, partition: PartitionId) {
        self.forget(partition);
        self.set(partition, Some(Quarantine::Shelved));
    }

    /// The copy contains again what the others contain, and is relied on.
    pub fn end_rebuild(&mut self, partition: PartitionId) {
        if self.quarantine(partition) == Some(Quarantine::Rebuilding) {
            self.set(partition, None);
        }
    }

    fn set(&mut self, partition: PartitionId, quarantine: Option<Quarantine>) {
        self.turn.push(step(partition, quarantine));
        match quarantine {
            Some(quarantine) => self.quarantined.insert(partition, quarantine),
            None => self.quarantined.remove(&partition),
        };
    }
}

/// The step that stores it.
pub(crate) fn step(partition: PartitionId, quarantine: Option<Quarantine>) -> Step {
    let at = Bytes::from([PREFIX, &partition.0.to_be_bytes()].concat());
    match quarantine {
        Some(Quarantine::Rebuilding) => Step::Put(Space::Meta, at, Bytes::from_static(&[FORMAT, 1])),
        Some(Quarantine::Shelved) => Step::Put(Space::Meta, at, Bytes::from_static(&[FORMAT, 2])),
        None => Step::Delete(Space::Meta, at),
    }
}

/// Reads all that is stored of it.
pub(crate) fn load<E: Engine>(engine: &E) -> Result<BTreeMap<PartitionId, Quarantine>, EngineError> {
    let mut found = BTreeMap::new();
    let mut wrong = false;
    let end = [PREFIX, &[0xff; 3]].concat();
    engine.scan(Space::Meta, PREFIX, &end, &mut |at, value| {
        let partition = at.get(PREFIX.len()..).and_then(|p| p.try_into().ok()).map(u16::from_be_bytes);
        match (partition, value) {
            (Some(p), [FORMAT, 1]) => found.insert(PartitionId(p), Quarantine::Rebuilding),
            (Some(p), [FORMAT, 2]) => found.insert(PartitionId(p), Quarantine::Shelved),
            _ => {
                wrong = true;
                None
            }
        };
        !wrong
    })?;
    match wrong {
        false => Ok(found),
        true => {
            let detail = "a quarantine that cannot be read".into();
            Err(EngineError::Damaged { place: Space::Meta.name(), partition: None, detail })
        }
    }
}
