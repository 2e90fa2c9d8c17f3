//! A bare connection for measuring: as little work for each call as HTTP/2 allows, so that a load
//! generator on the server's own machine leaves it the processor.
//!
//! A probe repeats nothing, keeps no session and sets no deadline; everything else is done through
//! [`Client`](super::Client). Its replies are decoded only as far as a load generator looks at them.

mod batch;

use std::future::poll_fn;
use std::sync::Arc;

use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Uri, Version};
use parking_lot::Mutex;
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::model::{Failure, Money, Reason};
use crate::wire::proto::v1;

use super::retry::{Verdict, judge, outcome_unknown, unreachable};
use super::servers::{CONNECT_TIMEOUT, CONNECTION_WINDOW, STREAM_WINDOW, with_port};

use batch::Executed;
pub use batch::{BatchAnswer, BatchFrame, ProbeStream};

/// Before each message of a gRPC stream: a byte that says "not compressed", and the length.
const PREFIX: usize = 5;

/// What a probe may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rpc {
    Check,
    Deposit,
    Withdraw,
    Interest,
    Transfer,
    Balance,
    ExecuteBatch,
    Submit,
}

impl Rpc {
    const ALL: [Rpc; 8] = [
        Rpc::Check,
        Rpc::Deposit,
        Rpc::Withdraw,
        Rpc::Interest,
        Rpc::Transfer,
        Rpc::Balance,
        Rpc::ExecuteBatch,
        Rpc::Submit,
    ];

    fn path(self) -> &'static str {
        match self {
            Rpc::Check => "/grpc.health.v1.Health/Check",
            Rpc::Deposit => "/bank.v1.BankService/DepositAccount",
            Rpc::Withdraw => "/bank.v1.BankService/WithdrawAccount",
            Rpc::Interest => "/bank.v1.BankService/AddInterest",
            Rpc::Transfer => "/bank.v1.BankService/Transfer",
            Rpc::Balance => "/bank.v1.BankService/GetBalance",
            Rpc::ExecuteBatch => "/bank.v1.BankService/ExecuteBatch",
            Rpc::Submit => "/bank.v1.BankService/Submit",
        }
    }
}

/// Why a call of a probe brought no receipt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missed {
    /// The bank refused it.
    Refused(Failure),
    /// Nothing happened; it may work later.
    Later(Failure),
    /// It may have been executed.
    Unknown(Failure),
}

impl Missed {
    fn from_status(status: &Status, request_id: &str, address: &str) -> Missed {
        match judge(status) {
            Verdict::Final(failure) => Missed::Refused(failure),
            Verdict::Later(failure) => Missed::Later(failure),
            Verdict::NotSent(cause) => Missed::Later(unreachable(address, &cause)),
            Verdict::Unheard(_) => Missed::Unknown(outcome_unknown(request_id)),
        }
    }
}

/// One connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Probe {
    shared: Arc<Shared>,
    link: Link,
}

#[derive(Debug)]
struct Shared {
    address: String,
    uris: [Uri; Rpc::ALL.len()],
    headers: HeaderMap,
    current: Mutex<Link>,
}

/// A connection and how many there were before it.
#[derive(Clone, Debug)]
struct Link {
    generation: u64,
    sender: SendRequest<Bytes>,
}

impl Probe {
    /// Connects to a server.
    ///
    /// # Errors
    /// `UNREACHABLE`, or `ARGUMENT_INVALID` when the address is not `HOST:PORT`.
    pub async fn connect(server: &str) -> Result<Probe, Failure> {
        let address = with_port(server);
        super::servers::endpoint(&address)?;
        let uris = Rpc::ALL.map(|rpc| {
            format!("http://{address}{}", rpc.path()).parse().expect("the address was parsed just now")
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let link = Link { generation: 0, sender: dial(&address).await? };
        Ok(Probe {
            shared: Arc::new(Shared { address, uris, headers, current: Mutex::new(link.clone()) }),
            link,
        })
    }

    /// Connects again after a call that missed, unless a clone has done so already.
    ///
    /// # Errors
    /// `UNREACHABLE`.
    pub async fn renew(&mut self) -> Result<(), Failure> {
        let current = self.shared.current.lock().clone();
        if current.generation > self.link.generation {
            self.link = current;
            return Ok(());
        }
        let sender = dial(&self.shared.address).await?;
        let mut current = self.shared.current.lock();
        if current.generation == self.link.generation {
            *current = Link { generation: current.generation + 1, sender };
        }
        self.link = current.clone();
        Ok(())
    }

    /// Asks for the server's health: a call that does nothing.
    ///
    /// # Errors
    /// [`Missed`], never `Refused`.
    pub async fn check(&mut self) -> Result<(), Missed> {
        let mut frame = BytesMut::with_capacity(PREFIX);
        frame.put_bytes(0, PREFIX);
        self.unary(Rpc::Check, frame.freeze(), "").await.map(drop)
    }

    /// Adds money, in minor units; without a request id when the text is empty.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn deposit(&mut self, account: u64, amount: i64, request_id: &str) -> Result<(), Missed> {
        let message = v1::DepositAccountRequest {
            account: account.to_string(),
            amount: money_text(amount),
            request_id: request_id.to_owned(),
            ..v1::DepositAccountRequest::default()
        };
        self.unary(Rpc::Deposit, framed(&message), request_id).await.map(drop)
    }

    /// Takes money, in minor units.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn withdraw(&mut self, account: u64, amount: i64, request_id: &str) -> Result<(), Missed> {
        let message = v1::WithdrawAccountRequest {
            account: account.to_string(),
            amount: money_text(amount),
            request_id: request_id.to_owned(),
            ..v1::WithdrawAccountRequest::default()
        };
        self.unary(Rpc::Withdraw, framed(&message), request_id).await.map(drop)
    }

    /// Adds a percentage of the balance and returns the amount added, in minor units.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn interest(&mut self, account: u64, rate: &str, request_id: &str) -> Result<i64, Missed> {
        let message = v1::AddInterestRequest {
            account: account.to_string(),
            rate: rate.to_owned(),
            request_id: request_id.to_owned(),
            ..v1::AddInterestRequest::default()
        };
        let reply = self.unary(Rpc::Interest, framed(&message), request_id).await?;
        let added = InterestAdded::decode(reply).ok().and_then(|reply| Money::parse(&reply.interest).ok());
        added.map(Money::minor).ok_or_else(|| Missed::Unknown(outcome_unknown(request_id)))
    }

    /// Moves money, in minor units.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn transfer(
        &mut self,
        source: u64,
        destination: u64,
        amount: i64,
        request_id: &str,
    ) -> Result<(), Missed> {
        let message = v1::TransferRequest {
            source: source.to_string(),
            destination: destination.to_string(),
            amount: money_text(amount),
            request_id: request_id.to_owned(),
            ..v1::TransferRequest::default()
        };
        self.unary(Rpc::Transfer, framed(&message), request_id).await.map(drop)
    }

    /// Moves money, in minor units, to an account of another branch.
    ///
    /// # Errors
    /// [`Missed`]; unknown as well when it is not decided in the time of a call.
    pub async fn send_money(
        &mut self,
        source: u64,
        destination: &str,
        amount: i64,
        request_id: &str,
    ) -> Result<(), Missed> {
        let message = v1::TransferRequest {
            source: source.to_string(),
            destination: destination.to_owned(),
            amount: money_text(amount),
            request_id: request_id.to_owned(),
            ..v1::TransferRequest::default()
        };
        let reply = self.unary(Rpc::Transfer, framed(&message), request_id).await?;
        let Ok(reply) = v1::TransferResponse::decode(reply) else {
            return Err(Missed::Unknown(outcome_unknown(request_id)));
        };
        match reply.state() {
            v1::TransferState::Committed => Ok(()),
            v1::TransferState::Aborted => {
                let reason = Reason::named(&reply.reason).unwrap_or(Reason::TransferAborted);
                Err(Missed::Refused(Failure::new(reason, reply.message)))
            }
            v1::TransferState::Pending | v1::TransferState::Unspecified => {
                Err(Missed::Unknown(outcome_unknown(request_id)))
            }
        }
    }

    /// Reads a balance.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn balance(&mut self, account: u64) -> Result<(), Missed> {
        let message =
            v1::GetBalanceRequest { account: account.to_string(), ..v1::GetBalanceRequest::default() };
        self.unary(Rpc::Balance, framed(&message), "").await.map(drop)
    }

    /// Executes a batch prepared by [`BatchFrame::execute`].
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn execute_batch(&mut self, frame: BatchFrame) -> Result<BatchAnswer, Missed> {
        let request_id = frame.request_id.clone();
        let reply = self.unary(Rpc::ExecuteBatch, frame.finish(), &request_id).await?;
        let unreadable = |_| Missed::Unknown(outcome_unknown(&request_id));
        Executed::decode(reply).map(BatchAnswer::from).map_err(unreadable)
    }

    /// Opens a stream of batches.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn submit(&mut self) -> Result<ProbeStream, Missed> {
        let address = &self.shared.address;
        let (response, outgoing) = start(&self.shared, &mut self.link, Rpc::Submit)
            .await
            .map_err(|status| Missed::from_status(&status, "", address))?;
        Ok(ProbeStream::new(address.clone(), response, outgoing))
    }

    async fn unary(&mut self, rpc: Rpc, frame: Bytes, request_id: &str) -> Result<Bytes, Missed> {
        self.exchange(rpc, frame)
            .await
            .map_err(|status| Missed::from_status(&status, request_id, &self.shared.address))
    }

    async fn exchange(&mut self, rpc: Rpc, frame: Bytes) -> Result<Bytes, Status> {
        let (response, mut outgoing) = start(&self.shared, &mut self.link, rpc).await?;
        outgoing.send_data(frame, true).map_err(broken)?;
        let response = response.await.map_err(broken)?;
        refused_at_once(response.headers())?;
        let mut body = response.into_body();
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(broken)?;
            body.flow_control().release_capacity(piece.len()).map_err(broken)?;
            if first.is_empty() {
                first = piece;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&piece);
            }
        }
        finished(body.trailers().await.map_err(broken)?.as_ref())?;
        let mut reply = if rest.is_empty() { first } else { rest.freeze() };
        if reply.len() < PREFIX {
            return Err(Status::unknown("the reply is cut off"));
        }
        reply.advance(PREFIX);
        Ok(reply)
    }
}

async fn dial(address: &str) -> Result<SendRequest<Bytes>, Failure> {
    let failed = |cause: &dyn std::fmt::Display| unreachable(address, &cause.to_string());
    let handshake = async {
        let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(|error| failed(&error))
    };
    let (sender, connection) = tokio::time::timeout(CONNECT_TIMEOUT, handshake)
        .await
        .map_err(|_| failed(&"no connection in time"))??;
    // The connection's own error reaches every call on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn start(
    shared: &Shared,
    link: &mut Link,
    rpc: Rpc,
) -> Result<(ResponseFuture, SendStream<Bytes>), Status> {
    poll_fn(|cx| link.sender.poll_ready(cx)).await.map_err(broken)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = shared.uris[rpc as usize].clone();
    *request.headers_mut() = shared.headers.clone();
    link.sender.send_request(request, false).map_err(broken)
}

/// Whatever breaks below gRPC leaves the outcome open.
fn broken(error: h2::Error) -> Status {
    Status::unavailable(error.to_string())
}

/// A refusal comes without a body, its status among the headers.
fn refused_at_once(headers: &HeaderMap) -> Result<(), Status> {
    finished(Some(headers).filter(|headers| headers.contains_key("grpc-status")))
}

/// The status that ends a call.
fn finished(trailers: Option<&HeaderMap>) -> Result<(), Status> {
    match trailers.map(Status::from_header_map) {
        Some(Some(status)) if status.code() != Code::Ok => Err(status),
        Some(_) | None => Ok(()),
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("a message of single fields is short"));
    message.encode(&mut frame).expect("the buffer has room for the message");
    frame.freeze()
}

fn money_text(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// The reply to interest, as far as a load generator looks at it; decoding skips the rest.
#[derive(Clone, PartialEq, Message)]
struct InterestAdded {
    #[prost(string, tag = "3")]
    interest: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_reply_agrees_with_the_contract() {
        let reply = v1::AddInterestResponse { interest: "0.12".to_owned(), ..Default::default() };
        assert_eq!(InterestAdded::decode(&reply.encode_to_vec()[..]).unwrap().interest, "0.12");
    }

    #[test]
    fn minor_units_are_written_as_money() {
        for (minor, text) in [(1, "0.01"), (100, "1.00"), (12_345, "123.45")] {
            assert_eq!(money_text(minor), text);
            assert_eq!(Money::parse(text).unwrap().minor(), minor);
        }
    }
}
