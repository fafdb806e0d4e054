//! Every stored and sent form of clocks, objects and entries, each behind a format byte.
//!
//! Numbers are LEB128 varints, node ids, lives and hashes 8 bytes little-endian. Decoders take any bytes: they return
//! [`Corrupt`], never panic, and allocate no more than a small multiple of what they were given. Everything has
//! one form only: numbers are as short as can be, the actors and runs of clocks ascend, runs do not touch. A format byte is never given a second meaning; a new form gets a new
//! byte, and every released one can be read.

mod checkpoint;

use bytes::{Buf, Bytes};
use dynode_ring::NodeId;

use crate::clock::{Clock, DotRange};
use crate::copy::set_hash;
use crate::dot::{Actor, COUNTER_MAX, Dot, LIFE_MAX};
use crate::key::ObjectKey;
use crate::object::{Object, Payload, Sibling};

pub use checkpoint::{Checkpoint, Scanned, decode_checkpoint, decode_index, encode_checkpoint, encode_index};

/// The one format there is so far, of everything.
pub const FORMAT: u8 = 1;

/// Bytes that are not what they should be. On disk: damage, never "not found".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged or foreign bytes: {0}")]
pub struct Corrupt(pub &'static str);

/// One key of an answer, or one write on its way to a replica: the object as it travels, and the dots of the writes that
/// made it so. An effect never travels without its dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: ObjectKey,
    /// What the sender holds of it.
    pub object: Object,
    /// The writes that come with it.
    pub dots: Vec<Dot>,
}

impl Entry {
    /// Are the writes that come with it exactly those of its values?
    fn brings_its_values(&self) -> bool {
        !self.dots.is_empty() && self.object.dots().eq(self.dots.iter().copied())
    }
}

/// What ends a scan: the clock and watermark of its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// All that the source contained when the scan began.
    pub clock: Clock,
    /// What had left the source's index by then.
    pub watermark: Clock,
    /// The dots of closed lives that were still in the source's index.
    pub remains: Clock,
    /// The set hash that the source's copy kept of itself: what all pages list comes to the same (see [`listed`]).
    pub content: u64,
}

/// What the entries of a scan's page add to the set hash of what was listed. It sums up every key with its dots, so that it
/// counts as well: a key that is missing, or there twice, is noticed.
pub fn listed(parts: &[Part]) -> u64 {
    let is_claimed = matches!(parts.last(), Some(Part::Claim(_)));
    let hash = |part: &Part| match part {
        // Without a claim the entries are the index's, and come again when the keys are listed.
        Part::Entry(entry) if is_claimed => set_hash(&entry.key, entry.object.dots()),
        _ => 0,
    };
    parts.iter().map(hash).fold(0, u64::wrapping_add)
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One key.
    Entry(Entry),
    /// The end of a scan.
    Claim(Claim),
    /// The end of a delta that has brought everything: the source contains all dots of these nodes' lives below these, and
    /// so the asker does now.
    Closed(Vec<(NodeId, u64)>),
}

impl Part {
    /// The entry, where it is one.
    pub fn into_entry(self) -> Option<Entry> {
        match self {
            Part::Entry(entry) => Some(entry),
            Part::Claim(_) | Part::Closed(_) => None,
        }
    }
}

const PART_ENTRY: u8 = 1;
const PART_CLAIM: u8 = 2;
const PART_FLOOR: u8 = 3;
const PART_CLOSED: u8 = 4;
/// An entry that brings exactly the writes of its values, as most do: their dots are said once.
const PART_WRITES: u8 = 5;

/// The most actors, and nodes with closed lives, of a floor that all entries of an answer share. A quiet cluster has one of
/// each for each owner.
const FLOOR_ACTORS_MAX: usize = 16;

// ---- what is written --------------------------------------------------------------------------------------------

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_actor(out: &mut Vec<u8>, actor: Actor) {
    out.extend_from_slice(&actor.node.0.to_le_bytes());
    out.extend_from_slice(&actor.life.to_le_bytes());
}

fn put_dot(out: &mut Vec<u8>, dot: Dot) {
    put_actor(out, dot.actor);
    put_varint(out, dot.counter);
}

/// An actor without runs says that all lives of its node below it are closed.
fn put_closed(out: &mut Vec<u8>, node: NodeId, life: u64) {
    put_actor(out, Actor { node, life });
    put_varint(out, 0);
}

fn put_clock(out: &mut Vec<u8>, clock: &Clock) {
    let runs: Vec<DotRange> = clock.ranges().collect();
    put_varint(out, (clock.closed().len() + clock.actors()) as u64);
    let mut closed = clock.closed().iter().copied().peekable();
    for run in runs.chunk_by(|a, b| a.actor == b.actor) {
        while let Some((node, life)) = closed.next_if(|(node, _)| *node <= run[0].actor.node) {
            put_closed(out, node, life);
        }
        put_actor(out, run[0].actor);
        put_varint(out, run.len() as u64);
        let mut end = 0;
        for r in run {
            put_varint(out, r.first - end);
            put_varint(out, r.last - r.first);
            end = r.last;
        }
    }
    closed.for_each(|(node, life)| put_closed(out, node, life));
}

/// About how many bytes a clock without gaps takes.
fn clock_len(clock: &Clock) -> usize {
    2 + 17 * clock.closed().len() + 24 * clock.actors()
}

fn put_object(out: &mut Vec<u8>, object: &Object) {
    put_object_with(out, object, &object.context);
}

fn put_object_with(out: &mut Vec<u8>, object: &Object, context: &Clock) {
    put_varint(out, object.values.len() as u64);
    for s in &object.values {
        put_dot(out, s.dot);
        put_varint(out, s.value.bytes().map_or(0, |b| b.len() as u64 + 1));
    }
    put_clock(out, context);
    for bytes in object.values.iter().filter_map(|s| s.value.bytes()) {
        out.extend_from_slice(bytes);
    }
}

fn put_key(out: &mut Vec<u8>, key: &ObjectKey) {
    put_varint(out, key.as_bytes().len() as u64);
    out.extend_from_slice(key.as_bytes());
}

fn put_listed_dots(out: &mut Vec<u8>, dots: &[Dot]) {
    put_varint(out, dots.len() as u64);
    dots.iter().for_each(|d| put_dot(out, *d));
}

fn put_object_beyond(out: &mut Vec<u8>, object: &Object, floor: &Clock) {
    match floor.is_empty() {
        true => put_object(out, object),
        false => put_object_with(out, object, &object.context.beyond(floor)),
    }
}

/// A clock on its own.
pub fn encode_clock(clock: &Clock) -> Vec<u8> {
    let mut out = Vec::with_capacity(clock_len(clock));
    out.push(FORMAT);
    put_clock(&mut out, clock);
    out
}

/// An object on its own: stored, or an answer to a fetch.
pub fn encode_object(object: &Object) -> Vec<u8> {
    let held: usize = object.values.iter().map(|s| 24 + s.value.bytes().map_or(0, Bytes::len)).sum();
    let mut out = Vec::with_capacity(3 + held + clock_len(&object.context));
    out.push(FORMAT);
    put_object(&mut out, object);
    out
}

/// A list of dots.
pub fn encode_dots(dots: impl IntoIterator<Item = Dot>) -> Vec<u8> {
    let mut out = vec![FORMAT];
    dots.into_iter().for_each(|d| put_dot(&mut out, d));
    out
}

/// One write or repair on its way to a replica.
pub fn encode_entry(key: &ObjectKey, object: &Object, dots: &[Dot]) -> Vec<u8> {
    let held: usize = object.values.iter().map(|s| 24 + s.value.bytes().map_or(0, Bytes::len)).sum();
    let context = clock_len(&object.context);
    let mut out = Vec::with_capacity(8 + key.as_bytes().len() + 20 * dots.len() + held + context);
    out.push(FORMAT);
    put_key(&mut out, key);
    put_listed_dots(&mut out, dots);
    put_object(&mut out, object);
    out
}

/// The body of an answer. What all entries' contexts have in common from their beginnings on is said once, before them,
/// and so is a dot that is both a write and its value's: for small values they would be half of the bytes.
pub fn encode_parts(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    if parts.is_empty() {
        return out;
    }
    out.push(FORMAT);
    let floor = common_floor(parts);
    if !floor.is_empty() {
        out.push(PART_FLOOR);
        put_clock(&mut out, &floor);
    }
    for part in parts {
        match part {
            Part::Entry(e) => {
                let brings_its_values = e.brings_its_values();
                out.push(if brings_its_values { PART_WRITES } else { PART_ENTRY });
                put_key(&mut out, &e.key);
                if !brings_its_values {
                    put_listed_dots(&mut out, &e.dots);
                }
                put_object_beyond(&mut out, &e.object, &floor);
            }
            Part::Claim(c) => {
                out.push(PART_CLAIM);
                put_clock(&mut out, &c.clock);
                put_clock(&mut out, &c.watermark);
                put_clock(&mut out, &c.remains);
                out.extend_from_slice(&c.content.to_le_bytes());
            }
            Part::Closed(closed) => {
                out.push(PART_CLOSED);
                put_varint(&mut out, closed.len() as u64);
                closed.iter().for_each(|(node, life)| put_actor(&mut out, Actor { node: *node, life: *life }));
            }
        }
    }
    out
}

/// The contiguous base that every entry's context has, where saying it once is worth it: there are two entries or more,
/// and few actors (a reader gives each entry its own copy, so that a large one would swell in its memory).
fn common_floor(parts: &[Part]) -> Clock {
    let mut contexts = parts.iter().filter_map(|p| match p {
        Part::Entry(e) => Some(&e.object.context),
        Part::Claim(_) | Part::Closed(_) => None,
    });
    let (Some(first), Some(second)) = (contexts.next(), contexts.next()) else { return Clock::new() };
    let floor = contexts.fold(first.floor().meet_bases(second), |floor, context| floor.meet_bases(context));
    if floor.actors() + floor.closed().len() > FLOOR_ACTORS_MAX { Clock::new() } else { floor }
}

// ---- what is read -----------------------------------------------------------------------------------------------

/// Reads forms one after another from shared bytes; values are slices of them, not copies.
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// Reads raw bytes.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { rest: bytes }
    }

    /// Reads bytes that begin with a format byte, and checks that.
    pub fn with_format(bytes: Bytes) -> Result<Reader, Corrupt> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            FORMAT => Ok(reader),
            _ => Err(Corrupt("unknown format byte: written by a newer version?")),
        }
    }

    /// True at the end.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.rest.len() as u64
    }

    /// Checks that nothing is left over.
    pub fn finish(self) -> Result<(), Corrupt> {
        if self.is_empty() { Ok(()) } else { Err(Corrupt("trailing bytes")) }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Corrupt> {
        let byte = *self.rest.first().ok_or(Corrupt("too short"))?;
        self.rest.advance(1);
        Ok(byte)
    }

    /// So many bytes, shared and not copied.
    pub fn take(&mut self, len: u64) -> Result<Bytes, Corrupt> {
        match usize::try_from(len) {
            Ok(len) if len <= self.rest.len() => Ok(self.rest.split_to(len)),
            _ => Err(Corrupt("a length goes past the end")),
        }
    }

    /// A number of seven bits a byte, the least first, in its shortest form.
    pub fn varint(&mut self) -> Result<u64, Corrupt> {
        let mut n = 0u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                return Err(Corrupt("number over 64 bits"));
            }
            n |= bits << (7 * i);
            if byte & 0x80 == 0 {
                if *byte == 0 && i > 0 {
                    return Err(Corrupt("a number longer than it need be"));
                }
                self.rest.advance(i + 1);
                return Ok(n);
            }
        }
        Err(Corrupt("unfinished number"))
    }

    /// Eight bytes, little-endian.
    pub fn word(&mut self) -> Result<u64, Corrupt> {
        let bytes = self.rest.get(..8).and_then(|b| b.try_into().ok()).ok_or(Corrupt("too short"))?;
        self.rest.advance(8);
        Ok(u64::from_le_bytes(bytes))
    }

    /// A count of things of at least `least` bytes each: no more than can be there.
    pub fn count(&mut self, least: usize) -> Result<usize, Corrupt> {
        match usize::try_from(self.varint()?) {
            Ok(n) if n <= self.rest.len() / least => Ok(n),
            _ => Err(Corrupt("a count goes past the end")),
        }
    }

    fn actor(&mut self) -> Result<Actor, Corrupt> {
        Ok(Actor { node: NodeId(self.word()?), life: self.word()? })
    }

    fn dot(&mut self) -> Result<Dot, Corrupt> {
        let dot = Dot { actor: self.actor()?, counter: self.varint()? };
        match dot.counter {
            1..=COUNTER_MAX => Ok(dot),
            _ => Err(Corrupt("a counter that no write has")),
        }
    }

    /// A clock without a format byte of its own.
    pub fn clock(&mut self) -> Result<Clock, Corrupt> {
        let mut clock = Clock::new();
        let mut former: Option<(Actor, bool)> = None;
        for _ in 0..self.count(17)? {
            let actor = self.actor()?;
            let runs = self.count(2)?;
            let is_closed = runs == 0;
            let in_order = former.is_none_or(|(former, was_closed)| match is_closed {
                true => former.node < actor.node,
                false => former < actor || (was_closed && former == actor),
            });
            if !in_order {
                return Err(Corrupt("the actors of a clock out of order"));
            }
            if is_closed && !(1..=LIFE_MAX).contains(&actor.life) {
                return Err(Corrupt("a closed life that cannot be"));
            }
            former = Some((actor, is_closed));
            if is_closed {
                clock.close(actor.node, actor.life);
            }
            let mut end = 0u64;
            for i in 0..runs {
                let over = Corrupt("a counter that no write has");
                let first = end.checked_add(self.varint()?).ok_or(over)?;
                let last = first.checked_add(self.varint()?).filter(|last| *last <= COUNTER_MAX).ok_or(over)?;
                let least = if i == 0 { 1 } else { end + 2 };
                if first < least {
                    return Err(Corrupt("the runs of a clock out of order"));
                }
                clock.add_range(DotRange { actor, first, last });
                end = last;
            }
        }
        Ok(clock)
    }

    fn closed(&mut self) -> Result<Vec<(NodeId, u64)>, Corrupt> {
        let mut closed = Vec::new();
        for _ in 0..self.count(16)? {
            let Actor { node, life } = self.actor()?;
            if !(1..=LIFE_MAX).contains(&life) || closed.last().is_some_and(|(former, _)| *former >= node) {
                return Err(Corrupt("closed lives that cannot be"));
            }
            closed.push((node, life));
        }
        match closed.is_empty() {
            true => Err(Corrupt("closed lives of nobody")),
            false => Ok(closed),
        }
    }

    /// An object without a format byte of its own.
    pub fn object(&mut self) -> Result<Object, Corrupt> {
        let count = self.count(18)?;
        let mut lengths = Vec::with_capacity(count);
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let dot = self.dot()?;
            if values.last().is_some_and(|s: &Sibling| s.dot >= dot) {
                return Err(Corrupt("values out of order"));
            }
            values.push(Sibling { dot, value: Payload::Known });
            lengths.push(self.varint()?);
        }
        let context = self.clock()?;
        for (sibling, len) in values.iter_mut().zip(lengths) {
            if let Some(len) = len.checked_sub(1) {
                sibling.value = Payload::Here(self.take(len)?);
            }
        }
        Ok(Object { values, context })
    }

    fn key(&mut self) -> Result<ObjectKey, Corrupt> {
        let len = self.varint()?;
        ObjectKey::from_bytes(self.take(len)?).ok_or(Corrupt("not a key"))
    }

    /// An entry without a format byte of its own.
    pub fn entry(&mut self) -> Result<Entry, Corrupt> {
        let key = self.key()?;
        let count = self.count(17)?;
        let dots = (0..count).map(|_| self.dot()).collect::<Result<_, _>>()?;
        Ok(Entry { key, dots, object: self.object()? })
    }

    /// An entry that brings the writes of its values.
    fn writes(&mut self) -> Result<Entry, Corrupt> {
        let (key, object) = (self.key()?, self.object()?);
        let dots = object.dots().collect();
        Ok(Entry { key, object, dots })
    }
}

/// See [`encode_clock`].
pub fn decode_clock(bytes: Bytes) -> Result<Clock, Corrupt> {
    let mut r = Reader::with_format(bytes)?;
    let clock = r.clock()?;
    r.finish().map(|()| clock)
}

/// See [`encode_object`].
pub fn decode_object(bytes: Bytes) -> Result<Object, Corrupt> {
    let mut r = Reader::with_format(bytes)?;
    let object = r.object()?;
    r.finish().map(|()| object)
}

/// See [`encode_dots`].
pub fn decode_dots(bytes: Bytes) -> Result<Vec<Dot>, Corrupt> {
    let mut r = Reader::with_format(bytes)?;
    let mut dots = Vec::new();
    while !r.is_empty() {
        dots.push(r.dot()?);
    }
    Ok(dots)
}

/// See [`encode_entry`].
pub fn decode_entry(bytes: Bytes) -> Result<Entry, Corrupt> {
    let mut r = Reader::with_format(bytes)?;
    let entry = r.entry()?;
    r.finish().map(|()| entry)
}

/// See [`encode_parts`]. An empty body has no parts.
pub fn decode_parts(bytes: Bytes) -> Result<Vec<Part>, Corrupt> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::with_format(bytes)?;
    let mut floor: Option<Clock> = None;
    let mut parts = Vec::new();
    while !r.is_empty() {
        if matches!(parts.last(), Some(Part::Claim(_) | Part::Closed(_))) {
            return Err(Corrupt("something follows the end of an answer"));
        }
        match r.byte()? {
            PART_FLOOR if parts.is_empty() && floor.is_none() => {
                let clock = r.clock()?;
                if clock.actors() + clock.closed().len() > FLOOR_ACTORS_MAX || clock.has_gaps() {
                    return Err(Corrupt("a floor that no answer has"));
                }
                floor = Some(clock);
            }
            kind @ (PART_ENTRY | PART_WRITES) => {
                let mut entry = if kind == PART_ENTRY { r.entry()? } else { r.writes()? };
                if entry.brings_its_values() != (kind == PART_WRITES) {
                    return Err(Corrupt("an entry in the form of another kind"));
                }
                if let Some(floor) = &floor {
                    entry.object.context.merge(floor);
                }
                parts.push(Part::Entry(entry));
            }
            PART_CLAIM => {
                let (clock, watermark, remains) = (r.clock()?, r.clock()?, r.clock()?);
                parts.push(Part::Claim(Claim { clock, watermark, remains, content: r.word()? }));
            }
            PART_CLOSED => parts.push(Part::Closed(r.closed()?)),
            _ => return Err(Corrupt("unknown part of an answer")),
        }
    }
    Ok(parts)
}
