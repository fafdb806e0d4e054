//! Integers as Redis reads them: nothing before or after the digits.

/// A signed integer in decimal, with no sign but `-`, no needless zero and no space.
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let fits = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    std::str::from_utf8(text).ok().filter(|_| fits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn only_plain_integers_are_read() {
        for good in [0, 7, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(integer(good.to_string().as_bytes()), Some(good));
        }
        for bad in ["", "-", "-0", "+1", "01", " 1", "1 ", "1.0", "9223372036854775808", "x", "1\n", "\u{661}"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
    }
}
