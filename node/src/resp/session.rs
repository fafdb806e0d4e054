//! What a connection is known by.

use super::codec::Protocol;

/// One connection's state. There is no other: what it does to keys stands in the keys' lanes.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) id: i64,
    pub(super) protocol: Protocol,
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
    /// It has said farewell.
    pub(super) quits: bool,
}

impl Session {
    /// As `CLIENT INFO` has it.
    pub(super) fn line(&self) -> String {
        let Session { id, name, library, library_version, .. } = self;
        let version = if self.protocol == Protocol::V3 { 3 } else { 2 };
        format!("id={id} name={name} db=0 user=default resp={version} lib-name={library} lib-ver={library_version}\n")
    }
}
