//! The door for other branches, and what comes through it from those that are mistaken or lie.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::model::{
    AccountNumber, Amount, BranchName, Command, Failure, LedgerId, NewAccount, Origin, Proposal, Reason,
    Sequence, Timestamp, Work,
};
use crate::replication::{Branch, BranchConfig, Lane};
use crate::store::Tokio;
use crate::transfer::message::{Body, Message, Reply, STEPS, Told, decode, encode};
use crate::transfer::step::{Answer, Ask, Verdict};
use crate::transfer::{Routes, TransferDoor, Transfers};

const HERE: LedgerId = LedgerId([1; 16]);
const THERE: LedgerId = LedgerId([2; 16]);

/// The way to mumbai, where nobody answers.
struct Mumbai;

impl Routes for Mumbai {
    fn knows(&self, branch: &BranchName) -> bool {
        branch.as_str() == "mumbai"
    }

    fn exchange(
        &self,
        _branch: &BranchName,
        _message: Vec<u8>,
        _patience: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        Box::pin(std::future::pending())
    }
}

/// The branch delhi with account 1, and its door.
async fn delhi() -> (Lane<Tokio>, TransferDoor) {
    let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(|| Timestamp::from_micros(1_000));
    let config = BranchConfig::alone("delhi".parse().unwrap(), HERE, Arc::clone(&clock));
    let branch = Branch::<Tokio>::start(config).await.unwrap();
    let transfers = Transfers::start(&branch, Arc::new(Mumbai), clock);
    let lane = branch.lane();
    let open = Work::One(Command::OpenAccount(Box::<NewAccount>::default()));
    let proposal = Proposal { request: None, work: open };
    lane.execute(proposal, None, soon()).await.unwrap();
    (lane, transfers.door())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn told(number: u64, ask: Ask, minor: i64) -> Told {
    let account = AccountNumber::FIRST;
    let amount = Amount::from_minor(minor).unwrap();
    Told { number: Sequence(number), ask, source: account, destination: account, amount }
}

fn delivery(from: &str, settled_below: u64, told: Vec<Told>) -> Vec<u8> {
    let origin = Origin { branch: from.parse().unwrap(), ledger: THERE };
    let body = Body::Deliver { origin, settled_below: Sequence(settled_below), told };
    encode(&Message { to: "delhi".parse().unwrap(), body })
}

/// What delhi answers to one thing that mumbai tells.
async fn answer(door: &TransferDoor, settled_below: u64, what: Told) -> Answer {
    let bytes = door.answer(&delivery("mumbai", settled_below, vec![what]), soon()).await.unwrap();
    match decode(&bytes).unwrap() {
        Reply::Delivered { mut answers, .. } => answers.remove(0),
        Reply::Verdicts(_) => panic!("an answer to another question"),
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
    let (_, door) = delhi().await;
    for bytes in [&[][..], &[9, 1, 2], &[1], &[1, 255, 255, 255], b"deliver all money"] {
        assert_eq!(refusal(&door, bytes).await, Reason::ArgumentInvalid, "{bytes:?}");
    }
    let mut longer = delivery("mumbai", 1, vec![told(5, Ask::Prepare, 1)]);
    longer.push(0);
    assert_eq!(refusal(&door, &longer).await, Reason::ArgumentInvalid);
    let stranger = delivery("goa", 1, vec![told(5, Ask::Prepare, 1)]);
    assert_eq!(refusal(&door, &stranger).await, Reason::BranchUnknown);
    let many = delivery("mumbai", 1, vec![told(5, Ask::Prepare, 1); STEPS + 1]);
    assert_eq!(refusal(&door, &many).await, Reason::BatchTooLarge);
    let origin = Origin { branch: "mumbai".parse().unwrap(), ledger: THERE };
    let body = Body::Deliver { origin, settled_below: Sequence(1), told: Vec::new() };
    let elsewhere = encode(&Message { to: "goa".parse().unwrap(), body });
    assert_eq!(refusal(&door, &elsewhere).await, Reason::BranchUnknown);
}

#[tokio::test]
async fn a_payer_that_says_something_else_under_the_same_number_changes_nothing() {
    let (lane, door) = delhi().await;
    assert_eq!(answer(&door, 5, told(5, Ask::Prepare, 700)).await, Answer::Prepared);
    assert_eq!(answer(&door, 5, told(5, Ask::Prepare, 900)).await, Answer::Unknown);
    assert_eq!(answer(&door, 5, told(5, Ask::Commit, 900)).await, Answer::Unknown);
    assert_eq!(answer(&door, 5, told(5, Ask::Abort, 900)).await, Answer::Unknown);
    assert_eq!(balance(&lane), (0, 700));
    // The right one still goes its way, once.
    assert_eq!(answer(&door, 5, told(5, Ask::Commit, 700)).await, Answer::Committed);
    assert_eq!(answer(&door, 5, told(5, Ask::Commit, 700)).await, Answer::Committed);
    assert_eq!(answer(&door, 5, told(5, Ask::Abort, 700)).await, Answer::Committed);
    assert_eq!(balance(&lane), (700, 0));
}

#[tokio::test]
async fn a_payer_cannot_credit_what_was_not_prepared_or_is_settled() {
    let (lane, door) = delhi().await;
    assert_eq!(answer(&door, 1, told(7, Ask::Commit, 100)).await, Answer::Unknown);
    // An abort that comes before its prepare is remembered, until the payer says that it is settled.
    assert_eq!(answer(&door, 1, told(8, Ask::Abort, 100)).await, Answer::Aborted);
    assert_eq!(answer(&door, 1, told(8, Ask::Prepare, 100)).await, Answer::Aborted);
    assert_eq!(answer(&door, 9, told(9, Ask::Prepare, 100)).await, Answer::Prepared);
    assert_eq!(answer(&door, 1, told(8, Ask::Prepare, 100)).await, Answer::Settled);
    assert_eq!(answer(&door, 1, told(8, Ask::Commit, 100)).await, Answer::Settled);
    assert_eq!(balance(&lane), (0, 100));
}

#[tokio::test]
async fn a_receiver_is_told_only_what_this_ledger_has_decided() {
    let (_, door) = delhi().await;
    let ask = |branch: &str, ledger, numbers| {
        let origin = Origin { branch: branch.parse().unwrap(), ledger };
        let body = Body::Inquire { origin, receiver: "mumbai".parse().unwrap(), numbers };
        encode(&Message { to: "delhi".parse().unwrap(), body })
    };
    let bytes = door.answer(&ask("delhi", HERE, vec![Sequence(999)]), soon()).await.unwrap();
    assert_eq!(decode::<Reply>(&bytes).unwrap(), Reply::Verdicts(vec![Verdict::Abort]));
    // What another life of the ledger had decided nobody knows.
    assert_eq!(refusal(&door, &ask("delhi", THERE, vec![Sequence(1)])).await, Reason::SessionUnknown);
    assert_eq!(refusal(&door, &ask("mumbai", HERE, vec![Sequence(1)])).await, Reason::SessionUnknown);
    let many = vec![Sequence(1); STEPS + 1];
    assert_eq!(refusal(&door, &ask("delhi", HERE, many)).await, Reason::BatchTooLarge);
}
