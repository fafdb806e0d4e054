//! A cheap, fixed scrambling of integers, for orders that must look random and be the same everywhere.

/// The finaliser of SplitMix64 over `a` and `b` (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*).
/// Layouts depend on it: it must never change.
#[inline]
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
