//! The bounds of the HTTP front end, each with its reason. Values, keys and contexts have those of
//! `dynode_client::wire::limits`.

use std::time::Duration;

/// Connections served at once; further ones wait in the system's queue. Each holds some 30 KiB while it is idle.
pub(super) const CONNECTIONS_MAX: usize = 1024;

/// The head of a request must be there so long after the last answer. It bounds idle connections, and those that send a
/// byte now and then (slow loris).
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);

/// A body must be there so long after its head: 8 MiB at 1.2 Mbit/s.
pub(super) const BODY_TIME: Duration = Duration::from_secs(60);

/// A client that takes nothing of an answer for so long is cut off.
pub(super) const STALLED_MAX: Duration = Duration::from_secs(30);

/// A request's head, in bytes: the largest context is 88 KiB as base64, a bucket and a key 6 KiB, percent-encoded. hyper
/// answers 431 beyond it.
pub(super) const HEAD_BYTES_MAX: usize = 128 << 10;

/// Header fields in a head, for the same reason as for any list; browsers send about 20.
pub(super) const HEADERS_MAX: usize = 64;

/// Bodies in memory, of requests and answers together: as many bytes as the node holds for its operations. Beyond it the
/// answer is 429.
pub(super) const BODY_BYTES_MAX: usize = 256 << 20;

/// A bucket's properties, as JSON: ten times what all of them take.
pub(super) const PROPERTIES_BYTES_MAX: usize = 2 << 10;

/// A body that is too large is read on to its end for so long, so that the client sees the answer rather than a reset.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// And up to so much of it.
pub(super) const DRAIN_BYTES_MAX: usize = 32 << 20;

/// The time that a request has when it does not say: as the client library has it.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// What `timeout` may say at most: the node remembers nothing longer on a client's behalf.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Keys in a page when nobody says how many, and at most: with keys of 1 KiB a page of the latter is 10 MiB.
pub(super) const KEYS_DEFAULT: u32 = 1000;
pub(super) const KEYS_MAX: u32 = 10_000;

/// Pages of keys put together at once: each asks every partition of two owners.
pub(super) const LISTINGS_MAX: usize = 8;

/// A node that does not answer for so long is not ready.
pub(super) const READY_TIME: Duration = Duration::from_secs(2);

/// Reports on the whole cluster: nodes that are down take as long as it takes to notice.
pub(super) const REPORT_TIME: Duration = Duration::from_secs(5);

/// Consoles open at once: each takes the cluster's state every second, about a kilobyte a node.
pub(super) const WATCHERS_MAX: usize = 16;

/// A node that says nothing for so long is shown as not answering: less than the second until the next look.
pub(super) const LOOK_TIME: Duration = Duration::from_millis(900);

/// Nodes asked at once for a look at all of them.
pub(super) const LOOKS_MAX: usize = 32;

/// Keys looked up at once by consoles: each may read 64 values of 8 MiB to show the beginning of each.
pub(super) const LOOKUPS_MAX: usize = 2;

/// What the read of a lookup may take.
pub(super) const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// Nodes of a preference list whose copies are shown: the owners, and those that would stand in first.
pub(super) const LOOKUP_COPIES_MAX: usize = 8;

/// The beginning of a value that is shown.
pub(super) const PREVIEW_BYTES: usize = 2048;
