//! The way to other replicas: there is none, because a memory branch has one replica.
//!
//! openraft asks for a network when it has peers to talk to. A lone replica has none, so nothing here is ever
//! called in normal operation; whoever is asked for cannot be reached.

use std::future::Future;
use std::io;

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use crate::store::{Member, Runtime, Snapshot, Types};

/// The network of a branch with one replica.
pub(super) struct NoPeers;

/// The connection to a peer that does not exist.
pub(super) struct NoPeer {
    target: u64,
}

impl NoPeer {
    fn unreachable<R: Runtime>(&self) -> Unreachable<Types<R>> {
        Unreachable::new(&io::Error::other(format!(
            "this branch has one replica; replica {} is not known",
            self.target
        )))
    }
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for NoPeers {
    type Network = NoPeer;

    async fn new_client(&mut self, target: u64, _node: &Member) -> NoPeer {
        NoPeer { target }
    }
}

impl<R: Runtime> RaftNetworkV2<Types<R>> for NoPeer {
    type SnapshotData = Snapshot;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<Types<R>>,
        _snapshot: SnapshotOf<Types<R>, Snapshot>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
