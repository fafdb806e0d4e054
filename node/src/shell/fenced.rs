//! What a node says while it has no disk that it can rely on.
//!
//! It stays up, so that people can ask what is wrong: it answers reports on its state and who owns what. Everything else it
//! refuses, naming the reason, so that clients turn to other nodes; peers are refused at the greeting, and count it as
//! down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::{Buf, Bytes, BytesMut};
use dynode_client::wire::{
    self, Decoder, ErrorCode, LayoutIs, Message, Report, Role as Greeting, Topic, Welcome, handshake,
};
use dynode_ring::{Layout, NodeId};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::Setup;
use super::inside::Door;
use super::limits::{FENCED_CONNECTIONS_MAX, GREETING_TIME, PART_TIME, READ_BYTES, STALLED_MAX};
use crate::protocol::{failure, layout_message};

/// Why a node is fenced, and how far it has come with what may end that.
pub struct Fence {
    name: String,
    cluster: [u8; 16],
    node: NodeId,
    layout: LayoutIs,
    state: &'static str,
    why: String,
    since: Instant,
    /// Partitions that were looked at, of all.
    pub progress: AtomicU32,
}

impl Fence {
    /// `state`: `fenced` when nothing can be done but wait, `rebuilding` while something is done.
    pub fn new(setup: &Setup, node: NodeId, layout: &Layout, state: &'static str, why: String) -> Arc<Fence> {
        let (name, cluster, layout) = (setup.name.clone(), setup.cluster, layout_message(layout));
        Arc::new(Fence { name, cluster, node, layout, state, why, since: Instant::now(), progress: AtomicU32::new(0) })
    }

    fn status(&self) -> String {
        json!({
            "name": self.name,
            "node": self.node.to_string(),
            "state": self.state,
            "why": self.why,
            "since_seconds": self.since.elapsed().as_secs(),
            "partitions": self.layout.owners.len(),
            "partitions_done": self.progress.load(Relaxed),
            "version": env!("CARGO_PKG_VERSION"),
            "epoch": self.layout.epoch,
        })
        .to_string()
    }

    fn refusal(&self) -> Message {
        failure(ErrorCode::Unavailable, format!("this node is {}: {}; ask another", self.state, self.why)).into()
    }

    fn answer(&self, message: Message) -> (Message, Bytes) {
        match message {
            Message::GetLayout(_) => (self.layout.clone().into(), Bytes::new()),
            Message::Inspect(m) if m.topic == Topic::Status => (Report {}.into(), self.status().into()),
            _ => (self.refusal(), Bytes::new()),
        }
    }

    /// The answer to the first frame; true if the connection goes on.
    fn greet(&self, message: Message) -> (Message, bool) {
        let hello = match message {
            Message::Hello(hello) => hello,
            other => {
                let what = format!("a connection begins with Hello, not {}", other.name());
                return (failure(ErrorCode::Refused, what).into(), false);
            }
        };
        match (handshake::accept(&hello, self.cluster), &hello.role) {
            (Ok(version), Greeting::Client) => {
                let (cluster, node, name) = (self.cluster, self.node.0, self.name.clone());
                (Welcome { version, cluster, node, name }.into(), true)
            }
            (Ok(_), Greeting::Peer { .. }) => (self.refusal(), false),
            (Err(refusal), _) => (refusal.into(), false),
        }
    }
}

/// Answers whoever connects, and front ends, until `until` resolves. All connections are closed then.
pub async fn answer_until<T>(setup: &Setup, door: &mut Door, fence: &Arc<Fence>, until: impl Future<Output = T>) -> T {
    let mut until = std::pin::pin!(until);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            done = &mut until => return done,
            accepted = setup.listener.accept(), if connections.len() < FENCED_CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(talk(stream, Arc::clone(fence)));
                }
                // Such as no descriptors left: not at once again.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
            () = door.answer_next(|message| fence.answer(message)) => {}
        }
    }
}

async fn talk(mut stream: TcpStream, fence: Arc<Fence>) {
    let mut input = BytesMut::new();
    let greeted = tokio::time::timeout(GREETING_TIME, async {
        let frame = hello(&mut stream, &mut input).await?;
        let (answer, goes_on) = fence.greet(frame.message);
        say(&mut stream, frame.request, &answer, &Bytes::new()).await?;
        if goes_on { Ok(()) } else { Err("refused".to_string()) }
    });
    let mut done = greeted.await.unwrap_or_else(|_| Err("no greeting in time".into()));
    while done.is_ok() {
        done = async {
            let (request, (answer, body)) = match next(&mut stream, &mut input).await? {
                Ok(frame) => (frame.request, fence.answer(frame.message)),
                Err(request) => (request, (fence.refusal(), Bytes::new())),
            };
            let said = tokio::time::timeout(STALLED_MAX, say(&mut stream, request, &answer, &body));
            said.await.unwrap_or_else(|_| Err("answers are not taken".into()))
        }
        .await;
    }
    debug!("connection over: {}", done.err().unwrap_or_default());
}

/// The next request; or, of one that is larger than anything that is answered here, only its id: what it brings is
/// forgotten as it comes.
async fn next(stream: &mut TcpStream, input: &mut BytesMut) -> Result<Result<wire::Frame, u64>, String> {
    let decoder = Decoder::requests();
    if input.is_empty() {
        read_some(stream, input).await?; // who says nothing may stay
    }
    let rest = async {
        loop {
            if let Some((request, bytes)) = decoder.begun(input).map_err(|e| e.to_string())?
                && bytes > READ_BYTES
            {
                skip(stream, input, bytes).await?;
                return Ok(Err(request));
            }
            if let Some(frame) = decoder.decode(input).map_err(|e| e.to_string())? {
                return Ok(Ok(frame));
            }
            read_some(stream, input).await?;
        }
    };
    tokio::time::timeout(PART_TIME, rest)
        .await
        .unwrap_or_else(|_| Err("the rest of a request did not come in time".into()))
}

/// Takes so many bytes off, and keeps none.
async fn skip(stream: &mut TcpStream, input: &mut BytesMut, mut bytes: usize) -> Result<(), String> {
    loop {
        let here = bytes.min(input.len());
        input.advance(here);
        bytes -= here;
        if bytes == 0 {
            return Ok(());
        }
        read_some(stream, input).await?;
    }
}

async fn read_some(stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), String> {
    match stream.read_buf(input).await.map_err(|e| e.to_string())? {
        0 => Err("closed".into()),
        _ => Ok(()),
    }
}

async fn hello(stream: &mut TcpStream, input: &mut BytesMut) -> Result<wire::Frame, String> {
    loop {
        if let Some(frame) = Decoder::handshake().decode(input).map_err(|e| e.to_string())? {
            return Ok(frame);
        }
        read_some(stream, input).await?;
    }
}

async fn say(stream: &mut TcpStream, request: u64, message: &Message, body: &Bytes) -> Result<(), String> {
    let mut bytes = BytesMut::new();
    wire::encode(request, message, body, &mut bytes).map_err(|e| e.to_string())?;
    stream.write_all(&bytes).await.map_err(|e| e.to_string())
}
