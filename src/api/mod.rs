//! The tonic services: parse, call, convert.
//!
//! Architecture invariant: no decisions here. A handler never reads a balance to decide a write, and a
//! mutating handler survives its client: nothing is awaited before [`Lane::execute`] has taken the work
//! over. Called by `server` only.

mod audit;
mod bank;
mod call;
mod cluster;
mod compat;
mod holds;
mod journal;
mod meter;
mod reads;
mod statement;
mod submit;
#[cfg(test)]
mod tests;
mod transfer_history;
mod transfers;
mod watch;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::Timestamp;
use crate::replication::Lane;
use crate::store::{Runtime, Tokio};
use crate::transfer::{ClientRoutes, Transfers};

pub use audit::Audits;
pub use call::{DEFAULT_DEADLINE, call_timeout};
pub use cluster::ClusterApi;
pub use compat::{BranchApi, CompatApi};
pub use meter::{CLASSES, Count, Meter, Rpc};

/// How often a quiet journal feed shows that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// What the services of one runtime stand on. Cheap to clone.
#[derive(Clone)]
pub struct House<R: Runtime = Tokio> {
    /// The way to the branch.
    pub lane: Lane<R>,
    /// Its transfers to and from other branches.
    pub transfers: Transfers<R>,
    /// The ways to other branches, for calls that belong there.
    pub ways: Arc<ClientRoutes>,
    /// The audits of the whole server.
    pub audits: Arc<Audits>,
    /// The wall clock, for ages that people see.
    pub clock: fn() -> Timestamp,
}

/// `bank.v1.BankService` for the calls of one runtime. Cheap to clone.
#[derive(Clone)]
pub struct BankApi<R: Runtime = Tokio> {
    lane: Lane<R>,
    transfers: Transfers<R>,
    ways: Arc<ClientRoutes>,
    clock: fn() -> Timestamp,
    closing: CancellationToken,
    heartbeat: Duration,
    meter: Arc<Meter>,
}

impl<R: Runtime> BankApi<R> {
    /// The service on what it stands on. Streams end when `closing` is cancelled; a quiet feed sends something
    /// every `heartbeat`. Calls are counted in the meter.
    #[must_use]
    pub fn new(
        house: House<R>,
        closing: CancellationToken,
        heartbeat: Duration,
        meter: Arc<Meter>,
    ) -> BankApi<R> {
        let House { lane, transfers, ways, clock, audits: _ } = house;
        BankApi { lane, transfers, ways, clock, closing, heartbeat, meter }
    }
}
