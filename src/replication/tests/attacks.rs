//! What a peer that lies can say, through the door of a real replica: nothing of it may have an effect.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

use super::super::message::{Answer, Appended, Ask, Forwarded, Header, Message, Refusal, decode, encode};
use super::open;
use super::town::{Group, config, soon, write};
use crate::model::{
    AccountNumber, Amount, Batch, Command, Credit, Digest, HoldId, LedgerId, Origin, Proposal, ReplicaId,
    Sequence, Timestamp, Work,
};
use crate::replication::{Branch, Change, ChangeError};
use crate::store::{Entry, Incarnation, LogBatch, LogId, Member, SnapshotMeta, Tokio, Vote};

/// Three replicas that are settled, a follower that is attacked, and the leader and the follower in whose names.
struct Scene {
    group: Group<Tokio>,
    victim: u64,
    leader: u64,
    other: u64,
}

/// What must be the same after an attack.
type Facts = (Option<u64>, u64, Sequence, Digest);

fn facts(branch: &Branch<Tokio>) -> Facts {
    let replica = &branch.replica;
    let position = replica.current.get().ledger.position();
    replica
        .outlook
        .look(|metrics| (metrics.last_log_index, metrics.current_term, position.sequence, position.digest))
}

impl Scene {
    async fn new() -> Scene {
        let group = Group::<Tokio>::of(&[1, 2, 3]).await;
        let last = write(&group.lane(1), open(1)).await.last;
        group.digests_at(last).await;
        let leader = group.leader().await;
        let (victim, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
        Scene { group, victim, leader, other }
    }

    fn branch(&self) -> &Branch<Tokio> {
        &self.group.replicas[&self.victim]
    }

    /// The vote of the leader, which the status tells everybody.
    fn vote(&self) -> Vote {
        self.branch().replica.outlook.look(|metrics| metrics.vote)
    }

    /// The last entry of the log.
    fn last(&self) -> LogId {
        self.branch().replica.outlook.look(|metrics| metrics.last_applied.unwrap())
    }

    /// A valid header.
    fn header(&self, from: u64) -> Header {
        let peers = &self.branch().replica.peers;
        Header {
            branch: "main".into(),
            ledger: peers.ledger(),
            from: ReplicaId(from),
            to: ReplicaId(self.victim),
            life: Some(peers.me.member.incarnation),
        }
    }

    async fn call(&self, from: u64, ask: Ask<'static, Tokio>) -> Answer<Tokio> {
        let message = encode(&Message::<Tokio> { header: self.header(from), ask });
        decode(&self.branch().door().call(message).await).unwrap()
    }

    async fn refused(&self, from: u64, ask: Ask<'static, Tokio>) -> Refusal {
        let Answer::Refused(refusal) = self.call(from, ask).await else { panic!("it was taken") };
        refusal
    }

    /// The same in a stream of entries.
    async fn refused_in_a_stream(
        &self,
        from: u64,
        request: AppendEntriesRequest<crate::store::Types<Tokio>>,
    ) {
        let first = encode(&Message::<Tokio> { header: self.header(from), ask: Ask::AppendStream });
        let messages = futures::stream::iter([first, encode(&request)]).boxed();
        let answers: Vec<_> = self.branch().door().stream(messages).collect().await;
        let last = answers.last().expect("an answer");
        assert!(matches!(decode::<Appended<Tokio>>(last), Ok(Appended::Refused(_))), "it was taken");
    }

    /// A batch that would make money.
    fn entry(&self, id: LogId, time: u64) -> Entry {
        let account = AccountNumber::new(1).unwrap();
        let deposit = Command::Deposit { account, amount: Amount::from_minor(100_000_000).unwrap() };
        let proposals = vec![Proposal { request: None, work: Work::One(deposit) }];
        let batch = Batch { time: Timestamp::from_micros(time), founding: None, proposals };
        Entry { log_id: id, payload: EntryPayload::Normal(LogBatch::new(batch)) }
    }

    fn append(&self, vote: Vote, entries: Vec<Entry>) -> AppendEntriesRequest<crate::store::Types<Tokio>> {
        let commit = entries.last().map(|entry| entry.log_id);
        AppendEntriesRequest { vote, prev_log_id: Some(self.last()), entries, leader_commit: commit }
    }

    async fn append_is_refused(&self, from: u64, request: AppendEntriesRequest<crate::store::Types<Tokio>>) {
        self.refused_in_a_stream(from, request.clone()).await;
        self.refused(from, Ask::Append(request)).await;
    }

    fn next(&self, vote: Vote) -> LogId {
        LogId { leader_id: vote.leader_id, index: self.last().index + 1 }
    }
}

fn vote(term: u64, node: u64, committed: bool) -> Vote {
    let mut vote = Vote::new(term, node);
    vote.committed = committed;
    vote
}

#[tokio::test]
async fn a_vote_that_no_election_has_is_not_stored() {
    let scene = Scene::new().await;
    let before = facts(scene.branch());
    let term = before.1;
    let ask = |vote| VoteRequest { vote, last_log_id: Some(scene.last()), leadership_transfer: true };
    for vote in [
        vote(u64::MAX, scene.other, false),
        vote(term + (1 << 32), scene.other, false),
        // It was not elected by being asked for a vote.
        vote(term + 1, scene.other, true),
        // In the name of somebody else.
        vote(term + 1, scene.leader, false),
    ] {
        for ask in [Ask::Vote(ask(vote)), Ask::PreVote(ask(vote))] {
            assert!(matches!(scene.refused(scene.other, ask).await, Refusal::Impossible { .. }));
        }
    }
    let far = LogId { leader_id: scene.last().leader_id, index: u64::MAX };
    let long = VoteRequest { last_log_id: Some(far), ..ask(vote(term + 1, scene.other, false)) };
    assert!(matches!(scene.refused(scene.other, Ask::Vote(long)).await, Refusal::Impossible { .. }));
    // Of one that is no member, and of one that says it is the victim itself.
    for stranger in [7, scene.victim] {
        let refused = scene.refused(stranger, Ask::Vote(ask(vote(term + 1, stranger, false)))).await;
        assert_eq!(refused, Refusal::NotMember { replica: ReplicaId(stranger) });
    }
    assert_eq!(facts(scene.branch()), before);
    assert!(!scene.branch().replica.peers.heard_within(ReplicaId(7), std::time::Duration::from_secs(60)));
}

#[tokio::test]
async fn entries_that_no_leader_sends_are_not_appended() {
    let scene = Scene::new().await;
    let before = facts(scene.branch());
    let own = scene.vote();
    let later = |node| vote(own.leader_id.term + 1, node, true);
    let good = |vote| scene.append(vote, vec![scene.entry(scene.next(vote), 2_000)]);
    // Of one that is no member; in another's name; of one that was not elected; of a term that is too far ahead.
    scene.append_is_refused(7, good(later(7))).await;
    scene.append_is_refused(scene.other, good(own)).await;
    scene.append_is_refused(scene.other, good(vote(own.leader_id.term + 1, scene.other, false))).await;
    scene.append_is_refused(scene.other, good(vote(u64::MAX, scene.other, true))).await;
    // In the leader's name: a time that stops every clock, a gap, an entry of a later leader, a commit of one, an end that
    // no log has.
    scene
        .append_is_refused(scene.leader, scene.append(own, vec![scene.entry(scene.next(own), u64::MAX)]))
        .await;
    let gap = LogId { index: scene.last().index + 2, ..scene.next(own) };
    scene.append_is_refused(scene.leader, scene.append(own, vec![scene.entry(gap, 2_000)])).await;
    let of_later = scene.next(later(scene.other));
    scene.append_is_refused(scene.leader, scene.append(own, vec![scene.entry(of_later, 2_000)])).await;
    let commits = AppendEntriesRequest { leader_commit: Some(of_later), ..scene.append(own, Vec::new()) };
    scene.append_is_refused(scene.leader, commits).await;
    let end = Some(LogId { index: u64::MAX, ..scene.last() });
    let ends = AppendEntriesRequest { prev_log_id: end, ..scene.append(own, Vec::new()) };
    scene.append_is_refused(scene.leader, ends).await;
    assert_eq!(facts(scene.branch()), before);
    // And what is really next is still taken.
    let last = write(&scene.group.lane(scene.victim), super::deposit(1)).await.last;
    assert_eq!(scene.group.digests_at(last).await.iter().collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test]
async fn a_snapshot_is_taken_of_the_leader_that_is_followed_and_of_nobody_else() {
    let scene = Scene::new().await;
    let before = facts(scene.branch());
    let own = scene.vote();
    let frames = |ledger: u8| {
        let forged = std::sync::Arc::new(crate::ledger::Ledger::default());
        let founding = Some(LedgerId([ledger; 16]));
        forged.apply(&Batch { time: Timestamp::from_micros(5), founding, proposals: Vec::new() });
        forged.freeze().collect::<Vec<_>>()
    };
    let members = scene.branch().replica.outlook.look(|metrics| metrics.membership_config.clone());
    let send = async |from: u64, vote: Vote, last: LogId, ledger: u8| {
        let meta = SnapshotMeta { last_log_id: Some(last), last_membership: (*members).clone() };
        let first = Message::<Tokio> { header: scene.header(from), ask: Ask::Snapshot { vote, meta } };
        let messages = std::iter::once(encode(&first)).chain(frames(ledger));
        let messages = futures::stream::iter(messages.collect::<Vec<_>>()).boxed();
        let answers: Vec<_> = scene.branch().door().stream(messages).collect().await;
        matches!(decode::<Answer<Tokio>>(&answers[0]), Ok(Answer::Refused(_)))
    };
    let later = |node: u64| vote(own.leader_id.term + 1, node, true);
    let far = |vote: Vote| LogId { leader_id: vote.leader_id, index: 1_000 };
    assert!(send(7, later(7), far(later(7)), 1).await, "no member");
    assert!(send(scene.other, later(scene.other), far(later(scene.other)), 1).await, "it does not lead here");
    assert!(send(scene.other, own, far(own), 1).await, "in the name of the leader");
    assert!(send(scene.leader, own, far(later(scene.leader)), 1).await, "later than its vote");
    assert!(send(scene.leader, own, LogId { index: u64::MAX, ..far(own) }, 1).await, "longer than any log");
    assert!(send(scene.leader, own, far(own), 200).await, "of another ledger");
    assert_eq!(facts(scene.branch()), before);
}

#[tokio::test]
async fn the_lead_is_not_handed_over_by_one_that_has_not_got_it() {
    let scene = Scene::new().await;
    let before = facts(scene.branch());
    let own = scene.vote();
    let later = vote(own.leader_id.term + 1, scene.other, true);
    for (from, vote) in [(scene.other, own), (scene.other, later), (7, vote(own.leader_id.term, 7, true))] {
        let wish = TransferLeaderRequest::new(vote, scene.victim, Some(scene.last()));
        let answer = scene.call(from, Ask::TransferLeader(wish)).await;
        assert!(matches!(answer, Answer::Refused(_) | Answer::TransferLeader(Err(_))), "of {from}");
    }
    assert_eq!(facts(scene.branch()), before);
}

#[tokio::test]
async fn a_peer_proposes_only_what_a_caller_may_ask_for() {
    let scene = Scene::new().await;
    let scene = Scene { victim: scene.leader, leader: scene.victim, ..scene };
    let before = facts(scene.branch());
    let account = AccountNumber::new(1).unwrap();
    let credit = || {
        Box::new(Credit {
            origin: Origin { branch: "delhi".parse().unwrap(), ledger: LedgerId([9; 16]) },
            number: Sequence(1),
            settled_below: Sequence::ZERO,
            source: account,
            destination: account,
            amount: Amount::from_minor(1_000_000).unwrap(),
        })
    };
    let works = [
        Work::Independent(vec![Command::PrepareCredit(credit()), Command::CommitCredit(credit())]),
        Work::Atomic(vec![Command::CommitCredit(credit())]),
        Work::One(Command::AbortCredit(credit())),
        Work::One(Command::CommitTransfer { number: Sequence(1) }),
        Work::One(Command::CloseTransfer { number: Sequence(1), seen: None }),
        Work::One(Command::ExpireHold { hold: HoldId(Sequence(1)) }),
    ];
    for work in works {
        let proposal = Proposal { request: None, work };
        let forwarded =
            || vec![Forwarded { millis: 1_000, proposal: std::borrow::Cow::Owned(proposal.clone()) }];
        for ask in [Ask::Propose(forwarded()), Ask::ProposeTraced(forwarded(), Vec::new())] {
            assert!(matches!(scene.refused(scene.other, ask).await, Refusal::Impossible { .. }));
        }
    }
    let forwarded = vec![Forwarded { millis: 1_000, proposal: std::borrow::Cow::Owned(super::deposit(1)) }];
    let refused = scene.refused(7, Ask::Propose(forwarded)).await;
    assert_eq!(refused, Refusal::NotMember { replica: ReplicaId(7) });
    assert_eq!(facts(scene.branch()), before);
}

#[tokio::test]
async fn a_lone_replica_does_not_give_a_vote_to_one_that_nobody_hears() {
    let mut group = Group::<Tokio>::empty();
    let lone = config(&group.town, 1, &[1]);
    group.start(lone).await.ready().await.unwrap();
    write(&group.lane(1), open(1)).await;
    group.start(config(&group.town, 2, &[1, 2])).await;
    let branch = group.replicas[&1].clone();
    let add = Change::Add { replica: ReplicaId(2), address: super::town::address(2) };
    branch.change(add, None, soon::<Tokio>()).await.unwrap();
    group.replicas[&2].ready().await.unwrap();
    group.kill(2).await;
    let refused = branch.change(Change::Promote { replica: ReplicaId(2) }, None, soon::<Tokio>()).await;
    assert!(
        matches!(&refused, Err(ChangeError::Refused(why)) if why.contains("does not answer")),
        "{refused:?}"
    );
    write(&group.lane(1), super::deposit(1)).await;
}

#[tokio::test]
async fn looking_for_replicas_at_other_addresses_tells_and_keeps_nothing() {
    let mut group = Group::<Tokio>::empty();
    let lone = config(&group.town, 1, &[1]);
    group.start(lone).await.ready().await.unwrap();
    let branch = group.replicas[&1].clone();
    let look = async |replica: u64, address: &str| {
        let add = Change::Add { replica: ReplicaId(replica), address: address.to_owned() };
        branch.change(add, None, soon::<Tokio>()).await.unwrap_err().to_string()
    };
    let [first, second] = [look(2, "nowhere").await, look(3, "elsewhere").await];
    assert_eq!(
        first.replace("nowhere", "A").replace('2', "N"),
        second.replace("elsewhere", "A").replace('3', "N")
    );
    let (one, other) = (look(4, "nowhere"), look(5, "elsewhere"));
    let (one, other) = futures::future::join(one, other).await;
    assert!([one, other].iter().any(|why| why.contains("another replica is being asked")));
    assert!(look(6, &"a".repeat(300)).await.contains("at most"));
    assert_eq!(branch.replica.peers.known_ways(), 0);
}

#[tokio::test]
async fn a_change_that_was_granted_is_granted_again_and_not_done_again() {
    let group = Group::<Tokio>::of(&[1, 2, 3]).await;
    write(&group.lane(1), open(1)).await;
    let leader = group.leader().await;
    let (gone, asked) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let remove = || Change::Remove { replica: ReplicaId(gone), lose_history: false };
    let id = || Some("remove-it".parse().unwrap());
    let branch = &group.replicas[&asked];
    branch.change(remove(), id(), soon::<Tokio>()).await.unwrap();
    branch.change(remove(), id(), soon::<Tokio>()).await.unwrap();
    group.replicas[&leader].change(remove(), id(), soon::<Tokio>()).await.unwrap();
    let other = branch.change(Change::Transfer { to: None }, id(), soon::<Tokio>()).await;
    assert!(matches!(&other, Err(ChangeError::Refused(why)) if why.contains("another change")), "{other:?}");
    let nameless = branch.change(remove(), None, soon::<Tokio>()).await;
    assert!(
        matches!(&nameless, Err(ChangeError::Refused(why)) if why.contains("has no replica")),
        "{nameless:?}"
    );
}

#[tokio::test]
async fn a_removal_that_comes_late_does_not_take_out_the_one_that_came_since() {
    let mut group = Group::<Tokio>::of(&[1, 2, 3]).await;
    write(&group.lane(1), open(1)).await;
    let leader = group.leader().await;
    let (gone, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let late = super::super::wishes::Wish {
        life: group.replicas[&leader].replica.member(ReplicaId(gone)).map(|member| member.incarnation),
        ..Change::Remove { replica: ReplicaId(gone), lose_history: false }.into()
    };
    let branch = group.replicas[&leader].clone();
    branch.replica.decide(late.clone()).await.unwrap();
    group.kill(gone).await;
    let fresh = crate::replication::BranchConfig {
        incarnation: Incarnation([77; 16]),
        ..config(&group.town, gone, &[1, 2, 3])
    };
    group.start(fresh).await;
    let add = Change::Add { replica: ReplicaId(gone), address: super::town::address(gone) };
    group.replicas[&other].change(add, None, soon::<Tokio>()).await.unwrap();
    let refused = branch.replica.decide(late).await;
    assert!(matches!(&refused, Err(Refusal::Change { why }) if why.contains("added again")), "{refused:?}");
    let members: BTreeMap<ReplicaId, Member> = branch.replica.members();
    assert!(members.contains_key(&ReplicaId(gone)));
}
