//! The door for other branches, and what comes through it from those that are mistaken or lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::model::{
    AccountNumber, Amount, BranchName, Command, Digest, Failure, LedgerId, NewAccount, Origin, Proposal,
    Reason, Sequence, Timestamp, Work,
};
use crate::replication::{Branch, BranchConfig, Lane};
use crate::store::Tokio;
use crate::transfer::message::{Body, Message, Reply, STEPS, Terms, Told, decode, encode};
use crate::transfer::step::{Answer, Ask, Verdict};
use crate::transfer::{Routes, TransferDoor, Transfers};

const HERE: LedgerId = LedgerId([1; 16]);
const THERE: LedgerId = LedgerId([2; 16]);

/// The branch mumbai at the address that delhi was started with, and what it says when it is asked.
#[derive(Default)]
struct Mumbai {
    settled_below: Mutex<u64>,
    verdicts: Mutex<Vec<(Terms, Verdict)>>,
    asked: AtomicUsize,
}

impl Mumbai {
    /// From now on mumbai says this about a transfer.
    fn says(&self, settled_below: u64, terms: Terms, verdict: Verdict) {
        *self.settled_below.lock() = settled_below;
        let mut verdicts = self.verdicts.lock();
        verdicts.retain(|(known, _)| known.number != terms.number);
        verdicts.push((terms, verdict));
    }

    fn answer(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let message: Message = decode(message)?;
        let Body::Inquire { origin, transfers, .. } = message.body else { panic!("{message:?}") };
        if origin.ledger != THERE {
            return Err(Failure::new(Reason::SessionUnknown, "mumbai has another ledger"));
        }
        let known = self.verdicts.lock();
        let of = |terms: &Terms| {
            let found = known.iter().find(|(known, _)| known == terms);
            found.map_or(Verdict::Unknown, |(_, verdict)| *verdict)
        };
        let settled_below = Sequence(*self.settled_below.lock());
        Ok(encode(&Reply::Verdicts { settled_below, verdicts: transfers.iter().map(of).collect() }))
    }
}

/// The way to mumbai.
struct Way(Arc<Mumbai>);

impl Routes for Way {
    fn knows(&self, branch: &BranchName) -> bool {
        branch.as_str() == "mumbai"
    }

    fn exchange(
        &self,
        _branch: &BranchName,
        message: Vec<u8>,
        _patience: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        let answer = self.0.answer(&message);
        Box::pin(async move { answer })
    }
}

/// The receiving branch with its door, and the payer.
struct Delhi {
    lane: Lane<Tokio>,
    door: TransferDoor,
    mumbai: Arc<Mumbai>,
}

/// The branch delhi with account 1, and its door.
async fn delhi() -> Delhi {
    let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(|| Timestamp::from_micros(1_000));
    let config = BranchConfig::alone("delhi".parse().unwrap(), HERE, Arc::clone(&clock));
    let branch = Branch::<Tokio>::start(config).await.unwrap();
    let mumbai = Arc::<Mumbai>::default();
    let way: Arc<dyn Routes> = Arc::new(Way(Arc::clone(&mumbai)));
    let transfers = Transfers::start(&branch, Arc::clone(&way), clock);
    let lane = branch.lane();
    let open = Work::One(Command::OpenAccount(Box::<NewAccount>::default()));
    let proposal = Proposal { request: None, work: open };
    lane.execute(proposal, None, soon()).await.unwrap();
    Delhi { lane, door: transfers.door(way), mumbai }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn told(number: u64, ask: Ask, minor: i64) -> Told {
    let account = AccountNumber::FIRST;
    let amount = Amount::from_minor(minor).unwrap();
    let terms = Terms { number: Sequence(number), source: account, destination: account, amount };
    Told { ask, terms }
}

fn delivery(from: &str, told: Vec<Told>) -> Vec<u8> {
    delivery_of(from, THERE, told)
}

fn delivery_of(from: &str, ledger: LedgerId, told: Vec<Told>) -> Vec<u8> {
    let body = Body::Deliver { origin: Origin { branch: from.parse().unwrap(), ledger }, told };
    encode(&Message { to: "delhi".parse().unwrap(), body })
}

impl Delhi {
    /// What delhi answers to one thing that mumbai tells and confirms.
    async fn answer(&self, settled_below: u64, what: Told) -> Answer {
        let verdict = match what.ask {
            Ask::Prepare => Verdict::Pending,
            Ask::Commit => Verdict::Commit,
            Ask::Abort => Verdict::Abort,
        };
        self.mumbai.says(settled_below, what.terms.clone(), verdict);
        self.answer_to(what).await
    }

    /// What delhi answers to one thing that is told in the name of mumbai.
    async fn answer_to(&self, what: Told) -> Answer {
        let bytes = self.door.answer(&delivery("mumbai", vec![what]), soon()).await.unwrap();
        match decode(&bytes).unwrap() {
            Reply::Delivered { mut answers, .. } => answers.remove(0),
            Reply::Verdicts { .. } => panic!("an answer to another question"),
        }
    }

    /// How far the log is, and the digest there.
    fn log(&self) -> (Sequence, Digest) {
        let position = self.lane.state().ledger.position();
        (position.sequence, position.digest)
    }
}

async fn refusal(door: &TransferDoor, message: &[u8]) -> Reason {
    door.answer(message, soon()).await.unwrap_err().reason
}

fn balance(lane: &Lane<Tokio>) -> (i64, i64) {
    let audit = lane.state().ledger.audit();
    assert!(audit.balanced());
    let both = (audit.customers.minor(), audit.incoming.minor());
    (i64::try_from(both.0).unwrap(), i64::try_from(both.1).unwrap())
}

#[tokio::test]
async fn what_is_no_message_for_this_branch_is_refused() {
    let Delhi { door, .. } = delhi().await;
    for bytes in [&[][..], &[9, 1, 2], &[1], &[1, 255, 255, 255], b"deliver all money"] {
        assert_eq!(refusal(&door, bytes).await, Reason::ArgumentInvalid, "{bytes:?}");
    }
    let mut longer = delivery("mumbai", vec![told(5, Ask::Prepare, 1)]);
    longer.push(0);
    assert_eq!(refusal(&door, &longer).await, Reason::ArgumentInvalid);
    let stranger = delivery("goa", vec![told(5, Ask::Prepare, 1)]);
    assert_eq!(refusal(&door, &stranger).await, Reason::BranchUnknown);
    let many = delivery("mumbai", vec![told(5, Ask::Prepare, 1); STEPS + 1]);
    assert_eq!(refusal(&door, &many).await, Reason::BatchTooLarge);
    let twice = delivery("mumbai", vec![told(5, Ask::Prepare, 1), told(5, Ask::Commit, 1)]);
    assert_eq!(refusal(&door, &twice).await, Reason::ArgumentInvalid);
    let origin = Origin { branch: "mumbai".parse().unwrap(), ledger: THERE };
    let body = Body::Deliver { origin, told: Vec::new() };
    let elsewhere = encode(&Message { to: "goa".parse().unwrap(), body });
    assert_eq!(refusal(&door, &elsewhere).await, Reason::BranchUnknown);
}

#[tokio::test]
async fn a_payer_that_says_something_else_under_the_same_number_changes_nothing() {
    let delhi = delhi().await;
    assert_eq!(delhi.answer(5, told(5, Ask::Prepare, 700)).await, Answer::Prepared);
    assert_eq!(delhi.answer(5, told(5, Ask::Prepare, 900)).await, Answer::Unknown);
    assert_eq!(delhi.answer(5, told(5, Ask::Commit, 900)).await, Answer::Unknown);
    assert_eq!(delhi.answer(5, told(5, Ask::Abort, 900)).await, Answer::Unknown);
    assert_eq!(balance(&delhi.lane), (0, 700));
    // The right one still goes its way, once.
    assert_eq!(delhi.answer(5, told(5, Ask::Commit, 700)).await, Answer::Committed);
    assert_eq!(delhi.answer(5, told(5, Ask::Commit, 700)).await, Answer::Committed);
    assert_eq!(delhi.answer(5, told(5, Ask::Abort, 700)).await, Answer::Committed);
    assert_eq!(balance(&delhi.lane), (700, 0));
}

#[tokio::test]
async fn a_payer_cannot_credit_what_was_not_prepared_or_is_settled() {
    let delhi = delhi().await;
    assert_eq!(delhi.answer(1, told(7, Ask::Commit, 100)).await, Answer::Unknown);
    // An abort that comes before its prepare is remembered, until the payer says that it is settled.
    assert_eq!(delhi.answer(1, told(8, Ask::Abort, 100)).await, Answer::Aborted);
    assert_eq!(delhi.answer(1, told(8, Ask::Prepare, 100)).await, Answer::Aborted);
    assert_eq!(delhi.answer(9, told(9, Ask::Prepare, 100)).await, Answer::Prepared);
    assert_eq!(delhi.answer(1, told(8, Ask::Prepare, 100)).await, Answer::Settled);
    assert_eq!(delhi.answer(1, told(8, Ask::Commit, 100)).await, Answer::Unknown);
    assert_eq!(balance(&delhi.lane), (0, 100));
}

#[tokio::test]
async fn a_receiver_is_told_only_what_this_ledger_has_decided() {
    let Delhi { door, .. } = delhi().await;
    let ask = |branch: &str, ledger, transfers: Vec<u64>| {
        let transfers = transfers.into_iter().map(|number| told(number, Ask::Prepare, 1).terms).collect();
        let origin = Origin { branch: branch.parse().unwrap(), ledger };
        let body = Body::Inquire { origin, receiver: "mumbai".parse().unwrap(), transfers };
        encode(&Message { to: "delhi".parse().unwrap(), body })
    };
    let bytes = door.answer(&ask("delhi", HERE, vec![999]), soon()).await.unwrap();
    let Reply::Verdicts { verdicts, .. } = decode(&bytes).unwrap() else { panic!("another answer") };
    assert_eq!(verdicts, [Verdict::Unknown]);
    // What another life of the ledger had decided nobody knows.
    assert_eq!(refusal(&door, &ask("delhi", THERE, vec![1])).await, Reason::SessionUnknown);
    assert_eq!(refusal(&door, &ask("mumbai", HERE, vec![1])).await, Reason::SessionUnknown);
    let many = vec![1; STEPS + 1];
    assert_eq!(refusal(&door, &ask("delhi", HERE, many)).await, Reason::BatchTooLarge);
}

#[tokio::test]
async fn what_the_payer_does_not_confirm_leaves_no_trace_in_the_log() {
    let delhi = delhi().await;
    assert_eq!(delhi.answer(5, told(5, Ask::Prepare, 700)).await, Answer::Prepared);
    let before = delhi.log();
    // Mumbai has decided nothing about the first, and knows no other one.
    let lies = [
        told(5, Ask::Commit, 700),
        told(5, Ask::Abort, 700),
        told(6, Ask::Prepare, 900),
        told(6, Ask::Commit, 900),
        told(u64::MAX, Ask::Abort, 1),
    ];
    for lie in lies {
        assert_eq!(delhi.answer_to(lie.clone()).await, Answer::Unknown, "{lie:?}");
    }
    for ask in [Ask::Prepare, Ask::Commit, Ask::Abort] {
        let invented = delivery_of("mumbai", HERE, vec![told(7, ask, 900)]);
        assert_eq!(refusal(&delhi.door, &invented).await, Reason::SessionUnknown);
    }
    assert_eq!(delhi.log(), before);
    // Other terms than mumbai's are no better than another number.
    delhi.mumbai.says(5, told(8, Ask::Prepare, 100).terms, Verdict::Pending);
    assert_eq!(delhi.answer_to(told(8, Ask::Prepare, 99)).await, Answer::Unknown);
    assert_eq!(delhi.log(), before);
    assert_eq!(balance(&delhi.lane), (0, 700));
    assert_eq!(delhi.answer(5, told(5, Ask::Commit, 700)).await, Answer::Committed);
    assert_eq!(balance(&delhi.lane), (700, 0));
}

#[tokio::test]
async fn a_commit_of_what_is_not_known_here_adds_nothing_to_the_log() {
    let delhi = delhi().await;
    let before = delhi.log();
    for _ in 0..3 {
        assert_eq!(delhi.answer(1, told(7, Ask::Commit, 100)).await, Answer::Unknown);
    }
    assert_eq!(delhi.log(), before);
}
