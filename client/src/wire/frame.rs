//! One message in bytes, and back.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::handshake::{VERSION_GREETING, VERSION_NEWEST, VERSION_OLDEST};
use super::limits::{
    BODY_BYTES_MAX, FIXED_BYTES, FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, HEADER_BYTES_MAX, REQUEST_BYTES_MAX,
};
use super::{Message, Trace, WireError};

/// The flag that says: a [`Trace`] stands between the fixed part and the header.
const TRACED: u16 = 1;

/// What the length does not count: itself and the checksum.
const UNCOUNTED: usize = 8;

/// One message on a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The request id: chosen by the asking side, repeated by the answer. Ids are per connection and direction.
    pub request: u64,
    /// By what the request is known in logs and traces, where somebody wants it.
    pub trace: Option<Box<Trace>>,
    /// The message.
    pub message: Message,
    /// The raw bytes that follow it (see the message for what they are). When decoded this shares the memory of the read
    /// buffer: copy it if it is to be kept for long.
    pub body: Bytes,
}

/// Appends a whole frame to `out`: one contiguous run of bytes, the body copied. For many frames, or large bodies, use
/// an [`OutQueue`](super::OutQueue). The frame has the version that all speak whom this release speaks to:
/// [`VERSION_OLDEST`].
///
/// # Errors
///
/// [`WireError::DoesNotFit`], and then `out` is as it was.
pub fn encode(request: u64, message: &Message, body: &[u8], out: &mut BytesMut) -> Result<(), WireError> {
    out.reserve(FIXED_BYTES + body.len());
    encode_with(VERSION_OLDEST, request, None, message, body, true, out)
}

/// As [`encode`], with that version, unless it is a greeting; when not `copied`, the frame counts the body but the caller appends it.
pub(super) fn encode_with(
    version: u8,
    request: u64,
    trace: Option<&Trace>,
    message: &Message,
    body: &[u8],
    copied: bool,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let start = out.len();
    let mut fixed = [0; FIXED_BYTES];
    fixed[8] = if message.is_greeting() { VERSION_GREETING } else { version };
    fixed[9] = message.kind();
    fixed[12..20].copy_from_slice(&request.to_le_bytes());
    if trace.is_some() {
        fixed[10..12].copy_from_slice(&TRACED.to_le_bytes());
    }
    out.put_slice(&fixed);
    if let Some(trace) = trace {
        trace.encode(out);
    }
    let before_header = out.len() - start;
    message.encode_header(out);

    let header = out.len() - start - before_header;
    if header > HEADER_BYTES_MAX || body.len() > BODY_BYTES_MAX {
        out.truncate(start);
        return Err(WireError::DoesNotFit { kind: message.name(), header, body: body.len() });
    }
    // Both fit: the bounds above together are far below 4 GiB.
    let length = (before_header - UNCOUNTED + header + body.len()) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 20..start + 24].copy_from_slice(&(header as u32).to_le_bytes());
    if copied {
        out.put_slice(body);
    }

    let mut crc = crc32fast::Hasher::new();
    crc.update(&out[start + UNCOUNTED..]);
    if !copied {
        crc.update(body);
    }
    out[start + 4..start + 8].copy_from_slice(&crc.finalize().to_le_bytes());
    Ok(())
}

/// Takes the next frame out of `buf`, as [`Decoder::new`] does.
///
/// # Errors
///
/// As [`Decoder::decode`].
pub fn decode(buf: &mut BytesMut) -> Result<Option<Frame>, WireError> {
    Decoder::new().decode(buf)
}

/// Takes frames out of what was read.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    frame_bytes_max: usize,
    version_oldest: u8,
}

impl Decoder {
    /// For a connection whose handshake is done: frames up to [`FRAME_BYTES_MAX`].
    pub const fn new() -> Decoder {
        Decoder { frame_bytes_max: FRAME_BYTES_MAX, version_oldest: VERSION_OLDEST }
    }

    /// For what clients send to a node: up to [`REQUEST_BYTES_MAX`], the largest put.
    pub const fn requests() -> Decoder {
        Decoder { frame_bytes_max: REQUEST_BYTES_MAX, version_oldest: VERSION_OLDEST }
    }

    /// For the first frame of a connection: up to [`HANDSHAKE_BYTES_MAX`], so that strangers cannot fill our memory.
    pub const fn handshake() -> Decoder {
        Decoder { frame_bytes_max: HANDSHAKE_BYTES_MAX, version_oldest: VERSION_GREETING }
    }

    /// Takes the next frame out of `buf`; `None` when more bytes are needed first, and then `buf` is as it was. The body
    /// is split off without a copy. What cannot become a frame is refused as early as its bytes show it: a length too
    /// large before anything more is buffered.
    ///
    /// # Errors
    ///
    /// Any [`WireError`] but `DoesNotFit`. The connection should be closed then; calling again gives the same error.
    pub fn decode(&self, buf: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let Some((total, is_traced)) = self.check(buf)? else { return Ok(None) };
        let expected = u32_at(buf, 4);
        let found = crc32fast::hash(&buf[UNCOUNTED..total]);
        if found != expected {
            return Err(WireError::Checksum { expected, found });
        }
        let (mut header_at, mut trace) = (FIXED_BYTES, None);
        if is_traced {
            let found = Trace::decode(&buf[FIXED_BYTES..total])?;
            header_at += found.len_bytes();
            trace = Some(Box::new(found));
        }
        let header_end = header_at + u32_at(buf, 20) as usize;
        if header_end > total {
            return Err(header_length(total, buf));
        }
        let message = Message::decode_header(buf[9], &buf[header_at..header_end])?;
        let request = request_of(buf);
        let body = if header_end == total {
            buf.advance(total);
            Bytes::new()
        } else {
            let mut frame = buf.split_to(total);
            frame.advance(header_end);
            frame.freeze()
        };
        Ok(Some(Frame { request, trace, message, body }))
    }

    /// The request id and the length in bytes of the frame at the beginning of `buf`, as soon as its fixed part is there: so
    /// that a frame can be refused, and passed over, before it is whole.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode`], of what the fixed part shows.
    pub fn begun(&self, buf: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
        self.check(buf)?;
        let is_there = buf.len() >= FIXED_BYTES;
        Ok(is_there.then(|| (request_of(buf), u32_at(buf, 0) as usize + UNCOUNTED)))
    }

    /// Checks what has come of the fixed part. When the whole frame is there: its length, and whether it has a trace.
    fn check(&self, buf: &[u8]) -> Result<Option<(usize, bool)>, WireError> {
        if buf.len() < 4 {
            return Ok(None);
        }
        let bytes = u64::from(u32_at(buf, 0)) + UNCOUNTED as u64;
        if bytes > self.frame_bytes_max as u64 {
            return Err(WireError::TooLong { bytes, max: self.frame_bytes_max });
        }
        let total = bytes as usize;
        if total < FIXED_BYTES {
            return Err(WireError::TooShort { bytes });
        }
        // Before the checksum: a frame of another version need not have one, and bytes that happen to look like a
        // length (a TLS greeting does) should not make anybody wait for megabytes.
        if buf.len() > 8 && !(self.version_oldest..=VERSION_NEWEST).contains(&buf[8]) {
            return Err(WireError::Version(buf[8]));
        }
        if buf.len() < FIXED_BYTES {
            return Ok(None);
        }
        let flags = u16::from_le_bytes([buf[10], buf[11]]);
        if flags & !TRACED != 0 {
            return Err(WireError::Flags(flags));
        }
        let header = u32_at(buf, 20) as usize;
        if header > HEADER_BYTES_MAX || header > total - FIXED_BYTES {
            return Err(header_length(total, buf));
        }
        Ok((buf.len() >= total).then_some((total, flags == TRACED)))
    }
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

fn header_length(total: usize, buf: &[u8]) -> WireError {
    WireError::HeaderLength { frame: total as u64, header: u64::from(u32_at(buf, 20)) }
}

/// The request id in the fixed part. The caller has checked that it is there.
fn request_of(buf: &[u8]) -> u64 {
    u64::from(u32_at(buf, 12)) | u64::from(u32_at(buf, 16)) << 32
}

/// The number at `at`. The caller has checked that it is there.
fn u32_at(buf: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([buf[at], buf[at + 1], buf[at + 2], buf[at + 3]])
}
