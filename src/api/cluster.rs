//! `bank.v1.ClusterService`: what operators ask and change.

use std::time::Instant;

use tonic::{Request, Response, Status};

use super::House;
use super::audit::audit;
use super::call::{DEFAULT_DEADLINE, timeout_of};
use super::transfer_history as history;
use crate::client::Options;
use crate::model::{AbortReason, Failure, Reason, Rejection, ReplicaId, RequestId};
use crate::replication::{Branch, Change, ChangeError, ReadPoint};
use crate::transfer::{TransferShown, TransferState};
use crate::wire::page::Query;
use crate::wire::proto::v1;
use crate::wire::proto::v1::cluster_service_server::ClusterService;
use crate::wire::proto::v1::{
    AddReplicaRequest, AddReplicaResponse, GetStatusRequest, GetStatusResponse, ListTraceEventsRequest,
    ListTraceEventsResponse, PromoteReplicaRequest, PromoteReplicaResponse, RemoveReplicaRequest,
    RemoveReplicaResponse, TransferLeadershipRequest, TransferLeadershipResponse,
};
use crate::wire::{cluster, parse, to_status};

/// `bank.v1.ClusterService` of one replica. Cheap to clone.
#[derive(Clone)]
pub struct ClusterApi {
    branch: Branch,
    house: House,
}

impl ClusterApi {
    /// The service of a replica.
    #[must_use]
    pub fn new(branch: Branch, house: House) -> ClusterApi {
        ClusterApi { branch, house }
    }

    /// Aborts a transfer, here or at the branch that pays it.
    async fn abort(
        &self,
        text: &str,
        request: Option<RequestId>,
        deadline: Instant,
    ) -> Result<v1::TransferInfo, Failure> {
        let House { lane, transfers, ways, clock, .. } = &self.house;
        let id = parse::transfer_id(lane.branch(), text)?;
        if id.branch != *lane.branch() {
            let timeout = Some(deadline.saturating_duration_since(Instant::now()));
            let request_id = request.as_ref().map(ToString::to_string);
            let options = Options { timeout, request_id, ..Options::default() };
            let client = ways.client(&id.branch).map_err(|failure| failure.in_field("transfer"))?;
            return client.abort_transfer(&id.to_string(), &options).await.map(history::of_client);
        }
        let told = |shown: &TransferShown| history::shown(lane.branch(), shown, Some(clock()));
        match transfers.abort(id.number, request, deadline).await {
            Ok(shown) => Ok(told(&shown)),
            Err(failure) if matches!(failure.reason, Reason::TransferFinal | Reason::TransferNotFound) => {
                // One that is closed is final too; and who asks again after an answer was lost has what was asked for.
                let shown = transfers.show(id.number, ReadPoint::Latest, deadline).await?;
                match &shown.state {
                    TransferState::Aborted(AbortReason::Operator) => Ok(told(&shown)),
                    TransferState::Pending => Err(failure),
                    state @ (TransferState::Committed | TransferState::Aborted(_)) => {
                        let committed = *state == TransferState::Committed;
                        Err(Failure::from(&Rejection::TransferFinal { number: id.number, committed }))
                    }
                }
            }
            Err(failure) => Err(failure),
        }
    }

    fn trace_events(&self, message: &ListTraceEventsRequest) -> Result<ListTraceEventsResponse, Failure> {
        let replica = self.branch.replica().0;
        let size = parse::page_size(message.page_size)?;
        let Some(tracer) = self.branch.tracer() else {
            return Ok(ListTraceEventsResponse { replica, ..ListTraceEventsResponse::default() });
        };
        let prefix = message.name_prefix.as_str();
        let ledger = self.branch.ledger()?;
        let query = Query { call: "ListTraceEvents", ledger, fields: (replica, prefix) };
        let slice = tracer.list(prefix, query.place(&message.page_token)?.unwrap_or(0), size);
        Ok(ListTraceEventsResponse {
            replica,
            recording: true,
            events: slice.events.iter().map(cluster::trace_event).collect(),
            next_page_token: slice.next.map(|next| query.token(&next)).unwrap_or_default(),
        })
    }

    /// Makes a change, though its caller goes away.
    async fn change<Q>(
        &self,
        request: Request<Q>,
        change: impl FnOnce(Q) -> Result<Change, Failure>,
    ) -> Result<(), Status> {
        let timeout = timeout_of(request.metadata()).map_err(|failure| to_status(&failure))?;
        let deadline = Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE);
        let change = change(request.into_inner()).map_err(|failure| to_status(&failure))?;
        let branch = self.branch.clone();
        let changed = tokio::spawn(async move { branch.change(change, None, deadline).await });
        let changed = changed.await.map_err(|fault| {
            to_status(&Failure::new(Reason::Internal, format!("the change was not finished: {fault}")))
        })?;
        changed.map_err(|error| to_status(&refusal(error)))
    }
}

fn refusal(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(why) => Failure::new(Reason::ChangeRefused, why),
        ChangeError::Unavailable(unavailable) => unavailable.into(),
    }
}

fn replica(id: u64) -> Result<ReplicaId, Failure> {
    if id == 0 {
        let what = "replicas are numbered from 1";
        return Err(Failure::new(Reason::ArgumentInvalid, what).in_field("id"));
    }
    Ok(ReplicaId(id))
}

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    async fn get_status(
        &self,
        _request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let status = self.branch.status().await.map_err(|error| to_status(&error.into()))?;
        Ok(Response::new(cluster::status(&status)))
    }

    async fn list_trace_events(
        &self,
        request: Request<ListTraceEventsRequest>,
    ) -> Result<Response<ListTraceEventsResponse>, Status> {
        let listed = self.trace_events(&request.into_inner());
        listed.map(Response::new).map_err(|failure| to_status(&failure))
    }

    async fn add_replica(
        &self,
        request: Request<AddReplicaRequest>,
    ) -> Result<Response<AddReplicaResponse>, Status> {
        let add = |message: AddReplicaRequest| {
            if message.address.is_empty() {
                let what = "the address is HOST:PORT where the other replicas reach the new one";
                return Err(Failure::new(Reason::ArgumentInvalid, what).in_field("address"));
            }
            Ok(Change::Add { replica: replica(message.id)?, address: message.address })
        };
        self.change(request, add).await?;
        Ok(Response::new(AddReplicaResponse {}))
    }

    async fn promote_replica(
        &self,
        request: Request<PromoteReplicaRequest>,
    ) -> Result<Response<PromoteReplicaResponse>, Status> {
        self.change(request, |message| Ok(Change::Promote { replica: replica(message.id)? })).await?;
        Ok(Response::new(PromoteReplicaResponse {}))
    }

    async fn remove_replica(
        &self,
        request: Request<RemoveReplicaRequest>,
    ) -> Result<Response<RemoveReplicaResponse>, Status> {
        let remove = |message: RemoveReplicaRequest| {
            Ok(Change::Remove { replica: replica(message.id)?, lose_history: message.lose_history })
        };
        self.change(request, remove).await?;
        Ok(Response::new(RemoveReplicaResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let to = |message: TransferLeadershipRequest| {
            let to = (message.id > 0).then_some(ReplicaId(message.id));
            Ok(Change::Transfer { to })
        };
        self.change(request, to).await?;
        Ok(Response::new(TransferLeadershipResponse {}))
    }

    async fn resolve_transfer(
        &self,
        request: Request<v1::ResolveTransferRequest>,
    ) -> Result<Response<v1::ResolveTransferResponse>, Status> {
        let timeout = timeout_of(request.metadata()).map_err(|failure| to_status(&failure))?;
        let deadline = Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE);
        let message = request.into_inner();
        if message.resolution() != v1::TransferResolution::Abort {
            let what = "the resolution is ABORT; nobody but the branch itself can commit";
            return Err(to_status(&Failure::new(Reason::ArgumentInvalid, what).in_field("resolution")));
        }
        let request = parse::request_id(&message.request_id).map_err(|failure| to_status(&failure))?;
        let aborted = self.abort(&message.transfer, request, deadline).await;
        let transfer = aborted.map_err(|failure| to_status(&failure))?;
        Ok(Response::new(v1::ResolveTransferResponse { transfer: Some(transfer) }))
    }

    async fn get_audit(
        &self,
        request: Request<v1::GetAuditRequest>,
    ) -> Result<Response<v1::GetAuditResponse>, Status> {
        let timeout = timeout_of(request.metadata()).map_err(|failure| to_status(&failure))?;
        let deadline = Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE);
        let audit = audit(&self.house.lane, &self.house.audits, deadline).await;
        audit.map(Response::new).map_err(|failure| to_status(&failure))
    }
}
