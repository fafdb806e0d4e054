//! Invariant 8: no false word. An error that says that nothing was changed is not later seen as an effect, and nothing is
//! returned that nobody wrote.

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Failure, Keys};
use dynode_storage::Dot;

use super::Live;
use crate::world::journal::{Kind, OpId};
use crate::world::{Outcome, Violation, World};

const NAME: &str = "8 no false word";

impl World {
    /// A write has got a dot: that must be the first for both.
    pub(crate) fn check_new_dot(&self, op: OpId, dot: Dot) -> Result<(), Violation> {
        if let Some(former) = self.journal.by_dot.get(&dot) {
            let what = format!("#{op} has the dot of #{former}: {dot}");
            return Err(Violation::new("1 no acknowledged write is lost", what));
        }
        match self.journal.op(op) {
            op if op.dot.is_some() => Err(Violation::new(NAME, format!("#{} is written twice", op.id))),
            op if matches!(op.outcome, Outcome::Failed(_)) => {
                Err(Violation::new(NAME, format!("#{} had failed, and is written now", op.id)))
            }
            _ => Ok(()),
        }
    }

    /// What a failure says about an operation.
    pub(crate) fn failed(&self, id: OpId, failure: &Failure) -> Result<Outcome, Violation> {
        let op = self.journal.op(id);
        let unknown = matches!(failure.code, ErrorCode::OutcomeUnknown | ErrorCode::Internal);
        if unknown && op.kind != Kind::Get {
            return Ok(Outcome::Unknown);
        }
        if op.dot.is_some() {
            let what = format!("#{id} was said to have changed nothing ({}), and has a dot", failure.code.as_str());
            return Err(Violation::new(NAME, what));
        }
        if failure.code == ErrorCode::QuorumNotMet && failure.received >= failure.needed {
            let what = format!("#{id}: quorum not met with {} of {}", failure.received, failure.needed);
            return Err(Violation::new(NAME, what));
        }
        Ok(Outcome::Failed(failure.code))
    }

    /// A read has returned these writes' values.
    pub(crate) fn check_found(&self, read: OpId, writers: &[OpId], context: &Bytes) -> Result<(), Violation> {
        let key = self.journal.op(read).key;
        for writer in writers {
            self.check_value(key, *writer).map_err(|v| Violation { detail: format!("#{read}: {}", v.detail), ..v })?;
        }
        self.check_no_twins(read, writers)?;
        self.check_siblings(read, writers, context)?;
        self.check_strict(read, writers)
    }

    /// A listing names only keys that there are.
    pub(crate) fn check_keys(&self, op: OpId, keys: &Keys) -> Result<(), Violation> {
        let strange = keys.keys.iter().find(|k| !self.journal.keys.iter().any(|known| known.key() == &k[..]));
        match strange {
            Some(key) => Err(Violation::new(NAME, format!("#{op} lists {}, which nobody wrote", key.escape_ascii()))),
            None => Ok(()),
        }
    }

    pub(crate) fn check_values_true(&self, live: &Live) -> Result<(), Violation> {
        for (key, writers) in live.iter().enumerate() {
            writers.iter().try_for_each(|writer| self.check_value(key, *writer))?;
        }
        Ok(())
    }

    /// May this write's value be at this key?
    fn check_value(&self, key: usize, writer: OpId) -> Result<(), Violation> {
        let what = match self.journal.ops.get(writer as usize) {
            None => format!("a value of #{writer}, which never was"),
            Some(op) if op.kind != Kind::Put || op.key != key => format!("a value of #{writer}, which wrote elsewhere"),
            // What one attempt was said not to have done, another may have.
            Some(_) if self.journal.repeated.has(writer) => return Ok(()),
            Some(op) if op.void => format!("the value of #{writer}, which a crash undid before anybody heard of it"),
            Some(op) if matches!(op.outcome, Outcome::Failed(_)) => {
                format!("the value of #{writer}, which was said to have changed nothing")
            }
            Some(_) => return Ok(()),
        };
        Err(Violation::new(NAME, what))
    }
}
