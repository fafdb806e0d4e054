//! What a request says beside its body: bucket and key in the path, parameters, headers. Whatever cannot be understood is
//! refused by name: a misspelt `strict` must not be taken for none.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dynode_client::Quorum;
use dynode_client::wire::Expiry;
use dynode_client::wire::limits::{BUCKET_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, CONTEXT_BYTES_MAX, KEY_BYTES_MAX};

use super::limits::{TIMEOUT_DEFAULT, TIMEOUT_MAX};
use super::refusal::Refusal;
use crate::config::parse_duration;
use crate::limits::TTL_MS_MAX;

/// The context of what a client has seen of a key, and of what an answer shows.
pub(super) const CONTEXT: HeaderName = HeaderName::from_static("x-dynode-context");

/// A context that a read must have seen.
pub(super) const AT_LEAST: HeaderName = HeaderName::from_static("x-dynode-at-least");

/// The id of a write that may be made again.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id of a request in characters: several times a UUID's.
pub(super) const REQUEST_ID_MAX: usize = 255;

/// The bucket and key of `/…/{bucket}/{key}`: `path` is what follows the prefix. The bucket ends at the first `/`; the key is
/// all the rest, so that the slashes in it need no encoding.
pub(super) fn place(path: &str) -> Result<(Bytes, Bytes), Refusal> {
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    Ok((name("bucket", bucket, BUCKET_BYTES_MAX)?, name("key", key, KEY_BYTES_MAX)?))
}

/// The bucket of `/…/{bucket}`.
pub(super) fn bucket(path: &str) -> Result<Bytes, Refusal> {
    name("bucket", path, BUCKET_BYTES_MAX)
}

fn name(what: &str, text: &str, max: usize) -> Result<Bytes, Refusal> {
    let bytes =
        decode(text, false).ok_or_else(|| Refusal::bad(format!("the {what} is not percent-encoded: `{text}`")))?;
    match bytes.len() {
        0 => Err(Refusal::bad(format!("the {what} is empty"))),
        n if n > max => Err(Refusal::too_large(format!("the {what} has {n} bytes; {max} are allowed"))),
        _ => Ok(bytes.into()),
    }
}

/// Undoes percent-encoding; `None` where two hexadecimal digits do not follow a `%`.
fn decode(text: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let (digits, tail) = tail.split_at_checked(2)?;
                let digit = |b: u8| char::from(b).to_digit(16);
                bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
                rest = tail;
            }
            b'+' if plus_is_space => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    Some(bytes)
}

/// The parameters after the `?`. Take those that there may be, then ask [`Query::done`] for what is left.
pub(super) struct Query {
    pairs: Vec<(String, Vec<u8>)>,
}

impl Query {
    pub(super) fn of(text: Option<&str>) -> Result<Query, Refusal> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = || Refusal::bad(format!("the parameter `{pair}` is not percent-encoded"));
            let name = decode(name, true).and_then(|name| String::from_utf8(name).ok()).ok_or_else(wrong)?;
            let value = decode(value, true).ok_or_else(wrong)?;
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Refusal::bad(format!("the parameter `{name}` is there twice")));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// A parameter of any bytes.
    pub(super) fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.pairs.iter().position(|(other, _)| other == name)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// A parameter that `read` understands.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Refusal> {
        let Some(bytes) = self.bytes(name) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::bad(format!("`{name}` is not text")))?;
        read(text).map(Some).map_err(|why| Refusal::bad(format!("`{name}`: {why}")))
    }

    /// `r` or `w`; as the bucket has it where nothing is said.
    pub(super) fn quorum(&mut self, name: &str) -> Result<Quorum, Refusal> {
        Ok(self.take(name, str::parse)?.unwrap_or(Quorum::OfBucket))
    }

    /// `strict`.
    pub(super) fn strict(&mut self) -> Result<bool, Refusal> {
        let read = |text: &str| match text {
            "true" | "1" | "" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        };
        Ok(self.take("strict", read)?.unwrap_or(false))
    }

    /// `timeout`.
    pub(super) fn timeout(&mut self) -> Result<Duration, Refusal> {
        let read = |text: &str| match parse_duration(text)? {
            span if span < Duration::from_millis(1) => Err("less than a millisecond".into()),
            span if span > TIMEOUT_MAX => Err(format!("more than {} s", TIMEOUT_MAX.as_secs())),
            span => Ok(span),
        };
        Ok(self.take("timeout", read)?.unwrap_or(TIMEOUT_DEFAULT))
    }

    /// `ttl`.
    pub(super) fn expiry(&mut self) -> Result<Expiry, Refusal> {
        let read = |text: &str| match text {
            "never" => Ok(Expiry::Never),
            _ => match parse_duration(text)?.as_millis() {
                0 => Err("less than a millisecond".into()),
                ms if ms > u128::from(TTL_MS_MAX) => Err("more than a hundred years".into()),
                ms => Ok(Expiry::After(ms as u64)),
            },
        };
        Ok(self.take("ttl", read)?.unwrap_or_default())
    }

    /// Nothing may be left.
    pub(super) fn done(self) -> Result<(), Refusal> {
        match self.pairs.first() {
            Some((name, _)) => Err(Refusal::bad(format!("there is no parameter `{name}` here"))),
            None => Ok(()),
        }
    }
}

/// A header that may be there once.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Refusal::bad(format!("the header {name} is there twice")));
    }
    let text = |value: &'a axum::http::HeaderValue| {
        value.to_str().map_err(|_| Refusal::bad(format!("the header {name} is not plain text")))
    };
    first.map(text).transpose()
}

/// The sealed context of what the client has seen.
pub(super) fn context(headers: &HeaderMap) -> Result<Option<Bytes>, Refusal> {
    context_in(headers, &CONTEXT)
}

/// A sealed context: base64url, with or without padding.
pub(super) fn context_in(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Bytes>, Refusal> {
    let Some(text) = one(headers, name)? else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| {
        Refusal::bad(format!("{name} is not base64url: give back what an answer for this key had in {CONTEXT}"))
    })?;
    match bytes.len() {
        0 => Err(Refusal::bad(format!("{name} is empty: leave it out where nothing was read"))),
        n if n > CONTEXT_BYTES_MAX => {
            Err(Refusal::bad(format!("{name} has {n} bytes; {CONTEXT_BYTES_MAX} are allowed")))
        }
        _ => Ok(Some(bytes.into())),
    }
}

/// What kind of value a body is; empty: not said.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Bytes, Refusal> {
    let kind = one(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    match kind.len() {
        n if n > CONTENT_TYPE_BYTES_MAX => {
            Err(Refusal::bad(format!("the content type has {n} bytes; {CONTENT_TYPE_BYTES_MAX} are allowed")))
        }
        _ => Ok(Bytes::copy_from_slice(kind.as_bytes())),
    }
}

/// A request's id as nodes have it: 64 bits of its hash.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(id) = one(headers, &REQUEST_ID)? else { return Ok(None) };
    if id.is_empty() || id.len() > REQUEST_ID_MAX {
        return Err(Refusal::bad(format!("{REQUEST_ID} has 1 to {REQUEST_ID_MAX} characters, not {}", id.len())));
    }
    let mut bytes = [0; 8];
    blake3::Hasher::new_derive_key("dynode 2026 request id v1").update(id.as_bytes()).finalize_xof().fill(&mut bytes);
    Ok(Some(u64::from_le_bytes(bytes)))
}

/// A context as it leaves.
pub(super) fn context_text(context: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(context)
}

/// A span in milliseconds, as messages have it.
pub(super) fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(refused: Result<impl Sized, Refusal>) -> String {
        refused.err().map(|refusal| serde_json::to_string(&refusal).unwrap()).unwrap_or_default()
    }

    #[test]
    fn places_are_any_bytes() {
        let (bucket, key) = place("a%2Fb/c/d%00%ff+%C3%A4").unwrap();
        assert_eq!((&bucket[..], &key[..]), (&b"a/b"[..], &b"c/d\x00\xff+\xc3\xa4"[..]));
        for (bad, what) in
            [("", "bucket is empty"), ("a", "key is empty"), ("a/", "key is empty"), ("/a", "bucket is empty")]
        {
            assert!(says(place(bad)).contains(what), "{bad}");
        }
        for bad in ["a/%", "a/%1", "a/%g0", "a/%0g", "%/a", "a/%+1"] {
            assert!(says(place(bad)).contains("not percent-encoded"), "{bad}");
        }
        assert!(says(place(&format!("a/{}", "k".repeat(1025)))).contains("1024 are allowed"));
        assert!(place(&format!("a/{}", "k".repeat(1024))).is_ok());
    }

    #[test]
    fn parameters_are_known_and_unique() {
        let mut query = Query::of(Some("r=all&strict&timeout=1.5s&prefix=a+b%2B%ff")).unwrap();
        assert_eq!(query.quorum("r").unwrap(), Quorum::All);
        assert!(query.strict().unwrap());
        assert_eq!(query.timeout().unwrap(), Duration::from_millis(1500));
        assert_eq!(query.bytes("prefix").unwrap(), b"a b+\xff");
        query.done().unwrap();
        assert!(says(Query::of(Some("r=1&r=2"))).contains("twice"));
        assert!(says(Query::of(Some("r=%"))).contains("not percent-encoded"));
        assert!(says(Query::of(Some("srict=1")).unwrap().done()).contains("no parameter `srict`"));
        for bad in ["r=0", "r=-1", "r=256", "r=most", "r=%ff"] {
            assert!(Query::of(Some(bad)).unwrap().quorum("r").is_err(), "{bad}");
        }
        assert_eq!(Query::of(Some("ttl=1.5h")).unwrap().expiry().unwrap(), Expiry::After(5_400_000));
        assert_eq!(Query::of(Some("ttl=never")).unwrap().expiry().unwrap(), Expiry::Never);
        assert_eq!(Query::of(None).unwrap().expiry().unwrap(), Expiry::OfBucket);
        for bad in ["ttl=", "ttl=1", "ttl=999us", "ttl=1000000h", "ttl=Never"] {
            assert!(Query::of(Some(bad)).unwrap().expiry().is_err(), "{bad}");
        }
        for bad in ["timeout=5", "timeout=0s", "timeout=1us", "timeout=61s", "timeout=NaNs", "timeout=infs"] {
            assert!(Query::of(Some(bad)).unwrap().timeout().is_err(), "{bad}");
        }
        assert!(Query::of(Some("strict=yes")).unwrap().strict().is_err());
    }

    #[test]
    fn request_ids_are_hashed() {
        let id = |text: &str| {
            let headers: HeaderMap = [(REQUEST_ID, text.parse().unwrap())].into_iter().collect();
            request_id(&headers)
        };
        assert_eq!(id("a").unwrap(), id("a").unwrap());
        assert_ne!(id("a").unwrap(), id("b").unwrap());
        assert_eq!(request_id(&HeaderMap::new()).unwrap(), None);
        assert!(id("").is_err() && id(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_context_comes_back_as_it_went() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTEXT, context_text(b"\xff\xfe\x00").parse().unwrap());
        assert_eq!(context(&headers).unwrap().unwrap(), &b"\xff\xfe\x00"[..]);
        for bad in ["", "=", "!", "a b"] {
            headers.insert(CONTEXT, bad.parse().unwrap());
            assert!(context(&headers).is_err(), "{bad}");
        }
        headers.append(CONTEXT, "AAAA".parse().unwrap());
        assert!(says(context(&headers)).contains("twice"));
    }
}
