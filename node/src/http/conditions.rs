//! `If-Match` and `If-None-Match`: what must be there, or must not, for a request to be done.
//!
//! An entity tag is a hash of all values of a key. A conditional write reads the key at a quorum, looks whether the
//! condition holds, and writes over just what it has read. Nothing is locked: two writers whose conditions both hold at
//! the same time are both done, and their values become siblings, as ever. What a 412 says is true: the acknowledged
//! writes before it did not fit the condition.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::params::one;
use super::refusal::Refusal;
use super::seen::{Seen, Sibling};

/// Tags looked at in one header.
const TAGS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

#[derive(Debug)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    List(Vec<String>),
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Conditions, Refusal> {
        let read = |name| one(headers, &name)?.map(|text| Tags::read(text, name.as_str())).transpose();
        Ok(Conditions { matches: read(header::IF_MATCH)?, none_matches: read(header::IF_NONE_MATCH)? })
    }

    /// Is there none?
    pub(super) fn is_none(&self) -> bool {
        self.matches.is_none() && self.none_matches.is_none()
    }

    /// Refuses a request that is not to be done, seen what there is.
    pub(super) fn check(&self, seen: &Seen) -> Result<(), Refusal> {
        let tag = (!seen.is_absent()).then(|| seen.tag());
        if let Some(tags) = &self.matches
            && !tags.fit(tag, false)
        {
            let what = if tag.is_some() { "the key has other values" } else { "the key has no value" };
            return Err(Refusal::precondition(format!("If-Match: {what}; nothing was changed")));
        }
        if self.has_what_it_has(tag) {
            return Err(Refusal::precondition("If-None-Match: the key has such a value; nothing was changed"));
        }
        Ok(())
    }

    /// A read whose client has already what there is: 304.
    pub(super) fn is_not_modified(&self, seen: &Seen) -> bool {
        !seen.is_absent() && self.none_matches.is_some() && self.has_what_it_has(Some(seen.tag()))
    }

    /// The condition of a read that is not about what the client has.
    pub(super) fn check_match(&self, seen: &Seen) -> Result<(), Refusal> {
        let tag = (!seen.is_absent()).then(|| seen.tag());
        match &self.matches {
            Some(tags) if !tags.fit(tag, false) => Err(Refusal::precondition("If-Match: it does not fit")),
            _ => Ok(()),
        }
    }

    fn has_what_it_has(&self, tag: Option<&str>) -> bool {
        self.none_matches.as_ref().is_some_and(|tags| tags.fit(tag, true))
    }
}

impl Tags {
    fn read(text: &str, name: &str) -> Result<Tags, Refusal> {
        if text.trim() == "*" {
            return Ok(Tags::Any);
        }
        let wrong = || Refusal::bad(format!("{name} is `*` or a list of entity tags in double quotes, not `{text}`"));
        let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_string()).collect();
        let is_tag = |tag: &String| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"') && !tag[1..tag.len() - 1].contains('"')
        };
        if tags.len() > TAGS_MAX || !tags.iter().all(is_tag) {
            return Err(wrong());
        }
        Ok(Tags::List(tags))
    }

    /// `weakly`: a weak tag is as good (RFC 9110, 13.1).
    fn fit(&self, tag: Option<&str>, weakly: bool) -> bool {
        let Some(tag) = tag else { return false };
        match self {
            Tags::Any => true,
            Tags::List(tags) => tags.iter().any(|other| {
                let other = if weakly { other.strip_prefix("W/").unwrap_or(other) } else { other };
                other == tag
            }),
        }
    }
}

/// The entity tag of values: all of them, in their order.
pub(super) fn tag(values: &[Sibling]) -> String {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        hasher.update(&(value.bytes.len() as u64).to_le_bytes());
        hasher.update(&value.bytes);
        hasher.update(&(value.content_type.len() as u64).to_le_bytes());
        hasher.update(value.content_type.as_bytes());
    }
    let mut hash = [0; 16];
    hasher.finalize_xof().fill(&mut hash);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(pairs: &[(header::HeaderName, &str)]) -> Result<Conditions, Refusal> {
        Conditions::of(&pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let (there, absent) = (Seen::of_values(&[b"v"]), Seen::of_values(&[]));
        let tag = there.tag();
        let weak = format!("W/{tag}");
        let others = format!("\"x\", {tag}");
        for (name, text, fits_there, fits_absent) in [
            (header::IF_MATCH, "*", true, false),
            (header::IF_MATCH, tag, true, false),
            (header::IF_MATCH, others.as_str(), true, false),
            (header::IF_MATCH, weak.as_str(), false, false),
            (header::IF_MATCH, "\"x\"", false, false),
            (header::IF_NONE_MATCH, "*", false, true),
            (header::IF_NONE_MATCH, tag, false, true),
            (header::IF_NONE_MATCH, weak.as_str(), false, true),
            (header::IF_NONE_MATCH, "\"x\"", true, true),
        ] {
            let conditions = conditions(&[(name.clone(), text)]).unwrap();
            assert_eq!(conditions.check(&there).is_ok(), fits_there, "{name}: {text}");
            assert_eq!(conditions.check(&absent).is_ok(), fits_absent, "{name}: {text}, absent");
        }
        for bad in ["", "x", "\"", "\"a\"b\"", "*, \"a\"", "\"a\",", "W/"] {
            assert!(conditions(&[(header::IF_MATCH, bad)]).is_err(), "{bad}");
        }
        assert!(conditions(&[(header::IF_MATCH, &vec!["\"a\""; TAGS_MAX + 1].join(","))]).is_err());
    }

    #[test]
    fn tags_tell_values_apart() {
        let tags: std::collections::BTreeSet<String> =
            [&[b"ab" as &[u8]] as &[&[u8]], &[b"a", b"b"], &[b"b", b"a"], &[b"abc"], &[b"", b"ab"], &[b"ab", b""]]
                .map(|values| Seen::of_values(values).tag().to_string())
                .into_iter()
                .collect();
        assert_eq!(tags.len(), 6);
    }
}
