//! The bodies of answers: any bytes are refused, or mean the same when they are written anew.
#![no_main]

use bytes::Bytes;
use dynode_storage::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(parts) = codec::decode_parts(Bytes::copy_from_slice(data)) {
        // Not byte for byte: what the entries share need not have been said once.
        let again = codec::encode_parts(&parts);
        assert_eq!(codec::decode_parts(again.into()), Ok(parts));
    }
});
