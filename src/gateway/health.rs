//! How the server of this process is: alive, ready, and in figures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Failure, Reason, Role, Unavailable, Vitals};

use super::call::Call;
use super::metrics;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Answers, Method, Route};

const TEXT: &str = "text/plain; charset=utf-8";
/// The media type of figures, in the form that Prometheus reads.
const FIGURES: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Committed entries that a replica may have still to apply and be ready all the same.
const BEHIND: u64 = 1_000;

/// How many calls of a kind ended in one way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operations {
    /// The kind.
    pub kind: &'static str,
    /// How many ended so: `OK`, or a reason of the catalogue.
    pub ends: Vec<(&'static str, u64)>,
    /// How many took at most as long, longer than the bound before; in the order of the bounds.
    pub classes: Vec<(Duration, u64)>,
    /// How long all of them took together.
    pub took: Duration,
}

/// The figures of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figures {
    /// How its replica is.
    pub vitals: Vitals,
    /// Whether it is being stopped.
    pub draining: bool,
    /// Open connections.
    pub connections: usize,
    /// gRPC calls in flight.
    pub calls: usize,
    /// Requests of HTTP in flight.
    pub requests: usize,
    /// The calls so far, for each kind of which there was one.
    pub operations: Vec<Operations>,
}

/// How the gateway learns how its server is, at once and without asking over the network.
#[derive(Clone)]
pub struct Pulse(Arc<dyn Fn() -> Figures + Send + Sync>);

impl Pulse {
    /// A pulse that is read by calling a function.
    #[must_use]
    pub fn new(read: impl Fn() -> Figures + Send + Sync + 'static) -> Pulse {
        Pulse(Arc::new(read))
    }

    /// How the server is now.
    pub(super) fn read(&self) -> Figures {
        (self.0)()
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pulse")
    }
}

/// The routes of whoever watches servers.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/healthz",
        name: "getHealth",
        summary: "See whether the process lives",
        query: &[],
        body: None,
        answers: Answers { status: 200, media_type: TEXT, shape: None },
        handler: |_| Box::pin(async { Ok(Reply::bytes(TEXT, "alive\n")) }),
    },
    Route {
        method: Method::Get,
        path: "/readyz",
        name: "getReadiness",
        summary: "See whether this server takes work: it has a leader and a majority, has caught up, has room on its disk and is not stopping",
        query: &[],
        body: None,
        answers: Answers { status: 200, media_type: TEXT, shape: None },
        handler: |call| Box::pin(ready(call)),
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        name: "getMetrics",
        summary: "Read the figures of this server as Prometheus does",
        query: &[],
        body: None,
        answers: Answers { status: 200, media_type: FIGURES, shape: None },
        handler: |call| {
            Box::pin(async move { Ok(Reply::bytes(FIGURES, metrics::text(&call.house.pulse.read()))) })
        },
    },
];

async fn ready(call: Call) -> Result<Reply, Problem> {
    match unready(&call.house.pulse.read()) {
        None => Ok(Reply::bytes(TEXT, "ready\n")),
        Some(failure) => Err(failure.into()),
    }
}

/// Why a server takes no work at the moment.
pub(super) fn unready(figures: &Figures) -> Option<Failure> {
    let vitals = &figures.vitals;
    let status = &vitals.status;
    let (applied, committed) = (status.applied, status.committed);
    match status.role {
        _ if figures.draining => Some(Unavailable::Stopping.into()),
        Role::Stopped | Role::Removed => Some(Unavailable::Stopping.into()),
        _ if !vitals.joined => Some(Unavailable::Starting.into()),
        _ if !vitals.quorum => Some(Unavailable::NoQuorum.into()),
        _ if vitals.leader.is_none() => Some(Unavailable::NoLeader.into()),
        _ if vitals.storage_full => Some(Unavailable::StorageFull.into()),
        Role::Leader | Role::Follower | Role::Candidate | Role::Learner => {
            (committed.saturating_sub(applied) > BEHIND).then(|| {
                Failure::new(
                    Reason::ReplicaBehind,
                    format!("this replica has applied {applied} of {committed} committed entries"),
                )
                .with("applied", applied)
                .with("committed", committed)
            })
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Digest, InDoubtCount, ReplicaId, ReplicaStatus, Sequence, Timestamp};

    pub(in crate::gateway) fn healthy() -> Figures {
        let status = ReplicaStatus {
            role: Role::Leader,
            term: 3,
            log: 70,
            committed: 69,
            applied: 68,
            sequence: Sequence(640),
            digest: Digest([0; 32]),
        };
        let vitals = Vitals {
            branch: "main".parse().unwrap(),
            replica: ReplicaId(2),
            status,
            leader: Some(ReplicaId(2)),
            quorum: true,
            peers: vec![(ReplicaId(1), true), (ReplicaId(3), false)],
            joined: true,
            storage_full: false,
            in_doubt: InDoubtCount {
                open_transfers: 2,
                prepared_credits: 1,
                oldest: Some(Timestamp::from_micros(1_795_000_000_123_456)),
            },
        };
        let (draining, operations) = (false, Vec::new());
        Figures { vitals, draining, connections: 5, calls: 4, requests: 1, operations }
    }

    fn reason(change: impl FnOnce(&mut Figures)) -> Option<Reason> {
        let mut figures = healthy();
        change(&mut figures);
        unready(&figures).map(|failure| failure.reason)
    }

    #[test]
    fn a_server_is_ready_when_nothing_is_in_its_way() {
        assert_eq!(reason(|_| {}), None);
        assert_eq!(reason(|figures| figures.draining = true), Some(Reason::Stopping));
        assert_eq!(reason(|figures| figures.vitals.status.role = Role::Stopped), Some(Reason::Stopping));
        assert_eq!(reason(|figures| figures.vitals.joined = false), Some(Reason::Starting));
        assert_eq!(reason(|figures| figures.vitals.quorum = false), Some(Reason::NoQuorum));
        assert_eq!(reason(|figures| figures.vitals.leader = None), Some(Reason::NoLeader));
        assert_eq!(reason(|figures| figures.vitals.storage_full = true), Some(Reason::StorageFull));
        assert_eq!(reason(|figures| figures.vitals.status.committed = 9_999), Some(Reason::ReplicaBehind));
    }
}
