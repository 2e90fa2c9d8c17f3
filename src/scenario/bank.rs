//! The bank that a plan is played on: a replica for each branch of the plan, and one account that all share.
//!
//! Invariant: a request goes to the replica of its branch and to no other, so what the outputs say of a branch is
//! what its replica did. The runner calls it.

use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::plan::{Plan, Step};
use super::played::{Answer, Untraced};
use super::record;
use super::run::{RunError, Stage};
use crate::client::{Client, Config, Consistency, NewAccount, Options, Page};
use crate::model::{BranchName, Failure, LedgerId, Money, Reason, ReplicaId, Session};

/// How long one request may take with all its attempts, whatever happens to the servers.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server has to say which replica it is, before anything is played.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// Most replicas that are asked at the same time.
pub(super) const REPLICAS_AT_ONCE: usize = 32;

/// The replica that stands for a branch of the plan.
pub(super) struct Replica {
    pub(super) client: Client,
    /// The branch's id in the plan.
    pub(super) branch: u64,
    /// The address of its server.
    pub(super) server: String,
}

/// Which replica of which bank a server is.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    bank: String,
    ledger: Option<LedgerId>,
    replica: ReplicaId,
}

impl Replica {
    fn new(branch: u64, server: &str) -> Result<Replica, Failure> {
        let config = Config { timeout: PATIENCE, patience: PATIENCE / 3, ..Config::new([server]) };
        Ok(Replica { client: Client::new(&config)?, branch, server: server.to_owned() })
    }

    /// A failure of this replica, by name.
    pub(super) fn failed(&self, failure: Failure) -> RunError {
        RunError::Failed { branch: self.branch, server: self.server.clone(), failure }
    }

    /// Asks the server who it is.
    async fn identity(&self) -> Result<Identity, RunError> {
        let options = Options {
            session_token: Some(String::new()),
            timeout: Some(INTRODUCTION),
            ..Options::fresh(Consistency::Stale)
        };
        let page = Page { size: 1, token: "" };
        let seen = self.client.accounts(page, &options).await.map_err(|failure| self.failed(failure))?.seen;
        let session = Session::parse(&seen.session_token).unwrap_or_default();
        let bank = seen.branch.parse::<BranchName>().ok();
        let ledger = bank.and_then(|bank| session.of(&bank)).map(|seen| seen.ledger);
        Ok(Identity { bank: seen.branch, ledger, replica: ReplicaId(seen.replica) })
    }
}

/// The bank as a plan sees it.
pub(super) struct Bank<'a> {
    pub(super) plan: &'a Plan,
    /// For each branch of the plan.
    pub(super) replicas: Vec<Replica>,
    /// The account that all share.
    account: String,
    /// The session of its opening.
    pub(super) opened: String,
    /// What the names of this run's requests begin with, if they are traced.
    pub(super) run: Option<String>,
    /// Why they are not.
    pub(super) untraced: Option<Untraced>,
}

impl<'a> Bank<'a> {
    /// Looks whether each branch has a replica of its own, opens the shared account, and waits until every replica
    /// has it.
    pub(super) async fn open(plan: &'a Plan, stage: &Stage) -> Result<Bank<'a>, RunError> {
        let (branches, servers) = (plan.branches.len(), stage.servers.len());
        if servers < branches {
            return Err(RunError::TooFewServers { branches, servers });
        }
        let replica = |(branch, server): (&u64, &String)| Replica::new(*branch, server);
        let replicas =
            plan.branches.iter().zip(&stage.servers).map(replica).collect::<Result<Vec<_>, _>>()?;
        let (account, opened) = (String::new(), String::new());
        let mut bank = Bank { plan, replicas, account, opened, run: None, untraced: None };
        bank.introduce().await?;
        bank.untraced = match plan.is_traced() {
            true => record::not_recording(&bank.replicas).await?,
            false => Some(Untraced::TooLarge),
        };
        match &bank.untraced {
            Some(why) if plan.dialect.is_traced() => return Err(RunError::Untraced(why.clone())),
            Some(_) => {}
            None => {
                // What no other run is called.
                let id = Client::new_request_id();
                bank.run = Some(format!("{}.", id.rsplit('-').next().unwrap_or(&id)));
            }
        }
        let Some(first) = bank.replicas.first() else { return Ok(bank) };
        let deposit = if plan.balance == Money::ZERO { String::new() } else { plan.balance.to_string() };
        let new = NewAccount { deposit: &deposit, ..NewAccount::default() };
        let opened = first.client.open_account(new, &Options::default()).await;
        let opened = opened.map_err(|failure| first.failed(failure))?;
        (bank.account, bank.opened) = (opened.account, opened.seen.session_token);
        bank.everywhere(&bank.opened).await?;
        Ok(bank)
    }

    /// Sees to it that all replicas are of one bank, and no two of them the same.
    async fn introduce(&self) -> Result<(), RunError> {
        let identities = self.replicas.iter().map(Replica::identity);
        let identities: Vec<Identity> =
            stream::iter(identities).buffered(REPLICAS_AT_ONCE).try_collect().await?;
        let known: Vec<(&Replica, &Identity)> = self.replicas.iter().zip(&identities).collect();
        for (place, (replica, identity)) in known.iter().enumerate() {
            let Replica { branch, server, .. } = *replica;
            for (earlier, other) in known.iter().take(place) {
                let other_ledger = matches!((identity.ledger, other.ledger), (Some(a), Some(b)) if a != b);
                let (server, other_branch) = (server.clone(), earlier.branch);
                if identity.bank != other.bank || other_ledger {
                    return Err(RunError::OtherBank { branch: *branch, server, other: other_branch });
                }
                if identity.replica == other.replica {
                    return Err(RunError::SameReplica { branch: *branch, server, other: other_branch });
                }
            }
        }
        Ok(())
    }

    /// Returns when every replica shows what a session has seen.
    pub(super) async fn everywhere(&self, session: &str) -> Result<(), RunError> {
        let options = Options {
            session_token: Some(session.to_owned()),
            consistency: Some(Consistency::Session),
            ..Options::default()
        };
        let reads = self.replicas.iter().map(async |replica| {
            let read = replica.client.balance(&self.account, &options).await;
            read.map(drop).map_err(|failure| replica.failed(failure))
        });
        stream::iter(reads).buffer_unordered(REPLICAS_AT_ONCE).try_collect().await
    }

    /// Does what an event asks for, at its branch.
    pub(super) async fn perform(&self, step: Step, options: &Options) -> Result<Done, RunError> {
        let (Step::Query { branch } | Step::Deposit { branch, .. } | Step::Withdraw { branch, .. }) = step;
        let replica = &self.replicas[branch];
        self.perform_at(&replica.client, step, options).await.map_err(|failure| replica.failed(failure))
    }

    async fn perform_at(&self, client: &Client, step: Step, options: &Options) -> Result<Done, Failure> {
        let (write, amount) = match step {
            Step::Deposit { amount, .. } => (true, amount),
            Step::Withdraw { amount, .. } => (false, amount),
            Step::Query { .. } => (false, Money::ZERO),
        };
        if amount == Money::ZERO {
            // The bank moves no nothing: its writer learns the balance as from a query.
            let read = client.balance(&self.account, options).await?;
            let balance = money(&read.balance)?;
            let answer = match step {
                Step::Query { .. } => Answer::Balance(balance),
                Step::Deposit { .. } | Step::Withdraw { .. } => Answer::Success { balance },
            };
            return Ok(Done { answer, session: Some(read.seen.session_token), propagated: false });
        }
        let amount = amount.to_string();
        let written = match write {
            true => client.deposit(&self.account, &amount, options).await,
            false => client.withdraw(&self.account, &amount, options).await,
        };
        match written {
            Ok(written) => {
                let answer = Answer::Success { balance: money(&written.balance)? };
                Ok(Done { answer, session: Some(written.seen.session_token), propagated: true })
            }
            Err(failure) if matches!(failure.reason, Reason::InsufficientFunds | Reason::AmountOverflow) => {
                let balance = failure.metadata.get("available").and_then(|text| Money::parse(text).ok());
                Ok(Done { answer: Answer::Fail { balance }, session: None, propagated: false })
            }
            Err(failure) => Err(failure),
        }
    }
}

fn money(text: &str) -> Result<Money, Failure> {
    Money::parse(text).map_err(Failure::from)
}

/// What became of a request.
pub(super) struct Done {
    pub(super) answer: Answer,
    /// The session that has seen it; a refusal shows nothing new.
    pub(super) session: Option<String>,
    /// Whether the other replicas got it.
    pub(super) propagated: bool,
}
