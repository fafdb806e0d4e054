//! The bodies of answers: any bytes are refused or are what the encoder writes.
#![no_main]

use bytes::Bytes;
use dynode_storage::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(parts) = codec::decode_parts(Bytes::copy_from_slice(data)) {
        let mut again = Vec::new();
        parts.iter().for_each(|part| codec::append_part(&mut again, part));
        // A format byte with nothing behind it is an empty body too.
        assert!(again == data || parts.is_empty() && data == [codec::FORMAT]);
    }
});
