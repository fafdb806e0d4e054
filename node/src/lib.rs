//! dynode itself: the decisions ([`protocol`]), and the shell that runs them on sockets and disks.

pub mod cli;
pub mod config;
mod front;
pub mod http;
pub mod limits;
pub mod protocol;
pub mod resp;
pub mod shell;
#[cfg(feature = "rocksdb")]
pub mod start;
#[cfg(feature = "otel")]
pub mod telemetry;
