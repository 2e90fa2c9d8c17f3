//! The live feed of operations. However fast they come, four times a second the page gets the latest, and how many
//! passed besides; a browser that comes back goes on where it was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures::future::{FutureExt as _, select_all};
use futures::stream;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::live::events_of;
use super::super::lookout::quick;
use super::super::parts::operation_row;
use super::Filter;
use crate::client::{JournalPiece, Watch};
use crate::gateway::House;
use crate::gateway::events::Counted;
use crate::model::Failure;

/// Time between two events.
const BEAT: Duration = Duration::from_millis(250);
/// Most operations of one event; a screen shows no more.
const SHOWN: usize = 100;
/// How often a quiet feed says that it lives.
const IDLE: Duration = Duration::from_secs(15);
/// How long a branch rests that cannot be asked.
const REST: Duration = Duration::from_secs(1);

/// The operations of one branch.
struct Source {
    branch: String,
    watch: Watch,
    reached: Option<u64>,
    rests_until: Option<Instant>,
}

impl Source {
    async fn next(&mut self) -> Result<JournalPiece, Failure> {
        if let Some(until) = self.rests_until {
            sleep_until(until).await;
            self.rests_until = None;
        }
        self.watch.next().await
    }
}

struct Feed {
    filter: Filter,
    sources: Vec<Source>,
    _counted: Counted,
}

/// What came in one beat.
#[derive(Default)]
struct Gathered {
    rows: VecDeque<String>,
    passed: usize,
    trouble: Option<String>,
    heard: bool,
}

/// The stream of the operations that a filter wants. `resume` is the id of the last event that the browser got.
pub(in super::super) fn stream(
    house: &House,
    filter: Filter,
    resume: Option<&str>,
    counted: Counted,
) -> Response<Body> {
    let after = resume.unwrap_or(&filter.after).to_owned();
    let source = |lookout: &Arc<super::Lookout>| {
        let reached = Filter::resumed(&after, &lookout.branch);
        let from = reached.map_or(0, |reached| reached + 1);
        let watch = lookout.client().watch(from, &filter.account_at(&lookout.branch), &quick());
        Source { branch: lookout.branch.to_string(), watch, reached, rests_until: None }
    };
    let sources = filter.lookouts(house).into_iter().map(source).collect();
    let feed = Feed { filter, sources, _counted: counted };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await;
        Some((Ok::<_, Infallible>(Bytes::from(event)), feed))
    });
    events_of(Body::from_stream(events))
}

impl Feed {
    async fn next(&mut self) -> String {
        let mut gathered = Gathered::default();
        let mut until = Instant::now() + IDLE;
        while let Ok((place, came)) = timeout_at(until, any(&mut self.sources)).await {
            if !gathered.heard {
                until = Instant::now() + BEAT;
            }
            gathered.heard = true;
            self.take(place, came, &mut gathered);
        }
        if gathered.rows.is_empty() && gathered.trouble.is_none() {
            return ": alive\n\n".to_owned();
        }
        let reached =
            self.sources.iter().filter_map(|source| Some(format!("{}={};", source.branch, source.reached?)));
        let id: String = reached.collect();
        let data = json!({
            "rows": gathered.rows.iter().map(String::as_str).collect::<String>(),
            "count": gathered.rows.len(),
            "passed": gathered.passed,
            "trouble": gathered.trouble,
        });
        format!("id: {id}\nevent: rows\ndata: {data}\n\n")
    }

    fn take(&mut self, place: usize, came: Result<JournalPiece, Failure>, gathered: &mut Gathered) {
        let source = &mut self.sources[place];
        match came {
            Ok(piece) => {
                source.reached = Some(piece.seen.sequence);
                for record in piece.records.iter().filter(|record| self.filter.wants(record)) {
                    gathered.rows.push_front(operation_row(&source.branch, record).into_string());
                }
                gathered.passed += gathered.rows.len().saturating_sub(SHOWN);
                gathered.rows.truncate(SHOWN);
            }
            Err(failure) => {
                source.rests_until = Some(Instant::now() + REST);
                gathered.trouble = Some(format!("Branch {}: {}", source.branch, failure.message));
            }
        }
    }
}

/// The next piece of any branch, and of which.
async fn any(sources: &mut [Source]) -> (usize, Result<JournalPiece, Failure>) {
    if sources.is_empty() {
        return std::future::pending().await;
    }
    let (came, place, _) = select_all(sources.iter_mut().map(|source| source.next().boxed())).await;
    (place, came)
}
