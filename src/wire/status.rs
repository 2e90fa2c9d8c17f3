//! The one mapping between a [`Failure`] and `google.rpc.Status`.

use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::model::limits::BATCH_MESSAGE_BYTES;
use crate::model::{Code, Failure, Reason};

/// `ErrorInfo.domain` of every refusal.
pub const ERROR_DOMAIN: &str = "bank";
/// Trailer that repeats the reason, for clients that show only text.
pub const REASON_TRAILER: &str = "bank-error-reason";

/// The status that tells a failure: one `ErrorInfo`, a `BadRequest` for a wrong field, a `RetryInfo` for
/// "later", and the reason again as a trailer.
#[must_use]
pub fn to_status(failure: &Failure) -> Status {
    to_status_as(failure, failure.reason.code())
}

/// As [`to_status`], with a code other than the catalogue's: older contracts have codes of their own.
#[must_use]
pub fn to_status_as(failure: &Failure, code: Code) -> Status {
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
    Status::with_error_details_and_metadata(grpc_code(code), &failure.message, details, trailers)
}

/// The status as the catalogue tells it. A status that carries a reason passes through; one that the
/// gRPC machinery wrote by itself, before any handler ran, gets the reason that fits what it can mean
/// there: bytes that are no message, a message over the limit, a call that does not exist.
#[must_use]
pub fn dress(status: Status) -> Status {
    if status.metadata().contains_key(REASON_TRAILER) {
        return status;
    }
    let told = status.message();
    let failure = match status.code() {
        GrpcCode::Unimplemented => {
            let told = if told.is_empty() { "no such call" } else { told };
            Failure::new(Reason::Unimplemented, format!("the server does not offer this: {told}"))
        }
        GrpcCode::OutOfRange | GrpcCode::ResourceExhausted => message_too_large(BATCH_MESSAGE_BYTES),
        GrpcCode::Internal | GrpcCode::InvalidArgument | GrpcCode::Unknown => {
            Failure::new(Reason::ArgumentInvalid, format!("the message of the call cannot be read: {told}"))
        }
        GrpcCode::Ok
        | GrpcCode::Cancelled
        | GrpcCode::DeadlineExceeded
        | GrpcCode::NotFound
        | GrpcCode::AlreadyExists
        | GrpcCode::PermissionDenied
        | GrpcCode::FailedPrecondition
        | GrpcCode::Aborted
        | GrpcCode::Unavailable
        | GrpcCode::DataLoss
        | GrpcCode::Unauthenticated => Failure::new(foreign_reason(&status), told),
    };
    to_status(&failure)
}

/// A message of more bytes than its call takes.
#[must_use]
pub fn message_too_large(limit: usize) -> Failure {
    Failure::new(
        Reason::MessageTooLarge,
        format!(
            "the message has more than the {limit} bytes that this call takes; split it, nothing was done"
        ),
    )
    .with("limit", limit)
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
    fn a_status_of_the_machinery_gets_a_reason_and_ours_keeps_its_own() {
        for (status, reason) in [
            (Status::internal("failed to decode"), Reason::ArgumentInvalid),
            (Status::out_of_range("too long"), Reason::MessageTooLarge),
            (Status::unimplemented(""), Reason::Unimplemented),
            (to_status(&Failure::new(Reason::Internal, "our bug")), Reason::Internal),
        ] {
            let dressed = dress(status);
            assert_eq!(from_status(&dressed).reason, reason);
            assert_eq!(dressed.metadata().get(REASON_TRAILER).unwrap(), reason.as_str());
        }
    }

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
