//! Reads of one moment, beside writers that never rest: lists, accounts with their held money, tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bank::client::{Accounts, Client, Consistency, NewAccount, Options, Page};
use bank::model::Money;

use crate::support::{Server, client_of};

/// Accounts of the bank, each with [`EACH`] at first.
const ACCOUNTS: i64 = 4;
const EACH: i64 = 10_000;

fn minor(money: &str) -> i64 {
    Money::parse(money).unwrap().minor()
}

/// Moves money between all accounts, and holds and releases some, until it is told to stop.
async fn work(client: Client, place: i64, stop: Arc<AtomicBool>) {
    let options = Options::default();
    let (from, to) = ((place % ACCOUNTS + 1).to_string(), ((place + 1) % ACCOUNTS + 1).to_string());
    while !stop.load(Ordering::Relaxed) {
        // Refused when the account has nothing left, which moves nothing.
        let _ = client.transfer(&from, &to, "1.37", &options).await;
        let _ = client.transfer(&to, &from, "1.36", &options).await;
        if let Ok(held) = client.place_hold(&from, "3", None, &options).await {
            client.release_hold(&held.hold.hold, &options).await.unwrap();
        }
    }
}

/// Adds a list up.
fn check(list: &Accounts, consistency: Consistency) {
    let sum: i64 = list.accounts.iter().map(|account| minor(&account.balance)).sum();
    assert_eq!(sum, ACCOUNTS * EACH, "{consistency:?} at {}: {:?}", list.seen.sequence, list.accounts);
    for account in &list.accounts {
        let (balance, held, free) =
            (minor(&account.balance), minor(&account.held), minor(&account.available));
        assert_eq!(balance - held, free, "{account:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_is_one_moment_while_money_moves() {
    let server = Server::with(2, bank::server::Limits::default());
    let setup = client_of(&server);
    let options = Options::default();
    for _ in 0..ACCOUNTS {
        let new = NewAccount { deposit: "100", ..NewAccount::default() };
        setup.open_account(new, &options).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..12).map(|place| tokio::spawn(work(client_of(&server), place, Arc::clone(&stop)))).collect();
    let consistencies = [Consistency::Linearizable, Consistency::Session, Consistency::Stale];
    let readers = consistencies.map(|consistency| {
        let client = client_of(&server);
        tokio::spawn(async move {
            let mut last = 0;
            for _ in 0..300 {
                let options = Options { consistency: Some(consistency), ..Options::default() };
                let list = client.accounts(Page { size: 50, token: "" }, &options).await.unwrap();
                let sequence = list.seen.sequence;
                check(&list, consistency);
                assert!(sequence >= last, "{consistency:?} went back from {last} to {sequence}");
                last = sequence;
            }
        })
    });
    for reader in readers {
        reader.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}
