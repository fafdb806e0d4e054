//! The audit: no acknowledged write is missing, nothing comes back, and no error says a false word.
//!
//! Writers put values that say who they are and what they replace, under keys that nobody else uses. Each write goes
//! to a journal with its outcome: acknowledged, unknown, or failed. Nodes may be killed meanwhile. At the end every
//! key is read, and what is there is held against the journal (see [`check`]). Where reads and writes are strict, every read on
//! the way is as well (see [`register`]). The bucket must keep siblings: one that
//! lets the last writer win loses concurrent writes by its nature.

pub mod check;
pub mod journal;
pub mod register;
pub mod survey;
pub mod value;
pub mod verdict;
pub mod writers;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// Identity of one write: the writer and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The writer's number.
    pub writer: u32,
    /// The writer's count of writes, from 1.
    pub number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.writer, self.number)
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let parsed = text
            .split_once('.')
            .and_then(|(writer, number)| Some(Id { writer: writer.parse().ok()?, number: number.parse().ok()? }));
        parsed.ok_or_else(|| format!("`{text}` is not the id of a write (writer.number)"))
    }
}

/// One audit: what its keys and values are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// A word that no other audit has.
    pub name: String,
    /// Keys 0 to this, exclusive.
    pub keys: u32,
}

impl Run {
    /// The key of this number.
    pub fn key(&self, number: u32) -> Bytes {
        Bytes::from(format!("audit-{}-{number}", self.name))
    }
}
