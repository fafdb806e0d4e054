//! What a bucket is like, and changing it.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use dynode_client::wire::{GetBucket, Message, SetBucket};
use dynode_client::{BucketKind, Quorum};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::app::App;
use super::body;
use super::limits::{PROPERTIES_BYTES_MAX, TIMEOUT_DEFAULT};
use super::params::{Query, bucket};
use super::refusal::Refusal;
use crate::cli::reports::BucketReport;

/// Properties that a bucket shall have; those that are left out stay as they are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "kind": "lww", "r": "one", "ttl_ms": 3_600_000 }))]
pub(super) struct Change {
    /// What becomes of values that were written without knowledge of each other.
    kind: Option<Kind>,
    /// How many copies: the cluster's number, for now.
    n: Option<u8>,
    /// Copies that a read asks which does not say: `one`, `quorum`, `all`, or a number.
    #[schema(pattern = "^(one|quorum|all|[1-8])$")]
    r: Option<String>,
    /// Copies that must acknowledge a write which does not say.
    #[schema(pattern = "^(one|quorum|all|[1-8])$")]
    w: Option<String>,
    /// New values expire after so many milliseconds, up to a hundred years; `null`: never.
    #[serde(default, deserialize_with = "there")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 3_162_240_000_000_u64)]
    ttl_ms: Option<Option<u64>>,
}

/// `siblings`: all are kept. `lww`: the last one is, the others are lost, and counted.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Siblings,
    Lww,
}

/// Told apart from what is left out: `null`.
fn there<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Change {
    /// What the node is asked; where nothing is to be changed, what the bucket is like.
    fn message(self, bucket: Bytes) -> Result<Message, Refusal> {
        let Change { kind, n, r, w, ttl_ms } = self;
        if kind.is_none() && n.is_none() && r.is_none() && w.is_none() && ttl_ms.is_none() {
            return Ok(GetBucket { bucket }.into());
        }
        let kind = kind.map(|kind| match kind {
            Kind::Siblings => BucketKind::Siblings,
            Kind::Lww => BucketKind::Lww,
        });
        Ok(SetBucket { bucket, kind, n, r: quorum("r", r)?, w: quorum("w", w)?, ttl_ms }.into())
    }
}

fn quorum(name: &str, copies: Option<String>) -> Result<Option<Quorum>, Refusal> {
    let wrong = |why: String| Refusal::bad(format!("`{name}`: {why}; nothing was changed"));
    copies.map(|copies| copies.parse()).transpose().map_err(wrong)
}

/// What a bucket is like
///
/// As this node knows it: a change that another one has just taken may be on its way. Buckets of which nobody has said
/// anything have the defaults.
#[utoipa::path(
    get, path = "/buckets/{bucket}", tag = "buckets",
    params(("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1)),
    responses(
        (status = 200, description = "Its properties", body = BucketReport),
        (status = 400, description = "The request cannot be understood", body = Refusal),
        (status = 413, description = "The bucket's name is too long", body = Refusal),
        (status = 429, description = "Overloaded: try again later", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "The node is not ready", body = Refusal),
    ),
)]
pub(super) async fn get(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<BucketReport>, Refusal> {
    ask(&app, GetBucket { bucket: named(&uri)? }).await
}

/// Change a bucket
///
/// What is left out stays. This node takes the change and tells the others; one that is away hears of it when it is back.
/// Of two changes of the same bucket at the same time the later one counts, on all nodes.
///
/// With `lww` a value that was written without knowledge of a later one is lost, and counted in a metric.
#[utoipa::path(
    put, path = "/buckets/{bucket}", tag = "buckets",
    params(("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1)),
    request_body(content = Change, content_type = "application/json", description = "What is to be changed"),
    responses(
        (status = 200, description = "Its properties now", body = BucketReport),
        (status = 400, description = "The request cannot be understood, or cannot be fulfilled; nothing was changed", body = Refusal),
        (status = 408, description = "The body did not come in time; nothing was changed", body = Refusal),
        (status = 413, description = "The bucket's name or the body is too long", body = Refusal),
        (status = 429, description = "Overloaded: try again later", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "The node is not ready", body = Refusal),
    ),
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<BucketReport>, Refusal> {
    let bucket = named(&uri)?;
    let (text, _held) = body::read(body, &headers, &app.bodies, PROPERTIES_BYTES_MAX, app.times.body).await?;
    let change: Change = serde_json::from_slice(&text)
        .map_err(|e| Refusal::bad(format!("the body is no JSON of a bucket's properties: {e}; nothing was changed")))?;
    ask(&app, change.message(bucket)?).await
}

fn named(uri: &Uri) -> Result<Bytes, Refusal> {
    Query::of(uri.query())?.done()?;
    bucket(uri.path().strip_prefix("/buckets/").unwrap_or_default())
}

async fn ask(app: &App, message: impl Into<Message>) -> Result<Json<BucketReport>, Refusal> {
    match app.ask(message, Bytes::new(), TIMEOUT_DEFAULT).await? {
        (Message::BucketIs(is), _) => Ok(Json(is.into())),
        (other, _) => Err(Refusal::unexpected("a bucket's properties", other.name())),
    }
}
