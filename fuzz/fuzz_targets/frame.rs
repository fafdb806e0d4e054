//! Frames: any bytes are refused, wait for more, or are a frame that comes back as it was when it is sent on. (Not byte
//! for byte: headers may write numbers longer than they need be.) A checksum would keep the fuzzer out, so that it and
//! the length are put right first; the bytes as they are go through too.
#![no_main]

use bytes::{Buf, BytesMut};
use dynode_client::wire::{self, OutQueue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = wire::decode(&mut BytesMut::from(data));
    let mut framed = BytesMut::new();
    framed.extend_from_slice(&(data.len() as u32).to_le_bytes());
    framed.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
    framed.extend_from_slice(data);
    if let Ok(Some(frame)) = wire::decode(&mut framed) {
        assert!(framed.is_empty(), "a whole frame is taken");
        let mut again = OutQueue::new();
        again.push(&frame).expect("what was decoded can be encoded");
        let mut sent = BytesMut::from(&again.copy_to_bytes(again.remaining())[..]);
        assert_eq!(wire::decode(&mut sent), Ok(Some(frame)));
    }
});
