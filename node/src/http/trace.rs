//! A request's id in the log and in its answer: what the client said in `X-Request-Id`, or one made here. Where somebody wants
//! to follow the request, it goes with it to the node and to its peers.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use dynode_client::wire::Trace;
use tokio::time::Instant;
use tracing::{Instrument, debug, info_span, warn};

use super::params::{REQUEST_ID, REQUEST_ID_MAX};
use crate::shell::inside::under;
use crate::shell::step::Step;

/// W3C's: the trace that the request is a part of.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Puts what is logged about a request under its id, says how it ended, and gives the id back.
///
/// At `debug`, since there may be many; answers that say that the node itself failed (500) at `warn`. Paths are logged as they
/// came: percent-encoded, so that no key can forge a line.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).filter(|id| id.to_str().is_ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_MAX);
    let parent = request.headers().get(&TRACE_PARENT).and_then(|text| Trace::read_parent(text.to_str().ok()?));
    // Those who name their requests want to find them again.
    let wanted = given.is_some()
        || parent.is_some()
        || cfg!(feature = "otel")
        || tracing::enabled!(target: "dynode::request", tracing::Level::DEBUG);
    let id = match given {
        Some(id) => id.clone(),
        None => HeaderValue::from_str(&format!("{:016x}", rand::random::<u64>()))
            .unwrap_or(HeaderValue::from_static("none")),
    };
    let span = info_span!("request", id = id.to_str().unwrap_or_default());
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let name = format!("{method} {}", route(&path));
    let trace = Trace::named(id.to_str().unwrap_or_default()).filter(|_| wanted);
    let step = trace.map(|trace| match parent {
        Some((id, parent, true)) => Step::first(name, trace.within(id, parent)),
        Some((.., false)) => Step::unseen(trace),
        None => Step::first(name, trace),
    });
    async move {
        let began = Instant::now();
        let answered = next.run(request);
        let mut response = match step {
            None => answered.await,
            Some(step) => {
                let response = under(step.trace().clone(), answered).await;
                let status = response.status();
                step.end(status.canonical_reason().unwrap_or("unknown"), status.is_server_error());
                response
            }
        };
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

/// The first part of a path: which interface it is, and no bucket or key.
fn route(path: &str) -> &str {
    let end = path[1..].find('/').map_or(path.len(), |at| at + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn a_span_is_named_by_the_interface_and_not_by_the_key() {
        let all = ["/kv/b/k", "/metrics", "/", "/cluster/ring"].map(route);
        assert_eq!(all, ["/kv", "/metrics", "/", "/cluster"]);
    }
}
