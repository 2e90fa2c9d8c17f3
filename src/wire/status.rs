//! The one mapping between a [`Failure`] and `google.rpc.Status`.

use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::model::{Code, Failure, Reason};

/// `ErrorInfo.domain` of every refusal.
pub const ERROR_DOMAIN: &str = "bank";
/// Trailer that repeats the reason, for clients that show only text.
pub const REASON_TRAILER: &str = "bank-error-reason";

/// The status that tells a failure: one `ErrorInfo`, a `BadRequest` for a wrong field, a `RetryInfo` for
/// "later", and the reason again as a trailer.
#[must_use]
pub fn to_status(failure: &Failure) -> Status {
    let reason = failure.reason.as_str();
    let mut details = ErrorDetails::new();
    details.set_error_info(
        reason,
        ERROR_DOMAIN,
        failure.metadata.clone().into_iter().collect::<std::collections::HashMap<_, _>>(),
    );
    if let Some(field) = &failure.field {
        details.add_bad_request_violation(field, &failure.message);
    }
    if let Some(delay) = failure.retry_after {
        details.set_retry_info(Some(delay));
    }
    let mut trailers = MetadataMap::new();
    trailers.insert(REASON_TRAILER, MetadataValue::from_static(reason));
    Status::with_error_details_and_metadata(
        grpc_code(failure.reason.code()),
        &failure.message,
        details,
        trailers,
    )
}

/// The failure that a status tells. A status that this program did not write gets the reason that fits
/// its code best.
#[must_use]
pub fn from_status(status: &Status) -> Failure {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
    let reason = info.and_then(|info| Reason::named(&info.reason)).unwrap_or_else(|| foreign_reason(status));
    let mut failure = Failure::new(reason, status.message());
    if let Some(info) = info {
        failure.metadata = info.metadata.clone().into_iter().collect();
    }
    failure.field = details
        .bad_request()
        .and_then(|bad| bad.field_violations.first())
        .map(|violation| violation.field.clone());
    failure.retry_after =
        details.retry_info().and_then(|retry| retry.retry_delay).filter(|delay| *delay > Duration::ZERO);
    failure
}

fn grpc_code(code: Code) -> GrpcCode {
    GrpcCode::from_i32(code as i32)
}

fn foreign_reason(status: &Status) -> Reason {
    match status.code() {
        GrpcCode::Unavailable => Reason::Unreachable,
        GrpcCode::DeadlineExceeded | GrpcCode::Cancelled => Reason::OutcomeUnknown,
        GrpcCode::ResourceExhausted => Reason::Overloaded,
        GrpcCode::Unimplemented => Reason::Unimplemented,
        GrpcCode::OutOfRange => Reason::MessageTooLarge,
        GrpcCode::InvalidArgument => Reason::ArgumentInvalid,
        GrpcCode::Ok
        | GrpcCode::Unknown
        | GrpcCode::NotFound
        | GrpcCode::AlreadyExists
        | GrpcCode::PermissionDenied
        | GrpcCode::FailedPrecondition
        | GrpcCode::Aborted
        | GrpcCode::Internal
        | GrpcCode::DataLoss
        | GrpcCode::Unauthenticated => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        for reason in Reason::ALL {
            let failure = Failure::new(*reason, "do this next")
                .with("account", 17)
                .in_field("amount")
                .after(Duration::from_millis(250));
            let status = to_status(&failure);
            assert_eq!(from_status(&status), failure);
            assert_eq!(status.code() as i32, reason.code() as i32);
            assert_eq!(status.metadata().get(REASON_TRAILER).unwrap(), reason.as_str());
        }
    }
}
