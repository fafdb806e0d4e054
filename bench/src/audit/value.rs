//! What the values of an audit say: which run, key and write they are, and which writes they replace.
//!
//! One line of text, so that a person who finds one in the store can read it:
//! `audit 5c1f09a2 18c3 17 3.1045 2.88 3.1040` is write 3.1045 of run 18c3 to key 17 over what 2.88 and 3.1040 had
//! written; the second word is a CRC-32 of what follows. Padding follows after a line feed.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Id, Run};

/// A value, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The write.
    pub id: Id,
    /// What it replaces.
    pub seen: Vec<Id>,
}

/// Makes the value of a write; at least `size_min` bytes.
pub fn encode(run: &Run, key: u32, id: Id, seen: &[Id], size_min: usize) -> Bytes {
    use std::fmt::Write;
    let mut text = format!("{} {key} {id}", run.name);
    for seen in seen {
        let _ = write!(text, " {seen}");
    }
    text.push('\n');
    let mut bytes = BytesMut::with_capacity(size_min.max(text.len() + 16));
    bytes.put_slice(b"audit 00000000 ");
    bytes.put_slice(text.as_bytes());
    if bytes.len() < size_min {
        bytes.put_bytes(b'.', size_min - bytes.len());
    }
    let crc = format!("{:08x}", crc32fast::hash(&bytes[15..]));
    bytes[6..14].copy_from_slice(crc.as_bytes());
    bytes.freeze()
}

/// Takes a value apart; an error says why it is not one that this run wrote to this key.
pub fn decode(run: &Run, key: u32, value: &[u8]) -> Result<Value, String> {
    let shown = || String::from_utf8_lossy(&value[..value.len().min(60)]).into_owned();
    let (head, rest) = value.split_at_checked(15).ok_or_else(|| format!("not a value of an audit: `{}`", shown()))?;
    let crc = head.strip_prefix(b"audit ").and_then(|h| std::str::from_utf8(h).ok()).map(str::trim_end);
    let crc = crc.and_then(|c| u32::from_str_radix(c, 16).ok());
    let crc = crc.ok_or_else(|| format!("not a value of an audit: `{}`", shown()))?;
    if crc != crc32fast::hash(rest) {
        return Err(format!("damaged, its checksum is wrong: `{}`", shown()));
    }
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| format!("not text: `{}`", shown()))?;
    let mut words = line.split(' ');
    if words.next() != Some(&run.name) {
        return Err(format!("of another audit: `{}`", shown()));
    }
    if words.next().and_then(|w| w.parse().ok()) != Some(key) {
        return Err(format!("written to another key: `{}`", shown()));
    }
    let id = words.next().unwrap_or_default().parse()?;
    let seen = words.map(str::parse).collect::<Result<Vec<Id>, String>>()?;
    Ok(Value { id, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run { name: "18c3".into(), keys: 20 }
    }

    #[test]
    fn values_say_what_was_put_in() {
        let id = Id { writer: 3, number: 1_045 };
        for seen in [vec![], vec![Id { writer: 2, number: 88 }, Id { writer: 3, number: 1_040 }]] {
            for size in [0, 10, 500] {
                let bytes = encode(&run(), 17, id, &seen, size);
                assert!(bytes.len() >= size);
                assert_eq!(decode(&run(), 17, &bytes), Ok(Value { id, seen: seen.clone() }));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bytes = encode(&run(), 17, Id { writer: 0, number: 1 }, &[], 100);
        let damaged = |at: usize| {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            damaged
        };
        assert!(decode(&run(), 17, &damaged(80)).is_err_and(|e| e.contains("damaged")));
        assert!(decode(&run(), 17, &damaged(0)).is_err_and(|e| e.contains("not a value")));
        assert!(decode(&run(), 16, &bytes).is_err_and(|e| e.contains("another key")));
        assert!(decode(&Run { name: "19".into(), keys: 20 }, 17, &bytes).is_err_and(|e| e.contains("another audit")));
        for garbage in
            [&b""[..], b"audit", b"audit 00000000 ", &[0xFF; 40], b"audit \xff\xff\xff\xff\xff\xff\xff\xff x"]
        {
            assert!(decode(&run(), 17, garbage).is_err());
        }
    }
}
