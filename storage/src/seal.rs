//! Contexts that clients hold: opaque, and bound to the cluster, bucket and key they were given for.
//!
//! A context ahead of a copy's clock would hide writes to come, so one that was forged, altered, or belongs to another
//! key or cluster must be refused. The seal is a BLAKE3 keyed hash (a PRF, O'Connor et al. 2020), cut to 128 bits.

use bytes::Bytes;

use crate::clock::Clock;
use crate::codec::{Corrupt, decode_clock, encode_clock};

const MAC_BYTES: usize = 16;

/// The cluster's key for contexts.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// Derives the key for contexts from the cluster's secret.
    pub fn derive(secret: &[u8]) -> SealKey {
        SealKey(blake3::derive_key("dynode 2026 context seal v1", secret))
    }

    /// Seals a context for one key: 16 bytes of seal, then the encoded clock.
    pub fn seal(&self, bucket: &[u8], key: &[u8], context: &Clock) -> Bytes {
        let clock = encode_clock(context);
        let mut out = Vec::with_capacity(MAC_BYTES + clock.len());
        out.extend_from_slice(&self.mac(bucket, key, &clock));
        out.extend_from_slice(&clock);
        out.into()
    }

    /// Opens a context that was sealed for this key; anything else is an error.
    pub fn open(&self, bucket: &[u8], key: &[u8], sealed: &Bytes) -> Result<Clock, Corrupt> {
        let (Some(mac), Some(clock)) = (sealed.get(..MAC_BYTES), sealed.get(MAC_BYTES..)) else {
            return Err(Corrupt("too short for a context"));
        };
        let expected = self.mac(bucket, key, clock);
        // Compared without an early exit, so that time tells a forger nothing.
        if mac.iter().zip(expected).fold(0, |diff, (a, b)| diff | (a ^ b)) != 0 {
            return Err(Corrupt("not sealed by this cluster for this key"));
        }
        decode_clock(sealed.slice(MAC_BYTES..))
    }

    fn mac(&self, bucket: &[u8], key: &[u8], clock: &[u8]) -> [u8; MAC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(bucket.len() as u32).to_le_bytes());
        hasher.update(bucket);
        hasher.update(&(key.len() as u32).to_le_bytes());
        hasher.update(key);
        hasher.update(clock);
        let mut mac = [0; MAC_BYTES];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}
