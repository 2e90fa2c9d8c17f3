//! The other replicas of the branch, as this replica knows them: how to ask them, and who was heard lately.
//!
//! Invariant: every question carries a header that says who is meant, and an answer counts as a sign of life of
//! that replica. What is heard decides only what callers are told, never what is true.

use std::collections::{BTreeMap, BTreeSet};
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

/// Where members are reached.
#[derive(Default)]
struct Places {
    /// As the log says.
    recorded: BTreeMap<ReplicaId, Member>,
    /// Those that are looked for where the list of peers says, because they did not answer where the log says.
    as_listed: BTreeSet<ReplicaId>,
}

/// The other replicas.
pub(super) struct Peers<R: Runtime> {
    pub(super) me: Identity,
    current: Arc<Current>,
    /// The ledger's identity, once it is known; it never changes.
    founded: OnceLock<LedgerId>,
    /// The ledger of the branch as a peer said, for headers until this replica has it from its own log.
    named: Mutex<Option<LedgerId>>,
    transport: Arc<dyn Transport>,
    /// Where the list of peers of this start says that replicas are.
    listed: BTreeMap<ReplicaId, String>,
    places: Mutex<Places>,
    ways: Mutex<BTreeMap<ReplicaId, Way>>,
    heard: Mutex<BTreeMap<ReplicaId, R::Instant>>,
}

impl<R: Runtime> Peers<R> {
    pub(super) fn new(
        me: Identity,
        current: Arc<Current>,
        transport: Arc<dyn Transport>,
        listed: BTreeMap<ReplicaId, String>,
    ) -> Peers<R> {
        let (founded, ways, heard) = (OnceLock::new(), Mutex::default(), Mutex::default());
        let (named, places) = (Mutex::default(), Mutex::default());
        Peers { me, current, founded, named, transport, listed, places, ways, heard }
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
            ledger: self.ledger().or_else(|| life.and(*self.named.lock())),
            from: self.me.replica,
            to,
            life,
        }
    }

    /// Learns from a refusal. One whose log has not told it the ledger yet must name it to be heard.
    pub(super) fn learn(&self, refusal: &Refusal) {
        if let (Refusal::OtherLedger { ledger }, None) = (refusal, self.ledger()) {
            *self.named.lock() = Some(*ledger);
        }
    }

    /// Whether a message that arrived is meant for this replica. Only the `first` one, with which replicas get to
    /// know each other, may leave open which ledger and which life of the log it is for.
    pub(super) fn check(&self, header: &Header, first: bool) -> Result<(), Refusal> {
        if *header.branch != *self.me.branch.as_str() {
            return Err(Refusal::OtherBranch { branch: self.me.branch.as_str().into() });
        }
        if header.to != self.me.replica {
            return Err(Refusal::OtherReplica { replica: self.me.replica });
        }
        if let Some(ours) = self.ledger()
            && header.ledger.map_or(!first, |theirs| theirs != ours)
        {
            return Err(Refusal::OtherLedger { ledger: ours });
        }
        match header.life {
            Some(life) if life != self.me.member.incarnation => {
                Err(Refusal::OtherLife { replica: self.me.replica })
            }
            None if !first => {
                Err(Refusal::Impossible { why: "it does not say which life of the log it is for".to_owned() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Asks a member, through the connection that is kept for our own questions.
    pub(super) async fn ask(
        &self,
        to: ReplicaId,
        member: &Member,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        let address = self.address(to, member);
        let answer = self.ask_at(to, &address, Some(member.incarnation), patience, ask).await;
        match &answer {
            Ok(_) => self.hear(to),
            Err(trouble) => self.missed(to, trouble),
        }
        answer
    }

    /// Where a member is reached: where the log says, or, when it did not answer there, where the list of peers says.
    /// The life of its log in each message makes sure that it is the one.
    pub(super) fn address(&self, to: ReplicaId, member: &Member) -> String {
        let places = self.places.lock();
        if let (true, Some(listed)) = (places.as_listed.contains(&to), self.listed.get(&to)) {
            return listed.clone();
        }
        let recorded = places.recorded.get(&to).filter(|now| now.incarnation == member.incarnation);
        recorded.unwrap_or(member).address.clone()
    }

    /// Notes that a member was not found where it was looked for: next time at the other address, if there is one.
    pub(super) fn missed(&self, to: ReplicaId, trouble: &Trouble) {
        let elsewhere = match trouble {
            Trouble::Lost(_) => true,
            Trouble::Refused(refusal) => matches!(
                refusal,
                Refusal::OtherBranch { .. } | Refusal::OtherReplica { .. } | Refusal::OtherLife { .. }
            ),
        };
        let mut places = self.places.lock();
        let recorded = places.recorded.get(&to).map(|member| &member.address);
        let differs = recorded.zip(self.listed.get(&to)).is_some_and(|(recorded, listed)| recorded != listed);
        if elsewhere && differs && !places.as_listed.remove(&to) {
            places.as_listed.insert(to);
        }
    }

    /// Takes over who the members are: forgets what is not about them.
    pub(super) fn follow(&self, members: BTreeMap<ReplicaId, Member>) {
        self.heard.lock().retain(|replica, _| members.contains_key(replica));
        let kept = |replica: &ReplicaId| members.contains_key(replica) || self.listed.contains_key(replica);
        self.ways.lock().retain(|replica, _| kept(replica));
        let mut places = self.places.lock();
        let as_said = |to: &ReplicaId| {
            let listed = self.listed.get(to);
            members.get(to).is_none_or(|member| Some(&member.address) == listed)
        };
        places.as_listed.retain(|to| !as_said(to));
        places.recorded = members;
    }

    /// Asks whoever answers at the address of a member or of the list of peers, expecting a certain replica there.
    pub(super) async fn ask_at(
        &self,
        to: ReplicaId,
        address: &str,
        life: Option<Incarnation>,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        let link = self.way(to, address);
        self.ask_through(&*link, self.header(to, life), patience, ask).await
    }

    /// Asks through a certain connection.
    pub(super) async fn ask_through(
        &self,
        link: &dyn Link,
        header: Header,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        // Encoded and handed over before the wait, so that the future holds only the answer's way back.
        let answer = link.call(encode(&Message { header, ask }));
        let late = || Lost { sent: true, why: format!("no answer in {patience:?}") };
        let answer = R::timeout(patience, answer).await.unwrap_or_else(|| Err(late()));
        let answer = answer.map_err(Trouble::Lost)?;
        match decode(&answer) {
            Ok(Answer::Refused(refusal)) => {
                self.learn(&refusal);
                Err(Trouble::Refused(refusal))
            }
            Ok(answer) => Ok(answer),
            Err(error) => Err(Trouble::Lost(Lost { sent: true, why: error.to_string() })),
        }
    }

    /// How many connections are kept.
    #[cfg(test)]
    pub(super) fn known_ways(&self) -> usize {
        self.ways.lock().len()
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

    /// Notes a sign of life of a member.
    pub(super) fn hear(&self, from: ReplicaId) {
        self.heard.lock().insert(from, R::now());
    }

    /// Whether a replica gave a sign of life within the time.
    pub(super) fn heard_within(&self, replica: ReplicaId, time: Duration) -> bool {
        let heard = self.heard.lock().get(&replica).copied();
        replica == self.me.replica || heard.is_some_and(|at| at + time >= R::now())
    }
}
