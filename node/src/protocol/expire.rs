//! Values that have expired leave, as by an ordinary delete of just those values.
//!
//! Readers do not see them from their moment on, whoever coordinates ([`super::shown`]): the moment is part of the value,
//! and the same on every copy. What takes them away is a delete with a dot of its own, by the first owner that can be
//! reached, once they have been expired for a while. So a clock that is wrong removes nothing that a right one still shows,
//! and copies with equal clocks stay equal. Two owners that both take themselves for the first do no harm.
//!
//! The owner walks through all its keys for that, a few at a time, and only once it has seen any value that expires.

use bytes::Bytes;
use dynode_ring::PartitionId;
use dynode_storage::{Clock, Dot, Engine, EngineError, Object, ObjectKey};

use super::shown;
use super::{Effects, Node, Time};
use crate::limits;

/// The note that says that there are values which expire.
const NOTE: &[u8] = b"expires";

/// How far the walk has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Values that expire were seen here.
    expected: bool,
    partition: u16,
    /// The last key that was looked at; empty: none of the partition yet.
    after: Bytes,
}

impl Walk {
    pub(super) fn load<E: Engine>(store: &dynode_storage::Store<E>) -> Result<Walk, EngineError> {
        Ok(Walk { expected: !store.notes(NOTE)?.is_empty(), ..Walk::default() })
    }
}

impl<E: Engine> Node<E> {
    /// There are values that expire, from now on.
    pub(super) fn expect_expiry(&mut self) {
        if !self.walk.expected {
            self.walk.expected = true;
            self.store.note(NOTE, &[]);
        }
    }

    /// Values came to this copy: does one of them expire?
    pub(super) fn look_for_expiry(&mut self, object: &Object) {
        let expires = |values: Vec<shown::Valued>| values.iter().any(|v| v.meta.expires_ms.is_some());
        if !self.walk.expected && shown::values(object).is_ok_and(expires) {
            self.expect_expiry();
        }
    }

    /// Goes on with the walk, and lets go of what has been expired for long enough.
    pub(super) fn walk(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        if !self.walk.expected {
            return Ok(());
        }
        let me = self.config.node;
        let partition = PartitionId(self.walk.partition);
        let is_first = |p| self.config.layout.owners(p).iter().find(|n| self.is_up(**n)) == Some(&me);
        let owned: Vec<PartitionId> = self.config.layout.owned_by(me).filter(|p| is_first(*p)).collect();
        let Some(partition) = owned.iter().copied().find(|p| *p >= partition).or(owned.first().copied()) else {
            return Ok(());
        };
        if partition.0 != self.walk.partition {
            (self.walk.partition, self.walk.after) = (partition.0, Bytes::new());
        }
        let may_write = self.withheld(partition).is_none()
            && self.knows_its_lives(now, partition).is_ok()
            && self.not_compared(now, partition)?.is_none()
            && self.store.find(partition)?.is_some_and(|copy| !copy.is_recovering());
        let slice = match may_write {
            true => self.store.walk(partition, &self.walk.after, limits::WALK_KEYS, limits::WALK_BYTES)?,
            false => Vec::new(),
        };
        match slice.last() {
            Some((last, _)) => self.walk.after = last.as_bytes().clone(),
            None => (self.walk.partition, self.walk.after) = (partition.0.wrapping_add(1), Bytes::new()),
        }
        let over = self.wall.ms(now).saturating_sub(limits::EXPIRED_KEPT.0 / 1000);
        for (key, object) in slice {
            let values = self.values_of(partition, &object)?;
            let expired: Vec<Dot> = values.iter().filter(|v| v.meta.has_expired(over)).map(|v| v.dot).collect();
            if !expired.is_empty() {
                self.let_expire(partition, &key, &expired, out)?;
            }
        }
        Ok(())
    }

    /// Deletes just these values. The others hear of it by the next sync.
    fn let_expire(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        values: &[Dot],
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let mut seen = Clock::new();
        values.iter().for_each(|dot| seen.add(*dot));
        self.begin_life_if_behind(partition, &seen, out)?;
        self.be_sure_of_life(partition)?;
        let dot = self.store.next_dot(partition)?;
        self.counters.values_expired += values.len() as u64;
        // A delta of a dot that was never seen, without values, cannot be refused.
        let _ = self.store.apply(partition, key, Object::delete(seen), &[dot])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
