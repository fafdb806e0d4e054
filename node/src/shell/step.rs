//! One node's part in a request that somebody wants to follow: with the feature `otel` a span of OpenTelemetry, else no more
//! than what is passed on.

use dynode_client::wire::Trace;

/// A step under way. Dropped without a word it ends, too.
#[derive(Debug)]
pub struct Step {
    trace: Trace,
    #[cfg(feature = "otel")]
    span: Option<crate::telemetry::Span>,
}

impl Step {
    /// Where a request comes in: it may begin a trace.
    pub fn first(name: String, trace: Trace) -> Step {
        #[cfg(feature = "otel")]
        {
            let (trace, span) = crate::telemetry::first(name, trace);
            Step { trace, span }
        }
        #[cfg(not(feature = "otel"))]
        {
            drop(name);
            Step { trace }
        }
    }

    /// One that is recorded nowhere: only the request's name is passed on.
    pub fn unseen(trace: Trace) -> Step {
        Step {
            trace: trace.within([0; 16], [0; 8]),
            #[cfg(feature = "otel")]
            span: None,
        }
    }

    /// A further step of a trace, at the node `node`; where the request is a part of none it begins none.
    pub fn next(name: &'static str, node: &str, trace: Trace) -> Step {
        #[cfg(feature = "otel")]
        {
            let (trace, span) = crate::telemetry::next(name, node, trace);
            Step { trace, span }
        }
        #[cfg(not(feature = "otel"))]
        {
            let _ = (name, node);
            Step { trace }
        }
    }

    /// What is passed on to the next step: this one is its cause.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// It ends so. `failed`: people should see it.
    pub fn end(self, outcome: &'static str, failed: bool) {
        #[cfg(feature = "otel")]
        if let Some(span) = self.span {
            span.end(outcome, failed);
        }
        #[cfg(not(feature = "otel"))]
        let _ = (outcome, failed);
    }
}
