//! Bulk loads: a stream of batches, each answered in order, over broken connections.
//!
//! Invariant: a batch is sent again only under its own request id, and answers come in the order of
//! the batches.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use crate::model::{Exit, Failure, Reason};
use crate::wire::proto::v1;

use super::convert::commands;
use super::retry::{Pauses, Verdict, judge, outcome_unknown};
use super::types::{Batch, BatchDone, Options};
use super::{Client, bank};

/// Most batches sent and not yet answered.
const WINDOW: usize = 64;

/// The answer to one batch of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submitted {
    /// The batch's place in the stream: 1, 2, 3, ...
    pub number: u64,
    /// Its name.
    pub request_id: String,
    /// What became of it, or why the batch as a whole was not executed; the stream goes on.
    pub outcome: Result<BatchDone, Failure>,
}

/// A stream of batches on its way. Dropping it leaves unanswered batches with an unknown outcome.
#[derive(Debug)]
pub struct Submission<S> {
    client: Client,
    options: Options,
    batches: S,
    exhausted: bool,
    unanswered: VecDeque<v1::SubmitRequest>,
    last_number: u64,
    link: Option<Link>,
    progress: Instant,
    /// Pauses between streams that break before they answer anything.
    pauses: Pauses,
}

#[derive(Debug)]
struct Link {
    requests: mpsc::Sender<v1::SubmitRequest>,
    answers: Streaming<v1::SubmitResponse>,
}

impl Client {
    /// Submits a stream of batches. Of the options only the time counts, here for each answer: every
    /// batch gets a request id of its own.
    pub fn submit<S: Stream<Item = Batch> + Unpin>(&self, batches: S, options: &Options) -> Submission<S> {
        Submission {
            client: self.clone(),
            options: options.clone(),
            batches,
            exhausted: false,
            unanswered: VecDeque::new(),
            last_number: 0,
            link: None,
            progress: Instant::now(),
            pauses: Pauses::default(),
        }
    }
}

/// What [`Submission::next`] waits for.
enum Event {
    Batch(Option<Batch>),
    Answer(v1::SubmitResponse),
    Broken(Option<Verdict>),
    Silence,
}

impl<S: Stream<Item = Batch> + Unpin> Submission<S> {
    /// The answer to the next batch; nothing when all are answered.
    ///
    /// # Errors
    /// When no answer comes within the time of a call: `OUTCOME_UNKNOWN` with the `request_id` of the
    /// first unanswered batch, or why no server could be reached. [`Submission::unanswered`] names
    /// every batch concerned. The submission can be asked again.
    pub async fn next(&mut self) -> Result<Option<Submitted>, Failure> {
        self.progress = Instant::now();
        loop {
            if self.exhausted && self.unanswered.is_empty() {
                return Ok(None);
            }
            match self.event().await? {
                Event::Batch(Some(batch)) => self.send(batch),
                Event::Batch(None) => self.exhausted = true,
                Event::Answer(answer) => return self.answered(answer).map(Some),
                Event::Broken(Some(Verdict::Final(failure))) => {
                    self.link = None;
                    return Err(failure);
                }
                Event::Broken(_) => {
                    self.link = None;
                    let pause = self.pauses.next();
                    if self.progress.elapsed() + pause >= self.timeout() {
                        return Err(self.given_up());
                    }
                    tokio::time::sleep(pause).await;
                }
                Event::Silence => {
                    self.link = None;
                    return Err(self.given_up());
                }
            }
        }
    }

    /// The request ids of the batches that were sent and not answered.
    pub fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.unanswered.iter().map(|request| request.request_id.as_str())
    }

    fn timeout(&self) -> Duration {
        self.options.timeout.unwrap_or(self.client.shared.timeout)
    }

    fn given_up(&self) -> Failure {
        match self.unanswered().next() {
            Some(first) => outcome_unknown(first),
            None => Failure::new(Reason::Unreachable, "the stream broke before a batch was sent; try again"),
        }
    }

    async fn event(&mut self) -> Result<Event, Failure> {
        let end = self.progress + self.timeout();
        let link = match &mut self.link {
            Some(link) => link,
            None => {
                let link = self.open().await?;
                self.link.insert(link)
            }
        };
        let waiting = !self.unanswered.is_empty();
        let room = !self.exhausted && self.unanswered.len() < WINDOW;
        let silence = tokio::time::sleep_until(end.into());
        Ok(tokio::select! {
            biased;
            answer = link.answers.message() => match answer {
                Ok(Some(answer)) => Event::Answer(answer),
                Ok(None) => Event::Broken(None),
                Err(status) => Event::Broken(Some(judge(&status))),
            },
            batch = self.batches.next(), if room => Event::Batch(batch),
            () = silence, if waiting => Event::Silence,
        })
    }

    /// Opens a stream and sends again what is unanswered.
    async fn open(&self) -> Result<Link, Failure> {
        let open = |channel, _| {
            let (requests, outgoing) = mpsc::channel(WINDOW);
            for request in &self.unanswered {
                // The channel is new and as large as the window.
                let _ = requests.try_send(request.clone());
            }
            let request = Request::new(ReceiverStream::new(outgoing));
            async move {
                let answers = bank(channel).submit(request).await?.into_inner();
                Ok(Link { requests, answers })
            }
        };
        let first = self.unanswered.front().map(|request| request.request_id.as_str());
        let link = self.client.attempts(&self.options, first, open).await;
        link.map_err(|failure| match first {
            // What is unanswered was sent before, whatever this attempt says.
            Some(first) if failure.reason.exit() == Exit::TryAgain => outcome_unknown(first),
            Some(_) | None => failure,
        })
    }

    fn send(&mut self, batch: Batch) {
        self.last_number += 1;
        let request = v1::SubmitRequest {
            number: self.last_number,
            atomic: batch.atomic,
            commands: commands(batch),
            request_id: Client::new_request_id(),
        };
        self.unanswered.push_back(request.clone());
        if let Some(link) = &self.link {
            // The channel has room for the whole window; when the stream is broken, its answers say so.
            let _ = link.requests.try_send(request);
        }
    }

    fn answered(&mut self, answer: v1::SubmitResponse) -> Result<Submitted, Failure> {
        self.client.saw(&answer.session_token);
        self.pauses = Pauses::default();
        match self.unanswered.front() {
            Some(first) if first.number == answer.number => {}
            Some(_) | None => {
                self.link = None;
                return Err(Failure::new(
                    Reason::Internal,
                    format!("the server answered batch {} out of turn", answer.number),
                ));
            }
        }
        let request = self.unanswered.pop_front().map(|request| request.request_id).unwrap_or_default();
        Ok(Submitted { number: answer.number, request_id: request, outcome: answer.into() })
    }
}
