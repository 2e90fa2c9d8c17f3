//! The bodies of a call: what comes in is bounded in size and time, what goes out ends when the server does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use crate::model::limits::UNARY_MESSAGE_BYTES;
use crate::model::{Failure, Reason};
use crate::wire::{message_too_large, to_status};

/// Bytes of the frame around a gRPC message.
const MESSAGE_HEADER_BYTES: usize = 5;

/// The message of a call on its way in.
pub(super) struct Inbound {
    inner: Incoming,
    /// Bytes that may still come; no limit for streams and batches, whose messages the decoder bounds.
    left: Option<usize>,
    /// The time that a message has to arrive; none for streams, which are open as long as they like.
    patience: Option<Duration>,
    /// Set only when the message is not there at once.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(inner: Incoming, small: bool, patience: Option<Duration>) -> Inbound {
        let left = small.then_some(UNARY_MESSAGE_BYTES + MESSAGE_HEADER_BYTES);
        Inbound { inner, left, patience, alarm: None }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), Status> {
        let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) else {
            return Ok(());
        };
        *left =
            left.checked_sub(data.len()).ok_or_else(|| to_status(&message_too_large(UNARY_MESSAGE_BYTES)))?;
        Ok(())
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.patience else {
            return Poll::Pending;
        };
        self.alarm.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                Poll::Ready(Some(self.count(&frame).map(|()| frame).map_err(Into::into)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_late(cx).map(|()| Some(Err(to_status(&late()).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn late() -> Failure {
    Failure::new(
        Reason::ArgumentInvalid,
        "the message of the call did not arrive in full before its deadline, so nothing happened; send it at once",
    )
}

/// The answer of a call on its way out.
pub(super) struct Outbound {
    inner: Body,
    /// Held while the call counts as in flight.
    _counted: Option<InFlight>,
    /// For streams that would go on for ever: when to end them.
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Outbound {
    pub(super) fn new(
        inner: Body,
        counted: Option<InFlight>,
        closing: Option<WaitForCancellationFutureOwned>,
    ) -> Outbound {
        Outbound { inner, _counted: counted, closing: closing.map(Box::pin) }
    }
}

impl HttpBody for Outbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        let closed = match &mut self.closing {
            Some(closing) if frame.is_pending() => closing.as_mut().poll(cx).is_ready(),
            Some(_) | None => false,
        };
        if closed { Poll::Ready(None) } else { frame }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// One of the calls that a thread has in flight.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Counts a call, unless there are `limit` already.
    pub(super) fn enter(count: &Arc<AtomicUsize>, limit: usize) -> Option<InFlight> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let entered = InFlight(Arc::clone(count));
        (before < limit).then_some(entered)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
