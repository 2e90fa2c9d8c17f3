//! `bank.v1.ClusterService`: what operators ask and change.

use std::time::Instant;

use tonic::{Request, Response, Status};

use super::call::{DEFAULT_DEADLINE, timeout_of};
use crate::model::{Failure, Reason, ReplicaId};
use crate::replication::{Branch, Change, ChangeError};
use crate::wire::page::Query;
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
}

impl ClusterApi {
    /// The service of a replica.
    #[must_use]
    pub fn new(branch: Branch) -> ClusterApi {
        ClusterApi { branch }
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
        let changed = tokio::spawn(async move { branch.change(change, deadline).await });
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
        _request: Request<crate::wire::proto::v1::ResolveTransferRequest>,
    ) -> Result<Response<crate::wire::proto::v1::ResolveTransferResponse>, Status> {
        Err(to_status(&Failure::new(Reason::Unimplemented, "this server does not do that yet")))
    }

    async fn get_audit(
        &self,
        _request: Request<crate::wire::proto::v1::GetAuditRequest>,
    ) -> Result<Response<crate::wire::proto::v1::GetAuditResponse>, Status> {
        Err(to_status(&Failure::new(Reason::Unimplemented, "this server does not do that yet")))
    }
}
