//! A data directory: whose it is, how the last run on it ended, and what that means for the lives of its copies.
//!
//! Two records in the engine's `meta` space. *Identity*: cluster, node, name; a directory of another node or cluster is
//! refused. *Run*: the machine's boot id, the durability, and whether the run was ended cleanly. A process that was killed
//! has lost nothing, since the operating system still had it all; only when the machine itself was restarted can writes
//! that others have seen be missing, and then every copy begins a new life (`group` excepted: there nothing leaves the
//! node before it is synced). With it stands what marked the directory (`start/here.rs`): a copy of one, such as a backup,
//! lacks what was done since, and forgets what it says of its lives. Where that cannot be seen peers tell
//! (`protocol/lives.rs`).

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
    /// What marks the directory, as soon as the run has begun.
    #[serde(default)]
    here: Option<String>,
    /// What marked it before.
    #[serde(default)]
    before: Option<String>,
}

impl Run {
    /// Is a directory with this mark the one of that run, and no copy?
    fn was(&self, found: Option<&str>) -> bool {
        self.here.is_none()
            || (found.is_some() && [&self.here, &self.before].iter().any(|mark| mark.as_deref() == found))
    }
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
/// one ended. `synced_before_sent`: this run has durability `group`. `found` is what marks the directory, if anything does,
/// and `fresh` what will.
pub fn begin_run<E: Engine>(
    engine: &mut E,
    wanted: &Identity,
    synced_before_sent: bool,
    found: Option<&str>,
    fresh: &str,
) -> Result<Past, DataError> {
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
        Some(last) if !last.was(found) => Past::MayLack,
        Some(last) if last.clean || last.synced_before_sent => Past::Whole,
        Some(last) if !boot.is_empty() && last.boot == boot => Past::Whole,
        Some(_) => Past::Unsynced,
    };
    // A copy stays one until its lives have begun, whenever this process ends.
    let before = found.filter(|_| past != Past::MayLack).map(str::to_owned);
    let here = Some(fresh.to_owned());
    steps.push(record(RUN, &Run { format: 1, boot, synced_before_sent, clean: false, here, before }));
    engine.write(&steps, true)?;
    Ok(past)
}

/// Notes that the run ended cleanly: everything is synced.
pub fn end_run<E: Engine>(engine: &mut E, synced_before_sent: bool) -> Result<(), EngineError> {
    // This run has written it: it can be read, or the directory has no mark.
    let (here, before) = match read::<E, Run>(engine, RUN, "run") {
        Ok(Some(run)) => (run.here, run.before),
        _ => (None, None),
    };
    engine
        .write(&[record(RUN, &Run { format: 1, boot: boot_id(), synced_before_sent, clean: true, here, before })], true)
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
        begin_run(&mut engine, &identity("a"), true, None, "1").unwrap();
        let refused = begin_run(&mut engine, &identity("b"), true, Some("1"), "2").unwrap_err().to_string();
        assert!(refused.contains("node `a`") && refused.contains("not to node `b`"), "{refused}");
        assert_eq!(begin_run(&mut engine, &identity("a"), true, Some("1"), "3").unwrap(), Past::Whole);
    }

    #[test]
    fn a_copy_of_a_directory_begins_new_lives_however_its_last_run_ended() {
        let mut engine = MemoryEngine::new();
        let mut begin = |found, fresh| begin_run(&mut engine, &identity("a"), true, found, fresh).unwrap();
        assert_eq!(begin(None, "1"), Past::Whole);
        assert_eq!(begin(Some("1"), "2"), Past::Whole);
        // Ended before the file took its place.
        assert_eq!(begin(Some("1"), "3"), Past::Whole);
        assert_eq!(begin(Some("copy of 3"), "4"), Past::MayLack);
        assert_eq!(begin(Some("copy of 3"), "4"), Past::MayLack, "ended before its lives had begun");
        assert_eq!(begin(Some("4"), "5"), Past::Whole, "its lives have begun");
        assert_eq!(begin(None, "6"), Past::MayLack);
        end_run(&mut engine, true).unwrap();
        let mut begin = |found, fresh| begin_run(&mut engine, &identity("a"), true, found, fresh).unwrap();
        assert_eq!(begin(Some("copy of 6"), "7"), Past::MayLack, "a clean end says nothing of what came later");
        assert_eq!(begin(Some("7"), "8"), Past::Whole);
    }

    #[test]
    fn only_another_boot_without_group_may_have_lost_something() {
        let begin = |last: Run| {
            let mut engine = MemoryEngine::new();
            engine.write(&[record(RUN, &last)], true).unwrap();
            begin_run(&mut engine, &identity("a"), false, None, "1").unwrap()
        };
        let run = |boot: &str, synced_before_sent, clean| Run {
            format: 1,
            boot: boot.into(),
            synced_before_sent,
            clean,
            here: None,
            before: None,
        };
        assert_eq!(begin(run("another", false, false)), Past::Unsynced);
        assert_eq!(begin(run("another", true, false)), Past::Whole);
        assert_eq!(begin(run("another", false, true)), Past::Whole);
        assert_eq!(begin(run(&boot_id(), false, false)), Past::Whole);
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let mut engine = MemoryEngine::new();
        engine.write(&[Step::Put(Space::Meta, Bytes::from_static(IDENTITY), Bytes::from_static(b"{"))], true).unwrap();
        assert!(matches!(
            begin_run(&mut engine, &identity("a"), true, None, "1"),
            Err(DataError::Unreadable("identity"))
        ));
    }
}
