//! Traced calls: what they carry, and what the replicas have recorded of them.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;

use crate::model::{Failure, LamportClock, Reason, ReplicaId, TraceEvent, TraceKind, TraceName};
use crate::wire::proto::v1;
use crate::wire::proto::v1::cluster_service_client::ClusterServiceClient;
use crate::wire::{CLOCK_HEADER, TRACE_HEADER};

use super::types::{Options, Page};
use super::{Client, REPLY_BYTES};

/// How a call appears in traces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// What the caller calls it; no other call of the branch has this name.
    pub name: TraceName,
    /// The caller's logical clock when it sends the call.
    pub clock: LamportClock,
}

impl Traced {
    /// Puts it into the headers of a call.
    pub(super) fn put(&self, headers: &mut MetadataMap) {
        let name = MetadataValue::try_from(self.name.as_str()).expect("a name is printable ASCII");
        headers.insert(TRACE_HEADER, name);
        headers.insert(CLOCK_HEADER, self.clock.get().into());
    }
}

/// A page of what a replica has recorded of traced calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceEvents {
    /// The replica that recorded it.
    pub replica: u64,
    /// Whether it records traces at all.
    pub recording: bool,
    /// The events, in the order in which they were recorded.
    pub events: Vec<TraceEvent>,
    /// Where the list goes on; empty at its end.
    pub next_page_token: String,
}

impl Client {
    /// Lists what the replica that answers has recorded of the calls whose names begin with `prefix`.
    ///
    /// # Errors
    /// See [`Client`]; `INTERNAL` for an event that this client does not know, because the server is newer.
    pub async fn trace_events(
        &self,
        prefix: &str,
        page: Page<'_>,
        options: &Options,
    ) -> Result<TraceEvents, Failure> {
        let message = v1::ListTraceEventsRequest {
            name_prefix: prefix.to_owned(),
            page_size: page.size,
            page_token: page.token.to_owned(),
        };
        let attempt = |channel: Channel, limit| {
            let request = self.request(message.clone(), limit);
            async move {
                let mut cluster = ClusterServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES);
                cluster.list_trace_events(request).await
            }
        };
        let reply = self.attempts(options, None, attempt).await?.into_inner();
        Ok(TraceEvents {
            replica: reply.replica,
            recording: reply.recording,
            events: reply.events.into_iter().map(event).collect::<Result<_, _>>()?,
            next_page_token: reply.next_page_token,
        })
    }
}

fn event(event: v1::TraceEvent) -> Result<TraceEvent, Failure> {
    let kind = match event.kind() {
        v1::TraceEventKind::ReceivedFromCaller => Some(TraceKind::ReceivedFromCaller),
        v1::TraceEventKind::SentToReplica => Some(TraceKind::SentTo(ReplicaId(event.peer))),
        v1::TraceEventKind::ReceivedFromReplica => Some(TraceKind::ReceivedFrom(ReplicaId(event.peer))),
        v1::TraceEventKind::Unspecified => None,
    };
    let known = (kind, LamportClock::new(event.clock), event.name.parse());
    let (Some(kind), Some(clock), Ok(name)) = known else {
        return Err(Failure::new(
            Reason::Internal,
            "the server recorded an event that this client does not know",
        ));
    };
    Ok(TraceEvent { clock, name, kind })
}
