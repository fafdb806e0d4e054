//! What a read has found, and how it is told: one value as it is, several as `multipart/mixed` or JSON.

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use dynode_client::Acks;
use dynode_client::wire::{Found, SiblingIs};
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::body::Pieces;
use super::conditions;
use super::params::{CONTEXT, context_text};
use super::refusal::Refusal;

/// Values without a content type of their own.
const OCTETS: &str = "application/octet-stream";

/// All that a read has seen of a key.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) values: Vec<Sibling>,
    pub(super) context: Bytes,
    pub(super) acks: Acks,
    tag: OnceLock<String>,
}

/// One of its values.
#[derive(Debug)]
pub(super) struct Sibling {
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
    /// The request that wrote it.
    pub(super) request: Option<u64>,
}

/// Several values, as JSON.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Siblings {
    /// What was seen, to be given back in `X-Dynode-Context` with the value that replaces them.
    context: String,
    /// The values, in the order of their dots.
    siblings: Vec<SiblingJson>,
}

/// One of several values.
#[derive(Debug, Serialize, ToSchema)]
struct SiblingJson {
    /// What kind of value it is.
    content_type: String,
    /// The value.
    base64: String,
}

impl Seen {
    /// Reads a node's answer; `None` where it does not hold what it says.
    pub(super) fn of(found: Found, mut body: Bytes) -> Option<Seen> {
        let mut values = Vec::with_capacity(found.siblings.len());
        for SiblingIs { length, meta } in found.siblings {
            let length = length as usize;
            if length > body.remaining() {
                return None;
            }
            let content_type = content_type(&meta.content_type);
            values.push(Sibling { bytes: body.split_to(length), content_type, request: meta.request });
        }
        body.is_empty().then_some(Seen { values, context: found.context, acks: found.acks, tag: OnceLock::new() })
    }

    #[cfg(test)]
    pub(super) fn of_values(values: &[&[u8]]) -> Seen {
        let sibling = |value: &&[u8]| Sibling {
            bytes: Bytes::copy_from_slice(value),
            content_type: OCTETS.into(),
            request: None,
        };
        let values = values.iter().map(sibling).collect();
        Seen { values, context: Bytes::new(), acks: Acks::default(), tag: OnceLock::new() }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.values.is_empty()
    }

    /// The entity tag of all values.
    pub(super) fn tag(&self) -> &str {
        self.tag.get_or_init(|| conditions::tag(&self.values))
    }

    /// The answer to a read: 200, 300 or 404.
    pub(super) fn answer(self, headers: &HeaderMap, app: &App) -> Result<Response, Refusal> {
        let said = self.headers()?;
        let mut response = match &self.values[..] {
            [] => Refusal::not_found("the key has no value").into_response(),
            [value] => {
                let body = Pieces::body([value.bytes.clone()], &app.bodies)?;
                let mut response = (StatusCode::OK, body).into_response();
                response.headers_mut().insert(header::CONTENT_TYPE, header_value(&value.content_type)?);
                response
            }
            _ if wants_json(headers) => self.as_json(app)?,
            _ => self.as_multipart(app)?,
        };
        response.headers_mut().extend(said);
        Ok(response)
    }

    /// 304: the client has it.
    pub(super) fn not_modified(&self) -> Result<Response, Refusal> {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().extend(self.headers()?);
        Ok(response)
    }

    fn headers(&self) -> Result<HeaderMap, Refusal> {
        let mut headers = took_part(&self.context, self.acks)?;
        headers.insert("x-dynode-siblings", HeaderValue::from(self.values.len()));
        // A context is of the moment: whoever keeps an answer would write over what it no longer shows.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if !self.is_absent() {
            headers.insert(header::ETAG, header_value(self.tag())?);
            // What others have written must not run as a part of this server's own pages.
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        }
        if self.values.len() > 1 {
            headers.insert(header::VARY, HeaderValue::from_static("accept"));
        }
        Ok(headers)
    }

    fn as_json(&self, app: &App) -> Result<Response, Refusal> {
        let json = |value: &Sibling| SiblingJson {
            content_type: value.content_type.clone(),
            base64: STANDARD.encode(&value.bytes),
        };
        let siblings = self.values.iter().map(json).collect();
        let document = Siblings { context: context_text(&self.context), siblings };
        let text = serde_json::to_vec(&document).map_err(|_| Refusal::unexpected("Get", "what is no JSON"))?;
        let body = Pieces::body([Bytes::from(text)], &app.bodies)?;
        let kind = [(header::CONTENT_TYPE, "application/json")];
        Ok((StatusCode::MULTIPLE_CHOICES, kind, body).into_response())
    }

    /// RFC 2046, 5.1. The boundary is drawn at random, 128 bits: no value has it in it but by guessing.
    fn as_multipart(&self, app: &App) -> Result<Response, Refusal> {
        let boundary = format!("dynode-{:032x}", rand::random::<u128>());
        let mut pieces = Vec::with_capacity(2 * self.values.len() + 1);
        for (at, value) in self.values.iter().enumerate() {
            let mut head = String::new();
            let line_end = if at == 0 { "" } else { "\r\n" };
            let _ = write!(
                head,
                "{line_end}--{boundary}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
                value.content_type,
                value.bytes.len()
            );
            pieces.extend([Bytes::from(head), value.bytes.clone()]);
        }
        pieces.push(format!("\r\n--{boundary}--\r\n").into());
        let kind = [(header::CONTENT_TYPE, format!("multipart/mixed; boundary={boundary}"))];
        Ok((StatusCode::MULTIPLE_CHOICES, kind, Pieces::body(pieces, &app.bodies)?).into_response())
    }
}

/// The content type that a value was written with, where it is one: other front ends take any bytes.
fn content_type(said: &[u8]) -> String {
    let text = HeaderValue::from_bytes(said).ok().and_then(|value| value.to_str().ok().map(String::from));
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| OCTETS.into())
}

/// What every answer about a key says: the context, and how many copies took part.
pub(super) fn took_part(context: &[u8], acks: Acks) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTEXT, header_value(&context_text(context))?);
    headers.insert("x-dynode-owners", HeaderValue::from(u16::from(acks.owners)));
    headers.insert("x-dynode-stand-ins", HeaderValue::from(u16::from(acks.stand_ins)));
    Ok(headers)
}

fn header_value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|_| Refusal::unexpected("Get", "what does not fit a header"))
}

/// Does the client rather have JSON than `multipart/mixed`? By the weights in `Accept`; of two equal ones that which is
/// named, and `multipart/mixed` if both are as good.
fn wants_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if all.peek().is_none() {
        return false;
    }
    let accept = all.collect::<Vec<_>>().join(",");
    let json = weight(&accept, "application/json");
    json.0 > 0.0 && json > weight(&accept, "multipart/mixed")
}

/// The weight that `accept` gives a type: that of the most specific range, as RFC 9110, 12.5.1 has it.
fn weight(accept: &str, kind: &str) -> (f32, u8) {
    let family = kind.split_once('/').map_or(kind, |(family, _)| family);
    let mut best = (0.0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specific = match name.as_str() {
            name if name == kind => 3,
            name if name.strip_suffix("/*") == Some(family) => 2,
            "*/*" => 1,
            _ => continue,
        };
        let q = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let q = q.map_or(1.0, |q| q.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        if specific > best.1 {
            best = (q, specific);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_weighed() {
        for (accept, json) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), true),
            (Some("text/html, application/*;q=0.9"), true),
            (Some("application/json;q=0.5, multipart/mixed"), false),
            (Some("application/json, multipart/mixed;q=0.5"), true),
            (Some("application/json, text/plain, */*"), true),
            (Some("application/json;q=x"), false),
        ] {
            let headers: HeaderMap = accept.iter().map(|text| (header::ACCEPT, text.parse().unwrap())).collect();
            assert_eq!(wants_json(&headers), json, "{accept:?}");
        }
    }

    #[test]
    fn a_content_type_that_is_none_does_not_leave() {
        assert_eq!(content_type(b"text/plain; charset=utf-8"), "text/plain; charset=utf-8");
        for bad in [&b""[..], b"a\r\nX-Evil: 1", b"\xff", b"\0"] {
            assert_eq!(content_type(bad), OCTETS);
        }
    }

    #[test]
    fn an_answer_that_does_not_hold_what_it_says_is_none() {
        let sibling = |&length: &u32| SiblingIs { length, meta: Default::default() };
        let found = |lengths: &[u32]| {
            let siblings = lengths.iter().map(sibling).collect();
            Found { siblings, context: Bytes::new(), acks: Acks::default() }
        };
        let body = Bytes::from_static(b"abc");
        let seen = Seen::of(found(&[1, 2]), body.clone()).unwrap();
        assert_eq!((&seen.values[0].bytes[..], &seen.values[1].bytes[..]), (&b"a"[..], &b"bc"[..]));
        assert!(Seen::of(found(&[1, 3]), body.clone()).is_none());
        assert!(Seen::of(found(&[1, 1]), body).is_none());
    }
}
