//! A TCP proxy before each node, so that what passes between two nodes, or between a node and clients, can be cut, delayed,
//! throttled and reset: one way or both.
//!
//! There is one listener a node, and all members and clients know the node by it. Who calls is learnt from the greeting
//! with which every connection begins, so the table `[cluster]` is the same on every node, as it should be.
//!
//! What a cut way holds back is kept, as TCP would: it arrives when the way is open again, unless the connection is reset.
//! A connection is made only while both ways are open. What the proxy cannot do is vanish: a caller is accepted in any case,
//! and then hears nothing. Namespaces (see [`super::spaces`]) can.

mod carry;

use std::collections::BTreeMap;
use std::net::TcpListener as Bound;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// Connections carried at once: far more than a handful of nodes and clients open, few enough for the process's files.
const CONNECTIONS_MAX: usize = 1024;

/// One end of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A node, by its number in the cluster.
    Node(usize),
    /// All that are no nodes.
    Clients,
}

/// How bytes get from one end to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Nothing gets through.
    pub cut: bool,
    /// How long each byte takes.
    pub delay: Duration,
    /// At most so many bytes a second on each connection.
    pub bytes_per_second: Option<u64>,
    /// Counts on: with each change all connections on this way are reset.
    resets: u64,
}

/// A node behind the proxy.
#[derive(Debug, Clone)]
pub struct Behind {
    /// Its id, as peers say it in their greeting.
    pub id: u64,
    /// Where members and clients find it: the proxy listens there.
    pub addr: String,
    /// Where it listens itself.
    pub listen: String,
}

/// The proxy: a thread of its own. It ends when this is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    nodes: Vec<Behind>,
    ways: BTreeMap<(End, End), watch::Sender<Way>>,
}

impl Proxy {
    /// Listens for all nodes.
    ///
    /// # Errors
    ///
    /// An address cannot be listened on, or the system gives no thread.
    pub fn start(nodes: Vec<Behind>) -> Result<Proxy, String> {
        let mut listeners = Vec::new();
        for node in &nodes {
            let bound =
                Bound::bind(&node.addr).map_err(|e| format!("the proxy cannot listen on {}: {e}", node.addr))?;
            bound.set_nonblocking(true).map_err(|e| e.to_string())?;
            listeners.push(bound);
        }
        let ends: Vec<End> = (0..nodes.len()).map(End::Node).chain([End::Clients]).collect();
        let pairs = ends.iter().flat_map(|from| ends.iter().map(|to| (*from, *to)));
        let ways = pairs.map(|pair| (pair, watch::Sender::new(Way::default()))).collect();
        let shared = Arc::new(Shared { nodes, ways });
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let own = shared.clone();
        let serve = move || runtime.block_on(serve(listeners, own, ended));
        let thread = std::thread::Builder::new().name("proxy".into()).spawn(serve).map_err(|e| e.to_string())?;
        Ok(Proxy { shared, end: Some(end), thread: Some(thread) })
    }

    /// Changes one way.
    pub fn change(&self, from: End, to: End, change: impl FnOnce(&mut Way)) {
        if let Some(way) = self.shared.ways.get(&(from, to)) {
            way.send_modify(change);
        }
    }

    /// Resets all connections between two ends, whoever opened them.
    pub fn reset(&self, a: End, b: End) {
        self.change(a, b, |way| way.resets += 1);
        self.change(b, a, |way| way.resets += 1);
    }

    /// Every way is as it was at the start. With `reset`, what a cut way holds back never arrives: its connections break.
    pub fn heal(&self, reset: bool) {
        for way in self.shared.ways.values() {
            way.send_if_modified(|way| {
                let healed = Way { resets: way.resets + u64::from(reset && way.cut), ..Way::default() };
                std::mem::replace(way, healed) != healed
            });
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn way(&self, from: End, to: End) -> Option<watch::Receiver<Way>> {
        self.ways.get(&(from, to)).map(watch::Sender::subscribe)
    }

    fn node(&self, id: u64) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }
}

async fn serve(listeners: Vec<Bound>, shared: Arc<Shared>, ended: oneshot::Receiver<()>) {
    let mut accepting = JoinSet::new();
    for (node, bound) in listeners.into_iter().enumerate() {
        match TcpListener::from_std(bound) {
            Ok(listener) => accepting.spawn(accept(listener, node, shared.clone())),
            Err(e) => {
                eprintln!("proxy: {e}");
                return;
            }
        };
    }
    // The sender says nothing: that it is gone is the sign.
    let _ = ended.await;
}

async fn accept(listener: TcpListener, node: usize, shared: Arc<Shared>) {
    let mut carried = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if carried.len() < CONNECTIONS_MAX => accepted,
            Some(_) = carried.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                carried.spawn(carry::carry(stream, node, shared.clone()));
            }
            // Out of files, most likely: those that end make room.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
