//! Redis' protocol, versions 2 and 3: commands in, answers out. Nothing here reads or writes a socket.
//!
//! See <https://redis.io/docs/latest/develop/reference/protocol-spec/>. Where what comes is no protocol, the words are Redis'.

mod inline;
mod number;
mod reply;
mod request;

pub use number::integer;
pub use reply::{Protocol, Reply};
pub use request::{Decoder, ProtocolError};
