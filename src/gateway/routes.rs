//! The routes: one table, from which the router and its description are both made.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::http::{Request, Response, header};
use axum::routing::{MethodFilter, on};
use serde_json::Value;

use super::call::Call;
use super::fields::Field;
use super::problem::Problem;
use super::reply::Reply;
use super::shape::Parts;
use super::{House, accounts, cluster, events, export, health, holds, journal, openapi, page, transfers};

/// The outcome of a handler, on its way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// The methods that routes have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// Reads.
    Get,
    /// Writes.
    Post,
    /// Changes a part of something.
    Patch,
}

impl Method {
    fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Patch => MethodFilter::PATCH,
        }
    }

    /// The method as HTTP writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
        }
    }
}

/// What a route answers when all is well.
#[derive(Clone, Copy)]
pub(super) struct Answers {
    pub(super) status: u16,
    pub(super) media_type: &'static str,
    /// The shape of the body, when it is JSON.
    pub(super) shape: Option<fn(&mut Parts) -> Value>,
}

/// JSON of a view.
macro_rules! json {
    ($status:literal, $view:ty) => {
        crate::gateway::routes::Answers {
            status: $status,
            media_type: "application/json",
            shape: Some(crate::gateway::shape::of::<$view>),
        }
    };
}
pub(super) use json;

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// The path, as the router and OpenAPI both write it.
    pub(super) path: &'static str,
    /// Its unique name.
    pub(super) name: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// What its query takes.
    pub(super) query: &'static [Field],
    /// What its body takes; none when it has no body.
    pub(super) body: Option<&'static [Field]>,
    pub(super) answers: Answers,
    pub(super) handler: fn(Call) -> Answering,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All routes, in the order in which they are described.
pub(super) fn all() -> impl Iterator<Item = &'static Route> {
    [
        accounts::ROUTES,
        holds::ROUTES,
        transfers::ROUTES,
        journal::ROUTES,
        events::ROUTES,
        export::ROUTES,
        cluster::ROUTES,
        health::ROUTES,
        openapi::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The router of all routes.
pub(super) fn router() -> Router<Arc<House>> {
    let mut router = Router::new();
    for route in all() {
        let handler =
            move |State(house): State<Arc<House>>,
                  parts: Result<RawPathParams, RawPathParamsRejection>,
                  request: Request<Body>| answer(route, house, parts, request);
        router = router.route(route.path, on(route.method.filter(), handler));
    }
    router.fallback(nothing).method_not_allowed_fallback(no_method)
}

async fn answer(
    route: &'static Route,
    house: Arc<House>,
    parts: Result<RawPathParams, RawPathParamsRejection>,
    request: Request<Body>,
) -> Response<Body> {
    let answer = match Call::read(route, house, parts, request).await {
        Ok(call) => (route.handler)(call).await,
        Err(problem) => Err(problem),
    };
    answer.map_or_else(Problem::into_response, Reply::into_response)
}

/// The answer where there is nothing: a page for a browser, a problem for a program.
async fn nothing(State(house): State<Arc<House>>, request: Request<Body>) -> Response<Body> {
    let accepts = request.headers().get_all(header::ACCEPT).iter();
    let is_browser = accepts.filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"));
    if is_browser {
        return page::nothing(&house, page::NO_PAGE);
    }
    Problem::nothing_at(request.uri().path()).into_response()
}

pub(super) async fn no_method(request: Request<Body>) -> Response<Body> {
    Problem::no_method(request.method().as_str(), request.uri().path()).into_response()
}

/// Reads bytes as the body and as the query of every call.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_anything(bytes: &[u8]) {
    use super::fields::Values;

    let fields = super::json::read(bytes);
    let query = String::from_utf8_lossy(bytes);
    for route in all() {
        if let (Some(table), Ok(fields)) = (route.body, &fields) {
            let _ = Values::of_body(table, fields.clone());
        }
        let _ = Values::of_query(route.query, &query);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = all().map(|route| route.name).collect();
        assert_eq!(names.len(), all().count());
    }
}
