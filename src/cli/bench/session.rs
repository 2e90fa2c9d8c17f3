//! Session reads beside the load: what a customer waits who writes at one server and reads at another.
//!
//! One loop pays into an account of its own and reads it back with the session of that deposit. The account is
//! none of the run's, so its money is not in the run's book; every answer must show the deposit before it.

use std::time::Instant;

use crate::client::{Client, Config, Consistency, NewAccount, Options};
use crate::model::Failure;

use super::tally::Meter;

/// Two clients that share nothing but the session token that the loop carries from one to the other.
pub(super) struct Follower {
    writer: Client,
    reader: Client,
    account: String,
    seen: Seen,
}

/// What the loop has seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) writes: Meter,
    pub(super) reads: Meter,
    /// The first answer that was none, or that did not show the deposit before it.
    pub(super) first_error: Option<String>,
}

impl Follower {
    /// Connects and opens the account.
    ///
    /// # Errors
    /// When either server cannot be reached.
    pub(super) async fn open(write_at: &str, read_at: &str) -> Result<Follower, Failure> {
        let writer = Client::new(&Config::new([write_at]))?;
        let reader = Client::new(&Config::new([read_at]))?;
        reader.health(&Options::default()).await?;
        let account = writer.open_account(NewAccount::default(), &Options::default()).await?.account;
        let seen = Seen { writes: Meter::new(), reads: Meter::new(), first_error: None };
        Ok(Follower { writer, reader, account, seen })
    }

    /// Writes and reads in turn until the future is dropped; the figures stay.
    pub(super) async fn run(&mut self) {
        loop {
            if let Err(problem) = self.turn().await {
                self.seen.first_error.get_or_insert(problem);
                // Another loop must not starve the servers that just refused it.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let written = self.writer.deposit(&self.account, "0.01", &Options::default()).await;
        let balance = written.map_err(|failure| failure.to_string())?.balance;
        self.seen.writes.record(1, started.elapsed());
        let options = Options {
            session_token: Some(self.writer.session_token()),
            ..Options::fresh(Consistency::Session)
        };
        let started = Instant::now();
        let read =
            self.reader.balance(&self.account, &options).await.map_err(|failure| failure.to_string())?;
        self.seen.reads.record(1, started.elapsed());
        if read.balance == balance {
            Ok(())
        } else {
            Err(format!("a session read shows {} after {balance}", read.balance))
        }
    }

    /// What was seen.
    pub(super) fn seen(self) -> Seen {
        self.seen
    }
}
