//! Envelopes of values: any bytes are refused or are what the encoder writes.
#![no_main]

use bytes::Bytes;
use dynode_client::wire::Meta;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let stored = Bytes::copy_from_slice(data);
    if let Ok((meta, value)) = Meta::unwrap(&stored) {
        assert_eq!(meta.wrap(&value), stored);
    }
});
