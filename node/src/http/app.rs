//! What all requests share: the door to the node, a client of the cluster, budgets.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use dynode_client::Client;
use dynode_client::wire::{Inspect, Message, Topic};
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};

use super::body::Budget;
use super::console::feed::Feed;
use super::limits::{BODY_BYTES_MAX, BODY_TIME, HEAD_TIME, LISTINGS_MAX, LOOKUPS_MAX, REPORT_TIME, STALLED_MAX};
use super::refusal::Refusal;
use crate::resp;
use crate::shell::inside::Inside;
use crate::shell::meter::Meter;

/// How long a client may take for what. A value's defaults are the front end's bounds; tests wait less.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// For a request's head, idleness before it included.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Without taking anything of an answer.
    pub stalled: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times { head: HEAD_TIME, body: BODY_TIME, stalled: STALLED_MAX }
    }
}

/// What the front end stands on.
#[derive(Debug)]
pub struct App {
    pub(super) inside: Inside,
    pub(super) meter: Arc<Meter>,
    pub(super) times: Times,
    pub(super) bodies: Budget,
    /// Pages of keys that may be put together at once.
    pub(super) listings: Semaphore,
    /// Keys that may be looked up at once by consoles.
    pub(super) lookups: Semaphore,
    pub(super) feed: Feed,
    pub(super) connections: AtomicU64,
    /// What the front end for Redis' clients counts, where there is one.
    pub(super) resp: Option<Arc<resp::Meter>>,
    cluster: [u8; 16],
    addr: String,
    client: OnceCell<Client>,
}

impl App {
    /// `inside` and `meter` are the node's; `addr` is its native listener, through which what concerns other nodes goes.
    pub fn new(inside: Inside, meter: Arc<Meter>, cluster: [u8; 16], addr: String, times: Times) -> App {
        App {
            inside,
            meter,
            times,
            bodies: Budget::new(BODY_BYTES_MAX),
            listings: Semaphore::new(LISTINGS_MAX),
            lookups: Semaphore::new(LOOKUPS_MAX),
            feed: Feed::default(),
            connections: AtomicU64::new(0),
            resp: None,
            cluster,
            addr,
            client: OnceCell::new(),
        }
    }

    /// Tells of what the front end for Redis' clients counts, too.
    #[must_use]
    pub fn with_resp(mut self, meter: Arc<resp::Meter>) -> App {
        self.resp = Some(meter);
        self
    }

    /// Puts a request to the node.
    pub(super) async fn ask(
        &self,
        message: impl Into<Message>,
        body: Bytes,
        time: Duration,
    ) -> Result<(Message, Bytes), Refusal> {
        self.inside.ask(message, body, time).await.map_err(Refusal::from)
    }

    /// The node's report on a topic, a JSON document.
    pub(super) async fn report(&self, topic: Topic, time: Duration) -> Result<Bytes, Refusal> {
        match self.ask(Inspect { topic }, Bytes::new(), time).await? {
            (Message::Report(_), body) => Ok(body),
            (other, _) => Err(Refusal::unexpected("Inspect", other.name())),
        }
    }

    /// The node's report on its state.
    pub(super) async fn status(&self, time: Duration) -> Result<Value, Refusal> {
        let report = self.report(Topic::Status, time).await?;
        serde_json::from_slice(&report).map_err(|_| Refusal::unexpected("Inspect", "what is no JSON"))
    }

    /// The cluster as a client sees it: for what needs answers of other nodes.
    pub(super) async fn client(&self) -> Result<&Client, Refusal> {
        let connect = || Client::builder().cluster(self.cluster).timeout(REPORT_TIME).connect([&self.addr]);
        Ok(self.client.get_or_try_init(connect).await?)
    }
}
