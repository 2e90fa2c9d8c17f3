//! Live pages: a stream of the regions that changed, drawn by the same code as the page itself.
//!
//! However much happens, a region is drawn at most four times a second and sent only when it looks different;
//! a viewer who reads slowly gets the latest and not everything.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, header};
use futures::future::{FutureExt as _, select_all};
use futures::stream;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::lookout::Viewer;
use super::screen::{Asked, Regions, Screen};
use crate::gateway::House;
use crate::gateway::events::Counted;

/// Time between two drawings.
const BEAT: Duration = Duration::from_millis(250);
/// A page is drawn this often even if nothing happens, because ages grow.
const IDLE: Duration = Duration::from_secs(5);

/// What a stream has sent so far.
struct Watching {
    house: Arc<House>,
    screen: Screen,
    asked: Asked,
    viewers: Vec<Viewer>,
    sent: Regions,
    began: bool,
    _counted: Counted,
}

/// The stream of a screen.
pub(super) fn stream(house: Arc<House>, screen: Screen, asked: Asked, counted: Counted) -> Response<Body> {
    let viewers = house.lookouts.enter();
    let sent = Regions::default();
    let watching = Watching { house, screen, asked, viewers, sent, began: false, _counted: counted };
    let events = stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await;
        Some((Ok::<_, Infallible>(Bytes::from(event)), watching))
    });
    events_of(Body::from_stream(events))
}

/// An answer that is a stream of events.
pub(super) fn events_of(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl Watching {
    /// The next event: the regions that look different now, or a comment that says that the server lives.
    async fn next(&mut self) -> String {
        if self.began {
            sleep(BEAT).await;
            // The bound lets ages grow; which of the branches changed does not matter.
            let _ = timeout(IDLE, any_change(&mut self.viewers)).await;
        }
        self.began = true;
        let regions = self.screen.regions(&self.house, &self.asked).await;
        let changed: serde_json::Map<String, serde_json::Value> = regions
            .iter()
            .filter(|(id, body)| self.sent.get(id) != Some(body))
            .map(|(id, body)| (id.to_owned(), json!(body)))
            .collect();
        self.sent = regions;
        if changed.is_empty() {
            return ": alive\n\n".to_owned();
        }
        format!("event: regions\ndata: {}\n\n", serde_json::Value::Object(changed))
    }
}

/// Returns when one of the branches has changed.
pub(super) async fn any_change(viewers: &mut [Viewer]) {
    if viewers.is_empty() {
        return std::future::pending().await;
    }
    select_all(viewers.iter_mut().map(|viewer| viewer.changed().boxed())).await;
}
