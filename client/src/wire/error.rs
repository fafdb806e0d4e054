//! What can be wrong with bytes from the other side.

use super::handshake::{VERSION_NEWEST, VERSION_OLDEST};
use super::limits;

/// Bytes that are not a frame of ours, or a frame that cannot be sent. After an error from decoding, the connection is
/// of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The frame announces more than may be sent.
    #[error("a frame of {bytes} bytes was announced, at most {max} are allowed: this is hardly a dynode's native port")]
    TooLong {
        /// Length announced, all included.
        bytes: u64,
        /// What is allowed at this point of the connection.
        max: usize,
    },

    /// The frame announces less than a frame has at least.
    #[error("a frame of {bytes} bytes was announced, less than any has: this is hardly a dynode's native port")]
    TooShort {
        /// Length announced, all included.
        bytes: u64,
    },

    /// The frame's version is not one of ours.
    #[error(
        "a frame has version {0}, this side speaks {VERSION_OLDEST} to {VERSION_NEWEST}: \
         the other side is no dynode, or another release of it"
    )]
    Version(u8),

    /// A flag is set that does not exist.
    #[error("a frame has the unknown flags {0:#06x}: the other side is a newer release, or the bytes were damaged")]
    Flags(u16),

    /// The checksum does not fit.
    #[error("a frame's checksum is {found:08x} instead of {expected:08x}: bytes were damaged on the way")]
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },

    /// There is no message of that kind.
    #[error("a frame is of the unknown kind {0}: the other side is probably a newer release")]
    UnknownKind(u8),

    /// The header does not fit into its frame, or is longer than any.
    #[error("a frame of {frame} bytes announces a header of {header}, at most {max} are allowed", max = limits::HEADER_BYTES_MAX)]
    HeaderLength {
        /// Length of the frame, all included.
        frame: u64,
        /// Length that the header should have.
        header: u64,
    },

    /// What stands where a request's trace should is none.
    #[error("a frame's trace makes no sense: the other side is probably another release")]
    Trace,

    /// The header is not what its kind asks for, although the checksum fits.
    #[error("a frame's header makes no sense ({detail}): the other side is probably another release")]
    Header {
        /// What the decoder says.
        detail: String,
    },

    /// A message of ours does not fit into a frame. Nothing was sent.
    #[error("a {kind} message of {header} bytes of header and {body} of body does not fit into a frame")]
    DoesNotFit {
        /// The message's name.
        kind: &'static str,
        /// Length of its header.
        header: usize,
        /// Length of its body.
        body: usize,
    },
}
