//! The HTTP front end: any client can read and write, with nothing but HTTP's own words.
//!
//! It stands outside of the node's loop, on a thread of its own. A key's requests go through the inner door
//! ([`crate::shell::inside`]) to this process's node, which hands them to an owner where it is none itself; what needs
//! answers of several nodes (reports, listings) goes by the client library.
//!
//! | file | what |
//! | --- | --- |
//! | `server` | sockets and their bounds; accepting and stopping are as for all front ends (`crate::front`) |
//! | `api` | which request goes where, and the description of it all (OpenAPI) |
//! | `app` | what all requests share |
//! | `params`, `body` | what comes in, checked and bounded; how bodies leave |
//! | `refusal` | errors as JSON |
//! | `kv`, `seen`, `conditions` | a key: reading and writing; what was read as an answer; `If-Match` and `If-None-Match` |
//! | `keys` | a page of keys |
//! | `buckets` | what a bucket is like, and changing it |
//! | `cluster` | the cluster, this node's own copies, probes |
//! | `console/` | the page at `/`, live |
//! | `trace` | requests' ids in the log |
//! | `metrics` | all counters as Prometheus text |
//!
//! Absent: no state of a client, no session. HTTP/1.1 only, and no TLS yet: a listener beyond loopback needs `--insecure`.

mod api;
mod app;
mod body;
mod buckets;
mod cluster;
mod conditions;
mod console;
mod keys;
mod kv;
mod limits;
mod metrics;
mod params;
mod refusal;
mod seen;
mod server;
mod trace;

pub use crate::front::server::bind;
pub use api::description;
pub use app::{App, Times};
pub use server::Server;
