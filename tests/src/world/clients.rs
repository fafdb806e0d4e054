//! Clients: sessions that read and then write with what they know, and others that know too little, or nonsense.

use bytes::Bytes;
use dynode::protocol::{Durability, Event, Origin, ReplyTo};
use dynode_client::wire::{
    Causality, Delete, Expiry, Get, GetLayout, Inspect, ListKeys, Message, Put, Quorum, SiblingIs, Topic,
};
use dynode_storage::ObjectKey;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::journal::{Kind, OpId, Outcome, Seen, value_of, writer_of};
use super::plan::{Action, MS, SECOND, around, one_of, weighted};
use super::{CLIENTS, Happening, Phase, Violation, World};

/// Contexts that a client keeps of one key: the latest, and some stale ones.
const KEPT: usize = 4;

/// Operations of one run: more would only take longer to check.
const OPERATIONS_MAX: usize = 4_000;

/// Attempts at one put.
const ATTEMPTS_MAX: usize = 4;

/// A client waits so much longer than the time it has given the node.
const PATIENCE: u64 = SECOND;

/// What a client knows of a key: a sealed context, and what stands behind it.
#[derive(Debug, Clone)]
pub(crate) struct Knowledge {
    pub(crate) context: Bytes,
    pub(crate) seen: Seen,
    /// The writes whose values were there.
    pub(crate) values: Vec<OpId>,
}

/// One client. It does one thing at a time.
pub(crate) struct Client {
    /// By key: what it knows, the latest last.
    pub(crate) knows: Vec<Vec<Knowledge>>,
    pub(crate) busy: Option<OpId>,
    /// The put that it may ask for again.
    last_put: Option<(OpId, Message, Bytes)>,
    /// What its present read asks for at least.
    pub(crate) at_least: Option<Knowledge>,
}

/// How an operation is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) quorum: Quorum,
    pub(crate) strict: bool,
    pub(crate) timeout_ms: u32,
}

impl Client {
    pub(crate) fn new(keys: usize) -> Client {
        Client { knows: vec![Vec::new(); keys], busy: None, last_put: None, at_least: None }
    }

    pub(crate) fn learns(&mut self, key: usize, context: Bytes, seen: Seen, values: Vec<OpId>) {
        let known = &mut self.knows[key];
        if known.len() == KEPT {
            known.remove(0);
        }
        known.push(Knowledge { context, seen, values });
    }
}

impl World {
    pub(crate) fn client_acts(&mut self, client: usize) -> Result<(), Violation> {
        let has_done_enough = self.journal.ops.len() >= OPERATIONS_MAX;
        if self.phase != Phase::Faults || self.clients[client].busy.is_some() || has_done_enough {
            return Ok(());
        }
        let again = self.now + around(&mut self.client_rng, self.plan.think);
        let up: Vec<usize> = (0..self.hosts.len()).filter(|h| self.hosts[*h].is_up()).collect();
        let action = weighted(&mut self.client_rng, &self.plan.actions);
        let (Some(action), false) = (action, up.is_empty()) else {
            self.queue.push(again, Happening::ClientActs { client });
            return Ok(());
        };
        let host = one_of(&mut self.client_rng, &up);
        let key = self.client_rng.random_range(0..self.journal.keys.len());
        let owners = usize::from(self.plan.replicas).min(self.plan.nodes);
        let (quorum, timeout_ms) = draw_terms(&mut self.client_rng, owners);
        let strict = self.terms_rng.random_range(0..16) >= self.plan.sloppy;
        let mut terms = Terms { quorum, strict, timeout_ms };
        if self.plan.majorities {
            terms = Terms { quorum: Quorum::Majority, strict: true, timeout_ms: timeout_ms.max(100) };
        }
        self.ask(client, host, key, Action::ALL[action].0, terms);
        Ok(())
    }

    /// Sends a client's request on its way.
    pub(crate) fn ask(&mut self, client: usize, host: usize, key: usize, action: Action, terms: Terms) -> OpId {
        let place: ObjectKey = self.journal.keys[key].clone();
        let copies = terms.quorum.of(self.layout.owners(place.partition(self.layout.partitions())).len()).unwrap_or(0);
        let known = &self.clients[client].knows[key];
        let fresh = known.last().cloned();
        let known_best = fresh.clone();
        let stale = match known.is_empty() {
            true => None,
            false => Some(known[self.client_rng.random_range(0..known.len())].clone()),
        };
        let (kind, knowledge, current) = match action {
            Action::Get => (Kind::Get, None, false),
            Action::PutOver => (Kind::Put, fresh, false),
            Action::PutStale => (Kind::Put, stale, false),
            Action::PutBlind => (Kind::Put, None, false),
            Action::PutCurrent => (Kind::Put, None, true),
            Action::DeleteOver => (Kind::Delete, fresh, false),
            Action::DeleteCurrent => (Kind::Delete, None, true),
            Action::Look | Action::Nonsense => (Kind::Other, None, false),
        };
        let op = self.journal.begin(client, host, key, kind, self.now);
        (op.copies, op.quorum, op.over_current, op.strict) = (copies, terms.quorum, current, terms.strict);
        let id = op.id;
        if let Some(known) = &knowledge {
            self.journal.observes(id, known.seen.clone());
        }
        let causality = match knowledge {
            _ if current => Causality::Current,
            Some(known) => Causality::Seen(known.context),
            None => Causality::Blind,
        };
        let causality = self.says_instead.clone().unwrap_or(causality);
        let (bucket, key) = (Bytes::copy_from_slice(place.bucket()), Bytes::copy_from_slice(place.key()));
        let Terms { quorum: r, strict, timeout_ms } = terms;
        let w = r;
        let (message, body): (Message, Bytes) = match (action, kind) {
            (Action::Look, _) => {
                (self.draw_look(bucket, key, place.partition(self.layout.partitions()).0), Bytes::new())
            }
            (Action::Nonsense, _) => (self.draw_nonsense(client, bucket, key, terms), value_of(id, 16)),
            (_, Kind::Get) => {
                let in_session = self.phase == Phase::Faults
                    && self.plan.sessions > 0
                    && self.values_rng.random_range(0..16) < self.plan.sessions;
                self.clients[client].at_least = known_best.filter(|_| in_session);
                self.journal.op_mut(id).in_session = self.clients[client].at_least.is_some();
                let at_least = self.clients[client].at_least.as_ref().filter(|_| !self.forgets_sessions);
                let at_least = at_least.map(|known| known.context.clone());
                (Get { bucket, key, r, strict, timeout_ms, at_least }.into(), Bytes::new())
            }
            (_, Kind::Delete) => (Delete { bucket, key, causality, w, strict, timeout_ms }.into(), Bytes::new()),
            _ => {
                let value = value_of(id, self.plan.value_bytes);
                let mut put = put(bucket, key, causality, terms);
                put.request = (self.plan.repeats > 0 && !self.forgets_requests).then_some(u64::from(id));
                let message = Message::from(put);
                self.clients[client].last_put = Some((id, message.clone(), value.clone()));
                (message, value)
            }
        };
        self.send_to_host(id, terms.timeout_ms, message, body);
        id
    }

    /// Puts a request on its way to the node that is asked.
    fn send_to_host(&mut self, id: OpId, timeout_ms: u32, message: Message, body: Bytes) {
        let op = self.journal.op(id);
        let (client, host, place) = (op.client, op.host, self.journal.keys[op.key].clone());
        self.clients[client].busy = Some(id);
        self.trace
            .line(self.now, |t| format!("c{client} asks n{host}: #{id} {} of {place}", t.message(&message, &body)));
        let arrival = self.now + self.network.delay();
        self.queue.push(arrival, Happening::ClientAsks { op: id, message: Box::new(message), body });
        let patience = u64::from(timeout_ms) * MS + PATIENCE;
        self.queue.push(self.now + patience, Happening::ClientGivesUp { op: id });
    }

    /// A put had no answer: asks for it once more, with the same request id, at some node. True if it did.
    fn repeat_put(&mut self, id: OpId) -> bool {
        let client = self.journal.op(id).client;
        let put = self.clients[client].last_put.clone();
        let Some((_, message, body)) = put.filter(|(last, ..)| *last == self.journal.op(id).value_id()) else {
            return false;
        };
        let up: Vec<usize> = (0..self.hosts.len()).filter(|h| self.hosts[*h].is_up()).collect();
        let may = self.plan.repeats > 0 && self.phase == Phase::Faults && !up.is_empty();
        if !may || self.values_rng.random_range(0..16) >= self.plan.repeats {
            return false;
        }
        let first = self.journal.op(id).value_id();
        let Message::Put(m) = &message else { return false };
        if self.journal.attempts(first).count() >= ATTEMPTS_MAX {
            return false;
        }
        let timeout_ms = m.timeout_ms;
        let host = one_of(&mut self.values_rng, &up);
        let former = self.journal.op(id).clone();
        let op = self.journal.begin(client, host, former.key, Kind::Put, self.now);
        (op.copies, op.quorum, op.over_current, op.strict) =
            (former.copies, former.quorum, former.over_current, former.strict);
        op.repeats = Some(former.value_id());
        let again = op.id;
        if !former.over_current {
            self.journal.observes(again, former.observed.clone());
        }
        self.journal.repeated.add(former.value_id());
        *self.stats.operations.entry("put asked for again").or_default() += 1;
        self.send_to_host(again, timeout_ms, message, body);
        true
    }

    /// Something that changes nothing.
    fn draw_look(&mut self, bucket: Bytes, key: Bytes, partition: u16) -> Message {
        match self.client_rng.random_range(0..6) {
            0 => GetLayout {}.into(),
            1 => Inspect { topic: Topic::Status }.into(),
            2 => Inspect { topic: Topic::LocalClocks }.into(),
            3 => Inspect { topic: Topic::LocalKey { bucket, key } }.into(),
            4 => Inspect { topic: Topic::Storage }.into(),
            _ => ListKeys { partition, bucket, prefix: Bytes::new(), after: Bytes::new(), limit: 3 }.into(),
        }
    }

    /// Something that must be refused, and leave no trace.
    fn draw_nonsense(&mut self, client: usize, bucket: Bytes, key: Bytes, terms: Terms) -> Message {
        let foreign = self.clients[client].knows.iter().enumerate().find_map(|(at, known)| {
            let elsewhere = self.journal.keys[at].key() != key;
            known.last().filter(|_| elsewhere).map(|k| k.context.clone())
        });
        let Terms { quorum: w, strict, timeout_ms } = terms;
        let put = |key, causality, quorum| put(bucket.clone(), key, causality, Terms { quorum, ..terms }).into();
        match self.client_rng.random_range(0..5) {
            0 => Delete { bucket, key, causality: Causality::Blind, w, strict, timeout_ms }.into(),
            1 => put(key, Causality::Blind, Quorum::Count(9)),
            2 => put(Bytes::new(), Causality::Blind, w),
            3 => put(Bytes::from(vec![b'k'; 1025]), Causality::Blind, w),
            _ => put(key, Causality::Seen(foreign.unwrap_or_else(|| Bytes::from_static(b"forged"))), w),
        }
    }

    pub(crate) fn client_asks(&mut self, op: OpId, message: Message, body: Bytes) {
        let host = self.journal.op(op).host;
        if !self.hosts[host].is_up() {
            self.finish(op, Outcome::Unknown);
            return;
        }
        self.trace.record(self.now, u64::from(op) << 32 | u64::from(message.kind()), &body);
        let reply_to = ReplyTo { connection: CLIENTS + u64::from(op), request: u64::from(op) };
        self.tell(host, Event::Request { from: Origin::Client, reply_to, message, body }, Some(op));
    }

    pub(crate) fn client_hears(&mut self, id: OpId, message: Message, body: &Bytes) -> Result<(), Violation> {
        if self.journal.op(id).outcome != Outcome::Pending {
            return Ok(()); // it has given up
        }
        self.trace.record(self.now, u64::from(id) << 32 | u64::from(message.kind()), body);
        let op = self.journal.op(id);
        let (client, key) = (op.client, op.key);
        self.trace.line(self.now, |t| format!("c{client} hears: #{id} {}", t.message(&message, body)));
        let outcome = match message {
            Message::Found(m) => {
                let values = split(&m.siblings, body);
                let Some(writers) = values.iter().map(|v| writer_of(v)).collect::<Option<Vec<OpId>>>() else {
                    return Err(Violation::new("8 no false word", format!("#{id} returned a value that nobody wrote")));
                };
                self.journal.op_mut(id).acks = m.acks;
                self.check_found(id, &writers, &m.context)?;
                self.check_session(id, &writers)?;
                let seen = self.journal.seen_by(&writers);
                self.clients[client].learns(key, m.context, seen, writers.clone());
                self.journal.op_mut(id).found = writers;
                Outcome::Done
            }
            Message::PutDone(m) => {
                self.journal.op_mut(id).acks = m.acks;
                let op = self.journal.op(id);
                let (mut seen, value) = (op.observed.clone(), op.value_id());
                let values = if op.kind == Kind::Put { vec![value] } else { Vec::new() };
                seen.add(id);
                seen.add(value);
                self.clients[client].learns(key, m.context, seen, values);
                Outcome::Done
            }
            Message::Failure(m) => {
                self.journal.op_mut(id).short = (m.needed, m.received);
                self.failed(id, &m)?
            }
            Message::Keys(m) => {
                self.check_keys(id, &m)?;
                Outcome::Done
            }
            _ => Outcome::Done,
        };
        self.finish(id, outcome);
        Ok(())
    }

    pub(crate) fn client_gives_up(&mut self, op: OpId) {
        if self.journal.op(op).outcome == Outcome::Pending {
            self.trace.line(self.now, |_| format!("#{op}: no answer"));
            self.finish(op, Outcome::Unknown);
        }
    }

    /// A process is gone: its clients will not hear of what they asked.
    pub(crate) fn clients_lose(&mut self, host: usize) {
        let lost: Vec<OpId> =
            self.clients.iter().filter_map(|c| c.busy).filter(|op| self.journal.op(*op).host == host).collect();
        for op in lost {
            self.finish(op, Outcome::Unknown);
        }
    }

    fn finish(&mut self, id: OpId, outcome: Outcome) {
        let now = self.now;
        let op = self.journal.op_mut(id);
        if op.outcome != Outcome::Pending {
            return;
        }
        (op.outcome, op.ended) = (outcome, now);
        let (client, key) = (op.client, op.key);
        let (dot, repeats, is_put) = (op.dot, op.repeats, op.kind == Kind::Put);
        if outcome == Outcome::Done && (dot.is_some() || repeats.is_some()) {
            self.journal.acknowledged[key].push(id);
        }
        if let (Outcome::Done, None, Some(first)) = (outcome, dot, repeats) {
            // What was acknowledged is what a former attempt wrote.
            let is_group = self.plan.durability == Durability::Group;
            for op in self.journal.ops.iter_mut().skip(first as usize).filter(|op| op.value_id() == first) {
                op.promised |= is_group && op.dot.is_some();
            }
        }
        let op = self.journal.op(id);
        let name = match (op.kind, outcome) {
            (Kind::Get, Outcome::Done) => "get done",
            (Kind::Get, Outcome::Unknown) => "get without answer",
            (Kind::Get, _) => "get failed",
            (Kind::Put, Outcome::Done) => "put done",
            (Kind::Put, Outcome::Unknown) => "put unknown",
            (Kind::Put, _) => "put failed",
            (Kind::Delete, Outcome::Done) => "delete done",
            (Kind::Delete, Outcome::Unknown) => "delete unknown",
            (Kind::Delete, _) => "delete failed",
            (Kind::Other, _) => "other",
        };
        *self.stats.operations.entry(name).or_default() += 1;
        self.clients[client].busy = None;
        if is_put && outcome == Outcome::Unknown && self.repeat_put(id) {
            return;
        }
        let again = now + around(&mut self.client_rng, self.plan.think);
        self.queue.push(again, Happening::ClientActs { client });
    }
}

/// A put that says nothing beside its value.
fn put(bucket: Bytes, key: Bytes, causality: Causality, terms: Terms) -> Put {
    let Terms { quorum: w, strict, timeout_ms } = terms;
    let (content_type, expiry, request) = (Bytes::new(), Expiry::OfBucket, None);
    Put { bucket, key, causality, w, strict, timeout_ms, content_type, expiry, request }
}

/// How many copies, and how patient.
fn draw_terms(rng: &mut Pcg64, owners: usize) -> (Quorum, u32) {
    let some = Quorum::Count(rng.random_range(1..=owners as u8));
    let quorum = one_of(rng, &[Quorum::Majority, Quorum::Majority, Quorum::Majority, Quorum::One, Quorum::All, some]);
    (quorum, one_of(rng, &[0, 5, 100, 1_000, 1_000, 5_000]))
}

/// Takes a body apart into its values.
pub(crate) fn split(siblings: &[SiblingIs], body: &Bytes) -> Vec<Bytes> {
    let mut rest = body.clone();
    siblings.iter().map(|s| rest.split_to((s.length as usize).min(rest.len()))).collect()
}
