//! What the replicas have recorded of a run, as rows of its trace.
//!
//! Invariant: a row is what a replica says, with its own clock; nothing is computed from the plan. The runner calls it.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::bank::{REPLICAS_AT_ONCE, Replica};
use super::plan::RequestIndex;
use super::played::{Process, TraceKind, TraceRow, Untraced};
use super::run::RunError;
use crate::client::{Client, Options, Page};
use crate::model::{self, Failure, ReplicaId, TraceEvent, TraceName};

/// Events on a page.
const PAGE: i32 = 1_000;

/// What a request is called in the traces of a run.
pub(super) fn name(run: &str, request: RequestIndex) -> Result<TraceName, Failure> {
    Ok(format!("{run}{}.{}", request.entry, request.event).parse()?)
}

/// The request that a name means.
fn request(run: &str, name: &TraceName) -> Option<RequestIndex> {
    let (entry, event) = name.as_str().strip_prefix(run)?.split_once('.')?;
    Some(RequestIndex { entry: entry.parse().ok()?, event: event.parse().ok()? })
}

/// The process of a branch of the plan.
pub(super) fn branch(place: usize) -> Process {
    Process::Branch(u32::try_from(place).unwrap_or(u32::MAX))
}

/// The first replica that does not record.
pub(super) async fn not_recording(replicas: &[Replica]) -> Result<Option<Untraced>, RunError> {
    let asked = replicas.iter().map(async |replica| {
        let page = Page { size: 1, token: "" };
        let page = replica.client.trace_events("", page, &Options::default()).await;
        let recording = page.map_err(|failure| replica.failed(failure))?.recording;
        Ok::<_, RunError>((!recording).then(|| Untraced::NotRecording { server: replica.server.clone() }))
    });
    let found: Vec<Option<Untraced>> = stream::iter(asked).buffered(REPLICAS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().next())
}

/// Everything that the replicas of the plan's branches have recorded of a run.
pub(super) async fn collect(replicas: &[Replica], run: &str) -> Result<Vec<TraceRow>, RunError> {
    let recorded = replicas
        .iter()
        .map(async |replica| of_one(&replica.client, run).await.map_err(|failure| replica.failed(failure)));
    let recorded: Vec<Recorded> = stream::iter(recorded).buffered(REPLICAS_AT_ONCE).try_collect().await?;
    let branches: BTreeMap<ReplicaId, Process> =
        recorded.iter().enumerate().map(|(place, recorded)| (recorded.replica, branch(place))).collect();
    let mut rows = Vec::with_capacity(recorded.iter().map(|recorded| recorded.events.len()).sum());
    for (place, recorded) in recorded.into_iter().enumerate() {
        let row = |(request, event): (RequestIndex, TraceEvent)| {
            let kind = match event.kind {
                model::TraceKind::ReceivedFromCaller => TraceKind::Received(Process::Customer(request.entry)),
                // A replica that stands for no branch of the plan is not shown.
                model::TraceKind::SentTo(replica) => TraceKind::Sent(*branches.get(&replica)?),
                model::TraceKind::ReceivedFrom(replica) => TraceKind::Received(*branches.get(&replica)?),
            };
            Some(TraceRow { process: branch(place), clock: event.clock.get(), request, kind })
        };
        rows.extend(recorded.events.into_iter().filter_map(row));
    }
    Ok(rows)
}

/// What one replica has recorded.
struct Recorded {
    replica: ReplicaId,
    events: Vec<(RequestIndex, TraceEvent)>,
}

async fn of_one(client: &Client, run: &str) -> Result<Recorded, Failure> {
    let (mut events, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { size: PAGE, token: &token };
        let page = client.trace_events(run, page, &Options::default()).await?;
        let known = page.events.into_iter().filter_map(|event| Some((request(run, &event.name)?, event)));
        events.extend(known);
        if page.next_page_token.is_empty() {
            return Ok(Recorded { replica: ReplicaId(page.replica), events });
        }
        token = page.next_page_token;
    }
}
