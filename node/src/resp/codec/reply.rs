//! Answers, in the words of either version of the protocol.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

/// The version of the protocol: a connection begins with 2, and `HELLO` changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Strings, integers, errors, arrays.
    #[default]
    V2,
    /// With maps, nulls and texts of their own.
    V3,
}

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Such as `OK`.
    Simple(&'static str),
    /// A word in capitals, and what happened.
    Error(Cow<'static, str>),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Bytes),
    /// Nothing.
    Null,
    /// One after the other.
    Array(Vec<Reply>),
    /// Pairs; in version 2 an array of both.
    Map(Vec<(Reply, Reply)>),
    /// Text for people.
    Text(String),
}

impl Reply {
    /// The usual one.
    pub const OK: Reply = Reply::Simple("OK");

    /// Bytes that are known.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::Bulk(Bytes::from(text.into()))
    }

    /// An error that begins with `ERR`.
    pub fn err(what: impl AsRef<str>) -> Reply {
        Reply::Error(format!("ERR {}", what.as_ref()).into())
    }

    /// Appends it to `out`.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        match self {
            Reply::Simple(text) => line(out, b'+', text.as_bytes()),
            Reply::Error(text) => line(out, b'-', text.as_bytes()),
            Reply::Integer(number) => count(out, b':', *number),
            Reply::Bulk(bytes) => bulk(out, b'$', &[], bytes),
            Reply::Null if protocol == Protocol::V3 => out.put_slice(b"_\r\n"),
            Reply::Null => out.put_slice(b"$-1\r\n"),
            Reply::Array(all) => {
                count(out, b'*', all.len() as i64);
                all.iter().for_each(|reply| reply.encode(protocol, out));
            }
            Reply::Map(pairs) => {
                match protocol {
                    Protocol::V3 => count(out, b'%', pairs.len() as i64),
                    Protocol::V2 => count(out, b'*', 2 * pairs.len() as i64),
                }
                for (name, value) in pairs {
                    name.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
            Reply::Text(text) if protocol == Protocol::V3 => bulk(out, b'=', b"txt:", text.as_bytes()),
            Reply::Text(text) => bulk(out, b'$', &[], text.as_bytes()),
        }
    }
}

fn count(out: &mut BytesMut, kind: u8, number: i64) {
    line(out, kind, number.to_string().as_bytes());
}

fn bulk(out: &mut BytesMut, kind: u8, before: &[u8], bytes: &[u8]) {
    count(out, kind, (before.len() + bytes.len()) as i64);
    out.put_slice(before);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// A line, whatever is in it.
fn line(out: &mut BytesMut, kind: u8, text: &[u8]) {
    out.put_u8(kind);
    out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reply: &Reply, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        reply.encode(protocol, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn both_versions_say_it_in_their_words() {
        let map = Reply::Map(vec![(Reply::text("a"), Reply::Integer(-1)), (Reply::OK, Reply::Null)]);
        assert_eq!(said(&map, Protocol::V2), "*4\r\n$1\r\na\r\n:-1\r\n+OK\r\n$-1\r\n");
        assert_eq!(said(&map, Protocol::V3), "%2\r\n$1\r\na\r\n:-1\r\n+OK\r\n_\r\n");
        let text = Reply::Text("hi".into());
        assert_eq!(said(&text, Protocol::V2), "$2\r\nhi\r\n");
        assert_eq!(said(&text, Protocol::V3), "=6\r\ntxt:hi\r\n");
        assert_eq!(said(&Reply::Array(vec![Reply::text("")]), Protocol::V3), "*1\r\n$0\r\n\r\n");
    }

    #[test]
    fn an_error_stays_in_its_line() {
        assert_eq!(said(&Reply::err("a\r\n+OK"), Protocol::V2), "-ERR a  +OK\r\n");
    }
}
