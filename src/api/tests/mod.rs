//! Lives of the whole bank in the simulation: two branches of three replicas, the services in front of each, customers
//! with session tokens and UUIDv7 request ids from clocks that are wrong, every kind of command, limits so small that
//! they are reached, and the troubles of the simulation of transfers. At the end an independent model replays both
//! journals, and everything that a customer was told is held against it.
//!
//! | to do | command |
//! |---|---|
//! | replay a seed that failed | `BANK_SIM_SEED=17 cargo test --lib api::tests::one_seed -- --nocapture` |
//! | simulate ten minutes from seed 1000 on | `BANK_SIM_MINUTES=10 BANK_SIM_FROM=1000 cargo test --profile soak --lib api::tests::many_seeds -- --nocapture` |

mod asks;
mod customers;
mod oracle;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use self::customers::{Customer, History};
use crate::model::planted::{Fault, with_fault, with_small_limits};
use crate::model::{Applied, Sequence};
use crate::replication::tests::sim::soak::{Lived, soak};
use crate::replication::tests::simulated::Simulated;
use crate::store::Runtime;
use crate::transfer::tests::life;
use crate::transfer::tests::world::World;

/// Seeds that every test run goes through, each twice.
const SEEDS: std::ops::Range<u64> = 0..3;
/// How many customers each branch has at a time.
const CUSTOMERS: u64 = 3;
/// How long the end may take, in simulated seconds.
const END: u64 = 180;

/// What a life leaves behind.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Left {
    trace: String,
    simulated: Duration,
    /// What customers did and what happened to them, each with how often.
    counts: BTreeMap<&'static str, u64>,
    wrong: Option<String>,
}

fn live(seed: u64) -> Left {
    let mut runtime = SimRuntime::with_seed(seed);
    with_small_limits(|| {
        runtime.block_on(async {
            let world = World::new(seed);
            let began = Simulated::now();
            if let Err(what) = pass(&world).await {
                world.wrong(what);
            }
            let simulated = Simulated::now() - began;
            let (trace, counts) = (world.chance.trace(), world.chance.counts());
            let left = Left { trace, simulated, counts, wrong: world.first_wrong() };
            world.clear();
            left
        })
    })
}

/// Goes through a life.
async fn pass(world: &Arc<World>) -> Result<(), String> {
    let history = Arc::<History>::default();
    life::begin(world).await?;
    let working = Arc::new(AtomicUsize::new(0));
    for name in 0..2 * CUSTOMERS {
        let customer = Customer::new(world, &history, name);
        let working = Arc::clone(&working);
        working.fetch_add(1, Ordering::Relaxed);
        Simulated::spawn(async move {
            customer.run().await;
            working.fetch_sub(1, Ordering::Relaxed);
        });
    }
    life::watch(world);
    life::haunt(world);
    life::troubles(world).await;
    life::calm(world).await;
    world.ending.store(true, Ordering::Relaxed);
    let left = Arc::clone(&working);
    if !life::eventually(world, END, move || left.load(Ordering::Relaxed) == 0).await {
        return Err(format!("{} customers do not come to an end", working.load(Ordering::Relaxed)));
    }
    for branch in 0..2 {
        customers::served_everywhere(world, branch, "served").await?;
        customers::transfer_takes_place(world, branch).await?;
    }
    life::settled(world).await?;
    for branch in 0..2 {
        let records = agree(world, branch).await?;
        oracle::check(branch, &records, &history).map_err(|what| format!("branch {branch}: {what}"))?;
    }
    Ok(())
}

/// A customer is served at every replica of a branch; then all have the same journal, which is returned.
async fn agree(world: &Arc<World>, branch: usize) -> Result<Vec<Applied>, String> {
    let last = customers::served_everywhere(world, branch, "agreed").await?;
    let replicas = world.all_running(branch);
    let there = || {
        replicas.iter().all(|running| {
            let state = running.lane.state();
            state.ledger.sequence() >= last && state.journal.first() <= Sequence(1)
        })
    };
    if !life::eventually(world, END, there).await {
        return Err(format!("the replicas of branch {branch} do not come together"));
    }
    let mut journals = Vec::new();
    for running in &replicas {
        let (mut records, state) = (Vec::new(), running.lane.state());
        let visited = state.journal.visit(Sequence(1), |record| {
            records.push(record.clone());
            ControlFlow::Continue(())
        });
        visited.map_err(|error| format!("a journal is not whole: {error:?}"))?;
        records.truncate(usize::try_from(last.0).unwrap());
        journals.push(records);
    }
    match journals.iter().position(|journal| *journal != journals[0]) {
        Some(place) => Err(format!("the journals of replicas 1 and {} of branch {branch} differ", place + 1)),
        None => Ok(journals.swap_remove(0)),
    }
}

/// Panics with the line that replays what is wrong.
fn expect_right(seed: u64, left: &Left) {
    if let Some(wrong) = &left.wrong {
        panic!("BANK_SIM_SEED={seed} cargo test --lib api::tests::one_seed -- --nocapture  # {wrong}");
    }
}

#[test]
fn one_seed() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test of this process may have been first.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let seed = std::env::var("BANK_SIM_SEED").map_or(1, |seed| seed.parse().unwrap());
    let left = live(seed);
    println!("{left:?}");
    expect_right(seed, &left);
}

#[test]
fn customers_are_told_what_happened_and_every_life_replays_bit_for_bit() {
    let (began, mut simulated) = (Instant::now(), Duration::ZERO);
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in SEEDS {
        let left = live(seed);
        expect_right(seed, &left);
        assert_eq!(left, live(seed), "seed {seed} does not replay");
        simulated += 2 * left.simulated;
        left.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("{simulated:?} simulated in {:?}: {counts:?}", began.elapsed());
    for what in [
        "write done",
        "write refused",
        "write unsure",
        "write repeated",
        "repeated late",
        "id expired",
        "read",
        "list",
        "operation",
        "atomic batch",
        "transfer between",
        "hold",
        "state",
        "interest",
        "crash",
        "partition",
        "restart",
        "clock jump",
        "snapshot",
        "message lost",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "{what} never happened: {counts:?}");
    }
}

/// As many simulated minutes as the environment says; none without it.
#[test]
fn many_seeds() {
    soak("api::tests", |seed| {
        let left = live(seed);
        Lived { simulated: left.simulated, counts: left.counts, wrong: left.wrong }
    });
}

#[test]
fn planted_faults_that_only_whole_lives_show_are_seen() {
    for (fault, as_what) in [
        (Fault::HorizonNotInSnapshot, ["another digest", "took effect twice", "is not that again"]),
        (Fault::TokenTooLow, ["its token", "less than", "came after"]),
        (Fault::WatermarkTooHigh, ["the model says", "does not take place", "stays open"]),
        (Fault::CreditForgottenEarly, ["the model says", "stays open", "credited"]),
    ] {
        let found = (0..12).find_map(|seed| Some(seed).zip(with_fault(Some(fault), || live(seed)).wrong));
        println!("{fault:?}: {found:?}");
        let seen = |wrong: &str| as_what.iter().any(|part| wrong.contains(part));
        assert!(found.as_ref().is_some_and(|(_, wrong)| seen(wrong)), "{fault:?} is seen as {found:?}");
    }
}
