//! All that can happen to a node, and all that it can do about it.

use std::ops::{Add, Sub};

use bytes::Bytes;
use dynode_client::wire::Message;
use dynode_ring::{NodeId, PartitionId};

use super::{BreakerState, Liveness, Phase};

/// A moment on the node's own monotonic clock, in microseconds since an origin that only the shell knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

/// A span of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Micros(pub u64);

impl Micros {
    /// So many seconds.
    pub const fn secs(n: u64) -> Micros {
        Micros(n * 1_000_000)
    }

    /// So many milliseconds.
    pub const fn millis(n: u64) -> Micros {
        Micros(n * 1_000)
    }
}

impl Add<Micros> for Time {
    type Output = Time;
    fn add(self, span: Micros) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub for Time {
    type Output = Micros;
    fn sub(self, earlier: Time) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

/// Where an answer goes: the connection that a request came in on (the shell's number), and the request's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The connection.
    pub connection: u64,
    /// The id that the asker gave the request.
    pub request: u64,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    Client,
    /// A node whose handshake was accepted.
    Peer(NodeId),
}

/// What happens to a node.
#[derive(Debug, Clone)]
pub enum Event {
    /// Somebody asks something.
    Request {
        /// Who.
        from: Origin,
        /// Where the answer goes.
        reply_to: ReplyTo,
        /// What.
        message: Message,
        /// The message's body.
        body: Bytes,
    },
    /// A peer answers a request of ours.
    Response {
        /// Who.
        from: NodeId,
        /// The id that we gave the request.
        request: u64,
        /// What.
        message: Message,
        /// The message's body.
        body: Bytes,
    },
    /// A request could not be handed to the connection: it is down, or its queue is full.
    Unsent {
        /// To whom.
        to: NodeId,
        /// The id that we gave the request.
        request: u64,
    },
    /// The connection to a peer stands.
    Up(NodeId),
    /// The connection to a peer is gone; what was asked on it will not be answered.
    Down(NodeId),
    /// The time that [`super::Node::next_wake`] named has come.
    Tick,
}

/// What a node wants done, once its turn is committed.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Ask a peer. Request id 0: no answer is expected.
    Send {
        /// Whom.
        to: NodeId,
        /// Our id of the request.
        request: u64,
        /// What.
        message: Message,
        /// The message's body.
        body: Bytes,
    },
    /// Answer a request.
    Reply {
        /// Whom.
        to: ReplyTo,
        /// What.
        message: Message,
        /// The message's body.
        body: Bytes,
    },
    /// Something that a person should be able to read in the log.
    Observe(Observation),
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Two copies with equal clocks have different content: one of them lost or gained something silently.
    ContentDiffers {
        /// Where.
        partition: PartitionId,
        /// The other copy's node.
        peer: NodeId,
    },
    /// What a scan has listed is not what its source's copy says of itself: the source reads its copy whole.
    ScanDiffers {
        /// Where.
        partition: PartitionId,
        /// The source.
        source: NodeId,
    },
    /// A sync brought entries but no dots: it would go on for ever. A bug, ours or the peer's.
    NoProgress {
        /// Where.
        partition: PartitionId,
        /// The source.
        peer: NodeId,
    },
    /// A peer knows more of this copy's actor than the copy does: the copy was rolled back, and began a new life.
    NewLife {
        /// Where.
        partition: PartitionId,
    },
    /// A peer goes by another layout.
    OtherLayout {
        /// Who.
        peer: NodeId,
        /// Its epoch.
        theirs: u64,
    },
    /// A peer sent something that cannot be read.
    Unreadable {
        /// Who.
        peer: NodeId,
        /// What is wrong.
        detail: String,
    },
    /// A peer's circuit breaker opened, or closed again.
    Breaker {
        /// Whose.
        peer: NodeId,
        /// What it lets through now.
        state: BreakerState,
    },
    /// A copy came from a backup older than the closing of a life that it held: it was discarded, and what may exist nowhere
    /// else was set aside.
    SetAside {
        /// Where.
        partition: PartitionId,
        /// How many values were set aside.
        values: usize,
    },
    /// A copy that was held for owners has left: every owner contains it.
    HandedOff {
        /// Where.
        partition: PartitionId,
        /// This node is not a member, and holds nothing for owners any more.
        may_go: bool,
    },
    /// A scan of a whole partition began, because the index no longer reaches back far enough.
    ScanBegan {
        /// Where.
        partition: PartitionId,
        /// The source.
        source: NodeId,
    },
    /// A copy was damaged, and was discarded; it is rebuilt from the other owners.
    Discarded {
        /// Where.
        partition: PartitionId,
        /// What did not fit.
        detail: String,
        /// Where what was stored then is kept, for people to look at.
        aside: Option<String>,
    },
    /// A copy is damaged, and no other node has one: it is left as it is, and not shown.
    Shelved {
        /// Where.
        partition: PartitionId,
        /// What does not fit.
        detail: String,
    },
    /// A copy that was discarded, or may have lost something, contains again what the others contain.
    Rebuilt {
        /// Where.
        partition: PartitionId,
    },
    /// All copies of the node were read and checked.
    Scrubbed {
        /// How many.
        copies: u64,
        /// How much was read.
        bytes: u64,
        /// How many were damaged.
        damaged: u64,
    },
    /// Another member is taken for something else than before.
    Liveness {
        /// Who.
        peer: NodeId,
        /// What it is taken to be now.
        liveness: Liveness,
        /// The incarnation that this is said of.
        incarnation: u64,
    },
    /// A node that is not a member was heard of.
    Guest {
        /// Who.
        peer: NodeId,
        /// It was a member once.
        former: bool,
    },
    /// A partition has come to this phase of getting other owners, as far as this node knows.
    Phase {
        /// Which.
        partition: PartitionId,
        /// How far.
        phase: Phase,
    },
    /// This node goes by another layout now.
    Adopted {
        /// Its epoch.
        epoch: u64,
        /// How many members it has.
        members: usize,
        /// This node is one of them.
        is_member: bool,
        /// An operator decided it without a majority.
        forced: bool,
    },
    /// An operator forced a layout here, without a majority of the members.
    Forced {
        /// The epoch before.
        epoch: u64,
        /// The epoch that was forced.
        forced: u64,
    },
    /// Two parts of the cluster went by different layouts, since somebody forced one: one of them holds now.
    Overruled {
        /// The epoch of the layout that gives way.
        ours: u64,
        /// The epoch of the one that holds.
        theirs: u64,
        /// The node at which it was forced, where that is known.
        by: Option<NodeId>,
    },
    /// The changes that were committed lead to no layout.
    NoLayout {
        /// Why.
        why: String,
    },
    /// A scan ended: the copy has all that the source had.
    ScanEnded {
        /// Where.
        partition: PartitionId,
        /// The source.
        source: NodeId,
    },
}

/// The effects of a turn, in the order in which they are to be performed.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    /// Bytes in bodies of answers.
    answers_bytes: usize,
}

impl Effects {
    /// None yet.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// Asks a peer.
    pub fn send(&mut self, to: NodeId, request: u64, message: impl Into<Message>, body: Bytes) {
        self.list.push(Effect::Send { to, request, message: message.into(), body });
    }

    /// Answers a request without a body.
    pub fn reply(&mut self, to: ReplyTo, message: impl Into<Message>) {
        self.reply_with(to, message, Bytes::new());
    }

    /// Answers a request.
    pub fn reply_with(&mut self, to: ReplyTo, message: impl Into<Message>, body: Bytes) {
        self.answers_bytes += body.len();
        self.list.push(Effect::Reply { to, message: message.into(), body });
    }

    /// Says something for the log.
    pub fn observe(&mut self, what: Observation) {
        self.list.push(Effect::Observe(what));
    }

    /// What has been added since there were so many.
    pub fn since(&self, from: usize) -> &[Effect] {
        self.list.get(from..).unwrap_or_default()
    }

    /// The peers that were asked something that wants an answer, from the `from`-th effect on.
    pub(super) fn asked_since(&self, from: usize) -> impl Iterator<Item = NodeId> + '_ {
        self.list[from..].iter().filter_map(|effect| match effect {
            Effect::Send { to, request: 1.., .. } => Some(*to),
            _ => None,
        })
    }

    /// Takes back what was answered to a request since there were `since` effects.
    pub(super) fn take_back_replies(&mut self, since: usize, asker: ReplyTo) {
        let mut at = 0;
        self.list.retain(|effect| {
            at += 1;
            at <= since || !matches!(effect, Effect::Reply { to, .. } if *to == asker)
        });
    }

    /// Takes them all out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.answers_bytes = 0;
        self.list.drain(..)
    }

    /// The bodies of the answers among them, in bytes; of those taken back too.
    pub fn answers_bytes(&self) -> usize {
        self.answers_bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
