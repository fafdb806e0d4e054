//! What all front ends need, whatever they speak: a listener with a thread of its own, sockets whose other side may not
//! stop reading, and keys listed from all partitions.
//!
//! | file | what |
//! | --- | --- |
//! | `server` | accepting connections, their bound, stopping |
//! | `stall` | writes that make no progress |
//! | `listing` | keys in order, of one partition or of all |

pub(crate) mod limits;
pub(crate) mod listing;
pub(crate) mod server;
pub(crate) mod stall;
