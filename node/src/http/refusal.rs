//! Why a request was not done, as JSON: what happened, and what remains true.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynode_client::Error;
use dynode_client::wire::{ErrorCode, Failure};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Refusal", example = json!({
    "error": "quorum_not_met", "needed": 2, "received": 1, "detail": "2 of 3 owners cannot be reached"
}))]
pub(super) struct Refusal {
    #[serde(skip)]
    pub(super) status: StatusCode,
    /// A stable name, for programs.
    error: &'static str,
    /// Copies needed: only where it is a matter of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<u8>,
    /// Copies that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u8>,
    /// For people: what happened and what to do.
    detail: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: &'static str, detail: impl Into<String>) -> Refusal {
        Refusal { status, error, needed: None, received: None, detail: detail.into() }
    }

    pub(super) fn bad(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest.as_str(), detail)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge.as_str(), detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(super) fn precondition(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
    }

    pub(super) fn overloaded(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::Overloaded.as_str(), detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable.as_str(), detail)
    }

    /// What happened, in words.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A node answered something that is no answer to what it was asked.
    pub(super) fn unexpected(asked: &str, answered: &str) -> Refusal {
        let detail = format!("the node answered {asked} with {answered}: a bug");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal.as_str(), detail)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        let Failure { code, needed, received, detail } = failure;
        let status = match code {
            ErrorCode::BadRequest | ErrorCode::ForeignContext => StatusCode::BAD_REQUEST,
            ErrorCode::TooManySiblings => StatusCode::CONFLICT,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::QuorumNotMet
            | ErrorCode::NotSeenYet
            | ErrorCode::Unavailable
            | ErrorCode::OtherLayout
            | ErrorCode::Refused => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let counts = matches!(code, ErrorCode::QuorumNotMet | ErrorCode::OutcomeUnknown);
        Refusal {
            status,
            error: code.as_str(),
            needed: counts.then_some(needed),
            received: counts.then_some(received),
            detail,
        }
    }
}

/// What goes by way of the client library: reports and lists of other nodes, which change nothing.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let status = match error {
            Error::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::Internal { .. } | Error::Unexpected { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.kind(), error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self)).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
