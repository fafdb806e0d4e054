//! The queue of frames to write: same bytes as one by one, long bodies not copied, any step of writing.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use dynode_client::wire::limits::{BODY_BYTES_MAX, BODY_COPIED_MAX, HEADER_BYTES_MAX};
use dynode_client::wire::{Frame, Keys, OutQueue, ReplicateDone, Report, WireError, decode};

use crate::samples::{encoded, samples};

fn frames_with_long_bodies() -> Vec<Frame> {
    let mut frames = samples();
    for (at, len) in
        [(2, BODY_COPIED_MAX), (3, BODY_COPIED_MAX + 1), (4, 3 * BODY_COPIED_MAX), (20, BODY_COPIED_MAX + 7)]
    {
        let body = (0..len).map(|i| (i * 31) as u8).collect();
        frames.insert(at, Frame { request: at as u64, trace: None, message: Report {}.into(), body });
    }
    frames
}

#[test]
fn gathered_frames_are_the_frames_one_after_another() {
    let frames = frames_with_long_bodies();
    let expected: Vec<u8> = frames.iter().flat_map(encoded).collect();
    for step in [1, 7, 4096, usize::MAX] {
        let mut queue = OutQueue::new();
        frames.iter().for_each(|frame| queue.push(frame).unwrap());
        let mut written = Vec::new();
        while queue.has_remaining() {
            assert_eq!(queue.len_bytes(), expected.len() - written.len());
            let mut slices = [IoSlice::new(&[]); 4];
            let count = queue.chunks_vectored(&mut slices);
            assert!(count > 0);
            let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(offered.starts_with(queue.chunk()) && !queue.chunk().is_empty());
            let taken = step.min(offered.len());
            written.extend_from_slice(&offered[..taken]);
            queue.advance(taken);
        }
        assert!(queue.is_empty());
        assert!(written == expected, "step {step}");
    }
}

#[test]
fn gathered_frames_decode_one_by_one() {
    let frames = frames_with_long_bodies();
    let mut queue = OutQueue::new();
    frames.iter().for_each(|frame| queue.push(frame).unwrap());
    let mut read = BytesMut::from(&queue.copy_to_bytes(queue.remaining())[..]);
    for frame in frames {
        assert_eq!(decode(&mut read).unwrap(), Some(frame));
    }
    assert_eq!(decode(&mut read), Ok(None));
}

#[test]
fn a_long_body_is_queued_without_a_copy() {
    let body = Bytes::from(vec![7; BODY_COPIED_MAX + 1]);
    let mut queue = OutQueue::new();
    queue.push_parts(1, &Report {}.into(), &body).unwrap();
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(queue.chunks_vectored(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), body.as_ptr());
}

#[test]
fn a_frame_that_does_not_fit_leaves_the_queue_as_it_was() {
    let mut queue = OutQueue::new();
    queue.push_parts(1, &ReplicateDone { recovering: false }.into(), &Bytes::new()).unwrap();
    let before = queue.len_bytes();
    let long_body = Bytes::from(vec![0; BODY_BYTES_MAX + 1]);
    let long_header = Keys { keys: vec![Bytes::from(vec![0; HEADER_BYTES_MAX])], more: false, recovering: false };
    for (message, body) in [(Report {}.into(), long_body), (long_header.into(), Bytes::new())] {
        assert!(matches!(queue.push_parts(2, &message, &body), Err(WireError::DoesNotFit { .. })));
        assert_eq!(queue.len_bytes(), before);
    }
    queue.push_parts(3, &ReplicateDone { recovering: false }.into(), &Bytes::new()).unwrap();
    let mut read = BytesMut::from(&queue.copy_to_bytes(queue.remaining())[..]);
    assert_eq!(decode(&mut read).unwrap().unwrap().request, 1);
    assert_eq!(decode(&mut read).unwrap().unwrap().request, 3);
}
