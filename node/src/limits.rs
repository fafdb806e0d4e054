//! Every bound of a node, each with its reason. What both ends of a connection must agree on stands in
//! `dynode_client::wire::limits`.

use crate::protocol::Micros;

/// Client operations under way at one node: 128 bytes to 8 MiB each; beyond it the node says "overloaded".
pub const OPERATIONS_MAX: usize = 16_384;

/// The values that client operations under way hold; beyond it the node says "overloaded".
pub const OPERATION_BYTES_MAX: usize = 256 << 20;

/// All siblings of a key together: a reply with all of them must fit a frame (64 MiB) with room for those that meet
/// after they were taken elsewhere.
pub const SIBLING_BYTES_MAX: usize = 32 << 20;

/// A client's timeout is cut to this: nothing is remembered longer on its behalf.
pub const TIMEOUT_MAX: Micros = Micros::secs(60);

/// A read that has no quorum after this asks the owners that it has not asked yet. Above a local network's usual round
/// trip with a group commit, far below what a person notices.
pub const HEDGE_AFTER: Micros = Micros::millis(30);

/// A peer that was late with an answer to a read is asked last for so long: while it hangs one read a second waits for
/// it, and not every one.
pub const SLOW_FOR: Micros = Micros::secs(1);

/// A write without its quorum after this is sent to stand-ins too, in the place of owners that have not answered. Far
/// above a group commit on a busy disk: each time it leaves a copy behind that has to be handed off.
pub const WRITE_HEDGE_AFTER: Micros = Micros::millis(500);

/// The writes that a node holds for owners that are away. Over it a node takes only those that would be refused without
/// it: an outage must not fill the disks of those that help.
pub const HINT_BYTES_MAX: u64 = 4 << 30;

/// A peer that was asked something and has answered nothing at all for so long is asked nothing more: its breaker opens.
/// Above the longest sync of a busy disk, below what a client waits.
pub const SILENCE_MAX: Micros = Micros::millis(1000);

/// It takes so many requests without an answer, or so many in a row that say "unavailable": one may get lost, or meet a
/// node that is just stopping.
pub const REFUSALS_MAX: u32 = 3;

/// How long a breaker stays open before its first probe; doubles, with jitter, up to the second.
pub const BREAKER_FIRST: Micros = Micros::millis(500);
/// The longest that a breaker stays open: as long as a peer that is back may go unnoticed, unless it speaks first.
pub const BREAKER_MOST: Micros = Micros::secs(2);

/// A node that has not had a turn for so long stood still itself (suspended, or its disk hung).
pub const STOOD_STILL: Micros = Micros::millis(500);

/// Owners exchange hashes of their clocks this often. "About once a second" keeps copies whole within seconds at 16 bytes
/// a partition, peer and second.
pub const SYNC_EVERY: Micros = Micros::secs(1);

/// The partitions looked after in one go; a full round takes [`SYNC_EVERY`] or, with very many partitions, longer.
pub const HOUSEKEEP_EVERY: Micros = Micros::millis(100);

/// Partitions in one digest message: 24 KiB.
pub const DIGESTS_MAX: usize = 1024;

/// Pulls that a node has under way: each may bring [`ANSWER_BYTES`] at a time.
pub const PULLS_MAX: usize = 16;

/// The values in one part of an answer: a turn that takes one in stays in the low milliseconds.
pub const ANSWER_BYTES: usize = 256 * 1024;

/// The same while clients wait: their requests are answered between the parts.
pub const ANSWER_BYTES_BUSY: usize = 64 * 1024;

/// A node that has served a client so recently, its own or another node's, is taken to have clients that wait.
pub const BUSY_FOR: Micros = Micros::millis(100);

/// What sync takes in, in bytes a second: a gigabyte in a quarter of a minute, and about a tenth of what a loop can take in,
/// so that clients hardly notice.
pub const SYNC_BYTES_A_SECOND: u64 = 64 << 20;

/// So much of that may be taken in at once.
pub const SYNC_BURST: Micros = Micros::millis(100);

/// The keys in one part of an answer, for the same reason.
pub const ANSWER_KEYS: usize = 1024;

/// A pull that was not answered for so long is given up; the next round begins it anew.
pub const PULL_TIMEOUT: Micros = Micros::secs(5);

/// A digest round that was not answered for so long is given up.
pub const DIGEST_TIMEOUT: Micros = Micros::secs(5);

/// Scans that a node keeps snapshots for: each holds back the compaction of what it still shows.
pub const SCANS_MAX: usize = 32;

/// A scan that nobody went on with for so long is dropped.
pub const SCAN_IDLE: Micros = Micros::secs(60);

/// What looks like a life that has ended must look so for this long before it is closed: writes under way leave gaps too.
/// The first owner of a partition waits once, the second twice.
pub const CLOSE_AFTER: Micros = Micros::secs(2);

/// A partition in which lives were to be closed is tried again after so long.
pub const CLOSE_AGAIN: Micros = Micros::secs(5);

/// A node that has begun without knowledge of its past, and is told of it by some others but not by enough, trusts the wall
/// clock after so long: a new cluster must get under way with a member missing.
pub const LIVES_KNOWN_AFTER: Micros = Micros::secs(30);

/// How often a closing looks whether what was handed over has come.
pub const CLOSE_EVERY: Micros = Micros::millis(500);

/// A closing that has not come to its end after so long is given up, and begun anew later.
pub const CLOSE_TIMEOUT: Micros = Micros::secs(15);

/// Closings that a node has under way: each asks every member twice.
pub const CLOSINGS_MAX: usize = 8;

/// One-key repairs under way; beyond it repair is left to the sync of all.
pub const REPAIRS_MAX: usize = 64;

/// A pass over all copies begins so long after the last one: damage is found before a second copy is likely to have some.
pub const SCRUB_EVERY: Micros = Micros::secs(7 * 24 * 3600);

/// The first pass begins so long after the start, when the node has other things behind it.
pub const SCRUB_FIRST: Micros = Micros::secs(3600);

/// A pass that began by itself reads so fast: a terabyte in three days, and a few per cent of a slow disk.
pub const SCRUB_BYTES_PER_S: u64 = 4 << 20;

/// What is read in one go, every [`HOUSEKEEP_EVERY`]: some milliseconds. So a pass that was asked for reads 10 MiB/s.
pub const SCRUB_SLICE_BYTES: u64 = 1 << 20;

/// The records read in one go, for the same reason.
pub const SCRUB_SLICE_RECORDS: u64 = 2_000;

/// The copies begun in one go: each takes a snapshot.
pub const SCRUB_SLICE_COPIES: usize = 32;

/// Stored contexts taken apart in one go.
pub const STRIP_KEYS: usize = 512;

/// Index entries kept for one partition while an owner is away; beyond it they are cut, and that owner gets a scan.
pub const INDEX_ENTRIES_MAX: u64 = 1 << 18;
