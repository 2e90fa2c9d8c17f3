//! The other replicas of the branch, as this replica knows them: how to ask them, and who was heard lately.
//!
//! Invariant: every question carries a header that says who is meant, and an answer counts as a sign of life of
//! that replica. What is heard decides only what callers are told, never what is true.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::message::{Answer, Ask, Header, Message, Refusal, decode, encode};
use super::transport::{Link, Lost, Transport};
use crate::model::{BranchName, LedgerId, ReplicaId};
use crate::store::{Current, Incarnation, Member, Runtime};

/// Who this replica is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) branch: BranchName,
    pub(super) replica: ReplicaId,
    pub(super) member: Member,
}

/// Why a question was not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The question or its answer was lost.
    Lost(Lost),
    /// The peer refused.
    Refused(Refusal),
}

impl Trouble {
    /// Whether the peer may have done what it was asked.
    pub(super) fn unsure(&self) -> bool {
        match self {
            Trouble::Lost(lost) => lost.sent,
            Trouble::Refused(_) => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Lost(lost) => f.write_str(&lost.why),
            Trouble::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}

/// A connection to one peer for our own questions, and the address it leads to.
struct Way {
    address: String,
    link: Arc<dyn Link>,
}

/// The other replicas.
pub(super) struct Peers<R: Runtime> {
    pub(super) me: Identity,
    current: Arc<Current>,
    /// The ledger's identity, once it is known; it never changes.
    founded: OnceLock<LedgerId>,
    transport: Arc<dyn Transport>,
    ways: Mutex<BTreeMap<ReplicaId, Way>>,
    heard: Mutex<BTreeMap<ReplicaId, R::Instant>>,
}

impl<R: Runtime> Peers<R> {
    pub(super) fn new(me: Identity, current: Arc<Current>, transport: Arc<dyn Transport>) -> Peers<R> {
        let (founded, ways, heard) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Peers { me, current, founded, transport, ways, heard }
    }

    /// The identity of the ledger, once this replica has it.
    pub(super) fn ledger(&self) -> Option<LedgerId> {
        if let Some(known) = self.founded.get() {
            return Some(*known);
        }
        let found = self.current.get().ledger.id()?;
        Some(*self.founded.get_or_init(|| found))
    }

    /// A new connection, for one purpose.
    pub(super) fn link(&self, address: &str) -> Box<dyn Link> {
        self.transport.link(address)
    }

    /// The header of a message to a replica, to the life of its log that `life` names or to whichever it has.
    pub(super) fn header(&self, to: ReplicaId, life: Option<Incarnation>) -> Header {
        Header {
            branch: self.me.branch.as_str().into(),
            ledger: self.ledger(),
            from: self.me.replica,
            to,
            life,
        }
    }

    /// Whether a message that arrived is meant for this replica.
    pub(super) fn check(&self, header: &Header) -> Result<(), Refusal> {
        if *header.branch != *self.me.branch.as_str() {
            return Err(Refusal::OtherBranch { branch: self.me.branch.as_str().into() });
        }
        if header.to != self.me.replica {
            return Err(Refusal::OtherReplica { replica: self.me.replica });
        }
        if let (Some(theirs), Some(ours)) = (header.ledger, self.ledger())
            && theirs != ours
        {
            return Err(Refusal::OtherLedger { ledger: ours });
        }
        if header.life.is_some_and(|life| life != self.me.member.incarnation) {
            return Err(Refusal::OtherLife { replica: self.me.replica });
        }
        Ok(())
    }

    /// Asks a member, through the connection that is kept for our own questions.
    pub(super) async fn ask(
        &self,
        to: ReplicaId,
        member: &Member,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        let link = self.way(to, &member.address);
        let header = self.header(to, Some(member.incarnation));
        self.ask_through(&*link, header, patience, ask).await
    }

    /// Asks whoever answers at an address, expecting a certain replica there.
    pub(super) async fn ask_at(
        &self,
        to: ReplicaId,
        address: &str,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        let link = self.way(to, address);
        self.ask_through(&*link, self.header(to, None), patience, ask).await
    }

    /// Asks through a certain connection.
    pub(super) async fn ask_through(
        &self,
        link: &dyn Link,
        header: Header,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        let to = header.to;
        // Encoded and handed over before the wait, so that the future holds only the answer's way back.
        let answer = link.call(encode(&Message { header, ask }));
        let late = || Lost { sent: true, why: format!("no answer in {patience:?}") };
        let answer = R::timeout(patience, answer).await.unwrap_or_else(|| Err(late()));
        let answer = answer.map_err(Trouble::Lost)?;
        match decode(&answer) {
            Ok(Answer::Refused(refusal)) => Err(Trouble::Refused(refusal)),
            Ok(answer) => {
                self.hear(to);
                Ok(answer)
            }
            Err(error) => Err(Trouble::Lost(Lost { sent: true, why: error.to_string() })),
        }
    }

    fn way(&self, to: ReplicaId, address: &str) -> Arc<dyn Link> {
        let mut ways = self.ways.lock();
        match ways.get(&to) {
            Some(way) if way.address == address => Arc::clone(&way.link),
            Some(_) | None => {
                let link: Arc<dyn Link> = Arc::from(self.transport.link(address));
                ways.insert(to, Way { address: address.to_owned(), link: Arc::clone(&link) });
                link
            }
        }
    }

    /// Notes a sign of life.
    pub(super) fn hear(&self, from: ReplicaId) {
        self.heard.lock().insert(from, R::now());
    }

    /// Whether a replica gave a sign of life within the time.
    pub(super) fn heard_within(&self, replica: ReplicaId, time: Duration) -> bool {
        let heard = self.heard.lock().get(&replica).copied();
        replica == self.me.replica || heard.is_some_and(|at| at + time >= R::now())
    }
}
