//! Finds out that a replica runs on an older copy of its directory, and that the ledgers of replicas differ.
//!
//! A replica that comes back with less than it had acknowledged could elect a leader that lacks acknowledged writes. Its
//! directory cannot show that; the other replicas can. Each knows what every other one had flushed: a leader what was
//! acknowledged to it, and everybody what it was told in the latest round. Directories keep it.
//!
//! Invariant: a replica that finds a log takes no part (no vote, no entries, no election) before it has asked all others
//! what it had flushed. It goes on when all of them have answered or, after [`PATIENCE`], when those that answered are a
//! majority together with it; it ends when one of them knows more than its directory. It asks again every round, so that
//! an answer which comes late is heard too.
//!
//! **Its limits.** What nobody who answers knows is not found out: what the replica had flushed since the last round, when
//! the leader of that time is away or was started again since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;

use super::branch::Replica;
use super::formation::{Formation, FormationError};
use super::members::Change;
use super::message::{Answer, Ask, Compared, News, Refusal};
use super::outlook::{Leader, Outlook};
use super::peers::{Peers, Trouble};
use crate::model::planted::{Fault, planted};
use crate::model::{ReplicaId, Unavailable};
use crate::store::{AllFlushed, Flushed, KNOWN_REPLICAS, LogStore, Mark, Member, Progress, Runtime};

/// How long a replica that starts waits for the answers of all others; then a majority is enough.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one of them may take to answer.
const QUESTION: Duration = Duration::from_millis(500);
/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_millis(150);
/// In how many rounds, one after the other, somebody must know more than this replica has: while it installs a snapshot
/// its log may lack for a moment what it has acknowledged.
const CERTAIN: u32 = 2;

/// What a replica knows of what all of them had flushed, and whether it takes part itself.
pub(super) struct Memory<R: Runtime> {
    peers: Arc<Peers<R>>,
    outlook: Outlook<R>,
    log: LogStore<R>,
    progress: Arc<Progress>,
    known: Mutex<AllFlushed>,
    takes_part: AtomicBool,
    leader_cut_off: AtomicBool,
}

impl<R: Runtime> Memory<R> {
    /// With what was written down; a replica whose log is `new` takes part at once.
    pub(super) fn new(
        peers: &Arc<Peers<R>>,
        outlook: &Outlook<R>,
        log: &LogStore<R>,
        progress: &Arc<Progress>,
        known: AllFlushed,
        new: bool,
    ) -> Arc<Memory<R>> {
        Arc::new(Memory {
            peers: Arc::clone(peers),
            outlook: outlook.clone(),
            log: log.clone(),
            progress: Arc::clone(progress),
            known: Mutex::new(known),
            takes_part: AtomicBool::new(new),
            leader_cut_off: AtomicBool::new(false),
        })
    }

    /// Whether the replica votes, takes entries and stands for election.
    pub(super) fn takes_part(&self) -> bool {
        self.takes_part.load(Ordering::Relaxed)
    }

    fn me(&self) -> ReplicaId {
        self.peers.me.replica
    }

    /// What this replica tells the others of itself.
    fn news(&self) -> News {
        News {
            flushed: self.log.flushed(self.peers.me.member.incarnation),
            latest: self.progress.digests().latest(),
            full: !self.log.has_room(),
            cut_off: self.outlook.leader() == Leader::Here && !self.outlook.hears_quorum(),
        }
    }

    /// Whether the leader said in the last round that it hears no majority.
    pub(super) fn leader_is_cut_off(&self) -> bool {
        self.leader_cut_off.load(Ordering::Relaxed)
    }

    /// Takes in what another replica tells of itself, and answers it.
    pub(super) fn answer(&self, from: ReplicaId, news: &News) -> Compared {
        self.learn(news.flushed.map(|flushed| (from, flushed)));
        Compared {
            at: news.latest.and_then(|mark| self.progress.digests().after(mark.log.index)),
            news: self.news(),
            known: self.all(),
        }
    }

    /// Everything that is known, with what a leader knows at this moment.
    fn all(&self) -> AllFlushed {
        self.learn(self.acknowledged());
        self.known.lock().clone()
    }

    /// What the others have acknowledged to this replica, if it leads.
    fn acknowledged(&self) -> Vec<(ReplicaId, Flushed)> {
        self.outlook.look(|metrics| {
            let Some(matched) = &metrics.replication else { return Vec::new() };
            let members = &metrics.membership_config;
            let others = matched.iter().filter(|(id, last)| **id != metrics.id && last.is_some());
            let flushed = others.filter_map(|(id, last)| {
                let life = members.get_node(id)?.incarnation;
                Some((ReplicaId(*id), Flushed { life, vote: metrics.vote, last: *last }))
            });
            flushed.collect()
        })
    }

    /// Remembers what is later than what was known, of replicas that belong to the branch.
    fn learn(&self, flushed: impl IntoIterator<Item = (ReplicaId, Flushed)>) {
        let member = |id: ReplicaId| {
            self.outlook
                .look(|metrics| metrics.membership_config.get_node(&id.0).map(|node| node.incarnation))
        };
        for (replica, flushed) in flushed {
            // Of itself a replica knows best, and in memory there is nothing to come back to.
            if replica == self.me() || member(replica) != Some(flushed.life) {
                continue;
            }
            let mut known = self.known.lock();
            let full = known.len() >= KNOWN_REPLICAS;
            match known.get_mut(&replica) {
                Some(before) if before.life == flushed.life && !flushed.is_later(before) => {}
                Some(before) => *before = flushed,
                None if full => {}
                None => drop(known.insert(replica, flushed)),
            }
        }
    }

    /// Whether somebody knows that this replica had flushed more than it has.
    fn is_older(&self, answers: &[(ReplicaId, Compared)]) -> bool {
        let life = self.peers.me.member.incarnation;
        let of_me = answers.iter().filter_map(|(_, compared)| compared.known.get(&self.me()));
        of_me.into_iter().any(|known| known.life == life && self.log.is_before(known))
    }

    /// Asks others, and remembers what they know. Those that answer, with their answers; one that cannot read the
    /// question knows nothing.
    async fn ask(&self, others: &[(ReplicaId, Member)]) -> Vec<(ReplicaId, Compared)> {
        let asked = others.iter().map(|(id, member)| async {
            let ask = Ask::Compare(self.news());
            match self.peers.ask(*id, member, QUESTION, ask).await {
                Ok(Answer::Compared(compared)) => Some((*id, *compared)),
                // The next question names the ledger that it told.
                Err(Trouble::Refused(
                    Refusal::Unavailable(Unavailable::Starting) | Refusal::OtherLedger { .. },
                )) => None,
                Ok(_) | Err(Trouble::Refused(_)) => Some((*id, Compared::default())),
                Err(Trouble::Lost(_)) => None,
            }
        });
        let answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        for (id, compared) in &answers {
            self.learn(compared.news.flushed.map(|flushed| (*id, flushed)));
            self.learn(compared.known.iter().map(|(id, flushed)| (*id, *flushed)));
        }
        answers
    }
}

impl<R: Runtime> Formation<R> {
    /// Returns when this replica may take part: nobody who answers knows that it had more than it has.
    pub(super) async fn confirm(&self) -> Result<(), FormationError> {
        let memory = &self.memory;
        if self.outlook.is_alone() {
            self.take_part();
        }
        let (others, voters) = self.others_and_voters();
        let (began, mut told) = (R::now(), false);
        while !memory.takes_part() {
            let answers = memory.ask(&others).await;
            if memory.is_older(&answers) {
                return Err(FormationError::OlderCopy { replica: memory.me() });
            }
            let votes = |id: &ReplicaId| voters.is_empty() || voters.contains(id);
            let own = usize::from(votes(&memory.me()));
            let answered = own + answers.iter().filter(|(id, _)| votes(id)).count();
            let all = if voters.is_empty() { others.len() + 1 } else { voters.len() };
            let late = began + PATIENCE <= R::now();
            if answers.len() == others.len() || (late && 2 * answered > all) {
                self.take_part();
                return Ok(());
            }
            if late && !told {
                told = true;
                tracing::warn!(
                    "this replica waits until a majority has said what it had written before it was started"
                );
            }
            R::sleep(AGAIN).await;
        }
        Ok(())
    }

    fn take_part(&self) {
        self.memory.takes_part.store(true, Ordering::Relaxed);
        self.raft.runtime_config().elect(true);
    }

    /// The other replicas, as the log names them or, before it does, the list; and who votes, if the log says so.
    fn others_and_voters(&self) -> (Vec<(ReplicaId, Member)>, Vec<ReplicaId>) {
        let me = self.peers.me.replica;
        let (members, voters) = self.outlook.look(|metrics| {
            let members = &metrics.membership_config;
            let nodes: BTreeMap<ReplicaId, Member> =
                members.nodes().map(|(id, member)| (ReplicaId(*id), member.clone())).collect();
            (nodes, members.voter_ids().map(ReplicaId).collect::<Vec<_>>())
        });
        let listed = self
            .listed
            .iter()
            .map(|(id, address)| (*id, Member { address: address.clone(), ..Member::default() }));
        let all = if members.is_empty() { listed.collect() } else { members };
        (all.into_iter().filter(|(id, _)| *id != me).collect(), voters)
    }
}

/// What a replica remembers from one round to the next.
#[derive(Default)]
pub(super) struct Rounds {
    /// In how many rounds somebody knew more of this replica than it has.
    older: u32,
    /// What was written down.
    kept: AllFlushed,
}

/// Why a replica must not go on.
pub(super) enum Unfit {
    /// Its directory is an older copy.
    Older,
    /// Its ledger differs from that of the others.
    Differs(Mark),
}

impl<R: Runtime> Replica<R> {
    /// Tells the others how this replica is, hears how they are, and keeps it.
    pub(super) async fn exchange(&self, rounds: &mut Rounds) -> Result<(), Unfit> {
        let memory = &self.memory;
        let mine = self.progress.digests().latest();
        let answers = memory.ask(&self.some_others()).await;
        let known = memory.all();
        if known != rounds.kept {
            self.log.keep_flushed(known.clone());
            rounds.kept = known;
        }
        rounds.older = if memory.is_older(&answers) { rounds.older + 1 } else { 0 };
        if rounds.older >= CERTAIN {
            return Err(Unfit::Older);
        }
        let cut_off =
            |leader: ReplicaId| answers.iter().any(|(id, theirs)| *id == leader && theirs.news.cut_off);
        let leader = match self.outlook.leader() {
            Leader::Peer(leader, _) => Some(leader),
            Leader::Here | Leader::Unknown | Leader::Stopped => None,
        };
        memory.leader_cut_off.store(leader.is_some_and(cut_off), Ordering::Relaxed);
        self.leave_full_disk(&answers).await;
        let Some(mine) = mine.filter(|_| !planted(Fault::DigestsNotCompared)) else { return Ok(()) };
        let same: Vec<bool> = answers.iter().filter_map(|(_, theirs)| self.is_same(&mine, theirs)).collect();
        let agree = 1 + same.iter().filter(|same| **same).count();
        let differ = same.len() + 1 - agree;
        if differ < agree || (differ == agree && self.outlook.leader() == Leader::Here) {
            Ok(())
        } else {
            Err(Unfit::Differs(mine))
        }
    }

    /// Of a leader whose disk is full: lets a replica lead that has room.
    async fn leave_full_disk(&self, answers: &[(ReplicaId, Compared)]) {
        if self.outlook.leader() != Leader::Here || self.has_room() {
            return;
        }
        let voters: Vec<u64> = self.outlook.look(|metrics| metrics.membership_config.voter_ids().collect());
        let with_room = |(id, theirs): &&(ReplicaId, Compared)| {
            voters.contains(&id.0) && !theirs.news.full && theirs.news.latest.is_some()
        };
        let Some((to, _)) = answers.iter().find(with_room) else { return };
        tracing::warn!("the disk of this replica is full; it lets replica {to} lead");
        if let Err(refusal) = self.change_here(Change::Transfer { to: Some(*to) }, None).await {
            tracing::warn!(%refusal, "replica {to} does not lead");
        }
    }

    /// Whether another replica had the same state after the same entry of the log: the latest one here or, if that one
    /// is not so far, the latest one there. None when they cannot be compared.
    fn is_same(&self, mine: &Mark, theirs: &Compared) -> Option<bool> {
        if let Some(at) = theirs.at {
            return Some(at == *mine);
        }
        let latest = theirs.news.latest.filter(|latest| latest.log.index < mine.log.index)?;
        self.progress.digests().after(latest.log.index).map(|here| here == latest)
    }
}
