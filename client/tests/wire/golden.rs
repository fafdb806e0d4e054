//! The bytes of one frame of each kind, so that the format cannot change unnoticed.

use bytes::BytesMut;
use dynode_client::wire::{Message, WireError, decode};

use crate::samples::{encoded, raw, samples};

/// `name hex` a line. Changing a line breaks every node and client of the releases before: that takes a new version.
const GOLDEN: &str = include_str!("golden.txt");

#[test]
fn every_kind_has_the_bytes_it_always_had() {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let frames = samples();
    let ours: Vec<String> =
        frames.iter().map(|frame| format!("{} {}", frame.message.name(), hex(&encoded(frame)))).collect();
    assert_eq!(ours, lines, "the wire format has changed; as it is now:\n{}\n", ours.join("\n"));
    for (line, frame) in lines.iter().zip(frames) {
        let bytes = unhex(line.split(' ').nth(1).unwrap());
        assert_eq!(decode(&mut BytesMut::from(&bytes[..])), Ok(Some(frame)));
    }
}

#[test]
fn the_samples_cover_every_kind() {
    let sampled: Vec<u8> = samples().iter().map(|frame| frame.message.kind()).collect();
    for kind in 0..=255 {
        let known = !matches!(decode(&mut raw(1, kind, 0, 0, &[])), Err(WireError::UnknownKind(_)));
        assert_eq!(known, sampled.contains(&kind), "kind {kind}");
    }
}

#[test]
fn names_and_kinds_are_unique() {
    let mut seen: Vec<(u8, &str)> =
        samples().iter().map(|f| &f.message).map(|m: &Message| (m.kind(), m.name())).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut names: Vec<&str> = seen.iter().map(|&(_, name)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), seen.len());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}
