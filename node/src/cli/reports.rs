//! Reports on the cluster as JSON: what commands print with `--json`, for front ends that say the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dynode_client::{BucketIs, BucketKind, Client, Error, Layout};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub(crate) use super::target::parse_place;
use super::{ring, status, transfers};

/// As `status --json`.
pub(crate) async fn status(client: &Client) -> Value {
    status::status_json(client).await
}

/// As `members --json`.
pub(crate) async fn members(client: &Client) -> Result<Value, Error> {
    status::members_json(client).await
}

/// As `transfers --json`.
pub(crate) async fn transfers(client: &Client) -> Result<Value, Error> {
    transfers::transfers_json(client).await
}

/// As `ring --json`, or `ring --key --json`.
pub(crate) fn ring(layout: &Layout, key: Option<(String, String)>) -> Value {
    ring::ring_json(layout, key)
}

/// Bytes: a string where they are text, else an object with their base64.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Text {
    Text(String),
    Bytes { base64: String },
}

impl From<Bytes> for Text {
    fn from(bytes: Bytes) -> Text {
        match std::str::from_utf8(&bytes) {
            Ok(text) => Text::Text(text.into()),
            Err(_) => Text::Bytes { base64: STANDARD.encode(&bytes) },
        }
    }
}

/// What a bucket is like: as `bucket --json`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketReport {
    /// The bucket.
    bucket: Text,
    /// What becomes of values that were written without knowledge of each other: `siblings` (all are kept), or `lww` (the
    /// last one is).
    pub(super) kind: &'static str,
    /// How many copies.
    pub(super) n: u8,
    /// Copies that a read asks which does not say: `one`, `quorum`, `all`, or a number.
    pub(super) r: String,
    /// Copies that must acknowledge a write which does not say.
    pub(super) w: String,
    /// New values expire after so many milliseconds; `null`: never.
    pub(super) ttl_ms: Option<u64>,
    /// When it was last changed, in milliseconds since 1970; `null`: never.
    since_ms: Option<u64>,
}

impl From<BucketIs> for BucketReport {
    fn from(is: BucketIs) -> BucketReport {
        let kind = match is.properties.kind {
            BucketKind::Siblings => "siblings",
            BucketKind::Lww => "lww",
        };
        BucketReport {
            bucket: is.bucket.into(),
            kind,
            n: is.n,
            r: is.properties.r.to_string(),
            w: is.properties.w.to_string(),
            ttl_ms: is.properties.ttl_ms,
            since_ms: (is.since.0 > 0).then(|| is.since.ms()),
        }
    }
}
