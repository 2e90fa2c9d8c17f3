//! Transfers between two branches that come again, that cannot arrive, and that all come at once.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bank::client::{AccountState, Client, Config, NewAccount, Options, TransferState, Transferred};
use bank::model::Reason;
use bank::server;

use crate::support::Server;

/// Two memory servers of two branches that know each other.
struct Branches {
    configs: [server::Config; 2],
    servers: [Option<Server>; 2],
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Branches {
    /// Mumbai with an account of 100.00, and delhi with one of nothing.
    async fn start() -> Branches {
        let mut branches = Branches::planned();
        branches.start_branch(0);
        branches.start_branch(1);
        let deposits = ["100.00", ""];
        for (client, deposit) in [branches.client(0), branches.client(1)].iter().zip(deposits) {
            let new = NewAccount { deposit, ..NewAccount::default() };
            client.open_account(new, &Options::default()).await.unwrap();
        }
        branches
    }

    fn planned() -> Branches {
        let (names, addresses) = (["mumbai", "delhi"], [free_address(), free_address()]);
        let config = |place: usize| {
            let other = (names[1 - place].parse().unwrap(), vec![addresses[1 - place].to_string()]);
            server::Config {
                port: addresses[place].port(),
                threads: NonZeroUsize::MIN,
                routes: [other].into(),
                ..server::Config::new(names[place].parse().unwrap())
            }
        };
        Branches { configs: [config(0), config(1)], servers: [None, None] }
    }

    fn start_branch(&mut self, place: usize) {
        self.servers[place] = Some(Server::of(&self.configs[place]));
    }

    async fn stop_branch(&mut self, place: usize) {
        self.servers[place].take().unwrap().stop().await;
    }

    fn client(&self, place: usize) -> Client {
        Client::new(&Config::new([format!("127.0.0.1:{}", self.configs[place].port)])).unwrap()
    }

    async fn balance(&self, place: usize, account: &str) -> (String, String) {
        let balance = self.client(place).balance(account, &Options::default()).await.unwrap();
        (balance.balance, balance.held)
    }
}

fn money(balance: &str, held: &str) -> (String, String) {
    (balance.to_owned(), held.to_owned())
}

async fn sent(client: &Client, source: &str, destination: &str, amount: &str) -> Transferred {
    client.transfer(source, destination, amount, &Options::default()).await.unwrap()
}

/// Sends money that does not arrive, and says why.
async fn aborted(branches: &Branches, destination: &str, amount: &str) -> Reason {
    let done = sent(&branches.client(0), "1", destination, amount).await;
    assert_eq!(done.state, TransferState::Aborted, "{done:?}");
    assert!(!done.message.is_empty(), "{done:?}");
    Reason::named(&done.reason).unwrap_or_else(|| panic!("{done:?}"))
}

#[tokio::test]
async fn any_server_takes_any_transfer_and_a_repetition_moves_nothing() {
    let branches = Branches::start().await;
    let delhi = branches.client(1);
    let named = Options { request_id: Some("pay-once".to_owned()), ..Options::default() };
    let first = delhi.transfer("mumbai/1", "delhi/1", "5", &named).await.unwrap();
    assert_eq!((first.state, first.named.replayed), (TransferState::Committed, false), "{first:?}");
    let again = branches.client(0).transfer("1", "delhi/1", "5", &named).await.unwrap();
    assert_eq!((&again.transfer, again.state), (&first.transfer, TransferState::Committed), "{again:?}");
    assert!(again.named.replayed);
    assert_eq!(branches.balance(0, "1").await, money("95.00", "0.00"));
    assert_eq!(branches.balance(1, "1").await, money("5.00", "0.00"));
    let other = branches.client(0).transfer("1", "delhi/1", "6", &named).await.unwrap_err();
    assert_eq!(other.reason, Reason::RequestReused);
}

#[tokio::test]
async fn what_cannot_arrive_is_refused_by_name_and_nothing_stays_held() {
    let branches = Branches::start().await;
    let (mumbai, delhi) = (branches.client(0), branches.client(1));
    let options = Options::default();
    for (source, destination, amount, reason) in [
        ("1", "mumbai/1", "1", Reason::SameAccount),
        ("1", "goa/1", "1", Reason::BranchUnknown),
        ("goa/1", "1", "1", Reason::BranchUnknown),
        ("9", "delhi/1", "1", Reason::AccountNotFound),
        ("1", "delhi/1", "100.01", Reason::InsufficientFunds),
        ("1", "delhi/1", "0", Reason::AmountNotPositive),
        ("1", "delhi/x", "1", Reason::AccountSyntax),
    ] {
        let refused = mumbai.transfer(source, destination, amount, &options).await.unwrap_err();
        assert_eq!(refused.reason, reason, "{source} {destination} {amount}: {refused:?}");
    }
    assert_eq!(aborted(&branches, "delhi/9", "1").await, Reason::AccountNotFound);

    let rich = NewAccount { deposit: "999999999999.99", ..NewAccount::default() };
    delhi.open_account(rich, &options).await.unwrap();
    assert_eq!(aborted(&branches, "delhi/2", "0.01").await, Reason::AmountOverflow);
    delhi.set_account_state("1", AccountState::Frozen, &options).await.unwrap();
    assert_eq!(aborted(&branches, "delhi/1", "1").await, Reason::AccountFrozen);
    delhi.set_account_state("1", AccountState::Closed, &options).await.unwrap();
    assert_eq!(aborted(&branches, "delhi/1", "1").await, Reason::AccountClosed);

    mumbai.set_account_state("1", AccountState::Frozen, &options).await.unwrap();
    let frozen = mumbai.transfer("1", "delhi/1", "1", &options).await.unwrap_err();
    assert_eq!(frozen.reason, Reason::AccountFrozen);
    assert_eq!(branches.balance(0, "1").await, money("100.00", "0.00"));
    assert_eq!(branches.balance(1, "1").await, money("0.00", "0.00"));
}

#[tokio::test]
async fn money_for_a_branch_that_is_down_is_held_for_a_moment_only() {
    let mut branches = Branches::start().await;
    branches.stop_branch(1).await;
    let mumbai = branches.client(0);
    let began = Instant::now();
    let done = sent(&mumbai, "1", "delhi/1", "60").await;
    assert_eq!((done.state, done.reason.as_str()), (TransferState::Aborted, "UNREACHABLE"), "{done:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "the caller hears why within its time");
    assert_eq!(branches.balance(0, "1").await, money("100.00", "0.00"));
    // It is a memory server, so it comes back with nothing, and nothing of that transfer comes either.
    branches.start_branch(1);
    let new = NewAccount::default();
    branches.client(1).open_account(new, &Options::default()).await.unwrap();
    let again = sent(&mumbai, "1", "delhi/1", "1").await;
    assert_eq!(again.state, TransferState::Committed, "{again:?}");
    assert_eq!(branches.balance(1, "1").await, money("1.00", "0.00"));
}

#[tokio::test]
async fn two_hundred_transfers_each_way_at_once_leave_no_cent_behind() {
    let branches = Branches::start().await;
    let clients = [branches.client(0), branches.client(1)];
    clients[1].deposit("1", "100.00", &Options::default()).await.unwrap();
    let accounts = [["mumbai/1", "delhi/1"], ["delhi/1", "mumbai/1"]];
    let all = (0..400).map(|number| {
        let (client, [source, destination]) = (clients[number % 2].clone(), accounts[number % 2]);
        let options = Options { timeout: Some(Duration::from_secs(60)), ..Options::default() };
        async move { client.transfer(source, destination, "0.50", &options).await }
    });
    for done in futures::future::join_all(all).await {
        let state = done.map(|done| done.state);
        assert!(
            state == Ok(TransferState::Committed)
                || state.as_ref().is_err_and(|failure| failure.reason == Reason::InsufficientFunds),
            "{state:?}"
        );
    }
    let ends = [branches.balance(0, "1").await, branches.balance(1, "1").await];
    let cents = |(balance, held): &(String, String)| {
        assert_eq!(held, "0.00");
        balance.replace('.', "").parse::<i64>().unwrap()
    };
    assert_eq!(ends.iter().map(cents).sum::<i64>(), 20_000);
}
