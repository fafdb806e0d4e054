//! One connection through the proxy: who calls, the two ways, what they hold back, and the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dynode_client::wire::{Decoder, Message, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{End, Shared, Way};

/// A caller has so long to greet; nodes give strangers as long.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// What a way holds back before the sender is no longer read from: about what a kernel would buffer.
const HELD_BYTES_MAX: usize = 1 << 20;

/// Read at a time: small, so that a throttled way drips and does not gush.
const READ_BYTES: usize = 16 << 10;

/// Which end of a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Caller,
    Callee,
}

/// How a connection ends.
enum Over {
    /// Both ends have said all that they wanted to say.
    Quietly,
    Gone(Gone),
    /// It was told to break.
    Reset,
}

/// Carries one connection to its end.
pub(super) async fn carry(mut caller: TcpStream, node: usize, shared: Arc<Shared>) {
    let _ = caller.set_nodelay(true);
    let mut greeting = BytesMut::new();
    let from = match tokio::time::timeout(GREETING_TIME, who(&mut caller, &mut greeting, &shared)).await {
        Ok(Some(from)) => from,
        Ok(None) | Err(_) => return,
    };
    let (Some(mut there), Some(mut back)) = (shared.way(from, End::Node(node)), shared.way(End::Node(node), from))
    else {
        return;
    };
    // Connecting takes a packet each way.
    tokio::select! {
        () = both_open(&mut there, &mut back) => {}
        () = goes_away(&mut caller, &mut greeting) => return,
    }
    let Ok(mut callee) = TcpStream::connect(&shared.nodes[node].listen).await else {
        // Nobody listens: as close to a refusal as one comes who has accepted.
        let _ = caller.set_zero_linger();
        return;
    };
    let _ = callee.set_nodelay(true);
    let resets = [there.borrow().resets, back.borrow().resets];
    let over = {
        let (from_caller, to_caller) = caller.split();
        let (from_callee, to_callee) = callee.split();
        let (there_too, back_too) = ((there.clone(), resets[0]), (back.clone(), resets[1]));
        let out = pump(from_caller, to_callee, there_too, greeting.freeze(), [Gone::Caller, Gone::Callee]);
        let home = pump(from_callee, to_caller, back_too, Bytes::new(), [Gone::Callee, Gone::Caller]);
        tokio::select! {
            () = reset(&mut there, &mut back, resets) => Over::Reset,
            over = async { tokio::try_join!(out, home) } => over.map_or_else(Over::Gone, |_| Over::Quietly),
        }
    };
    match over {
        Over::Quietly => return,
        // The other end learns of it when the way to it is open.
        Over::Gone(Gone::Caller) => open(&mut there).await,
        Over::Gone(Gone::Callee) => open(&mut back).await,
        Over::Reset => {}
    }
    let _ = (caller.set_zero_linger(), callee.set_zero_linger());
}

/// Who calls, from the first frame. `None`: it has gone before it said so.
async fn who(caller: &mut TcpStream, greeting: &mut BytesMut, shared: &Shared) -> Option<End> {
    loop {
        // From a copy: the node wants to read it, too.
        match Decoder::handshake().decode(&mut greeting.clone()) {
            Ok(None) => {}
            Ok(Some(frame)) => {
                let node = match frame.message {
                    Message::Hello(hello) => match hello.role {
                        Role::Peer { node, .. } => shared.node(node),
                        Role::Client => None,
                    },
                    _ => None,
                };
                return Some(node.map_or(End::Clients, End::Node));
            }
            // No greeting: the node will tell it so.
            Err(_) => return Some(End::Clients),
        }
        if caller.read_buf(greeting).await.ok()? == 0 {
            return None;
        }
    }
}

async fn open(way: &mut watch::Receiver<Way>) {
    // An error means that the proxy ends, and this with it.
    let _ = way.wait_for(|way| !way.cut).await;
}

async fn both_open(there: &mut watch::Receiver<Way>, back: &mut watch::Receiver<Way>) {
    loop {
        open(there).await;
        open(back).await;
        if !there.borrow().cut {
            return;
        }
    }
}

/// Ends when the caller does. What it says meanwhile is kept, up to a bound.
async fn goes_away(caller: &mut TcpStream, said: &mut BytesMut) {
    while said.len() < HELD_BYTES_MAX {
        if !matches!(caller.read_buf(said).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Ends when either way is told to reset its connections. `resets`: how often they were before.
async fn reset(there: &mut watch::Receiver<Way>, back: &mut watch::Receiver<Way>, resets: [u64; 2]) {
    let [was_there, was_back] = resets;
    tokio::select! {
        _ = there.wait_for(|way| way.resets != was_there) => {}
        _ = back.wait_for(|way| way.resets != was_back) => {}
    }
}

/// Carries bytes one way until their end. `ends`: the one that is read from, and the one that is written to. With the way: how
/// often it had been reset when the connection was made.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    (mut way, resets): (watch::Receiver<Way>, u64),
    first: Bytes,
    ends: [Gone; 2],
) -> Result<(), Gone> {
    let mut held = Held { bytes: 0, free_at: Instant::now(), pieces: VecDeque::new() };
    held.take(first, *way.borrow());
    let (mut buffer, mut over) = (BytesMut::new(), false);
    loop {
        let now = *way.borrow_and_update();
        if now.resets != resets {
            // What was held back must not slip through in the moment in which the way is opened and reset: the connection
            // is about to be broken.
            return std::future::pending().await;
        }
        let due = held.pieces.front().map(|(due, _)| *due).filter(|_| !now.cut);
        if over && held.pieces.is_empty() && !now.cut {
            let _ = to.shutdown().await;
            return Ok(());
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            let piece = held.give();
            to.write_all(&piece).await.map_err(|_| ends[1])?;
            continue;
        }
        buffer.reserve(READ_BYTES);
        tokio::select! {
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            read = from.read_buf(&mut buffer), if !over && held.bytes < HELD_BYTES_MAX => {
                match read {
                    Ok(0) => over = true,
                    Ok(_) => held.take(buffer.split().freeze(), *way.borrow()),
                    Err(_) => return Err(ends[0]),
                }
            }
            changed = way.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// What is on its way.
struct Held {
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// When a throttled way has let through all that it has taken.
    free_at: Instant,
}

impl Held {
    fn take(&mut self, piece: Bytes, way: Way) {
        if piece.is_empty() {
            return;
        }
        self.free_at = self.free_at.max(Instant::now());
        if let Some(rate) = way.bytes_per_second {
            self.free_at += Duration::from_secs_f64(piece.len() as f64 / rate.max(1) as f64);
        }
        let behind = self.pieces.back().map_or(self.free_at, |(due, _)| *due);
        self.bytes += piece.len();
        self.pieces.push_back((behind.max(self.free_at + way.delay), piece));
    }

    fn give(&mut self) -> Bytes {
        let (_, piece) = self.pieces.pop_front().unwrap_or_else(|| (Instant::now(), Bytes::new()));
        self.bytes -= piece.len();
        piece
    }
}
