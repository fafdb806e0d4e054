//! The front end for Redis' clients: strings, with the commands and the words that they know.
//!
//! It stands outside of the node's loop, on a thread of its own. A key's commands go through the inner door
//! ([`crate::shell::inside`]) to this process's node, which hands them to an owner where it is none itself. All keys are in
//! one bucket, [`BUCKET`]. What holds under concurrency, command by command, stands in `docs/redis.md`.
//!
//! | file | what |
//! | --- | --- |
//! | `server`, `connection` | sockets; one connection: commands in, answers out, in order and bounded |
//! | `codec` | the protocol, without I/O |
//! | `commands` | which command does what, by family |
//! | `op` | what commands do to one key: plain functions |
//! | `lanes` | one key's operations after each other, many at a time; reads and writes of the node |
//! | `scan`, `glob` | keys of all partitions; patterns |
//! | `failures` | the node's refusals as errors |
//! | `app`, `session` | what all connections share, and what each is known by |
//! | `meter` | what is counted |
//!
//! Absent: other types than strings, transactions, scripts, publishing, passwords, TLS; databases but 0.

mod app;
pub mod codec;
mod commands;
mod connection;
mod failures;
mod glob;
mod lanes;
mod limits;
pub mod meter;
mod op;
mod scan;
mod server;
mod session;

pub use crate::front::server::bind;
pub use app::{App, Times};
pub use lanes::BUCKET;
pub use meter::Meter;
pub use server::Server;
