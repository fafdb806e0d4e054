//! The data directory: opening it, and making a sound database of a damaged one.
//!
//! ```text
//! data/db                  the database
//! data/db.rebuilding       what is being made of a damaged one; removed at a start, where `db` is there too
//! data/damaged-…           damaged databases, set aside for people; never removed by a node
//! data/rolled-back         the next opening begins new lives, whatever the database says of its end
//! data/run                 tells the directory from copies of it
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use dynode_storage::Store;
use dynode_storage::engine::EngineError;
use dynode_storage::rocks::{LogDamage, Options, RocksEngine, RocksWreck};
use dynode_storage::salvage::{Ownership, Salvaged, salvage};
use dynode_storage::store::Past;
use tracing::{error, info, warn};

use super::StartError;
use super::here::Here;
use crate::config::Settings;
use crate::protocol::Durability;
use crate::shell::data::{self, DataError, Identity};

/// Why there is no store.
pub(super) enum Trouble {
    /// Another node's data, an unreadable configuration: nothing that waiting could change.
    Refused(StartError),
    /// The disk failed, or is damaged.
    Engine(EngineError),
}

/// Why a damaged database was not replaced. It is as it was.
pub(super) enum NotRebuilt {
    /// They are another node's data.
    Foreign(DataError),
    /// Something would be lost that no other node has.
    OnlyCopy(String),
    /// The disk failed meanwhile.
    Engine(EngineError),
}

fn db(settings: &Settings) -> PathBuf {
    settings.data.join("db")
}

fn rebuilding(settings: &Settings) -> PathBuf {
    settings.data.join("db.rebuilding")
}

fn rolled_back(settings: &Settings) -> PathBuf {
    settings.data.join("rolled-back")
}

fn identity(settings: &Settings) -> Identity {
    Identity::new(settings.cluster, settings.node, &settings.name)
}

fn failed(what: &str, place: &Path, why: &std::io::Error) -> EngineError {
    EngineError::Failed(format!("{}: cannot {what}: {why}", place.display()))
}

/// Opens the copies. `may_lack`: the disk failed in a mode that acknowledges before it syncs.
pub(super) fn open(settings: &Settings, may_lack: bool) -> Result<Store<RocksEngine>, Trouble> {
    settle(settings).map_err(Trouble::Engine)?;
    let (db, note) = (db(settings), rolled_back(settings));
    let with = |log_damage| RocksEngine::open(&db, Options { log_damage, ..Options::default() });
    let mut engine = match with(LogDamage::Whole) {
        Err(EngineError::Damaged { detail, .. }) => {
            // A torn end is what a power cut leaves, and what a flipped bit may look like: then a synced write is gone.
            mark(&note).map_err(Trouble::Engine)?;
            let engine = with(LogDamage::Refuse).map_err(Trouble::Engine)?;
            warn!("the end of the write-ahead log is torn, every copy begins a new life: {detail}");
            engine
        }
        other => other.map_err(Trouble::Engine)?,
    };
    let here = Here::look(&settings.data).map_err(|e| Trouble::Engine(failed("mark it", &settings.data, &e)))?;
    let group = settings.durability == Durability::Group;
    let past = data::begin_run(&mut engine, &identity(settings), group, here.found.as_deref(), &here.fresh);
    let past = past.map_err(|why| match why {
        DataError::Engine(why) => Trouble::Engine(why),
        why => Trouble::Refused(StartError::Data { place: settings.data.clone(), why }),
    })?;
    match past {
        Past::Whole => {}
        Past::Unsynced => warn!("the machine was restarted without a clean stop: every copy begins a new life"),
        Past::MayLack => warn!("the data were put back, or copied from elsewhere: every copy begins a new life"),
    }
    let past = if may_lack || note.exists() { Past::MayLack } else { past };
    let store = Store::open(engine, settings.node, data::first_life(), past).map_err(Trouble::Engine)?;
    // The store keeps in its own records from which life on copies go on.
    if note.exists() {
        std::fs::remove_file(&note).map_err(|e| Trouble::Engine(failed("remove it", &note, &e)))?;
    }
    here.settle().map_err(|e| Trouble::Engine(failed("mark it", &settings.data, &e)))?;
    Ok(store)
}

/// Ends what an earlier process began: the renaming of a rebuilt database, or its making.
fn settle(settings: &Settings) -> Result<(), EngineError> {
    let (db, fresh) = (db(settings), rebuilding(settings));
    std::fs::create_dir_all(&settings.data).map_err(|e| failed("make it", &settings.data, &e))?;
    match (db.exists(), fresh.exists()) {
        (true, true) => std::fs::remove_dir_all(&fresh).map_err(|e| failed("remove it", &fresh, &e)),
        (false, true) => std::fs::rename(&fresh, &db).map_err(|e| failed("rename it", &fresh, &e)),
        (_, false) => Ok(()),
    }
}

fn mark(note: &Path) -> Result<(), EngineError> {
    let write = || {
        File::create(note)?.sync_all()?;
        File::open(note.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|e| failed("write it", note, &e))
}

/// Makes a database of what can be relied on in the damaged one, and puts it in its place; the damaged one is set aside.
/// `progress` hears how many partitions were looked at.
pub(super) fn rebuild(settings: &Settings, progress: impl FnMut(u32)) -> Result<Salvaged, NotRebuilt> {
    let (db, fresh) = (db(settings), rebuilding(settings));
    settle(settings).map_err(NotRebuilt::Engine)?;
    let (wreck, log_is_whole) = match RocksWreck::open(&db, Options::default()) {
        Ok((wreck, whole)) => (Some(wreck), whole),
        Err(why) => {
            error!("nothing of the damaged database can be read: {why}");
            (None, false)
        }
    };
    if let Some(wreck) = &wreck {
        data::check_owner(wreck, &identity(settings)).map_err(NotRebuilt::Foreign)?;
    }
    // What was changed since the cluster was made is stored.
    let layout = &wreck.as_ref().and_then(data::last_layout).unwrap_or_else(|| settings.layout.clone());
    let ownership = |partition| match (layout.owns(settings.node, partition), layout.owners(partition).len()) {
        (true, 1) => Ownership::Alone,
        (true, _) => Ownership::Shared,
        (false, _) => Ownership::Others,
    };
    let partitions: Vec<_> = layout.partition_ids().map(|p| (p, ownership(p))).collect();
    let alone = partitions.iter().any(|(_, ownership)| *ownership == Ownership::Alone);
    if alone && !log_is_whole {
        let why = "synced writes may be behind the damage, and no other node owns what this one owns";
        return Err(NotRebuilt::OnlyCopy(why.into()));
    }
    let made = make(settings, wreck.as_ref(), &fresh, &partitions, progress)?;
    drop(wreck);
    let aside = set_aside_as(settings);
    let swap = || {
        mark(&rolled_back(settings))?;
        std::fs::rename(&db, &aside).map_err(|e| failed("rename it", &db, &e))?;
        std::fs::rename(&fresh, &db).map_err(|e| failed("rename it", &fresh, &e))?;
        File::open(&settings.data).and_then(|dir| dir.sync_all()).map_err(|e| failed("sync it", &settings.data, &e))
    };
    swap().map_err(NotRebuilt::Engine)?;
    tell(&made, &aside);
    Ok(made)
}

fn make(
    settings: &Settings,
    wreck: Option<&RocksWreck>,
    fresh: &Path,
    partitions: &[(dynode_ring::PartitionId, Ownership)],
    progress: impl FnMut(u32),
) -> Result<Salvaged, NotRebuilt> {
    let salvage = || {
        let mut target = RocksEngine::open(fresh, Options::default())?;
        salvage(wreck, &mut target, settings.node, partitions.iter().copied(), progress)
    };
    let made = salvage().map_err(NotRebuilt::Engine)?;
    let owned_alone = |p| partitions.iter().any(|(q, ownership)| *q == p && *ownership == Ownership::Alone);
    match made.only_here.iter().find(|(partition, _)| owned_alone(*partition)) {
        None => Ok(made),
        Some((partition, why)) => {
            let _ = std::fs::remove_dir_all(fresh);
            let why = format!("partition {partition} is damaged, and no other node owns it: {why}");
            Err(NotRebuilt::OnlyCopy(why))
        }
    }
}

/// A name that is not taken: `damaged-<seconds since 1970>`.
fn set_aside_as(settings: &Settings) -> PathBuf {
    let seconds = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let names = (0..).map(|n| settings.data.join(format!("damaged-{}", seconds + n)));
    names.into_iter().find(|place| !place.exists()).unwrap_or_else(|| settings.data.join("damaged"))
}

fn tell(made: &Salvaged, aside: &Path) {
    let list = |found: &[(dynode_ring::PartitionId, String)]| {
        let said: Vec<String> = found.iter().map(|(partition, why)| format!("{partition} ({why})")).collect();
        said.join("; ")
    };
    info!(
        salvaged = made.whole.len(),
        bytes = made.bytes,
        to_rebuild = made.lost.len(),
        aside = %aside.display(),
        "the damaged database was replaced; all that was salvaged begins new lives, and answers reads when it has heard \
         from the other owners"
    );
    if !made.lost.is_empty() {
        warn!("copies that are rebuilt from the other owners: {}", list(&made.lost));
    }
    if !made.only_here.is_empty() {
        error!(
            "copies of partitions that this node does not own, damaged; what only they had is in what was set aside: {}",
            list(&made.only_here)
        );
    }
}
