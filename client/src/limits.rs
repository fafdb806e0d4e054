//! The library's own bounds, each with its reason. What both ends agree on is in [`wire::limits`](crate::wire::limits).

use std::time::Duration;

/// How long a request may take unless it says otherwise: longer than a node needs to notice that a peer is gone and to
/// turn to a stand-in, shorter than a person's patience.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Longer timeouts are cut to this: nodes keep a request's state until its time is up.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Requests in flight on one connection unless set otherwise. At 1 ms a request, 1,024 are a million a second.
pub const IN_FLIGHT_DEFAULT: usize = 1024;

/// Requests of a batch under way at one coordinator unless set otherwise: enough for full turns and gathered writes, few
/// enough to leave places on the connection to others.
pub const MANY_IN_FLIGHT: usize = 64;

/// Most requests in flight on one connection: nodes bound their queues too, and answer `Overloaded` long before this.
pub const IN_FLIGHT_MAX: usize = 65_536;

/// Most connections to one node. One is enough unless a single core must be passed: frames of many requests share it.
pub const CONNECTIONS_MAX: usize = 64;

/// Time to connect, greet and be welcomed. A node in the same region takes milliseconds; another one is tried after this.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection on which requests timed out, and nothing at all came for so long, is taken for dead and closed, unless a
/// write waits on it: to close it would make the write's outcome unknown, while the node may merely be slow.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(1);

/// After so long it is closed even if a write with more time than this waits: nobody is slow for so long.
pub(crate) const SILENCE_WITH_WRITES_MAX: Duration = Duration::from_secs(30);

/// Longer latencies count as this: what a node was like before it recovered should not be remembered for long.
pub(crate) const LATENCY_MAX: Duration = Duration::from_secs(2);

/// A node is avoided as slow when it takes so many times as long as the best owner of the key,
pub(crate) const SLOW_TIMES: u32 = 3;

/// and so much longer: below this, sparing the hop from a second owner's coordinator is worth more.
pub(crate) const SLOW_MIN: Duration = Duration::from_millis(5);

/// A node that owes answers is silent after four times its usual latency, but not before this: a sync of the disk or a
/// busy processor take as long.
pub(crate) const SILENT_AFTER_MIN: Duration = Duration::from_millis(60);

/// And at the latest after this.
pub(crate) const SILENT_AFTER_MAX: Duration = Duration::from_millis(500);

/// A read is sent to a second owner not before this: two in a row are no sooner there than one that is a little late.
pub(crate) const HEDGE_AFTER_MIN: Duration = Duration::from_millis(5);

/// And at the latest after this, where there is budget for it.
pub(crate) const HEDGE_AFTER_MAX: Duration = Duration::from_millis(200);

/// Where nothing has been measured yet.
pub(crate) const HEDGE_AFTER_UNKNOWN: Duration = Duration::from_millis(50);

/// A node that is avoided is asked by one in so many of the requests that would have gone there.
pub(crate) const PROBE_SHARE: u32 = 100;

/// And once in about this time where they are few: some such times pass until a node that is well again is noticed.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(1);

/// But not more often than this: its answers need time to come.
pub(crate) const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// How long an answer to a probe counts: longer than [`LATENCY_MAX`] tells nothing more.
pub(crate) const PROBE_TIME: Duration = LATENCY_MAX;

/// Requests on a connection that nobody waits for any more but whose answers would still be measured. Beyond, they are
/// forgotten at once. As many as are in flight by default.
pub(crate) const ABANDONED_MAX: usize = IN_FLIGHT_DEFAULT;

/// Requests sent (not merely tried) for one call at most. With pauses of 10 ms doubling to [`PAUSE_MAX`], ten attempts
/// outlast the seconds that a cluster takes to notice a dead node.
pub(crate) const ATTEMPTS_MAX: u32 = 10;

/// First pause before a retry, before jitter: several times a request's usual duration.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Longest pause before a retry, before jitter: the time in which failure detection usually settles.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// First pause before connecting again, before jitter.
pub(crate) const RECONNECT_MIN: Duration = Duration::from_millis(50);

/// Longest pause before connecting again, before jitter: how late a node that is back may be noticed.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// A hundred requests earn so many retries.
pub(crate) const RETRIES_PER_HUNDRED: i64 = 10;

/// Most retries that can be saved up: enough for a burst of trouble after a quiet time, too few for a storm.
pub(crate) const RETRIES_SAVED_MAX: i64 = 100;

/// A hundred reads earn so many hedges: twice as many as are late where nothing is wrong.
pub(crate) const HEDGES_PER_HUNDRED: i64 = 5;

/// Most hedges that can be saved up: enough for the reads that are under way when a node falls silent.
pub(crate) const HEDGES_SAVED_MAX: i64 = 100;

/// Times that a call asks again at once after `OtherLayout`; then it pauses as for any other retry.
pub(crate) const LAYOUT_RETRIES_MAX: u32 = 3;

/// The layout is fetched again about so often even if nobody complains. Nodes forward what comes to the wrong one, so a stale
/// layout costs time; but nodes that have left are stopped, and who still knows only these finds nobody any more.
pub(crate) const LAYOUT_AGE_MAX: Duration = Duration::from_secs(5);

/// Hints that the layout may have changed make it be fetched at most so often.
pub(crate) const LAYOUT_AGE_MIN: Duration = Duration::from_secs(1);

/// A node that went by another layout, and had no newer one, is not asked again for so long.
pub(crate) const LAYOUT_ASKED_AGAIN: Duration = Duration::from_millis(20);

/// Space for one read from a connection: some hundred small answers.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Pages of keys fetched at once when a listing starts.
pub(crate) const KEYS_FETCHES_MAX: usize = 16;

/// Keys asked for at once from one partition unless set otherwise. A listing holds a page of every partition: with 256
/// partitions and keys of 40 bytes, 4 MB.
pub(crate) const KEYS_PAGE_DEFAULT: u32 = 256;

/// Times that an update reads again because its write met too many siblings.
pub(crate) const UPDATE_ROUNDS_MAX: u32 = 8;

/// Most keys that a session remembers: at some 100 bytes of context each, 16 MiB with the longest keys' names beside.
pub(crate) const SESSION_KEYS_MAX: usize = 16_384;
