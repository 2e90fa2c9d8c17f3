//! The door for other replicas: reads what they send, checks that it is meant for this one, answers.
//!
//! Invariant: bytes from a peer never panic and are never trusted further than the group itself trusts its
//! members; a message for another branch, ledger, replica or life of the log is refused before anything is
//! done. The transports call it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use openraft::alias::{SnapshotMetaOf, SnapshotOf, VoteOf};
use openraft::raft::{AppendEntriesRequest, SnapshotResponse};
use parking_lot::Mutex;

use super::admission::Admission;
use super::backfill;
use super::batcher::{Waiting, is_of_callers};
use super::branch::Replica;
use super::forward::Gathered;
use super::gate::read_index;
use super::inbox::Refused;
use super::lane::{RETRY_AFTER, ReturnTo};
use super::message::{Answer, Appended, Ask, Forwarded, Hello, Message, Refusal, decode, encode};
use super::outlook::Leader;
use super::roster::Rank;
use super::transport::Door;
use super::wishes::Wish;
use crate::model::planted::{Fault, planted};
use crate::model::{Digest, ReplicaId, Reply, Sequence, Trace, Traced, Unavailable};
use crate::store::{Runtime, Snapshot, Types};

/// How long a replica waits for a sequence to come before it says that it cannot compare.
const COMPARING: Duration = Duration::from_millis(500);
/// Most bytes of a snapshot that is taken of a peer: those of a thousand million accounts.
const SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// How long the next frame of a snapshot may take.
const FRAME: Duration = Duration::from_secs(30);
/// How long a peer waits that sends a snapshot for which there is no space, so that it does not send it all the time.
const UNTIL_SPACE: Duration = Duration::from_secs(1);

/// The door of a replica.
pub(super) struct PeerDoor<R: Runtime>(pub(super) Arc<Replica<R>>);

impl<R: Runtime> Clone for PeerDoor<R> {
    fn clone(&self) -> PeerDoor<R> {
        PeerDoor(Arc::clone(&self.0))
    }
}

impl<R: Runtime> Door for PeerDoor<R> {
    fn call(&self, message: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        let door = self.clone();
        Box::pin(async move { encode(&door.answer(&message).await) })
    }

    fn stream(&self, mut messages: BoxStream<'static, Vec<u8>>) -> BoxStream<'static, Vec<u8>> {
        let door = self.clone();
        let answers = async move {
            let Some(first) = messages.next().await else { return stream::empty().boxed() };
            match door.open(&first) {
                Ok((from, Ask::AppendStream)) => door.append(from, messages),
                Ok((from, Ask::Snapshot { vote, meta })) => {
                    let answer = door.snapshot(from, vote, meta, messages).await;
                    one(encode(&answer.map_or_else(Answer::Refused, Answer::<R>::Snapshot)))
                }
                Ok(_) => one(encode(&Appended::<R>::Refused(Refusal::unreadable()))),
                Err(refusal) => one(encode(&Appended::<R>::Refused(refusal))),
            }
        };
        stream::once(answers).flatten().boxed()
    }
}

/// A stream of one answer.
fn one(answer: Vec<u8>) -> BoxStream<'static, Vec<u8>> {
    stream::once(std::future::ready(answer)).boxed()
}

impl<R: Runtime> PeerDoor<R> {
    /// Reads a message and checks whom it is for and whether its sender may send it.
    fn open(&self, message: &[u8]) -> Result<(ReplicaId, Ask<'static, R>), Refusal> {
        let Message { header, ask }: Message<'static, R> =
            decode(message).map_err(|_| Refusal::unreadable())?;
        if self.0.health.failure().is_some() {
            return Err(Refusal::Stopped);
        }
        self.0.peers.check(&header, matches!(ask, Ask::Hello))?;
        let rank = self.0.rank(header.from);
        if rank > Rank::Stranger {
            self.0.peers.hear(header.from);
        }
        let needed = ask.rank();
        self.listen(header.from, rank, needed)?;
        if needed == Rank::Voter && !self.0.memory.takes_part() {
            return Err(Refusal::Unavailable(Unavailable::Starting));
        }
        Ok((header.from, ask))
    }

    /// Refuses a sender that may not send what it sends.
    fn listen(&self, from: ReplicaId, rank: Rank, needed: Rank) -> Result<(), Refusal> {
        if rank >= needed {
            return Ok(());
        }
        self.0.stranger.notify_one();
        Err(Refusal::NotMember { replica: from })
    }

    /// What messages of this sender are held against.
    fn admission(&self, from: ReplicaId) -> Admission {
        let term = self.0.outlook.look(|metrics| metrics.current_term);
        let clock = (self.0.clock)();
        let now = self.0.hearsay.lock().agreed.map_or(clock, |agreed| clock.max(agreed));
        Admission { from, term, now }
    }

    /// Takes a stream of entries. It ends at the first message that is none, and at the first one that is refused, as
    /// for want of room on the disk: then the leader tries again. Heartbeats need no room.
    fn append(&self, from: ReplicaId, messages: BoxStream<'static, Vec<u8>>) -> BoxStream<'static, Vec<u8>> {
        let (door, refusal) = (self.clone(), Arc::<Mutex<Option<Refusal>>>::default());
        let noted = Arc::clone(&refusal);
        let requests = messages
            .map(move |message| {
                let request = decode::<AppendEntriesRequest<Types<R>>>(&message).ok()?;
                match door.takes(from, &request) {
                    Ok(()) => Some(request),
                    Err(refusal) => {
                        *noted.lock() = Some(refusal);
                        None
                    }
                }
            })
            .take_while(|request| std::future::ready(request.is_some()))
            .filter_map(std::future::ready);
        let flushed = self.0.raft.stream_append(requests).map(|flushed| match flushed {
            Ok(result) => encode(&Appended::<R>::Flushed(result)),
            Err(_) => encode(&Appended::<R>::Refused(Refusal::Stopped)),
        });
        let refused = stream::once(async move {
            let refusal = refusal.lock().take();
            refusal.map(|refusal| encode(&Appended::<R>::Refused(refusal)))
        });
        flushed.chain(refused.filter_map(std::future::ready)).boxed()
    }

    /// Refuses entries that no leader sends, and those for which there is no room.
    fn takes(&self, from: ReplicaId, request: &AppendEntriesRequest<Types<R>>) -> Result<(), Refusal> {
        self.listen(from, self.0.rank(from), Rank::Voter)?;
        let admission = self.admission(from);
        admission.append(request).map_err(impossible)?;
        admission.times(&request.entries).map_err(|untimely| self.0.untimely(untimely))?;
        let entries = request.prev_log_id.into_iter().chain(request.entries.iter().map(|entry| entry.log_id));
        if let Some(other) = self.0.log.contradiction(&request.vote, entries) {
            // openraft would take it for the entry that is here.
            self.0.health.fail(|| {
                format!(
                    "the leader has another entry {} than the one that this replica has applied: another replica was \
                     started on an older copy of its directory, and the branch lost what was acknowledged",
                    other.index
                )
            });
            return Err(Refusal::Stopped);
        }
        let room =
            request.entries.is_empty() || (self.0.log.has_room() && self.0.current.get().journal.has_room());
        if room { Ok(()) } else { Err(Refusal::Unavailable(Unavailable::StorageFull)) }
    }

    /// Takes a snapshot in and installs it when it is complete.
    async fn snapshot(
        &self,
        from: ReplicaId,
        vote: VoteOf<Types<R>>,
        meta: SnapshotMetaOf<Types<R>>,
        frames: BoxStream<'static, Vec<u8>>,
    ) -> Result<SnapshotResponse<Types<R>>, Refusal> {
        let fits = || {
            let own = self.0.outlook.look(|metrics| metrics.vote);
            self.admission(from).snapshot(&vote, &meta, &own).map_err(impossible)?;
            self.contradicts(&meta)
        };
        fits()?;
        let snapshot = match self.receive(meta.clone(), frames).await {
            Ok(snapshot) => SnapshotOf::<Types<R>, Snapshot> { meta: meta.clone(), snapshot },
            Err(error) => {
                tracing::warn!(%error, "a snapshot from a peer was not taken in");
                if error.kind() == io::ErrorKind::StorageFull {
                    R::sleep(UNTIL_SPACE).await;
                }
                return Err(Refusal::Snapshot { why: error.to_string() });
            }
        };
        // A transfer that the leader has given up comes to its end after entries that it sent meanwhile. What the
        // log has needs no snapshot, and openraft's figures would go back.
        if snapshot.meta.last_log_id.is_some_and(|last| self.0.log.holds(last)) {
            return Ok(SnapshotResponse::new(self.0.outlook.look(|metrics| metrics.vote)));
        }
        // Another one may lead by now, and more may be committed.
        fits()?;
        self.accounts_fit(from, &snapshot.snapshot)?;
        let installed = self.0.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        self.0.installed.notify_one();
        Ok(installed)
    }

    /// Refuses a snapshot that says something else than what is committed here.
    fn contradicts(&self, meta: &SnapshotMetaOf<Types<R>>) -> Result<(), Refusal> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let committed = self.0.outlook.look(|metrics| metrics.local_committed);
        let behind = Some(last) > committed && Some(last.index) <= committed.map(|id| id.index);
        if behind || (Some(last) <= committed && self.0.log.contradicts(last)) {
            return Err(impossible("the snapshot contradicts what is committed here".to_owned()));
        }
        Ok(())
    }

    /// Takes a snapshot in, so that nothing but its name is missing on the disk. One at a time: a later one ends the
    /// one before it, whose sender may be gone.
    async fn receive(
        &self,
        meta: SnapshotMetaOf<Types<R>>,
        mut frames: BoxStream<'static, Vec<u8>>,
    ) -> io::Result<Snapshot> {
        let turn = self.0.receiving.fetch_add(1, Ordering::AcqRel) + 1;
        let mut receiver = self.0.snapshots.receive(meta).await?;
        let mut left = SNAPSHOT_BYTES;
        loop {
            let frame = R::timeout(FRAME, frames.next()).await;
            if self.0.receiving.load(Ordering::Acquire) != turn {
                return Err(io::Error::other("a later snapshot is being sent"));
            }
            let frame = frame.ok_or_else(|| io::Error::other(format!("nothing came for {FRAME:?}")))?;
            // A stream that broke ends as well; then the snapshot is not complete.
            let Some(frame) = frame else { break };
            let too_long = || io::Error::other(format!("it is longer than {SNAPSHOT_BYTES} bytes"));
            left = left.checked_sub(frame.len() as u64).ok_or_else(too_long)?;
            receiver.frame(&frame).await?;
        }
        receiver.finish().await
    }

    /// Refuses a snapshot of another ledger, or one whose clock is wrong.
    fn accounts_fit(&self, from: ReplicaId, snapshot: &Snapshot) -> Result<(), Refusal> {
        let Some(position) = snapshot.position() else {
            return Err(impossible("the snapshot carries no accounts".to_owned()));
        };
        if let (Some(ledger), true) = (self.0.peers.ledger(), position.ledger != self.0.peers.ledger()) {
            return Err(Refusal::OtherLedger { ledger });
        }
        let timely = position.time.map_or(Ok(()), |time| self.admission(from).time(time));
        timely.map_err(|untimely| self.0.untimely(untimely))
    }

    async fn answer(&self, message: &[u8]) -> Answer<R> {
        let (from, ask) = match self.open(message) {
            Ok(opened) => opened,
            Err(refusal) => return Answer::Refused(refusal),
        };
        let answer = match ask {
            Ask::Hello => self.hello().await.map(Answer::Hello),
            Ask::Append(request) => match self.takes(from, &request) {
                Ok(()) => self.0.raft.append_entries(request).await.map(Answer::Append).map_err(stopped),
                Err(refusal) => Err(refusal),
            },
            Ask::Vote(request) => match self.admission(from).vote_request(&request) {
                Ok(()) => self.0.raft.vote(request).await.map(Answer::Vote).map_err(stopped),
                Err(why) => Err(impossible(why)),
            },
            Ask::PreVote(request) => match self.admission(from).vote_request(&request) {
                Ok(()) => self.0.raft.pre_vote(request).await.map(Answer::Vote).map_err(stopped),
                Err(why) => Err(impossible(why)),
            },
            Ask::TransferLeader(request) => match self.admission(from).transfer(&request) {
                Ok(()) => {
                    self.0.wishes.handed_over();
                    let taken = self.0.raft.handle_transfer_leader(request).await;
                    taken.map(Answer::TransferLeader).map_err(stopped)
                }
                Err(why) => Err(impossible(why)),
            },
            Ask::AppendStream | Ask::Snapshot { .. } => Err(Refusal::unreadable()),
            Ask::Journal { before } => Ok(Answer::Journal(backfill::older(&self.0, before))),
            Ask::Propose(proposals) if planted(Fault::ForwardedTwice) => {
                let first = self.propose(proposals.clone(), Vec::new()).await;
                self.propose(proposals, Vec::new()).await.and(first).map(Answer::Proposed)
            }
            Ask::Propose(proposals) => self.propose(proposals, Vec::new()).await.map(Answer::Proposed),
            Ask::ProposeTraced(proposals, traces) => {
                self.propose(proposals, traces).await.map(Answer::Proposed)
            }
            Ask::ReadIndex => {
                read_index(&self.0.raft).await.map(Answer::ReadIndex).map_err(Refusal::Unavailable)
            }
            Ask::Status => Ok(Answer::Status(Box::new(self.0.own_status()))),
            Ask::Digest(sequence) => Ok(Answer::Digest(self.digest(sequence).await)),
            Ask::Compare(news) => Ok(Answer::Compared(Box::new(self.0.memory.answer(from, &news)))),
            Ask::Change(change) => self.decide(change.into()).await,
            Ask::Decide(wish) => self.decide(wish).await,
            Ask::Exchange { millis, message } => {
                let patience = Duration::from_millis(millis.into());
                self.0.exchanged_here(message, patience).await.map(Answer::Exchanged)
            }
            Ask::Roster => Ok(Answer::Roster(self.0.roster())),
            Ask::History => Ok(Answer::History(self.0.history())),
            Ask::Removed { replica, life, since } => {
                Ok(Answer::Removed(self.0.knows_removed(replica, life, since)))
            }
        };
        answer.unwrap_or_else(Answer::Refused)
    }

    async fn hello(&self) -> Result<Hello, Refusal> {
        let initialized = self.0.raft.is_initialized().await.map_err(stopped)?;
        let members = self.0.outlook.look(|metrics| {
            let nodes = metrics.membership_config.nodes();
            nodes.map(|(id, member)| (ReplicaId(*id), member.clone())).collect()
        });
        Ok(Hello {
            life: self.0.peers.me.member.incarnation,
            peers: self.0.listed.clone(),
            pristine: !initialized,
            stopping: self.0.stopping.load(Ordering::Relaxed),
            members,
        })
    }

    /// Takes in proposals that another replica passes on. Only a leader does: one hop, never two.
    async fn propose(
        &self,
        proposals: Vec<Forwarded<'static>>,
        traces: Vec<Traced>,
    ) -> Result<Vec<Result<Reply, Unavailable>>, Refusal> {
        if self.0.outlook.leader() != Leader::Here {
            return Err(Refusal::NotLeader);
        }
        if !proposals.iter().all(|forwarded| is_of_callers(&forwarded.proposal)) {
            return Err(impossible("it proposes a step that only the leader itself takes".to_owned()));
        }
        let now = R::now();
        let longest = proposals.iter().map(|forwarded| forwarded.millis).max().unwrap_or(0);
        let (gathered, places) = Gathered::places(proposals.len());
        let mut traces: BTreeMap<u32, Trace> = traces.into_iter().collect();
        for ((at, forwarded), place) in (0..).zip(proposals).zip(places) {
            let deadline = now + Duration::from_millis(forwarded.millis.into());
            let proposal = forwarded.proposal.into_owned();
            let trace = traces.remove(&at).map(Box::new);
            let waiting = Waiting { proposal, trace, to: ReturnTo::Peer(place), deadline, unsure: false };
            if let Err((refused, waiting)) = self.0.proposals.offer(waiting) {
                let refusal = match refused {
                    Refused::Full => Unavailable::Overloaded { retry_after: RETRY_AFTER },
                    Refused::Closed => Unavailable::Stopping,
                };
                if let ReturnTo::Peer(place) = waiting.to {
                    place.fill(Err(refusal));
                }
            }
        }
        let _ = R::timeout_at(now + Duration::from_millis(longest.into()), gathered.complete()).await;
        Ok(gathered.take())
    }

    /// The digest at a sequence, when it comes within a moment.
    async fn digest(&self, sequence: Sequence) -> Option<Digest> {
        let _ = R::timeout(COMPARING, self.0.progress.reach(sequence)).await;
        self.0.progress.digests().at(sequence)
    }

    async fn decide(&self, wish: Wish) -> Result<Answer<R>, Refusal> {
        let replica = Arc::clone(&self.0);
        let changed = self.0.at_home(async move { replica.decide(wish).await }).await;
        changed.unwrap_or(Err(Refusal::Stopped)).map(|()| Answer::Changed)
    }
}

fn stopped<E>(_error: E) -> Refusal {
    Refusal::Stopped
}

fn impossible(why: String) -> Refusal {
    Refusal::Impossible { why }
}
