//! Reports on the cluster as JSON: what commands print with `--json`, for front ends that say the same.

use dynode_client::{Client, Error, Layout};
use serde_json::Value;

pub(crate) use super::target::parse_place;
use super::{ring, status};

/// As `status --json`.
pub(crate) async fn status(client: &Client) -> Value {
    status::status_json(client).await
}

/// As `members --json`.
pub(crate) async fn members(client: &Client) -> Result<Value, Error> {
    status::members_json(client).await
}

/// As `ring --json`, or `ring --key --json`.
pub(crate) fn ring(layout: &Layout, key: Option<(String, String)>) -> Value {
    ring::ring_json(layout, key)
}
