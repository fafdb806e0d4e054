//! Frames that wait to be written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::encode_with;
use super::handshake::VERSION_GREETING;
use super::limits::BODY_COPIED_MAX;
use super::{Frame, Message, Trace, WireError};

/// An emptied queue keeps at most so much memory for the next turn: the ordinary turn's writes fit, a rare burst is
/// given back.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Frames on their way out, gathered for one write.
///
/// Small frames become one contiguous run of bytes, without an allocation for each; a body longer than
/// [`BODY_COPIED_MAX`] is queued as it is. The queue is a [`Buf`], so that `write_buf` and friends write it with one
/// vectored system call and [`advance`](Buf::advance) over what was taken.
///
/// The queue has no bound of its own: whoever fills it watches [`len_bytes`](OutQueue::len_bytes).
#[derive(Debug)]
pub struct OutQueue {
    version: u8,
    /// Runs of bytes before the tail, none of them empty.
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    chunks_bytes: usize,
    /// Bytes that were taken of the first of them.
    taken: usize,
    /// The run that small frames are appended to.
    tail: BytesMut,
}

impl OutQueue {
    /// An empty queue for a connection whose handshake is still to come: frames have [`VERSION_GREETING`].
    pub fn new() -> OutQueue {
        OutQueue::of_version(VERSION_GREETING)
    }

    /// An empty queue for a connection whose handshake has agreed on a version.
    pub fn of_version(version: u8) -> OutQueue {
        OutQueue { version, chunks: VecDeque::new(), chunks_bytes: 0, taken: 0, tail: BytesMut::new() }
    }

    /// The handshake has agreed on a version: all frames from here on have it.
    pub fn agreed(&mut self, version: u8) {
        self.version = version;
    }

    /// Appends a frame.
    ///
    /// # Errors
    ///
    /// [`WireError::DoesNotFit`], and then the queue is as it was.
    pub fn push(&mut self, frame: &Frame) -> Result<(), WireError> {
        self.push_traced(frame.request, frame.trace.as_deref(), &frame.message, &frame.body)
    }

    /// Appends a frame that is still in parts. The body is cloned (not copied) when it is long.
    ///
    /// # Errors
    ///
    /// [`WireError::DoesNotFit`], and then the queue is as it was.
    pub fn push_parts(&mut self, request: u64, message: &Message, body: &Bytes) -> Result<(), WireError> {
        self.push_traced(request, None, message, body)
    }

    /// As [`push_parts`](OutQueue::push_parts), with what the request is known by.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn push_traced(
        &mut self,
        request: u64,
        trace: Option<&Trace>,
        message: &Message,
        body: &Bytes,
    ) -> Result<(), WireError> {
        let copied = body.len() <= BODY_COPIED_MAX;
        encode_with(self.version, request, trace, message, body, copied, &mut self.tail)?;
        if !copied {
            self.push_chunk_tail();
            self.chunks_bytes += body.len();
            self.chunks.push_back(body.clone());
        }
        Ok(())
    }

    /// Bytes that wait.
    pub fn len_bytes(&self) -> usize {
        self.chunks_bytes + self.tail.len()
    }

    /// Bytes of memory that what waits takes: a long body is freed when all of it is taken.
    pub fn held_bytes(&self) -> usize {
        self.len_bytes() + self.taken
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    fn push_chunk_tail(&mut self) {
        self.chunks_bytes += self.tail.len();
        self.chunks.push_back(self.tail.split().freeze());
    }
}

impl Default for OutQueue {
    fn default() -> OutQueue {
        OutQueue::new()
    }
}

impl Buf for OutQueue {
    fn remaining(&self) -> usize {
        self.len_bytes()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail[..], |chunk| &chunk[..])
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let runs = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]).filter(|run| !run.is_empty());
        let mut count = 0;
        for (slot, run) in dst.iter_mut().zip(runs) {
            *slot = IoSlice::new(run);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len_bytes(), "advanced by {count} of {} bytes", self.len_bytes());
        while let Some(front) = self.chunks.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            self.chunks_bytes -= step;
            count -= step;
            self.taken += step;
            if !front.is_empty() {
                return;
            }
            self.chunks.pop_front();
            self.taken = 0;
        }
        self.tail.advance(count);
        if self.tail.is_empty() && self.tail.capacity() > KEPT_BYTES_MAX {
            self.tail = BytesMut::new();
        }
    }
}
