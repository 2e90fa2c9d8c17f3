//! How a branch begins: the replicas find each other, form one group, and give the ledger its identity.
//!
//! Invariant: one group per branch. Of replicas that are started with the same list, only the one with the
//! lowest number forms the group, and only after every other one has said that it has the same list and neither
//! log nor vote; the others wait to be called. So two never form at once, and a replica that has lost its
//! log cannot form the branch anew: its peers know better.
//!
//! A replica whose log is gone has another *incarnation* than the one the group's log names. Messages to it are
//! refused by itself, so it takes no part under its old number, and when it asks its peers at its start it
//! learns so and ends.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use openraft::{Raft, ReadPolicy};
use tokio::sync::Notify;

use super::branch::Clock;
use super::message::{Answer, Ask, Hello, Refusal};
use super::outlook::{Leader, Outlook};
use super::peers::{Peers, Trouble};
use super::rollback::Memory;
use crate::model::{Batch, LedgerId, ReplicaId};
use crate::store::{Current, Directory, LogBatch, Machine, Member, Runtime, Types};

/// How long a peer may take to say who it is.
const HELLO: Duration = Duration::from_millis(500);
/// How long to wait before asking those again that did not answer.
const AGAIN: Duration = Duration::from_millis(50);
/// How often peers must say that this replica has lost its log before it believes it: one that has
/// just been removed may still stand in the books of a peer that is a little behind.
const CERTAIN: u32 = 10;
/// How long a replica that cannot take part still answers the others.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long founding may take before it is tried again.
const FOUNDING: Duration = Duration::from_secs(1);

/// Why a replica cannot take part in its branch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormationError {
    /// Two replicas were started with different lists.
    #[error(
        "replica {replica} was started with the peers {theirs}, this one with {ours}; start all with the same list"
    )]
    PeersDisagree {
        /// The other one.
        replica: ReplicaId,
        /// Its list.
        theirs: String,
        /// Our list.
        ours: String,
    },
    /// At an address of the list somebody else answers.
    #[error("at {address} answers not replica {replica} of this branch: {why}; correct the list of peers")]
    Misplaced {
        /// Who should be there.
        replica: ReplicaId,
        /// The address.
        address: String,
        /// What it said.
        why: String,
    },
    /// The list does not name this replica.
    #[error("the list of peers does not name replica {replica}, which this one is to be")]
    NotListed {
        /// This replica.
        replica: ReplicaId,
    },
    /// The group knows another log of this replica.
    #[error(
        "replica {replica} has lost the log with which it belongs to the branch and must not come back under its \
         number; remove it (replica remove {replica}), start it, then add it again, or give it a new number"
    )]
    Forgotten {
        /// This replica.
        replica: ReplicaId,
    },
    /// The others know that this replica had more than its directory has.
    #[error(
        "replica {replica} was started on an older copy of its directory: the other replicas know that it had written \
         more, so acknowledged writes may be missing here and it must not take part; start it on its latest directory, \
         or remove it (replica remove {replica}), start it with an empty one, then add it again"
    )]
    OlderCopy {
        /// This replica.
        replica: ReplicaId,
    },
    /// openraft stopped.
    #[error("the replica stopped before it could serve: {0}")]
    Ended(String),
}

/// The outcome of a formation, for all who wait for it.
#[derive(Default)]
pub(super) struct Standing {
    outcome: OnceLock<Result<(), FormationError>>,
    decided: Notify,
}

impl Standing {
    pub(super) fn decide(&self, outcome: Result<(), FormationError>) {
        self.outcome.get_or_init(|| outcome);
        self.decided.notify_waiters();
    }

    pub(super) async fn decided(&self) -> Result<(), FormationError> {
        loop {
            let decided = self.decided.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            decided.await;
        }
    }
}

/// What a replica forms its branch with.
pub(super) struct Formation<R: Runtime> {
    pub(super) raft: Raft<Types<R>, Machine<R>>,
    pub(super) peers: Arc<Peers<R>>,
    pub(super) outlook: Outlook<R>,
    pub(super) memory: Arc<Memory<R>>,
    pub(super) current: Arc<Current>,
    /// Where the ledger's identity is remembered, if there is a directory.
    pub(super) directory: Option<Arc<Directory>>,
    pub(super) clock: Clock,
    /// The identity that the ledger gets if this replica founds it.
    pub(super) founding: LedgerId,
    /// The replicas it was started with; empty for one that was started alone.
    pub(super) listed: BTreeMap<ReplicaId, String>,
}

impl<R: Runtime> Formation<R> {
    /// Returns when the replica belongs to a group and its ledger has an identity.
    pub(super) async fn run(mut self) -> Result<(), FormationError> {
        let me = self.peers.me.replica;
        let initialized = self.initialized().await?;
        if !initialized && !self.listed.is_empty() && !self.listed.contains_key(&me) {
            return Err(FormationError::NotListed { replica: me });
        }
        self.confirm().await?;
        if initialized {
            if self.outlook.is_alone() {
                self.lead_alone().await?;
            }
        } else if self.listed.is_empty() {
            self.initialize(BTreeMap::from([(me.0, self.peers.me.member.clone())])).await?;
        } else {
            self.gather().await?;
        }
        self.found().await
    }

    async fn initialized(&self) -> Result<bool, FormationError> {
        self.raft.is_initialized().await.map_err(|error| FormationError::Ended(error.to_string()))
    }

    async fn initialize(&self, members: BTreeMap<u64, Member>) -> Result<(), FormationError> {
        self.raft.initialize(members).await.map_err(|error| FormationError::Ended(error.to_string()))
    }

    /// Asks the others until the group is formed, by this replica or by another one.
    async fn gather(&mut self) -> Result<(), FormationError> {
        let me = self.peers.me.replica;
        let founder = self.listed.keys().next() == Some(&me);
        let (mut forgotten, mut told) = (0, false);
        loop {
            let others = self.ask_others().await;
            if self.initialized().await? {
                return Ok(());
            }
            let mut members = BTreeMap::from([(me.0, self.peers.me.member.clone())]);
            let (mut known, mut formed) = (false, false);
            for (replica, address, answer) in others {
                let hello = match self.read(replica, &address, answer) {
                    Ok(Some(hello)) => hello,
                    Ok(None) => continue,
                    Err(error) => {
                        // The other one shall learn it too before this one is gone.
                        R::sleep(LAST_WORDS).await;
                        return Err(error);
                    }
                };
                if hello.pristine {
                    members.insert(replica.0, Member { address, incarnation: hello.life });
                    continue;
                }
                // Whose log begins just now knows no members yet, and one that knows this replica will call it.
                let mine = hello.members.get(&me).map(|member| member.incarnation);
                formed |= mine.is_none() && !hello.members.is_empty();
                known |= mine.is_some_and(|incarnation| incarnation != self.peers.me.member.incarnation);
            }
            forgotten = if known { forgotten + 1 } else { 0 };
            if forgotten == CERTAIN {
                return Err(FormationError::Forgotten { replica: me });
            }
            if founder && members.len() == self.listed.len() {
                return self.initialize(members).await;
            }
            if formed && !known && !told {
                told = true;
                tracing::warn!(
                    "the branch is formed already; this replica waits to be added (replica add {me} ...)"
                );
            }
            R::sleep(AGAIN).await;
        }
    }

    async fn ask_others(&self) -> Vec<(ReplicaId, String, Result<Answer<R>, Trouble>)> {
        let me = self.peers.me.replica;
        let others = self.listed.iter().filter(|(replica, _)| **replica != me);
        let asked = others.map(|(replica, address)| async move {
            let answer = self.peers.ask_at(*replica, address, None, HELLO, Ask::Hello).await;
            (*replica, address.clone(), answer)
        });
        join_all(asked).await
    }

    /// What a peer says of itself; none when it does not answer yet.
    fn read(
        &self,
        replica: ReplicaId,
        address: &str,
        answer: Result<Answer<R>, Trouble>,
    ) -> Result<Option<Hello>, FormationError> {
        match answer {
            Ok(Answer::Hello(hello)) => {
                if hello.pristine && hello.peers != self.listed {
                    return Err(FormationError::PeersDisagree {
                        replica,
                        theirs: list(&hello.peers),
                        ours: list(&self.listed),
                    });
                }
                Ok(Some(hello))
            }
            Err(Trouble::Refused(
                refusal @ (Refusal::OtherBranch { .. }
                | Refusal::OtherReplica { .. }
                | Refusal::OtherLedger { .. }
                | Refusal::Unreadable { .. }),
            )) => Err(FormationError::Misplaced {
                replica,
                address: address.to_owned(),
                why: refusal.to_string(),
            }),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    fn remember(&self, ledger: LedgerId) -> Result<(), FormationError> {
        match &self.directory {
            Some(directory) => {
                directory.remember_ledger(ledger).map_err(|error| FormationError::Ended(error.to_string()))
            }
            None => Ok(()),
        }
    }

    /// Of a replica that is alone: leads, and has applied again everything that its log holds.
    async fn lead_alone(&mut self) -> Result<(), FormationError> {
        let ended = |error: &dyn std::fmt::Display| FormationError::Ended(error.to_string());
        self.raft.trigger().elect(false).await.map_err(|error| ended(&error))?;
        while self.outlook.leader() != Leader::Here {
            if let Some(error) = self.outlook.look(|metrics| metrics.running_state.clone().err()) {
                return Err(ended(&error));
            }
            self.outlook.changed(AGAIN).await;
        }
        self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map(drop).map_err(|error| ended(&error))
    }

    /// Gives the ledger its identity if this replica comes to lead a branch whose ledger has none. Two leaders
    /// may both try; the first in the log wins.
    async fn found(&mut self) -> Result<(), FormationError> {
        loop {
            if let Some(ledger) = self.peers.ledger() {
                return self.remember(ledger);
            }
            if let Some(error) = self.outlook.look(|metrics| metrics.running_state.clone().err()) {
                return Err(FormationError::Ended(error.to_string()));
            }
            if self.outlook.leader() == Leader::Here {
                let time = (self.clock)().after(self.current.get().ledger.position().time);
                let batch = Batch { time, founding: Some(self.founding), proposals: Vec::new() };
                let written = R::timeout(FOUNDING, self.raft.client_write(LogBatch::new(batch))).await;
                if let Some(Ok(_)) = written {
                    continue;
                }
                // Not until something changes: the attempt itself changes openraft's figures.
                R::sleep(AGAIN).await;
            } else {
                self.outlook.changed(AGAIN).await;
            }
        }
    }
}

/// A list of peers as it is written on the command line.
fn list(peers: &BTreeMap<ReplicaId, String>) -> String {
    let peers: Vec<String> = peers.iter().map(|(replica, address)| format!("{replica}={address}")).collect();
    peers.join(",")
}
