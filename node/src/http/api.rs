//! Which request goes where, and the description of it all, made from the same functions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::app::App;
use super::refusal::Refusal;
use super::{buckets, cluster, console, keys, kv, metrics, trace};

/// Everything that is served. A test holds the routes below against it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "dynode",
        description = "A leaderless, always-writable key-value store: no write is silently lost to another.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "keys", description = "Values, their siblings and contexts"),
        (name = "buckets", description = "What buckets are like"),
        (name = "cluster", description = "Who is there, and who owns what"),
        (name = "local", description = "What this node holds itself"),
        (name = "health", description = "Probes and counters"),
    ),
    paths(
        kv::get,
        kv::put,
        kv::delete,
        keys::list,
        buckets::get,
        buckets::put,
        cluster::status,
        cluster::ring,
        cluster::members,
        cluster::transfers,
        cluster::local_key,
        cluster::local_clocks,
        cluster::live,
        cluster::ready,
        metrics::metrics,
        openapi,
        page,
    )
)]
struct Api;

/// The OpenAPI description.
pub fn description() -> Document {
    Api::openapi()
}

/// The description of this interface (OpenAPI)
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses(
    (status = 200, description = "This document", content_type = "application/json", body = Object),
))]
async fn openapi() -> Json<Document> {
    Json(description())
}

/// The console, a page for people
///
/// What it fetches from below `/console/` is its own, and may change.
#[utoipa::path(get, path = "/", tag = "health", responses(
    (status = 200, description = "The page", content_type = "text/html", body = String),
))]
async fn page() -> Response {
    console::page()
}

pub(super) fn router(app: Arc<App>) -> Router {
    let key = || get(kv::get).put(kv::put).delete(kv::delete);
    Router::new()
        .route("/kv/{bucket}/{*key}", key())
        // An empty key is a mistake of its own, and named as such.
        .route("/kv/{bucket}/", key())
        .route("/kv/{bucket}", get(keys::list))
        .route("/buckets/{bucket}", get(buckets::get).put(buckets::put))
        .route("/cluster/status", get(cluster::status))
        .route("/cluster/ring", get(cluster::ring))
        .route("/cluster/members", get(cluster::members))
        .route("/cluster/transfers", get(cluster::transfers))
        .route("/local/clocks", get(cluster::local_clocks))
        .route("/local/{bucket}/{*key}", get(cluster::local_key))
        .route("/local/{bucket}/", get(cluster::local_key))
        .route("/health/live", get(cluster::live))
        .route("/health/ready", get(cluster::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi))
        .route("/", get(page))
        .merge(console::router())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(axum::middleware::from_fn(trace::trace))
        .with_state(app)
}

async fn nothing_here(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is nothing at `{}`: /openapi.json says what there is", uri.path()))
}

async fn not_so(State(_): State<Arc<App>>, method: Method, uri: Uri) -> Refusal {
    let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    Refusal::new(status, "method_not_allowed", format!("{method} is not possible at `{}`", uri.path()))
}
