//! Commands whole, in pieces, one after the other; and what is no protocol.

use proptest::prelude::*;

use super::*;

fn strings(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// All commands in these bytes, given so many at a time, and how it ended.
fn decode(bytes: &[u8], at_a_time: usize) -> (Vec<Vec<Bytes>>, Result<(), ProtocolError>) {
    let (mut decoder, mut buf, mut commands) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(at_a_time) {
        buf.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(command)) => {
                    assert!(!command.is_empty());
                    commands.push(command);
                }
                Ok(None) => break,
                Err(why) => return (commands, Err(why)),
            }
        }
        let held = decoder.held();
        assert!(held <= bytes.len() * (1 + 4 * size_of::<Bytes>()) + 256, "{held} held of {} sent", bytes.len());
    }
    (commands, Ok(()))
}

fn refused(bytes: &[u8]) -> String {
    decode(bytes, bytes.len()).1.unwrap_err().to_string()
}

#[test]
fn commands_come_whole_or_in_pieces() {
    let stream =
        [&strings(&[b"SET", b"k", b"a\r\nb"])[..], b"*0\r\n*-1\r\n\r\nPING  x\r\n", &strings(&[b"", b""])].concat();
    for at_a_time in 1..stream.len() {
        let (commands, ended) = decode(&stream, at_a_time);
        assert_eq!(ended, Ok(()));
        assert_eq!(commands, [vec![&b"SET"[..], b"k", b"a\r\nb"], vec![b"PING", b"x"], vec![b"", b""]]);
    }
}

#[test]
fn what_is_no_protocol_is_refused_in_the_words_of_redis() {
    for (bytes, why) in [
        (&b"*1\r\n:1\r\n"[..], "Protocol error: expected '$', got ':'"),
        (b"*1\r\n*1\r\n*1\r\n", "Protocol error: expected '$', got '*'"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$8388609\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length"),
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*16385\r\n", "Protocol error: invalid multibulk length"),
        (b"*9223372036854775807\r\n", "Protocol error: invalid multibulk length"),
        (b"*11111111111111111111111111111111111", "Protocol error: too big mbulk count string"),
        (b"*1\r\n$1111111111111111111111111111111111", "Protocol error: too big bulk count string"),
        (b"*1\r\n$1\r\nabc", "Protocol error: expected the end of a line after a string"),
        (b"get \"a\r\n", "Protocol error: unbalanced quotes in request"),
        (&[b'a'; INLINE_BYTES_MAX + 1], "Protocol error: too big inline request"),
    ] {
        assert_eq!(refused(bytes), why, "{}", bytes[..bytes.len().min(40)].escape_ascii());
    }
    assert!(refused(&[&[b'a'; INLINE_BYTES_MAX][..], b"\n"].concat()).contains("inline"));
}

#[test]
fn what_is_announced_is_not_reserved() {
    let mut decoder = Decoder::default();
    let mut buf = BytesMut::from(&b"*16384\r\n$8388608\r\n"[..]);
    assert_eq!(decoder.next(&mut buf), Ok(None));
    assert!(decoder.held() < 1024 && buf.capacity() < 1024);
}

#[test]
fn a_command_of_too_many_bytes_is_refused_when_it_is_announced() {
    let string = vec![b'x'; BULK_BYTES_MAX];
    let mut bytes = b"*6\r\n".to_vec();
    for _ in 0..COMMAND_BYTES_MAX / BULK_BYTES_MAX {
        bytes.extend(format!("${}\r\n", string.len()).bytes());
        bytes.extend_from_slice(&string);
        bytes.extend_from_slice(b"\r\n");
    }
    assert_eq!(decode(&bytes, 1 << 20).1, Ok(()));
    bytes.extend_from_slice(b"$1\r\n");
    assert_eq!(decode(&bytes, 1 << 20).1, wrong("invalid bulk length"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_commands_or_refused_alike_in_whatever_pieces(
        bytes in proptest::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            "[*$][0-9]{1,3}\r\n".prop_map(String::into_bytes),
            "[ \"'\\\\a-z0-9:+-]{0,6}(\r\n)?".prop_map(String::into_bytes),
            proptest::collection::vec("[a-z]{0,4}", 1..4).prop_map(|words| {
                strings(&words.iter().map(String::as_bytes).collect::<Vec<_>>())
            }),
        ], 0..40),
        at_a_time in 1usize..20,
    ) {
        let bytes = bytes.concat();
        prop_assert_eq!(decode(&bytes, at_a_time), decode(&bytes, bytes.len().max(1)));
    }

    #[test]
    fn what_was_said_is_heard(words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..9)) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let (commands, ended) = decode(&strings(&words), 7);
        prop_assert_eq!(ended, Ok(()));
        prop_assert_eq!(commands, vec![words]);
    }
}
