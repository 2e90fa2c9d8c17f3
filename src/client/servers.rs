//! The servers a client may ask: addresses, connections, and which server it prefers.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tonic::transport::{Channel, Endpoint};
use tower::Service as _;

use crate::model::{Failure, Reason};

/// The port when an address names none.
const DEFAULT_PORT: u16 = 9001;
/// Most connections to one server.
const MAX_CONNECTIONS: usize = 64;
/// How long the TCP handshake may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection with calls in flight is asked for a sign of life this often,
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// and is given up when none comes within this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Flow-control windows that let a full batch pass without waiting for the other side.
pub(super) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// What the server of this process is called in messages; nothing is sent there.
const THIS_PROCESS: &str = "this-process:9001";

/// The way to the server of this process: each call opens a connection to it, without any socket. Called
/// on the runtime of the client's calls.
#[derive(Clone)]
pub struct InProcess(Arc<dyn Fn() -> io::Result<DuplexStream> + Send + Sync>);

impl InProcess {
    /// A way that opens connections with `dial`.
    #[must_use]
    pub fn new(dial: impl Fn() -> io::Result<DuplexStream> + Send + Sync + 'static) -> InProcess {
        InProcess(Arc::new(dial))
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

/// The servers in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
    /// Index of the server that answered last, taken modulo the number of servers.
    preferred: AtomicUsize,
}

impl Servers {
    pub(super) fn new(addresses: &[String], connections: usize) -> Result<Servers, Failure> {
        if addresses.is_empty() {
            return Err(Failure::new(
                Reason::ArgumentInvalid,
                "no server is named; give HOST:PORT, or several of them",
            ));
        }
        let connections = connections.clamp(1, MAX_CONNECTIONS);
        let servers = addresses
            .iter()
            .map(|address| Server::new(address, connections))
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(Servers { servers, preferred: AtomicUsize::new(0) })
    }

    /// The server of this process alone.
    pub(super) fn in_process(way: InProcess, connections: usize) -> Servers {
        let connections = connections.clamp(1, MAX_CONNECTIONS);
        let server = Server::new(THIS_PROCESS, connections).expect("a constant that is HOST:PORT");
        let server = Server { way: Some(way), ..server };
        Servers { servers: vec![server], preferred: AtomicUsize::new(0) }
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// The server to ask, and its place for [`Servers::turn_from`].
    pub(super) fn preferred(&self) -> (usize, &Server) {
        let place = self.preferred.load(Ordering::Relaxed);
        (place, &self.servers[place % self.servers.len()])
    }

    /// Prefers the next server, unless another call has turned away from `place` already.
    pub(super) fn turn_from(&self, place: usize) {
        let next = place.wrapping_add(1);
        let _ = self.preferred.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// One server and the connections to it.
#[derive(Debug)]
pub(super) struct Server {
    address: String,
    endpoint: Endpoint,
    /// How the server of this process is reached; others are over the network.
    way: Option<InProcess>,
    connections: usize,
    // Filled by the first call, because only then there is a runtime that can carry connections.
    wires: OnceLock<Vec<Wire>>,
    turn: AtomicUsize,
}

impl Server {
    fn new(address: &str, connections: usize) -> Result<Server, Failure> {
        let address = with_port(address.trim());
        Ok(Server {
            endpoint: endpoint(&address)?,
            address,
            way: None,
            connections,
            wires: OnceLock::new(),
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// One of the connections, in turn.
    pub(super) fn wire(&self) -> Wire {
        let wires = self.wires.get_or_init(|| (0..self.connections).map(|_| self.connect()).collect());
        wires[self.turn.fetch_add(1, Ordering::Relaxed) % wires.len()].clone()
    }

    fn connect(&self) -> Wire {
        let count = Arc::new(AtomicU64::new(0));
        let channel = if let Some(InProcess(dial)) = self.way.clone() {
            let count = Arc::clone(&count);
            self.endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                count.fetch_add(2, Ordering::Relaxed);
                std::future::ready(dial().map(TokioIo::new))
            }))
        } else {
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
            let count = Arc::clone(&count);
            self.endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: http::Uri| {
                let count = Arc::clone(&count);
                // A dial after one that failed stays odd.
                count.fetch_or(1, Ordering::Relaxed);
                let dialing = tcp.call(uri);
                async move {
                    let stream = dialing.await?;
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, <HttpConnector as tower::Service<http::Uri>>::Error>(stream)
                }
            }))
        };
        Wire { channel, count }
    }
}

/// A connection that is made when it is needed, and made again when it breaks.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    channel: Channel,
    /// Odd while a connection is being made, even when it stands; zero before the first.
    count: Arc<AtomicU64>,
}

/// How often a connection was made when somebody looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Dialed(u64);

impl Wire {
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn dialed(&self) -> Dialed {
        Dialed(self.count.load(Ordering::Relaxed))
    }
}

impl Dialed {
    /// Whether there was no connection at the earlier look, and none since: nothing can have been sent.
    pub(super) fn never_connected_since(self, earlier: Dialed) -> bool {
        let none = |dialed: Dialed| dialed.0 == 0 || dialed.0 % 2 == 1;
        none(earlier) && none(self) && self.0 <= earlier.0.max(1)
    }
}

/// `HOST` with the default port, `HOST:PORT` as it is. An IPv6 address with a port stands in brackets.
pub(super) fn with_port(address: &str) -> String {
    let bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    let after_host = if address.starts_with('[') { address.rsplit(']').next() } else { Some(address) };
    match after_host {
        _ if bare_v6 => format!("[{address}]:{DEFAULT_PORT}"),
        Some(rest) if rest.contains(':') => address.to_owned(),
        Some(_) | None => format!("{address}:{DEFAULT_PORT}"),
    }
}

/// How this program connects to a server.
///
/// # Errors
/// `ARGUMENT_INVALID` when the address is not `HOST:PORT`.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let wrong = || {
        Failure::new(
            Reason::ArgumentInvalid,
            format!("{address:?} is not a server address; write HOST:PORT, like 127.0.0.1:9001"),
        )
        .with("server", address)
    };
    let uri: http::Uri = format!("http://{address}").parse().map_err(|_| wrong())?;
    let plain = uri.authority().is_some_and(|authority| authority.as_str() == address)
        && uri.port_u16().is_some_and(|port| port > 0)
        && uri.host().is_some_and(|host| !host.is_empty())
        && !address.contains('@');
    if !plain {
        return Err(wrong());
    }
    Ok(Endpoint::from(uri)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (text, address) in [
            ("localhost", "localhost:9001"),
            ("127.0.0.1:7", "127.0.0.1:7"),
            ("::1", "[::1]:9001"),
            ("[::1]", "[::1]:9001"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(Server::new(text, 1).unwrap().address(), address);
        }
        for text in [
            "",
            ":",
            "host:",
            "host:x",
            "host:0",
            "host:70000",
            "a b",
            "u@host:1",
            "host:1/path",
            "http://h:1",
        ] {
            let failure = Server::new(text, 1).unwrap_err();
            assert_eq!(failure.reason, Reason::ArgumentInvalid, "{text:?}");
        }
        assert_eq!(Servers::new(&[], 1).unwrap_err().reason, Reason::ArgumentInvalid);
    }

    #[test]
    fn what_never_had_a_connection_sent_nothing() {
        for (before, after, expected) in [
            (0, 0, true),
            (0, 1, true),
            (1, 1, true),
            (3, 3, true),
            (0, 2, false),
            (0, 3, false),
            (1, 2, false),
            (1, 3, false),
            (2, 2, false),
            // A connection that stood and is being made again may have carried the request.
            (2, 3, false),
        ] {
            assert_eq!(Dialed(after).never_connected_since(Dialed(before)), expected, "{before} {after}");
        }
    }

    #[test]
    fn two_calls_that_fail_on_one_server_turn_once() {
        let servers = Servers::new(&["a:1".to_owned(), "b:1".to_owned()], 1).unwrap();
        let (place, first) = servers.preferred();
        assert_eq!(first.address(), "a:1");
        servers.turn_from(place);
        servers.turn_from(place);
        assert_eq!(servers.preferred().1.address(), "b:1");
    }
}
