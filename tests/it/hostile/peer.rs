//! A replica that lies: its messages are built here, byte by byte as real ones are.

use std::collections::BTreeMap;

use bank::wire::proto::peer::peer_service_client::PeerServiceClient;
use bank::wire::proto::peer::{CallRequest, StreamRequest};
use serde::Serialize;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::channel;

/// Version of the messages between replicas.
const VERSION: u8 = 1;
/// The places of questions in their enumeration.
pub(super) mod ask {
    pub(in super::super) const HELLO: u32 = 0;
    pub(in super::super) const APPEND: u32 = 1;
    pub(in super::super) const VOTE: u32 = 2;
    pub(in super::super) const PRE_VOTE: u32 = 3;
    pub(in super::super) const TRANSFER_LEADER: u32 = 4;
    pub(in super::super) const APPEND_STREAM: u32 = 5;
    pub(in super::super) const PROPOSE: u32 = 6;
    pub(in super::super) const SNAPSHOT: u32 = 9;
    pub(in super::super) const JOURNAL: u32 = 10;
}

/// The header of a message.
#[derive(Clone, Serialize)]
pub(super) struct Header {
    pub(super) branch: String,
    pub(super) ledger: Option<[u8; 16]>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) life: Option<[u8; 16]>,
}

/// A term and the replica that leads in it.
pub(super) type Leader = (u64, u64);
/// A leader and an index.
pub(super) type LogId = (Leader, u64);
/// A leader and whether it was elected.
pub(super) type Vote = (Leader, bool);

/// A connection to a server.
pub(super) struct Peer(PeerServiceClient<Channel>);

/// The bytes of a question.
pub(super) fn message(header: &Header, ask: u32, content: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for part in [postcard::to_allocvec(header), postcard::to_allocvec(&ask), postcard::to_allocvec(content)] {
        bytes.extend(part.unwrap());
    }
    bytes
}

/// The bytes of a part of a stream.
pub(super) fn part(content: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(content, vec![VERSION]).unwrap()
}

/// Whether an answer is a refusal: the first of the answers.
pub(super) fn is_refusal(answer: &[u8]) -> bool {
    answer.starts_with(&[VERSION, 0])
}

impl Peer {
    pub(super) async fn at(address: std::net::SocketAddr) -> Peer {
        Peer(PeerServiceClient::new(channel(address).await))
    }

    pub(super) async fn call(&mut self, message: Vec<u8>) -> Result<Vec<u8>, Code> {
        let answer = self.0.call(CallRequest { message }).await;
        answer.map(|answer| answer.into_inner().message).map_err(|status| status.code())
    }

    /// Sends a stream and returns the last answer.
    pub(super) async fn stream(&mut self, messages: Vec<Vec<u8>>) -> Vec<u8> {
        let requests = messages.into_iter().map(|message| StreamRequest { message });
        let mut answers = self.0.stream(futures::stream::iter(requests)).await.unwrap().into_inner();
        let mut last = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            last = answer.message;
        }
        last
    }

    /// Which life of its log a replica has: it tells that everybody who asks.
    pub(super) async fn life(&mut self, header: &Header) -> [u8; 16] {
        let hello = Header { life: None, ..header.clone() };
        let answer = self.call(message(&hello, ask::HELLO, &())).await.unwrap();
        assert!(!is_refusal(&answer));
        answer[2..18].try_into().unwrap()
    }
}

/// The members as they stand in a log entry or snapshot.
pub(super) type Members = (Vec<Vec<u64>>, BTreeMap<u64, (String, [u8; 16])>);
