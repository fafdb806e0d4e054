//! Small records of the node's own, beside the copies: what the layer above wants to find again after a restart. They are
//! written with the turn's batch.

use bytes::Bytes;

use crate::codec::FORMAT;
use crate::engine::{Engine, EngineError, Space, Step};
use crate::store::Store;

/// Where they are stored, in [`Space::Meta`]: this, and their name.
const PREFIX: &[u8] = b"note/";

impl<E: Engine> Store<E> {
    /// Stores a note under its name, in place of a former one.
    pub fn note(&mut self, name: &[u8], text: &[u8]) {
        let at = Bytes::from([PREFIX, name].concat());
        self.turn.push(Step::Put(Space::Meta, at, Bytes::from([&[FORMAT], text].concat())));
    }

    /// The committed notes whose names begin with `prefix`, by name, without that prefix.
    pub fn notes(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let from = [PREFIX, prefix].concat();
        let (mut notes, mut wrong) = (Vec::new(), false);
        self.engine.scan(Space::Meta, &from, &[PREFIX, &[0xff; 3]].concat(), &mut |at, value| {
            let Some(name) = at.strip_prefix(&from[..]) else { return false };
            match value {
                [FORMAT, text @ ..] => notes.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(text))),
                _ => wrong = true,
            }
            !wrong
        })?;
        match wrong {
            false => Ok(notes),
            true => {
                let detail = "a note that cannot be read".into();
                Err(EngineError::Damaged { place: Space::Meta.name(), partition: None, detail })
            }
        }
    }
}
