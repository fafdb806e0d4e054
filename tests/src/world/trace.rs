//! The history of a run: one readable line an event where somebody wants to read it, and a hash of all of it always.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use dynode::protocol::Observation;
use dynode_client::wire::{Acks, AnswerKind, Message, Meta};
use dynode_ring::NodeId;
use dynode_storage::codec::{self, Part};
use dynode_storage::{Actor, Clock, Dot, Object, ObjectKey};

use super::journal::writer_of;

/// How the messages of a round end in which nobody lacked anything, or in which that is not known yet.
const NOTHING_NEW: &str = "(nothing new)";

/// How lines of liveness end.
const LIVENESS: &str = "(liveness)";

/// The history of a run.
#[derive(Debug, Default)]
pub struct Trace {
    is_on: bool,
    echo: bool,
    /// For scripts: no times, nothing of rounds in which nobody lacked anything, and nothing of liveness.
    brief: bool,
    text: String,
    hash: u64,
    nodes: BTreeMap<NodeId, usize>,
    lives: BTreeMap<NodeId, Vec<u64>>,
}

impl Trace {
    /// Begins a history; `keep` its lines, or print them at once.
    pub fn new(keep: bool, echo: bool, nodes: &[NodeId]) -> Trace {
        let nodes = nodes.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        Trace { is_on: keep || echo, echo, nodes, ..Trace::default() }
    }

    /// From now on no times, nothing of rounds in which nobody lacked anything, and nothing of liveness.
    pub fn be_brief(&mut self) {
        self.brief = true;
    }

    /// Have these words been said?
    pub fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// Takes the lines so far out.
    pub fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// A hash of everything that has happened so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes an event into the hash.
    pub fn record(&mut self, now: u64, what: u64, bytes: &[u8]) {
        let mut mix = |word: u64| self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        mix(now);
        mix(what);
        mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(u64::from_le_bytes(word));
        }
    }

    /// Writes a line, if anybody is going to read it.
    pub fn line(&mut self, now: u64, say: impl FnOnce(&mut Trace) -> String) {
        if !self.is_on {
            return;
        }
        let what = say(self);
        if self.brief {
            if !what.ends_with(NOTHING_NEW) && !what.ends_with(LIVENESS) {
                self.text.push_str(&what);
                self.text.push('\n');
            }
            return;
        }
        let line = format!("{:>4}.{:06} {what}", now / 1_000_000, now % 1_000_000);
        if self.echo {
            println!("{line}");
        } else {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn node(&self, id: NodeId) -> String {
        self.nodes.get(&id).map_or_else(|| id.to_string(), |at| format!("n{at}"))
    }

    /// An actor as people like it: the node, and which of the lives that came up in this history.
    fn actor(&mut self, actor: Actor) -> String {
        let lives = self.lives.entry(actor.node).or_default();
        let nth = lives.iter().position(|l| *l == actor.life).unwrap_or_else(|| {
            lives.push(actor.life);
            lives.len() - 1
        });
        format!("{}{}", self.node(actor.node), "'".repeat(nth))
    }

    /// A dot, as `n0:17`; in a node's second life `n0':17`.
    pub fn dot(&mut self, dot: Dot) -> String {
        format!("{}:{}", self.actor(dot.actor), dot.counter)
    }

    /// A clock, as `{n0:1-17, n1:3}`.
    pub fn clock(&mut self, clock: &Clock) -> String {
        let ranges: Vec<String> = clock
            .ranges()
            .map(|r| match r.first == r.last {
                true => format!("{}:{}", self.actor(r.actor), r.first),
                false => format!("{}:{}-{}", self.actor(r.actor), r.first, r.last),
            })
            .collect();
        format!("{{{}}}", ranges.join(", "))
    }

    fn object(&mut self, object: &Object) -> String {
        let values: Vec<String> = object
            .values
            .iter()
            .map(|s| {
                let value = s.value.bytes().map_or("known".into(), stored_text);
                format!("{}={value}", self.dot(s.dot))
            })
            .collect();
        format!("[{}] seen {}", values.join(", "), self.clock(&object.context))
    }

    fn key(key: &Bytes) -> String {
        ObjectKey::from_bytes(key.clone()).map_or("?".into(), |k| k.to_string())
    }

    fn parts(&mut self, body: &Bytes) -> String {
        let mut out = String::new();
        for part in codec::decode_parts(body.clone()).unwrap_or_default() {
            let _ = match part {
                Part::Entry(e) => {
                    let dots: Vec<String> = e.dots.iter().map(|d| self.dot(*d)).collect();
                    let object = self.object(&e.object);
                    write!(out, "; {} {object} by [{}]", e.key, dots.join(", "))
                }
                Part::Claim(c) => {
                    write!(out, "; claim {} watermark {}", self.clock(&c.clock), self.clock(&c.watermark))
                }
                Part::Closed(closed) => {
                    let mut clock = Clock::new();
                    closed.iter().for_each(|(node, life)| clock.close(*node, *life));
                    write!(out, "; closed {}", self.clock(&clock))
                }
            };
        }
        out
    }

    /// What a node says for its log.
    pub fn observation(&self, what: &Observation) -> String {
        match what {
            Observation::ScanBegan { partition, source } => {
                format!("begins a scan of p{partition} from {}", self.node(*source))
            }
            Observation::ScanEnded { partition, source } => {
                format!("ends its scan of p{partition} from {}", self.node(*source))
            }
            Observation::Liveness { peer, liveness, incarnation } => {
                format!("takes {} of incarnation {incarnation} for {liveness:?} {LIVENESS}", self.node(*peer))
            }
            other => format!("{other:?}"),
        }
    }

    /// The key facts of a message.
    pub fn message(&mut self, message: &Message, body: &Bytes) -> String {
        let name = message.name();
        let clock = |t: &mut Trace, b: &Bytes| codec::decode_clock(b.clone()).map_or("?".into(), |c| t.clock(&c));
        match message {
            Message::Replicate(_) => match codec::decode_entry(body.clone()) {
                Ok(e) => {
                    let dots: Vec<String> = e.dots.iter().map(|d| self.dot(*d)).collect();
                    format!("{name} {} {} by [{}]", e.key, self.object(&e.object), dots.join(", "))
                }
                Err(_) => format!("{name} ?"),
            },
            Message::Fetch(m) => format!("{name} {}", ObjectKey::new(&m.bucket, &m.key)),
            Message::Fetched(m) if m.same => format!("{name} same"),
            Message::Fetched(_) => match codec::decode_object(body.clone()) {
                Ok(object) => format!("{name} {}", self.object(&object)),
                Err(_) => format!("{name} ?"),
            },
            Message::Digests(m) => format!("{name} of {} partitions {NOTHING_NEW}", m.digests.len()),
            Message::Clocks(m) if m.differing.is_empty() && m.absent.is_empty() => format!("{name} {NOTHING_NEW}"),
            Message::Clocks(m) => {
                let mut rest = body.clone();
                let mut told = String::new();
                for (partition, len) in &m.differing {
                    let bytes = rest.split_to((*len as usize).min(rest.len()));
                    let _ = write!(told, " p{partition} {}", clock(self, &bytes));
                }
                m.absent.iter().for_each(|p| told.push_str(&format!(" p{p} absent")));
                format!("{name}{told}")
            }
            Message::Pull(m) => {
                let only = if m.only.is_empty() { String::new() } else { format!(" only {}", Trace::key(&m.only)) };
                let scan = m.scan.as_ref().map_or(String::new(), |at| match at.after.is_empty() {
                    true => " scan from the start".into(),
                    false => format!(" scan after {}", Trace::key(&at.after)),
                });
                format!("{name} p{}{only}{scan} having {}", m.partition, clock(self, body))
            }
            Message::Answer(m) => {
                let kind = match &m.kind {
                    AnswerKind::Delta { more } => format!("delta{}", if *more { ", more" } else { "" }),
                    AnswerKind::Page { after, done, .. } if after.is_empty() => {
                        format!("page of the index{}", if *done { ", done" } else { "" })
                    }
                    AnswerKind::Page { after, done, .. } => {
                        format!("page up to {}{}", Trace::key(after), if *done { ", done" } else { "" })
                    }
                    AnswerKind::Gone => "gone".into(),
                };
                format!("{name} p{} {kind}{}", m.partition, self.parts(body))
            }
            Message::Behind(m) => {
                format!("{name} p{} {} from {}", m.partition, Trace::key(&m.key), self.node(NodeId(m.source)))
            }
            Message::Put(m) => format!("{name} {} w={}{}", ObjectKey::new(&m.bucket, &m.key), m.w, strict(m.strict)),
            Message::Delete(m) => format!("{name} {} w={}{}", ObjectKey::new(&m.bucket, &m.key), m.w, strict(m.strict)),
            Message::Get(m) => format!("{name} {} r={}{}", ObjectKey::new(&m.bucket, &m.key), m.r, strict(m.strict)),
            Message::PutDone(m) => format!("{name} by {}", acks(m.acks)),
            Message::Found(m) => {
                let mut rest = body.clone();
                let values: Vec<String> = m
                    .siblings
                    .iter()
                    .map(|s| value_text(&rest.split_to((s.length as usize).min(rest.len()))))
                    .collect();
                format!("{name} [{}] from {}", values.join(", "), acks(m.acks))
            }
            Message::Failure(m) => format!("{name} {}: {}", m.code.as_str(), m.detail),
            Message::Keys(m) => format!("{name} {}", m.keys.len()),
            Message::PingFor(m) => format!("{name} {} {LIVENESS}", self.node(NodeId(m.target))),
            Message::Ack(m) => format!("{name} heard: {} {LIVENESS}", m.heard),
            Message::Ping(_) | Message::Members(_) => format!("{name} {LIVENESS}"),
            Message::Standing(m) => format!("{name} at epoch {} {LIVENESS}", m.epoch),
            _ => name.to_string(),
        }
    }
}

/// A value as people like it: the operation that wrote it, or its text.
fn value_text(value: &Bytes) -> String {
    match writer_of(value) {
        Some(op) => format!("#{op}"),
        None => value.escape_ascii().to_string(),
    }
}

/// As [`value_text`], of a value as a copy has stored it.
fn stored_text(stored: &Bytes) -> String {
    Meta::unwrap(stored).map_or_else(|why| why.to_string(), |(_, value)| value_text(&value))
}

/// Who took part.
fn acks(acks: Acks) -> String {
    match acks.stand_ins {
        0 => format!("{} owners", acks.owners),
        stand_ins => format!("{} owners, {stand_ins} stand-ins", acks.owners),
    }
}

fn strict(strict: bool) -> &'static str {
    if strict { " strict" } else { "" }
}
