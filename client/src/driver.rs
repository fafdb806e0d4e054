//! The task of one connection: greets, then writes what has gathered, reads what has come, keeps the deadlines.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::Error;
use crate::connection::{Connection, Shared};
use crate::health::Health;
use crate::limits::{CONNECT_TIMEOUT, READ_BYTES};
use crate::wire::handshake::check_welcome;
use crate::wire::{Decoder, Frame, Hello, Message, OutQueue, Welcome};

/// Reads a connection does in one go before others get their turn.
const READS_MAX: usize = 8;

pub(crate) struct Driver {
    stream: TcpStream,
    shared: Arc<Shared>,
    read: BytesMut,
    /// What is being written.
    out: OutQueue,
    /// Bytes that the socket has taken since the handshake.
    written: u64,
    /// Others were let run once, so that their frames gather with those that wait.
    gathered: bool,
    /// Rings at `armed`.
    alarm: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    frames: Vec<Frame>,
    wakers: Vec<Waker>,
}

impl Driver {
    /// Connects to `addr` and greets.
    pub(crate) async fn open(
        addr: &str,
        hello: &Hello,
        in_flight_max: usize,
        health: Arc<Health>,
    ) -> Result<(Connection, Driver, Welcome), Error> {
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let mut stream = TcpStream::connect(addr).await.map_err(|e| unreachable_at(addr, &e))?;
            // Small requests must not wait for the acknowledgements of others.
            stream.set_nodelay(true).map_err(|e| unreachable_at(addr, &e))?;
            let mut read = BytesMut::with_capacity(READ_BYTES);
            let welcome = greet(addr, &mut stream, &mut read, hello).await?;
            Ok((stream, read, welcome))
        });
        let (stream, read, welcome) =
            opened.await.unwrap_or_else(|_| Err(unreachable_at(addr, &"no answer to the greeting in time")))?;
        let (connection, shared) = Connection::new(in_flight_max, health, welcome.version);
        let driver = Driver {
            stream,
            shared,
            read,
            out: OutQueue::of_version(welcome.version),
            written: 0,
            gathered: false,
            alarm: Box::pin(tokio::time::sleep(CONNECT_TIMEOUT)),
            armed: None,
            frames: Vec::new(),
            wakers: Vec::new(),
        };
        Ok((connection, driver, welcome))
    }

    /// Runs the connection until it ends, and says why it did.
    pub(crate) async fn run(mut self, addr: &str) -> Error {
        let why = match poll_fn(|cx| self.poll(cx)).await {
            Ended::Io(e) => unreachable_at(addr, &e),
            Ended::Why(why) => unreachable_at(addr, &why),
            Ended::Error(e) => e,
        };
        self.shared.close(self.written, &why);
        why
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        // Reading first: whoever gets an answer often asks again, and those requests are then written together.
        if let Poll::Ready(ended) = self.poll_read(cx) {
            return Poll::Ready(ended);
        }
        if let Poll::Ready(ended) = self.poll_write(cx) {
            return Poll::Ready(ended);
        }
        self.poll_deadlines(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..READS_MAX {
            self.read.reserve(READ_BYTES / 2);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Ended::Why("the node closed the connection")),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Ended::Io(e)),
            }
            let decoded = loop {
                match Decoder::new().decode(&mut self.read) {
                    Ok(Some(frame)) => self.frames.push(frame),
                    Ok(None) => break Ok(()),
                    Err(e) => break Err(e),
                }
            };
            self.shared.complete(&mut self.frames, &mut self.wakers);
            self.wakers.drain(..).for_each(Waker::wake);
            if let Err(e) = decoded {
                return Poll::Ready(Ended::Error(e.into()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if self.out.is_empty() {
                if !self.gathered && self.shared.has_frames() {
                    // Back to the end of the queue of tasks, once: others that are ready add their frames.
                    self.gathered = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.gathered = false;
                if !self.shared.take_frames(&mut self.out, cx) {
                    return Poll::Pending;
                }
            }
            match poll_write_buf(Pin::new(&mut self.stream), cx, &mut self.out) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) => self.written += n as u64,
                Poll::Ready(Err(e)) => return Poll::Ready(Ended::Io(e)),
            }
        }
    }

    /// One timer for all: it is set to the earliest deadline there was when it was set. As requests have the same time
    /// ahead, it rings about once in that time, however many requests there are.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let next = self.shared.next_deadline();
            if next != self.armed {
                self.armed = next;
                if let Some(next) = next {
                    self.alarm.as_mut().reset(next.into());
                }
            }
            if next.is_none() || self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let dead = self.shared.expire(Instant::now(), &mut self.wakers);
            self.wakers.drain(..).for_each(Waker::wake);
            // The alarm has rung: set it anew even for the same time.
            self.armed = None;
            if dead {
                return Poll::Ready(Ended::Why("the node has been silent for too long"));
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.close(self.written, &Error::Unreachable { detail: "the client was dropped".into() });
    }
}

enum Ended {
    Io(std::io::Error),
    Why(&'static str),
    Error(Error),
}

async fn greet(addr: &str, stream: &mut TcpStream, read: &mut BytesMut, hello: &Hello) -> Result<Welcome, Error> {
    let mut out = OutQueue::new();
    out.push(&Frame { request: 0, trace: None, message: hello.clone().into(), body: Bytes::new() })?;
    stream.write_all_buf(&mut out).await.map_err(|e| unreachable_at(addr, &e))?;
    let answer = loop {
        if let Some(frame) = Decoder::handshake().decode(read)? {
            break frame;
        }
        if stream.read_buf(read).await.map_err(|e| unreachable_at(addr, &e))? == 0 {
            return Err(unreachable_at(
                addr,
                &"the other side closed the connection instead of answering the greeting",
            ));
        }
    };
    match answer.message {
        Message::Welcome(welcome) => match check_welcome(hello, &welcome) {
            Ok(()) => Ok(welcome),
            Err(refusal) => Err(Error::Refused { detail: format!("{addr}: {}", refusal.detail) }),
        },
        Message::Failure(mut failure) => {
            failure.detail = format!("{addr}: {}", failure.detail);
            Err(failure.into())
        }
        other => Err(Error::Unexpected { detail: format!("{addr}: {} to a greeting", other.name()) }),
    }
}

fn unreachable_at(addr: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Unreachable { detail: format!("{addr}: {why}") }
}
