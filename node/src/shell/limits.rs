//! The shell's bounds. (The decisions' own bounds stand in `crate::limits`.)

use std::time::Duration;

/// What is read from a socket at a time: some hundred small requests, or a part of a large one.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Frames taken from one connection in a turn, so that no connection makes the others wait for long.
pub(super) const FRAMES_A_TURN: usize = 256;

/// A connection whose answers are not read is not read from either: at most this much waits for it, and one answer more.
pub(super) const OUT_BYTES_PAUSE: usize = 1 << 20;

/// Requests of all clients of which only a part has come, in memory together: 32 of the largest, and as many bytes as the node
/// holds for its operations. Beyond it a request is refused before it is whole ("overloaded"), and the rest of it is read
/// and forgotten. Up to [`READ_BYTES`] a connection are free, so that small requests are never refused for the large ones of
/// others. Peers, who know the cluster's secret, have no part in it.
pub(super) const UNFINISHED_BYTES_MAX: usize = 256 << 20;

/// Values and lists of keys that wait for clients to take them, of all connections together: as much; and the same again for
/// peers. Beyond it a read that brings more than [`READ_BYTES`] is answered "overloaded".
pub(super) const ANSWERS_BYTES_MAX: usize = 256 << 20;

/// With so much to answer a turn lets it out before it decides on: a few reads in a pipeline may bring gigabytes.
pub(super) const ANSWERS_BYTES_A_GO: usize = 32 << 20;

/// A client that takes nothing of its answers for so long is cut off: as those of the other front ends.
pub(super) const STALLED_MAX: Duration = Duration::from_secs(30);

/// What waits for a peer that reads slowly; beyond it a client's write or read is given back as not sent.
pub(super) const PEER_OUT_BYTES_MAX: usize = 64 << 20;

/// The same for sync: what it asks waits rather than stand before what clients wait for.
pub(super) const PEER_OUT_BYTES_SYNC: usize = 8 << 20;

/// The same for gossip, which is small, and the only way to tell a slow peer from one that is gone.
pub(super) const PEER_OUT_BYTES_GOSSIP: usize = PEER_OUT_BYTES_MAX + (1 << 20);

/// What was sent to a peer is acknowledged by its machine within this, or the connection is closed and opened anew. Left
/// alone TCP would try again ever more seldom, and notice the end of a silent cut minutes late.
pub(super) const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// Connections accepted at once.
pub(super) const CONNECTIONS_MAX: usize = 10_000;

/// Connections that are answered at once while the node is fenced: for people, not for load. Of what they ask up to
/// [`READ_BYTES`] is kept each.
pub(super) const FENCED_CONNECTIONS_MAX: usize = 256;

/// How often the disk is asked how much room it has left.
pub(super) const ROOM_EVERY: Duration = Duration::from_secs(1);

/// How often the wall clock is looked at, in case it was set: it says when values expire.
pub(super) const WALL_EVERY: Duration = Duration::from_secs(1);

/// Strangers have so long to say who they are.
pub(super) const GREETING_TIME: Duration = Duration::from_secs(5);

/// Refusals that the log tells of in a row; then one more in so long. Who knocks in vain must not fill the disk: 1.7 MB a day.
pub(super) const REFUSALS_TOLD: u32 = 64;
pub(super) const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// The first wait before a peer is called again; doubles up to the second.
pub(super) const RECONNECT_FIRST: Duration = Duration::from_millis(50);
pub(super) const RECONNECT_MOST: Duration = Duration::from_secs(1);

/// A client has so long for the rest of a request of which a part has come: the largest value at 1 Mbit/s. Who sends parts
/// and no more keeps neither memory nor a place for ever.
pub(super) const PART_TIME: Duration = Duration::from_secs(60);

/// A stopping node gives operations under way so long.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Requests of front ends in this process that wait or are under way; further ones wait outside. As many as the node has
/// operations under way at the most, a quarter: connections of their own keep the rest.
pub(super) const INSIDE_REQUESTS_MAX: usize = 4096;

/// The values in requests of front ends that wait for the loop: eight of the largest, or half a million small ones.
pub(super) const INSIDE_BYTES_MAX: usize = 64 << 20;

/// Requests of front ends taken in a turn, for the same reason as [`FRAMES_A_TURN`].
pub(super) const INSIDE_A_TURN: usize = 1024;

/// So long after its deadline a request that was taken is still waited for: the node itself answers at the deadline, with
/// more to say than that nobody answered.
pub(super) const INSIDE_GRACE: Duration = Duration::from_secs(1);

/// Operations whose time is taken: twice as many as can be under way, those included that are refused at once.
pub(super) const STARTED_MAX: usize = 2 * crate::limits::OPERATIONS_MAX;

/// Requests that are followed at once; further ones are done all the same.
pub(super) const TRACED_MAX: usize = 1024;

/// A request that was not answered for so long will not be: its asker has no more time, and the node neither.
pub(super) const TRACED_FOR: Duration = Duration::from_secs(120);

/// Turns without a pause, after which the runtime looks for new readiness of sockets.
pub(super) const TURNS_WITHOUT_PAUSE: usize = 4;

/// Which partitions are hot is seen by one request in so many: a hash of a key costs as much as a thirtieth of a get.
/// A prime, so that clients that ask in a rhythm are seen as they are.
pub(super) const HOT_SAMPLE: u64 = 17;

/// Hot partitions told: more do not help the eye.
pub(super) const HOT_TOLD: usize = 8;
