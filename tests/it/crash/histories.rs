//! What concurrent clients see of one account at random replicas while leaders are killed, held against the rules by a
//! search that knows nothing of the server: some order of the calls that agrees with real time must explain all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bank::client::{Client, Consistency, Options};
use bank::model::{Failure, Reason};

use super::{Fleet, Random, opened};
use search::{Asked, CALLS, Call, Saw, explains};

#[path = "../../../src/replication/tests/sim/search.rs"]
mod search;

/// How many clients there are.
const CLIENTS: usize = 4;
/// How many calls each makes.
const EACH: usize = CALLS / CLIENTS;

/// What is true for all: the order of beginnings and ends, and how many calls have ended.
#[derive(Default)]
struct Shared {
    clock: AtomicU64,
    ended: AtomicUsize,
}

fn cents(balance: &str) -> i64 {
    balance.replace('.', "").parse().unwrap()
}

/// Makes one call; what it saw, and the sequence that its reply shows. None when it was refused and changed nothing.
async fn call(client: &Client, account: &str, asked: Asked) -> Option<(Saw, u64)> {
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let options = Options::default();
    let result = match asked {
        Asked::Deposit(amount) => client.deposit(account, &money(amount), &options).await,
        Asked::Withdraw(amount) => client.withdraw(account, &money(amount), &options).await,
        Asked::Read => {
            let read = client.balance(account, &Options::fresh(Consistency::Linearizable)).await;
            return read.ok().map(|read| (Saw::Balance(cents(&read.balance)), read.seen.sequence));
        }
    };
    match result {
        Ok(done) => Some((Saw::Balance(cents(&done.balance)), done.seen.sequence)),
        Err(Failure { reason: Reason::InsufficientFunds, .. }) => Some((Saw::Poor, 0)),
        Err(Failure { reason: Reason::OutcomeUnknown, .. }) => Some((Saw::Nothing, 0)),
        Err(_) => None,
    }
}

/// One client at work, through a random replica each time.
async fn work(clients: Vec<Client>, account: String, mut random: Random, shared: Arc<Shared>) -> Vec<Call> {
    let (mut calls, mut reached, mut token) = (Vec::new(), 0, String::new());
    for _ in 0..EACH {
        let asked = match random.below(5) {
            0 | 1 => Asked::Deposit(1 + i64::try_from(random.below(400)).unwrap()),
            2 => Asked::Withdraw(1 + i64::try_from(random.below(600)).unwrap()),
            _ => Asked::Read,
        };
        let client = &clients[random.below(clients.len())];
        client.resume_session(&token).unwrap();
        let begun = shared.clock.fetch_add(1, Ordering::SeqCst);
        let saw = call(client, &account, asked).await;
        let ended = shared.clock.fetch_add(1, Ordering::SeqCst);
        shared.ended.fetch_add(1, Ordering::SeqCst);
        token = client.session_token();
        let Some((saw, sequence)) = saw else { continue };
        assert!(sequence == 0 || sequence >= reached, "a session goes back from {reached} to {sequence}");
        reached = reached.max(sequence);
        let ended = if saw == Saw::Nothing { u64::MAX } else { ended };
        calls.push(Call { begun, ended, asked, saw });
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_while_leaders_are_killed_has_an_order_that_explains_it() {
    let mut random = Random::new("histories");
    let mut fleet = Fleet::group(3);
    let account = opened(&fleet.client(0)).await;
    let shared = Arc::<Shared>::default();
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let clients = (0..3).map(|place| fleet.client(place)).collect();
            let random = Random::of(random.below(usize::MAX));
            tokio::spawn(work(clients, account.clone(), random, Arc::clone(&shared)))
        })
        .collect();
    for third in 1..3 {
        while shared.ended.load(Ordering::SeqCst) < third * CLIENTS * EACH / 3 {
            tokio::task::yield_now().await;
        }
        let leader = fleet.led().await;
        fleet.kill(leader);
        fleet.start(leader);
    }
    let mut calls = Vec::new();
    for task in tasks {
        calls.extend(task.await.unwrap());
    }
    println!(
        "{} calls, {} unknown",
        calls.len(),
        calls.iter().filter(|call| call.saw == Saw::Nothing).count()
    );
    assert!(calls.len() > CLIENTS * EACH / 2, "most calls are answered");
    assert!(explains(&calls, 0), "no order explains {calls:?}");
}
