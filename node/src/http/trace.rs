//! A request's id in the log and in its answer: what the client said in `X-Request-Id`, or one made here.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::{Instrument, debug, info_span, warn};

use super::params::{REQUEST_ID, REQUEST_ID_MAX};

/// Puts what is logged about a request under its id, says how it ended, and gives the id back.
///
/// At `debug`, since there may be many; answers that say that the node itself failed (500) at `warn`. Paths are logged as they
/// came: percent-encoded, so that no key can forge a line.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).filter(|id| id.to_str().is_ok());
    let id = match given.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_MAX) {
        Some(id) => id.clone(),
        None => HeaderValue::from_str(&format!("{:016x}", rand::random::<u64>()))
            .unwrap_or(HeaderValue::from_static("none")),
    };
    let span = info_span!("request", id = id.to_str().unwrap_or_default());
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    async move {
        let began = Instant::now();
        let mut response = next.run(request).await;
        let (status, took_ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
        if status == 500 {
            warn!(%method, %path, status, took_ms, "failed");
        } else {
            debug!(%method, %path, status, took_ms, "answered");
        }
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}
