//! Checkpoints: any bytes are refused or are what the encoder writes.
#![no_main]

use bytes::Bytes;
use dynode_storage::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(checkpoint) = codec::decode_checkpoint(Bytes::copy_from_slice(data)) {
        assert_eq!(codec::encode_checkpoint(&checkpoint), data);
    }
});
