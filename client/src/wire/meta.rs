//! What is stored and told with a value: its content type, when it expires, when it was written, and for which request.
//!
//! A stored value is an *envelope* and then the user's bytes. Copies, syncs and hints carry the whole and never look into
//! it; coordinators do. All numbers are little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the format (1) in the high four bits; in the low ones which of the following are there, in this order |
//! | 1 + n | flag 1: the content type's length (1 to 255) and its bytes |
//! | 8 | flag 2: when the value expires, in milliseconds of the wall clock since 1970 |
//! | 8 | flag 4: when it was written, a [`Hlc`] |
//! | 8 | flag 8: the request that wrote it |
//!
//! One byte, where nothing is said.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::limits::CONTENT_TYPE_BYTES_MAX;

const FORMAT: u8 = 1 << 4;
const HAS_CONTENT_TYPE: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_WRITTEN: u8 = 4;
const HAS_REQUEST: u8 = 8;

/// A moment of the cluster's hybrid logical clock: milliseconds of the wall clock since 1970, and a counter that tells
/// writes of the same millisecond apart, and keeps a later write of a key after an earlier one though the coordinators'
/// wall clocks disagree (Kulkarni, Demirbas et al., "Logical physical clocks", 2014).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hlc(pub u64);

/// How many bits of a [`Hlc`] are the counter: the other 48 last until the year 10889.
const COUNTER_BITS: u32 = 16;

impl Hlc {
    /// The first moment of a millisecond.
    pub const fn at_ms(ms: u64) -> Hlc {
        Hlc(ms << COUNTER_BITS)
    }

    /// Its milliseconds since 1970.
    pub const fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The next moment: now by the wall clock, but after this one in any case.
    #[must_use]
    pub fn next(self, wall_ms: u64) -> Hlc {
        Hlc::at_ms(wall_ms.min(u64::MAX >> COUNTER_BITS)).max(Hlc(self.0.saturating_add(1)))
    }
}

/// What is said about a value beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// What kind of value it is (RFC 9110, 8.3), as its writer said; empty: not said. Up to 255 bytes.
    pub content_type: Bytes,
    /// From when on it is not shown any more, in milliseconds of the wall clock since 1970.
    pub expires_ms: Option<u64>,
    /// When it was written.
    pub written: Option<Hlc>,
    /// The id of the request that wrote it: a retry has the same.
    pub request: Option<u64>,
}

/// A stored value whose envelope cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value whose envelope cannot be read")]
pub struct BadEnvelope;

impl Meta {
    /// Has it expired by this moment of the wall clock?
    pub fn has_expired(&self, wall_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= wall_ms)
    }

    /// The value as it is stored: envelope and bytes. A content type over its limit is left out.
    pub fn wrap(&self, value: &[u8]) -> Bytes {
        let content_type = Some(&self.content_type).filter(|t| (1..=CONTENT_TYPE_BYTES_MAX).contains(&t.len()));
        let mut out = BytesMut::with_capacity(26 + content_type.map_or(0, Bytes::len) + value.len());
        out.put_u8(FORMAT);
        if let Some(content_type) = content_type {
            out[0] |= HAS_CONTENT_TYPE;
            out.put_u8(content_type.len() as u8);
            out.put_slice(content_type);
        }
        let numbers =
            [(HAS_EXPIRY, self.expires_ms), (HAS_WRITTEN, self.written.map(|at| at.0)), (HAS_REQUEST, self.request)];
        for (flag, number) in numbers {
            if let Some(number) = number {
                out[0] |= flag;
                out.put_u64_le(number);
            }
        }
        out.put_slice(value);
        out.freeze()
    }

    /// Takes a stored value apart, without a copy of it.
    ///
    /// # Errors
    ///
    /// [`BadEnvelope`] for bytes that [`Meta::wrap`] did not make.
    pub fn unwrap(stored: &Bytes) -> Result<(Meta, Bytes), BadEnvelope> {
        let mut rest = stored.clone();
        let first = rest.try_get_u8().map_err(|_| BadEnvelope)?;
        if first & 0xf0 != FORMAT {
            return Err(BadEnvelope);
        }
        let mut meta = Meta::default();
        if first & HAS_CONTENT_TYPE != 0 {
            let len = usize::from(rest.try_get_u8().map_err(|_| BadEnvelope)?);
            if len == 0 || rest.len() < len {
                return Err(BadEnvelope);
            }
            meta.content_type = rest.split_to(len);
        }
        let mut number = |flag| match first & flag {
            0 => Ok(None),
            _ => rest.try_get_u64_le().map(Some).map_err(|_| BadEnvelope),
        };
        meta.expires_ms = number(HAS_EXPIRY)?;
        meta.written = number(HAS_WRITTEN)?.map(Hlc);
        meta.request = number(HAS_REQUEST)?;
        Ok((meta, rest))
    }
}

/// As seconds since 1970, and the counter.
impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}+{}", self.ms() / 1000, self.ms() % 1000, self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

/// When a value expires, as its writer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Expiry {
    /// As the bucket says. The default.
    #[default]
    OfBucket,
    /// Never, whatever the bucket says.
    Never,
    /// So many milliseconds after it is written.
    After(u64),
    /// At this moment, in milliseconds of the wall clock since 1970.
    At(u64),
}

impl Expiry {
    /// The moment that is meant, for a value written at `now_ms` to a bucket whose values last so long.
    pub fn at_ms(self, now_ms: u64, of_bucket_ms: Option<u64>) -> Option<u64> {
        match self {
            Expiry::OfBucket => of_bucket_ms.map(|ms| now_ms.saturating_add(ms)),
            Expiry::Never => None,
            Expiry::After(ms) => Some(now_ms.saturating_add(ms)),
            Expiry::At(ms) => Some(ms),
        }
    }
}
