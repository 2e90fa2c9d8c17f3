//! The answer of a call: it holds what the call holds while it is sent, and ends when the server does.
//!
//! It is handed to the connection in small pieces, so that what nobody reads stays here, where it is counted, and not in
//! the connection's buffers.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::HeaderMap;
use parking_lot::Mutex;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use super::budget::{Budget, Charge};
use super::callers::Taken;
use crate::wire::to_status;

/// Most bytes that are handed to the connection before it asks for more.
const PIECE: usize = 16 * 1_024;

/// What an answer holds until it is sent.
#[derive(Default)]
pub(super) struct Holds {
    /// Its place among the calls in flight.
    #[expect(dead_code, reason = "held, never looked at")]
    pub(super) counted: Option<InFlight>,
    /// What the message of the call takes.
    #[expect(dead_code, reason = "held, never looked at")]
    pub(super) message: Option<Arc<Charge>>,
    /// Its place among the streams of its caller.
    #[expect(dead_code, reason = "held, never looked at")]
    pub(super) stream: Option<Taken>,
    /// What it is charged with when it is large; without one it is sent whatever its size.
    pub(super) budget: Option<Arc<Budget>>,
    /// Whether a refusal can follow what was sent, in trailers.
    pub(super) trailers: bool,
    /// Where it says that it waits for its reader.
    pub(super) readers: Option<Arc<Readers>>,
}

/// The answer of a call on its way out.
pub(super) struct Outbound {
    inner: Body,
    holds: Holds,
    /// What was made and not handed on.
    rest: Bytes,
    charge: Option<Arc<Charge>>,
    /// Set while the connection has a piece and has not asked for more.
    waits: Option<u64>,
    /// For streams that would go on for ever: when to end them.
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    ended: bool,
}

impl Outbound {
    pub(super) fn new(
        inner: Body,
        holds: Holds,
        closing: Option<WaitForCancellationFutureOwned>,
    ) -> Outbound {
        let closing = closing.map(Box::pin);
        Outbound { inner, holds, rest: Bytes::new(), charge: None, waits: None, closing, ended: false }
    }

    /// Hands on the next piece of the rest.
    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        self.waits = self.holds.readers.as_ref().map(|readers| readers.begin());
        Frame::data(piece)
    }

    /// Takes what was made; why not, when all large answers together would be too large.
    fn take(&mut self, data: Bytes) -> Result<(), Status> {
        if let Some(budget) = self.holds.budget.as_ref().filter(|_| data.len() > PIECE) {
            let charge = Charge::new(budget);
            charge.take(data.len()).map_err(|failure| to_status(&failure))?;
            self.charge = Some(charge);
        }
        self.rest = data;
        Ok(())
    }

    fn refuse(&mut self, status: Status) -> Result<Frame<Bytes>, Status> {
        self.ended = true;
        if !self.holds.trailers {
            return Err(status);
        }
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }

    fn note_read(&mut self) {
        if let (Some(readers), Some(wait)) = (&self.holds.readers, self.waits.take()) {
            readers.end(wait);
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.note_read();
    }
}

impl HttpBody for Outbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.note_read();
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        self.charge = None;
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match frame {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Poll::Ready(Some(match self.take(data) {
                    Ok(()) => Ok(self.piece()),
                    Err(status) => self.refuse(status),
                })),
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            Poll::Pending => match &mut self.closing {
                Some(closing) => closing.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            },
            Poll::Ready(end) => Poll::Ready(end),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // Only asked before the first piece, to tell the length of the whole.
        if self.rest.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

/// The answers of a connection that wait for their reader.
#[derive(Debug, Default)]
pub(super) struct Readers {
    next: AtomicU64,
    /// Since when, by number. No more than the connection has streams.
    waiting: Mutex<HashMap<u64, Instant>>,
}

impl Readers {
    fn begin(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(number, Instant::now());
        number
    }

    fn end(&self, number: u64) {
        self.waiting.lock().remove(&number);
    }

    /// Returns when an answer was not read for `patience`.
    pub(super) async fn give_up(&self, patience: Duration) {
        loop {
            // Often enough that nobody waits for much longer.
            tokio::time::sleep(patience / 4).await;
            if self.waiting.lock().values().any(|since| since.elapsed() >= patience) {
                return;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::budget::Budgets;
    use super::*;
    use crate::model::Reason;
    use crate::wire::from_status;

    fn outbound(bytes: usize, budgets: &Budgets, readers: &Arc<Readers>) -> Outbound {
        let holds = Holds {
            budget: Some(Arc::clone(&budgets.answers)),
            trailers: true,
            readers: Some(Arc::clone(readers)),
            ..Holds::default()
        };
        Outbound::new(Body::new(axum::body::Body::from(vec![7; bytes])), holds, None)
    }

    fn next(body: &mut Outbound) -> Option<Frame<Bytes>> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.map(Result::unwrap),
            Poll::Pending => panic!("the answer is there"),
        }
    }

    #[test]
    fn an_answer_is_handed_on_in_pieces_and_waits_for_its_reader_between_them() {
        let (budgets, readers) = (Budgets::default(), Arc::<Readers>::default());
        let mut body = outbound(2 * PIECE + 5, &budgets, &readers);
        for piece in [PIECE, PIECE, 5] {
            assert_eq!(next(&mut body).unwrap().into_data().unwrap().len(), piece);
            assert_eq!(readers.waiting.lock().len(), 1);
        }
        assert!(next(&mut body).is_none());
        assert!(readers.waiting.lock().is_empty());
        let mut abandoned = outbound(5, &budgets, &readers);
        assert!(next(&mut abandoned).is_some() && readers.waiting.lock().len() == 1);
        drop(abandoned);
        assert!(readers.waiting.lock().is_empty());
    }

    #[test]
    fn large_answers_beyond_the_budget_are_refused_and_small_ones_are_not() {
        let (budgets, readers) = (Budgets::default(), Arc::<Readers>::default());
        let large = 10 << 20;
        let mut unread: Vec<_> = (0..6).map(|_| outbound(large, &budgets, &readers)).collect();
        unread.iter_mut().for_each(|body| assert!(next(body).unwrap().is_data()));
        let mut refused = outbound(large, &budgets, &readers);
        let trailers = next(&mut refused).unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(from_status(&status).reason, Reason::Overloaded);
        assert!(next(&mut refused).is_none());
        assert!(next(&mut outbound(PIECE, &budgets, &readers)).unwrap().is_data());
        drop(unread);
        assert!(next(&mut outbound(large, &budgets, &readers)).unwrap().is_data());
    }
}
