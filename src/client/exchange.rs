//! What one branch says to another: bytes in, bytes out, at whichever of its servers answers.

use std::sync::Arc;

use tonic::transport::Channel;

use crate::model::Failure;
use crate::wire::proto::peer::ExchangeRequest;
use crate::wire::proto::peer::transfer_service_client::TransferServiceClient;

use super::types::Options;
use super::{Client, REPLY_BYTES};

impl Client {
    /// Carries a message to another branch and brings its answer. Messages between branches may arrive twice, so
    /// an attempt that was not heard of is repeated at the next server.
    ///
    /// # Errors
    /// The refusal of the branch, or why none of its servers answered in time.
    pub async fn exchange(&self, message: Vec<u8>, options: &Options) -> Result<Vec<u8>, Failure> {
        let message = Arc::new(message);
        let attempt = |channel: Channel, limit| {
            let request = self.request(ExchangeRequest { message: Vec::clone(&message) }, limit);
            let mut client = TransferServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES);
            async move { client.exchange(request).await }
        };
        self.attempts(options, None, attempt).await.map(|answer| answer.into_inner().message)
    }
}
