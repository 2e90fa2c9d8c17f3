//! The gateway: the bank over plain HTTP, for programs, scripts and browsers.
//!
//! It parses a request, asks through the client library, and writes the answer; it decides nothing about
//! money. `server` composes it and hands it the requests that are no gRPC calls.
//!
//! Architecture invariant: knows `client` and `model` only. Every answer passes the guard, so none leaves
//! without its security headers; whatever goes wrong leaves as a problem with a reason of the catalogue.

mod accounts;
mod bank;
mod call;
mod cluster;
mod compat;
mod events;
mod export;
mod fields;
mod guard;
mod health;
mod holds;
mod journal;
mod json;
mod metrics;
mod money_views;
mod openapi;
mod page;
mod problem;
mod reply;
mod routes;
mod shape;
mod transfers;
mod views;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use tower::ServiceExt as _;

pub use bank::Bank;
use guard::Hosts;
pub use health::{Figures, Operations, Pulse};
use page::{Lookouts, Tempo};
pub use page::{Played, Player, Playing};
use problem::Problem;
#[cfg(any(test, fuzzing))]
pub(crate) use routes::read_anything as read_rest;

use crate::model::Timestamp;

/// Largest body of a request, in bytes.
pub const BODY_BYTES: usize = 256 * 1024;

/// What a gateway is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it learns how the server is that it is part of.
    pub pulse: Pulse,
    /// The branches it reaches.
    pub bank: Bank,
    /// What plays scenario files for the dashboard, when there is one.
    pub player: Option<Player>,
    /// The server's clock, by which pages name what they send.
    pub clock: fn() -> Timestamp,
    /// Names and addresses by which browsers may call this server, besides those of the loopback.
    pub hosts: Vec<String>,
    /// How long the body of a request may take to arrive.
    pub patience: Duration,
    /// Whether the calls of the older bridge are served as well.
    pub compat_rest: bool,
}

/// What every handler may use.
#[derive(Debug)]
struct House {
    pulse: Pulse,
    bank: Bank,
    /// How long the body of a request may take to arrive.
    patience: Duration,
    /// How many event streams are open.
    event_streams: Arc<AtomicUsize>,
    player: Option<Player>,
    clock: fn() -> Timestamp,
    /// What the pages know of each branch.
    lookouts: Lookouts,
    tempo: Tempo,
}

impl House {
    /// The time within which 99 of 100 calls of the last minute were answered by this server; none without calls.
    fn p99(&self) -> Option<Duration> {
        self.tempo.p99(&self.pulse.read())
    }
}

/// The gateway of one thread. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    router: Router,
    hosts: Arc<Hosts>,
}

impl Gateway {
    /// A gateway; its connections belong to the runtime of its first request.
    #[must_use]
    pub fn new(settings: Settings) -> Gateway {
        let Settings { pulse, bank, player, clock, hosts, patience, compat_rest } = settings;
        let lookouts = Lookouts::new(bank.branches());
        let (event_streams, tempo) = (Arc::default(), Tempo::default());
        let house = House { pulse, bank, patience, event_streams, player, clock, lookouts, tempo };
        let older = if compat_rest { compat::router() } else { Router::new() };
        let router = routes::router().merge(page::router()).merge(older).with_state(Arc::new(house));
        Gateway { router, hosts: Arc::new(Hosts::new(&hosts)) }
    }

    /// The refusal of a request that may come from a page of another site; none when it may be answered.
    #[must_use]
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let failure = self.hosts.admit(request).err()?;
        Some(guard::armoured(Problem::from(failure).into_response()))
    }

    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let answer = match self.hosts.admit(&request) {
            Ok(()) if guard::is_other_grpc(request.headers()) => Problem::other_grpc().into_response(),
            Ok(()) => self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            Err(failure) => Problem::from(failure).into_response(),
        };
        guard::armoured(answer)
    }

    /// The answer to a request that comes when too many are being answered.
    #[must_use]
    pub fn overloaded() -> Response<Body> {
        guard::armoured(Problem::overloaded().into_response())
    }
}
