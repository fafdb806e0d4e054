//! `GET /kv/{bucket}`: keys in order, a page and a cursor.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use dynode_client::wire::limits::KEY_BYTES_MAX;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::body::Pieces;
use super::limits::{KEYS_DEFAULT, KEYS_MAX};
use super::params::{Query, bucket};
use super::refusal::Refusal;
use crate::cli::reports::Text;
use crate::front::listing::{self, Wanted};

/// What a cursor begins with: its format.
const CURSOR: u8 = 1;

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyPage {
    /// The bucket.
    bucket: Text,
    /// The keys, in byte order. There may be fewer than `limit` although more follow.
    keys: Vec<Text>,
    /// Where the next page begins; `null` after the last.
    cursor: Option<String>,
    /// A quorum of owners of every partition has said what it has: no key that was acknowledged at a quorum is missing.
    complete: bool,
    /// Partitions of which keys may be missing, or be there although they were deleted.
    incomplete_partitions: Vec<u16>,
    /// Why, of one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// List keys
///
/// Keys in byte order, from all partitions. A majority of each one's owners is asked, and keys that only some of them have
/// are read, so a key whose write was acknowledged at a quorum is not missing, and one whose delete was is not there. What
/// is written while the pages are read may or may not be there.
#[utoipa::path(
    get, path = "/kv/{bucket}", tag = "keys",
    params(
        ("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        ("prefix" = Option<String>, Query, description = "Only keys that start with this"),
        ("limit" = Option<u32>, Query, description = "At most so many; 1,000 by default", minimum = 1, maximum = 10_000),
        ("cursor" = Option<String>, Query, description = "Where to go on, as the page before said", pattern = "^A[Q-Za-f][A-Za-z0-9_-]{2,}$"),
    ),
    responses(
        (status = 200, description = "A page; `complete` says whether enough copies were heard", body = KeyPage),
        (status = 400, description = "The request cannot be understood", body = Refusal),
        (status = 413, description = "The bucket's name is too long", body = Refusal),
        (status = 429, description = "Overloaded: try again later", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "No owner of any partition answers", body = Refusal),
    ),
)]
pub(super) async fn list(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let bucket = bucket(uri.path().strip_prefix("/kv/").unwrap_or_default())?;
    let mut query = Query::of(uri.query())?;
    let prefix = query.bytes("prefix").unwrap_or_default();
    let limit = query.take("limit", |text| match text.parse::<u32>() {
        Ok(limit @ 1..=KEYS_MAX) => Ok(limit),
        _ => Err(format!("a number from 1 to {KEYS_MAX}, not `{text}`")),
    })?;
    let after = query.take("cursor", cursor)?.unwrap_or_default();
    query.done()?;
    if prefix.len() > KEY_BYTES_MAX {
        return Err(Refusal::bad(format!("`prefix` is longer than any key: {KEY_BYTES_MAX} bytes")));
    }
    let limit = limit.unwrap_or(KEYS_DEFAULT) as usize;
    let wanted = Wanted { bucket: bucket.clone(), prefix: prefix.into(), after, limit };
    let busy = |_| Refusal::overloaded("too many listings are under way");
    let _room = app.listings.try_acquire().map_err(busy)?;
    let client = app.client().await?;
    let page = listing::page(client, &app.inside, &wanted).await.map_err(Refusal::unavailable)?;
    let page = KeyPage {
        bucket: bucket.into(),
        keys: page.keys.into_iter().map(Text::from).collect(),
        cursor: page.next.map(|key| cursor_text(&key)),
        complete: page.incomplete.is_empty(),
        incomplete_partitions: page.incomplete,
        detail: page.why,
    };
    let text = serde_json::to_vec(&page).map_err(|_| Refusal::unexpected("ListKeys", "what is no JSON"))?;
    let body = Pieces::body([Bytes::from(text)], &app.bodies)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn cursor_text(key: &[u8]) -> String {
    let mut bytes = BytesMut::with_capacity(1 + key.len());
    bytes.put_u8(CURSOR);
    bytes.put_slice(key);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn cursor(text: &str) -> Result<Bytes, String> {
    let wrong = || "not a cursor: give what the page before said, or leave it out".to_string();
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| wrong())?;
    match bytes.split_first() {
        Some((&CURSOR, key)) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Bytes::copy_from_slice(key)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_others_are_refused() {
        assert_eq!(cursor(&cursor_text(b"a\xff")).unwrap(), &b"a\xff"[..]);
        for bad in ["", "!", "AQ", "AmE", "AGE", &cursor_text(&[b'k'; KEY_BYTES_MAX + 1])] {
            assert!(cursor(bad).is_err(), "{bad}");
        }
    }
}
