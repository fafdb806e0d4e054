//! The bounds of the front end for Redis' protocol, each with its reason. Keys have those of `dynode_client::wire::limits`.

use std::time::Duration;

use dynode_client::wire::limits::VALUE_BYTES_MAX;

/// Connections served at once: client libraries keep pools, and many of them. Each holds some 20 KiB while it is idle.
pub(super) const CONNECTIONS_MAX: usize = 4096;

/// A command must be there so long after its first byte: 32 MiB at 4.5 Mbit/s. It bounds those that send a byte now and then
/// (slow loris). Between commands a connection may be idle for ever, as Redis has it.
pub(super) const COMMAND_TIME: Duration = Duration::from_secs(60);

/// A client that takes nothing of an answer for so long is cut off.
pub(super) const STALLED_MAX: Duration = Duration::from_secs(30);

/// An idle connection is probed after so long, so that those whose other side is gone end. As Redis has it.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(300);

/// One string in a command: the longest value.
pub(super) const BULK_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// All strings of a command together: an `MSET` of four of the longest.
pub(super) const COMMAND_BYTES_MAX: usize = 32 << 20;

/// Strings in a command: half of them keys, each of which may be an operation of its own. Redis takes a million.
pub(super) const ARGUMENTS_MAX: usize = 1 << 14;

/// A line that says how long something is: a sign and 20 digits, the type before and the line's end after, and some more.
pub(super) const COUNT_LINE_MAX: usize = 32;

/// A command in one line, as Redis has it: for people.
pub(super) const INLINE_BYTES_MAX: usize = 64 << 10;

/// Commands of one connection under way: `redis-benchmark -P` goes up to some hundreds. Beyond it the connection is not read.
pub(super) const PIPELINE_MAX: usize = 1024;

/// What they hold together; one command more may go over it.
pub(super) const PIPELINE_BYTES_MAX: usize = 16 << 20;

/// Commands and values in memory, of all connections: as many bytes as the node holds for its operations. Beyond it the
/// answer is an error.
pub(super) const BYTES_MAX: usize = 256 << 20;

/// What it takes to do something to a key: its lane, the request that waits, the answer. (A test has the measure.)
pub(super) const OPERATION_BYTES: usize = 5 << 10;

/// What a connection may hold without a share of [`BYTES_MAX`]: small commands.
pub(super) const BYTES_FREE: usize = 32 << 10;

/// Read at a time.
pub(super) const READ_BYTES: usize = 16 << 10;

/// Answers gathered before they are written.
pub(super) const OUT_BYTES: usize = 256 << 10;

/// After an error that ends the connection what comes is read on for so long, so that the client sees the answer rather
/// than a reset.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// And up to so much of it.
pub(super) const DRAIN_BYTES_MAX: usize = 32 << 20;

/// What is done to a key at a time with one read and one write. Beyond it others wait for the next.
pub(super) const BATCH_MAX: usize = 4096;

/// The time that a read or a write of the node has: as the client library has it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Keys that a list of one partition is asked for at least: fewer requests, and rarely a cursor within a partition.
pub(super) const SCAN_KEYS_MIN: usize = 256;

/// Keys in an answer of `SCAN`, at most but for what one more list brings.
pub(super) const SCAN_KEYS_MAX: usize = 10_000;

/// Cursors within a partition that are remembered; the oldest is forgotten first.
pub(super) const CURSORS_MAX: usize = 4096;

/// Listings (`SCAN`, `DBSIZE`) under way.
pub(super) const LISTINGS_MAX: usize = 8;

/// `DBSIZE` counts by listing: so many keys at most.
pub(super) const COUNTED_MAX: usize = 1_000_000;

/// A connection's name, and what a library says of itself.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// A moment in milliseconds since 1970 up to which values may be kept: the year 10889, as far as the hybrid logical clock goes.
pub(super) const EXPIRES_MS_MAX: i64 = 1 << 48;
