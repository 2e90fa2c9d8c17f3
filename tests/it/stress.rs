//! Many clients on few accounts: no cent is lost or made, no balance falls below zero, no number is given
//! twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bank::server::Limits;
use bank::wire::proto::v1::{
    BatchCommand, BatchResult, ExecuteBatchRequest, ListAccountsRequest, OperationKind, TransferRequest,
};
use tonic::{Response, Status};

use crate::support::{Bank, Server, command, deposit, open, withdraw};

const TASKS: u64 = 64;
const OPERATIONS: u64 = 10_000;
const ACCOUNTS: u64 = 8;
/// Of a task's operations, so many are single calls; the others come in batches.
const SINGLE: u64 = 2_000;
const BATCH: u64 = 500;
const CONNECTIONS: usize = 8;

/// A small generator, so that every run does the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Deposit,
    Withdraw,
    Transfer,
}

impl Deed {
    fn kind(self) -> OperationKind {
        match self {
            Deed::Deposit => OperationKind::Deposit,
            Deed::Withdraw => OperationKind::Withdraw,
            Deed::Transfer => OperationKind::Transfer,
        }
    }
}

/// What one task does next.
struct Step {
    deed: Deed,
    account: u64,
    destination: u64,
    minor: i64,
}

fn step(random: &mut Random) -> Step {
    use Deed::{Deposit, Transfer, Withdraw};
    let deed = [Deposit, Withdraw, Withdraw, Transfer, Transfer][usize::try_from(random.below(5)).unwrap()];
    let account = 1 + random.below(ACCOUNTS);
    let destination =
        if deed == Transfer { 1 + (account + random.below(ACCOUNTS - 1)) % ACCOUNTS } else { 0 };
    Step { deed, account, destination, minor: 1 + i64::try_from(random.below(500)).unwrap() }
}

/// What a step that was done put into the bank.
fn paid_in(step: &Step) -> i64 {
    match step.deed {
        Deed::Deposit => step.minor,
        Deed::Withdraw => -step.minor,
        Deed::Transfer => 0,
    }
}

async fn single(bank: &mut Bank, step: &Step) -> i64 {
    let account = step.account.to_string();
    let amount = format!("{}.{:02}", step.minor / 100, step.minor % 100);
    let check = |balance: String| assert!(!balance.starts_with('-'), "{balance}");
    match step.deed {
        Deed::Deposit => {
            check(bank.deposit_account(deposit(&account, &amount)).await.unwrap().into_inner().balance);
            paid_in(step)
        }
        Deed::Withdraw => {
            let result = bank.withdraw_account(withdraw(&account, &amount)).await;
            done(result).map_or(0, |reply| {
                check(reply.balance);
                paid_in(step)
            })
        }
        Deed::Transfer => {
            let destination = step.destination.to_string();
            let request = TransferRequest { source: account, destination, amount, ..Default::default() };
            if let Some(reply) = done(bank.transfer(request).await) {
                check(reply.source_balance);
            }
            0
        }
    }
}

/// A call that may be short of funds and nothing else.
fn done<T>(result: Result<Response<T>, Status>) -> Option<T> {
    match result {
        Ok(reply) => Some(reply.into_inner()),
        Err(status) => {
            assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status:?}");
            None
        }
    }
}

async fn batch(bank: &mut Bank, random: &mut Random, atomic: bool) -> i64 {
    let steps: Vec<Step> = (0..BATCH).map(|_| step(random)).collect();
    let commands = steps.iter().map(|step| BatchCommand {
        destination: step.destination,
        ..command(step.deed.kind(), step.account, step.minor)
    });
    let request = ExecuteBatchRequest { atomic, commands: commands.collect(), ..Default::default() };
    let results: Vec<BatchResult> = bank.execute_batch(request).await.unwrap().into_inner().results;
    assert_eq!(results.len(), steps.len());
    let executed = results.iter().filter(|result| result.error.is_none()).count();
    assert!(!atomic || executed == 0 || executed == steps.len(), "an atomic batch was done in part");
    let mut paid = 0;
    for (result, step) in results.iter().zip(&steps) {
        assert!(result.balance >= 0 && result.destination_balance >= 0);
        if result.error.is_none() {
            paid += paid_in(step);
        }
    }
    paid
}

async fn task(mut bank: Bank, number: u64, paid: Arc<AtomicI64>) {
    let mut random = Random(number + 1);
    let mut own = 0;
    for _ in 0..SINGLE {
        let step = step(&mut random);
        own += single(&mut bank, &step).await;
    }
    for round in 0..(OPERATIONS - SINGLE) / BATCH {
        own += batch(&mut bank, &mut random, round % 4 == 0).await;
    }
    paid.fetch_add(own, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_under_load_on_hot_accounts() {
    let server = Server::with(4, Limits::default());
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.client().await);
    }
    for _ in 0..ACCOUNTS {
        open(&mut clients[0], "100").await;
    }
    let paid = Arc::new(AtomicI64::new(0));
    let tasks = (0..TASKS).map(|number| {
        let bank = clients[usize::try_from(number).unwrap() % CONNECTIONS].clone();
        tokio::spawn(task(bank, number, Arc::clone(&paid)))
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let page = clients[0].list_accounts(ListAccountsRequest::default()).await.unwrap().into_inner();
    let balances: Vec<i64> =
        page.accounts.iter().map(|account| account.balance.replace('.', "").parse().unwrap()).collect();
    assert_eq!(balances.len(), 8);
    assert!(balances.iter().all(|balance| *balance >= 0), "{balances:?}");
    assert_eq!(balances.iter().sum::<i64>(), 8 * 10_000 + paid.load(Ordering::Relaxed));
    // Every operation has its place, the refused ones too.
    assert_eq!(page.sequence, ACCOUNTS + TASKS * OPERATIONS);
}
