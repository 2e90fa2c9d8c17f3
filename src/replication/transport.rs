//! The seam under the network: how bytes get from one replica to another.
//!
//! Invariant: what the messages mean is known above this seam only, and everything above it is the same
//! in a server, in tests and in the simulation. `network`, `peers` and `door` use it; `grpc` implements it
//! with sockets, tests with queues that they can cut.

use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// Ways to other replicas.
pub trait Transport: Send + Sync + 'static {
    /// A connection of its own to an address. It connects when it is first used, and again after a loss, so
    /// making one cannot fail, and what goes through one does not queue behind what goes through another.
    fn link(&self, address: &str) -> Box<dyn Link>;
}

/// A connection to one replica. Nothing here has a deadline of its own: callers bring theirs.
pub trait Link: Send + Sync + 'static {
    /// Asks and waits for the answer.
    fn call(&self, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Lost>>;

    /// Sends messages in order and receives answers in order, until either side ends or the way is lost.
    fn stream(&self, messages: BoxStream<'static, Vec<u8>>) -> BoxFuture<'static, Result<Answers, Lost>>;
}

/// The answers of a stream, in order. After an error there is nothing more.
pub type Answers = BoxStream<'static, Result<Vec<u8>, Lost>>;

/// The side that is called.
pub trait Door: Send + Sync + 'static {
    /// Answers one message. Dropping the future loses only the answer.
    fn call(&self, message: Vec<u8>) -> BoxFuture<'static, Vec<u8>>;

    /// Answers a stream of messages.
    fn stream(&self, messages: BoxStream<'static, Vec<u8>>) -> BoxStream<'static, Vec<u8>>;
}

/// A message or its answer did not come through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Whether the message may have arrived all the same.
    pub sent: bool,
    /// What happened, for people.
    pub why: String,
}

/// The transport of a replica that will never have peers.
pub struct NoPeers;

impl Transport for NoPeers {
    fn link(&self, address: &str) -> Box<dyn Link> {
        Box::new(NoPeer(address.to_owned()))
    }
}

struct NoPeer(String);

impl NoPeer {
    fn lost(&self) -> Lost {
        Lost { sent: false, why: format!("this replica has no way to {}", self.0) }
    }
}

impl Link for NoPeer {
    fn call(&self, _message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Lost>> {
        Box::pin(std::future::ready(Err(self.lost())))
    }

    fn stream(&self, _messages: BoxStream<'static, Vec<u8>>) -> BoxFuture<'static, Result<Answers, Lost>> {
        Box::pin(std::future::ready(Err(self.lost())))
    }
}
