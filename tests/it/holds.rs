//! Holds and the states of accounts, over the client library.

use std::time::Duration;

use bank::client::{
    AccountState, Client, EntryOrder, HoldState, JournalQuery, Kind, NewAccount, Options, Page, Statement,
};
use bank::model::{Failure, Reason};

use crate::support::{Server, client_of};

const FOREVER: Option<Duration> = None;

/// A server whose account 1 has 100.00, and a client.
async fn bank() -> (Server, Client) {
    let server = Server::start();
    let client = client_of(&server);
    let new = NewAccount { deposit: "100", ..NewAccount::default() };
    client.open_account(new, &Options::default()).await.unwrap();
    (server, client)
}

/// Balance, held and available.
async fn money(client: &Client, account: &str) -> [String; 3] {
    let balance = client.balance(account, &Options::default()).await.unwrap();
    [balance.balance, balance.held, balance.available]
}

fn reason<T: std::fmt::Debug>(result: Result<T, Failure>) -> Reason {
    result.expect_err("the call must be refused").reason
}

#[tokio::test]
async fn a_hold_reserves_money_until_it_is_captured_or_released() {
    let (_server, client) = bank().await;
    let options = Options::default();
    let first = client.place_hold("1", "30", Some(Duration::from_secs(600)), &options).await.unwrap();
    assert_eq!((first.hold.hold.as_str(), first.hold.state), ("main:2", HoldState::Active));
    assert_eq!(
        [first.balance.as_str(), first.held.as_str(), first.available.as_str()],
        ["100.00", "30.00", "70.00"]
    );
    let lasts = first.hold.expire_time.unwrap().micros() - first.hold.place_time.unwrap().micros();
    assert_eq!(lasts, 600_000_000);
    let second = client.place_hold("main/1", "20", FOREVER, &options).await.unwrap();
    assert_eq!(second.hold.expire_time, None);
    assert_eq!(money(&client, "1").await, ["100.00", "50.00", "50.00"]);
    assert_eq!(reason(client.withdraw("1", "50.01", &options).await), Reason::InsufficientFunds);

    let page = Page { size: 1, token: "" };
    let list = client.holds("1", page, &options).await.unwrap();
    assert_eq!(list.holds[0], first.hold);
    let rest = client.holds("1", Page { size: 1, token: &list.next_page_token }, &options).await.unwrap();
    assert_eq!((rest.holds[0].hold.as_str(), rest.next_page_token.as_str()), ("main:3", ""));

    // Part of it is taken, and the rest let go.
    let taken = client.capture_hold("2", "10", &options).await.unwrap();
    assert_eq!((taken.hold.state, taken.hold.captured.as_str()), (HoldState::Captured, "10.00"));
    assert_eq!(money(&client, "1").await, ["90.00", "20.00", "70.00"]);
    let released = client.release_hold("main:3", &options).await.unwrap();
    assert_eq!((released.hold.state, released.held.as_str()), (HoldState::Released, "0.00"));
    for (hold, state, captured) in [("main:2", HoldState::Captured, "10.00"), ("3", HoldState::Released, "")]
    {
        let shown = client.hold(hold, &options).await.unwrap().hold;
        assert_eq!((shown.state, shown.captured.as_str()), (state, captured), "{hold}");
        for ended in
            [client.capture_hold(hold, "", &options).await, client.release_hold(hold, &options).await]
        {
            let failure = ended.unwrap_err();
            assert_eq!(
                (failure.reason, failure.metadata["state"].as_str()),
                (Reason::HoldFinal, state.as_str())
            );
        }
    }
    assert!(client.holds("1", page, &options).await.unwrap().holds.is_empty());
    let statement = Statement {
        account: "1",
        order: EntryOrder::NewestFirst,
        as_of: bank::client::AsOf::Now,
        page: Page::default(),
    };
    let entries = client.entries(statement, &options).await.unwrap().entries;
    assert_eq!(entries.len(), 2, "a capture is a line, holds and releases are none");
    assert_eq!(
        (entries[0].kind, entries[0].amount.as_str(), entries[0].hold.as_str()),
        (Kind::Capture, "-10.00", "main:2")
    );
}

#[tokio::test]
async fn a_repeated_hold_is_one_hold_though_time_has_passed() {
    let (_server, client) = bank().await;
    let named = Options { request_id: Some("hold-1".to_owned()), ..Options::default() };
    let hour = Some(Duration::from_secs(3_600));
    let first = client.place_hold("1", "30", hour, &named).await.unwrap();
    let again = client.place_hold("1", "30", hour, &named).await.unwrap();
    assert_eq!((first.named.replayed, again.named.replayed), (false, true));
    assert_eq!(first.hold, again.hold);
    assert_eq!(money(&client, "1").await[1], "30.00");
    let other = client.place_hold("1", "30", Some(Duration::from_secs(60)), &named).await;
    assert_eq!(reason(other), Reason::RequestReused);
    let told = client.operation("hold-1", &Options::default()).await.unwrap();
    assert_eq!(told.results[0].outcome.as_ref().unwrap().hold, "main:2");
}

#[tokio::test]
async fn a_hold_ends_by_itself_when_its_time_is_over() {
    let (_server, client) = bank().await;
    let options = Options::default();
    let mut feed = client.watch(1, "", &options);
    let hold = client.place_hold("1", "30", Some(Duration::from_micros(1)), &options).await.unwrap().hold;
    // Whoever comes between its time and the record finds it over too.
    assert_eq!(reason(client.capture_hold(&hold.hold, "", &options).await), Reason::HoldFinal);
    let expired = loop {
        let records = feed.next().await.unwrap().records;
        if let Some(expired) = records.into_iter().find(|record| record.kind == Kind::Expire) {
            break expired;
        }
    };
    assert_eq!((expired.hold, expired.held.as_str()), (hold.hold.clone(), "0.00"));
    assert_eq!(money(&client, "1").await, ["100.00", "0.00", "100.00"]);
    assert_eq!(client.hold(&hold.hold, &options).await.unwrap().hold.state, HoldState::Expired);
}

#[tokio::test]
async fn a_frozen_or_closed_account_takes_no_operations() {
    let (_server, client) = bank().await;
    let options = Options::default();
    client.open_account(NewAccount::default(), &options).await.unwrap();
    let hold = client.place_hold("1", "30", FOREVER, &options).await.unwrap().hold.hold;
    let set = async |account, state| client.set_account_state(account, state, &options).await;
    let frozen = set("1", AccountState::Frozen).await.unwrap();
    assert_eq!((frozen.state, frozen.balance.as_str()), (AccountState::Frozen, "100.00"));
    assert_eq!(client.account("1", &options).await.unwrap().account.state, AccountState::Frozen);
    for refused in [
        reason(client.deposit("1", "1", &options).await),
        reason(client.withdraw("1", "1", &options).await),
        reason(client.add_interest("1", "1", &options).await),
        reason(client.transfer("1", "2", "1", &options).await),
        reason(client.transfer("2", "1", "1", &options).await),
        reason(client.place_hold("1", "1", FOREVER, &options).await),
    ] {
        assert!(matches!(refused, Reason::AccountFrozen | Reason::InsufficientFunds), "{refused:?}");
    }
    assert_eq!(reason(client.deposit("1", "1", &options).await), Reason::AccountFrozen);
    // What is reserved can be taken and let go, and a frozen account be opened again.
    client.release_hold(&hold, &options).await.unwrap();
    set("1", AccountState::Open).await.unwrap();
    client.deposit("1", "7", &options).await.unwrap();
    let promised = client.place_hold("1", "7", FOREVER, &options).await.unwrap().hold.hold;
    set("1", AccountState::Frozen).await.unwrap();
    let paid = client.capture_hold(&promised, "", &options).await.unwrap();
    assert_eq!((paid.balance.as_str(), paid.held.as_str()), ("100.00", "0.00"));
    set("1", AccountState::Open).await.unwrap();
    let failure = set("1", AccountState::Closed).await.unwrap_err();
    assert_eq!((failure.reason, failure.metadata["balance"].as_str()), (Reason::BalanceNotZero, "100.00"));
    client.withdraw("1", "100", &options).await.unwrap();
    set("1", AccountState::Closed).await.unwrap();
    assert_eq!(reason(client.deposit("1", "1", &options).await), Reason::AccountClosed);
    set("1", AccountState::Open).await.unwrap();
    client.deposit("1", "1", &options).await.unwrap();

    let overdrawn = NewAccount { overdraft_limit: "50", ..NewAccount::default() };
    let account = client.open_account(overdrawn, &options).await.unwrap().account;
    client.place_hold(&account, "5", FOREVER, &options).await.unwrap();
    assert_eq!(reason(set(account.as_str(), AccountState::Closed).await), Reason::AccountInUse);
    assert_eq!(reason(set("77", AccountState::Frozen).await), Reason::AccountNotFound);
    let unknown = set("1", AccountState::Unknown).await.unwrap_err();
    assert_eq!((unknown.reason, unknown.field.as_deref()), (Reason::ArgumentInvalid, Some("state")));
}

#[tokio::test]
async fn bad_holds_are_refused_by_name_and_change_nothing() {
    let (_server, client) = bank().await;
    let options = Options::default();
    client.place_hold("1", "30", FOREVER, &options).await.unwrap();
    let year = Duration::from_secs(366 * 24 * 3_600);
    let place =
        async |account, amount, lasts| reason(client.place_hold(account, amount, lasts, &options).await);
    assert_eq!(place("1", "70.01", FOREVER).await, Reason::InsufficientFunds);
    assert_eq!(place("7", "1", FOREVER).await, Reason::AccountNotFound);
    assert_eq!(place("delhi/1", "1", FOREVER).await, Reason::BranchUnknown);
    assert_eq!(place("1", "-1", FOREVER).await, Reason::AmountNotPositive);
    assert_eq!(place("1", "", FOREVER).await, Reason::AmountMissing);
    for lasts in [Duration::ZERO, Duration::from_nanos(999), year + Duration::from_secs(1), Duration::MAX] {
        assert_eq!(place("1", "1", Some(lasts)).await, Reason::ArgumentInvalid, "{lasts:?}");
    }
    for (hold, expected) in [
        ("1", Reason::HoldNotFound),
        ("99", Reason::HoldNotFound),
        ("delhi:2", Reason::BranchUnknown),
        ("x", Reason::ArgumentInvalid),
        ("", Reason::ArgumentInvalid),
        ("0", Reason::ArgumentInvalid),
        ("main:main:2", Reason::ArgumentInvalid),
    ] {
        assert_eq!(reason(client.capture_hold(hold, "1", &options).await), expected, "{hold:?}");
        assert_eq!(reason(client.release_hold(hold, &options).await), expected, "{hold:?}");
        assert_eq!(reason(client.hold(hold, &options).await), expected, "{hold:?}");
    }
    assert_eq!(reason(client.capture_hold("2", "30.01", &options).await), Reason::InsufficientFunds);
    assert_eq!(reason(client.capture_hold("2", "0", &options).await), Reason::AmountNotPositive);
    let damaged = Page { size: 1, token: "x" };
    assert_eq!(reason(client.holds("1", damaged, &options).await), Reason::PageTokenInvalid);
    assert_eq!(reason(client.holds("7", Page::default(), &options).await), Reason::AccountNotFound);
    assert_eq!(money(&client, "1").await, ["100.00", "30.00", "70.00"]);
}

#[tokio::test]
async fn validating_changes_nothing() {
    let (_server, client) = bank().await;
    let hold = client.place_hold("1", "30", FOREVER, &Options::default()).await.unwrap().hold.hold;
    let look = Options { validate_only: true, ..Options::default() };
    let placed = client.place_hold("1", "5", FOREVER, &look).await.unwrap();
    assert_eq!((placed.hold.hold.as_str(), placed.held.as_str()), ("", "35.00"));
    assert_eq!(client.capture_hold(&hold, "7", &look).await.unwrap().balance, "93.00");
    assert_eq!(client.release_hold(&hold, &look).await.unwrap().held, "0.00");
    let frozen = client.set_account_state("1", AccountState::Frozen, &look).await.unwrap();
    assert_eq!(frozen.state, AccountState::Frozen);
    assert_eq!(reason(client.place_hold("1", "71", FOREVER, &look).await), Reason::InsufficientFunds);
    assert_eq!(money(&client, "1").await, ["100.00", "30.00", "70.00"]);
    let last = JournalQuery { from: 0, account: "", order: EntryOrder::NewestFirst, page: Page::default() };
    let journal = client.journal(last, &Options::default()).await.unwrap();
    let kinds: Vec<_> = journal.records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Hold, Kind::Open]);
}

#[tokio::test]
async fn the_journal_is_read_in_pages_in_both_orders_and_of_one_account() {
    let (_server, client) = bank().await;
    let options = Options::default();
    client.open_account(NewAccount::default(), &options).await.unwrap();
    for _ in 0..5 {
        client.deposit("1", "1", &options).await.unwrap();
        client.deposit("2", "1", &options).await.unwrap();
    }
    let sequences = async |order, account, from, size| {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let query = JournalQuery { from, account, order, page: Page { size, token: &token } };
            let page = client.journal(query, &options).await.unwrap();
            assert!(page.records.len() <= usize::try_from(size).unwrap());
            found.extend(page.records.into_iter().map(|record| record.sequence));
            token = page.next_page_token;
            if token.is_empty() {
                return found;
            }
        }
    };
    use EntryOrder::{NewestFirst, OldestFirst};
    for size in [1, 3, 12, 100] {
        assert_eq!(sequences(OldestFirst, "", 0, size).await, (1..=12).collect::<Vec<_>>());
        assert_eq!(sequences(NewestFirst, "", 0, size).await, (1..=12).rev().collect::<Vec<_>>());
        assert_eq!(sequences(OldestFirst, "", 11, size).await, [11, 12]);
        assert_eq!(sequences(NewestFirst, "", 2, size).await, [2, 1]);
        assert_eq!(sequences(NewestFirst, "", 99, size).await.len(), 12);
        assert_eq!(sequences(OldestFirst, "", 99, size).await, [0; 0]);
        assert_eq!(sequences(OldestFirst, "2", 0, size).await, [2, 4, 6, 8, 10, 12]);
        assert_eq!(sequences(NewestFirst, "main/2", 0, size).await, [12, 10, 8, 6, 4, 2]);
    }
}

#[tokio::test]
async fn each_change_of_state_names_the_states_it_comes_from() {
    let (_server, client) = bank().await;
    let options = Options::default();
    let (open, frozen, closed) = (AccountState::Open, AccountState::Frozen, AccountState::Closed);
    client.withdraw("1", "100", &options).await.unwrap();
    let change = async |from, state| client.change_account_state("1", from, state, &options).await;
    // The state before, the change, and the state afterwards or why it is refused.
    for (before, from, state, expected) in [
        (open, None, frozen, Ok(frozen)),
        (open, Some(open), frozen, Ok(frozen)),
        (open, Some(frozen), open, Ok(open)),
        (open, Some(closed), open, Ok(open)),
        (open, Some(open), closed, Err(Reason::ArgumentInvalid)),
        (frozen, None, frozen, Ok(frozen)),
        (frozen, Some(frozen), open, Ok(open)),
        (frozen, Some(closed), open, Err(Reason::AccountFrozen)),
        (frozen, None, closed, Ok(closed)),
        (closed, None, closed, Ok(closed)),
        (closed, None, frozen, Err(Reason::AccountClosed)),
        (closed, Some(frozen), open, Err(Reason::AccountClosed)),
        (closed, Some(closed), open, Ok(open)),
        (closed, None, open, Ok(open)),
    ] {
        change(None, open).await.unwrap();
        change(None, before).await.unwrap();
        let changed = change(from, state).await.map(|set| set.state).map_err(|failure| failure.reason);
        assert_eq!(changed, expected, "{before:?}: {from:?} to {state:?}");
        let now = client.account("1", &options).await.unwrap().account.state;
        assert_eq!(now, expected.unwrap_or(before));
    }
}
