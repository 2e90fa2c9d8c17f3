//! Every unary call of `bank.v1` does what its name says.

use bank::model::Reason;
use bank::wire::proto::v1::{
    Account, AccountState, AddInterestRequest, Consistency, GetAccountRequest, GetBalanceRequest,
    GetOperationRequest, ListAccountsRequest, OpenAccountRequest, OperationState, TransferRequest,
    TransferState,
};

use crate::support::{self, Server, balance, deposit, open, reason, refusal, withdraw};

#[tokio::test]
async fn an_account_is_opened_with_the_next_number_or_the_one_asked_for() {
    let server = Server::start();
    let mut bank = server.client().await;
    let mut numbers = Vec::new();
    for wanted in ["", "3", "", ""] {
        let request = OpenAccountRequest { account: wanted.to_owned(), ..Default::default() };
        let reply = bank.open_account(request).await.unwrap().into_inner();
        assert_eq!(reply.balance, "0.00");
        assert_eq!((reply.branch.as_str(), reply.replica), ("main", 1));
        numbers.push((reply.account, reply.sequence));
    }
    let expected = [("main/1", 1), ("main/3", 2), ("main/2", 3), ("main/4", 4)];
    assert_eq!(numbers, expected.map(|(account, sequence)| (account.to_owned(), sequence)));
}

#[tokio::test]
async fn everything_about_an_account_is_told() {
    let server = Server::start();
    let mut bank = server.client().await;
    let request = OpenAccountRequest {
        account: "main/17".to_owned(),
        name: "Zoë 李".to_owned(),
        deposit: "10.5".to_owned(),
        overdraft_limit: "5".to_owned(),
        ..Default::default()
    };
    bank.open_account(request).await.unwrap();
    let request = GetAccountRequest { account: "17".to_owned(), ..Default::default() };
    let reply = bank.get_account(request).await.unwrap().into_inner();
    let account = reply.account.unwrap();
    assert!(account.open_time.unwrap().seconds > 1_700_000_000);
    let expected = Account {
        account: "main/17".to_owned(),
        name: "Zoë 李".to_owned(),
        state: AccountState::Open.into(),
        open_time: account.open_time,
        balance: "10.50".to_owned(),
        held: "0.00".to_owned(),
        available: "15.50".to_owned(),
        overdraft_limit: "5.00".to_owned(),
    };
    assert_eq!(account, expected);
    assert_eq!(reply.sequence, 1);
    bank.withdraw_account(withdraw("17", "15.50")).await.unwrap();
    assert_eq!(balance(&mut bank, "17").await, "-5.00");
    assert_eq!(reason(bank.withdraw_account(withdraw("17", "0.01")).await), Reason::InsufficientFunds);
}

#[tokio::test]
async fn money_is_added_taken_moved_and_earns_interest() {
    let server = Server::start();
    let mut bank = server.client().await;
    let (payer, receiver) = (open(&mut bank, "").await, open(&mut bank, "").await);
    let reply = bank.deposit_account(deposit(&payer, "100.5")).await.unwrap().into_inner();
    assert_eq!((reply.account, reply.balance, reply.sequence), (payer.clone(), "100.50".to_owned(), 3));
    let reply = bank.withdraw_account(withdraw(&payer, "0.50")).await.unwrap().into_inner();
    assert_eq!((reply.account, reply.balance, reply.sequence), (payer.clone(), "100.00".to_owned(), 4));
    let request = AddInterestRequest { account: payer.clone(), rate: "2.5".to_owned(), ..Default::default() };
    let reply = bank.add_interest(request).await.unwrap().into_inner();
    assert_eq!((reply.interest, reply.balance, reply.sequence), ("2.50".to_owned(), "102.50".to_owned(), 5));
    let request = TransferRequest {
        source: payer.clone(),
        destination: receiver.clone(),
        amount: "2.5".to_owned(),
        ..Default::default()
    };
    let reply = bank.transfer(request).await.unwrap().into_inner();
    assert_eq!((reply.transfer.as_str(), reply.sequence), ("main:6", 6));
    assert_eq!(reply.state(), TransferState::Committed);
    assert_eq!((&reply.source, &reply.destination), (&payer, &receiver));
    assert_eq!(
        [reply.amount, reply.source_balance, reply.destination_balance],
        ["2.50", "100.00", "2.50"].map(str::to_owned)
    );
    assert_eq!(balance(&mut bank, &receiver).await, "2.50");
}

#[tokio::test]
async fn a_balance_says_how_fresh_it_is() {
    let server = Server::start();
    let mut bank = server.client().await;
    let account = open(&mut bank, "7").await;
    let token = bank.deposit_account(deposit(&account, "1")).await.unwrap().into_inner().session_token;
    let table = [
        (Consistency::Unspecified, "", Consistency::Linearizable),
        (Consistency::Unspecified, token.as_str(), Consistency::Session),
        (Consistency::Linearizable, token.as_str(), Consistency::Linearizable),
        (Consistency::Session, token.as_str(), Consistency::Session),
        (Consistency::Session, "", Consistency::Session),
        (Consistency::Stale, "", Consistency::Stale),
    ];
    for (asked, session_token, told) in table {
        let request = GetBalanceRequest {
            account: account.clone(),
            session_token: session_token.to_owned(),
            consistency: asked.into(),
        };
        let reply = bank.get_balance(request).await.unwrap().into_inner();
        assert_eq!(reply.consistency(), told);
        assert_eq!([reply.balance, reply.held, reply.available], ["8.00", "0.00", "8.00"].map(str::to_owned));
        assert_eq!((reply.sequence, reply.branch.as_str(), reply.replica), (2, "main", 1));
    }
}

#[tokio::test]
async fn what_is_only_validated_changes_nothing() {
    let server = Server::start();
    let mut bank = server.client().await;
    let account = open(&mut bank, "5").await;
    let request = support::DepositAccountRequest { validate_only: true, ..deposit(&account, "3") };
    let reply = bank.deposit_account(request).await.unwrap().into_inner();
    assert_eq!((reply.balance.as_str(), reply.replayed), ("8.00", false));
    let request = support::WithdrawAccountRequest { validate_only: true, ..withdraw(&account, "5.01") };
    assert_eq!(reason(bank.withdraw_account(request).await), Reason::InsufficientFunds);
    let request = OpenAccountRequest { validate_only: true, ..Default::default() };
    assert_eq!(bank.open_account(request).await.unwrap().into_inner().account, "main/2");
    assert_eq!(balance(&mut bank, &account).await, "5.00");
    assert_eq!(reason(bank.get_balance(get("2")).await), Reason::AccountNotFound);
}

fn get(account: &str) -> GetBalanceRequest {
    GetBalanceRequest { account: account.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_and_other_work_none() {
    let server = Server::start();
    let mut bank = server.client().await;
    let account = open(&mut bank, "5").await;
    let request = support::DepositAccountRequest { request_id: "pay-1".to_owned(), ..deposit(&account, "3") };
    let first = bank.deposit_account(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.balance.as_str(), first.replayed, first.request_id.as_str()), ("8.00", false, "pay-1"));
    bank.deposit_account(deposit(&account, "100")).await.unwrap();
    let again = bank.deposit_account(request).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!((again.balance, again.sequence), (first.balance, first.sequence));
    let other = support::DepositAccountRequest { request_id: "pay-1".to_owned(), ..deposit(&account, "4") };
    assert_eq!(reason(bank.deposit_account(other).await), Reason::RequestReused);
    let other = support::WithdrawAccountRequest { request_id: "pay-1".to_owned(), ..withdraw(&account, "3") };
    assert_eq!(reason(bank.withdraw_account(other).await), Reason::RequestReused);
    assert_eq!(balance(&mut bank, &account).await, "108.00");

    // A refusal is an answer too, and stays one when there is money later.
    let refused =
        support::WithdrawAccountRequest { request_id: "pay-2".to_owned(), ..withdraw(&account, "109") };
    let first = refusal(bank.withdraw_account(refused.clone()).await);
    bank.deposit_account(deposit(&account, "100")).await.unwrap();
    let again = refusal(bank.withdraw_account(refused).await);
    assert_eq!(first.reason, Reason::InsufficientFunds);
    assert_eq!((again.reason, again.message.as_str()), (first.reason, first.message.as_str()));
    assert_eq!(again.metadata["replayed"], "true");
    assert_eq!(balance(&mut bank, &account).await, "208.00");
}

#[tokio::test]
async fn an_operation_can_be_looked_up_by_its_request() {
    let server = Server::start();
    let mut bank = server.client().await;
    let request = OpenAccountRequest { request_id: "open-1".to_owned(), ..Default::default() };
    bank.open_account(request).await.unwrap();
    let request = support::WithdrawAccountRequest { request_id: "out-1".to_owned(), ..withdraw("1", "3") };
    assert_eq!(reason(bank.withdraw_account(request).await), Reason::InsufficientFunds);
    let mut look = async |id: &str| {
        let request = GetOperationRequest { request_id: id.to_owned(), ..Default::default() };
        bank.get_operation(request).await.unwrap().into_inner()
    };
    let opened = look("open-1").await;
    assert_eq!((opened.state(), opened.request_id.as_str()), (OperationState::Executed, "open-1"));
    assert_eq!((opened.results[0].account.as_str(), opened.results[0].sequence), ("main/1", 1));
    assert!(opened.time.is_some());
    let refused = look("out-1").await;
    assert_eq!(refused.state(), OperationState::Refused);
    assert_eq!(refused.results[0].error.as_ref().unwrap().reason, "INSUFFICIENT_FUNDS");
    let unseen = look("never").await;
    assert_eq!((unseen.state(), unseen.results.len(), unseen.time), (OperationState::NeverSeen, 0, None));
}

#[tokio::test]
async fn a_list_shows_the_accounts_of_its_first_page() {
    let server = Server::start();
    let mut bank = server.client().await;
    for _ in 0..7 {
        open(&mut bank, "1").await;
    }
    let mut shown = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListAccountsRequest { page_size: 3, page_token, ..Default::default() };
        let page = bank.list_accounts(request).await.unwrap().into_inner();
        assert!(page.accounts.len() <= 3);
        shown.extend(page.accounts.into_iter().map(|account| account.account));
        open(&mut bank, "1").await;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(shown, (1..=7).map(|number| format!("main/{number}")).collect::<Vec<_>>());
    let all = bank.list_accounts(ListAccountsRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.accounts.len(), all.next_page_token.as_str()), (10, ""));
}

#[tokio::test]
async fn a_reply_is_small() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "999999999999").await;
    let request = support::DepositAccountRequest {
        request_id: "019a9d3c-7b00-7abc-8def-0123456789ab".replace("019a9d3c", "01900000"),
        ..deposit("1", "0.01")
    };
    let reply = bank.deposit_account(request).await.unwrap().into_inner();
    let bytes = prost::Message::encoded_len(&reply);
    assert!(bytes < 256, "{bytes} bytes: {reply:?}");
}
