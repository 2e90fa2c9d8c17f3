//! Money between two branches, over the client library: any server takes any call, and both tell the same.

use std::time::Duration;

use bank::client::{
    Client, EntryOrder, JournalQuery, Kind, NewAccount, OperationState, Options, Page, TransferSide,
    TransferState, TransferStep,
};
use bank::model::{Failure, Reason, Session};

use crate::support::{Server, client_of, free_ports, server_of_two, two_branches};

/// Two branches whose account 1 has 100.00 each.
struct Town {
    mumbai: Client,
    delhi: Client,
    _servers: [Server; 2],
}

impl Town {
    async fn new() -> Town {
        let servers = two_branches();
        let [mumbai, delhi] = [client_of(&servers[0]), client_of(&servers[1])];
        for client in [&mumbai, &delhi] {
            let new = NewAccount { deposit: "100", ..NewAccount::default() };
            client.open_account(new, &Options::default()).await.unwrap();
        }
        Town { mumbai, delhi, _servers: servers }
    }
}

async fn balance(client: &Client, account: &str) -> String {
    client.balance(account, &Options::default()).await.unwrap().balance
}

fn reason<T: std::fmt::Debug>(result: Result<T, Failure>) -> Reason {
    result.expect_err("the call must be refused").reason
}

#[tokio::test]
async fn money_goes_from_any_server_to_any_account_and_the_session_sees_it() {
    let Town { mumbai, delhi, _servers } = Town::new().await;
    let options = Options::default();
    let there = mumbai.transfer("1", "delhi/1", "25.50", &options).await.unwrap();
    assert_eq!((there.state, there.source_balance.as_str()), (TransferState::Committed, "74.50"));
    assert_eq!((there.source.as_str(), there.destination.as_str()), ("mumbai/1", "delhi/1"));
    let session = Session::parse(&there.seen.session_token).unwrap();
    for branch in ["mumbai", "delhi"] {
        assert!(session.of(&branch.parse().unwrap()).is_some(), "the session covers {branch}");
    }
    let with_session =
        Options { session_token: Some(there.seen.session_token.clone()), ..Options::default() };
    assert_eq!(delhi.balance("1", &with_session).await.unwrap().balance, "125.50");

    // A server of the receiving branch takes the call as well.
    let back = mumbai.transfer("delhi/1", "mumbai/1", "0.50", &options).await.unwrap();
    assert_eq!((back.state, back.seen.branch.as_str()), (TransferState::Committed, "delhi"));
    assert_eq!((balance(&mumbai, "1").await, balance(&delhi, "1").await), ("75.00".into(), "125.00".into()));
    // A number alone is an account of the branch that is asked, also when the call goes on to another one.
    let own = mumbai.transfer("delhi/1", "1", "1", &options).await.unwrap();
    assert_eq!(own.destination, "mumbai/1");

    for client in [&mumbai, &delhi] {
        let audit = client.audit(&options).await.unwrap();
        assert!(audit.balanced, "{audit:?}");
        assert_eq!((audit.open_transfers, audit.prepared_credits, audit.held.as_str()), (0, 0, "0.00"));
    }
    let clearing = mumbai.audit(&options).await.unwrap().clearing;
    assert_eq!((clearing[0].due_to.as_str(), clearing[0].due_from.as_str()), ("25.50", "-1.50"));
    let clearing = delhi.audit(&options).await.unwrap().clearing;
    assert_eq!((clearing[0].due_to.as_str(), clearing[0].due_from.as_str()), ("1.50", "-25.50"));
}

#[tokio::test]
async fn both_branches_tell_what_happened_to_a_transfer() {
    let Town { mumbai, delhi, _servers } = Town::new().await;
    let options = Options { request_id: Some("rent".to_owned()), ..Options::default() };
    let done = mumbai.transfer("1", "delhi/1", "25", &options).await.unwrap();
    let again = mumbai.transfer("1", "delhi/1", "25", &options).await.unwrap();
    assert!(again.named.replayed && again.state == TransferState::Committed);
    assert_eq!(again.transfer, done.transfer);

    let options = Options::default();
    let payer = mumbai.transfer_shown(&done.transfer, &options).await.unwrap().transfer;
    assert_eq!(
        (payer.state, payer.side, payer.in_doubt),
        (TransferState::Committed, TransferSide::Paying, false)
    );
    let steps: Vec<_> = payer.phases.iter().map(|phase| (phase.step, phase.branch.as_str())).collect();
    use TransferStep::{Begin, Close, Commit, Prepare};
    assert_eq!(steps, [(Begin, "mumbai"), (Commit, "mumbai"), (Close, "mumbai")]);
    let receiver = delhi.transfer_shown(&done.transfer, &options).await.unwrap().transfer;
    assert_eq!((receiver.state, receiver.side), (TransferState::Committed, TransferSide::Receiving));
    let mut steps: Vec<_> = receiver.phases.iter().map(|phase| (phase.step, phase.branch.as_str())).collect();
    steps.sort_by_key(|(step, branch)| (step.as_str(), branch.to_owned()));
    assert_eq!(
        steps,
        [(Begin, "mumbai"), (Close, "mumbai"), (Commit, "delhi"), (Commit, "mumbai"), (Prepare, "delhi")]
    );

    for (client, side) in [(&mumbai, TransferSide::Paying), (&delhi, TransferSide::Receiving)] {
        let list = client.transfers(false, Page::default(), &options).await.unwrap().transfers;
        assert_eq!((list.len(), list[0].side, list[0].state), (1, side, TransferState::Committed));
        assert_eq!(list[0].transfer, done.transfer);
        assert!(client.transfers(true, Page::default(), &options).await.unwrap().transfers.is_empty());
    }
    let told = mumbai.operation("rent", &options).await.unwrap();
    let result = told.results[0].outcome.as_ref().unwrap();
    assert_eq!(told.state, OperationState::Executed);
    assert_eq!(
        (result.transfer.as_str(), result.transfer_state),
        (done.transfer.as_str(), Some(TransferState::Committed))
    );

    let kinds = async |client: &Client| -> Vec<Kind> {
        let query =
            JournalQuery { from: 2, account: "1", order: EntryOrder::OldestFirst, page: Page::default() };
        let records = client.journal(query, &options).await.unwrap().records;
        assert!(records.iter().all(|record| record.transfer == done.transfer));
        records.into_iter().map(|record| record.kind).collect()
    };
    assert_eq!(kinds(&mumbai).await, [Kind::TransferBegin, Kind::TransferCommit, Kind::TransferClose]);
    assert_eq!(kinds(&delhi).await, [Kind::CreditPrepare, Kind::CreditCommit]);
}

#[tokio::test]
async fn what_the_other_branch_refuses_is_aborted_and_says_why() {
    let Town { mumbai, delhi, _servers } = Town::new().await;
    let options = Options::default();
    delhi.open_account(NewAccount::default(), &options).await.unwrap();
    delhi.set_account_state("2", bank::client::AccountState::Frozen, &options).await.unwrap();
    delhi.deposit("1", "999999999800", &options).await.unwrap();
    for (to, amount, reason) in [
        ("delhi/77", "1", Reason::AccountNotFound),
        ("delhi/2", "1", Reason::AccountFrozen),
        ("delhi/1", "100", Reason::AmountOverflow),
    ] {
        let refused = mumbai.transfer("1", to, amount, &options).await.unwrap();
        assert_eq!(
            (refused.state, refused.reason.as_str()),
            (TransferState::Aborted, reason.as_str()),
            "{to}"
        );
        assert!(!refused.message.is_empty());
        let shown = mumbai.transfer_shown(&refused.transfer, &options).await.unwrap().transfer;
        assert_eq!((shown.state, shown.reason.as_str()), (TransferState::Aborted, reason.as_str()));
    }
    let here = mumbai.balance("1", &options).await.unwrap();
    assert_eq!((here.balance.as_str(), here.held.as_str()), ("100.00", "0.00"));
}

#[tokio::test]
async fn bad_transfers_are_refused_by_name_at_once() {
    let Town { mumbai, _servers, .. } = Town::new().await;
    let options = Options::default();
    for (from, to, amount, expected) in [
        ("1", "goa/1", "1", Reason::BranchUnknown),
        ("goa/1", "1", "1", Reason::BranchUnknown),
        ("goa/1", "delhi/1", "1", Reason::BranchUnknown),
        ("1", "1", "1", Reason::SameAccount),
        ("delhi/1", "delhi/1", "1", Reason::SameAccount),
        ("77", "delhi/1", "1", Reason::AccountNotFound),
        ("1", "delhi/1", "100.01", Reason::InsufficientFunds),
        ("1", "delhi/1", "1.001", Reason::AmountPrecision),
        ("1", "delhi/0", "1", Reason::AccountSyntax),
        ("1", "delhi/", "1", Reason::AccountSyntax),
    ] {
        assert_eq!(
            reason(mumbai.transfer(from, to, amount, &options).await),
            expected,
            "{from} {to} {amount}"
        );
        let look = Options { validate_only: true, ..Options::default() };
        assert_eq!(reason(mumbai.transfer(from, to, amount, &look).await), expected, "{from} {to} {amount}");
    }
    for (transfer, expected) in [
        ("1", Reason::TransferNotFound),
        ("99", Reason::TransferNotFound),
        ("delhi:99", Reason::TransferNotFound),
        ("goa:1", Reason::BranchUnknown),
        ("x", Reason::ArgumentInvalid),
        ("", Reason::ArgumentInvalid),
    ] {
        assert_eq!(reason(mumbai.transfer_shown(transfer, &options).await), expected, "{transfer:?}");
        assert_eq!(reason(mumbai.abort_transfer(transfer, &options).await), expected, "{transfer:?}");
    }
    let look = Options { validate_only: true, ..Options::default() };
    let seen = mumbai.transfer("1", "delhi/1", "10", &look).await.unwrap();
    assert_eq!((seen.transfer.as_str(), seen.state), ("", TransferState::Pending));
    let within = mumbai.transfer_shown("1", &options).await;
    assert_eq!(reason(within), Reason::TransferNotFound, "the opening is no transfer");
    assert_eq!(balance(&mumbai, "1").await, "100.00");
}

#[tokio::test]
async fn a_transfer_to_a_branch_that_is_down_is_pending_until_an_operator_aborts_it() {
    let [port, nobody] = free_ports();
    let server = server_of_two("mumbai", port, "delhi", nobody);
    let mumbai = client_of(&server);
    let options = Options::default();
    let new = NewAccount { deposit: "100", ..NewAccount::default() };
    mumbai.open_account(new, &options).await.unwrap();
    let quick = Options { timeout: Some(Duration::from_secs(2)), ..Options::default() };
    let pending = mumbai.transfer("1", "delhi/1", "30", &quick).await.unwrap();
    assert_eq!((pending.state, pending.transfer.as_str()), (TransferState::Pending, "mumbai:2"));
    assert!(pending.message.contains("delhi"), "{}", pending.message);
    let held = mumbai.balance("1", &options).await.unwrap();
    assert_eq!((held.held.as_str(), held.available.as_str()), ("30.00", "70.00"));
    let told = mumbai.operation(&pending.named.request_id, &options).await.unwrap();
    assert_eq!(told.results[0].outcome.as_ref().unwrap().transfer_state, Some(TransferState::Pending));

    let doubt = mumbai.transfers(true, Page::default(), &options).await.unwrap().transfers;
    assert_eq!((doubt[0].transfer.as_str(), doubt[0].waiting_for.as_str()), ("mumbai:2", "delhi"));
    assert!(doubt[0].in_doubt && doubt[0].age.is_some());
    let audit = mumbai.audit(&options).await.unwrap();
    assert_eq!((audit.open_transfers, audit.reserved.as_str(), audit.balanced), (1, "30.00", true));

    let aborted = mumbai.abort_transfer("2", &options).await.unwrap();
    assert_eq!((aborted.state, aborted.reason.as_str()), (TransferState::Aborted, "TRANSFER_ABORTED"));
    // Who lost the answer may ask again.
    assert_eq!(mumbai.abort_transfer("mumbai:2", &options).await.unwrap().state, TransferState::Aborted);
    assert_eq!(mumbai.balance("1", &options).await.unwrap().held, "0.00");
}

#[tokio::test]
async fn what_is_decided_cannot_be_resolved_otherwise() {
    let Town { mumbai, delhi, _servers } = Town::new().await;
    let options = Options::default();
    let done = mumbai.transfer("1", "delhi/1", "25", &options).await.unwrap();
    for client in [&mumbai, &delhi] {
        let failure = client.abort_transfer(&done.transfer, &options).await.unwrap_err();
        assert_eq!(
            (failure.reason, failure.metadata["state"].as_str()),
            (Reason::TransferFinal, "COMMITTED")
        );
    }
    mumbai.open_account(NewAccount::default(), &options).await.unwrap();
    let inside = mumbai.transfer("1", "2", "1", &options).await.unwrap();
    assert_eq!(reason(mumbai.abort_transfer(&inside.transfer, &options).await), Reason::TransferFinal);
    let shown = mumbai.transfer_shown(&inside.transfer, &options).await.unwrap().transfer;
    assert_eq!((shown.side, shown.state), (TransferSide::Both, TransferState::Committed));
}

#[tokio::test]
async fn transfers_are_listed_newest_first_over_pages() {
    let Town { mumbai, delhi, _servers } = Town::new().await;
    let options = Options::default();
    mumbai.open_account(NewAccount::default(), &options).await.unwrap();
    let mut names = Vec::new();
    for n in 0..6 {
        let (client, from, to) = match n % 3 {
            0 => (&mumbai, "mumbai/1", "mumbai/2"),
            1 => (&mumbai, "mumbai/1", "delhi/1"),
            _ => (&delhi, "delhi/1", "mumbai/1"),
        };
        names.push(client.transfer(from, to, "1", &options).await.unwrap().transfer);
    }
    names.reverse();
    for size in [1, 2, 5, 50] {
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let page = mumbai.transfers(false, Page { size, token: &token }, &options).await.unwrap();
            assert!(page.transfers.iter().all(|transfer| transfer.state == TransferState::Committed));
            listed.extend(page.transfers.into_iter().map(|transfer| transfer.transfer));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, names, "{size}");
    }
}
