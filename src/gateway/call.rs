//! A call: a request whose every part has been read and checked, ready for its handler.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use futures::StreamExt as _;

use crate::client::{Client, Consistency, Options, Page};
use crate::model::{Failure, Reason};

use super::fields::Values;
use super::problem::Problem;
use super::routes::Route;
use super::{BODY_BYTES, House, json};

/// The header that names a write.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that carries a session, both ways.
pub(super) const BANK_SESSION: &str = "bank-session";

/// A request, read and checked.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) house: Arc<House>,
    /// The path of the request.
    pub(super) path: String,
    /// The variable parts of the path, by name.
    parts: Vec<(String, String)>,
    pub(super) query: Values,
    pub(super) body: Values,
    pub(super) headers: HeaderMap,
}

impl Call {
    /// Reads a request for a route.
    pub(super) async fn read(
        route: &'static Route,
        house: Arc<House>,
        parts: Result<RawPathParams, RawPathParamsRejection>,
        request: Request<Body>,
    ) -> Result<Call, Problem> {
        let (head, body) = request.into_parts();
        let parts = parts.map_err(|_| Problem::nothing_at(head.uri.path()))?;
        let parts = parts.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        let query = Values::of_query(route.query, head.uri.query().unwrap_or_default())?;
        let body = match route.body {
            None => Values::default(),
            Some(fields) => {
                let bytes = whole(body, house.patience).await?;
                if !bytes.is_empty() {
                    check_media_type(&head.headers, "application/json")?;
                }
                Values::of_body(fields, json::read(&bytes)?)?
            }
        };
        let path = head.uri.path().to_owned();
        Ok(Call { house, path, parts, query, body, headers: head.headers })
    }

    /// A variable part of the path.
    pub(super) fn part(&self, name: &str) -> &str {
        self.parts.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text)
    }

    /// The client of the branch that the query names, or of the one served here.
    pub(super) fn branch(&self) -> Result<&Client, Failure> {
        self.house.bank.named(self.query.text("branch"))
    }

    /// How the bank is to be asked: with the caller's own session, and with the caller's own name for a write.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let consistency = self.query.text("consistency");
        Ok(Options {
            request_id: self.request_id()?,
            consistency: Consistency::ALL
                .iter()
                .copied()
                .find(|known| known.as_str().eq_ignore_ascii_case(consistency)),
            session_token: Some(self.header(BANK_SESSION)?.unwrap_or_default().to_owned()),
            validate_only: self.query.flag("validate_only"),
            timeout: None,
            trace: None,
        })
    }

    /// The caller's name for a write. An empty one would protect nothing, so it is refused.
    fn request_id(&self) -> Result<Option<String>, Failure> {
        let key = self.header(IDEMPOTENCY_KEY)?.map(|key| unquoted(key.trim()).to_owned());
        if key.as_ref().is_some_and(|key| key.trim().is_empty()) {
            let message = format!(
                "the header {IDEMPOTENCY_KEY} is empty, so a repetition would be executed again; give it a value, or leave the header out"
            );
            return Err(Failure::new(Reason::RequestIdInvalid, message).in_field(IDEMPOTENCY_KEY));
        }
        Ok(key)
    }

    /// Which page of a list is asked for.
    pub(super) fn page(&self) -> Result<Page<'_>, Failure> {
        let size = self.query.count("page_size")?.unwrap_or(0);
        Ok(Page { size, token: self.query.text("page_token") })
    }

    /// A header that may be there once, in plain text.
    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, Failure> {
        let wrong =
            |what| Failure::new(Reason::ArgumentInvalid, format!("the header {name} {what}")).in_field(name);
        let mut values = self.headers.get_all(name).iter();
        let value = values.next();
        if values.next().is_some() {
            return Err(wrong("is there twice"));
        }
        value.map(|value| value.to_str().map_err(|_| wrong("is not plain ASCII text"))).transpose()
    }
}

/// A key without the quotes that structured headers put around text.
fn unquoted(key: &str) -> &str {
    key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key)
}

/// The whole body of a request, which has a limited size and a limited time to arrive.
pub(super) async fn whole(body: Body, patience: Duration) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    let read = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| broken("did not arrive in full"))?;
            if bytes.len() + chunk.len() > BODY_BYTES {
                return Err(Problem::from(
                    Failure::new(
                        Reason::MessageTooLarge,
                        format!("the body is longer than the {BODY_BYTES} bytes that a call may have"),
                    )
                    .with("limit", BODY_BYTES),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(patience, read).await {
        Ok(read) => read.map(|()| bytes),
        Err(_) => Err(broken("did not arrive in time")),
    }
}

fn broken(what: &str) -> Problem {
    let failure = Failure::new(
        Reason::ArgumentInvalid,
        format!("the body {what}, so nothing happened; send it at once"),
    );
    Problem::with_status(StatusCode::REQUEST_TIMEOUT, failure)
}

/// Refuses a body that is compressed.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let coded = |value: &&HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    let Some(coding) = headers.get_all(header::CONTENT_ENCODING).iter().find(coded) else { return Ok(()) };
    let failure = Failure::new(
        Reason::ArgumentInvalid,
        format!(
            "the body is coded as {:?}; send it as it is, without content-encoding",
            String::from_utf8_lossy(coding.as_bytes())
        ),
    );
    let failure = failure.in_field("content-encoding");
    Err(Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, failure))
}

/// Checks that a body is what the call takes.
pub(super) fn check_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, parameter) = given.split_once(';').unwrap_or((given, ""));
    let parameter = parameter.trim();
    // The value of a parameter may stand in quotes (RFC 9110, section 5.6.6).
    let plain = parameter.is_empty()
        || ["charset=utf-8", "charset=\"utf-8\""].iter().any(|known| parameter.eq_ignore_ascii_case(known));
    check_coding(headers)?;
    if kind.trim().eq_ignore_ascii_case(wanted) && plain {
        return Ok(());
    }
    let failure = Failure::new(
        Reason::ArgumentInvalid,
        format!("the body is said to be {given:?}; this call takes {wanted} in UTF-8, and the header content-type must say so"),
    )
    .in_field("content-type");
    Err(Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, failure))
}
