//! The client: options, connecting, the layout and its renewal.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;

use crate::call::{call, deadline_in};
use crate::limits::{
    CONNECTIONS_MAX, HEDGES_PER_HUNDRED, HEDGES_SAVED_MAX, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, LAYOUT_AGE_MAX,
    LAYOUT_AGE_MIN, LAYOUT_ASKED_AGAIN, RETRIES_PER_HUNDRED, RETRIES_SAVED_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX,
};
use crate::link::{Link, LinkOptions};
use crate::retry::{Budget, Kind, jittered};
use crate::routing::{Routes, Target, layout_of};
use crate::slots::Terms;
use crate::wire::handshake::ANY_CLUSTER;
use crate::wire::limits::BUCKET_BYTES_MAX;
use crate::wire::{Frame, GetLayout, GetSync, Inspect, LayoutIs, Message, Scrub, Topic, Welcome};
use crate::{Bucket, Error, Layout, NodeId};

/// A client of one cluster. Cheap to clone; all clones share connections, layout and retry budget. When the last one
/// and the last [`Bucket`] are gone, the connections close.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

/// How a [`Client`] behaves: see [`Client::builder`].
#[derive(Debug, Clone)]
pub struct Options {
    timeout: Duration,
    connections: usize,
    max_in_flight: usize,
    cluster: [u8; 16],
}

impl Default for Options {
    fn default() -> Options {
        Options { timeout: TIMEOUT_DEFAULT, connections: 1, max_in_flight: IN_FLIGHT_DEFAULT, cluster: ANY_CLUSTER }
    }
}

impl Options {
    /// Time that a request may take unless it says otherwise, from 1 ms to one hour; 5 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Options {
        self.timeout = timeout.clamp(Duration::from_millis(1), TIMEOUT_MAX);
        self
    }

    /// Connections to each node, 1 to 64; 1 by default. More than one only helps when a core is not enough for the one.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Options {
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// Requests in flight on one connection, 1 to 65,536; 1,024 by default. Further ones wait for their turn.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> Options {
        self.max_in_flight = requests.clamp(1, IN_FLIGHT_MAX);
        self
    }

    /// The cluster that is meant: nodes of others are refused. By default any, and then the one reached first.
    #[must_use]
    pub fn cluster(mut self, cluster: [u8; 16]) -> Options {
        self.cluster = cluster;
        self
    }

    /// Time that a request may take unless it says otherwise.
    pub(crate) fn timeout_default(&self) -> Duration {
        self.timeout
    }

    /// Connects to the first of `seeds` (`host:port`) that answers, and fetches the layout.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if a seed belongs to another cluster or speaks another version, [`Error::Wire`] if it is no
    /// dynode; else [`Error::Unreachable`] with what happened at each.
    pub async fn connect(self, seeds: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Client, Error> {
        let (connections, in_flight_max) = (self.connections, self.max_in_flight);
        let mut options = LinkOptions { cluster: self.cluster, connections, in_flight_max, ended: Arc::default() };
        let seeds: Vec<String> = seeds.into_iter().map(|seed| seed.as_ref().to_owned()).collect();
        if seeds.is_empty() {
            return Err(Error::BadRequest { detail: "no address to connect to".into() });
        }
        let mut failures = Vec::new();
        for (at, seed) in seeds.iter().enumerate() {
            let link = Arc::new(Link::new(seed, None, &options));
            match first_layout(&link, deadline_in(self.timeout)).await {
                Ok((welcome, layout)) => {
                    // From here on only this cluster will do, whatever answers at the other addresses.
                    options.cluster = welcome.cluster;
                    let others = seeds.iter().enumerate().filter(|&(other, _)| other != at);
                    let others = others.map(|(_, seed)| Arc::new(Link::new(seed, None, &options)));
                    let links = [link].into_iter().chain(others).collect();
                    let routes = Routes::new(layout, links, None, &options);
                    return Ok(Client { inner: Inner::start(self, options, welcome, routes) });
                }
                Err(error) => failures.push(error),
            }
        }
        let telling = |e: &Error| !matches!(e, Error::Unreachable { .. });
        match failures.iter().find(|e| telling(e)) {
            Some(error) => Err(error.clone()),
            None => {
                let detail: Vec<String> = failures.into_iter().map(|failure| detail_of(&failure)).collect();
                Err(Error::Unreachable { detail: detail.join("; ") })
            }
        }
    }
}

impl Client {
    /// Connects with the default [`Options`]; see [`Options::connect`].
    ///
    /// # Errors
    ///
    /// As [`Options::connect`].
    pub async fn connect(seeds: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Client, Error> {
        Options::default().connect(seeds).await
    }

    /// Options to set before connecting.
    pub fn builder() -> Options {
        Options::default()
    }

    /// The bucket of this name: 1 byte to 1 KiB, any bytes. Says nothing to any node.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] for an empty name, [`Error::TooLarge`] for a longer one.
    pub fn bucket(&self, name: impl AsRef<[u8]>) -> Result<Bucket, Error> {
        let name = crate::request::checked("bucket", name.as_ref(), BUCKET_BYTES_MAX)?;
        Ok(Bucket::new(self.clone(), name))
    }

    /// The layout that requests are routed by. It renews itself in the background.
    pub fn layout(&self) -> Arc<Layout> {
        self.inner.routes().layout.clone()
    }

    /// How often requests were sent once more by the library itself, by the [`Error::kind`] that the attempt before came to.
    /// Counted since the client was made, for all its clones together.
    pub fn retries(&self) -> BTreeMap<&'static str, u64> {
        self.inner.retries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the layout now. An older one than that at hand is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] and its like when no node tells.
    pub async fn refresh_layout(&self) -> Result<(), Error> {
        self.inner.refresh().await
    }

    /// Asks a node about itself: `node`, or the one that the client connected to first. The answer is a JSON document.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] when the layout has no such member; [`Error::Unreachable`] and its like.
    pub async fn inspect(&self, node: Option<NodeId>, topic: Topic) -> Result<Bytes, Error> {
        self.report_of(node, &Inspect { topic }.into()).await
    }

    /// Has a node read all its copies and check them: `node`, or the one that the client connected to first. What comes of
    /// it is part of its report on [`Topic::Status`].
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] when the layout has no such member; [`Error::Unreachable`] and its like.
    pub async fn begin_scrub(&self, node: Option<NodeId>) -> Result<(), Error> {
        self.report_of(node, &Scrub {}.into()).await.map(|_| ())
    }

    /// Asks a node who lacks what of whom, as it knows: `node`, or the one that the client connected to first. `now`: it
    /// compares clocks with all its peers at once, rather than within a second; what comes of that the next answer says. The
    /// answer is a JSON document.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] when the layout has no such member; [`Error::Unreachable`] and its like.
    pub async fn sync_report(&self, node: Option<NodeId>, now: bool) -> Result<Bytes, Error> {
        self.report_of(node, &GetSync { now }.into()).await
    }

    async fn report_of(&self, node: Option<NodeId>, message: &Message) -> Result<Bytes, Error> {
        let routes = self.inner.routes();
        let link = match node {
            Some(node) => routes.link(node),
            None => routes.seeds().first(),
        };
        let Some(link) = link else {
            return Err(Error::BadRequest { detail: "the layout has no such member".into() });
        };
        let frame = ask_once(link, message, deadline_in(self.inner.options.timeout)).await?;
        match frame.message {
            Message::Report(_) => Ok(frame.body),
            other => Err(unexpected(message.name(), &other)),
        }
    }

    /// Asks the node at `addr` (`host:port`) about itself, whether it is a member or not. Makes a connection for it.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] and its like; [`Error::Refused`] when it belongs to another cluster.
    pub async fn inspect_at(&self, addr: impl AsRef<str>, topic: Topic) -> Result<Bytes, Error> {
        let options = LinkOptions { connections: 1, ..self.inner.link_options.clone() };
        let link = Link::new(addr.as_ref(), None, &options);
        inspect_on(&link, topic, deadline_in(self.inner.options.timeout)).await
    }

    /// The node that the client connected to first: its id and name.
    pub fn node(&self) -> (NodeId, String) {
        (NodeId(self.inner.welcome.node), self.inner.welcome.name.clone())
    }

    /// The cluster's id.
    pub fn cluster(&self) -> [u8; 16] {
        self.inner.welcome.cluster
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("node", &self.node()).field("epoch", &self.layout().epoch()).finish()
    }
}

/// What the clones of a client share.
pub(crate) struct Inner {
    pub(crate) options: Options,
    /// For retries.
    pub(crate) budget: Budget,
    /// Attempts after which there was another one, by what they came to. Only touched when something goes wrong.
    pub(crate) retries: std::sync::Mutex<BTreeMap<&'static str, u64>>,
    /// For reads that are sent to a second owner.
    pub(crate) hedges: Budget,
    link_options: LinkOptions,
    welcome: Arc<Welcome>,
    routes: RwLock<Arc<Routes>>,
    /// When a node that goes by another layout was last asked for its own. One at a time is.
    asked: Mutex<Option<Instant>>,
    /// The layout may have changed.
    suspected: Arc<Notify>,
    keeper: std::sync::OnceLock<AbortHandle>,
    /// Counts on, to spread requests.
    pub(crate) turn: AtomicUsize,
}

impl Inner {
    fn start(options: Options, link_options: LinkOptions, welcome: Arc<Welcome>, routes: Routes) -> Arc<Inner> {
        let inner = Arc::new(Inner {
            options,
            budget: Budget::new(RETRIES_PER_HUNDRED, RETRIES_SAVED_MAX),
            retries: std::sync::Mutex::default(),
            hedges: Budget::new(HEDGES_PER_HUNDRED, HEDGES_SAVED_MAX),
            // A member that ends its connections may be about to leave, or have left.
            suspected: link_options.ended.clone(),
            link_options,
            welcome,
            routes: RwLock::new(Arc::new(routes)),
            asked: Mutex::new(None),
            keeper: std::sync::OnceLock::new(),
            turn: AtomicUsize::new(0),
        });
        let keeper = tokio::spawn(keep_layout(Arc::downgrade(&inner), inner.suspected.clone()));
        inner.keeper.get_or_init(|| keeper.abort_handle());
        inner
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request is sent once more, since an attempt came to this.
    pub(crate) fn count_retry(&self, why: &Error) {
        *self.retries.lock().unwrap_or_else(PoisonError::into_inner).entry(why.kind()).or_default() += 1;
    }

    /// Has the layout renewed in the background, soon.
    pub(crate) fn suspect_layout(&self) {
        self.suspected.notify_one();
    }

    /// Fetches the layout from `link`, whose node goes by another than ours of `epoch`. Whether there is a newer one now.
    pub(crate) async fn refresh_from(&self, link: &Link, epoch: u64, deadline: Instant) -> bool {
        let Ok(mut asked) = tokio::time::timeout_at(deadline.into(), self.asked.lock()).await else { return false };
        if self.routes().layout.epoch() > epoch {
            return true;
        }
        // All requests in flight learn of another layout together, and one question is enough for all of them.
        if asked.is_some_and(|asked| asked.elapsed() < LAYOUT_ASKED_AGAIN) {
            return false;
        }
        let fetched = fetch_layout(link, deadline).await;
        *asked = Some(Instant::now());
        fetched.is_ok_and(|layout| self.adopt(layout))
    }

    async fn refresh(&self) -> Result<(), Error> {
        let deadline = deadline_in(self.options.timeout);
        let message = |_| Message::from(GetLayout {});
        let frame = call(self, Kind::Read, Target::Any, deadline, message, &Bytes::new()).await?;
        self.adopt(layout_of(expect_layout(frame)?)?);
        Ok(())
    }

    /// Goes by `layout` if it is newer; whether it was.
    fn adopt(&self, layout: Layout) -> bool {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if layout.epoch() <= routes.layout.epoch() {
            return false;
        }
        *routes = Arc::new(Routes::new(layout, routes.seeds().to_vec(), Some(&routes), &self.link_options));
        true
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

/// Renews the layout now and then, and sooner when it is suspected to be stale.
async fn keep_layout(inner: Weak<Inner>, suspected: Arc<Notify>) {
    loop {
        tokio::time::sleep(LAYOUT_AGE_MIN).await;
        let age = LAYOUT_AGE_MAX / 2 + jittered(LAYOUT_AGE_MAX, LAYOUT_AGE_MAX, 0);
        let _ = tokio::time::timeout(age, suspected.notified()).await;
        let Some(inner) = inner.upgrade() else { return };
        // Whoever needs it is told by its own request; here the next round tries again.
        let _ = inner.refresh().await;
    }
}

async fn first_layout(link: &Link, deadline: Instant) -> Result<(Arc<Welcome>, Layout), Error> {
    let (_, welcome) = link.ready(deadline).await?;
    Ok((welcome, fetch_layout(link, deadline).await?))
}

async fn fetch_layout(link: &Link, deadline: Instant) -> Result<Layout, Error> {
    layout_of(expect_layout(ask_once(link, &GetLayout {}.into(), deadline).await?)?)
}

fn expect_layout(frame: Frame) -> Result<LayoutIs, Error> {
    match frame.message {
        Message::LayoutIs(layout) => Ok(layout),
        other => Err(unexpected("GetLayout", &other)),
    }
}

/// Asks the node at `addr` (`host:port`) about itself without making a client: it need not have a layout yet. The answer
/// is a JSON document.
///
/// # Errors
///
/// [`Error::Unreachable`] and its like, [`Error::TimedOut`] after `timeout`.
pub async fn inspect(addr: impl AsRef<str>, topic: Topic, timeout: Duration) -> Result<Bytes, Error> {
    let options = LinkOptions { cluster: ANY_CLUSTER, connections: 1, in_flight_max: 1, ended: Arc::default() };
    inspect_on(&Link::new(addr.as_ref(), None, &options), topic, deadline_in(timeout)).await
}

async fn inspect_on(link: &Link, topic: Topic, deadline: Instant) -> Result<Bytes, Error> {
    let frame = ask_once(link, &Inspect { topic }.into(), deadline).await?;
    match frame.message {
        Message::Report(_) => Ok(frame.body),
        other => Err(unexpected("Inspect", &other)),
    }
}

/// One attempt of a read at one node.
pub(crate) async fn ask_once(link: &Link, message: &Message, deadline: Instant) -> Result<Frame, Error> {
    use crate::connection::Trouble;
    let connection = link.connection(deadline).await?;
    let terms = Terms { kind: Kind::Read, sent: Instant::now(), deadline, late_at: None, measured: false };
    match connection.ask(message, &Bytes::new(), terms).await {
        Ok(Frame { message: Message::Failure(failure), .. }) => Err(failure.into()),
        Ok(frame) => Ok(frame),
        Err(Trouble::NotSent(error) | Trouble::Lost(error)) => Err(error),
        Err(Trouble::DoesNotFit(error)) => Err(error.into()),
        Err(Trouble::Silent | Trouble::Busy) => Err(Error::TimedOut),
    }
}

/// The answer is none that the request has.
pub(crate) fn unexpected(request: &str, answer: &Message) -> Error {
    Error::Unexpected { detail: format!("{} to {request}", answer.name()) }
}

fn detail_of(error: &Error) -> String {
    match error {
        Error::Unreachable { detail } => detail.clone(),
        other => other.to_string(),
    }
}
