//! Replies: a view and its headers become an answer.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::client::Seen;

use super::call::{BANK_SESSION, Call};

/// Set when a write is the first answer again.
pub(super) const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// An answer that is being put together.
#[derive(Debug)]
pub(super) struct Reply(Response<Body>);

impl Reply {
    /// A view as JSON.
    pub(super) fn json(view: &impl Serialize) -> Reply {
        Reply::bytes("application/json", document(view))
    }

    /// Anything else, of a media type.
    pub(super) fn bytes(media_type: &'static str, body: impl Into<Body>) -> Reply {
        let mut response = Response::new(body.into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Reply(response)
    }

    /// With another status than 200.
    pub(super) fn status(mut self, status: StatusCode) -> Reply {
        *self.0.status_mut() = status;
        self
    }

    /// With the session that the caller has now.
    pub(super) fn seen(self, seen: &Seen) -> Reply {
        self.header(BANK_SESSION, &seen.session_token)
    }

    /// With the sign that nothing was done again.
    pub(super) fn replayed(self, replayed: bool) -> Reply {
        if replayed { self.header(IDEMPOTENCY_REPLAYED, "true") } else { self }
    }

    /// With the address of what was made; its parts are text and encoded here.
    pub(super) fn location(self, folder: &str, name: &str) -> Reply {
        let name = encoded(name);
        self.header("location", &format!("{folder}/{name}"))
    }

    /// With a link to the next page of the same query.
    pub(super) fn next_page(self, call: &Call, token: &str) -> Reply {
        if token.is_empty() {
            return self;
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in call.query.iter().filter(|(name, _)| *name != "page_token") {
            query.append_pair(name, value);
        }
        let query = query.append_pair("page_token", token).finish();
        self.header("link", &format!("<{}?{query}>; rel=\"next\"", call.path))
    }

    /// With a header. A value that headers cannot carry is left out: all of ours are plain ASCII.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        self.0
    }
}

/// A view as a document: JSON in one line, which ends as lines do.
pub(super) fn document(view: &impl Serialize) -> String {
    serde_json::to_string(view).expect("a view has text keys and no failing values") + "\n"
}

/// Text as one part of a path.
fn encoded(text: &str) -> String {
    // Blanks are the one thing that forms write differently than paths.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
