//! Patterns as Redis has them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what is meant as it is.

use bytes::Bytes;

/// A pattern for keys.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    One(u8),
    Any,
    Many,
    Class { ranges: Vec<(u8, u8)>, not: bool },
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Pattern {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            let part = match first {
                b'*' => Part::Many,
                b'?' => Part::Any,
                b'[' => class(&mut rest),
                b'\\' if !rest.is_empty() => {
                    let (&meant, after) = rest.split_first().unwrap_or((&first, rest));
                    rest = after;
                    Part::One(meant)
                }
                other => Part::One(other),
            };
            if part != Part::Many || parts.last() != Some(&Part::Many) {
                parts.push(part);
            }
        }
        Pattern { parts }
    }

    /// What everything that fits begins with.
    pub(super) fn prefix(&self) -> Bytes {
        let ones = self.parts.iter().map_while(|part| if let Part::One(byte) = part { Some(*byte) } else { None });
        ones.collect::<Vec<u8>>().into()
    }

    /// Does all of `text` fit? The time it takes is bounded by the product of both lengths: of several `*` only the last that
    /// was come to is ever tried again.
    pub(super) fn fits(&self, text: &[u8]) -> bool {
        let (mut at, mut place) = (0, 0);
        let mut again: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.parts.get(place) {
                Some(Part::Many) => {
                    again = Some((place, at));
                    place += 1;
                }
                Some(part) if part.takes(text[at]) => (at, place) = (at + 1, place + 1),
                _ => {
                    let Some((many, from)) = again else { return false };
                    again = Some((many, from + 1));
                    (at, place) = (from + 1, many + 1);
                }
            }
        }
        self.parts[place..].iter().all(|part| *part == Part::Many)
    }
}

impl Part {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Part::One(one) => *one == byte,
            Part::Any | Part::Many => true,
            Part::Class { ranges, not } => ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *not,
        }
    }
}

/// What stands between brackets; without a closing one it goes to the end.
fn class(rest: &mut &[u8]) -> Part {
    let not = rest.first() == Some(&b'^');
    if not {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        match **rest {
            [] => break,
            [b']', ref after @ ..] => {
                *rest = after;
                break;
            }
            [b'\\', byte, ref after @ ..] => {
                ranges.push((byte, byte));
                *rest = after;
            }
            [first, b'-', last, ref after @ ..] => {
                ranges.push((first.min(last), first.max(last)));
                *rest = after;
            }
            [byte, ref after @ ..] => {
                ranges.push((byte, byte));
                *rest = after;
            }
        }
    }
    Part::Class { ranges, not }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_fit_as_in_redis() {
        for (pattern, fits, others) in [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "ab"], &[]),
            ("h?llo", &["hello", "hallo"], &["hllo", "heello"]),
            ("h*llo", &["hllo", "heeeello"], &["hell"]),
            ("h[ae]llo", &["hello", "hallo"], &["hillo"]),
            ("h[^e]llo", &["hallo"], &["hello"]),
            ("h[a-b]llo", &["hallo", "hbllo"], &["hcllo"]),
            ("h[b-a]llo", &["hallo"], &["hcllo"]),
            (r"a\*b", &["a*b"], &["axb"]),
            (r"[\]]", &["]"], &["a"]),
            ("*a*b*c", &["abc", "xaybzc", "aabbcc"], &["acb", "ab"]),
            ("a[", &[], &["a", "a["]),
            ("a\\", &["a\\"], &["a"]),
        ] {
            let pattern_of = Pattern::new(pattern.as_bytes());
            assert!(fits.iter().all(|text| pattern_of.fits(text.as_bytes())), "{pattern}");
            assert!(!others.iter().any(|text| pattern_of.fits(text.as_bytes())), "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length() {
        let pattern = Pattern::new("a*".repeat(500).as_bytes());
        assert!(!pattern.fits(&[b"a".repeat(499), b"b".repeat(0)].concat()));
        assert!(!Pattern::new(&[b"*a".repeat(500), b"x".to_vec()].concat()).fits(&b"a".repeat(1024)));
    }

    #[test]
    fn what_a_pattern_begins_with_is_known() {
        assert_eq!(Pattern::new(b"user:*").prefix(), "user:");
        assert_eq!(Pattern::new(br"a\*?").prefix(), "a*");
        assert_eq!(Pattern::new(b"*").prefix(), "");
    }
}
