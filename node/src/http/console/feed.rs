//! The cluster's state once a second, for all who watch: one look at every node, however many watch, and none while nobody
//! does. A watcher that is slow misses what was between, and gets the last.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dynode_client::{Client, Layout, Topic};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::app::App;
use super::super::limits::{LOOK_TIME, LOOKS_MAX, WATCHERS_MAX};
use super::super::params::Query;
use super::super::refusal::Refusal;
use crate::cli::reports;

/// How often the cluster is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Debug)]
pub(in super::super) struct Feed {
    watchers: Arc<Semaphore>,
    /// The last look at the nodes.
    looks: watch::Sender<Bytes>,
    /// Whether somebody looks: one task, however many watch.
    is_looking: Arc<Mutex<bool>>,
    /// The server stops.
    stopped: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            looks: watch::Sender::new(Bytes::new()),
            is_looking: Arc::default(),
            stopped: watch::Sender::new(false),
        }
    }
}

impl Feed {
    /// Ends all streams: else the server would wait for them.
    pub(in super::super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// What is looked at; begins to look if nobody does.
    fn looks(&self, client: &Client) -> watch::Receiver<Bytes> {
        let mut is_looking = self.is_looking.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_looking {
            // What was seen before nobody watched is old.
            self.looks.send_replace(Bytes::new());
            tokio::spawn(look(client.clone(), self.looks.clone(), Arc::clone(&self.is_looking)));
            *is_looking = true;
        }
        self.looks.subscribe()
    }
}

/// `GET /console/events`: `ring` when the layout is another one, `state` once a second.
pub(super) async fn events(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Query::of(uri.query())?.done()?;
    let busy = |_| Refusal::overloaded(format!("{WATCHERS_MAX} consoles are open on this node already"));
    let room = Arc::clone(&app.feed.watchers).try_acquire_owned().map_err(busy)?;
    let client = app.client().await?.clone();
    let looks = app.feed.looks(&client);
    // One piece waits for the page at most: it gets the newest state, not all of them.
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(watch_for(client, looks, app.feed.stopped.subscribe(), pieces, room));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Events(body))).into_response())
}

/// Tells one page, until it is closed or the server stops.
async fn watch_for(
    client: Client,
    mut looks: watch::Receiver<Bytes>,
    mut stopped: watch::Receiver<bool>,
    pieces: mpsc::Sender<Bytes>,
    _room: OwnedSemaphorePermit,
) {
    tokio::select! {
        _ = tell(&client, &mut looks, &pieces) => {}
        () = pieces.closed() => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Ends when nobody listens or looks any more.
async fn tell(client: &Client, looks: &mut watch::Receiver<Bytes>, pieces: &mpsc::Sender<Bytes>) -> Option<Infallible> {
    let mut epoch = None;
    loop {
        let layout = client.layout();
        if epoch != Some(layout.epoch()) {
            epoch = Some(layout.epoch());
            pieces.send(event("ring", &reports::ring(&layout, None))).await.ok()?;
        }
        let state = looks.borrow_and_update().clone();
        if !state.is_empty() {
            pieces.send(state).await.ok()?;
        }
        looks.changed().await.ok()?;
    }
}

/// An answer that goes on.
struct Events(mpsc::Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn event(name: &str, data: &Value) -> Bytes {
    // JSON has no line ends, so an event's data are one line.
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Looks at the nodes once a second, as long as somebody watches.
async fn look(client: Client, looks: watch::Sender<Bytes>, is_looking: Arc<Mutex<bool>>) {
    let mut next = Instant::now();
    loop {
        {
            let mut is_looking = is_looking.lock().unwrap_or_else(PoisonError::into_inner);
            if looks.is_closed() {
                *is_looking = false;
                return;
            }
        }
        let layout = client.layout();
        let nodes = ask(&client, &layout).await;
        let epoch = nodes.iter().filter_map(|node| node["report"]["epoch"].as_u64()).max();
        if epoch.is_some_and(|epoch| epoch > layout.epoch()) {
            // Known at the next look; if not, at one after it.
            let _ = client.refresh_layout().await;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Names, and what else is told of them, cost another question: only while something moves.
        let moves = nodes.iter().any(|node| node["report"]["moving"].as_array().is_some_and(|all| !all.is_empty()));
        let transfers = match moves {
            true => timeout(LOOK_TIME, reports::transfers(&client)).await.ok().and_then(Result::ok),
            false => None,
        };
        let state = json!({
            "cluster": client.cluster().iter().map(|b| format!("{b:02x}")).collect::<String>(),
            "asked": client.node().1,
            "epoch": layout.epoch(),
            "at_ms": now.as_millis() as u64,
            "nodes": nodes,
            "transfers": transfers.map_or(json!([]), |report| report["transfers"].clone()),
        });
        looks.send_replace(event("state", &state));
        // After a look that took long the next is not at once.
        next = (next + EVERY).max(Instant::now() + EVERY / 4);
        sleep_until(next).await;
    }
}

/// Every member's report, or why there is none.
async fn ask(client: &Client, layout: &Layout) -> Vec<Value> {
    let mut members = layout.members().iter().cloned();
    let mut asked = JoinSet::new();
    let mut nodes: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        while asked.len() < LOOKS_MAX
            && let Some(member) = members.next()
        {
            let client = client.clone();
            asked.spawn(async move {
                let report = timeout(LOOK_TIME, client.inspect(Some(member.id), Topic::Status)).await;
                let mut node = json!({ "name": member.name, "node": member.id.to_string() });
                match report {
                    Ok(Ok(report)) => node["report"] = serde_json::from_slice(&report).unwrap_or_default(),
                    Ok(Err(why)) => node["error"] = json!(why.to_string()),
                    Err(_) => node["error"] = json!(format!("no answer in {} ms", LOOK_TIME.as_millis())),
                }
                (member.name, node)
            });
        }
        let Some(joined) = asked.join_next().await else { break };
        nodes.extend(joined.ok());
    }
    nodes.into_values().collect()
}
