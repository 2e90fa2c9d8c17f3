//! `bank.peer.v1.TransferService`: messages of other branches over gRPC.
//!
//! Invariant: bytes in, bytes out; nothing is understood here.

use std::time::{Duration, Instant};

use tonic::{Request, Response, Status};

use super::door::TransferDoor;
use super::message::STEPS;
use crate::wire::proto::peer::transfer_service_server::{TransferService, TransferServiceServer};
use crate::wire::proto::peer::{ExchangeRequest, ExchangeResponse};
use crate::wire::to_status;

/// Largest message between branches, in bytes: the most transfers that one may concern take a tenth of it.
pub const EXCHANGE_MESSAGE_BYTES: usize = STEPS * 1024;
/// How long a message may wait for the log here. The branch that sent it asks again.
const ANSWER: Duration = Duration::from_secs(2);

/// The service of a door.
#[must_use]
pub fn transfer_service(door: TransferDoor) -> TransferServiceServer<TransferApi> {
    TransferServiceServer::new(TransferApi(door)).max_decoding_message_size(EXCHANGE_MESSAGE_BYTES)
}

/// `bank.peer.v1.TransferService`. Cheap to clone.
#[derive(Clone)]
pub struct TransferApi(TransferDoor);

#[tonic::async_trait]
impl TransferService for TransferApi {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let message = request.into_inner().message;
        let answer = self.0.answer(&message, Instant::now() + ANSWER).await;
        answer
            .map(|message| Response::new(ExchangeResponse { message }))
            .map_err(|failure| to_status(&failure))
    }
}
