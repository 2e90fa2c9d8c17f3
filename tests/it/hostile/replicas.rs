//! Attacks on three durable replicas. After each: the log is as long as it was, the digests are the same, and all start
//! again.

use std::collections::BTreeMap;
use std::time::Duration;

use bank::client::{BranchStatus, Client, Config, NewAccount, Options};
use bank::model::{
    AccountNumber, Amount, Batch, Command, Credit, LedgerId, Origin, Proposal, Reason, Sequence, Timestamp,
    Work,
};

use super::peer::{Header, LogId, Members, Peer, Vote, ask, is_refusal, message, part};
use crate::replicas::{Group, settled};
use crate::support::{Server, run};

/// A settled group, and what everybody can find out about it.
struct Scene {
    group: Group,
    client: Client,
    before: BranchStatus,
    leader: u64,
    follower: u64,
    ledger: [u8; 16],
}

impl Scene {
    async fn new() -> Scene {
        let group = Group::start();
        let client = group.client(0);
        let new = NewAccount { deposit: "10.00", ..NewAccount::default() };
        client.open_account(new, &Options::default()).await.unwrap();
        let leader = settled(&client).await as u64 + 1;
        let before = client.branch_status(&Options::default()).await.unwrap();
        let ledger = uuid::Uuid::parse_str(&before.ledger).unwrap().into_bytes();
        Scene { group, client, leader, follower: leader % 3 + 1, ledger, before }
    }

    fn term(&self) -> u64 {
        self.before.replicas[0].term
    }

    /// The last entry of the log, as the status tells it.
    fn last(&self) -> LogId {
        ((self.term(), self.leader), self.before.replicas[0].log_index)
    }

    async fn peer(&self, to: u64) -> Peer {
        Peer::at(self.group.addresses[usize::try_from(to).unwrap() - 1]).await
    }

    /// A header as a member has it that knows everything.
    async fn header(&self, from: u64, to: u64) -> Header {
        let header = Header { branch: "main".to_owned(), ledger: Some(self.ledger), from, to, life: None };
        let life = self.peer(to).await.life(&header).await;
        Header { life: Some(life), ..header }
    }

    /// Sends a question with a valid header, with one of a replica that is no member, and with one that leaves out whom it
    /// is for; each must be refused.
    async fn refuses<T: serde::Serialize>(&self, from: u64, to: u64, ask: u32, content: impl Fn(u64) -> T) {
        let mut peer = self.peer(to).await;
        let valid = self.header(from, to).await;
        let stranger = Header { from: 7, ..valid.clone() };
        let nobody = Header { life: None, ..valid.clone() };
        for header in [valid, stranger, nobody] {
            let answer = peer.call(message(&header, ask, &content(header.from))).await.unwrap();
            assert!(is_refusal(&answer), "{ask} of {} was taken", header.from);
        }
    }

    /// Nothing has happened, and nothing that happened waits in a directory.
    async fn unharmed(mut self) {
        let after = self.client.branch_status(&Options::default()).await.unwrap();
        for (before, after) in self.before.replicas.iter().zip(&after.replicas) {
            let facts = |replica: &bank::client::ReplicaStatus| {
                (replica.log_index, replica.term, replica.sequence, replica.digest.clone())
            };
            assert_eq!(facts(before), facts(after));
        }
        (0..3).for_each(|place| self.group.kill(place));
        for id in 1..=3 {
            let directory = self.group.folder.path().join(id.to_string());
            let verified = run(&["verify", directory.to_str().unwrap()], &[]);
            assert_eq!(verified.status.code(), Some(0), "{}", verified.stderr);
        }
        (0..3).for_each(|place| self.group.begin(place));
        settled(&self.client).await;
        let restarted = self.client.branch_status(&Options::default()).await.unwrap();
        assert_eq!(restarted.replicas[0].digest, self.before.replicas[0].digest);
        let paid = self.client.deposit("1", "1.00", &Options::default()).await.unwrap();
        assert_eq!(paid.balance, "11.00");
    }
}

/// A request for a vote.
fn candidacy(scene: &Scene, term: u64, node: u64) -> (Vote, Option<LogId>, bool) {
    (((term, node), false), Some(scene.last()), true)
}

#[tokio::test]
async fn a_forged_vote_of_the_last_term_is_not_stored() {
    let scene = Scene::new().await;
    let other = scene.follower % 3 + 1;
    for to in [scene.follower, scene.leader] {
        for term in [u64::MAX, scene.term() + (1 << 32)] {
            scene.refuses(other_of(to, other), to, ask::VOTE, |from| candidacy(&scene, term, from)).await;
            scene.refuses(other_of(to, other), to, ask::PRE_VOTE, |from| candidacy(&scene, term, from)).await;
        }
    }
    scene.unharmed().await;
}

/// The third replica, when the other two are those.
fn other_of(to: u64, other: u64) -> u64 {
    if to == other { to % 3 + 1 } else { other }
}

/// A batch that makes money, as an entry of the log.
fn entry(id: LogId, time: u64) -> (LogId, u32, Vec<u8>) {
    let account = AccountNumber::new(1).unwrap();
    let deposit = Command::Deposit { account, amount: Amount::from_minor(100_000_000).unwrap() };
    let proposals = vec![Proposal { request: None, work: Work::One(deposit) }];
    let batch = Batch { time: Timestamp::from_micros(time), founding: None, proposals };
    (id, 1, bank::model::encode_batch(&batch))
}

/// Entries of a leader.
type Append = (Vote, Option<LogId>, Vec<(LogId, u32, Vec<u8>)>, Option<LogId>);

fn append(scene: &Scene, vote: Vote, time: u64) -> Append {
    let next = (vote.0, scene.last().1 + 1);
    (vote, Some(scene.last()), vec![entry(next, time)], Some(next))
}

#[tokio::test]
async fn entries_of_a_replica_that_does_not_lead_are_not_appended() {
    let scene = Scene::new().await;
    let (to, other) = (scene.follower, other_of(scene.leader, scene.follower % 3 + 1));
    let now = 1_795_000_000_000_000;
    // A leader of a term that no election reached, one that was not elected, and the real one in another's name.
    let forged = |from: u64| append(&scene, ((u64::MAX, from), true), now);
    scene.refuses(other, to, ask::APPEND, forged).await;
    scene
        .refuses(other, to, ask::APPEND, |from| append(&scene, ((scene.term() + 1, from), false), now))
        .await;
    scene
        .refuses(other, to, ask::APPEND, |_| append(&scene, ((scene.term(), scene.leader), true), now))
        .await;
    let mut peer = scene.peer(to).await;
    let stranger = Header { from: 7, ..scene.header(other, to).await };
    let entries = part(&append(&scene, ((scene.term() + 1, 7), true), now));
    let answer = peer.stream(vec![message(&stranger, ask::APPEND_STREAM, &()), entries]).await;
    assert!(is_refusal(&answer));
    scene.unharmed().await;
}

#[tokio::test]
async fn a_time_that_would_stop_the_clock_is_not_taken() {
    let scene = Scene::new().await;
    let to = scene.follower;
    let own = ((scene.term(), scene.leader), true);
    scene.refuses(scene.leader, to, ask::APPEND, |_| append(&scene, own, u64::MAX)).await;
    let header = scene.header(scene.leader, to).await;
    let entries = part(&append(&scene, own, u64::MAX));
    let answer = scene.peer(to).await.stream(vec![message(&header, ask::APPEND_STREAM, &()), entries]).await;
    assert!(is_refusal(&answer));
    scene.unharmed().await;
}

#[tokio::test]
async fn forged_frames_do_not_replace_the_bank() {
    let scene = Scene::new().await;
    let to = scene.follower;
    let other = other_of(scene.leader, scene.follower % 3 + 1);
    let nodes: BTreeMap<u64, (String, [u8; 16])> =
        (1..=3).map(|id| (id, ("127.0.0.1:1".to_owned(), [0; 16]))).collect();
    let members: Members = (vec![vec![1, 2, 3]], nodes);
    for (from, vote) in [
        (7, ((scene.term() + 1, 7), true)),
        (other, ((scene.term() + 1, other), true)),
        (other, ((scene.term(), scene.leader), true)),
        (scene.leader, ((scene.term() + 1, scene.leader), true)),
    ] {
        let header = scene.header(from, to).await;
        let last: LogId = (vote.0, scene.last().1 + 100);
        let content = (vote, (Some(last), (Some(last), members.clone())));
        let mut messages = vec![message(&header, ask::SNAPSHOT, &content)];
        messages.extend([vec![1; 100], vec![2; 100], vec![3; 100]]);
        let answer = scene.peer(to).await.stream(messages).await;
        assert!(is_refusal(&answer), "of {from}");
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn the_lead_is_not_taken_by_a_forged_hand_over() {
    let scene = Scene::new().await;
    let other = other_of(scene.leader, scene.follower % 3 + 1);
    let wish = |vote: Vote| (vote, scene.follower, Some(scene.last()));
    scene
        .refuses(other, scene.follower, ask::TRANSFER_LEADER, |_| wish(((scene.term(), scene.leader), true)))
        .await;
    scene.refuses(other, scene.follower, ask::TRANSFER_LEADER, |from| wish(((u64::MAX, from), true))).await;
    scene.unharmed().await;
}

#[tokio::test]
async fn money_is_not_made_by_proposed_credits() {
    let scene = Scene::new().await;
    let account = AccountNumber::new(1).unwrap();
    let credit = Box::new(Credit {
        origin: Origin { branch: "delhi".parse().unwrap(), ledger: LedgerId([9; 16]) },
        number: Sequence(1),
        settled_below: Sequence::ZERO,
        source: account,
        destination: account,
        amount: Amount::from_minor(1_000_000).unwrap(),
    });
    let work = Work::Independent(vec![Command::PrepareCredit(credit.clone()), Command::CommitCredit(credit)]);
    let proposals = vec![(5_000_u32, Proposal { request: None, work })];
    scene.refuses(scene.follower, scene.leader, ask::PROPOSE, |_| proposals.clone()).await;
    scene.unharmed().await;
}

#[tokio::test]
async fn the_history_is_told_to_members_only() {
    let scene = Scene::new().await;
    let stranger = Header { from: 7, ..scene.header(scene.follower, scene.leader).await };
    let answer = scene.peer(scene.leader).await.call(message(&stranger, ask::JOURNAL, &2_u64)).await.unwrap();
    assert!(is_refusal(&answer));
    scene.unharmed().await;
}

#[tokio::test]
async fn a_server_without_a_list_of_peers_has_no_service_for_them() {
    let server = Server::start();
    let header = Header { branch: "main".to_owned(), ledger: None, from: 2, to: 1, life: None };
    let answer = Peer::at(server.address()).await.call(message(&header, ask::HELLO, &())).await;
    assert_eq!(answer, Err(tonic::Code::Unimplemented));
    server.stop().await;
}

#[tokio::test]
async fn looking_for_open_ports_through_the_bank_finds_nothing() {
    let scene = Scene::new().await;
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(&Config::new([scene.group.addresses[0].to_string()])).unwrap();
    let mut answers = Vec::new();
    for address in [open.local_addr().unwrap(), closed] {
        let began = std::time::Instant::now();
        let options = Options { timeout: Some(Duration::from_secs(20)), ..Options::default() };
        let failure = client.add_replica(9, &address.to_string(), &options).await.unwrap_err();
        assert_eq!(failure.reason, Reason::ChangeRefused);
        assert!(began.elapsed() >= Duration::from_secs(2), "the time tells, too: {:?}", began.elapsed());
        answers.push(failure.message.replace(&address.to_string(), "ADDRESS"));
    }
    assert_eq!(answers[0], answers[1]);
    scene.unharmed().await;
}
