//! Who calls: how much each address has of what a server shares out, so that one cannot take it all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// How many times as much this machine's own addresses may have: a proxy there speaks for everybody.
const LOOPBACK_SHARE: usize = 8;

/// What is in use, by address. No larger than what all addresses together may have.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<HashMap<IpAddr, usize>>);

/// Something that an address has as long as this lives.
#[derive(Debug)]
pub(super) struct Taken {
    of: Arc<Callers>,
    address: IpAddr,
}

impl Callers {
    /// Counts one more for an address, unless it has `limit` already.
    pub(super) fn take(self: &Arc<Callers>, address: IpAddr, limit: usize) -> Option<Taken> {
        let limit = if address.to_canonical().is_loopback() { limit * LOOPBACK_SHARE } else { limit };
        let address = network(address);
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Taken { of: Arc::clone(self), address })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The address, or of IPv6 the network of 64 bits, all of whose addresses one machine may use.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_than_its_share_and_gives_it_back() {
        let callers = Arc::new(Callers::default());
        let take = |address: &str, limit: usize| callers.take(address.parse().unwrap(), limit);
        let first = [take("192.0.2.1", 2), take("::ffff:192.0.2.1", 2)];
        assert!(first.iter().all(Option::is_some) && take("192.0.2.1", 2).is_none());
        let others = [take("192.0.2.2", 2), take("2001:db8::1", 1), take("2001:db8:0:1::1", 1)];
        assert!(others.iter().all(Option::is_some) && take("2001:db8::2", 1).is_none());
        let own: Vec<_> = (0..LOOPBACK_SHARE).map(|_| take("127.0.0.1", 1)).collect();
        assert!(own.iter().all(Option::is_some) && take("127.0.0.1", 1).is_none());
        drop(first);
        assert!(take("192.0.2.1", 2).is_some());
        drop((others, own));
        assert!(callers.0.lock().is_empty());
    }
}
