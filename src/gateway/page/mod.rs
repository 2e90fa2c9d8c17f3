//! The dashboard: the bank in a browser.
//!
//! Every page is drawn here, so reading needs no script; with a script its regions stay current through a stream
//! of server-sent events, and its forms use the JSON routes like any other program. Used by `gateway` only.
//!
//! Invariant: what people typed reaches a page only through the templates, which escape it.

mod account;
mod accounts;
mod assets;
mod chart;
mod cluster;
mod forms;
mod live;
mod lookout;
mod operations;
mod overview;
mod parts;
mod scenarios;
mod screen;
mod tempo;
mod text;
mod transfers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use maud::Markup;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::House;
use super::call::whole;
use super::events::{Counted, too_many};
use super::problem::Problem;
use super::routes::no_method;
use screen::{Asked, Screen};

pub(super) use lookout::Lookouts;
pub use scenarios::{Played, Player, Playing};
pub(super) use tempo::Tempo;

/// How long the first page waits for what its lookouts see first.
const FIRST_LOOK: Duration = Duration::from_millis(600);

/// What the page of an address says that leads nowhere.
pub(super) const NO_PAGE: &str = "There is no such page. An account is at /accounts/BRANCH/NUMBER, a transfer at /transfers/BRANCH/NUMBER.";

/// The routes of the pages.
pub(super) fn router() -> Router<Arc<House>> {
    let mut router = Router::new()
        .route("/account", get(find))
        .route("/operations.csv", get(csv))
        .route("/scenarios/play", post(play))
        .route("/assets/{name}", get(asset))
        .route("/live/", get(live));
    for path in screen::PATHS {
        router = router.route(path, get(page));
        if path != "/" {
            router = router.route(&format!("/live{path}"), get(live));
        }
    }
    router.method_not_allowed_fallback(no_method)
}

async fn page(State(house): State<Arc<House>>, request: Request) -> Response<Body> {
    let Some(screen) = Screen::at(request.uri().path(), request.uri().query().unwrap_or_default()) else {
        return nothing(&house, NO_PAGE);
    };
    let mut viewers = house.lookouts.enter();
    let until = Instant::now() + FIRST_LOOK;
    while !viewers.iter().all(lookout::Viewer::has_seen) {
        if timeout_at(until, live::any_change(&mut viewers)).await.is_err() {
            break;
        }
    }
    let regions = screen.regions(&house, &Asked::default()).await;
    html(regions.status(), screen::page(&house, &screen, &regions))
}

async fn live(State(house): State<Arc<House>>, headers: HeaderMap, request: Request) -> Response<Body> {
    let path = request.uri().path().strip_prefix("/live").unwrap_or_default().to_owned();
    let query = request.uri().query().unwrap_or_default();
    let Some(screen) = Screen::at(&path, query) else { return Problem::nothing_at(&path).into_response() };
    let session = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "session")
        .map(|(_, token)| token.into_owned())
        .unwrap_or_default();
    let Some(counted) = Counted::enter(&house.event_streams) else {
        return Problem::from(too_many()).into_response();
    };
    if let Screen::Operations(filter) = screen {
        let resume = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        operations::stream(&house, filter, resume, counted)
    } else {
        live::stream(house, screen, Asked { session }, counted)
    }
}

async fn find(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Response<Body> {
    let query = query.unwrap_or_default();
    let typed = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "account");
    match accounts::found(&house, typed.as_ref().map_or("", |(_, text)| text)) {
        Ok(address) => elsewhere(&address),
        Err(failure) => nothing(&house, &failure.message),
    }
}

async fn csv(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Response<Body> {
    match Screen::at("/operations", &query.unwrap_or_default()) {
        Some(Screen::Operations(filter)) => match filter.checked(&house) {
            Ok(()) => operations::download(&house, filter),
            Err(failure) => Problem::from(failure).into_response(),
        },
        Some(_) | None => Problem::nothing_at("/operations.csv").into_response(),
    }
}

async fn play(State(house): State<Arc<House>>, request: Request) -> Response<Body> {
    let Some(player) = house.player.clone() else {
        return Problem::no_player().into_response();
    };
    let file = match whole(request.into_body(), house.patience).await {
        Ok(file) => file,
        Err(problem) => return problem.into_response(),
    };
    let outcome = scenarios::outcome(player.play(file).await).into_string();
    let mut response = Response::new(Body::from(json!({ "html": outcome }).to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn asset(Path(name): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response<Body> {
    assets::answer(&name, query.as_deref(), &headers)
        .unwrap_or_else(|| Problem::nothing_at(&format!("/assets/{name}")).into_response())
}

/// The page of an address that leads nowhere.
pub(super) fn nothing(house: &House, what: &str) -> Response<Body> {
    html(StatusCode::NOT_FOUND, screen::nothing(house, what))
}

fn html(status: StatusCode, page: Markup) -> Response<Body> {
    let mut response = Response::new(Body::from(page.into_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn elsewhere(address: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}
