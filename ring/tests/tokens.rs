//! Tokens and partitions: fixed for ever, even, and never out of range.

use std::collections::BTreeSet;

use dynode_ring::{NodeId, ParseNodeIdError, PartitionId, Token};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

/// Written once and never to be changed: stored data depends on them.
#[test]
fn tokens_never_change() {
    let long = [b'x'; 1024];
    let golden: [(&[u8], &[u8], &str); 6] = [
        (b"", b"", "48b2c92616fc193d"),
        (b"users", b"ada", "a481b6a0c10c7e2f"),
        (b"user", b"sada", "1dad041954dcce34"),
        (b"users", &long[..119], "5d9cd5cb8e3161ca"),
        (b"users", &long[..120], "6f6b436b77c5c5c0"),
        (b"users", &long, "6028b93ea69f0766"),
    ];
    for (bucket, key, token) in golden {
        assert_eq!(Token::of(bucket, key).to_string(), token, "{} and {} bytes", bucket.len(), key.len());
    }
    // The hash itself is the published one (test vector of XXH3_64bits for no input).
    assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// From the buffer or piecewise, it is one function: of the length, the bucket and the key.
    #[test]
    fn a_token_is_the_hash_of_length_bucket_and_key(
        bucket: Vec<u8>, key in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut whole = (bucket.len() as u32).to_le_bytes().to_vec();
        whole.extend(&bucket);
        whole.extend(&key);
        prop_assert_eq!(Token::of(&bucket, &key).0, xxh3_64(&whole));
    }

    #[test]
    fn where_the_bucket_ends_matters(text in prop::collection::vec(any::<u8>(), 1..20)) {
        let tokens: BTreeSet<Token> = (0..=text.len()).map(|at| Token::of(&text[..at], &text[at..])).collect();
        prop_assert_eq!(tokens.len(), text.len() + 1);
    }

    /// The partition is the first bits of the token, so ranges are equal and in order.
    #[test]
    fn a_partition_is_the_first_bits(token: u64, bits in 0_u32..=16) {
        let expected = token.checked_shr(64 - bits).unwrap_or(0);
        prop_assert_eq!(Token(token).partition(1 << bits).index() as u64, expected);
        prop_assert_eq!(Token(u64::MAX).partition(1 << bits).index(), (1 << bits) - 1);
        prop_assert_eq!(Token(0).partition(1 << bits), PartitionId(0));
    }

    #[test]
    fn node_ids_are_read_as_they_are_written(id: u64) {
        prop_assert_eq!(NodeId(id).to_string().parse(), Ok(NodeId(id)));
    }
}

#[test]
fn keys_are_spread_evenly() {
    let mut counts = [0_u32; 64];
    for n in 0..64_000_u32 {
        counts[Token::of(b"users", format!("user:{n}").as_bytes()).partition(64).index()] += 1;
    }
    // 1,000 expected, standard deviation 31: five of them.
    assert!(counts.iter().all(|&count| (845..1155).contains(&count)), "{counts:?}");
}

#[test]
fn node_ids_that_are_none() {
    for text in [
        "",
        "1",
        "+000000000000001",
        "00000000000000001",
        "000000000000000g",
        "0x00000000000001",
        "００００００００００００００００",
    ] {
        assert_eq!(text.parse::<NodeId>(), Err(ParseNodeIdError), "{text:?}");
    }
    assert_eq!(NodeId(0xab).to_string(), "00000000000000ab");
    assert_eq!("00000000000000AB".parse(), Ok(NodeId(0xab)));
    assert_eq!((Token(1).to_string().as_str(), PartitionId(7).to_string().as_str()), ("0000000000000001", "7"));
}
