//! Spans of OpenTelemetry, behind the feature `otel`: one a request at the front end where it comes in, one for the node that
//! coordinates it, one for every copy that takes part. They are sent by OTLP over HTTP, from a thread of their own.

mod post;

use dynode_client::wire::Trace;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use post::Post;

/// Where spans go, as OpenTelemetry has it for all programs; where neither is set none are made.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Sends spans as long as it is kept.
#[derive(Debug)]
pub struct Sending(SdkTracerProvider);

/// A span under way.
#[derive(Debug)]
pub struct Span(global::BoxedSpan);

/// Begins to send spans of the node `name` to where the environment says.
///
/// # Errors
///
/// The exporter cannot be made of what the environment says.
#[allow(clippy::disallowed_methods, reason = "the shell reads the environment")]
pub fn begin(name: &str) -> Result<Option<Sending>, String> {
    if !ENDPOINTS.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty())) {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().with_http_client(Post).build().map_err(|e| e.to_string())?;
    let resource = Resource::builder()
        .with_service_name("dynode")
        .with_attributes([
            KeyValue::new("service.instance.id", name.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    global::set_tracer_provider(provider.clone());
    Ok(Some(Sending(provider)))
}

impl Drop for Sending {
    fn drop(&mut self) {
        // What was not sent in time is lost, and nothing depends on it.
        let _ = self.0.shutdown();
    }
}

/// The first span of a request here: of the trace that it came with, or of a new one.
pub(crate) fn first(name: String, trace: Trace) -> (Trace, Option<Span>) {
    let cause = cause(&trace);
    let attributes = [KeyValue::new("dynode.request", trace.name().to_owned())];
    span(name.into(), SpanKind::Server, &cause, attributes.into(), trace)
}

/// A further span of the trace; none where there is none.
pub(crate) fn next(name: &'static str, node: &str, trace: Trace) -> (Trace, Option<Span>) {
    if trace.id == [0; 16] {
        return (trace, None);
    }
    let cause = cause(&trace);
    let attributes =
        vec![KeyValue::new("dynode.request", trace.name().to_owned()), KeyValue::new("dynode.node", node.to_owned())];
    span(name.into(), SpanKind::Server, &cause, attributes, trace)
}

fn span(
    name: std::borrow::Cow<'static, str>,
    kind: SpanKind,
    cause: &Context,
    attributes: Vec<KeyValue>,
    trace: Trace,
) -> (Trace, Option<Span>) {
    use opentelemetry::trace::Span as _;
    let tracer = global::tracer("dynode");
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes).start_with_context(&tracer, cause);
    let own = span.span_context();
    if !own.is_sampled() {
        // Others make none, either.
        return (trace.within([0; 16], [0; 8]), None);
    }
    let trace = trace.within(own.trace_id().to_bytes(), own.span_id().to_bytes());
    (trace, Some(Span(span)))
}

/// What the trace says of its cause: on another node, in another thread, or in front of this process.
fn cause(trace: &Trace) -> Context {
    if trace.id == [0; 16] {
        return Context::new();
    }
    let (id, parent) = (TraceId::from_bytes(trace.id), SpanId::from_bytes(trace.parent));
    let sampled = SpanContext::new(id, parent, TraceFlags::SAMPLED, true, TraceState::default());
    Context::new().with_remote_span_context(sampled)
}

impl Span {
    /// It ends so.
    pub(crate) fn end(mut self, outcome: &'static str, failed: bool) {
        use opentelemetry::trace::Span as _;
        self.0.set_attribute(KeyValue::new("dynode.outcome", outcome));
        if failed {
            self.0.set_status(Status::error(outcome));
        }
        self.0.end();
    }
}
