//! The live feed over HTTP: server-sent events.
//!
//! Invariant: the id of an event is the sequence up to which everything has been told, so a client that comes
//! back with `Last-Event-ID` misses nothing and sees nothing twice. What comes faster than a screen shows
//! is told together; a client that reads slowly holds up nobody and nothing is queued for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{JournalPiece, Watch};
use crate::model::{Exit, Failure, Unavailable};

use super::accounts::BRANCH;
use super::call::Call;
use super::fields::Takes::{Account, Count};
use super::fields::optional;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Answers, Method, Route};
use super::views::Events;

/// The media type of events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// Most streams of one thread; each holds a call open.
const STREAMS: usize = 512;
/// Time between two events, in which operations are gathered.
const TOGETHER: Duration = Duration::from_millis(100);
/// Most operations of one event.
const OPERATIONS: usize = 1_024;
/// How long a browser waits before it comes back, in milliseconds.
const COME_BACK: u64 = 1_000;
/// How long the feed rests when the branch cannot be asked.
const REST: Duration = Duration::from_secs(1);
/// When a stream that was turned away should come again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The routes of the live feed.
pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/v1/events",
    name: "watchJournal",
    summary: "Follow the journal of a branch live, as server-sent events; Last-Event-ID resumes",
    query: &[
        BRANCH,
        optional("account", Account, "Only operations that concern this account."),
        optional("from", Count, "The first sequence to tell; the next one to come when not given."),
    ],
    body: None,
    answers: Answers { status: 200, media_type: EVENT_STREAM, shape: Some(super::shape::of::<Events>) },
    handler: |call| Box::pin(events(call)),
}];

async fn events(call: Call) -> Result<Reply, Problem> {
    let account = call.query.text("account");
    let client = if account.contains('/') { call.house.bank.of_account(account)? } else { call.branch()? };
    let from = match call.header("last-event-id")? {
        None | Some("") => call.query.count("from")?.unwrap_or(0),
        Some(id) => id
            .parse::<u64>()
            .map_err(|_| {
                let what = format!("Last-Event-ID is the id of an event, a sequence, and not {id:?}");
                Failure::new(crate::model::Reason::ArgumentInvalid, what).in_field("last-event-id")
            })?
            .saturating_add(1),
    };
    let counted = Counted::enter(&call.house.event_streams).ok_or_else(too_many)?;
    let mut watch = client.watch(from, account, &call.options()?);
    // What is wrong from the start is told by the status.
    let first = watch.next().await?;
    let feed = Feed { watch, first: Some(first), told: Instant::now(), ended: false, _counted: counted };
    let body = Body::from_stream(stream::unfold(feed, |mut feed| async move {
        feed.next().await.map(|text| (Ok::<_, std::convert::Infallible>(Bytes::from(text)), feed))
    }));
    Ok(Reply::bytes(EVENT_STREAM, body))
}

/// Why a stream is turned away.
pub(super) fn too_many() -> Failure {
    Unavailable::Overloaded { retry_after: RETRY_AFTER }.into()
}

/// One client that follows the journal.
struct Feed {
    watch: Watch,
    /// The first piece, which says where the feed begins.
    first: Option<JournalPiece>,
    /// When the last event was told.
    told: Instant,
    ended: bool,
    _counted: Counted,
}

impl Feed {
    /// The next event; none when there will be no more.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(format!("retry: {COME_BACK}\n{}", event("ready", first)));
        }
        if self.ended {
            return None;
        }
        match self.gather().await {
            // Also of other accounts only: the id moves on, and the comment shows that the feed is alive.
            Ok(piece) if piece.records.is_empty() => {
                Some(format!(": alive\nid: {}\n\n", piece.seen.sequence))
            }
            Ok(piece) => Some(event("operations", piece)),
            Err(failure) => {
                self.ended = failure.reason.exit() != Exit::TryAgain;
                if !self.ended {
                    sleep(REST).await;
                }
                let problem = Problem::from(failure).view();
                Some(format!("event: problem\ndata: {}\n\n", text(&problem)))
            }
        }
    }

    /// The next piece, with those that come soon after one was told.
    async fn gather(&mut self) -> Result<JournalPiece, Failure> {
        let mut piece = self.watch.next().await?;
        while !piece.records.is_empty() && piece.records.len() < OPERATIONS {
            // What has already been taken from the watch is told before anything that goes wrong after it.
            match timeout_at(self.told + TOGETHER, self.watch.next()).await {
                Ok(Ok(more)) => {
                    piece.records.extend(more.records);
                    piece.seen = more.seen;
                }
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.told = Instant::now();
        Ok(piece)
    }
}

fn event(name: &str, piece: JournalPiece) -> String {
    let id = piece.seen.sequence;
    format!("event: {name}\nid: {id}\ndata: {}\n\n", text(&Events::from(piece)))
}

/// A view in one line.
fn text(view: &impl serde::Serialize) -> String {
    serde_json::to_string(view).expect("a view has text keys and no failing values")
}

/// One of the streams of a thread.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts a stream, unless there are too many already.
    pub(super) fn enter(count: &Arc<AtomicUsize>) -> Option<Counted> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(count));
        (before < STREAMS).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
