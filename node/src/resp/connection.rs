//! One connection: commands are taken as they come and begun at once, and answered in their order.
//!
//! Bounded are the commands under way and what they hold; beyond that nothing more is read until some are answered. Who
//! sends a part of a command and no more, or takes no answers, is cut off; whoever has sent all and closed that direction
//! still gets the answers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::app::App;
use super::codec::{Decoder, Protocol, Reply};
use super::commands::{self, Answering, Answers, Outcome};
use super::failures;
use super::limits::{
    BYTES_FREE, DRAIN_BYTES_MAX, DRAIN_TIME, KEEPALIVE, OUT_BYTES, PIPELINE_BYTES_MAX, PIPELINE_MAX, READ_BYTES,
};
use super::meter::Named;
use super::session::Session;
use crate::front::server::Stopped;
use crate::front::stall::Stall;

struct Connection<'a> {
    app: &'a Arc<App>,
    session: Session,
    read: BytesMut,
    decoder: Decoder,
    /// Begun, in their order.
    commands: VecDeque<Begun>,
    /// What those hold.
    commands_bytes: usize,
    share: Share,
    /// When a command that is not complete must be.
    complete_by: Option<Instant>,
    /// No more commands are taken: farewell was said, or nothing more can be understood.
    ends: bool,
    /// It ends with an error, while the other side may still be sending.
    in_error: bool,
    /// Nothing more comes.
    closed: bool,
}

/// A command under way.
struct Begun {
    answer: Waiting,
    /// As the connection spoke when it was begun.
    protocol: Protocol,
    bytes: usize,
    /// None: what came was no command.
    named: Option<Named>,
}

enum Waiting {
    Ready(Answers),
    Later(Answering),
}

/// A connection's part of the memory for commands and values.
struct Share {
    of: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, app: &Arc<App>, stopped: Stopped) {
    // Without it Nagle's algorithm and delayed acknowledgements meet: 40 ms a command.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let session = Session { id: app.next_id.fetch_add(1, Relaxed), ..Session::default() };
    let connection = Connection {
        app,
        session,
        read: BytesMut::new(),
        decoder: Decoder::default(),
        commands: VecDeque::new(),
        commands_bytes: 0,
        share: Share { of: Arc::clone(&app.lanes.bytes), held: None },
        complete_by: None,
        ends: false,
        in_error: false,
        closed: false,
    };
    if let Err(why) = connection.run(Stall::new(stream, app.times.stalled), stopped).await {
        debug!("connection over: {why}");
    }
}

impl Connection<'_> {
    async fn run(mut self, mut stream: Stall, mut stopped: Stopped) -> std::io::Result<()> {
        let mut out = BytesMut::new();
        loop {
            self.take_commands();
            if self.commands.is_empty() && (self.ends || self.closed) {
                break;
            }
            let reads = !self.ends && !self.closed && self.has_room();
            if reads && self.read.capacity() - self.read.len() < READ_BYTES / 4 {
                self.read.reserve(READ_BYTES);
            }
            tokio::select! {
                biased;
                () = answers(&mut self.commands, &mut self.commands_bytes, self.app, &mut out),
                    if !self.commands.is_empty() =>
                {
                    stream.write_all(&out).await?;
                    out.clear();
                    if out.capacity() > 2 * OUT_BYTES {
                        out = BytesMut::new();
                    }
                }
                came = stream.read_buf(&mut self.read), if reads => self.closed = came? == 0,
                () = stopped.asked(), if !self.ends => self.ends = true,
                () = sleep_until(self.complete_by.unwrap_or_else(Instant::now)),
                    if reads && self.complete_by.is_some() =>
                {
                    self.end_with(Reply::err("the rest of the command did not come in time"));
                }
            }
        }
        stream.shutdown().await?;
        if self.in_error {
            drop(std::mem::take(&mut self.read));
            let _ = timeout(DRAIN_TIME, drain(&mut stream)).await;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.commands.len() < PIPELINE_MAX && self.commands_bytes < PIPELINE_BYTES_MAX
    }

    /// Begins what has come completely.
    fn take_commands(&mut self) {
        while !self.ends && self.has_room() {
            match self.decoder.next(&mut self.read) {
                Ok(Some(words)) => {
                    self.complete_by = None;
                    self.begin(words);
                }
                Ok(None) => {
                    if self.decoder.is_within(&self.read) {
                        self.complete_by.get_or_insert_with(|| Instant::now() + self.app.times.command);
                    }
                    break;
                }
                Err(why) => self.end_with(Reply::err(why.to_string())),
            }
        }
        if !self.ends && !self.share.fit(self.held()) {
            self.end_with(failures::reply(&failures::full()));
        }
    }

    fn held(&self) -> usize {
        self.read.len() + self.decoder.held() + self.commands_bytes
    }

    fn begin(&mut self, words: Vec<Bytes>) {
        let named = Some(Named::of(&words[0]));
        let bytes = commands::bytes(&words);
        let outcome = match self.share.fit(self.held() + bytes) {
            true => commands::begin(self.app, &mut self.session, words),
            false => Outcome::Now(failures::reply(&failures::full())),
        };
        let answer = match outcome {
            Outcome::Now(reply) => Waiting::Ready(reply.into()),
            Outcome::Later(answering) => Waiting::Later(answering),
        };
        // The answer to HELLO is the first in the new version.
        self.commands.push_back(Begun { answer, protocol: self.session.protocol, bytes, named });
        self.commands_bytes += bytes;
        self.ends |= self.session.quits;
    }

    /// Answers what was begun, then this, and ends.
    fn end_with(&mut self, error: Reply) {
        let (answer, protocol) = (Waiting::Ready(error.into()), self.session.protocol);
        self.commands.push_back(Begun { answer, protocol, bytes: 0, named: None });
        (self.ends, self.in_error) = (true, true);
    }
}

/// Waits for the answer that is next, and takes all that are ready with it.
async fn answers(commands: &mut VecDeque<Begun>, bytes: &mut usize, app: &App, out: &mut BytesMut) {
    poll_fn(|cx| {
        let mut some = false;
        while out.len() < OUT_BYTES
            && let Some(Begun { answer, .. }) = commands.front_mut()
        {
            if let Waiting::Later(answering) = answer {
                let Poll::Ready(answers) = answering.as_mut().poll(cx) else { break };
                *answer = Waiting::Ready(answers);
            }
            some = true;
            let Some(Begun { answer: Waiting::Ready(Answers { reply, .. }), protocol, bytes: held, named }) =
                commands.pop_front()
            else {
                break;
            };
            *bytes -= held;
            match (named, &reply) {
                (Some(named), reply) => app.meter.answered(named, reply),
                (None, Reply::Error(text)) => app.meter.failed(text),
                (None, _) => {}
            }
            reply.encode(protocol, out);
        }
        if some { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl Share {
    /// Holds what so many bytes need. False: there is not so much.
    fn fit(&mut self, bytes: usize) -> bool {
        let needed = if bytes <= BYTES_FREE { 0 } else { bytes };
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= held {
            // Not at every command.
            if needed < held / 2 {
                let back = self.held.as_mut().and_then(|permit| permit.split(held - needed));
                drop(back);
            }
            return true;
        }
        let more = u32::try_from(needed - held).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.of).try_acquire_many_owned(more) else { return false };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        true
    }
}

/// Reads on for a moment.
async fn drain(stream: &mut Stall) {
    let mut bytes = vec![0; READ_BYTES];
    let mut left = DRAIN_BYTES_MAX;
    while let Ok(came @ 1..) = stream.read(&mut bytes).await {
        left = left.saturating_sub(came);
        if left == 0 {
            return;
        }
    }
}
