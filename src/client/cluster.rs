//! The calls of operators: how the replicas of a branch are, and which belong to it.

use tonic::transport::Channel;

use crate::model::Failure;
use crate::wire::proto::v1;
use crate::wire::proto::v1::cluster_service_client::ClusterServiceClient;

use super::Client;
use super::types::{Audit, BranchStatus, Options, ReplicaRole, ReplicaStatus, Transfer};

/// Makes a call of the cluster service.
macro_rules! cluster {
    ($client:ident, $options:ident, $rpc:ident, $message:expr) => {
        $client
            .attempts($options, None, |channel: Channel, limit| async move {
                let request = $client.request($message, limit);
                ClusterServiceClient::new(channel).$rpc(request).await
            })
            .await
            .map(tonic::Response::into_inner)
    };
}

/// A change may fail with `CHANGE_REFUSED`, which says why, and with any reason of the catalogue that
/// says that nothing happened or that the outcome is unknown; then the status tells.
impl Client {
    /// Asks how the replicas of the branch are.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn branch_status(&self, options: &Options) -> Result<BranchStatus, Failure> {
        cluster!(self, options, get_status, v1::GetStatusRequest {}).map(Into::into)
    }

    /// Lets a new replica follow the log, without a vote.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn add_replica(&self, id: u64, address: &str, options: &Options) -> Result<(), Failure> {
        cluster!(self, options, add_replica, v1::AddReplicaRequest { id, address: address.to_owned() })
            .map(drop)
    }

    /// Gives a replica that follows a vote.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn promote_replica(&self, id: u64, options: &Options) -> Result<(), Failure> {
        cluster!(self, options, promote_replica, v1::PromoteReplicaRequest { id }).map(drop)
    }

    /// Takes a replica out of the branch; unless `lose_history`, only when the others have the history that it has.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn remove_replica(
        &self,
        id: u64,
        lose_history: bool,
        options: &Options,
    ) -> Result<(), Failure> {
        cluster!(self, options, remove_replica, v1::RemoveReplicaRequest { id, lose_history }).map(drop)
    }

    /// Lets another replica lead; the one that is furthest when none is named.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn transfer_leadership(&self, to: Option<u64>, options: &Options) -> Result<(), Failure> {
        let id = to.unwrap_or(0);
        cluster!(self, options, transfer_leadership, v1::TransferLeadershipRequest { id }).map(drop)
    }

    /// Aborts a transfer that is not decided.
    ///
    /// # Errors
    /// See [`Client`]; `TRANSFER_FINAL` when it is decided, `TRANSFER_NOT_FOUND` when there is none.
    pub async fn abort_transfer(&self, transfer: &str, options: &Options) -> Result<Transfer, Failure> {
        let resolution = v1::TransferResolution::Abort.into();
        let request_id = options.request_id.clone().unwrap_or_else(Client::new_request_id);
        let message = v1::ResolveTransferRequest {
            transfer: transfer.to_owned(),
            resolution,
            request_id: request_id.clone(),
        };
        let attempt = |channel: Channel, limit| {
            let request = self.request(message.clone(), limit);
            async move { ClusterServiceClient::new(channel).resolve_transfer(request).await }
        };
        let reply = self.attempts(options, Some(&request_id), attempt).await?.into_inner();
        Ok(reply.transfer.unwrap_or_default().into())
    }

    /// Adds up the books of the branch.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn audit(&self, options: &Options) -> Result<Audit, Failure> {
        cluster!(self, options, get_audit, v1::GetAuditRequest {}).map(Into::into)
    }
}

impl From<v1::GetStatusResponse> for BranchStatus {
    fn from(reply: v1::GetStatusResponse) -> BranchStatus {
        BranchStatus {
            branch: reply.branch,
            ledger: reply.ledger,
            replica: reply.replica,
            leader: (reply.leader > 0).then_some(reply.leader),
            replicas: reply.replicas.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::ReplicaStatus> for ReplicaStatus {
    fn from(replica: v1::ReplicaStatus) -> ReplicaStatus {
        let role = match replica.role() {
            v1::ReplicaRole::Leader => ReplicaRole::Leader,
            v1::ReplicaRole::Follower => ReplicaRole::Follower,
            v1::ReplicaRole::Candidate => ReplicaRole::Candidate,
            v1::ReplicaRole::Learner => ReplicaRole::Learner,
            v1::ReplicaRole::Stopped => ReplicaRole::Stopped,
            v1::ReplicaRole::Removed => ReplicaRole::Removed,
            v1::ReplicaRole::Unreachable => ReplicaRole::Unreachable,
            v1::ReplicaRole::Unspecified => ReplicaRole::Unknown,
        };
        ReplicaStatus {
            id: replica.id,
            address: replica.address,
            role,
            voter: replica.voter,
            term: replica.term,
            log_index: replica.log_index,
            committed_index: replica.committed_index,
            applied_index: replica.applied_index,
            sequence: replica.sequence,
            digest: replica.digest,
            lag: replica.lag,
        }
    }
}
