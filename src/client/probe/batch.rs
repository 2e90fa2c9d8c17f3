//! Batches on a probe's connection: encoded while they are put together, one by one or on a stream.

use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tonic::Status;

use crate::client::retry::outcome_unknown;
use crate::client::types::BatchCommand;
use crate::model::{Failure, Reason};
use crate::wire::proto::v1;

use super::{Missed, PREFIX, broken, finished, framed, refused_at_once};

/// A batch, encoded while it is put together.
#[derive(Debug)]
pub struct BatchFrame {
    frame: BytesMut,
    /// Key of a command in the message: the number of its field, with the wire type of a message.
    key: u8,
    pub(super) request_id: String,
}

impl BatchFrame {
    /// A batch for [`super::Probe::execute_batch`].
    #[must_use]
    pub fn execute(request_id: &str) -> BatchFrame {
        let head = v1::ExecuteBatchRequest {
            request_id: request_id.to_owned(),
            ..v1::ExecuteBatchRequest::default()
        };
        BatchFrame::with(&head, 2, request_id)
    }

    /// A batch for [`ProbeStream::send`], with its number in the stream.
    #[must_use]
    pub fn submit(number: u64, request_id: &str) -> BatchFrame {
        let head =
            v1::SubmitRequest { number, request_id: request_id.to_owned(), ..v1::SubmitRequest::default() };
        BatchFrame::with(&head, 3, request_id)
    }

    fn with(head: &impl Message, field: u8, request_id: &str) -> BatchFrame {
        const LENGTH_DELIMITED: u8 = 2;
        BatchFrame {
            frame: BytesMut::from(&framed(head)[..]),
            key: field << 3 | LENGTH_DELIMITED,
            request_id: request_id.to_owned(),
        }
    }

    /// Adds a command.
    pub fn push(&mut self, command: BatchCommand) {
        self.frame.put_u8(self.key);
        v1::BatchCommand::from(command)
            .encode_length_delimited(&mut self.frame)
            .expect("the buffer grows as needed");
    }

    pub(super) fn finish(mut self) -> Bytes {
        let length = u32::try_from(self.frame.len() - PREFIX).expect("a batch is below 4 GiB");
        self.frame[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        self.frame.freeze()
    }
}

/// What became of a batch, as far as a load generator looks.
#[derive(Debug)]
pub struct BatchAnswer {
    /// The batch's number in its stream; 0 outside of one.
    pub number: u64,
    /// For each command the interest added in minor units (0 for other commands), or why it was
    /// refused.
    pub results: Vec<Result<i64, Reason>>,
    /// Why the batch as a whole was not executed.
    pub refused: Option<Missed>,
}

impl From<Executed> for BatchAnswer {
    fn from(reply: Executed) -> BatchAnswer {
        BatchAnswer { number: 0, results: results(reply.results), refused: None }
    }
}

fn results(results: Vec<CommandResult>) -> Vec<Result<i64, Reason>> {
    let reason = |error: &Refusal| Reason::named(&error.reason).unwrap_or(Reason::Internal);
    results
        .into_iter()
        .map(|result| result.error.as_deref().map_or(Ok(result.interest), |error| Err(reason(error))))
        .collect()
}

/// A stream of batches on a probe's connection.
#[derive(Debug)]
pub struct ProbeStream {
    address: String,
    response: Option<ResponseFuture>,
    outgoing: SendStream<Bytes>,
    incoming: Option<RecvStream>,
    buffer: BytesMut,
}

impl ProbeStream {
    pub(super) fn new(address: String, response: ResponseFuture, outgoing: SendStream<Bytes>) -> ProbeStream {
        ProbeStream { address, response: Some(response), outgoing, incoming: None, buffer: BytesMut::new() }
    }

    /// Sends a batch. How many are on their way is the caller's business.
    ///
    /// # Errors
    /// [`Missed::Unknown`] when the stream is broken.
    pub fn send(&mut self, frame: BatchFrame) -> Result<(), Missed> {
        let request_id = frame.request_id.clone();
        self.outgoing
            .send_data(frame.finish(), false)
            .map_err(|error| Missed::from_status(&broken(error), &request_id, &self.address))
    }

    /// The next answer.
    ///
    /// # Errors
    /// [`Missed`] when the stream ends; every unanswered batch has an unknown outcome then.
    pub async fn next(&mut self) -> Result<BatchAnswer, Missed> {
        let address = self.address.clone();
        let message = self.message().await.map_err(|status| Missed::from_status(&status, "", &address))?;
        let reply = Submitted::decode(message).map_err(|_| Missed::Unknown(outcome_unknown("")))?;
        let refused = reply.error.map(|error| {
            let status = crate::wire::to_status(&Failure::from(error));
            Missed::from_status(&status, "", &address)
        });
        Ok(BatchAnswer { number: reply.number, results: results(reply.results), refused })
    }

    async fn message(&mut self) -> Result<Bytes, Status> {
        if let Some(response) = &mut self.response {
            let response = response.await.map_err(broken)?;
            self.response = None;
            refused_at_once(response.headers())?;
            self.incoming = Some(response.into_body());
        }
        let Some(incoming) = &mut self.incoming else {
            return Err(Status::unavailable("the stream has ended"));
        };
        loop {
            if let Some(message) = split_message(&mut self.buffer) {
                return Ok(message);
            }
            match incoming.data().await {
                Some(piece) => {
                    let piece = piece.map_err(broken)?;
                    incoming.flow_control().release_capacity(piece.len()).map_err(broken)?;
                    self.buffer.extend_from_slice(&piece);
                }
                None => {
                    finished(incoming.trailers().await.map_err(broken)?.as_ref())?;
                    return Err(Status::unavailable("the server ended the stream"));
                }
            }
        }
    }
}

/// Takes the first whole message out of a buffer.
fn split_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let prefix: &[u8; PREFIX] = buffer.first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]])).ok()?;
    if buffer.len() < PREFIX + length {
        buffer.reserve(PREFIX + length - buffer.len());
        return None;
    }
    let mut message = buffer.split_to(PREFIX + length);
    message.advance(PREFIX);
    Some(message.freeze())
}

// The replies with the fields that a load generator looks at; decoding skips the others.

#[derive(Clone, PartialEq, Message)]
pub(super) struct Executed {
    #[prost(message, repeated, tag = "1")]
    results: Vec<CommandResult>,
}

#[derive(Clone, PartialEq, Message)]
struct Submitted {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(message, repeated, tag = "2")]
    results: Vec<CommandResult>,
    #[prost(message, optional, tag = "4")]
    error: Option<v1::OperationError>,
}

#[derive(Clone, PartialEq, Message)]
struct CommandResult {
    #[prost(int64, tag = "3")]
    interest: i64,
    #[prost(message, optional, boxed, tag = "5")]
    error: Option<Box<Refusal>>,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(string, tag = "1")]
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_frame_is_the_request_it_stands_for() {
        let commands = [
            BatchCommand::Deposit { account: 7, amount: 125 },
            BatchCommand::Transfer { source: 1, destination: 300, amount: 1 },
        ];
        let mut execute = BatchFrame::execute("id");
        let mut submit = BatchFrame::submit(9, "id");
        for command in commands.clone() {
            execute.push(command.clone());
            submit.push(command);
        }
        let mut bytes = BytesMut::from(&execute.finish()[..]);
        bytes.extend_from_slice(&submit.finish());
        let commands: Vec<_> = commands.into_iter().map(v1::BatchCommand::from).collect();
        let expected = v1::ExecuteBatchRequest {
            commands: commands.clone(),
            request_id: "id".to_owned(),
            ..v1::ExecuteBatchRequest::default()
        };
        let first = split_message(&mut bytes).unwrap();
        assert_eq!(v1::ExecuteBatchRequest::decode(first), Ok(expected));
        let expected = v1::SubmitRequest { number: 9, atomic: false, commands, request_id: "id".to_owned() };
        let second = split_message(&mut bytes).unwrap();
        assert_eq!(v1::SubmitRequest::decode(second), Ok(expected));
        assert_eq!(split_message(&mut bytes), None);
    }

    #[test]
    fn the_short_replies_agree_with_the_contract() {
        let refusal = v1::OperationError { reason: "INSUFFICIENT_FUNDS".to_owned(), ..Default::default() };
        let reply = v1::SubmitResponse {
            number: 3,
            results: vec![
                v1::BatchResult { interest: 12, balance: 5, ..Default::default() },
                v1::BatchResult { error: Some(refusal.clone()), ..Default::default() },
            ],
            error: Some(refusal),
            ..Default::default()
        };
        let short = Submitted::decode(&reply.encode_to_vec()[..]).unwrap();
        assert_eq!((short.number, short.error.is_some()), (3, true));
        let expected = vec![Ok(12), Err(Reason::InsufficientFunds)];
        assert_eq!(results(short.results), expected);
        let reply = v1::ExecuteBatchResponse { results: reply.results, ..Default::default() };
        let short = Executed::decode(&reply.encode_to_vec()[..]).unwrap();
        assert_eq!(results(short.results), expected);
    }
}
