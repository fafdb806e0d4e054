//! The connections that this node opens to its peers: who is called when, and the greeting.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dynode_client::wire::{self, Decoder, Message, Role as Greeting, handshake};
use dynode_ring::{Member, NodeId};
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::limits::{GREETING_TIME, RECONNECT_FIRST, RECONNECT_MOST};

/// A peer and the state of the connection to it.
pub(super) struct Peer {
    pub(super) member: Member,
    pub(super) state: Link,
    wait: Duration,
}

pub(super) enum Link {
    /// To be called at that time.
    Waiting(Instant),
    /// Being called.
    Calling,
    /// Stands, under that number.
    Up(u64),
}

/// A peer that answered the call.
pub(super) struct Called {
    pub(super) stream: TcpStream,
    /// What both speak.
    pub(super) version: u8,
    /// What came after the greeting.
    pub(super) rest: BytesMut,
}

impl Peer {
    pub(super) fn new(member: Member) -> Peer {
        Peer { member, state: Link::Waiting(Instant::now()), wait: RECONNECT_FIRST }
    }

    pub(super) fn stands(&mut self, connection: u64) {
        self.state = Link::Up(connection);
        self.wait = RECONNECT_FIRST;
    }

    /// The connection is gone, or the call failed: call again later, with exponential back-off and jitter.
    pub(super) fn call_later(&mut self) {
        let wait = self.wait.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.state = Link::Waiting(Instant::now() + wait);
        self.wait = (self.wait * 2).min(RECONNECT_MOST);
    }
}

/// Calls a peer and greets it.
pub(super) async fn call(
    peer: Member,
    own: NodeId,
    cluster: [u8; 16],
    token: [u8; 16],
) -> (NodeId, Result<Called, String>) {
    let id = peer.id;
    let result = match tokio::time::timeout(GREETING_TIME, greet(&peer, own, cluster, token)).await {
        Ok(result) => result,
        Err(_) => Err("no answer to the greeting in time".into()),
    };
    (id, result)
}

async fn greet(peer: &Member, own: NodeId, cluster: [u8; 16], token: [u8; 16]) -> Result<Called, String> {
    let mut stream = TcpStream::connect(&peer.addr).await.map_err(|e| e.to_string())?;
    let hello = handshake::hello(cluster, Greeting::Peer { node: own.0, token });
    let mut bytes = BytesMut::new();
    wire::encode(0, &hello.clone().into(), &Bytes::new(), &mut bytes).map_err(|e| e.to_string())?;
    stream.write_all(&bytes).await.map_err(|e| e.to_string())?;
    let mut rest = BytesMut::new();
    loop {
        if let Some(frame) = Decoder::handshake().decode(&mut rest).map_err(|e| e.to_string())? {
            return match frame.message {
                Message::Welcome(w) if w.node == peer.id.0 => match handshake::check_welcome(&hello, &w) {
                    Ok(()) => Ok(Called { stream, version: w.version, rest }),
                    Err(refusal) => Err(refusal.detail),
                },
                Message::Welcome(w) => Err(format!("`{}` answers there, not `{}`", w.name, peer.name)),
                Message::Failure(f) => Err(f.detail),
                other => Err(format!("{} in answer to the greeting", other.name())),
            };
        }
        if stream.read_buf(&mut rest).await.map_err(|e| e.to_string())? == 0 {
            return Err("the connection was closed during the greeting".into());
        }
    }
}
