//! What went wrong, as RFC 9457 tells it: one mapping from the catalogue to HTTP.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Failure, Reason, Unavailable};

use super::reply::{IDEMPOTENCY_REPLAYED, document};
use super::shape::view;

/// The media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// When a request that was turned away should come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

view! {
    /// What went wrong (RFC 9457).
    ProblemView {
        /// Where the reason is explained.
        kind as "type": String,
        /// The reason for people.
        title: String,
        /// The HTTP status.
        status: u16,
        /// What happened and what to do next.
        detail: String,
        /// The entry of the error catalogue.
        reason: String,
        /// The numbers and names of the detail.
        metadata: BTreeMap<String, String>,
    }
}

/// A failure on its way to a caller of HTTP.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    failure: Failure,
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let status = StatusCode::from_u16(failure.reason.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Problem { status, failure }
    }
}

impl Problem {
    /// A failure that HTTP has a status of its own for.
    pub(super) fn with_status(status: StatusCode, failure: Failure) -> Problem {
        Problem { status, failure }
    }

    /// There is nothing at an address.
    pub(super) fn nothing_at(path: &str) -> Problem {
        let failure = Failure::new(
            Reason::Unimplemented,
            format!("there is nothing at {path:?}; /docs lists what there is"),
        );
        Problem::with_status(StatusCode::NOT_FOUND, failure)
    }

    /// Scenario files are asked to be played and this server plays none.
    pub(super) fn no_player() -> Problem {
        let message = "this server plays no scenarios; start it with --lab, or use bank-client run";
        Problem::with_status(StatusCode::NOT_FOUND, Failure::new(Reason::Unimplemented, message))
    }

    /// A dialect of gRPC that the server does not speak.
    pub(super) fn other_grpc() -> Problem {
        let message = "the server speaks gRPC as application/grpc over HTTP/2, and JSON under /v1";
        let failure = Failure::new(Reason::ArgumentInvalid, message).in_field("content-type");
        Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, failure)
    }

    /// The address exists and the method does not.
    pub(super) fn no_method(method: &str, path: &str) -> Problem {
        let failure = Failure::new(
            Reason::Unimplemented,
            format!("{path:?} does not take {method}; the header Allow says what it takes"),
        );
        Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, failure)
    }

    pub(super) fn overloaded() -> Problem {
        Failure::from(Unavailable::Overloaded { retry_after: RETRY_AFTER }).into()
    }

    /// The problem as a document, for an answer or inside of one.
    pub(super) fn view(&self) -> ProblemView {
        let reason = self.failure.reason.as_str();
        ProblemView {
            kind: format!("/docs#{reason}"),
            title: title(reason),
            status: self.status.as_u16(),
            detail: self.failure.message.clone(),
            reason: reason.to_owned(),
            metadata: self.failure.metadata.clone(),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(document(&self.view())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.failure.is_replayed() {
            headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(delay) = self.failure.retry_after {
            // Whole seconds, and never sooner than asked.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// `INSUFFICIENT_FUNDS` as `Insufficient funds`.
fn title(reason: &str) -> String {
    let (first, rest) = reason.split_at(1);
    first.to_owned() + &rest.to_ascii_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_status_of_http() {
        for reason in Reason::ALL {
            let problem = Problem::from(Failure::new(*reason, "why"));
            assert_eq!(problem.status.as_u16(), reason.http());
            assert!(problem.status.is_client_error() || problem.status.is_server_error(), "{reason:?}");
        }
        assert_eq!(title("INSUFFICIENT_FUNDS"), "Insufficient funds");
    }

    #[test]
    fn retry_after_is_never_sooner_than_asked() {
        for (millis, seconds) in [(1, "1"), (1_000, "1"), (1_001, "2")] {
            let failure = Failure::new(Reason::Overloaded, "later").after(Duration::from_millis(millis));
            let response = Problem::from(failure).into_response();
            assert_eq!(response.headers()["retry-after"], seconds);
        }
    }
}
