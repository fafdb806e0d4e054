//! Bytes that are damaged, cut short, from elsewhere, or meant to hurt.

use bytes::{Buf, Bytes, BytesMut};
use dynode_client::wire::limits::{FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX};
use dynode_client::wire::{Decoder, Frame, Report, WireError, decode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::samples::{encoded, raw, samples};

#[test]
fn a_frame_cut_short_anywhere_needs_more() {
    for frame in samples() {
        let whole = encoded(&frame);
        for end in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..end]);
            assert_eq!(decode(&mut part), Ok(None), "{} cut at {end}", frame.message.name());
            assert_eq!(part, whole[..end], "the buffer is left alone");
        }
    }
}

#[test]
fn every_damaged_byte_is_noticed() {
    for frame in samples() {
        let whole = encoded(&frame);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                // A larger length waits for bytes that may never come; all else is an error at once.
                let decoded = decode(&mut damaged);
                assert!(!matches!(decoded, Ok(Some(_))), "{} byte {at} bit {bit}: {decoded:?}", frame.message.name());
                assert!(at < 4 || decoded.is_err(), "{} byte {at} bit {bit}: {decoded:?}", frame.message.name());
            }
        }
    }
}

#[test]
fn what_cannot_become_a_frame_is_refused_at_its_first_bytes() {
    let too_long = ((FRAME_BYTES_MAX - 7) as u32).to_le_bytes();
    assert!(matches!(decode(&mut BytesMut::from(&too_long[..])), Err(WireError::TooLong { .. })));
    let longest = ((FRAME_BYTES_MAX - 8) as u32).to_le_bytes();
    assert_eq!(decode(&mut BytesMut::from(&longest[..])), Ok(None));
    assert!(matches!(decode(&mut BytesMut::from(&15_u32.to_le_bytes()[..])), Err(WireError::TooShort { bytes: 23 })));

    let before_welcome = ((HANDSHAKE_BYTES_MAX - 7) as u32).to_le_bytes();
    let decoded = Decoder::handshake().decode(&mut BytesMut::from(&before_welcome[..]));
    assert!(matches!(decoded, Err(WireError::TooLong { max: HANDSHAKE_BYTES_MAX, .. })));
}

#[test]
fn other_protocols_are_told_apart() {
    let http = decode(&mut BytesMut::from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert!(http.unwrap_err().to_string().contains("hardly a dynode"));
    let redis = decode(&mut BytesMut::from("*1\r\n$4\r\nPING\r\n"));
    assert!(redis.is_err(), "{redis:?}");
    // The start of a TLS greeting: a plausible length, so its version has to give it away.
    let tls = decode(&mut BytesMut::from(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 9][..]));
    assert_eq!(tls, Err(WireError::Version(0xfc)));
}

#[test]
fn each_field_is_checked() {
    assert_eq!(decode(&mut raw(0, 23, 0, 0, &[])), Err(WireError::Version(0)));
    assert_eq!(decode(&mut raw(2, 23, 0, 0, &[])), Err(WireError::Version(2)));
    assert_eq!(decode(&mut raw(1, 23, 0x8000, 0, &[])), Err(WireError::Flags(0x8000)));
    assert_eq!(decode(&mut raw(1, 0, 0, 0, &[])), Err(WireError::UnknownKind(0)));
    assert_eq!(decode(&mut raw(1, 23, 0, 1, &[])), Err(WireError::HeaderLength { frame: 24, header: 1 }));
    assert_eq!(
        decode(&mut raw(1, 23, 0, u32::MAX, &[0; 9])),
        Err(WireError::HeaderLength { frame: 33, header: u64::from(u32::MAX) })
    );
    // A trace that is cut off, whose name has no bytes or bad ones, and one with a header behind it that is too long.
    assert_eq!(decode(&mut raw(1, 23, 1, 0, &[0; 24])), Err(WireError::Trace));
    assert_eq!(decode(&mut raw(1, 23, 1, 0, &[0; 25])), Err(WireError::Trace));
    let named = |rest: &[u8]| [&[0; 24][..], rest].concat();
    assert_eq!(decode(&mut raw(1, 23, 1, 0, &named(&[2, b'a']))), Err(WireError::Trace));
    assert_eq!(decode(&mut raw(1, 23, 1, 0, &named(&[1, b'\n']))), Err(WireError::Trace));
    assert!(matches!(decode(&mut raw(1, 23, 1, 0, &named(&[1, b'a']))), Ok(Some(_))));
    assert_eq!(
        decode(&mut raw(1, 23, 1, 9, &named(&[1, b'a']))),
        Err(WireError::HeaderLength { frame: 50, header: 9 })
    );
    assert_eq!(decode(&mut raw(1, 23, 3, 0, &named(&[1, b'a']))), Err(WireError::Flags(3)));
    // A header with something behind it, and one that is too short.
    assert!(matches!(decode(&mut raw(1, 23, 0, 1, &[0])), Err(WireError::Header { .. })));
    assert!(matches!(decode(&mut raw(1, 65, 0, 0, &[1])), Err(WireError::Header { .. })));
    assert!(matches!(decode(&mut raw(1, 65, 0, 1, &[1])), Ok(Some(_))));
    // A truth value of 2.
    assert!(matches!(decode(&mut raw(1, 65, 0, 1, &[2])), Err(WireError::Header { .. })));
}

#[test]
fn an_error_stays() {
    let mut bytes = raw(1, 0, 0, 0, &[]);
    assert_eq!(decode(&mut bytes), decode(&mut bytes));
}

#[test]
fn a_body_is_split_off_without_a_copy() {
    let body = Bytes::from(vec![7; 1000]);
    let mut bytes = encoded(&Frame { request: 1, trace: None, message: Report {}.into(), body });
    let at = bytes.as_ptr() as usize + bytes.len() - 1000;
    let frame = decode(&mut bytes).unwrap().unwrap();
    assert_eq!(frame.body.as_ptr() as usize, at);
}

/// A million inputs: noise, noise behind a valid fixed part, and damaged frames whose checksum was made right again, so
/// that the header's decoder sees them. Nothing may panic.
#[test]
fn no_bytes_make_it_panic() {
    let rounds = if cfg!(debug_assertions) { 30_000 } else { 340_000 };
    let mut rng = StdRng::seed_from_u64(1);
    let kinds: Vec<u8> = samples().iter().map(|frame| frame.message.kind()).collect();
    let frames: Vec<BytesMut> = samples().iter().map(encoded).collect();
    let mut decoded = 0;
    for _ in 0..rounds {
        let mut noise = [0; 64];
        rng.fill(&mut noise);
        let len = rng.random_range(0..noise.len());
        let _ = decode(&mut BytesMut::from(&noise[..len]));

        let kind = kinds[rng.random_range(0..kinds.len())];
        let header = rng.random_range(0..=len);
        let _ = decode(&mut raw(1, kind, 0, header as u32, &noise[..len]));

        let mut frame = frames[rng.random_range(0..frames.len())].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(8..frame.len());
            frame[at] = if rng.random() { rng.random() } else { 0xff };
        }
        let crc = crc32fast::hash(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        if let Ok(Some(whole)) = decode(&mut frame) {
            decoded += 1;
            assert!(!frame.has_remaining());
            assert!(whole.message.kind() > 0);
        }
    }
    assert!(decoded > rounds / 10, "{decoded} of {rounds} damaged frames were still frames: the test has lost its aim");
}
