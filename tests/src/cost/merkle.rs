//! What an exchange of Merkle trees costs in the same case. Computed, not simulated; wherever there was a choice, the one
//! that costs less.
//!
//! `n` keys on each of three replicas, `k` of them missing on one, spread evenly. A key and its value are `entry` bytes.
//! Throwing `k` balls into `b` bins hits `b (1 - (1 - 1/b)^k)` of them.

/// How many of `bins` are hit by so many balls, on average.
fn hit(bins: f64, balls: f64) -> f64 {
    if bins <= 0.0 { 0.0 } else { -bins * (balls * (-1.0 / bins).ln_1p()).exp_m1() }
}

/// Riak's active anti-entropy: a tree a partition, of 1,024 × 1,024 segments in three levels, each inner node with 1,024
/// children; SHA-1 hashes; one side sends the hashes, the other compares (riak_core, `src/hashtree.erl`: `NUM_SEGMENTS`,
/// `WIDTH`, `compare/4`). A key that differs is read from all replicas, and the read repairs the one that lacks it
/// (riak_kv, `src/riak_kv_exchange_fsm.erl`).
///
/// Bytes of hashes and key lists, and of values.
pub fn riak(n: u64, k: u64, partitions: u32, key: u64, value: u64) -> (f64, f64) {
    const WIDTH: f64 = 1024.0;
    /// A bucket's number (4 bytes) and a SHA-1 hash (20).
    const HASH: f64 = 24.0;
    /// What stands beside each key in a segment: a hash of the object.
    const OBJECT_HASH: f64 = 4.0;
    let (n, k, q) = (n as f64, k as f64, f64::from(partitions));
    // The roots: every partition, every pair of its replicas. What the first pair finds is repaired when the second looks.
    let roots = 3.0 * q * HASH;
    // In each tree that differs: the hashes of the root's children, as far as they are not empty.
    let of_root = hit(q, k) * hit(WIDTH, n / q) * HASH;
    // Under each child that differs: its segments' hashes, as far as they are not empty.
    let of_children = hit(q * WIDTH, k) * hit(WIDTH, n / (q * WIDTH)) * HASH;
    // Of each segment that differs: all its keys, those that are missing and those that share it.
    let segments = q * WIDTH * WIDTH;
    let keys = hit(segments, k) * (n / segments).max(1.0) * (key as f64 + OBJECT_HASH);
    // Each missing key is read: the coordinator has one, the second replica sends its own, the third gets it.
    let repair = k * 2.0 * (key + value) as f64;
    (roots + of_root + of_children + keys, repair)
}

/// Cassandra's repair of one token range with all the keys: trees of depth 15, 32,768 leaves, with 32 bytes of hash a leaf
/// and 8 of token an inner node, sent whole to the node that coordinates, which has one of the three itself. Where two
/// leaves differ, both replicas stream all that they have in the leaf's range to each other (Cassandra,
/// `MerkleTree.java`; `ValidationManager.java`, `createMerkleTrees`, which takes fewer leaves for fewer keys;
/// `RepairJob.java`, without `optimise_streams`, which is not the default). More ranges (virtual nodes) mean smaller
/// leaves and more hashes.
///
/// Bytes of trees, and of keys and values streamed.
pub fn cassandra(n: u64, k: u64, key: u64, value: u64) -> (f64, f64) {
    const DEPTH_MAX: f64 = 15.0;
    const LEAF: f64 = 32.0;
    const INNER: f64 = 8.0;
    let (n, k, entry) = (n as f64, k as f64, (key + value) as f64);
    let leaves = n.max(1.0).log2().ceil().min(DEPTH_MAX).exp2();
    let trees = 2.0 * (leaves * LEAF + (leaves - 1.0) * INNER);
    // Two replicas differ from the third. In each leaf's range: what they have goes one way, what it has the other.
    let differing = hit(leaves, k);
    let streamed = 2.0 * differing * (n / leaves + (n - k) / leaves) * entry;
    (trees, streamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_hit_as_often_as_expected() {
        assert!((hit(256.0, 0.0)).abs() < 1e-9);
        assert!((hit(256.0, 1.0) - 1.0).abs() < 1e-9);
        assert!((hit(2.0, 2.0) - 1.5).abs() < 1e-9);
        assert!((hit(32_768.0, 1e6) - 32_768.0).abs() < 1e-6);
    }

    #[test]
    fn the_trees_cost_what_their_descriptions_say() {
        let (million, key, value) = (1_000_000, 20, 128);
        // Nothing differs: 768 roots; two trees of 1.3 MB.
        assert_eq!(riak(million, 0, 256, key, value), (768.0 * 24.0, 0.0));
        let (trees, streamed) = cassandra(million, 0, key, value);
        assert!(streamed == 0.0 && (trees - 2_621_424.0).abs() < 1.0, "{trees} {streamed}");
        // One key differs: one leaf of 30.5 keys, from each of two replicas and back.
        let (_, streamed) = cassandra(million, 1, key, value);
        assert!((streamed / (4.0 * 30.517 * 148.0) - 1.0).abs() < 0.001, "{streamed}");
        // All are missing: each comes from both.
        let (_, streamed) = cassandra(million, million, key, value);
        assert!((streamed / (2.0 * 148e6) - 1.0).abs() < 0.001, "{streamed}");
    }
}
