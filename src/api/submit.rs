//! Submit: a stream of numbered batches, executed in order and answered in order.
//!
//! Up to [`BATCHES_IN_FLIGHT`] batches of a stream are on their way at once; what comes faster waits in the
//! connection's window. A batch that fails is answered with its error and the stream goes on.

use std::future::{pending, ready};
use std::time::Instant;

use futures::future::{Either, FutureExt as _};
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Status, Streaming};

use super::BankApi;
use super::call::{Call, DEFAULT_DEADLINE, timeout_of};
use super::meter::Rpc;
use crate::model::{Failure, Reason, Sequence, Unavailable};
use crate::store::Runtime;
use crate::wire::proto::v1::{SubmitRequest, SubmitResponse};
use crate::wire::reply::{self, WriteStamp};
use crate::wire::{batch, dress, parse, to_status};

/// Most batches of one stream that are on their way at once.
const BATCHES_IN_FLIGHT: usize = 16;

/// The answers of a stream.
pub(super) type Submitted = BoxStream<'static, Result<SubmitResponse, Status>>;

impl<R: Runtime> BankApi<R> {
    pub(super) fn submit_batches(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Submitted, Failure> {
        let (metadata, _, batches) = request.into_parts();
        let timeout = timeout_of(&metadata)?;
        let ends = timeout.map(|timeout| R::now() + timeout);
        let expired = match timeout {
            Some(timeout) => Either::Left(R::sleep(timeout)),
            None => Either::Right(pending()),
        };
        let closing = self.closing.clone();
        let api = self.clone();
        let mut last = None;
        let answers = batches
            .take_until(self.closing.clone().cancelled_owned())
            .take_until(expired)
            .map(move |batch| match batch {
                Ok(batch) => {
                    let before = last.replace(batch.number);
                    Either::Left(api.clone().answer(batch, before, ends).map(Ok))
                }
                Err(status) => Either::Right(ready(Err(dress(status)))),
            })
            // Futures are first polled in the order of the stream, so batches are handed over in order.
            .buffered(BATCHES_IN_FLIGHT);
        // A stream that the server ends says so, because batches may have been sent that it did not take.
        let ended = stream::once(async move {
            if closing.is_cancelled() {
                Some(Unavailable::Stopping)
            } else {
                ends.filter(|ends| *ends <= R::now()).map(|_| Unavailable::OutcomeUnknown)
            }
        })
        .filter_map(|end| ready(end.map(|unavailable| Err(to_status(&unavailable.into())))));
        Ok(answers.chain(ended).boxed())
    }

    /// The answer to one batch.
    async fn answer(
        self,
        message: SubmitRequest,
        before: Option<u64>,
        ends: Option<R::Instant>,
    ) -> SubmitResponse {
        let began = Instant::now();
        let usual = R::now() + DEFAULT_DEADLINE;
        let mut call = Call::without_session(ends.map_or(usual, |ends| ends.min(usual)));
        let done = self.take_batch(&call, &message, before).await;
        let outcomes = done.as_ref().map_err(Failure::clone).and_then(|done| Ok((done.many()?, done)));
        let end = outcomes.as_ref().err().map(|failure| failure.reason);
        self.meter.count(Rpc::SubmitBatch, began, end);
        match outcomes {
            Ok((outcomes, done)) => {
                let written =
                    WriteStamp { request_id: message.request_id, ..self.written(&mut call, None, done) };
                reply::submitted(message.number, Ok((batch::results(outcomes), done.first)), written)
            }
            Err(failure) => {
                let stamp = call.stamp(&self.lane, Sequence::ZERO);
                let written =
                    WriteStamp { stamp, request_id: message.request_id, replayed: false, applied: None };
                reply::submitted(message.number, Err(&failure), written)
            }
        }
    }

    async fn take_batch(
        &self,
        call: &Call<R>,
        message: &SubmitRequest,
        before: Option<u64>,
    ) -> Result<super::writes::Done, Failure> {
        if let Some(before) = before.filter(|before| message.number <= *before) {
            return Err(Failure::new(
                Reason::ArgumentInvalid,
                format!("batch {} comes after batch {before}; numbers of a stream must grow", message.number),
            )
            .with("before", before)
            .in_field("number"));
        }
        let request = parse::request_id(&message.request_id)?;
        let work = batch::work(message.atomic, &message.commands)?;
        self.execute(call, request, None, work).await
    }
}
