//! The wire format: what travels between clients, nodes and peers, byte for byte.
//!
//! A connection carries frames both ways. All numbers are little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | length: how many bytes follow the first eight |
//! | 4..8 | CRC-32 of all bytes after the first eight |
//! | 8 | version of the format |
//! | 9 | kind of the [`Message`] |
//! | 10..12 | flags: 1: a [`Trace`] follows the fixed part; all others must be 0 |
//! | 12..20 | request id: an answer repeats the one it answers |
//! | 20..24 | length of the header |
//! | 24.. | the trace, where there is one: 16 bytes trace, 8 bytes step, the name behind its length |
//! | then | the header (a struct of [`message`], encoded by bincode), then the body: raw bytes |
//!
//! Many requests are in flight on a connection, and answers come in any order. The first frame each way is the
//! [handshake]. [`OutQueue`] gathers frames to write, [`Decoder`] takes them out of what was read.
//!
//! Decoding never panics, whatever the bytes. An error means that the connection is of no further use: nobody knows
//! where the next frame begins.
//!
//! ```
//! use bytes::{Buf, Bytes, BytesMut};
//! use dynode_client::wire::{self, Frame, GetLayout, OutQueue};
//!
//! let mut out = OutQueue::new();
//! out.push(&Frame { request: 7, trace: None, message: GetLayout {}.into(), body: Bytes::new() })?;
//!
//! let mut read = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
//! let frame = wire::decode(&mut read)?.expect("a whole frame");
//! assert_eq!((frame.request, frame.message.name()), (7, "GetLayout"));
//! # Ok::<(), wire::WireError>(())
//! ```

pub mod handshake;
pub mod limits;
pub mod message;
pub mod meta;

mod error;
mod frame;
mod header;
mod queue;
mod trace;

pub use error::WireError;
pub use frame::{Decoder, Frame, decode, encode};
pub use handshake::{VERSION_GREETING, VERSION_NEWEST, VERSION_OLDEST, agree};
pub use message::*;
pub use meta::{BadEnvelope, Expiry, Hlc, Meta};
pub use queue::OutQueue;
pub use trace::Trace;
