//! Messages of other branches that arrive at a replica which does not lead.
//!
//! Invariant: the steps of transfers between branches enter the log through the leader's own hands only, so such a message
//! is passed on to it as it came, and the leader itself asks the other branch what is true. What is in the messages is
//! known above this room, where those are answered that [`Branch::exchanges`] gives out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::branch::{Branch, Replica};
use super::lane::{Lane, RETRY_AFTER};
use super::message::{Answer, Ask, Refusal};
use super::outlook::Leader;
use super::peers::Trouble;
use crate::model::{Failure, Reason, Unavailable};
use crate::store::Runtime;

/// Most messages of other branches that wait at a leader to be taken up.
pub(super) const WAITING_EXCHANGES: usize = 64;

/// A message of another branch that another replica has passed on.
pub struct Exchange {
    /// The message.
    pub message: Vec<u8>,
    /// How long whoever sent it still waits.
    pub patience: Duration,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Vec<u8>, Failure>>,
}

/// A failure on its way between replicas.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Why {
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
}

impl From<Failure> for Why {
    fn from(failure: Failure) -> Why {
        let Failure { reason, message, metadata, .. } = failure;
        Why { reason: reason.as_str().to_owned(), message, metadata }
    }
}

impl From<Why> for Failure {
    fn from(why: Why) -> Failure {
        let reason = Reason::named(&why.reason).unwrap_or(Reason::Internal);
        Failure { metadata: why.metadata, ..Failure::new(reason, why.message) }
    }
}

impl<R: Runtime> Branch<R> {
    /// What other replicas pass on while this one leads. There is one who takes it; later ones get none.
    #[must_use]
    pub fn exchanges(&self) -> Option<mpsc::Receiver<Exchange>> {
        self.replica.exchanges.1.lock().take()
    }
}

impl<R: Runtime> Replica<R> {
    /// Has a message answered here. Only by the leader: one hop, never two.
    pub(super) async fn exchanged_here(
        &self,
        message: Vec<u8>,
        patience: Duration,
    ) -> Result<Result<Vec<u8>, Why>, Refusal> {
        if self.outlook.leader() != Leader::Here {
            return Err(Refusal::NotLeader);
        }
        let (answer, answered) = oneshot::channel();
        let busy = || Refusal::Unavailable(Unavailable::Overloaded { retry_after: RETRY_AFTER });
        self.exchanges.0.try_send(Exchange { message, patience, answer }).map_err(|_| busy())?;
        let answer = R::timeout(patience, answered).await.and_then(Result::ok).ok_or_else(busy)?;
        Ok(answer.map_err(Why::from))
    }
}

impl<R: Runtime> Lane<R> {
    /// Has the leader answer a message of another branch. None when this replica leads and is to answer itself.
    pub async fn exchanged_at_leader(
        &self,
        message: &[u8],
        deadline: R::Instant,
    ) -> Option<Result<Vec<u8>, Failure>> {
        let replica = self.shared();
        let (leader, member) = match replica.outlook.leader() {
            Leader::Here => return None,
            Leader::Peer(leader, member) => (leader, member),
            Leader::Unknown => return Some(Err(replica.outlook.of_writes().into())),
            Leader::Stopped => return Some(Err(Unavailable::Stopping.into())),
        };
        let passed_on = std::sync::Arc::clone(replica);
        let message = message.to_vec();
        let answer = replica.at_home(async move {
            let patience = R::left(deadline);
            let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
            let ask = Ask::Exchange { millis, message };
            passed_on.outlook.ask_leader(leader, &member, patience, ask).await
        });
        let refusal = |unavailable: Unavailable| Some(Err(unavailable.into()));
        match answer.await {
            Some(Ok(Answer::Exchanged(answer))) => Some(answer.map_err(Failure::from)),
            Some(Err(Trouble::Refused(Refusal::Unavailable(unavailable)))) => refusal(unavailable),
            Some(Ok(_) | Err(_)) => refusal(Unavailable::NoLeader),
            None => refusal(Unavailable::Overloaded { retry_after: RETRY_AFTER }),
        }
    }
}
