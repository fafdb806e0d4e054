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

/// With estimates of the peers that were asked, the delay is twice what all but one in twenty of their answers take, but
/// no less than this: below it the other request would mostly meet the first one's answer.
pub const HEDGE_AFTER_MIN: Micros = Micros::millis(3);
/// And no more than this: what a person notices.
pub const HEDGE_AFTER_MAX: Micros = Micros::millis(100);

/// A read that was handed on to an owner, and was not answered after this, is handed on to another too: as long as that owner may
/// itself wait for a late copy ([`HEDGE_AFTER_MAX`]), and far below the second after which a silent peer is known to be one
/// ([`SILENCE_MAX`]).
pub const FORWARD_AGAIN_AFTER: Micros = Micros::millis(100);

/// A read earns this part of a hedged request, in tenths: when everything is slow, more requests do not help ("The tail
/// at scale", Dean and Barroso, 2013).
pub const HEDGES_PER_TEN_READS: u32 = 1;
/// Most hedged requests that can be saved up, in tenths: a burst when a peer has just stopped.
pub const HEDGE_CREDIT_MAX: u32 = 10 * 256;

/// A write without its quorum after this is sent to stand-ins too, in the place of owners that have not answered. Far
/// above a group commit on a busy disk: each time it leaves a copy behind that has to be handed off.
pub const WRITE_HEDGE_AFTER: Micros = Micros::millis(500);

/// A read that must have seen more than all copies have so far asks them again after so long, until its time is up: about
/// what a write takes to reach them.
pub const SESSION_AGAIN_AFTER: Micros = Micros::millis(20);

/// The writes that a node holds for owners that are away. Over it a node takes only those that would be refused without
/// it: an outage must not fill the disks of those that help.
pub const HINT_BYTES_MAX: u64 = 4 << 30;

/// A peer that was asked something and has answered nothing at all for so long is asked nothing more: its breaker opens.
/// Above the longest sync of a busy disk, below what a client waits.
pub const SILENCE_MAX: Micros = Micros::millis(1000);

/// It takes so many requests without an answer: one may get lost.
pub const UNANSWERED_MIN: u32 = 3;

/// How long a breaker stays open before its first probe; doubles, with jitter, up to the second.
pub const BREAKER_FIRST: Micros = Micros::millis(500);
/// The longest that a breaker stays open: as long as a peer that is back may go unnoticed, unless it speaks first.
pub const BREAKER_MOST: Micros = Micros::secs(2);

/// A node that has not had a turn for so long stood still itself (suspended, or its disk hung).
pub const STOOD_STILL: Micros = Micros::millis(500);

/// A node that has just started says no longer than this that it is not ready: above what connections and first comparisons take,
/// and the others may be down for good.
pub const READY_AFTER: Micros = Micros::secs(10);

/// Owners exchange hashes of their clocks this often. "About once a second" keeps copies whole within seconds at 16 bytes
/// a partition, peer and second.
pub const SYNC_EVERY: Micros = Micros::secs(1);

/// The partitions looked after in one go; a full round takes [`SYNC_EVERY`] or, with very many partitions, longer.
pub const HOUSEKEEP_EVERY: Micros = Micros::millis(100);

/// Partitions in one digest message: 24 KiB.
pub const DIGESTS_MAX: usize = 1024;

/// Pulls that a node has under way: each may bring [`ANSWER_BYTES`] at a time.
pub const PULLS_MAX: usize = 16;

/// The same while clients wait: their requests stand behind what is being taken in and given, and on a machine that is busy
/// answers come later, so that sync slows down by itself.
pub const PULLS_BUSY: usize = 2;

/// The values in one part of an answer: a turn that takes one in stays in the low milliseconds.
pub const ANSWER_BYTES: usize = 256 * 1024;

/// The same while clients wait: their requests are answered between the parts.
pub const ANSWER_BYTES_BUSY: usize = 64 * 1024;

/// The same for copies that come by a change of owners: the parts are as short as a turn without them.
pub const ANSWER_BYTES_MOVING: usize = 32 * 1024;

/// A node that has served a client so recently, its own or another node's, is taken to have clients that wait.
pub const BUSY_FOR: Micros = Micros::millis(100);

/// What sync takes in, in bytes a second: a gigabyte in a quarter of a minute, and about a tenth of what a loop can take in,
/// so that clients hardly notice.
pub const SYNC_BYTES_A_SECOND: u64 = 64 << 20;

/// So much of that may be taken in at once.
pub const SYNC_BURST: Micros = Micros::millis(100);

/// While clients wait, sync rests so many times as long as an answer took: it has a quarter of the time, or less where several
/// pulls run beside each other.
pub const SYNC_REST_BUSY: u64 = 3;

/// The same for copies that come by a change of owners: nothing is missing anywhere while the former owners have them, so that
/// nobody is in a hurry.
pub const SYNC_REST_MOVING: u64 = 16;

/// But no longer than that for one answer: a source that is very slow must not make this node wait as well.
pub const SYNC_REST_MAX: Micros = Micros::millis(200);

/// The keys in one part of an answer, for the same reason.
pub const ANSWER_KEYS: usize = 1024;

/// The same while clients wait. With it goes how much of the index is read for a part, eight entries a key: one to two
/// milliseconds.
pub const ANSWER_KEYS_BUSY: usize = 256;

/// Answers without anything in them, after which a pull is given up: as many as it takes to read the longest index of a
/// partition ([`INDEX_ENTRIES_MAX`]) many times over in the smallest slices.
pub const EMPTY_ANSWERS_MAX: u32 = 4096;

/// A pull that was not answered for so long is given up; the next round begins it anew.
pub const PULL_TIMEOUT: Micros = Micros::secs(5);

/// A digest round that was not answered for so long is given up.
pub const DIGEST_TIMEOUT: Micros = Micros::secs(5);

/// Scans that a node keeps snapshots for: each holds back the compaction of what it still shows.
pub const SCANS_MAX: usize = 32;

/// Deltas of more than one part that a node is the source of: each holds up to 3 MiB of what was read of the index, and
/// the clocks. Two owners that are behind have so many pulls under way.
pub const DELTAS_MAX: usize = 32;

/// A delta that nobody went on with for so long is dropped: to begin it anew costs a reading of the index.
pub const DELTA_IDLE: Micros = Micros::secs(15);

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

/// Comparisons that clients ask for are made no more often than this: each lists the clocks of all copies for every peer.
pub const COMPARE_NOW_PAUSE: Micros = Micros::millis(100);

/// The pairs of copies that a report names as apart, the farthest ones: more of them help nobody who reads it.
pub const APART_TOLD_MAX: usize = 128;

/// Stored contexts taken apart in one go.
pub const STRIP_KEYS: usize = 512;

/// Index entries kept for one partition while an owner is away; beyond it they are cut, and that owner gets a scan.
pub const INDEX_ENTRIES_MAX: u64 = 1 << 18;

// ---- liveness: parameters and bounds of `protocol/swim`; docs/membership.md has what they lead to -------------------

/// Every member probes another this often, in clusters of more than [`PROBE_FAST_MEMBERS`]: SWIM's own figures and
/// Lifeguard's are for one second.
pub const PROBE_PERIOD: Micros = Micros::secs(1);

/// Every member probes another this often in small clusters, where a round of all takes only a few probes.
pub const PROBE_PERIOD_FAST: Micros = Micros::millis(500);

/// Members up to which [`PROBE_PERIOD_FAST`] holds: with both periods the suspicion lasts about as long from here on.
pub const PROBE_FAST_MEMBERS: usize = 16;

/// A probe waits for an answer at least so long: a group commit on a slow disk stands before it.
pub const PROBE_TIMEOUT_MIN: Micros = Micros::millis(100);

/// A probe waits for a direct answer at most so long, and has the rest of the period for others to ask.
pub const PROBE_TIMEOUT_MAX: Micros = Micros::millis(500);

/// While others are asked, the member itself is asked again this often: cheap, and with 30 % of messages lost five
/// questions miss a live member ten times less often than one.
pub const PROBE_AGAIN: Micros = Micros::millis(200);

/// Others asked to probe for us, SWIM's k: enough ways around a broken link; suspicion does the rest.
pub const PROBE_HELPERS: usize = 3;

/// Probes of one node under way at once: the round's, and those of members whose connection was lost or who were
/// accused by others.
pub const PROBES_MAX: usize = 8;

/// Probes made for others under way: beyond it the answer is "not heard".
pub const RELAYS_MAX: usize = 64;

/// Questions whose answer is still awaited; the oldest is forgotten first. Room for all that [`PROBES_MAX`],
/// [`RELAYS_MAX`] and a few periods of late answers make.
pub const PINGS_AWAITED_MAX: usize = 256;

/// A suspect has at least so long to contradict: several probes of it, and a pause for a collection of garbage or a disk.
pub const SUSPICION_MIN: Micros = Micros::secs(2);

/// A suspect accused by one member alone has so many times longer than one that enough others accuse too (Lifeguard).
pub const SUSPICION_ALONE: u64 = 6;

/// Others that must accuse too, before the shorter time holds (Lifeguard's K).
pub const SUSPICION_CONFIRMATIONS: usize = 3;

/// So many members on average probe a suspect at once that another has accused: enough for [`SUSPICION_CONFIRMATIONS`].
pub const SECOND_OPINIONS: u32 = 6;

/// The most that a node which is itself slow stretches its probes by: nine times (Lifeguard's multiplier).
pub const SLOWNESS_MAX: u32 = 8;

/// A tick that comes later than this finds a node that was paused: what would have run out meanwhile gets the time back.
pub const LATE_MAX: Micros = Micros::millis(200);

/// News is sent this often, beside what probes carry, while there is any.
pub const GOSSIP_EVERY: Micros = Micros::millis(200);

/// To so many members at a time.
pub const GOSSIP_FANOUT: usize = 3;

/// Rumours in a message: 28 bytes each at the most, 700 bytes together.
pub const RUMOURS_MAX: usize = 24;

/// A rumour is sent by each member so many times the number of digits of how many they are: an epidemic reaches all with
/// λ · log n sends, and with 4 · log10 n each member is told more than ten times on average even with 30 % loss.
pub const RUMOUR_SENDS: u32 = 4;

/// Suspects that this node accuses are asked again this often, and told what is said of them: with 30 % loss, eight
/// questions in [`SUSPICION_MIN`] miss a live one in 200 cases.
pub const KNOCK_EVERY: Micros = Micros::millis(250);

/// One member that is down is asked again this often, so that it comes back by itself within seconds of a heal.
pub const KNOCK_DOWN_EVERY: Micros = Micros::secs(1);

/// Suspects asked again at a time.
pub const KNOCKS_MAX: usize = 8;

/// All states are exchanged with one random member this often: the safety net. 28 bytes a member each way.
pub const EXCHANGE_EVERY: Micros = Micros::secs(10);

/// The exchange takes this much longer for every further so many members, so that its cost a second is bounded:
/// 100 members' states, 2.8 KB, in 10 s.
pub const EXCHANGE_MEMBERS: u64 = 100;

/// All states are exchanged at once with a member that comes back, but not more often than this.
pub const EXCHANGE_PAUSE: Micros = Micros::secs(1);

/// An incarnation said by a third is believed up to so much above what is known: incarnations begin at the wall clock's
/// milliseconds, so this is 34 years of clocks that differ.
pub const INCARNATION_LEAP: u64 = 1 << 40;

/// No incarnation is above this; whoever says so is mistaken. It leaves room to contradict for ever.
pub const INCARNATION_MAX: u64 = 1 << 56;

/// Peers whose latency is remembered: as many as a layout has members.
pub const LATENCIES_MAX: usize = 4096;

/// Buckets that have properties of their own. Every node keeps all in memory, and tells all in one message: with the longest
/// names 1 MiB.
pub const BUCKETS_MAX: usize = 1024;

/// The longest that a bucket or a request may say values are kept for, in milliseconds: a hundred years, far below where sums
/// of times end.
pub const TTL_MS_MAX: u64 = 100 * 366 * 24 * 3600 * 1000;

/// Keys and bytes that are looked at in search of expired values, each time that the node looks after itself (ten times a
/// second): ten million keys take an hour, and no turn waits for more than a millisecond or so of reading.
pub const WALK_KEYS: usize = 256;
/// See [`WALK_KEYS`]. At least one key is looked at.
pub const WALK_BYTES: usize = 1 << 20;

/// Expired values stay so long, hidden: nodes whose clocks agree to within this show and hide the same.
pub const EXPIRED_KEPT: Micros = Micros::secs(10);
// ---- agreeing on layouts: parameters and bounds of `protocol/agree`; docs/membership.md has what they lead to --------

/// Changes that can be staged at once: a rack or two, and some 100 bytes each in every exchange.
pub const STAGED_MAX: usize = 1024;

/// Changes that are kept when several nodes' lists meet; beyond it the youngest go, on all nodes the same.
pub const STAGED_MERGED_MAX: usize = 4 * STAGED_MAX;

/// Changes that are over and still remembered, so that a node that was away for long does not bring them back: 17 bytes each.
pub const CHANGES_OVER_MAX: usize = 4096;

/// A forced layout's epoch is the next multiple of this: whatever the other side of a split goes on to decide stays below it.
pub const FORCED_LEAP: u64 = 1_000_000;

/// A phase of a proposal waits so long for a majority: above a group commit on a busy disk and a layout of megabytes on a
/// slow network.
pub const PROPOSAL_TIME: Micros = Micros::secs(2);

/// The least wait before another ballot; doubles up to the second, with jitter, so that one of several proposers gets
/// through.
pub const BALLOT_WAIT_FIRST: Micros = Micros::millis(100);
/// The longest wait before another ballot: a change that waits for a majority goes on so soon after it is back.
pub const BALLOT_WAIT_MOST: Micros = Micros::secs(5);

/// Members to whom a committed change is only told leave it to the one that took it for so long, or twice that.
pub const PROPOSE_LATER: Micros = Micros::secs(1);

/// While there is news of layouts or staged changes, it is told this often.
pub const LAYOUT_NEWS_EVERY: Micros = Micros::millis(200);

/// To so many members at a time.
pub const LAYOUT_NEWS_FANOUT: usize = 3;

/// News is told so many times the number of digits of how many members there are, as rumours are.
pub const LAYOUT_NEWS_ROUNDS: u32 = 4;

/// All nodes compare where they stand with one random other this often: the safety net.
pub const STANDING_EVERY: Micros = Micros::secs(5);

/// A peer that goes by another epoch is told so at most this often.
pub const STANDING_PAUSE: Micros = Micros::millis(200);

/// A layout that was asked for and has not come after so long is asked of somebody else.
pub const LAYOUT_FETCH_TIMEOUT: Micros = Micros::secs(2);

/// A copy that goes by another layout is asked again after so long: one of the two fetches the newer layout meanwhile, in a few
/// round trips. Then after half as long again as the operation has waited, up to the second.
pub const LAYOUT_AGAIN_FIRST: Micros = Micros::millis(2);
/// See [`LAYOUT_AGAIN_FIRST`]: where the newer layout does not come, asking again is to cost little.
pub const LAYOUT_AGAIN_MOST: Micros = Micros::millis(20);

/// Guests that a node knows of.
pub const GUESTS_MAX: usize = 64;

/// A guest that has not been heard of for so long has gone: four times what it tells in ([`STANDING_EVERY`]).
pub const GUEST_GONE_AFTER: Micros = Micros::secs(20);
