//! `dynode start`: opens the data, listens, and runs the shell until it is told to stop.

use std::path::PathBuf;

use dynode_storage::rocks::{Options, RocksEngine};
use dynode_storage::seal::SealKey;
use dynode_storage::{EngineError, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::Settings;
use crate::limits;
use crate::protocol::{Config, Durability, Node, Time};
use crate::shell::data::{self, DataError, Identity};
use crate::shell::{self, Setup};

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {why}; is another node running there? choose another `listen`")]
    Listen {
        /// The address.
        addr: String,
        /// What the system says.
        why: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error("{}: {why}", place.display())]
    Data {
        /// The directory.
        place: PathBuf,
        /// Why.
        why: DataError,
    },
    /// A file beside the data cannot be written.
    #[error("{}: {why}", place.display())]
    File {
        /// The file.
        place: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The disk failed or is damaged while the node ran.
    #[error("the node stopped, and acknowledges nothing any more: {0}")]
    Disk(EngineError),
    /// The runtime could not be made.
    #[error("the system refused what the node needs: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a node until SIGTERM or SIGINT.
pub fn run(settings: Settings) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), StartError> {
    let group = settings.durability == Durability::Group;
    let on_data = |why: DataError| StartError::Data { place: settings.data.clone(), why };
    std::fs::create_dir_all(&settings.data).map_err(|why| StartError::File { place: settings.data.clone(), why })?;
    // The address first: a second node of the same configuration must not touch the data of the first.
    let listener = TcpListener::bind(&settings.listen)
        .await
        .map_err(|why| StartError::Listen { addr: settings.listen.clone(), why })?;
    let mut engine = RocksEngine::open(&settings.data, Options::default()).map_err(|e| on_data(e.into()))?;
    let identity = Identity::new(settings.cluster, settings.node, &settings.name);
    let past = data::begin_run(&mut engine, &identity, group).map_err(on_data)?;
    if past == dynode_storage::store::Past::MayLack {
        warn!("the machine was restarted without a clean stop: every copy begins a new life");
    }
    let store = Store::open(engine, settings.node, data::first_life(), past).map_err(|e| on_data(e.into()))?;
    let config = Config {
        node: settings.node,
        name: settings.name.clone(),
        cluster: settings.cluster,
        layout: settings.layout.clone(),
        durability: settings.durability,
        seal: SealKey::derive(&settings.secret),
        index_entries_max: limits::INDEX_ENTRIES_MAX,
        hint_bytes_max: limits::HINT_BYTES_MAX,
    };
    let node = Node::new(config, store, rand::random(), Time(0)).map_err(|e| on_data(e.into()))?;
    if let Some(place) = &settings.pid_file {
        std::fs::write(place, format!("{}\n", std::process::id()))
            .map_err(|why| StartError::File { place: place.clone(), why })?;
    }
    let addr = listener.local_addr()?;
    info!(name = %settings.name, node = %settings.node, %addr, data = %settings.data.display(), "dynode is up");

    let setup =
        Setup { cluster: settings.cluster, secret: settings.secret.clone(), name: settings.name.clone(), listener };
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let stopped = shell::run(node, setup, asked).await.and_then(Node::close).and_then(|mut engine| {
        data::end_run(&mut engine, group)?;
        Ok(())
    });
    if let Err(why) = stopped {
        error!("{why}");
        return Err(StartError::Disk(why));
    }
    if let Some(place) = &settings.pid_file {
        let _ = std::fs::remove_file(place);
    }
    info!("stopped cleanly");
    Ok(())
}
