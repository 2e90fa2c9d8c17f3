//! Statements: both orders, pages, as of a sequence or a time, and what is no longer held.

use bank::model::Reason;
use bank::wire::proto::v1::{
    AddInterestRequest, Entry, EntryOrder, ListAccountsRequest, ListEntriesRequest, ListEntriesResponse,
    OperationKind, TransferRequest,
};

use crate::support::{Bank, DepositAccountRequest, Server, deposit, open, reason, refusal, withdraw};

fn statement(account: &str, order: EntryOrder, page_size: i32) -> ListEntriesRequest {
    ListEntriesRequest { account: account.to_owned(), order: order.into(), page_size, ..Default::default() }
}

/// Reads a statement page by page to its end.
async fn whole(bank: &mut Bank, first: ListEntriesRequest) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEntriesRequest { page_token, ..first.clone() };
        let page: ListEntriesResponse = bank.list_entries(request).await.unwrap().into_inner();
        assert!(page.entries.len() <= usize::try_from(first.page_size).unwrap());
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

#[tokio::test]
async fn a_statement_tells_every_kind_of_entry() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "50").await;
    open(&mut bank, "").await;
    bank.deposit_account(DepositAccountRequest { request_id: "in-1".to_owned(), ..deposit("1", "10") })
        .await
        .unwrap();
    bank.withdraw_account(withdraw("1", "25")).await.unwrap();
    let interest =
        AddInterestRequest { account: "1".to_owned(), rate: "10".to_owned(), ..Default::default() };
    bank.add_interest(interest).await.unwrap();
    let transfer = TransferRequest {
        source: "1".to_owned(),
        destination: "2".to_owned(),
        amount: "8.5".to_owned(),
        ..Default::default()
    };
    bank.transfer(transfer).await.unwrap();
    let shown: Vec<_> = whole(&mut bank, statement("1", EntryOrder::OldestFirst, 2))
        .await
        .into_iter()
        .map(|entry| {
            assert!(entry.time.is_some());
            (entry.sequence, entry.kind(), entry.amount, entry.balance, entry.counterparty, entry.request_id)
        })
        .collect();
    let row = |sequence, kind, amount: &str, balance: &str, counterparty: &str, request: &str| {
        (sequence, kind, amount.to_owned(), balance.to_owned(), counterparty.to_owned(), request.to_owned())
    };
    use OperationKind::{Deposit, Interest, Open, Transfer, Withdraw};
    let expected = [
        row(1, Open, "50.00", "50.00", "", ""),
        row(3, Deposit, "10.00", "60.00", "", "in-1"),
        row(4, Withdraw, "-25.00", "35.00", "", ""),
        row(5, Interest, "3.50", "38.50", "", ""),
        row(6, Transfer, "-8.50", "30.00", "main/2", ""),
    ];
    assert_eq!(shown, expected);
    let received = whole(&mut bank, statement("2", EntryOrder::Unspecified, 5)).await;
    assert_eq!(
        (received[0].amount.as_str(), received[0].counterparty.as_str(), received.len()),
        ("8.50", "main/1", 2)
    );
}

#[tokio::test]
async fn pages_show_what_there_was_at_the_first_in_both_orders() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    for _ in 0..6 {
        bank.deposit_account(deposit("1", "1")).await.unwrap();
    }
    for (order, expected) in
        [(EntryOrder::NewestFirst, [7, 6, 5, 4, 3, 2, 1]), (EntryOrder::OldestFirst, [1, 2, 3, 4, 5, 6, 7])]
    {
        let request = ListEntriesRequest { as_of_sequence: 7, ..statement("1", order, 3) };
        assert_eq!(sequences(&whole(&mut bank, request).await), expected);
        let first = bank.list_entries(statement("1", order, 3)).await.unwrap().into_inner();
        bank.deposit_account(deposit("1", "1")).await.unwrap();
        let mut rest = Vec::new();
        let mut page_token = first.next_page_token;
        while !page_token.is_empty() {
            let request = ListEntriesRequest { page_token, ..statement("1", order, 3) };
            let page = bank.list_entries(request).await.unwrap().into_inner();
            rest.extend(sequences(&page.entries));
            page_token = page.next_page_token;
        }
        let newest = if order == EntryOrder::NewestFirst { 7 } else { 8 };
        let all: Vec<u64> = sequences(&first.entries).into_iter().chain(rest).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=newest).collect::<Vec<_>>(), "{all:?}");
    }
}

#[tokio::test]
async fn a_statement_is_cut_at_a_sequence_or_a_time() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    for _ in 0..4 {
        bank.deposit_account(deposit("1", "1")).await.unwrap();
    }
    let entries = whole(&mut bank, statement("1", EntryOrder::OldestFirst, 10)).await;
    for order in [EntryOrder::NewestFirst, EntryOrder::OldestFirst] {
        for page_size in [1, 2, 10] {
            let by_sequence = ListEntriesRequest { as_of_sequence: 3, ..statement("1", order, page_size) };
            let by_time =
                ListEntriesRequest { as_of_time: entries[2].time, ..statement("1", order, page_size) };
            for request in [by_sequence, by_time] {
                let mut shown = sequences(&whole(&mut bank, request).await);
                shown.sort_unstable();
                assert_eq!(shown, [1, 2, 3], "{order:?} {page_size}");
            }
        }
    }
}

#[tokio::test]
async fn the_statement_of_a_new_account_shows_its_opening() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    for order in [EntryOrder::NewestFirst, EntryOrder::OldestFirst] {
        let page = bank.list_entries(statement("1", order, 0)).await.unwrap().into_inner();
        assert_eq!((page.next_page_token.as_str(), page.sequence), ("", 1));
        let [opening] = &page.entries[..] else { panic!("{page:?}") };
        assert_eq!((opening.amount.as_str(), opening.balance.as_str()), ("0.00", "0.00"));
    }
    let unknown = bank.list_entries(statement("2", EntryOrder::NewestFirst, 0)).await;
    assert_eq!(reason(unknown), Reason::AccountNotFound);
}

#[tokio::test]
async fn a_page_token_goes_with_its_query_only() {
    let server = Server::start();
    let mut bank = server.client().await;
    for _ in 0..2 {
        open(&mut bank, "1").await;
        open(&mut bank, "").await;
    }
    bank.deposit_account(deposit("1", "1")).await.unwrap();
    let first = bank.list_entries(statement("1", EntryOrder::NewestFirst, 1)).await.unwrap().into_inner();
    let page_token = first.next_page_token;
    let with_token =
        |request: ListEntriesRequest| ListEntriesRequest { page_token: page_token.clone(), ..request };
    let good = bank.list_entries(with_token(statement("1", EntryOrder::NewestFirst, 7))).await.unwrap();
    assert_eq!(sequences(&good.into_inner().entries), [1]);
    let others = [
        with_token(statement("3", EntryOrder::NewestFirst, 1)),
        with_token(statement("1", EntryOrder::OldestFirst, 1)),
        ListEntriesRequest { as_of_sequence: 9, ..with_token(statement("1", EntryOrder::NewestFirst, 1)) },
    ];
    for other in others {
        let failure = refusal(bank.list_entries(other).await);
        assert_eq!(
            (failure.reason, failure.field.as_deref()),
            (Reason::PageTokenInvalid, Some("page_token"))
        );
    }
    let list = ListAccountsRequest { page_size: 1, page_token: page_token.clone(), ..Default::default() };
    assert_eq!(reason(bank.list_accounts(list).await), Reason::PageTokenInvalid);
    let other_life = Server::start();
    let mut other_bank = other_life.client().await;
    open(&mut other_bank, "1").await;
    let foreign = other_bank.list_entries(with_token(statement("1", EntryOrder::NewestFirst, 1))).await;
    assert_eq!(reason(foreign), Reason::PageTokenInvalid);
}
