//! The branches that the gateway reaches, each with a client of its own.
//!
//! An account reference names its branch or means the branch served here; so any server answers for every
//! account of every branch it knows.

use std::collections::BTreeMap;

use crate::client::{Client, Config, InProcess};
use crate::model::{AccountRef, BranchName, Failure, Reason};

/// Connections to a server under load; one alone goes in lock-step.
const CONNECTIONS: usize = 4;

/// The branches known here.
#[derive(Clone, Debug)]
pub struct Bank {
    home: BranchName,
    here: Client,
    others: BTreeMap<BranchName, Client>,
    /// Of which branch the server at an address is.
    servers: BTreeMap<String, BranchName>,
}

impl Bank {
    /// The branch served by this process, which has servers at `addresses`, and the servers of others.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` for a route whose servers are not `HOST:PORT`.
    pub fn new(
        home: BranchName,
        way: InProcess,
        addresses: &[String],
        routes: &BTreeMap<BranchName, Vec<String>>,
    ) -> Result<Bank, Failure> {
        let mut others = BTreeMap::new();
        for (branch, servers) in routes.iter().filter(|(branch, _)| **branch != home) {
            let config =
                Config { connections: CONNECTIONS, branch: Some(branch.clone()), ..Config::new(servers) };
            others.insert(branch.clone(), Client::new(&config)?);
        }
        let ours = addresses.iter().map(|address| (plain(address), home.clone()));
        let theirs = routes
            .iter()
            .flat_map(|(branch, servers)| servers.iter().map(|server| (plain(server), branch.clone())));
        let servers = theirs.chain(ours).collect();
        Ok(Bank { home, here: Client::in_process(way, CONNECTIONS), others, servers })
    }

    /// The branch that has a server at an address known here.
    pub(super) fn at(&self, host: &str, port: &str) -> Option<(&str, &Client)> {
        let branch = self.servers.get(&plain(&format!("{host}:{port}")))?;
        Some((branch.as_str(), self.of_branch(branch).ok()?))
    }

    /// The client of the branch of an account. What is no account goes to the branch served here, which
    /// says so.
    pub(super) fn of_account(&self, account: &str) -> Result<&Client, Failure> {
        match account.parse::<AccountRef>() {
            Ok(AccountRef { branch: Some(branch), .. }) => self.of_branch(&branch),
            Ok(AccountRef { branch: None, .. }) | Err(_) => Ok(&self.here),
        }
    }

    /// The client of the branch that a transfer or hold is of, by the branch before the colon of its name.
    pub(super) fn of_name(&self, name: &str) -> Result<&Client, Failure> {
        match name.split_once(':').map(|(branch, _)| branch.parse::<BranchName>()) {
            Some(Ok(branch)) => self.of_branch(&branch),
            // What is no name goes to the branch served here, which says so.
            Some(Err(_)) | None => Ok(&self.here),
        }
    }

    /// The client of a branch by name; of the branch served here when no name is given.
    pub(super) fn named(&self, branch: &str) -> Result<&Client, Failure> {
        match branch {
            "" => Ok(&self.here),
            name => self.of_branch(&name.parse::<BranchName>().map_err(|error| {
                Failure::new(Reason::ArgumentInvalid, error.to_string()).in_field("branch")
            })?),
        }
    }

    /// The branch served here.
    pub(super) fn home(&self) -> &BranchName {
        &self.home
    }

    /// All branches, the one served here first.
    pub(super) fn branches(&self) -> impl Iterator<Item = (&BranchName, &Client)> {
        std::iter::once((&self.home, &self.here)).chain(&self.others)
    }

    fn of_branch(&self, branch: &BranchName) -> Result<&Client, Failure> {
        if *branch == self.home {
            return Ok(&self.here);
        }
        self.others.get(branch).ok_or_else(|| {
            Failure::new(
                Reason::BranchUnknown,
                format!("this server knows no way to branch {branch}; check the name before the slash"),
            )
            .with("branch", branch)
        })
    }
}

/// An address with one name for the machine that this is.
fn plain(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    match address.rsplit_once(':') {
        Some(("localhost" | "[::1]" | "::1", port)) => format!("127.0.0.1:{port}"),
        Some(_) | None => address,
    }
}
