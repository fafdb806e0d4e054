//! A data directory: whose it is, how the last run on it ended, and what that means for the lives of its copies.
//!
//! Two records in the engine's `meta` space. *Identity*: cluster, node, name; a directory of another node or cluster is
//! refused. *Run*: the machine's boot id, the durability, and whether the run was ended cleanly. A process that was killed
//! has lost nothing, since the operating system still had it all; only when the machine itself was restarted can writes
//! that others have seen be missing, and then every copy begins a new life (`group` excepted: there nothing leaves the
//! node before it is synced). A directory restored from a backup cannot know it: its peers tell (`protocol/lives.rs`).

use bytes::Bytes;
use dynode_ring::{Layout, NodeId};
use dynode_storage::engine::Step;
use dynode_storage::store::Past;
use dynode_storage::{Engine, EngineError, Space, Store, View};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::protocol::agree::Stored;

const IDENTITY: &[u8] = b"identity";
const RUN: &[u8] = b"run";

/// Whose data these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The form of this record.
    pub format: u8,
    /// The cluster's id, in hexadecimal.
    pub cluster: String,
    /// The node's id, in hexadecimal.
    pub node: String,
    /// The node's name.
    pub name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Run {
    format: u8,
    boot: String,
    synced_before_sent: bool,
    clean: bool,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It belongs to another node or cluster.
    #[error(
        "these data belong to node `{}` of cluster {}, not to node `{}` of cluster {}: give the right directory, or an empty one",
        found.name, found.cluster, wanted.name, wanted.cluster
    )]
    Foreign {
        /// Whose they are.
        found: Box<Identity>,
        /// Who wanted them.
        wanted: Box<Identity>,
    },
    /// A record about the directory itself makes no sense.
    #[error("the record `{0}` of the data directory cannot be read: is it damaged, or of a newer version?")]
    Unreadable(&'static str),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Identity {
    /// The identity of a node.
    pub fn new(cluster: [u8; 16], node: NodeId, name: &str) -> Identity {
        let cluster = cluster.iter().map(|b| format!("{b:02x}")).collect();
        Identity { format: 1, cluster, node: node.to_string(), name: name.into() }
    }
}

/// Refuses data of another node or cluster, as far as it can be read whose they are.
pub fn check_owner<V: View>(view: &V, wanted: &Identity) -> Result<(), DataError> {
    match read::<V, Identity>(view, IDENTITY, "identity") {
        Ok(Some(found)) if found.cluster != wanted.cluster || found.node != wanted.node => {
            Err(DataError::Foreign { found: Box::new(found), wanted: Box::new(wanted.clone()) })
        }
        _ => Ok(()),
    }
}

/// Checks whose data these are (an empty directory becomes `wanted`'s), notes that a run begins, and says how the last
/// one ended. `synced_before_sent`: this run has durability `group`.
pub fn begin_run<E: Engine>(engine: &mut E, wanted: &Identity, synced_before_sent: bool) -> Result<Past, DataError> {
    let mut steps = Vec::new();
    match read::<E, Identity>(engine, IDENTITY, "identity")? {
        Some(found) if found.cluster == wanted.cluster && found.node == wanted.node => {}
        Some(found) => {
            return Err(DataError::Foreign { found: Box::new(found), wanted: Box::new(wanted.clone()) });
        }
        None => steps.push(record(IDENTITY, wanted)),
    }
    let boot = boot_id();
    let past = match read::<E, Run>(engine, RUN, "run")? {
        None => Past::Whole,
        Some(last) if last.clean || last.synced_before_sent => Past::Whole,
        Some(last) if !boot.is_empty() && last.boot == boot => Past::Whole,
        Some(_) => Past::Unsynced,
    };
    steps.push(record(RUN, &Run { format: 1, boot, synced_before_sent, clean: false }));
    engine.write(&steps, true)?;
    Ok(past)
}

/// Notes that the run ended cleanly: everything is synced.
pub fn end_run<E: Engine>(engine: &mut E, synced_before_sent: bool) -> Result<(), EngineError> {
    engine.write(&[record(RUN, &Run { format: 1, boot: boot_id(), synced_before_sent, clean: true })], true)
}

/// Is it stored who owns what?
pub fn has_layout<E: Engine>(store: &Store<E>) -> Result<bool, EngineError> {
    Ok(matches!(Stored::read(|name| store.record(name))?, Ok(stored) if stored.layout().is_some()))
}

/// The layout that was gone by last, where that can be read of a damaged database.
pub fn last_layout<V: View>(view: &V) -> Option<Layout> {
    let stored = Stored::read(|name| view.get(Space::Meta, name.as_bytes()));
    stored.ok()?.ok()?.layout().cloned()
}

/// A life number greater than any the node has had, from where a lost or restored disk cannot take it back: milliseconds
/// of the wall clock in the upper bits, random lower bits against a clock that was set back.
pub fn first_life() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> 20);
    (millis << 20) | rand::rng().random_range(0..1 << 20)
}

/// The kernel's id of the present boot; empty where there is none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_string()).unwrap_or_default()
}

fn record(key: &'static [u8], value: &impl Serialize) -> Step {
    let json = serde_json::to_vec(value).unwrap_or_default();
    Step::Put(Space::Meta, Bytes::from_static(key), json.into())
}

fn read<V: View, T: for<'a> Deserialize<'a>>(
    engine: &V,
    key: &[u8],
    name: &'static str,
) -> Result<Option<T>, DataError> {
    match engine.get(Space::Meta, key)? {
        Some(json) => serde_json::from_slice(&json).map(Some).map_err(|_| DataError::Unreadable(name)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynode_storage::memory::MemoryEngine;

    fn identity(name: &str) -> Identity {
        Identity::new([7; 16], NodeId(u64::from(name.as_bytes()[0])), name)
    }

    #[test]
    fn a_directory_of_another_node_is_refused_and_left_alone() {
        let mut engine = MemoryEngine::new();
        begin_run(&mut engine, &identity("a"), true).unwrap();
        let refused = begin_run(&mut engine, &identity("b"), true).unwrap_err().to_string();
        assert!(refused.contains("node `a`") && refused.contains("not to node `b`"), "{refused}");
        assert_eq!(begin_run(&mut engine, &identity("a"), true).unwrap(), Past::Whole);
    }

    #[test]
    fn only_another_boot_without_group_may_have_lost_something() {
        let begin = |last: Run| {
            let mut engine = MemoryEngine::new();
            engine.write(&[record(RUN, &last)], true).unwrap();
            begin_run(&mut engine, &identity("a"), false).unwrap()
        };
        let run =
            |boot: &str, synced_before_sent, clean| Run { format: 1, boot: boot.into(), synced_before_sent, clean };
        assert_eq!(begin(run("another", false, false)), Past::Unsynced);
        assert_eq!(begin(run("another", true, false)), Past::Whole);
        assert_eq!(begin(run("another", false, true)), Past::Whole);
        assert_eq!(begin(run(&boot_id(), false, false)), Past::Whole);
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let mut engine = MemoryEngine::new();
        engine.write(&[Step::Put(Space::Meta, Bytes::from_static(IDENTITY), Bytes::from_static(b"{"))], true).unwrap();
        assert!(matches!(begin_run(&mut engine, &identity("a"), true), Err(DataError::Unreadable("identity"))));
    }
}
