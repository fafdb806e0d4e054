//! `dynode start`: opens the data, listens, and runs the shell until it is told to stop.
//!
//! When the disk fails, the node is *fenced*: nothing of the last turn was said, all connections are closed, and until the
//! disk can be opened again the node says no more than what is wrong with it ([`fenced`]). After a failed write or sync
//! nothing is known of the batch, so the database is opened anew, as after a crash. When the database is damaged, what
//! can be relied on is salvaged from it meanwhile (`start/disk.rs`).

mod disk;
mod here;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dynode_storage::rocks::RocksEngine;
use dynode_storage::seal::SealKey;
use dynode_storage::{EngineError, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use self::disk::{NotRebuilt, Trouble};
use crate::config::Settings;
use crate::http::{self, App, Times};
use crate::limits;
use crate::protocol::{Config, Durability, Node, Time};
use crate::resp;
use crate::shell::data::{self, DataError};
use crate::shell::fenced::{self, Fence};
use crate::shell::inside::Door;
use crate::shell::meter::Meter;
use crate::shell::space::Room;
use crate::shell::{self, Setup};

/// A fenced node tries its disk again after so long; doubles up to the second.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(15);

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {why}; does something else run there? choose another `{field}`")]
    Listen {
        /// What the address is for, as the configuration has it.
        field: &'static str,
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
    /// A guest that has never been told who owns what.
    #[error(
        "none of the nodes named in `join` can be reached, and nothing is known of their cluster yet: start one of them"
    )]
    NoLayout,
    /// The runtime could not be made.
    #[error("the system refused what the node needs: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
///
/// What the node needs at its start is not to be had. Once it has run, a disk that fails does not end it; it is the reason
/// given when the node is told to stop while it is fenced.
pub fn run(settings: Settings) -> Result<(), StartError> {
    #[cfg(feature = "otel")]
    let _sending =
        crate::telemetry::begin(&settings.name).map_err(|why| StartError::System(std::io::Error::other(why)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(serve(settings));
    // A rebuild under way is left where it is: the next start removes what it has made.
    runtime.shutdown_background();
    done
}

async fn serve(settings: Settings) -> Result<(), StartError> {
    std::fs::create_dir_all(&settings.data).map_err(|why| StartError::File { place: settings.data.clone(), why })?;
    // The address first: a second node of the same configuration must not touch the data of the first.
    let taken = |field, addr: &str, why| StartError::Listen { field, addr: addr.to_string(), why };
    let listener = TcpListener::bind(&settings.listen).await.map_err(|why| taken("listen", &settings.listen, why))?;
    let bind_http = |addr: &String| http::bind(addr).map_err(|why| taken("http", addr, why));
    let http_listener = settings.http.as_ref().map(bind_http).transpose()?;
    let bind_resp = |addr: &String| resp::bind(addr).map_err(|why| taken("resp", addr, why));
    let resp_listener = settings.resp.as_ref().map(bind_resp).transpose()?;
    let (inside, door) = Door::pair();
    let meter = Arc::new(Meter::default());
    let setup = Setup {
        cluster: settings.cluster,
        secret: settings.secret.clone(),
        name: settings.name.clone(),
        listener,
        room: Some(Room::new(settings.data.clone(), settings.free_min)),
        meter: Arc::clone(&meter),
    };
    let native = reachable(setup.listener.local_addr()?).to_string();
    let mut resp_meter = None;
    let resp = match resp_listener {
        Some(listener) => {
            let addr = listener.local_addr()?;
            let app = resp::App::new(inside.clone(), settings.cluster, native.clone(), resp::Times::default());
            resp_meter = Some(app.meter());
            info!(%addr, "Redis' protocol is served");
            Some(resp::Server::start(listener, app)?)
        }
        None => None,
    };
    let http = match http_listener {
        Some(listener) => {
            let addr = listener.local_addr()?;
            let mut app = App::new(inside, meter, settings.cluster, native, Times::default());
            if let Some(meter) = resp_meter {
                app = app.with_resp(meter);
            }
            info!(%addr, "HTTP is served");
            Some(http::Server::start(listener, app)?)
        }
        None => None,
    };
    let mut machine = Machine { stop: Stop::new()?, setup, door, has_served: false, settings: Arc::new(settings) };
    let ended = machine.run().await;
    // Requests under way are told that the node has stopped.
    drop(machine);
    if let Some(resp) = resp {
        resp.stop();
    }
    if let Some(http) = http {
        http.stop();
    }
    ended
}

/// Where this machine itself reaches a listener: one on all addresses has none of its own.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// What stays while stores come and go.
struct Machine {
    settings: Arc<Settings>,
    setup: Setup,
    /// Where front ends ask.
    door: Door,
    stop: Stop,
    /// A store was opened before in this process.
    has_served: bool,
}

/// SIGTERM and SIGINT.
struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    fn new() -> Result<Stop, std::io::Error> {
        Ok(Stop { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

impl Machine {
    /// Serves, and recovers from a disk that fails, until told to stop.
    async fn run(&mut self) -> Result<(), StartError> {
        let mut opened = disk::open(&self.settings, false);
        loop {
            let why = match opened {
                Ok(store) => match self.serve(store).await? {
                    None => return Ok(()),
                    Some(why) => why,
                },
                Err(Trouble::Refused(why)) => return Err(why),
                Err(Trouble::Engine(why)) => why,
            };
            opened = self.recover(why).await?;
        }
    }

    /// Serves until told to stop (`None`), or until the disk fails.
    async fn serve(&mut self, store: Store<RocksEngine>) -> Result<Option<EngineError>, StartError> {
        let settings = &self.settings;
        if settings.is_layout_unknown && !data::has_layout(&store).unwrap_or(true) {
            return Err(StartError::NoLayout);
        }
        let config = Config {
            node: settings.node,
            name: settings.name.clone(),
            cluster: settings.cluster,
            layout: settings.layout.clone(),
            durability: settings.durability,
            seal: SealKey::derive(&settings.secret),
            index_entries_max: limits::INDEX_ENTRIES_MAX,
            operations_max: limits::OPERATIONS_MAX,
            hint_bytes_max: limits::HINT_BYTES_MAX,
            incarnation: data::first_life() >> 20, // the wall clock's milliseconds
        };
        let mut node = match Node::new(config, store, rand::random(), Time(0)) {
            Ok(node) => node,
            Err(why) => return Ok(Some(why)),
        };
        node.set_scrub_rate(Time(0), settings.scrub);
        node.introduce_as(settings.card.clone(), settings.auto);
        if let Some(place) = &settings.pid_file {
            std::fs::write(place, format!("{}\n", std::process::id()))
                .map_err(|why| StartError::File { place: place.clone(), why })?;
        }
        let addr = self.setup.listener.local_addr()?;
        info!(name = %settings.name, node = %settings.node, %addr, data = %settings.data.display(), "dynode is up");
        self.has_served = true;

        let stopping = Cell::new(false);
        let asked = async {
            self.stop.asked().await;
            stopping.set(true);
        };
        let group = settings.durability == Durability::Group;
        let ended = shell::run(node, &self.setup, &mut self.door, asked).await;
        if let (Err(why), false) = (&ended, stopping.get()) {
            return Ok(Some(why.clone()));
        }
        let stopped = ended.and_then(Node::close).and_then(|mut engine| data::end_run(&mut engine, group));
        if let Err(why) = stopped {
            error!("{why}");
            return Err(StartError::Disk(why));
        }
        if let Some(place) = &settings.pid_file {
            let _ = std::fs::remove_file(place);
        }
        info!("stopped cleanly");
        Ok(None)
    }

    /// The disk failed or is damaged: does what can be done, and answers with the reason meanwhile.
    async fn recover(&mut self, why: EngineError) -> Result<Result<Store<RocksEngine>, Trouble>, StartError> {
        error!("fenced, nothing is acknowledged any more: {why}");
        match &why {
            EngineError::Damaged { .. } => self.rebuild(&why).await,
            // What is wrong at the first start is likely to be the configuration: whoever starts the node is told.
            EngineError::Failed(_) if !self.has_served => {
                Err(StartError::Data { place: self.settings.data.clone(), why: DataError::Engine(why) })
            }
            EngineError::Failed(_) => self.retry(why).await,
        }
    }

    async fn rebuild(&mut self, why: &EngineError) -> Result<Result<Store<RocksEngine>, Trouble>, StartError> {
        let fence = self.fence("rebuilding", why.to_string());
        let (settings, told) = (Arc::clone(&self.settings), Arc::clone(&fence));
        let rebuilt = self
            .fenced(&fence, why, move || disk::rebuild(&settings, |done| told.progress.store(done, Relaxed)))
            .await?;
        match rebuilt {
            Ok(_) => Ok(disk::open(&self.settings, true)),
            Err(NotRebuilt::Engine(why)) => self.retry(why).await,
            Err(NotRebuilt::Foreign(why)) => Err(StartError::Data { place: self.settings.data.clone(), why }),
            Err(NotRebuilt::OnlyCopy(what)) => {
                let why = EngineError::Failed(format!(
                    "{why}; {what}. Nothing was changed: restore the data, and start anew"
                ));
                error!("{why}");
                let fence = self.fence("fenced", why.to_string());
                let stop = self.stop.asked();
                fenced::answer_until(&self.setup, &mut self.door, &fence, stop).await;
                Err(StartError::Disk(why))
            }
        }
    }

    /// Waits and tries the disk again, until it can be opened or is found damaged.
    async fn retry(&mut self, mut why: EngineError) -> Result<Result<Store<RocksEngine>, Trouble>, StartError> {
        // Where answers leave before a sync, others may have seen what the disk has lost.
        let may_lack = self.settings.durability != Durability::Group;
        let mut wait = RETRY_FIRST;
        loop {
            let fence = self.fence("fenced", why.to_string());
            let mut room = self.setup.room.clone();
            let settings = Arc::clone(&self.settings);
            let opened = self
                .fenced(&fence, &why, move || {
                    std::thread::sleep(wait);
                    match room.as_mut().and_then(Room::lack) {
                        Some(lack) => Err(Trouble::Engine(EngineError::Failed(lack))),
                        None => disk::open(&settings, may_lack),
                    }
                })
                .await?;
            match opened {
                Err(Trouble::Engine(EngineError::Failed(again))) => {
                    info!("still fenced: {again}");
                    why = EngineError::Failed(again);
                    wait = (wait * 2).min(RETRY_MOST);
                }
                opened => return Ok(opened),
            }
        }
    }

    fn fence(&self, state: &'static str, why: String) -> Arc<Fence> {
        Fence::new(&self.setup, self.settings.node, &self.settings.layout, state, why)
    }

    /// Answers as a fenced node does while a thread does what may take long; ends with `why` when told to stop.
    async fn fenced<T: Send + 'static>(
        &mut self,
        fence: &Arc<Fence>,
        why: &EngineError,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StartError> {
        let stop = self.stop.asked();
        let done = async {
            tokio::select! {
                done = tokio::task::spawn_blocking(work) => {
                    done.map_err(|e| StartError::System(std::io::Error::other(e)))
                }
                () = stop => Err(StartError::Disk(why.clone())),
            }
        };
        fenced::answer_until(&self.setup, &mut self.door, fence, done).await
    }
}
