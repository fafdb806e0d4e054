//! Commands of Redis' clients: any bytes are refused, wait for more, or are commands; and it makes no difference in which
//! pieces they come.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

use resp::codec::Decoder;

// The codec by itself: the daemon around it would have to be built, too.
#[path = "../../node/src/resp"]
#[allow(dead_code, unused_imports)]
mod resp {
    pub mod codec;
    pub mod limits;
}

/// What has come of the bytes, in pieces of so many: commands, and whether it ended with an error.
fn commands(data: &[u8], piece: usize) -> (Vec<Vec<Bytes>>, bool) {
    let (mut decoder, mut read, mut all) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        read.extend_from_slice(piece);
        loop {
            match decoder.next(&mut read) {
                Ok(Some(words)) => {
                    assert!(!words.is_empty(), "a command has a name");
                    all.push(words);
                }
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
        // What was announced is not held before it has come.
        assert!(read.len() + decoder.held() <= 32 * data.len() + 1024, "{} of {}", decoder.held(), data.len());
    }
    (all, false)
}

fuzz_target!(|data: &[u8]| {
    let whole = commands(data, data.len().max(1));
    assert_eq!(whole, commands(data, 1));
    assert_eq!(whole, commands(data, 7));
});
