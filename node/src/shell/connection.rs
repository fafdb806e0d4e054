//! One TCP connection: bytes in, frames out of them; frames in, bytes out. It decides nothing.

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use dynode_client::wire::limits::HANDSHAKE_BYTES_MAX;
use dynode_client::wire::{Decoder, ErrorCode, Frame, Message, OutQueue, Trace, VERSION_GREETING, WireError};
use dynode_ring::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::limits::{OUT_BYTES_PAUSE, PART_TIME, READ_BYTES, STALLED_MAX, UNACKNOWLEDGED_MAX};
use crate::protocol::failure;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nobody yet: the first frame must be a greeting.
    Stranger,
    /// A client that came to us.
    Client,
    /// A peer that came to us: it asks, we answer.
    PeerIn(NodeId),
    /// A peer that we went to: we ask, it answers.
    PeerOut(NodeId),
}

pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) addr: SocketAddr,
    stream: TcpStream,
    read: BytesMut,
    out: OutQueue,
    decoder: Decoder,
    /// What is queued is still written, nothing more is read.
    closing: bool,
    /// The buffer was filled: there may be more to read without a wake-up.
    more: bool,
    /// Frames taken so far.
    frames: u64,
    /// What came of a frame was first seen then, after so many others.
    part: Option<(u64, Instant)>,
    /// So much is still to come of a request that was refused before it was whole.
    skip: usize,
    /// Requests refused before they were whole.
    pub(super) refused: u64,
    /// Bytes written so far.
    written: u64,
    /// Something waited to be written then, after so much else.
    untaken: Option<(u64, Instant)>,
}

/// A peer that is cut off without a word must not keep its connection for as long as TCP would.
fn give_up_in_time(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    #[error("closed by the other side")]
    Closed,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("done")]
    Done,
    #[error("the rest of a request did not come in time, or answers were not taken")]
    Stuck,
}

impl Connection {
    /// With somebody who came to us, and is to greet us.
    pub(super) fn of_stranger(stream: TcpStream, addr: SocketAddr) -> Connection {
        Connection::new(stream, addr, Role::Stranger, VERSION_GREETING, BytesMut::new())
    }

    /// The greeting agreed on `version`; `read` is what has come since.
    pub(super) fn new(stream: TcpStream, addr: SocketAddr, role: Role, version: u8, read: BytesMut) -> Connection {
        // Without it Nagle's algorithm and delayed acknowledgements meet: 40 ms a request.
        let _ = stream.set_nodelay(true);
        if matches!(role, Role::PeerOut(_)) {
            give_up_in_time(&stream);
        }
        let decoder = if role == Role::Stranger { Decoder::handshake() } else { Decoder::new() };
        Connection {
            role,
            addr,
            stream,
            read,
            out: OutQueue::of_version(version),
            decoder,
            closing: false,
            more: true,
            frames: 0,
            part: None,
            skip: 0,
            refused: 0,
            written: 0,
            untaken: None,
        }
    }

    /// The greeting was accepted.
    pub(super) fn accept(&mut self, role: Role, version: u8) {
        self.out.agreed(version);
        self.role = role;
        if matches!(role, Role::PeerIn(_)) {
            give_up_in_time(&self.stream);
        }
        self.decoder = if role == Role::Client { Decoder::requests() } else { Decoder::new() };
        self.more = true;
    }

    /// Queues a frame; an error leaves the queue as it was.
    pub(super) fn push(&mut self, request: u64, message: &Message, body: &Bytes) -> Result<(), WireError> {
        self.out.push_parts(request, message, body)
    }

    /// Queues a request, with what it is known by.
    pub(super) fn ask(
        &mut self,
        request: u64,
        trace: Option<&Trace>,
        message: &Message,
        body: &Bytes,
    ) -> Result<(), WireError> {
        self.out.push_traced(request, trace, message, body)
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len_bytes()
    }

    /// The memory that what waits to be written takes, in bytes.
    pub(super) fn untaken(&self) -> usize {
        self.out.held_bytes()
    }

    /// Writes what is queued, reads no more, and is then over.
    pub(super) fn close_after_writing(&mut self) {
        self.closing = true;
    }

    /// What it holds of a client's unfinished request beyond what is free.
    pub(super) fn unfinished(&self) -> usize {
        if self.role == Role::Client { self.read.len().saturating_sub(READ_BYTES) } else { 0 }
    }

    /// Has a client sent a part of a request and then not the rest of it for too long, or taken nothing of its answers? To
    /// be asked now and then.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        if self.role != Role::Client {
            return false;
        }
        let has_part = !self.read.is_empty() || self.skip > 0;
        let part = stands_still(&mut self.part, has_part.then_some(self.frames), now) > PART_TIME;
        let waits = self.waiting() > 0;
        let untaken = stands_still(&mut self.untaken, waits.then_some(self.written), now) > STALLED_MAX;
        part || untaken
    }

    /// May there be frames without another wake-up?
    pub(super) fn has_more(&self) -> bool {
        self.more && !self.closing && self.waiting() < OUT_BYTES_PAUSE
    }

    /// Writes as much as the socket takes.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        while !self.out.is_empty() {
            match pin!(self.stream.write_buf(&mut self.out)).poll(cx) {
                Poll::Ready(Ok(0)) => return Err(Over::Closed),
                Poll::Ready(Ok(bytes)) => self.written += bytes as u64,
                Poll::Ready(Err(e)) => return Err(e.into()),
                Poll::Pending => return Ok(()),
            }
        }
        if self.closing { Err(Over::Done) } else { Ok(()) }
    }

    /// Reads once and hands out the frames. A slow reader of answers is not read from: back-pressure. `limit` frames at
    /// most; the rest stays for the next turn. What a client's unfinished request takes beyond `room` (see
    /// [`Connection::unfinished`]) is not kept: the request is refused.
    pub(super) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        room: usize,
        mut each: impl FnMut(&mut Connection, Frame),
    ) -> Result<(), Over> {
        if self.closing || self.waiting() >= OUT_BYTES_PAUSE {
            self.more = false;
            return Ok(());
        }
        if self.take_frames(limit, &mut each)? == limit {
            self.more = true;
            return Ok(());
        }
        // Of a stranger only a greeting is expected, and no memory for more is touched.
        self.read.reserve(if self.role == Role::Stranger { HANDSHAKE_BYTES_MAX } else { READ_BYTES });
        self.more = false;
        match pin!(self.stream.read_buf(&mut self.read)).poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => Err(Over::Closed),
            Poll::Ready(Err(e)) => Err(e.into()),
            Poll::Ready(Ok(_)) => {
                self.more = true;
                let taken = self.take_frames(limit, &mut each)?;
                if taken < limit && self.unfinished() > room { self.refuse_unfinished() } else { Ok(()) }
            }
        }
    }

    /// Refuses the request of which a part has come, forgets that part, and the rest when it comes.
    fn refuse_unfinished(&mut self) -> Result<(), Over> {
        let Some((request, bytes)) = self.decoder.begun(&self.read)? else { return Ok(()) };
        self.skip = bytes.saturating_sub(self.read.len());
        self.read = BytesMut::new();
        self.frames += 1;
        self.refused += 1;
        let detail = "requests of which only a part has come take all the memory there is for them: try again later; \
                      nothing was changed";
        self.push(request, &failure(ErrorCode::Overloaded, detail).into(), &Bytes::new())?;
        Ok(())
    }

    fn take_frames(&mut self, limit: usize, each: &mut impl FnMut(&mut Connection, Frame)) -> Result<usize, Over> {
        let skipped = self.skip.min(self.read.len());
        self.read.advance(skipped);
        self.skip -= skipped;
        for taken in 0..limit {
            if self.closing {
                return Ok(taken);
            }
            match self.decoder.decode(&mut self.read)? {
                Some(frame) => {
                    self.frames += 1;
                    each(self, frame);
                }
                None => return Ok(taken),
            }
        }
        Ok(limit)
    }
}

/// For how long `count` has been the same; `None`: there is nothing that could move.
fn stands_still(seen: &mut Option<(u64, Instant)>, count: Option<u64>, now: Instant) -> Duration {
    let Some(count) = count else {
        *seen = None;
        return Duration::ZERO;
    };
    match *seen {
        Some((before, since)) if before == count => now.saturating_duration_since(since),
        _ => {
            *seen = Some((count, now));
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use dynode_client::wire::{self, GetLayout};
    use tokio::net::TcpListener;

    use super::*;

    /// A client's connection, and its other end.
    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, addr) = listener.accept().await.unwrap();
        (Connection::new(stream, addr, Role::Client, wire::VERSION_NEWEST, BytesMut::new()), far)
    }

    /// Reads until so many bytes of an unfinished frame are there, and so many frames came.
    async fn read(connection: &mut Connection, part: usize, frames: u64) {
        poll_fn(|cx| {
            connection.poll_frames(cx, 100, usize::MAX, |_, _| {}).unwrap();
            let has = connection.read.len() == part && connection.frames == frames;
            if has { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn who_sends_a_part_of_a_request_and_no_more_is_stuck() {
        let (mut connection, mut far) = pair().await;
        let mut frame = BytesMut::new();
        wire::encode(7, &GetLayout {}.into(), &[], &mut frame).unwrap();
        let begun = Instant::now();
        let late = begun + PART_TIME + Duration::from_secs(1);
        assert!(!connection.is_stuck(begun) && !connection.is_stuck(late), "who says nothing waits for nothing");
        far.write_all(&frame[..9]).await.unwrap();
        read(&mut connection, 9, 0).await;
        assert!(!connection.is_stuck(begun) && !connection.is_stuck(begun + PART_TIME));
        assert!(connection.is_stuck(late));
        // The rest comes after all, and a part of another one.
        far.write_all(&frame[9..]).await.unwrap();
        far.write_all(&frame[..5]).await.unwrap();
        read(&mut connection, 5, 1).await;
        assert!(!connection.is_stuck(late), "that is another one");
        assert!(connection.is_stuck(late + PART_TIME + Duration::from_secs(1)));
        connection.role = Role::PeerIn(NodeId(1));
        assert!(!connection.is_stuck(late + 2 * PART_TIME), "of peers there are other signs");
    }
}
