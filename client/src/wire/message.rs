//! What is said: every message between clients, nodes and peers, as plain data.
//!
//! A message travels in a [`Frame`](super::Frame): the struct here is its header, and a *body* of raw bytes follows it
//! (a value, or something that `dynode-storage` has encoded). Each struct says what its body is; none said means empty.
//! This module knows neither rings nor copies: nodes are numbers here, and clocks and objects are opaque bytes.

mod buckets;
mod layouts;
mod liveness;
mod lives;
mod values;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use buckets::{BucketIs, BucketKind, Buckets, BucketsHash, GetBucket, Properties, SetBucket};
pub use layouts::{
    Accept, Accepted, Ballot, Change, ChangeId, GetChange, GuestIs, Operate, Operator, PhaseIs, Phases, Prepare,
    Promise, Staged, Standing,
};
pub use liveness::{Ack, MemberState, Members, Ping, PingFor, Rumour};
pub use lives::{AskLife, HandedOver, LifeIs, Refuse};
pub use values::{Delete, Found, Get, Keys, ListKeys, Put, PutDone, SiblingIs};

/// Declares the closed list of messages with the kind byte of each. Kinds are never reused.
macro_rules! messages {
    ($($kind:literal $name:ident,)*) => {
        /// Any message. The discriminant on the wire is [`Message::kind`].
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message { $(
            #[doc = concat!("See [`", stringify!($name), "`].")]
            $name($name),
        )* }

        impl Message {
            /// The kind byte in the frame.
            pub fn kind(&self) -> u8 {
                match self { $(Message::$name(_) => $kind,)* }
            }

            /// Is it a part of the handshake?
            pub(crate) fn is_greeting(&self) -> bool {
                matches!(self, Message::Hello(_) | Message::Welcome(_))
            }

            /// The name of the message, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self { $(Message::$name(_) => stringify!($name),)* }
            }

            /// Appends the header to `out`.
            pub(super) fn encode_header(&self, out: &mut bytes::BytesMut) {
                match self { $(Message::$name(m) => super::header::encode(m, out),)* }
            }

            /// Reads the header of a message of `kind`; the whole of `header` must be used up.
            pub(super) fn decode_header(kind: u8, header: &[u8]) -> Result<Message, super::WireError> {
                match kind {
                    $($kind => super::header::decode(header).map(Message::$name),)*
                    _ => Err(super::WireError::UnknownKind(kind)),
                }
            }
        }

        $(impl From<$name> for Message {
            fn from(m: $name) -> Message { Message::$name(m) }
        })*
    };
}

messages! {
    1 Hello,
    2 Welcome,
    3 Failure,
    16 Put,
    17 PutDone,
    18 Get,
    19 Found,
    20 Delete,
    21 ListKeys,
    22 Keys,
    23 GetLayout,
    24 LayoutIs,
    25 Inspect,
    26 Report,
    32 Scrub,
    33 GetSync,
    40 GetBucket,
    41 SetBucket,
    42 BucketIs,
    50 BucketsHash,
    51 Buckets,
    64 Replicate,
    65 ReplicateDone,
    66 Fetch,
    67 Fetched,
    68 Digests,
    69 Clocks,
    70 Pull,
    71 Answer,
    72 Behind,
    73 Handoff,
    80 AskLife,
    81 LifeIs,
    82 Refuse,
    83 HandedOver,
    90 Ping,
    91 PingFor,
    92 Ack,
    93 Members,
    100 Standing,
    101 GetChange,
    102 Change,
    103 Prepare,
    104 Promise,
    105 Accept,
    106 Accepted,
    107 Staged,
    108 Phases,
    110 Operate,
}

/// How many copies must take part in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Quorum {
    /// One copy.
    One,
    /// More than half of the bucket's copies: `n / 2 + 1`. The default.
    #[default]
    Majority,
    /// Every copy.
    All,
    /// Exactly this many copies; more than `n` is refused.
    Count(u8),
    /// As the bucket's properties say; more than half where they say nothing.
    OfBucket,
}

impl Quorum {
    /// The number of copies meant when there are `n`; `None` when that cannot be (0, or more than `n`).
    pub fn of(self, n: usize) -> Option<usize> {
        let count = match self {
            Quorum::One => 1,
            Quorum::Majority | Quorum::OfBucket => n / 2 + 1,
            Quorum::All => n,
            Quorum::Count(c) => usize::from(c),
        };
        (1..=n).contains(&count).then_some(count)
    }
}

impl FromStr for Quorum {
    type Err = String;

    fn from_str(s: &str) -> Result<Quorum, String> {
        match s {
            "one" => Ok(Quorum::One),
            "quorum" => Ok(Quorum::Majority),
            "all" => Ok(Quorum::All),
            "bucket" => Ok(Quorum::OfBucket),
            _ => match s.parse() {
                Ok(count) if count > 0 => Ok(Quorum::Count(count)),
                _ => Err(format!(
                    "`{s}` is not a quorum: use one, quorum, all, a number from 1, or bucket for its default"
                )),
            },
        }
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quorum::One => f.write_str("one"),
            Quorum::Majority => f.write_str("quorum"),
            Quorum::All => f.write_str("all"),
            Quorum::OfBucket => f.write_str("bucket"),
            Quorum::Count(c) => write!(f, "{c}"),
        }
    }
}

/// What a write replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Causality {
    /// Nothing: the writer has seen no value. Whatever is there becomes a sibling.
    Blind,
    /// What the writer saw, as the sealed context of an earlier reply says.
    Seen(Bytes),
    /// Whatever the coordinator's own copy holds when the write arrives.
    Current,
}

/// How many copies took part: owners of the key's partition, and stand-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Acks {
    /// Owners that answered.
    pub owners: u8,
    /// Stand-ins that answered; of a read, owners too whose copy is recovering what it may have lost.
    pub stand_ins: u8,
}

// ---- handshake: the first frame each way ------------------------------------------------------------------------

/// Who connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// A client: it may read and write, and ask for reports.
    Client,
    /// A node of the cluster.
    Peer {
        /// Its node id.
        node: u64,
        /// Proof that it knows the cluster's secret (made by the node that connects, checked by the one that accepts).
        token: [u8; 16],
    },
}

/// The first frame on a connection, from the side that opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest version of the wire format that the sender speaks.
    pub oldest: u8,
    /// Highest version that the sender speaks.
    pub newest: u8,
    /// The cluster meant. All zeros: any (only clients may say that).
    pub cluster: [u8; 16],
    /// Who is calling.
    pub role: Role,
}

/// The answer to [`Hello`]; a [`Failure`] instead means that the connection is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both will use from here.
    pub version: u8,
    /// The cluster that was reached.
    pub cluster: [u8; 16],
    /// The node that was reached.
    pub node: u64,
    /// Its name.
    pub name: String,
}

/// Why a request was not done. Says what remains true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The request makes no sense as it stands; nothing was changed.
    BadRequest,
    /// Key, bucket or value over its limit; nothing was changed.
    TooLarge,
    /// The key has too many siblings: read it and write over what was seen. Nothing was changed.
    TooManySiblings,
    /// The context was not sealed by this cluster for this key; nothing was changed.
    ForeignContext,
    /// Fewer copies than needed can be reached; nothing was changed by a write.
    QuorumNotMet,
    /// The write may or may not take effect: some copies have it, too few have said so in time.
    OutcomeUnknown,
    /// Too much is waiting; nothing was changed. Try again later.
    Overloaded,
    /// The node is stopping or not ready; nothing was changed. Try another node.
    Unavailable,
    /// The request goes by another layout than this node; fetch the layout and try again. Nothing was changed.
    OtherLayout,
    /// The cluster id, the secret or the version does not fit; the connection is closed.
    Refused,
    /// The node could not do it for a reason of its own (see the detail and its log).
    Internal,
    /// No copy that was asked in time has seen what the reader has: read again, or ask for less.
    NotSeenYet,
}

impl ErrorCode {
    /// The stable name, as JSON and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::TooManySiblings => "too_many_siblings",
            ErrorCode::ForeignContext => "foreign_context",
            ErrorCode::QuorumNotMet => "quorum_not_met",
            ErrorCode::OutcomeUnknown => "outcome_unknown",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::OtherLayout => "other_layout",
            ErrorCode::Refused => "refused",
            ErrorCode::Internal => "internal",
            ErrorCode::NotSeenYet => "not_seen_yet",
        }
    }
}

/// The request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why.
    pub code: ErrorCode,
    /// Copies needed, where a quorum was not met; else 0.
    pub needed: u8,
    /// Copies that answered, where a quorum was not met; else 0.
    pub received: u8,
    /// For people: what happened and what to do.
    pub detail: String,
}

// ---- clients ----------------------------------------------------------------------------------------------------

/// Ask for the layout. Answered by [`LayoutIs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetLayout {}

/// A member, as a layout names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberIs {
    /// Node id.
    pub node: u64,
    /// Name.
    pub name: String,
    /// `host:port` of the native listener.
    pub addr: String,
    /// Zone.
    pub zone: String,
    /// Weight.
    pub weight: u32,
}

/// The layout that the node goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutIs {
    /// Its version.
    pub epoch: u64,
    /// Copies of each partition (N).
    pub replicas: u8,
    /// The members, sorted by id.
    pub members: Vec<MemberIs>,
    /// For each partition its owners, as places in `members`.
    pub owners: Vec<Vec<u16>>,
}

/// What an [`Inspect`] asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topic {
    /// The node's state, peers, partitions, counters.
    Status,
    /// The clock, set hash and number of keys of each copy that the node holds.
    LocalClocks,
    /// The node's own copy of one key: values' dots, lengths and checksums, context.
    LocalKey {
        /// The bucket.
        bucket: Bytes,
        /// The key.
        key: Bytes,
    },
    /// Bytes and records stored, by kind (`objects`, `index`, `clocks`, `meta`).
    Storage,
    /// The cluster's secret, for a guest that is about to start: told only from loopback to loopback, where whoever can connect
    /// may do everything anyway.
    Secret,
}

/// Ask a node about itself, without going to other nodes. Answered by [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect {
    /// About what.
    pub topic: Topic,
}

/// The answer to [`Inspect`]. Body: a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {}

/// Read all copies of this node and check them, now. Answered by [`Report`]: what the scrub is at. Its progress is part of
/// the report on [`Topic::Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {}

/// Ask who lacks what of whom, as this node knows. Answered by [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetSync {
    /// Compare clocks with all peers now, and pull at once what is missing. The answer does not wait for it: ask again.
    pub now: bool,
}

// ---- peers ------------------------------------------------------------------------------------------------------

/// Take a write into a copy. Body: the delta, as `dynode-storage` encodes it. Answered by [`ReplicateDone`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicate {
    /// The sender's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// The write's quorum cannot be met without this copy: a stand-in takes it even over its budget for hints.
    pub required: bool,
    /// Time left, in milliseconds.
    pub timeout_ms: u32,
}

/// The write is in the copy, as durable as the node's setting says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicateDone {
    /// The copy may lack writes that it had acknowledged in a former life: it counts in no strict quorum.
    pub recovering: bool,
}

/// Read a key from a copy. Answered by [`Fetched`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The sender's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// The bucket.
    pub bucket: Bytes,
    /// The key.
    pub key: Bytes,
    /// The dots of the values that the asker has (encoded): no need to send those values again.
    pub have: Bytes,
    /// The asker reads from the former owners of a partition that gets others.
    pub reads_before: bool,
}

/// What a copy holds of a key. Body: the object as it travels, without the values that the asker has; when `same`, only
/// its context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The copy holds exactly the values that the asker has.
    pub same: bool,
    /// The copy may lack writes that it had acknowledged in a former life: it counts in no strict quorum, and what it does
    /// not have may be there all the same.
    pub recovering: bool,
}

/// Hashes of the sender's synced clocks, for owners of the partitions. Answered by [`Clocks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// The sender's epoch.
    pub epoch: u64,
    /// Hash of the digests of all partitions that both own, in order: then they are not listed.
    pub sum: Option<u64>,
    /// One for each partition that both own, unless there is a sum, and for each that the sender holds as a stand-in and the
    /// receiver owns.
    pub digests: Vec<Digest>,
}

/// A copy's clock and content in 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The partition.
    pub partition: u16,
    /// Hash of the synced clock.
    pub clock: u64,
    /// Set hash of the keys and dots at that clock.
    pub content: u64,
}

/// What a copy may lack of what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lacks {
    /// What others acknowledged before its node became an owner.
    Others,
    /// What it has acknowledged itself.
    Own,
    /// What the other former owners acknowledged before the partition got other owners. Its node was a former owner, too, and
    /// it was whole then.
    Former,
}

/// The answer to [`Digests`]: the answerer's synced clocks where they differ. Body: the clocks, encoded, one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// The answerer's epoch.
    pub epoch: u64,
    /// The asker's sum is not the answerer's: it is to list its digests.
    pub sum_differs: bool,
    /// The partitions whose clocks differ, with the length in bytes of each clock in the body.
    pub differing: Vec<(u16, u32)>,
    /// The partitions of which the answerer holds no copy (yet).
    pub absent: Vec<u16>,
    /// The greatest life of the asker that the answerer knows of, in any partition: what it begins must be greater.
    pub last_life: u64,
    /// Does the answerer know its own past, and contain what it once did? Else there may be greater lives of the asker that
    /// it has forgotten.
    pub whole: bool,
    /// The partitions of which the answerer's copy is not sure to contain everything, and what it may lack.
    pub recovering: Vec<(u16, Lacks)>,
    /// The partitions whose clocks are equal, and whose content is not: one of the two copies is damaged.
    pub unlike: Vec<u16>,
}

/// "Here is my clock; send what I lack." Body: the asker's clock, encoded. Answered by [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The asker's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// Only this key (read repair): encoded bucket and key; empty for all.
    pub only: Bytes,
    /// Go on with this scan.
    pub scan: Option<ScanAt>,
    /// At most about so many bytes of values in the answer.
    pub budget: u32,
    /// What the scan before has listed is not what the source's copy says of itself: it is to be read whole before anything
    /// more comes from it.
    pub doubted: bool,
}

/// Where a scan goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanAt {
    /// The source's number of the scan.
    pub id: u64,
    /// The last key received, encoded; empty: from the start.
    pub after: Bytes,
}

/// What the asker lacks, or a part of it. Body: the entries, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The source's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// How the answer was made, and what follows.
    pub kind: AnswerKind,
    /// The life of the source's copy.
    pub life: u64,
    /// What the source refuses in the partition: by node id, all lives below.
    pub refused: Vec<(u64, u64)>,
}

/// The kinds of answer to a [`Pull`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerKind {
    /// Entries from the index. `more`: pull again for the rest.
    Delta {
        /// The rest did not fit.
        more: bool,
    },
    /// A page of a scan of the whole partition: all keys after the asker's place, up to and with `after`.
    Page {
        /// The scan's number.
        id: u64,
        /// The last key that this page speaks of, encoded; the asker's own place when it speaks of none in order.
        after: Bytes,
        /// This page reaches the partition's end, and ends with the scan's claim.
        done: bool,
    },
    /// The source holds no copy of the partition, or the scan asked for has ended: begin anew.
    Gone,
}

/// A hint to pull one key from the sender: a read found the receiver behind. No answer. Body: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The sender's epoch.
    pub epoch: u64,
    /// The partition.
    pub partition: u16,
    /// The key, encoded.
    pub key: Bytes,
    /// The node to pull from.
    pub source: u64,
}

/// A stand-in to an owner: "you lack something of what I hold of these partitions; pull it." No answer. Body: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// The sender's epoch.
    pub epoch: u64,
    /// The partitions.
    pub partitions: Vec<u16>,
}
