//! The pulse of a server: the counters of its workers, put together when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::budget::Budgets;
use super::callers::Callers;
use crate::api::{Audits, CLASSES, Count, Meter};
use crate::gateway::{Figures, Operations, Pulse};
use crate::model::Reason;
use crate::replication::Branch;

/// What one worker counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    /// Calls that ended.
    pub(super) meter: Arc<Meter>,
    /// gRPC calls in flight.
    pub(super) calls: Arc<AtomicUsize>,
    /// Requests of HTTP in flight.
    pub(super) requests: Arc<AtomicUsize>,
}

/// What a server counts.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) workers: Vec<Counters>,
    /// Open connections.
    pub(super) connections: Arc<AtomicUsize>,
    /// The bytes that its calls may hold.
    pub(super) budgets: Budgets,
    /// The connections of each address.
    pub(super) connected: Arc<Callers>,
    /// The feeds of each address.
    pub(super) feeds: Arc<Callers>,
    /// Its audits, one at a time.
    pub(super) audits: Arc<Audits>,
    pub(super) shutdown: CancellationToken,
}

impl Watched {
    /// The pulse of the server whose branch this is.
    pub(super) fn pulse(self: &Arc<Watched>, branch: Branch) -> Pulse {
        let watched = Arc::clone(self);
        Pulse::new(move || watched.figures(&branch))
    }

    fn figures(&self, branch: &Branch) -> Figures {
        let sum = |of: fn(&Counters) -> &AtomicUsize| {
            self.workers.iter().map(|worker| of(worker).load(Ordering::Relaxed)).sum()
        };
        let counts = Meter::sum(self.workers.iter().map(|worker| &*worker.meter));
        Figures {
            vitals: branch.vitals(),
            draining: self.shutdown.is_cancelled(),
            connections: self.connections.load(Ordering::Relaxed),
            calls: sum(|worker| &worker.calls),
            requests: sum(|worker| &worker.requests),
            operations: counts.into_iter().map(operations).collect(),
        }
    }
}

fn operations(count: Count) -> Operations {
    let end = |(reason, count): (Option<Reason>, u64)| (reason.map_or("OK", Reason::as_str), count);
    Operations {
        kind: count.rpc.as_str(),
        ends: count.ends.into_iter().map(end).collect(),
        classes: CLASSES.into_iter().zip(count.classes).collect(),
        took: count.took,
    }
}
