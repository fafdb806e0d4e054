//! The stored forms that never travel: checkpoints of copies, and index entries.

use bytes::Bytes;

use super::{Corrupt, FORMAT, Reader, put_clock, put_varint};
use crate::clock::Clock;
use crate::copy::Wholeness;
use crate::key::ObjectKey;

/// What a copy's checkpoint says; the index entries since then say the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The life of the copy's actor.
    pub life: u64,
    /// Does the copy have what it should?
    pub wholeness: Wholeness,
    /// What the copy contains.
    pub clock: Clock,
    /// Contiguous per actor: dots up to here have left the index.
    pub watermark: Clock,
    /// The set hash at that clock.
    pub content: u64,
    /// The dots of closed lives that are still in the index.
    pub remains: Clock,
    /// How far unfinished scans have come.
    pub scans: Vec<Scanned>,
}

/// The part of a scan that a copy has taken in: of all keys up to `upto` it has also seen what `clock` contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The last key taken in (as in [`ObjectKey::as_bytes`]).
    pub upto: Bytes,
    /// The source's clock when the scan began.
    pub clock: Clock,
}

/// A checkpoint.
pub fn encode_checkpoint(c: &Checkpoint) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&c.life.to_le_bytes());
    out.push(match c.wholeness {
        Wholeness::Whole => 0,
        Wholeness::MayLack => 1,
        Wholeness::New => 2,
        Wholeness::Stays => 3,
    });
    out.extend_from_slice(&c.content.to_le_bytes());
    put_clock(&mut out, &c.clock);
    put_clock(&mut out, &c.watermark);
    put_clock(&mut out, &c.remains);
    put_varint(&mut out, c.scans.len() as u64);
    for scan in &c.scans {
        put_varint(&mut out, scan.upto.len() as u64);
        out.extend_from_slice(&scan.upto);
        put_clock(&mut out, &scan.clock);
    }
    out
}

/// An index entry: which key a dot wrote, and by how much that write moved the copy's set hash.
pub fn encode_index(key: &ObjectKey, moved: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + key.as_bytes().len());
    out.push(FORMAT);
    out.extend_from_slice(&moved.to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    out
}

/// See [`encode_checkpoint`].
pub fn decode_checkpoint(bytes: Bytes) -> Result<Checkpoint, Corrupt> {
    let mut r = Reader::with_format(bytes)?;
    let life = r.word()?;
    let wholeness = match r.byte()? {
        0 => Wholeness::Whole,
        1 => Wholeness::MayLack,
        2 => Wholeness::New,
        3 => Wholeness::Stays,
        _ => return Err(Corrupt("neither recovering nor not")),
    };
    let content = r.word()?;
    let (clock, watermark, remains) = (r.clock()?, r.clock()?, r.clock()?);
    let mut scans = Vec::new();
    for _ in 0..r.count(2)? {
        let len = r.varint()?;
        scans.push(Scanned { upto: r.take(len)?, clock: r.clock()? });
    }
    let checkpoint = Checkpoint { life, wholeness, clock, watermark, content, remains, scans };
    r.finish().map(|()| checkpoint)
}

/// See [`encode_index`].
pub fn decode_index(bytes: Bytes) -> Result<(ObjectKey, u64), Corrupt> {
    let mut r = Reader::with_format(bytes)?;
    let moved = r.word()?;
    Ok((ObjectKey::from_bytes(r.rest).ok_or(Corrupt("not a key"))?, moved))
}
