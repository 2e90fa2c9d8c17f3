//! openraft's network on top of our messages.
//!
//! Invariant: a connection of its own for each purpose, so that bulk never delays heartbeats or votes; nothing
//! waits for ever, and nothing retries by itself (openraft does, with its backoff). openraft calls it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use parking_lot::Mutex;

use super::admission::{Refused, answered_id, answered_vote};
use super::message::{Answer, Appended, Ask, Message, Refusal, decode, encode};
use super::peers::{Peers, Trouble};
use super::transport::{Answers, Link, Lost};
use crate::model::ReplicaId;
use crate::store::{LogStore, Member, Runtime, Snapshot, Types};

/// How long the oldest entry of a stream may wait for its acknowledgement. A partition can keep a connection
/// open, and the stream has no deadline of its own.
const STALL: Duration = Duration::from_millis(1_500);
/// How often a stream looks whether it stalls.
const STALL_LOOK: Duration = Duration::from_millis(250);

/// How long a snapshot may stand still: the peer takes in what it has, and installs it at the end.
const SNAPSHOT_STALL: Duration = Duration::from_secs(30);

/// Makes connections for openraft.
pub(super) struct Network<R: Runtime> {
    pub(super) peers: Arc<Peers<R>>,
    /// What answers are held against.
    pub(super) log: LogStore<R>,
}

/// One connection to one replica.
pub(super) struct Connection<R: Runtime> {
    peers: Arc<Peers<R>>,
    log: LogStore<R>,
    target: ReplicaId,
    member: Member,
    /// The connection, and the address that it leads to.
    way: Mutex<Option<(String, Arc<dyn Link>)>>,
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network<R> {
    type Network = Connection<R>;

    async fn new_client(&mut self, target: u64, node: &Member) -> Connection<R> {
        Connection {
            peers: Arc::clone(&self.peers),
            log: self.log.clone(),
            target: ReplicaId(target),
            member: node.clone(),
            way: Mutex::default(),
        }
    }
}

impl<R: Runtime> Connection<R> {
    /// The connection to where the replica is now.
    fn link(&self) -> Arc<dyn Link> {
        let address = self.peers.address(self.target, &self.member);
        let mut way = self.way.lock();
        match &*way {
            Some((to, link)) if *to == address => Arc::clone(link),
            Some(_) | None => {
                let link: Arc<dyn Link> = Arc::from(self.peers.link(&address));
                *way = Some((address, Arc::clone(&link)));
                link
            }
        }
    }

    async fn ask(&self, patience: Duration, ask: Ask<'_, R>) -> Result<Answer<R>, RPCError<Types<R>>> {
        let header = self.peers.header(self.target, Some(self.member.incarnation));
        let answer = self.peers.ask_through(&*self.link(), header, patience, ask).await;
        let answer = answer.map_err(|trouble| self.away(&trouble))?;
        self.peers.hear(self.target);
        Ok(answer)
    }

    /// The vote in an answer, if it may be one.
    fn vote_of(&self, vote: VoteOf<Types<R>>) -> Result<VoteOf<Types<R>>, RPCError<Types<R>>> {
        answered_vote(vote, self.log.term()).map_err(|why| self.impossible(why))
    }

    /// An answer that no replica gives. It is left alone for a moment, as one that cannot be reached.
    fn impossible(&self, why: String) -> RPCError<Types<R>> {
        self.unreachable(&Trouble::Refused(Refusal::Impossible { why }))
    }

    /// An answer to a request for a vote, real or hypothetical.
    fn voted(&self, answer: Answer<R>) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let Answer::Vote(response) = answer else { return Err(self.absurd()) };
        if let Some(last) = response.last_log_id {
            answered_id(last).map_err(|why| self.impossible(why))?;
        }
        Ok(VoteResponse { vote: self.vote_of(response.vote)?, ..response })
    }

    /// A peer that cannot be reached, or refuses, is left alone for a moment: openraft backs off.
    fn unreachable<E: std::error::Error + 'static>(&self, trouble: &E) -> RPCError<Types<R>> {
        tracing::debug!(replica = %self.target, address = %self.member.address, %trouble, "a peer does not answer");
        RPCError::Unreachable(Unreachable::new(trouble))
    }

    /// A peer that is not where it was looked for.
    fn away(&self, trouble: &Trouble) -> RPCError<Types<R>> {
        self.peers.missed(self.target, trouble);
        self.unreachable(trouble)
    }

    fn absurd(&self) -> RPCError<Types<R>> {
        RPCError::Network(NetworkError::from_string(format!(
            "replica {} gave an answer to another question",
            self.target
        )))
    }

    async fn append_stream<S>(
        &self,
        input: S,
        patience: Duration,
    ) -> Result<
        BoxStream<'static, Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>>,
        RPCError<Types<R>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + Send + Unpin + 'static,
    {
        let mut input = input.peekable();
        // openraft's backoff sits inside its request stream: a connection that fails before that is polled would
        // be tried again at once, for ever, at the cost of a processor core.
        if Pin::new(&mut input).peek().await.is_none() {
            return Ok(stream::empty().boxed());
        }
        let pulse = Arc::new(Pulse::<R>::default());
        let sent = Arc::clone(&pulse);
        let header = self.peers.header(self.target, Some(self.member.incarnation));
        let first = encode(&Message::<R> { header, ask: Ask::AppendStream });
        let entries = input.map(move |request| {
            sent.sent();
            encode(&request)
        });
        let messages = stream::once(std::future::ready(first)).chain(entries);
        let link = self.link();
        let opened = R::timeout(patience.max(STALL), link.stream(messages.boxed())).await;
        let answers = match opened {
            Some(Ok(answers)) => answers,
            Some(Err(lost)) => return Err(self.away(&Trouble::Lost(lost))),
            None => return Err(self.stalled()),
        };
        let acknowledged = Acknowledged {
            peers: Arc::clone(&self.peers),
            log: self.log.clone(),
            target: self.target,
            answers: Some(answers),
            pulse,
        };
        Ok(stream::unfold(acknowledged, Acknowledged::next).boxed())
    }

    async fn send_snapshot(
        &self,
        vote: VoteOf<Types<R>>,
        snapshot: SnapshotOf<Types<R>, Snapshot>,
    ) -> Result<SnapshotResponse<Types<R>>, RPCError<Types<R>>> {
        let header = self.peers.header(self.target, Some(self.member.incarnation));
        let first = encode(&Message::<R> { header, ask: Ask::Snapshot { vote, meta: snapshot.meta } });
        let frames = snapshot.snapshot.frames().map_err(|error| self.unreachable(&error))?;
        let moved = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&moved);
        // A frame that cannot be read ends the stream, and the peer finds the snapshot incomplete.
        let frames = frames.map_while(move |frame| {
            counter.fetch_add(1, Ordering::Relaxed);
            frame.inspect_err(|error| tracing::error!(%error, "a snapshot cannot be read")).ok()
        });
        let messages = stream::iter(std::iter::once(first).chain(frames)).boxed();
        let link = self.link();
        let answered = async {
            let mut answers = link.stream(messages).await.map_err(Trouble::Lost)?;
            let nothing = || Lost { sent: true, why: "the stream ended without an answer".to_owned() };
            answers.next().await.unwrap_or_else(|| Err(nothing())).map_err(Trouble::Lost)
        };
        let mut answered = pin!(answered);
        let mut before = 0;
        let answer = loop {
            if let Some(answer) = R::timeout(SNAPSHOT_STALL, answered.as_mut()).await {
                break answer.map_err(|trouble| self.away(&trouble))?;
            }
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return Err(self.stalled());
            }
            before = now;
        };
        match decode::<Answer<R>>(&answer) {
            Ok(Answer::Snapshot(response)) => Ok(SnapshotResponse::new(self.vote_of(response.vote)?)),
            Ok(Answer::Refused(refusal)) => {
                self.peers.learn(&refusal);
                Err(self.unreachable(&Trouble::Refused(refusal)))
            }
            Ok(_) | Err(_) => Err(self.absurd()),
        }
    }

    fn stalled(&self) -> RPCError<Types<R>> {
        RPCError::Unreachable(stalled(self.target))
    }
}

fn stalled<R: Runtime>(target: ReplicaId) -> Unreachable<Types<R>> {
    let why = format!("replica {target} acknowledged nothing for {STALL:?}");
    Unreachable::new(&io::Error::new(io::ErrorKind::TimedOut, why))
}

/// Since when each entry of a stream waits for its acknowledgement, in order.
struct Pulse<R: Runtime>(Mutex<VecDeque<R::Instant>>);

impl<R: Runtime> Default for Pulse<R> {
    fn default() -> Pulse<R> {
        Pulse(Mutex::default())
    }
}

impl<R: Runtime> Pulse<R> {
    fn sent(&self) {
        self.0.lock().push_back(R::now());
    }

    fn acknowledged(&self) {
        self.0.lock().pop_front();
    }

    /// Whether something waits for its acknowledgement.
    fn waits(&self) -> bool {
        !self.0.lock().is_empty()
    }

    fn stalls(&self) -> bool {
        self.0.lock().front().is_some_and(|since| *since + STALL <= R::now())
    }
}

/// The acknowledgements of a stream of entries.
struct Acknowledged<R: Runtime> {
    peers: Arc<Peers<R>>,
    log: LogStore<R>,
    target: ReplicaId,
    /// None after an error.
    answers: Option<Answers>,
    pulse: Arc<Pulse<R>>,
}

/// What openraft gets for a message of entries.
type Acknowledgement<R> = Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>;

impl<R: Runtime> Acknowledged<R> {
    async fn next(mut self) -> Option<(Acknowledgement<R>, Acknowledged<R>)> {
        let mut answers = self.answers.take()?;
        loop {
            match R::timeout(STALL_LOOK, answers.next()).await {
                None if self.pulse.stalls() => {
                    return Some((Err(RPCError::Unreachable(stalled(self.target))), self));
                }
                None => {}
                // To openraft an end is no failure: the entries would count as under way for ever, and the log
                // would not be purged while this peer is away.
                Some(None) if self.pulse.waits() => {
                    let why = format!("replica {} ended the stream before it acknowledged all", self.target);
                    let ended = Unreachable::new(&io::Error::new(io::ErrorKind::UnexpectedEof, why));
                    return Some((Err(RPCError::Unreachable(ended)), self));
                }
                Some(None) => return None,
                Some(Some(answer)) => {
                    let result = self.read(answer.map_err(Trouble::Lost));
                    if matches!(result, Ok(Ok(_))) {
                        self.answers = Some(answers);
                    }
                    return Some((result, self));
                }
            }
        }
    }

    fn read(&self, answer: Result<Vec<u8>, Trouble>) -> Acknowledgement<R> {
        let trouble = match answer {
            Err(trouble) => trouble,
            Ok(bytes) => match decode(&bytes) {
                Ok(Appended::Flushed(result)) => match checked(&self.log, result) {
                    Ok(result) => {
                        self.pulse.acknowledged();
                        self.peers.hear(self.target);
                        return Ok(result);
                    }
                    Err(why) => Trouble::Refused(Refusal::Impossible { why }),
                },
                Ok(Appended::Refused(refusal)) => {
                    self.peers.learn(&refusal);
                    Trouble::Refused(refusal)
                }
                Err(error) => return Err(RPCError::Network(NetworkError::new(&error))),
            },
        };
        tracing::debug!(replica = %self.target, %trouble, "a peer takes no entries");
        Err(RPCError::Unreachable(Unreachable::new(&trouble)))
    }
}

/// What a peer may have made of entries: it has, or lacks, one that this replica has sent.
fn checked<R: Runtime>(
    log: &LogStore<R>,
    result: StreamAppendResult<Types<R>>,
) -> Result<StreamAppendResult<Types<R>>, Refused> {
    match result {
        Ok(Some(id)) | Err(StreamAppendError::Conflict(id)) if !log.held(id) => {
            Err(format!("it answers for entry {id}, which was never sent"))
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            answered_vote(vote, log.term()).map(|vote| Err(StreamAppendError::HigherVote(vote)))
        }
        result @ (Ok(_) | Err(StreamAppendError::Conflict(_))) => Ok(result),
    }
}

impl<R: Runtime> RaftNetworkV2<Types<R>> for Connection<R> {
    type SnapshotData = Snapshot;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let Answer::Append(response) = self.ask(option.soft_ttl(), Ask::Append(rpc)).await? else {
            return Err(self.absurd());
        };
        match response {
            AppendEntriesResponse::HigherVote(vote) => {
                Ok(AppendEntriesResponse::HigherVote(self.vote_of(vote)?))
            }
            AppendEntriesResponse::PartialSuccess(Some(id)) if !self.log.held(id) => {
                Err(self.impossible(format!("it answers for entry {id}, which was never sent")))
            }
            response @ (AppendEntriesResponse::Success
            | AppendEntriesResponse::PartialSuccess(_)
            | AppendEntriesResponse::Conflict) => Ok(response),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Acknowledgement<R>>, RPCError<Types<R>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let acknowledged: BoxStream<'s, _> = self.append_stream(input, option.soft_ttl()).await?;
            Ok(acknowledged)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.voted(self.ask(option.soft_ttl(), Ask::Vote(rpc)).await?)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.voted(self.ask(option.soft_ttl(), Ask::PreVote(rpc)).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types<R>>,
        snapshot: SnapshotOf<Types<R>, Snapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let sending = pin!(self.send_snapshot(vote, snapshot));
        match select(pin!(cancel), sending).await {
            Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            Either::Right((sent, _)) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let Answer::TransferLeader(response) =
            self.ask(option.soft_ttl(), Ask::TransferLeader(request)).await?
        else {
            return Err(self.absurd());
        };
        Ok(response)
    }
}
