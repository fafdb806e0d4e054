//! The way to one node: its connections, kept up in the background.
//!
//! A link starts at its first use. From then on a task for each connection connects, runs it, and when it ends pauses
//! and connects again, until the link is dropped. Requests never wait for a node that is known to be down: they go to
//! another.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::connection::Connection;
use crate::driver::Driver;
use crate::health::Health;
use crate::limits::{RECONNECT_MAX, RECONNECT_MIN};
use crate::retry::jittered;
use crate::wire::Welcome;
use crate::wire::{Hello, Role, handshake};
use crate::{Error, NodeId};

/// What all links of a client have in common.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    pub(crate) cluster: [u8; 16],
    pub(crate) connections: usize,
    pub(crate) in_flight_max: usize,
    /// Told when a connection ends that stood.
    pub(crate) ended: Arc<Notify>,
}

pub(crate) struct Link {
    addr: String,
    /// The node that must answer there; `None`: any.
    node: Option<NodeId>,
    options: LinkOptions,
    health: Arc<Health>,
    lanes: OnceLock<Vec<Lane>>,
    turn: AtomicUsize,
}

/// One connection and its task.
struct Lane {
    state: watch::Receiver<LaneState>,
    task: AbortHandle,
}

#[derive(Clone)]
enum LaneState {
    /// The first attempt runs.
    Starting,
    Up(Connection, Arc<Welcome>),
    Down(Error),
}

impl Link {
    pub(crate) fn new(addr: &str, node: Option<NodeId>, options: &LinkOptions) -> Link {
        let (health, turn) = (Arc::default(), AtomicUsize::new(0));
        Link { addr: addr.to_owned(), node, options: options.clone(), health, lanes: OnceLock::new(), turn }
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// How well the node answers.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Whether the node is known to be unreachable just now.
    pub(crate) fn is_down(&self) -> bool {
        !self.health.is_up()
            && self
                .lanes
                .get()
                .is_some_and(|lanes| lanes.iter().all(|lane| matches!(&*lane.state.borrow(), LaneState::Down(_))))
    }

    /// Begins to connect if nobody has asked for it before. Nothing is waited for.
    pub(crate) fn begin(&self) {
        self.lanes();
    }

    /// A connection if one is up. Nothing is waited for.
    pub(crate) fn connection_now(&self) -> Option<Connection> {
        self.lanes().iter().find_map(|lane| match &*lane.state.borrow() {
            LaneState::Up(connection, _) => Some(connection.clone()),
            LaneState::Starting | LaneState::Down(_) => None,
        })
    }

    /// A connection that is up; while the first attempt to connect runs, waits for it.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<Connection, Error> {
        Ok(self.ready(deadline).await?.0)
    }

    /// As [`Link::connection`], with what the node said about itself.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(Connection, Arc<Welcome>), Error> {
        let lanes = self.lanes();
        let turn = if lanes.len() == 1 { 0 } else { self.turn.fetch_add(1, Relaxed) % lanes.len() };
        let mut starting = None;
        let mut down = None;
        for lane in lanes[turn..].iter().chain(&lanes[..turn]) {
            match &*lane.state.borrow() {
                LaneState::Up(connection, welcome) => return Ok((connection.clone(), welcome.clone())),
                LaneState::Starting => starting = starting.or(Some(lane)),
                LaneState::Down(why) => down = Some(why.clone()),
            }
        }
        let gone = || Error::Unreachable { detail: format!("{}: not connected", self.addr) };
        let Some(lane) = starting else { return Err(down.unwrap_or_else(gone)) };
        let mut state = lane.state.clone();
        let started = state.wait_for(|state| !matches!(state, LaneState::Starting));
        let Ok(Ok(state)) = tokio::time::timeout_at(deadline.into(), started).await else { return Err(gone()) };
        match &*state {
            LaneState::Up(connection, welcome) => Ok((connection.clone(), welcome.clone())),
            LaneState::Down(why) => Err(why.clone()),
            LaneState::Starting => Err(gone()),
        }
    }

    fn lanes(&self) -> &[Lane] {
        self.lanes.get_or_init(|| {
            let lane = |_| {
                let (sender, state) = watch::channel(LaneState::Starting);
                let task = keep(self.addr.clone(), self.node, self.options.clone(), self.health.clone(), sender);
                let task = tokio::spawn(task).abort_handle();
                Lane { state, task }
            };
            (0..self.options.connections.max(1)).map(lane).collect()
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for lane in self.lanes.get().into_iter().flatten() {
            lane.task.abort();
        }
    }
}

/// Keeps one connection up for as long as it is let.
async fn keep(
    addr: String,
    node: Option<NodeId>,
    options: LinkOptions,
    health: Arc<Health>,
    state: watch::Sender<LaneState>,
) {
    let mut hello = handshake::hello(options.cluster, Role::Client);
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let why = match open(&addr, node, &hello, options.in_flight_max, health.clone()).await {
            Ok((connection, driver, welcome)) => {
                // Whoever answers there the next time must belong to the same cluster.
                hello.cluster = welcome.cluster;
                state.send_replace(LaneState::Up(connection, Arc::new(welcome)));
                health.came_up();
                let why = driver.run(&addr).await;
                health.went_down();
                options.ended.notify_one();
                why
            }
            Err(why) => why,
        };
        state.send_replace(LaneState::Down(why));
        // A node that lets us in and throws us out again is not up.
        failures = if began.elapsed() > RECONNECT_MAX { 0 } else { failures + 1 };
        tokio::time::sleep(jittered(RECONNECT_MIN, RECONNECT_MAX, failures)).await;
    }
}

async fn open(
    addr: &str,
    node: Option<NodeId>,
    hello: &Hello,
    in_flight_max: usize,
    health: Arc<Health>,
) -> Result<(Connection, Driver, Welcome), Error> {
    let (connection, driver, welcome) = Driver::open(addr, hello, in_flight_max, health).await?;
    match node {
        Some(node) if node.0 != welcome.node => Err(Error::Refused {
            detail: format!("{addr}: node {} answers where the layout has {node}", NodeId(welcome.node)),
        }),
        _ => Ok((connection, driver, welcome)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fake::Server;

    /// Far more than it takes, even on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_end_of_a_connection_is_told_though_nobody_asks_anything() {
        let server = Server::start().await;
        let cluster = handshake::ANY_CLUSTER;
        let options = LinkOptions { cluster, connections: 1, in_flight_max: 1, ended: Arc::default() };
        let link = Link::new(&server.addr(), None, &options);
        link.ready(Instant::now() + PATIENCE).await.map_err(|e| e.to_string()).unwrap();
        server.stop().await;
        tokio::time::timeout(PATIENCE, options.ended.notified()).await.unwrap();
    }
}
