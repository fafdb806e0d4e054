//! Who comes to us: the first frame of a connection decides who is at its other end, and what it may do.

use std::net::SocketAddr;

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Frame, Inspect, Message, Role as Greeting, Topic, Welcome, handshake};
use dynode_ring::NodeId;
use dynode_storage::Engine;
use tokio::time::Instant;
use tracing::warn;

use super::Setup;
use super::connection::{Connection, Role};
use super::limits::{REFUSALS_TOLD, REFUSALS_TOLD_EVERY};
use crate::protocol::{Node, failure};

/// The proof that a peer knows the cluster's secret.
pub fn peer_token(secret: &[u8], cluster: &[u8; 16], node: NodeId) -> [u8; 16] {
    let key = blake3::derive_key("dynode 2026 peer token v1", secret);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(cluster);
    hasher.update(&node.0.to_le_bytes());
    let mut token = [0; 16];
    hasher.finalize_xof().fill(&mut token);
    token
}

/// What the log says of those who are refused: not so much that strangers could fill a disk with it.
pub(super) struct Refusals {
    /// So many may be told at once.
    left: u32,
    since: Instant,
    untold: u64,
}

impl Refusals {
    pub(super) fn new(now: Instant) -> Refusals {
        Refusals { left: REFUSALS_TOLD, since: now, untold: 0 }
    }

    pub(super) fn tell(&mut self, peer: SocketAddr, why: &str) {
        let more = self.since.elapsed().as_secs() / REFUSALS_TOLD_EVERY.as_secs();
        if more > 0 {
            self.left = REFUSALS_TOLD.min(self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)));
            self.since = Instant::now();
        }
        if self.left == 0 {
            self.untold += 1;
            return;
        }
        self.left -= 1;
        match std::mem::take(&mut self.untold) {
            0 => warn!(%peer, "{why}"),
            untold => warn!(%peer, untold, "{why}"),
        }
    }
}

/// Does somebody on this machine ask for the secret of a node that serves only this machine?
pub(super) fn asks_for_secret(setup: &Setup, connection: &Connection, frame: &Frame) -> bool {
    let is_loopback = |addr: std::io::Result<std::net::SocketAddr>| addr.is_ok_and(|addr| addr.ip().is_loopback());
    matches!(&frame.message, Message::Inspect(Inspect { topic: Topic::Secret }))
        && connection.role == Role::Client
        && connection.addr.ip().is_loopback()
        && is_loopback(setup.listener.local_addr())
}

/// Decides on a stranger's first frame.
pub(super) fn welcome<E: Engine>(
    setup: &Setup,
    node: &Node<E>,
    refusals: &mut Refusals,
    connection: &mut Connection,
    frame: Frame,
) {
    let refusal = match frame.message {
        Message::Hello(hello) => match handshake::accept(&hello, setup.cluster) {
            Ok(version) => match role_of(setup, node, &hello.role) {
                Ok(role) => {
                    let welcome =
                        Welcome { version, cluster: setup.cluster, node: node.id().0, name: setup.name.clone() };
                    connection.accept(role, version);
                    let _ = connection.push(frame.request, &welcome.into(), &Bytes::new());
                    return;
                }
                Err(detail) => failure(ErrorCode::Refused, detail),
            },
            Err(refusal) => refusal,
        },
        other => failure(ErrorCode::Refused, format!("a connection begins with Hello, not {}", other.name())),
    };
    refusals.tell(connection.addr, &format!("refused: {}", refusal.detail));
    let _ = connection.push(frame.request, &refusal.into(), &Bytes::new());
    connection.close_after_writing();
}

fn role_of<E: Engine>(setup: &Setup, node: &Node<E>, role: &Greeting) -> Result<Role, String> {
    match role {
        Greeting::Client => Ok(Role::Client),
        Greeting::Peer { node: id, token } => {
            let id = NodeId(*id);
            if peer_token(&setup.secret, &setup.cluster, id) != *token {
                return Err("the caller does not know the cluster's secret".into());
            }
            // Who knows the secret is at least a guest; what it may do is decided by what it asks.
            match id != node.id() {
                true => Ok(Role::PeerIn(id)),
                false => Err("the caller says that it is this very node: two nodes of one name?".into()),
            }
        }
    }
}
