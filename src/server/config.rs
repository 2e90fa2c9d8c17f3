//! What a server is started with.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::routes::Routes;
use crate::api::HEARTBEAT;
use crate::gateway::Player;
use crate::model::{AccountNumber, BranchName, ReplicaId};
use crate::replication::ELECTION;

/// Most threads that serve calls.
pub const MOST_THREADS: usize = 256;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name or address to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// How many threads serve calls.
    pub threads: NonZeroUsize,
    /// The branch served here.
    pub branch: BranchName,
    /// Where data is kept; none keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Which replica of the branch this server is.
    pub replica: ReplicaId,
    /// The replicas that form the branch, the same list for each; empty for one that founds a branch alone.
    pub peers: BTreeMap<ReplicaId, String>,
    /// Where the other replicas reach this one; as the list of peers says, or as it listens, when not given.
    pub advertise: Option<String>,
    /// Whether a branch without accounts gets 1001 and 1002 with 1000.00 each.
    pub preload: bool,
    /// Shortest silence of a leader after which a replica stands for election.
    pub election: Duration,
    /// Whether the replica has a logical clock and records the events of calls that are traced.
    pub trace_events: bool,
    /// The account that `Branch.MsgDelivery` serves; none when older branch clients are not served.
    pub branch_account: Option<AccountNumber>,
    /// The id by which older branch clients know this server, where they know it by one.
    pub branch_id: Option<u64>,
    /// The other branches and where their servers are.
    pub routes: Routes,
    /// What plays scenario files for the dashboard; without one its page says that there is none.
    pub player: Option<Player>,
    /// Names by which browsers may call this server over HTTP, besides `host` and those of the loopback.
    pub http_hosts: Vec<String>,
    /// Whether the form-encoded calls of the older REST bridge are served.
    pub compat_rest: bool,
    /// The named limits.
    pub limits: Limits,
}

impl Config {
    /// A lone memory server of a branch, as the program starts it without any argument.
    #[must_use]
    pub fn new(branch: BranchName) -> Config {
        Config {
            host: "127.0.0.1".to_owned(),
            port: 9001,
            threads: NonZeroUsize::MIN.saturating_add(3),
            branch,
            data_dir: None,
            replica: ReplicaId(1),
            peers: BTreeMap::new(),
            advertise: None,
            preload: false,
            election: ELECTION,
            trace_events: false,
            branch_account: None,
            branch_id: None,
            routes: Routes::new(),
            player: None,
            http_hosts: Vec::new(),
            compat_rest: false,
            limits: Limits::default(),
        }
    }
}

/// The limits of one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most connections; more are refused.
    pub connections: usize,
    /// Most connections of one address, or of one IPv6 network of 64 bits; this machine's own addresses may have eight
    /// times as many, because a proxy speaks for everybody.
    pub connections_per_address: usize,
    /// Most calls and streams in flight on one thread; more are answered with `OVERLOADED`.
    pub calls_per_thread: usize,
    /// How long accepted calls have to finish when the server stops.
    pub grace: Duration,
    /// How long a connection may take to say what it wants, and a request of HTTP to arrive in full.
    pub opening: Duration,
    /// How long a caller may leave an answer unread; then its connection is closed.
    pub unread: Duration,
    /// How often a quiet journal feed shows that it is alive.
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 8_192,
            connections_per_address: 1_024,
            calls_per_thread: 16_384,
            grace: Duration::from_secs(10),
            opening: Duration::from_secs(10),
            unread: Duration::from_secs(60),
            heartbeat: HEARTBEAT,
        }
    }
}
