//! A key: read, written, deleted.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dynode_client::Quorum;
use dynode_client::wire::limits::VALUE_BYTES_MAX;
use dynode_client::wire::{Causality, Delete, Get, Message, Put};
use tokio::time::Instant;

use super::app::App;
use super::body;
use super::conditions::Conditions;
use super::params::{AT_LEAST, Query, content_type, context, context_in, ms, place, request_id};
use super::refusal::Refusal;
use super::seen::{Seen, Sibling, Siblings, took_part};

/// A key and how it is asked for: what the three have in common.
struct Asked {
    bucket: Bytes,
    key: Bytes,
    quorum: Quorum,
    strict: bool,
    timeout: Duration,
}

impl Asked {
    fn of(uri: &Uri, quorum: &str) -> Result<Asked, Refusal> {
        Asked::with(uri, quorum, Query::of(uri.query())?)
    }

    /// What is left of the query, once others have taken theirs.
    fn with(uri: &Uri, quorum: &str, mut query: Query) -> Result<Asked, Refusal> {
        let (bucket, key) = place(uri.path().strip_prefix("/kv/").unwrap_or_default())?;
        let (quorum, strict, timeout) = (query.quorum(quorum)?, query.strict()?, query.timeout()?);
        query.done()?;
        Ok(Asked { bucket, key, quorum, strict, timeout })
    }

    async fn read(&self, app: &App, r: Quorum, at_least: Option<Bytes>, time: Duration) -> Result<Seen, Refusal> {
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let get = Get { bucket, key, r, strict: self.strict, timeout_ms: ms(time), at_least };
        match app.ask(get, Bytes::new(), time).await? {
            (Message::Found(found), body) => {
                Seen::of(found, body).ok_or_else(|| Refusal::unexpected("Get", "values that are not all there"))
            }
            (other, _) => Err(Refusal::unexpected("Get", other.name())),
        }
    }

    /// What a write replaces, by what the client has seen or sets as a condition; `otherwise` when it says neither.
    /// `is_this`: a value that this very request has written before.
    async fn causality(
        &self,
        app: &App,
        headers: &HeaderMap,
        until: Instant,
        otherwise: Causality,
        is_this: impl Fn(&Sibling) -> bool,
    ) -> Result<Causality, Refusal> {
        let (seen, conditions) = (context(headers)?, Conditions::of(headers)?);
        match seen {
            Some(_) if !conditions.is_none() => {
                Err(Refusal::bad("give either X-Dynode-Context or a condition: each says what the write replaces"))
            }
            Some(seen) => Ok(Causality::Seen(seen)),
            None if conditions.is_none() => Ok(otherwise),
            None => {
                // At a quorum, whatever `w` is: a condition is about what was acknowledged, not about what one copy has.
                let now = self.read(app, Quorum::Majority, None, left(until)).await?;
                match conditions.check(&now) {
                    Ok(()) => Ok(Causality::Seen(now.context)),
                    // It held when the request was first made: made again it changes nothing, and is told so.
                    Err(_) if now.values.iter().any(is_this) => Ok(otherwise),
                    Err(refusal) => Err(refusal),
                }
            }
        }
    }

    async fn write(&self, app: &App, message: Message, body: Bytes, until: Instant) -> Result<Response, Refusal> {
        match app.ask(message, body, left(until)).await? {
            (Message::PutDone(done), _) => {
                Ok((StatusCode::NO_CONTENT, took_part(&done.context, done.acks)?).into_response())
            }
            (other, _) => Err(Refusal::unexpected("a write", other.name())),
        }
    }
}

/// The time that there is until then, and a millisecond at least: the node is the one to say that it is up.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Read a key
///
/// One value is answered with 200 and as it is. Values that were written without knowledge of each other are all kept, as
/// *siblings*, and answered with 300: as `multipart/mixed`, or as JSON where `Accept` prefers `application/json`. Write one
/// value with the answer's `X-Dynode-Context` to replace them.
#[utoipa::path(
    method(get, head), path = "/kv/{bucket}/{key}", tag = "keys",
    params(
        ("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded; its slashes may stay", min_length = 1),
        ("r" = Option<String>, Query, description = "Copies to read: `one`, `quorum`, `all`, or a number; as the bucket has it by default", pattern = "^(one|quorum|all|bucket|[1-8])$"),
        ("strict" = Option<bool>, Query, description = "Count owners only, no stand-ins"),
        ("timeout" = Option<String>, Query, description = "From `1ms` to `60s`; 5 s by default", pattern = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$"),
        ("X-Dynode-At-Least" = Option<String>, Header, description = "A context of this key, as an answer had it: further copies are asked until what it shows was seen, so that at any `r` nothing older is read than was before", pattern = "^[A-Za-z0-9_-]+=*$"),
        ("Accept" = Option<String>, Header, description = "How siblings are told: `multipart/mixed` or `application/json`"),
        ("If-None-Match" = Option<String>, Header, description = "304 if the key's entity tag is among these", pattern = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
        ("If-Match" = Option<String>, Header, description = "412 unless the key's entity tag is among these", pattern = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
    ),
    responses(
        (status = 200, description = "The value", body = Vec<u8>, content_type = "application/octet-stream", headers(
            ("X-Dynode-Context" = String, description = "What was seen, base64url: give it back with a write"),
            ("X-Dynode-Owners" = u8, description = "Owners of the key that took part"),
            ("X-Dynode-Stand-Ins" = u8, description = "Stand-ins that took part"),
            ("X-Dynode-Siblings" = u8, description = "How many values there are"),
            ("ETag" = String, description = "A hash of all values"),
        )),
        (status = 300, description = "Siblings", content(
            (Vec<u8> = "multipart/mixed"),
            (Siblings = "application/json"),
        )),
        (status = 304, description = "The client has it"),
        (status = 400, description = "The request cannot be understood", body = Refusal),
        (status = 404, description = "The key has no value; the context is there all the same", body = Refusal),
        (status = 412, description = "`If-Match` does not fit", body = Refusal),
        (status = 413, description = "Bucket, key or all siblings together are too large", body = Refusal),
        (status = 429, description = "Overloaded: try again later", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "Too few copies could be read in time, none has seen what it must have, or the node is not ready", body = Refusal),
    ),
)]
pub(super) async fn get(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    let asked = Asked::of(&uri, "r")?;
    let conditions = Conditions::of(&headers)?;
    let at_least = context_in(&headers, &AT_LEAST)?;
    let seen = asked.read(&app, asked.quorum, at_least, asked.timeout).await?;
    conditions.check_match(&seen)?;
    if conditions.is_not_modified(&seen) {
        return seen.not_modified();
    }
    seen.answer(&headers, &app)
}

/// Write a value
///
/// The body is the value, up to 8 MiB. With `X-Dynode-Context` it replaces what was read there, and no more. Without
/// it, or a condition, the writer has seen nothing: what is there stays, as a sibling.
///
/// `If-None-Match: *` writes only where there is no value, `If-Match` only over the values of that entity tag. They are
/// checked by a read at a quorum, and the write replaces just what that has seen; nothing is locked, so of two such
/// writes at the same time both may be done, and their values are siblings then.
#[utoipa::path(
    put, path = "/kv/{bucket}/{key}", tag = "keys",
    params(
        ("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded; its slashes may stay", min_length = 1),
        ("w" = Option<String>, Query, description = "Copies that must acknowledge: `one`, `quorum`, `all`, or a number; as the bucket has it by default", pattern = "^(one|quorum|all|bucket|[1-8])$"),
        ("strict" = Option<bool>, Query, description = "Count owners only, no stand-ins"),
        ("timeout" = Option<String>, Query, description = "From `1ms` to `60s`; 5 s by default", pattern = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$"),
        ("ttl" = Option<String>, Query, description = "The value expires so long after it is written, as in `90s` or `24h`; `never`, whatever the bucket says", pattern = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$|^never$"),
        ("Content-Type" = Option<String>, Header, description = "Kept, up to 255 bytes, and told to readers"),
        ("X-Request-Id" = Option<String>, Header, description = "1 to 255 characters, the same when the request is made again: with the same value it never becomes a sibling of itself", pattern = "^[ -~]{1,255}$"),
        ("X-Dynode-Context" = Option<String>, Header, description = "What was read, as an answer for this key had it", pattern = "^[A-Za-z0-9_-]+=*$"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if the key has no value", pattern = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
        ("If-Match" = Option<String>, Header, description = "Only if the key's entity tag is among these", pattern = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The value"),
    responses(
        (status = 204, description = "Enough copies have it", headers(
            ("X-Dynode-Context" = String, description = "What the writer has seen now: its own value, and what that replaced"),
            ("X-Dynode-Owners" = u8, description = "Owners of the key that acknowledged"),
            ("X-Dynode-Stand-Ins" = u8, description = "Stand-ins that acknowledged"),
        )),
        (status = 400, description = "The request cannot be understood, or the context is of another key", body = Refusal),
        (status = 408, description = "The body did not come in time; nothing was changed", body = Refusal),
        (status = 409, description = "The key has too many siblings: read it, and write over what was read", body = Refusal),
        (status = 412, description = "The condition does not hold; nothing was changed", body = Refusal),
        (status = 413, description = "Bucket, key or value are too large; nothing was changed", body = Refusal),
        (status = 429, description = "Overloaded; nothing was changed", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "Too few copies can be reached, or the node is not ready; nothing was changed", body = Refusal),
        (status = 504, description = "Too few copies have acknowledged in time: the write may or may not take effect", body = Refusal),
    ),
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut query = Query::of(uri.query())?;
    let expiry = query.expiry()?;
    let asked = Asked::with(&uri, "w", query)?;
    let (content_type, request) = (content_type(&headers)?, request_id(&headers)?);
    // What is wrong is said before the value is read.
    context(&headers)?;
    Conditions::of(&headers)?;
    let (value, _held) = body::read(body, &headers, &app.bodies, VALUE_BYTES_MAX, app.times.body).await?;
    let until = Instant::now() + asked.timeout;
    let is_this = |sibling: &Sibling| request.is_some() && sibling.request == request && sibling.bytes == value;
    let causality = asked.causality(&app, &headers, until, Causality::Blind, is_this).await?;
    let (bucket, key) = (asked.bucket.clone(), asked.key.clone());
    let (w, strict) = (asked.quorum, asked.strict);
    let timeout_ms = ms(left(until));
    let put = Put { bucket, key, causality, w, strict, timeout_ms, content_type, expiry, request };
    asked.write(&app, put.into(), value, until).await
}

/// Delete a key
///
/// With `X-Dynode-Context` it removes what was read there, and no more; without it what the coordinator sees. A key
/// without a value is deleted, too. Conditions are as for a write.
#[utoipa::path(
    delete, path = "/kv/{bucket}/{key}", tag = "keys",
    params(
        ("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded; its slashes may stay", min_length = 1),
        ("w" = Option<String>, Query, description = "Copies that must acknowledge: `one`, `quorum`, `all`, or a number; as the bucket has it by default", pattern = "^(one|quorum|all|bucket|[1-8])$"),
        ("strict" = Option<bool>, Query, description = "Count owners only, no stand-ins"),
        ("timeout" = Option<String>, Query, description = "From `1ms` to `60s`; 5 s by default", pattern = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$"),
        ("X-Dynode-Context" = Option<String>, Header, description = "What was read, as an answer for this key had it", pattern = "^[A-Za-z0-9_-]+=*$"),
        ("If-Match" = Option<String>, Header, description = "Only if the key's entity tag is among these", pattern = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
        ("If-None-Match" = Option<String>, Header, description = "Only if the key's entity tag is not among these", pattern = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
    ),
    responses(
        (status = 204, description = "Enough copies have taken it", headers(
            ("X-Dynode-Context" = String, description = "What was seen and removed"),
            ("X-Dynode-Owners" = u8, description = "Owners of the key that acknowledged"),
            ("X-Dynode-Stand-Ins" = u8, description = "Stand-ins that acknowledged"),
        )),
        (status = 400, description = "The request cannot be understood, or the context is of another key", body = Refusal),
        (status = 412, description = "The condition does not hold; nothing was changed", body = Refusal),
        (status = 413, description = "Bucket or key are too large", body = Refusal),
        (status = 429, description = "Overloaded; nothing was changed", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "Too few copies can be reached, or the node is not ready; nothing was changed", body = Refusal),
        (status = 504, description = "Too few copies have acknowledged in time: the delete may or may not take effect", body = Refusal),
    ),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    let asked = Asked::of(&uri, "w")?;
    let until = Instant::now() + asked.timeout;
    let causality = asked.causality(&app, &headers, until, Causality::Current, |_| false).await?;
    let (bucket, key) = (asked.bucket.clone(), asked.key.clone());
    let (w, strict) = (asked.quorum, asked.strict);
    let delete = Delete { bucket, key, causality, w, strict, timeout_ms: ms(left(until)) };
    asked.write(&app, delete.into(), Bytes::new(), until).await
}
