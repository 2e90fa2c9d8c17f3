//! The tonic services: parse, call, convert.
//!
//! Architecture invariant: no decisions here. A handler never reads a balance to decide a write, and a
//! mutating handler survives its client: nothing is awaited before [`Lane::execute`] has taken the work
//! over. Called by `server` only.

mod bank;
mod call;
mod cluster;
mod compat;
mod meter;
mod reads;
mod statement;
mod submit;
mod watch;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::replication::Lane;

pub use call::{DEFAULT_DEADLINE, call_timeout};
pub use cluster::ClusterApi;
pub use compat::{BranchApi, CompatApi};
pub use meter::{CLASSES, Count, Meter, Rpc};

/// How often a quiet journal feed shows that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// `bank.v1.BankService` for the calls of one runtime. Cheap to clone.
#[derive(Clone)]
pub struct BankApi {
    lane: Lane,
    closing: CancellationToken,
    heartbeat: Duration,
    meter: Arc<Meter>,
}

impl BankApi {
    /// The service on a lane. Streams end when `closing` is cancelled; a quiet feed sends something every
    /// `heartbeat`. Calls are counted in the meter.
    #[must_use]
    pub fn new(lane: Lane, closing: CancellationToken, heartbeat: Duration, meter: Arc<Meter>) -> BankApi {
        BankApi { lane, closing, heartbeat, meter }
    }
}
