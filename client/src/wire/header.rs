//! The header's encoding. The only file that names bincode.
//!
//! bincode 2.0.1 is small, fast and does what is needed here, but its development has ended (RUSTSEC-2025-0141): there
//! will be no fixes. Hence this fence: two functions that the rest calls, the traps closed inside, and bytes pinned by
//! golden tests. A replacement has to produce the same bytes or come as a new wire version; nothing else changes.
//!
//! The traps:
//! - Without a limit a few hostile bytes claim any amount of memory. [`DECODED_BYTES_MAX`] bounds it; serde preallocates
//!   at most 1 MiB for a list whose length was merely announced.
//! - The limit stops neither recursion nor lists of zero-sized elements: messages have none of either.
//! - Trailing bytes are ignored: the consumed length is compared here.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WireError;
use super::limits::DECODED_BYTES_MAX;

type Format = Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>>;

const FORMAT: Format = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();

/// Appends `header` to `out`, without a further allocation when `out` has room.
pub(super) fn encode<T: Serialize>(header: &T, out: &mut BytesMut) {
    if let Err(e) = bincode::serde::encode_into_writer(header, Appender(out), FORMAT) {
        // Our own data, whose lists know their lengths, into memory: there is no input that gets here.
        unreachable!("a message header did not encode: {e}");
    }
}

/// Reads a header that must be exactly as long as `bytes`.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (header, used) = bincode::serde::decode_from_slice::<T, Format>(bytes, FORMAT)
        .map_err(|e| WireError::Header { detail: e.to_string() })?;
    if used != bytes.len() {
        return Err(WireError::Header { detail: format!("{} bytes are left over", bytes.len() - used) });
    }
    Ok(header)
}

struct Appender<'a>(&'a mut BytesMut);

impl Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.put_slice(bytes);
        Ok(())
    }
}
