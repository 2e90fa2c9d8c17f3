//! Listening: a host and a port become sockets that nobody else has.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};

use socket2::{Domain, Socket, Type};

use super::ServerError;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Binds every address of the host, all to the same port; port 0 takes a free one.
///
/// The sockets are exclusive: a second server on the same address is refused, never given a share of the
/// connections.
pub(super) fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, ServerError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut addresses: Vec<SocketAddr> = (bare, port)
        .to_socket_addrs()
        .map_err(|error| ServerError::Host { host: host.to_owned(), error })?
        .collect();
    addresses.dedup();
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut refusal = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for mut address in addresses {
        if let Some(first) = listeners.first() {
            address.set_port(
                first.local_addr().map_err(|error| ServerError::Address { address, error })?.port(),
            );
        }
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            // A name often has an address of a kind that this machine does not use.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => refusal = error,
            Err(error) => return Err(ServerError::Address { address, error }),
        }
    }
    if listeners.is_empty() {
        return Err(ServerError::Host { host: host.to_owned(), error: refusal });
    }
    Ok(listeners)
}

/// Where sockets listen that were bound together: the first of them stands for all.
pub(super) fn address(listeners: &[TcpListener]) -> Result<SocketAddr, ServerError> {
    let first = listeners.first().expect("binding gives at least one listener");
    first.local_addr().map_err(ServerError::Thread)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Lets a restarted server bind while connections of the former one linger; not while it listens.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_never_share_a_port() {
        let first = bind("127.0.0.1", 0).unwrap();
        let port = first[0].local_addr().unwrap().port();
        let error = bind("127.0.0.1", port).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[test]
    fn a_name_is_resolved_and_all_its_addresses_have_one_port() {
        let listeners = bind("localhost", 0).unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        assert!(listeners.iter().all(|listener| port(listener) == port(&listeners[0])));
    }

    #[test]
    fn a_host_that_is_not_ours_is_refused() {
        for host in ["192.0.2.1", "no such host", "host.invalid", ""] {
            assert!(matches!(bind(host, 0), Err(ServerError::Host { .. })), "{host:?}");
        }
    }
}
