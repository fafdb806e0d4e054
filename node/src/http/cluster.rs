//! Reports: on the cluster, as the command line's `--json` prints them; on this node's own copies; and probes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dynode_client::Topic;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::app::App;
use super::limits::{READY_TIME, REPORT_TIME};
use super::params::{Query, place};
use super::refusal::Refusal;
use crate::cli::reports;

/// A JSON object, as the command line prints it with `--json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(value_type = Object)]
pub(super) struct Report(Value);

/// Every node's state
///
/// As `dynode status --json`: each member is asked; one that does not answer is named `unreachable`.
#[utoipa::path(get, path = "/cluster/status", tag = "cluster", responses(
    (status = 200, description = "The report", body = Report),
    (status = 400, description = "There are no parameters", body = Refusal),
    (status = 429, description = "Overloaded: try again later", body = Refusal),
    (status = 500, description = "The node failed; its log says more", body = Refusal),
    (status = 503, description = "This node does not answer itself", body = Refusal),
))]
pub(super) async fn status(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Report>, Refusal> {
    Query::of(uri.query())?.done()?;
    Ok(Json(Report(reports::status(app.client().await?).await)))
}

/// Who owns what
///
/// As `dynode ring --json`. With `key`, where that key lives: its token, partition and preference list.
#[utoipa::path(get, path = "/cluster/ring", tag = "cluster",
    params(("key" = Option<String>, Query, description = "`bucket/key`; the bucket ends at the first slash", pattern = "^[a-z]{1,20}/[a-z]{1,20}$")),
    responses(
        (status = 200, description = "The report", body = Report),
        (status = 400, description = "The request cannot be understood", body = Refusal),
        (status = 429, description = "Overloaded: try again later", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "This node does not answer itself", body = Refusal),
    ),
)]
pub(super) async fn ring(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Report>, Refusal> {
    let mut query = Query::of(uri.query())?;
    let key = query.take("key", reports::parse_place)?;
    query.done()?;
    let layout = app.client().await?.layout();
    Ok(Json(Report(reports::ring(&layout, key))))
}

/// The members, as this node sees them
///
/// As `dynode members --json`.
#[utoipa::path(get, path = "/cluster/members", tag = "cluster", responses(
    (status = 200, description = "The report", body = Report),
    (status = 400, description = "There are no parameters", body = Refusal),
    (status = 429, description = "Overloaded: try again later", body = Refusal),
    (status = 500, description = "The node failed; its log says more", body = Refusal),
    (status = 503, description = "This node does not answer itself", body = Refusal),
))]
pub(super) async fn members(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Report>, Refusal> {
    Query::of(uri.query())?.done()?;
    Ok(Json(Report(reports::members(app.client().await?).await?)))
}

/// What moves
///
/// As `dynode transfers --json`: for each node how many copies come to it, how many of them are whole, how fast and until when,
/// and what it still has to hand over; and the partitions that are on their way to other owners, as this node knows.
#[utoipa::path(get, path = "/cluster/transfers", tag = "cluster", responses(
    (status = 200, description = "The report", body = Report),
    (status = 400, description = "There are no parameters", body = Refusal),
    (status = 429, description = "Overloaded: try again later", body = Refusal),
    (status = 500, description = "The node failed; its log says more", body = Refusal),
    (status = 503, description = "This node does not answer itself", body = Refusal),
))]
pub(super) async fn transfers(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Report>, Refusal> {
    Query::of(uri.query())?.done()?;
    Ok(Json(Report(reports::transfers(app.client().await?).await?)))
}

/// This node's copy of a key
///
/// Without asking any other node: the values' dots, lengths and checksums, and the context. For checking and debugging.
#[utoipa::path(get, path = "/local/{bucket}/{key}", tag = "local",
    params(
        ("bucket" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded; its slashes may stay", min_length = 1),
    ),
    responses(
        (status = 200, description = "The report", body = Report),
        (status = 400, description = "The request cannot be understood", body = Refusal),
        (status = 413, description = "Bucket or key are too large", body = Refusal),
        (status = 429, description = "Overloaded: try again later", body = Refusal),
        (status = 500, description = "The node failed; its log says more", body = Refusal),
        (status = 503, description = "The node is not ready", body = Refusal),
    ),
)]
pub(super) async fn local_key(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let (bucket, key) = place(uri.path().strip_prefix("/local/").unwrap_or_default())?;
    Query::of(uri.query())?.done()?;
    local(&app, Topic::LocalKey { bucket, key }).await
}

/// This node's copies
///
/// The clock, content hash and number of keys of each, counted by reading them all: it takes the node a while, in which
/// it does nothing else. For checking and debugging.
#[utoipa::path(get, path = "/local/clocks", tag = "local", responses(
    (status = 200, description = "The report", body = Report),
    (status = 400, description = "There are no parameters", body = Refusal),
    (status = 429, description = "Overloaded: try again later", body = Refusal),
    (status = 500, description = "The node failed; its log says more", body = Refusal),
    (status = 503, description = "The node is not ready", body = Refusal),
))]
pub(super) async fn local_clocks(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Query::of(uri.query())?.done()?;
    local(&app, Topic::LocalClocks).await
}

async fn local(app: &App, topic: Topic) -> Result<Response, Refusal> {
    let report = app.report(topic, REPORT_TIME).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report).into_response())
}

/// How a probe went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `up`, or what the node is instead.
    state: String,
    /// Why, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Is the process alive?
///
/// It is as long as it answers this: a node that waits for its disk or for other nodes does not get better by being
/// started anew.
#[utoipa::path(get, path = "/health/live", tag = "health", responses(
    (status = 200, description = "Yes", body = Health),
))]
pub(super) async fn live() -> Json<Health> {
    Json(Health { state: "up".into(), detail: None })
}

/// Does the node take requests?
///
/// Not before it has seen a majority of the owners of each of its partitions since its start, for ten seconds at most.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, description = "Yes", body = Health),
    (status = 503, description = "No: it has just started, stops, has no disk that it can rely on, or does not answer in time", body = Health),
))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let health = match app.status(READY_TIME).await {
        Ok(report) if report["state"] == "up" && report["starting"].is_string() => {
            Health { state: "starting".into(), detail: report["starting"].as_str().map(String::from) }
        }
        Ok(report) => Health {
            state: report["state"].as_str().unwrap_or("unknown").into(),
            detail: report["why"].as_str().map(String::from),
        },
        Err(refusal) => Health { state: "silent".into(), detail: Some(refusal.detail().into()) },
    };
    let code = if health.state == "up" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health)).into_response()
}
