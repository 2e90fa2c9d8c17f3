//! The body of a call on its way in: as many bytes as have come, and no more than the server's budget.
//!
//! The decoder of messages reserves what a header announces as soon as it sees the header. Here a message is refused by
//! what it announces, and kept back until all of it has come, so that an announcement costs nothing.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming};
use tokio::time::{Sleep, sleep};

use super::budget::{Budget, Charge};
use crate::model::limits::{BATCH_COMMANDS, BATCH_MESSAGE_BYTES, UNARY_MESSAGE_BYTES};
use crate::model::{Failure, Reason};
use crate::wire::{batch, message_too_large, to_status};

/// Bytes before each message: whether it is compressed, and its length.
const HEADER: usize = 5;
/// Most parts of a message, of which the commands of a batch are one each: a part of two bytes takes a hundred times
/// as many when it is decoded.
const PARTS: usize = BATCH_COMMANDS + 64;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is known of a call before its message has come.
pub(super) struct Expected {
    /// Most bytes of one message.
    pub(super) limit: usize,
    /// Whether there may be several messages.
    pub(super) many: bool,
    /// How long a message that has begun may take to come, and a call to send its only one.
    pub(super) patience: Duration,
    pub(super) budget: Arc<Budget>,
}

/// The messages of a gRPC call.
pub(super) struct Inbound<B = Incoming> {
    inner: B,
    expected: Expected,
    /// What has come and was not handed on. A copy, because each piece of the connection's buffer keeps all of it.
    held: Vec<u8>,
    charge: Arc<Charge>,
    /// Set while something is waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> Inbound<B> {
    pub(super) fn new(inner: B, expected: Expected) -> Inbound<B> {
        let charge = Charge::new(&expected.budget);
        Inbound { inner, expected, held: Vec::new(), charge, alarm: None }
    }

    /// What the messages of the call take of the budget. That of a single message is held until the charge is dropped,
    /// that of a stream until the message is handed on.
    pub(super) fn charge(&self) -> Arc<Charge> {
        Arc::clone(&self.charge)
    }

    /// Takes bytes that have come; returns what can be handed on.
    fn take(&mut self, data: Bytes, last: bool) -> Result<Option<Bytes>, Failure> {
        let limit = self.expected.limit;
        if !self.expected.many && self.held.len() + data.len() > limit + HEADER {
            return Err(message_too_large(limit));
        }
        self.charge.take(data.len())?;
        // The usual case: one piece of whole messages. A single message is decoded when the call has ended, so that
        // nothing is waited for with the decoded message in memory.
        let usual = self.held.is_empty() && (self.expected.many || last);
        if usual && whole(&data, limit)? == data.len() {
            return Ok(Some(data).filter(|data| !data.is_empty()));
        }
        self.held.extend_from_slice(&data);
        let ready = whole(&self.held, limit)?;
        Ok((ready > 0 && self.expected.many).then(|| {
            let rest = self.held.split_off(ready);
            Bytes::from(mem::replace(&mut self.held, rest))
        }))
    }

    /// What is left when nothing more comes.
    fn finish(&mut self) -> Result<Option<Bytes>, Failure> {
        let held = mem::take(&mut self.held);
        if whole(&held, self.expected.limit)? < held.len() {
            return Err(refused("ended before the message was whole"));
        }
        Ok(Some(Bytes::from(held)).filter(|held| !held.is_empty()))
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.expected.many && self.held.is_empty() {
            return Poll::Pending;
        }
        let patience = self.expected.patience;
        self.alarm.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }

    /// Hands messages on.
    fn hand_on(&mut self, messages: Bytes) -> Frame<Bytes> {
        if self.expected.many {
            self.alarm = None;
            self.charge.give_back();
            // What is held of the next message counts for that. It was within the budget a moment ago.
            let _ = self.charge.take(self.held.len());
        }
        Frame::data(messages)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Inbound<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let error = |failure: &Failure| Poll::Ready(Some(Err(to_status(failure).into())));
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
                ready!(self.poll_late(cx));
                return error(&refused("did not arrive in full in time"));
            };
            let taken = match frame.transpose().map_err(Into::into)? {
                None => match self.finish() {
                    Ok(None) => return Poll::Ready(None),
                    last => last,
                },
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        let last = self.inner.is_end_stream();
                        self.take(data, last)
                    }
                    // Trailers of a request say nothing.
                    Err(_) => Ok(None),
                },
            };
            match taken {
                Ok(Some(messages)) => return Poll::Ready(Some(Ok(self.hand_on(messages)))),
                Ok(None) => {}
                Err(failure) => return error(&failure),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.inner.is_end_stream()
    }
}

/// How many of the bytes are whole messages.
fn whole(bytes: &[u8], limit: usize) -> Result<usize, Failure> {
    let mut whole = 0;
    while let Some([_, length @ ..]) = bytes[whole..].first_chunk::<HEADER>() {
        let announced = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if announced > limit {
            return Err(message_too_large(limit));
        }
        let Some(message) = bytes[whole + HEADER..].get(..announced) else { break };
        // A batch of the usual size is not worth the look.
        if limit == BATCH_MESSAGE_BYTES && announced > UNARY_MESSAGE_BYTES && has_too_many_parts(message) {
            return Err(batch::too_large(format_args!("more than {BATCH_COMMANDS}")));
        }
        whole += HEADER + announced;
    }
    Ok(whole)
}

/// Whether a message has more parts than a batch can have. What cannot be read is left to the decoder.
fn has_too_many_parts(mut message: &[u8]) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    let mut parts = 0;
    while parts <= PARTS && !message.is_empty() {
        let skipped = decode_key(&mut message)
            .and_then(|(tag, kind)| skip_field(kind, tag, &mut message, DecodeContext::default()));
        if skipped.is_err() {
            return false;
        }
        parts += 1;
    }
    parts > PARTS
}

fn refused(how: &str) -> Failure {
    let what = format!("the message of the call {how}, so nothing happened; send it at once");
    Failure::new(Reason::ArgumentInvalid, what)
}

/// The body of a request over HTTP, which counts for the budget as it comes.
pub(super) struct Metered {
    inner: Incoming,
    charge: Arc<Charge>,
}

impl Metered {
    pub(super) fn new(inner: Incoming, charge: Arc<Charge>) -> Metered {
        Metered { inner, charge }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose()?;
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref)
            && let Err(failure) = self.charge.take(data.len())
        {
            return Poll::Ready(Some(Err(to_status(&failure).into())));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use tonic::Status;

    use super::super::budget::Budgets;
    use super::*;
    use crate::wire::from_status;

    /// A body in pieces, of which the end is known with the last one or after it.
    struct Pieces(VecDeque<Bytes>, bool);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }

        fn is_end_stream(&self) -> bool {
            self.1 && self.0.is_empty()
        }
    }

    fn framed(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend((0..length).map(|byte| u8::try_from(byte % 251).unwrap()));
        bytes
    }

    /// What is handed on, one entry for each piece, or why nothing is.
    fn handed_on(bytes: &[u8], piece: usize, many: bool, early: bool) -> Result<Vec<Bytes>, Reason> {
        let pieces = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        let patience = Duration::from_secs(10);
        let expected =
            Expected { limit: 1_000, many, patience, budget: Arc::clone(&Budgets::default().small) };
        let mut body = Inbound::new(Pieces(pieces, early), expected);
        let mut given = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => given.push(frame.into_data().unwrap()),
                Poll::Ready(Some(Err(error))) => {
                    return Err(from_status(error.downcast_ref::<Status>().unwrap()).reason);
                }
                Poll::Ready(None) => return Ok(given),
                Poll::Pending => panic!("pieces are never waited for"),
            }
        }
    }

    #[test]
    fn messages_are_handed_on_when_they_are_whole_however_they_were_cut() {
        let messages: Vec<u8> = [0, 3, 997, 1_000, 1].map(framed).concat();
        for piece in [1, 2, 4, 5, 7, 996, 1_005, 5_000] {
            for early in [false, true] {
                let given = handed_on(&messages, piece, true, early).unwrap();
                assert_eq!(given.concat(), messages, "in pieces of {piece}");
                for part in given {
                    assert_eq!(whole(&part, 1_000), Ok(part.len()), "in pieces of {piece}");
                }
                let one = framed(800);
                assert_eq!(handed_on(&one, piece, false, early), Ok(vec![Bytes::from(one.clone())]));
            }
        }
        assert_eq!(handed_on(&[], 1, false, false), Ok(vec![]));
    }

    #[test]
    fn what_announces_too_much_or_ends_early_is_refused() {
        let too_long = [0, 0, 0, 3, 233];
        for many in [false, true] {
            assert_eq!(handed_on(&too_long, 1, many, false), Err(Reason::MessageTooLarge));
            for length in [1, 4, 5, 700] {
                assert_eq!(handed_on(&framed(700)[..length], 9, many, false), Err(Reason::ArgumentInvalid));
            }
        }
        // A call of one message has no room for a second one.
        let two = [framed(700), framed(700)].concat();
        assert_eq!(handed_on(&two, 10, false, false), Err(Reason::MessageTooLarge));
    }

    #[test]
    fn a_batch_of_too_many_parts_is_refused_before_it_is_decoded() {
        let empty_commands = |count: usize| [0x12, 0].repeat(count);
        assert!(!has_too_many_parts(&empty_commands(BATCH_COMMANDS + 3)));
        assert!(has_too_many_parts(&empty_commands(2_000_000)));
        assert!(!has_too_many_parts(&[0xff; 40]));
    }
}
