//! What all connections share: the lanes, a client of the cluster, counters.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use dynode_client::Client;
use tokio::sync::{OnceCell, Semaphore};

use super::codec::Reply;
use super::failures;
use super::lanes::Lanes;
use super::limits::{COMMAND_TIME, LISTINGS_MAX, STALLED_MAX, TIMEOUT};
use super::meter::Meter;
use super::scan::Cursors;
use crate::shell::inside::Inside;

/// How long a client may take for what. A value's defaults are the front end's bounds; tests wait less.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// For a command, from its first byte.
    pub command: Duration,
    /// Without taking anything of an answer.
    pub stalled: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times { command: COMMAND_TIME, stalled: STALLED_MAX }
    }
}

/// What the front end stands on.
#[derive(Debug)]
pub struct App {
    pub(super) inside: Inside,
    pub(super) lanes: Arc<Lanes>,
    pub(super) times: Times,
    pub(super) cursors: Cursors,
    /// Listings that may be under way at once.
    pub(super) listings: Semaphore,
    pub(super) began: Instant,
    pub(super) port: u16,
    pub(super) next_id: AtomicI64,
    pub(super) meter: Arc<Meter>,
    cluster: [u8; 16],
    addr: String,
    client: OnceCell<Client>,
}

impl App {
    /// `inside` is the node's; `addr` is its native listener, through which what concerns other nodes goes.
    pub fn new(inside: Inside, cluster: [u8; 16], addr: String, times: Times) -> App {
        App {
            lanes: Lanes::new(inside.clone()),
            inside,
            times,
            cursors: Cursors::default(),
            listings: Semaphore::new(LISTINGS_MAX),
            began: Instant::now(),
            port: 0,
            next_id: AtomicI64::new(1),
            meter: Arc::default(),
            cluster,
            addr,
            client: OnceCell::new(),
        }
    }

    /// What it counts.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// The cluster as a client sees it: for what needs answers of other nodes.
    pub(super) async fn client(&self) -> Result<&Client, Reply> {
        let connect = || Client::builder().cluster(self.cluster).timeout(TIMEOUT).connect([&self.addr]);
        self.client.get_or_try_init(connect).await.map_err(|why| failures::too_few(&why.to_string()))
    }
}
