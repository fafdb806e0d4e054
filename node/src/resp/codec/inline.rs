//! Commands in one line, as a person types them: words, with quotes as Redis has them.

use bytes::{BufMut, Bytes, BytesMut};

/// The words of a line; `None` where a quote has no end, or no space after it.
pub(super) fn words(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
        rest = &rest[start..];
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// The first word, and what comes after it.
fn word(line: &[u8]) -> Option<(Bytes, &[u8])> {
    let mut word = BytesMut::new();
    let mut rest = line;
    while let Some((&first, after)) = rest.split_first() {
        match first {
            b'"' | b'\'' => {
                rest = quoted(first, after, &mut word)?;
                return match rest.first() {
                    Some(next) if !next.is_ascii_whitespace() => None,
                    _ => Some((word.freeze(), rest)),
                };
            }
            _ if first.is_ascii_whitespace() => break,
            _ => {
                word.put_u8(first);
                rest = after;
            }
        }
    }
    Some((word.freeze(), rest))
}

/// Up to the closing quote; what comes after it.
fn quoted<'a>(quote: u8, line: &'a [u8], word: &mut BytesMut) -> Option<&'a [u8]> {
    let mut rest = line;
    loop {
        match (quote, rest) {
            (_, []) => return None,
            (_, [first, after @ ..]) if *first == quote => return Some(after),
            (b'\'', [b'\\', b'\'', after @ ..]) => {
                word.put_u8(b'\'');
                rest = after;
            }
            (b'"', [b'\\', b'x', high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
                word.put_u8(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (b'"', [b'\\', escaped, after @ ..]) => {
                word.put_u8(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            (_, [first, after @ ..]) => {
                word.put_u8(*first);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn lines_are_words_with_quotes() {
        let said = |line: &[u8]| words(line).map(|words| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
        assert_eq!(said(b"  set  k \t v "), Some(vec![b"set".to_vec(), b"k".to_vec(), b"v".to_vec()]));
        assert_eq!(
            said(br#"echo "a b\x00\n\"" 'it\'s \n'"#).unwrap()[1..],
            [b"a b\0\n\"".to_vec(), b"it's \\n".to_vec()]
        );
        assert_eq!(said(br#"echo """#).unwrap()[1], b"");
        assert_eq!(said(b" "), Some(vec![]));
        for bad in [&b"\"a"[..], b"'a", b"\"a\"b", b"'a'b", b"\"a\\", b"\"a\\\""] {
            assert_eq!(said(bad), None, "{bad:?}");
        }
    }
}
