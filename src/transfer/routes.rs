//! The ways to the other branches.
//!
//! Invariant: what the messages mean is known above this seam only. In a server the client library is behind it, so
//! that failover and deadlines are the same as for customers; in the simulation a network that does its worst.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;

use super::message::{Body, Message, Reply, decode, encode};
use crate::client::{Client, Config, Options};
use crate::model::{BranchName, Failure, Reason};
use crate::store::Runtime;

/// Connections to each server of another branch.
const CONNECTIONS: usize = 2;

/// Ways to other branches.
pub trait Routes: Send + Sync + 'static {
    /// Whether there is a way to this branch.
    fn knows(&self, branch: &BranchName) -> bool;

    /// Brings a message to any server of a branch and the answer back, within `patience`. It may arrive more than
    /// once.
    fn exchange(
        &self,
        branch: &BranchName,
        message: Vec<u8>,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>>;
}

/// The servers of other branches, reached through the client library. Its connections belong to the runtime of their
/// first use, so each runtime has one of these of its own.
#[derive(Debug)]
pub struct ClientRoutes {
    clients: BTreeMap<BranchName, Client>,
}

impl ClientRoutes {
    /// Ways to these servers, `HOST:PORT` of each branch.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` for an address that is none.
    pub fn new(routes: &BTreeMap<BranchName, Vec<String>>) -> Result<ClientRoutes, Failure> {
        let client = |(branch, servers): (&BranchName, &Vec<String>)| {
            let config =
                Config { connections: CONNECTIONS, branch: Some(branch.clone()), ..Config::new(servers) };
            Ok((branch.clone(), Client::new(&config)?))
        };
        Ok(ClientRoutes { clients: routes.iter().map(client).collect::<Result<_, Failure>>()? })
    }

    /// The client of a branch, for calls of customers that concern it.
    ///
    /// # Errors
    /// `BRANCH_UNKNOWN` when there is no way to it.
    pub fn client(&self, branch: &BranchName) -> Result<&Client, Failure> {
        self.clients.get(branch).ok_or_else(|| unknown(branch))
    }

    /// The branches that there are ways to.
    pub fn branches(&self) -> impl Iterator<Item = &BranchName> {
        self.clients.keys()
    }
}

/// Sends a message to another branch over the way that this server was started with, and returns the answer.
///
/// # Errors
/// `BRANCH_UNKNOWN`, `UNREACHABLE`, why the branch refuses, or `ARGUMENT_INVALID` for bytes that are no answer.
pub(super) async fn exchange<R: Runtime>(
    routes: &dyn Routes,
    to: &BranchName,
    body: Body,
    patience: Duration,
) -> Result<Reply, Failure> {
    let message = encode(&Message { to: to.clone(), body });
    let answer = R::timeout(patience, routes.exchange(to, message, patience)).await;
    let silent = || {
        let what = format!("branch {to} gave no answer in {} ms", patience.as_millis());
        Err(Failure::new(Reason::Unreachable, what).with("branch", to))
    };
    decode(&answer.unwrap_or_else(silent)?)
}

/// Why a branch cannot be reached to which there is no way.
pub(super) fn unknown(branch: &BranchName) -> Failure {
    let what =
        format!("no way to branch {branch} is known here; start the servers with --route {branch}=HOST:PORT");
    Failure::new(Reason::BranchUnknown, what).with("branch", branch)
}

impl Routes for ClientRoutes {
    fn knows(&self, branch: &BranchName) -> bool {
        self.clients.contains_key(branch)
    }

    fn exchange(
        &self,
        branch: &BranchName,
        message: Vec<u8>,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        let client = self.client(branch).cloned();
        Box::pin(async move {
            let options = Options { timeout: Some(patience), ..Options::default() };
            client?.exchange(message, &options).await
        })
    }
}
