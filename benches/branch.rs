//! What the one path of a lone replica costs, in memory and in a directory: a call alone, 64 calls that wait for
//! each other's batches, large works, and reads. The callers run on two runtimes of their own, as in the server.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros generate an undocumented function; a bench may panic"
)]

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use bank::model::{
    AccountNumber, Amount, Command, LedgerId, NewAccount, Proposal, Seen, Sequence, Timestamp, Work,
};
use bank::replication::{Branch, BranchConfig, Lane, ReadPoint};
use bank::store::{RealDisk, Storage};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Handle};

const ACCOUNTS: u64 = 1_000;
const LEDGER: LedgerId = LedgerId([1; 16]);

/// A runtime on a thread of its own that lives as long as the process.
fn runtime() -> Handle {
    let (started, handle) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        started.send(runtime.handle().clone()).unwrap();
        runtime.block_on(std::future::pending::<()>());
    });
    handle.recv().unwrap()
}

/// Runs a future on another thread's runtime and waits for it here.
fn on<T: Send + 'static>(runtime: &Handle, future: impl Future<Output = T> + Send + 'static) -> T {
    let (done, value) = mpsc::channel();
    runtime.spawn(async move { done.send(future.await).unwrap() });
    value.recv().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn work(work: Work) -> Proposal {
    Proposal { request: None, work }
}

fn deposit(call: u64) -> Command {
    let account = AccountNumber::new(1 + call % ACCOUNTS).unwrap();
    Command::Deposit { account, amount: Amount::from_minor(1).unwrap() }
}

/// A branch with accounts, and a lane on each of two runtimes.
fn branch(storage: Storage) -> Vec<(Handle, Lane)> {
    let micros = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let clock = Arc::new(move || Timestamp::from_micros(u64::try_from(micros()).unwrap()));
    let config = BranchConfig { storage, ..BranchConfig::alone("main".parse().unwrap(), LEDGER, clock) };
    let branch = on(&runtime(), Branch::start(config)).unwrap();
    let lanes: Vec<_> = (0..2)
        .map(|_| {
            let (runtime, branch) = (runtime(), branch.clone());
            let lane = on(&runtime, async move { branch.lane() });
            (runtime, lane)
        })
        .collect();
    let lane = lanes[0].1.clone();
    on(&lanes[0].0, async move {
        let open = || Command::OpenAccount(Box::<NewAccount>::default());
        let all = Work::Independent((0..ACCOUNTS).map(|_| open()).collect());
        lane.execute(work(all), None, soon()).await.unwrap();
    });
    lanes
}

/// Time for `calls` calls of `callers` callers that each wait for the answer before the next call.
fn time<F, C>(lanes: &[(Handle, Lane)], callers: u64, calls: u64, call: C) -> Duration
where
    C: Fn(Lane, u64) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (done, finished) = mpsc::channel();
    let began = Instant::now();
    for (caller, (runtime, lane)) in (0..callers).zip(lanes.iter().cycle()) {
        let (lane, call, done) = (lane.clone(), call.clone(), done.clone());
        let share = calls / callers + u64::from(caller < calls % callers);
        runtime.spawn(async move {
            for turn in 0..share {
                call(lane.clone(), caller * 1_000 + turn).await;
            }
            drop(done);
        });
    }
    drop(done);
    let _: Result<(), _> = finished.recv();
    began.elapsed()
}

fn benches(criterion: &mut Criterion) {
    measure(criterion, "branch", Storage::Memory);
    let folder = tempfile::tempdir_in(".").unwrap();
    measure(criterion, "durable branch", Storage::Directory(Arc::new(RealDisk::new(folder.path()))));
}

fn measure(criterion: &mut Criterion, name: &str, storage: Storage) {
    let lanes = branch(storage);
    let mut group = criterion.benchmark_group(name);
    for callers in [1, 64, 1_024] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("deposit, {callers} waiting"), |bench| {
            bench.iter_custom(|calls| {
                time(&lanes, callers, calls, |lane, turn| async move {
                    lane.execute(work(Work::One(deposit(turn))), None, soon()).await.unwrap();
                })
            });
        });
        group.bench_function(format!("latest read, {callers} waiting"), |bench| {
            bench.iter_custom(|calls| {
                time(&lanes, callers, calls, |lane, _| async move {
                    lane.read(ReadPoint::Latest, soon(), |state| state.ledger.sequence()).await.unwrap();
                })
            });
        });
    }
    for commands in [100, 1_024, 8_192] {
        group.throughput(Throughput::Elements(commands));
        group.bench_function(format!("works of {commands}, 64 waiting"), |bench| {
            bench.iter_custom(|calls| {
                time(&lanes, 64, calls, move |lane, turn| async move {
                    let all = (turn..turn + commands).map(deposit).collect();
                    lane.execute(work(Work::Independent(all)), None, soon()).await.unwrap();
                })
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("session read", |bench| {
        bench.iter_custom(|calls| {
            time(&lanes, 1, calls, |lane, _| async move {
                let seen = Seen { ledger: LEDGER, sequence: Sequence(1) };
                lane.read(ReadPoint::AtLeast(seen), soon(), |state| state.ledger.sequence()).await.unwrap();
            })
        });
    });
}

criterion_group!(group, benches);
criterion_main!(group);
