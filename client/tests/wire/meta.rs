//! The envelope of stored values: its bytes, and what it makes of others.

use bytes::Bytes;
use dynode_client::wire::{BadEnvelope, Hlc, Meta, limits::CONTENT_TYPE_BYTES_MAX};
use proptest::prelude::*;

fn everything() -> Meta {
    Meta {
        content_type: Bytes::from_static(b"a/b"),
        expires_ms: Some(0x0102),
        written: Some(Hlc(0x0304)),
        request: Some(0x0506),
    }
}

#[test]
fn an_envelope_has_the_bytes_it_always_had() {
    assert_eq!(Meta::default().wrap(b"v")[..], *b"\x10v");
    let only_written = Meta { written: Some(Hlc(0x0304)), ..Meta::default() };
    assert_eq!(only_written.wrap(b"v")[..], *b"\x14\x04\x03\0\0\0\0\0\0v");
    let golden = b"\x1f\x03a/b\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0\x06\x05\0\0\0\0\0\0value";
    assert_eq!(everything().wrap(b"value")[..], golden[..]);
    assert_eq!(Meta::unwrap(&Bytes::from_static(golden)), Ok((everything(), Bytes::from_static(b"value"))));
}

#[test]
fn what_is_cut_short_or_of_another_format_is_refused() {
    let whole = everything().wrap(b"");
    for end in 0..whole.len() {
        assert_eq!(Meta::unwrap(&whole.slice(..end)), Err(BadEnvelope), "cut at {end}");
    }
    for first in (0..=255).filter(|first| first & 0xf0 != 0x10) {
        assert_eq!(Meta::unwrap(&Bytes::from(vec![first, 0, 0])), Err(BadEnvelope));
    }
    assert_eq!(Meta::unwrap(&Bytes::from_static(b"\x11\0rest")), Err(BadEnvelope), "an empty content type");
}

#[test]
fn a_value_is_taken_out_without_a_copy() {
    let stored = everything().wrap(&[7; 100_000]);
    let (_, value) = Meta::unwrap(&stored).unwrap();
    assert_eq!(value.as_ptr(), stored[stored.len() - 100_000..].as_ptr());
}

#[test]
fn a_later_moment_is_greater_whatever_the_wall_clock_says() {
    let first = Hlc::default().next(1000);
    assert_eq!((first.ms(), first), (1000, Hlc::at_ms(1000)));
    let same = first.next(1000);
    let back = same.next(10);
    assert!(first < same && same < back && back < back.next(2000));
    assert_eq!(back.ms(), 1000);
    assert_eq!(Hlc(u64::MAX).next(u64::MAX), Hlc(u64::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn envelopes_come_back_as_they_were(
        content_type in prop::collection::vec(any::<u8>(), 0..=CONTENT_TYPE_BYTES_MAX),
        [expires_ms, written, request] in any::<[Option<u64>; 3]>(),
        value in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let meta = Meta { content_type: content_type.into(), expires_ms, written: written.map(Hlc), request };
        prop_assert_eq!(Meta::unwrap(&meta.wrap(&value)), Ok((meta, value.into())));
    }

    #[test]
    fn any_bytes_are_refused_or_what_the_encoder_writes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = Bytes::from(bytes);
        if let Ok((meta, value)) = Meta::unwrap(&bytes) {
            prop_assert_eq!(meta.wrap(&value), bytes);
        }
    }
}
