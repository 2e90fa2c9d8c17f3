//! `bank-client bench`: load, the no-op baseline of the same run, and the proof that no cent is missing.
//!
//! A run opens its own accounts, alternates slices of load and of no-op calls so that a machine that
//! gets slower or faster does so for both, and reads back every account it touched.
//!
//! It may be called from anywhere, also from within a runtime, and blocks until the run is over.

mod check;
mod load;
mod numbers;
mod plan;
mod report;
mod session;
mod tally;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::client::{Batch, BatchCommand, Client, Config, Options};
use crate::model::{Failure, Reason, limits::BATCH_COMMANDS};

use check::{read_back, resolve};
use load::{Order, Phase, Setting};
use numbers::Numbers;
use plan::Plan;
use session::Follower;
use tally::Tally;
use work::FIRST_DEPOSIT;

pub use plan::{BenchArgs, Mix, Operation};
pub use report::{Books, Latency, Report};

/// Slices of load in a run, each followed by one of no-op calls.
const SLICES: u32 = 8;
/// Batches of openings in flight.
const OPENINGS: usize = 4;
/// How long a call of preparing and checking may take.
const PATIENT: Duration = Duration::from_secs(30);
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Runs a benchmark against the first of the servers that answers.
///
/// # Errors
/// When options do not fit together, when no server can be reached, or when the accounts cannot be
/// opened. What goes wrong after that is in the report.
pub fn run(args: &BenchArgs, servers: &[String]) -> Result<Report, Failure> {
    let plan = Plan::new(args)?;
    let control = || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Reason::Internal, format!("no runtime: {error}")))?;
        runtime.block_on(conduct(plan, servers))
    };
    // On a thread of its own, because the caller may be on one that runs a runtime.
    std::thread::scope(|scope| scope.spawn(control).join()).expect("the run does not panic")
}

async fn conduct(plan: Plan, servers: &[String]) -> Result<Report, Failure> {
    let client = Client::new(&Config {
        timeout: PATIENT,
        connections: OPENINGS,
        ..Config::new(servers.iter().map(String::as_str))
    })?;
    client.health(&Options::default()).await?;
    let bar = bar();
    let accounts = open_accounts(&client, plan.accounts, &bar).await?;
    let server = client.server();
    let setting = Arc::new(Setting { plan, server, accounts, stop: AtomicBool::new(false) });
    let threads = Threads::start(&setting).await?;
    let mut follower = match &setting.plan.read_at {
        Some(read_at) => Some(Follower::open(&setting.server, read_at).await?),
        None => None,
    };
    let interrupted = tokio::select! {
        () = threads.work(&setting.plan, &bar) => false,
        () = follow(follower.as_mut()) => unreachable!("it reads until the load ends"),
        _ = tokio::signal::ctrl_c() => true,
    };
    setting.stop.store(true, Ordering::Relaxed);
    let mut tally = threads.join().await;
    let lost = std::mem::take(&mut tally.lost);
    let unknown = resolve(&client, lost, &mut tally.book).await;
    stage(&bar, "reading back", tally.book.touched());
    let found = tokio::select! {
        found = read_back(&client, &setting.accounts, &tally.book, |read| bar.set_position(read)) => {
            found.map_err(|failure| failure.to_string())
        }
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    bar.finish_and_clear();
    let report = Report::new(&setting.plan, &tally, unknown, found, interrupted);
    Ok(report.with_session_reads(follower.map(Follower::seen)))
}

async fn follow(follower: Option<&mut Follower>) {
    match follower {
        Some(follower) => follower.run().await,
        None => std::future::pending().await,
    }
}

/// Opens the accounts of the run.
async fn open_accounts(client: &Client, count: usize, bar: &ProgressBar) -> Result<Numbers, Failure> {
    stage(bar, "opening accounts", count as u64);
    let open =
        BatchCommand::Open { account: 0, name: String::new(), deposit: FIRST_DEPOSIT, overdraft_limit: 0 };
    let sizes = (0..count).step_by(BATCH_COMMANDS).map(|start| (count - start).min(BATCH_COMMANDS));
    let batches = stream::iter(sizes).map(|size| {
        let batch = Batch { atomic: true, commands: vec![open.clone(); size] };
        async move { client.execute_batch(batch, &Options::default()).await }
    });
    let mut batches = std::pin::pin!(batches.buffer_unordered(OPENINGS));
    let mut numbers = Vec::with_capacity(count);
    while let Some(done) = batches.try_next().await? {
        for result in done.results {
            numbers.push(result?.account);
        }
        bar.set_position(numbers.len() as u64);
    }
    Ok(Numbers::new(numbers))
}

/// The threads of the load.
struct Threads {
    orders: Vec<mpsc::Sender<Order>>,
    running: Vec<JoinHandle<Tally>>,
    accounts: usize,
}

impl Threads {
    async fn start(setting: &Arc<Setting>) -> Result<Threads, Failure> {
        let accounts = setting.accounts.count();
        let mut threads = Threads { orders: Vec::new(), running: Vec::new(), accounts };
        for thread in 0..setting.plan.threads {
            let (ready, is_ready) = oneshot::channel();
            let (orders, receiver) = mpsc::channel(1);
            let setting = Arc::clone(setting);
            threads.running.push(std::thread::spawn(move || {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime needs only descriptors");
                runtime.block_on(load::run(setting, thread, ready, receiver))
            }));
            threads.orders.push(orders);
            is_ready.await.expect("a thread of the load says whether it is ready")?;
        }
        Ok(threads)
    }

    /// All phases of a run.
    async fn work(&self, plan: &Plan, bar: &ProgressBar) {
        let slice = plan.duration / SLICES;
        let warmup = [(Phase::Work { measured: false }, plan.warmup)];
        let round =
            [(Phase::Noop, slice / 4), (Phase::Work { measured: true }, slice), (Phase::Noop, slice / 4)];
        let rounds = (0..SLICES).flat_map(|_| round);
        let phases: Vec<_> =
            warmup.into_iter().chain(rounds).filter(|(_, length)| !length.is_zero()).collect();
        let total: Duration = phases.iter().map(|(_, length)| *length).sum();
        stage(bar, "measuring", millis(total));
        let started = Instant::now();
        for (phase, length) in phases {
            let mut phase = std::pin::pin!(self.phase(phase, length));
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    () = &mut phase => break,
                    _ = tick.tick() => bar.set_position(millis(started.elapsed())),
                }
            }
        }
    }

    async fn phase(&self, phase: Phase, length: Duration) {
        let mut running = Vec::new();
        for thread in &self.orders {
            let (done, is_done) = oneshot::channel();
            // A thread ends only after its orders do.
            let _ = thread.send(Order { phase, length, done }).await;
            running.push(is_done);
        }
        for is_done in running {
            let _ = is_done.await;
        }
    }

    /// Lets the threads finish what they do and takes what they saw.
    async fn join(self) -> Tally {
        drop(self.orders);
        let accounts = self.accounts;
        let join = move || {
            let mut all = Tally::new(accounts);
            for thread in self.running {
                all.add(thread.join().expect("a thread of the load does not panic"));
            }
            all
        };
        tokio::task::spawn_blocking(join).await.expect("joining does not panic")
    }
}

/// A progress bar on standard error when that is a terminal; else nothing.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg:>16} [{bar:40}] {percent:>3} %");
    bar.with_style(style.expect("the template is right").progress_chars("=> "))
}

fn stage(bar: &ProgressBar, name: &'static str, length: u64) {
    bar.set_length(length);
    bar.set_position(0);
    bar.set_message(name);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
