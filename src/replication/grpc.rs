//! Messages between replicas over gRPC: `bank.peer.v1.PeerService` and its client.
//!
//! Invariant: bytes in, bytes out; nothing is understood here. `server` puts the service beside the
//! public ones, on the same port, and gives the transport to the branch.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use tonic::transport::{Channel, Endpoint};
use tonic::{ConnectError, Request, Response, Status, Streaming};

use super::transport::{Answers, Door, Link, Lost, Transport};
use crate::wire::proto::peer::peer_service_client::PeerServiceClient;
use crate::wire::proto::peer::peer_service_server::{PeerService, PeerServiceServer};
use crate::wire::proto::peer::{CallRequest, CallResponse, StreamRequest, StreamResponse};

/// Largest message between replicas, in bytes: the largest batch a client can bring in, and more than what
/// one replication message is filled up to.
pub const PEER_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// After this much silence a peer is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// How long it has to say so. A partition may keep a connection open; this closes it.
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(2);
/// Bytes that a stream may be ahead of its reader.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes that a connection may be ahead of its reader.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The way to peers over gRPC. Links must be made and used on a tokio runtime.
pub struct GrpcTransport;

impl Transport for GrpcTransport {
    fn link(&self, address: &str) -> Box<dyn Link> {
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else {
            return Box::new(NoAddress(address.to_owned()));
        };
        let channel = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_lazy();
        let client = PeerServiceClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_BYTES);
        Box::new(GrpcLink(client))
    }
}

struct GrpcLink(PeerServiceClient<Channel>);

impl Link for GrpcLink {
    fn call(&self, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Lost>> {
        let mut client = self.0.clone();
        Box::pin(async move {
            let answer = client.call(CallRequest { message }).await;
            answer.map(|answer| answer.into_inner().message).map_err(lost)
        })
    }

    fn stream(&self, messages: BoxStream<'static, Vec<u8>>) -> BoxFuture<'static, Result<Answers, Lost>> {
        let mut client = self.0.clone();
        Box::pin(async move {
            let answers = client.stream(Requests(messages)).await.map_err(lost)?.into_inner();
            let answers: Answers = answers.map(to_message).boxed();
            Ok(answers)
        })
    }
}

/// What is no address cannot be reached.
struct NoAddress(String);

impl NoAddress {
    fn lost(&self) -> Lost {
        Lost { sent: false, why: format!("{:?} is not an address", self.0) }
    }
}

impl Link for NoAddress {
    fn call(&self, _message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Lost>> {
        Box::pin(std::future::ready(Err(self.lost())))
    }

    fn stream(&self, _messages: BoxStream<'static, Vec<u8>>) -> BoxFuture<'static, Result<Answers, Lost>> {
        Box::pin(std::future::ready(Err(self.lost())))
    }
}

/// The messages of a stream as requests. A type of its own, because the compiler cannot see through a mapped
/// boxed stream in the client's future.
struct Requests(BoxStream<'static, Vec<u8>>);

impl Stream for Requests {
    type Item = StreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<StreamRequest>> {
        self.0.poll_next_unpin(context).map(|message| message.map(|message| StreamRequest { message }))
    }
}

fn to_message(answer: Result<StreamResponse, Status>) -> Result<Vec<u8>, Lost> {
    answer.map(|answer| answer.message).map_err(lost)
}

fn lost(status: Status) -> Lost {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return Lost { sent: false, why: error.to_string() };
        }
        source = error.source();
    }
    Lost { sent: true, why: status.to_string() }
}

/// The service of a replica's door.
#[must_use]
pub fn peer_service(door: Arc<dyn Door>) -> PeerServiceServer<PeerApi> {
    PeerServiceServer::new(PeerApi(door))
        .max_decoding_message_size(PEER_MESSAGE_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_BYTES)
}

/// `bank.peer.v1.PeerService`.
pub struct PeerApi(Arc<dyn Door>);

#[tonic::async_trait]
impl PeerService for PeerApi {
    type StreamStream = BoxStream<'static, Result<StreamResponse, Status>>;

    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        let message = self.0.call(request.into_inner().message).await;
        Ok(Response::new(CallResponse { message }))
    }

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        // A stream that breaks has ended; the door cannot tell the difference and need not.
        let messages = stream::unfold(request.into_inner(), |mut requests| async move {
            let request = requests.message().await.ok().flatten()?;
            Some((request.message, requests))
        });
        let answers = self.0.stream(messages.boxed());
        Ok(Response::new(answers.map(|message| Ok(StreamResponse { message })).boxed()))
    }
}
