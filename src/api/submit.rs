//! Submit: a stream of numbered batches, executed in order and answered in order.
//!
//! Up to [`BATCHES_IN_FLIGHT`] batches of a stream are on their way at once; what comes faster waits in the
//! connection's window. A batch that fails is answered with its error and the stream goes on.

use std::future::{Future, ready};
use std::time::{Duration, Instant};

use futures::future::Either;
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Status, Streaming};

use super::BankApi;
use super::call::{Call, DEFAULT_DEADLINE};
use crate::model::{Failure, Reason, Sequence, Unavailable};
use crate::wire::proto::v1::{SubmitRequest, SubmitResponse};
use crate::wire::reply::{self, WriteStamp};
use crate::wire::{batch, dress, parse, to_status};

/// Most batches of one stream that are on their way at once.
const BATCHES_IN_FLIGHT: usize = 16;

/// The answers of a stream.
pub(super) type Submitted = BoxStream<'static, Result<SubmitResponse, Status>>;

impl BankApi {
    pub(super) fn submit_batches(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Submitted, Failure> {
        let (metadata, _, batches) = request.into_parts();
        let timeout = super::call::timeout_of(&metadata)?;
        let ends = timeout.map(|timeout| Instant::now() + timeout);
        let closing = self.closing.clone();
        let api = self.clone();
        let mut last = None;
        let answers = batches
            .take_until(self.closing.clone().cancelled_owned())
            .take_until(expired(timeout))
            .map(move |batch| match batch {
                Ok(batch) => {
                    let before = last.replace(batch.number);
                    Either::Left(api.clone().answer(batch, before, ends))
                }
                Err(status) => Either::Right(ready(Err(dress(status)))),
            })
            // Futures are first polled in the order of the stream, so batches are handed over in order.
            .buffered(BATCHES_IN_FLIGHT);
        // A stream that the server ends says so, because batches may have been sent that it did not take.
        let ended = stream::once(async move {
            match ends {
                _ if closing.is_cancelled() => Err(to_status(&Unavailable::Stopping.into())),
                Some(ends) if ends <= Instant::now() => Err(to_status(&Unavailable::OutcomeUnknown.into())),
                Some(_) | None => Ok(None),
            }
        })
        .filter_map(|end| ready(end.transpose()));
        Ok(answers.chain(ended).boxed())
    }

    /// The answer to one batch.
    async fn answer(
        self,
        message: SubmitRequest,
        before: Option<u64>,
        ends: Option<Instant>,
    ) -> Result<SubmitResponse, Status> {
        let usual = Instant::now() + DEFAULT_DEADLINE;
        let mut call = Call::without_session(ends.map_or(usual, |ends| ends.min(usual)));
        let done = self.take_batch(&call, &message, before).await;
        let stamped = match &done {
            Ok(done) => self.written(&mut call, None, done),
            Err(_) => WriteStamp {
                stamp: call.stamp(&self.lane, *self.lane.applied().borrow()),
                request_id: String::new(),
                replayed: false,
            },
        };
        let outcome = match &done {
            Ok(done) => done.many().map(|outcomes| (batch::results(outcomes), done.first)),
            Err(failure) => Err(failure.clone()),
        };
        let written = WriteStamp { request_id: message.request_id, ..stamped };
        Ok(reply::submitted(message.number, outcome, written))
    }

    async fn take_batch(
        &self,
        call: &Call,
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
        self.execute(call, request, work).await
    }
}
