//! Lives of two branches between which money goes both ways, through everything bad that can be had, and a calm end.
//!
//! | to do | command |
//! |---|---|
//! | replay a seed that failed | `BANK_SIM_SEED=17 cargo test --lib transfer::tests::life::one_seed -- --nocapture` |
//! | simulate ten minutes from seed 1000 on | `BANK_SIM_MINUTES=10 BANK_SIM_FROM=1000 cargo test --profile soak --lib transfer::tests::life::many_seeds -- --nocapture` |

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;

use super::world::{ACCOUNTS, At, End, FIRST, REPLICAS, Running, Way, World, name, number};
use crate::model::planted::{Fault, with_fault};
use crate::model::{
    Amount, Command, LedgerId, NewAccount, NewTransfer, Proposal, Receipt, RemoteAccount, RequestId,
    Sequence, TransferId, Work,
};
use crate::replication::ReadPoint;
use crate::replication::tests::sim::net::Weather;
use crate::replication::tests::sim::soak::{Lived, soak};
use crate::replication::tests::simulated::Simulated;
use crate::store::Runtime;
use crate::store::faulty_disk::Faults;
use crate::transfer::TransferState;
use crate::transfer::message::{Body, Message, decode, encode};
use crate::transfer::step::Ask;

/// Seeds that every test run goes through, each twice.
const SEEDS: std::ops::Range<u64> = 0..4;
/// How many customers send money at a time, from each branch.
const CUSTOMERS: u64 = 3;
/// How long troubles last, in simulated seconds.
const TROUBLES: u64 = 30;
/// How long the end may take, in simulated seconds.
const END: u64 = 180;

/// What a life leaves behind.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Left {
    trace: String,
    simulated: Duration,
    committed: usize,
    aborted: usize,
    /// What was injected, each with how often.
    counts: BTreeMap<&'static str, u64>,
    wrong: Option<String>,
}

/// What customers were told of the end of their transfers.
#[derive(Default)]
struct Told {
    ends: Mutex<BTreeMap<TransferId, bool>>,
}

fn life(seed: u64) -> Left {
    let mut runtime = SimRuntime::with_seed(seed);
    runtime.block_on(async {
        let world = World::new(seed);
        let began = Simulated::now();
        let (committed, aborted) = live(&world).await.unwrap_or_else(|what| {
            world.wrong(what);
            (0, 0)
        });
        let simulated = Simulated::now() - began;
        let (trace, counts) = (world.chance.trace(), world.chance.counts());
        let left = Left { trace, simulated, committed, aborted, counts, wrong: world.first_wrong() };
        world.clear();
        left
    })
}

/// Goes through a life; returns how many transfers took place and how many did not.
async fn live(world: &Arc<World>) -> Result<(usize, usize), String> {
    let told = Arc::<Told>::default();
    begin(world).await?;
    let working = Arc::new(AtomicUsize::new(0));
    for customer in 0..2 * CUSTOMERS {
        let (world, told, working) = (Arc::clone(world), Arc::clone(&told), Arc::clone(&working));
        working.fetch_add(1, Ordering::Relaxed);
        Simulated::spawn(async move {
            send_money(&world, &told, customer).await;
            working.fetch_sub(1, Ordering::Relaxed);
        });
    }
    watch(world);
    haunt(world);
    troubles(world).await;
    calm(world).await;
    world.ending.store(true, Ordering::Relaxed);
    let left = Arc::clone(&working);
    if !eventually(world, END, move || left.load(Ordering::Relaxed) == 0).await {
        return Err(format!("{} customers do not come to an end", working.load(Ordering::Relaxed)));
    }
    settled(world).await?;
    let ends = agree(world).await?;
    for (id, committed) in told.ends.lock().iter() {
        if ends.get(id) != Some(committed) {
            return Err(format!("{id} was told committed: {committed}, and is {:?}", ends.get(id)));
        }
    }
    let committed = ends.values().filter(|committed| **committed).count();
    Ok((committed, ends.len() - committed))
}

/// Forms both branches and opens their accounts.
pub(crate) async fn begin(world: &Arc<World>) -> Result<(), String> {
    for branch in 0..2 {
        world.start_all(branch).await;
        for account in 1..=ACCOUNTS {
            let new = NewAccount {
                number: Some(number(account)),
                deposit: Amount::from_minor(FIRST).ok(),
                ..NewAccount::default()
            };
            write(world, branch, &format!("open-{account}"), Command::OpenAccount(Box::new(new))).await?;
        }
    }
    Ok(())
}

/// A write that must succeed within a minute; returns its sequence.
pub(crate) async fn write(
    world: &Arc<World>,
    branch: usize,
    request: &str,
    command: Command,
) -> Result<Sequence, String> {
    let until = Simulated::now() + Duration::from_secs(60);
    while Simulated::now() < until && world.first_wrong().is_none() {
        if let Some(there) = world.someone(branch) {
            let request = Some(request.parse().unwrap());
            let proposal = Proposal { request, work: Work::One(command.clone()) };
            let answer = there.lane.execute(proposal, None, Simulated::now() + Duration::from_secs(5)).await;
            if let Ok(reply) = answer {
                return Ok(reply.last);
            }
        }
        Simulated::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{request} does not succeed"))
}

/// Looks at everything, all the time.
pub(crate) fn watch(world: &Arc<World>) {
    let world = Arc::clone(world);
    Simulated::spawn(async move {
        while world.first_wrong().is_none() && world.someone_lives() {
            world.look();
            Simulated::sleep(Duration::from_millis(20)).await;
        }
    });
}

/// Of a thousand messages that come again, so many are changed by a stranger.
const FORGED: u64 = 500;

/// A message as a stranger sends it who has seen a real one: other instructions, other numbers, another ledger.
fn forged(world: &World, message: Vec<u8>) -> Vec<u8> {
    let Ok(Message { to, body: Body::Deliver { mut origin, mut told } }) = decode(&message) else {
        return message;
    };
    for told in &mut told {
        told.ask = world.chance.pick(&[Ask::Prepare, Ask::Commit, Ask::Abort]);
        if world.chance.of_thousand(300) {
            told.terms.number = Sequence(world.chance.below(u64::MAX));
        }
    }
    if world.chance.of_thousand(200) {
        origin.ledger = LedgerId([200; 16]);
    }
    encode(&Message { to, body: Body::Deliver { origin, told } })
}

/// Lets messages come again that were sent long ago.
pub(crate) fn haunt(world: &Arc<World>) {
    let world = Arc::clone(world);
    Simulated::spawn(async move {
        while world.first_wrong().is_none() && world.someone_lives() {
            Simulated::sleep(world.chance.micros(50_000, 400_000)).await;
            if let Some((to, message)) = world.old_message() {
                let message =
                    if world.chance.of_thousand(FORGED) { forged(&world, message) } else { message };
                world.bring_again(to, message, Duration::ZERO);
            }
        }
    });
}

/// One customer after the other transfer, each until it is known whether it began.
async fn send_money(world: &Arc<World>, told: &Arc<Told>, customer: u64) {
    let branch = usize::try_from(customer % 2).unwrap();
    let mut calls = 0;
    while !world.is_ending() {
        Simulated::sleep(world.chance.micros(1_000, 400_000)).await;
        calls += 1;
        let request: RequestId = format!("c{customer}-{calls}").parse().unwrap();
        let account = |most: u64| number(1 + world.chance.below(most));
        let new = NewTransfer {
            source: account(ACCOUNTS),
            // One of them nobody has.
            destination: RemoteAccount { branch: name(1 - branch), account: account(ACCOUNTS + 1) },
            amount: Amount::from_minor(i64::try_from(1 + world.chance.below(3_000)).unwrap()).unwrap(),
        };
        while world.first_wrong().is_none() {
            if let Some(there) = world.someone(branch)
                && let Some(known) = attempt(world, &there, &new, &request).await
            {
                if let Some((id, committed)) = known {
                    let before = told.ends.lock().insert(id.clone(), committed);
                    if before.is_some_and(|before| before != committed) {
                        world.wrong(format!("{id} was told to end in two ways"));
                    }
                }
                break;
            }
            Simulated::sleep(world.chance.micros(5_000, 200_000)).await;
        }
    }
}

/// One attempt: nothing when it may not have begun; else the end, if it was told.
async fn attempt(
    world: &Arc<World>,
    there: &Running,
    new: &NewTransfer,
    request: &RequestId,
) -> Option<Option<(TransferId, bool)>> {
    let deadline = Simulated::now() + world.chance.micros(200_000, 8_000_000);
    let begun = there.transfers.begin(new.clone(), Some(request.clone()), None, deadline).await;
    let at = (usize::from(*there.lane.branch() == name(1)), there.lane.replica().0);
    if !world.lives(at, there.life) {
        return None;
    }
    world.chance.note(format!("{request} {begun:?}").as_bytes());
    match begun {
        Ok(begun) => Some(match begun.transfer.state {
            TransferState::Pending => None,
            TransferState::Committed => Some((begun.transfer.id, true)),
            TransferState::Aborted(_) => Some((begun.transfer.id, false)),
        }),
        Err(failure) if failure.reason == crate::model::Reason::InsufficientFunds => Some(None),
        Err(_) => None,
    }
}

/// Everything bad, for some time.
pub(crate) async fn troubles(world: &Arc<World>) {
    let until = Simulated::now() + Duration::from_secs(TROUBLES);
    while Simulated::now() < until && world.first_wrong().is_none() {
        Simulated::sleep(world.chance.micros(50_000, 1_500_000)).await;
        one(world).await;
    }
}

async fn one(world: &Arc<World>) {
    let chance = &world.chance;
    let victim: At = (chance.pick(&[0, 1]), 1 + chance.below(REPLICAS));
    let how = chance.pick(&[End::Killed, End::Torn, End::Lost]);
    let kind = if world.mix.is_empty() { chance.below(16) } else { chance.pick(&world.mix) };
    match kind {
        0 => world.end(victim, how),
        1 => {
            world.end(victim, how);
            world.start(victim).await;
        }
        2 => (1..=REPLICAS).for_each(|replica| world.end((victim.0, replica), how)),
        3 => outage(world, victim.0, how).await,
        4 => (0..2).for_each(|branch| (1..=REPLICAS).for_each(|replica| world.end((branch, replica), how))),
        5 => world.part(victim),
        6 | 7 => world.heal(),
        8 => world.set_weather(victim.0, chance.pick(&[Weather::FAIR, Weather::RAIN])),
        9 => world.set(Way { cut: [true, true], ..world.way() }),
        10 => {
            let cut = chance.pick(&[[true, false], [false, true], [false, false]]);
            world.set(Way { cut, ..world.way() });
        }
        11 => world.set(Way { cut: [false; 2], lost: 150, doubled: 300, slow: 200 }),
        12 => world.set(Way::FAIR),
        13 => world.set_clock(victim, i64::try_from(chance.below(1_400)).unwrap() - 700),
        16 => {
            let nth = Some(1 + chance.below(8));
            let flush = Faults { fail_flush: nth, ..Faults::default() };
            let call = Faults { fail_call: nth, ..Faults::default() };
            world.fail_disk(victim, if chance.of_thousand(500) { flush } else { call });
        }
        _ => {
            if let Some(running) = world.running(victim) {
                chance.count("snapshot");
                running.branch.make_snapshot().await;
            }
        }
    }
    world.end_failed();
    for branch in 0..2 {
        for replica in 1..=REPLICAS {
            if world.running((branch, replica)).is_none() && chance.of_thousand(400) {
                world.start((branch, replica)).await;
            }
        }
    }
}

/// A whole branch is away for long, while the other one works and makes snapshots.
async fn outage(world: &Arc<World>, branch: usize, how: End) {
    (1..=REPLICAS).for_each(|replica| world.end((branch, replica), how));
    for _ in 0..3 {
        Simulated::sleep(world.chance.micros(1_000_000, 5_000_000)).await;
        for running in world.all_running(1 - branch) {
            running.branch.make_snapshot().await;
        }
    }
    world.start_all(branch).await;
}

/// The end of all troubles.
pub(crate) async fn calm(world: &Arc<World>) {
    world.heal();
    world.set(Way::FAIR);
    world.mend_disks();
    if !world.mix.is_empty() {
        // A disk may have failed a moment ago.
        Simulated::sleep(Duration::from_secs(2)).await;
        world.end_failed();
    }
    for branch in 0..2 {
        world.set_weather(branch, Weather::FAIR);
        world.start_all(branch).await;
    }
}

pub(crate) async fn eventually(
    world: &Arc<World>,
    seconds: u64,
    mut there: impl FnMut() -> bool + Send,
) -> bool {
    let until = Simulated::now() + Duration::from_secs(seconds);
    while !there() {
        if Simulated::now() >= until || world.first_wrong().is_some() {
            return false;
        }
        Simulated::sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Waits until nothing is open anywhere.
pub(crate) async fn settled(world: &Arc<World>) -> Result<(), String> {
    let open = || {
        let running = (0..2).flat_map(|branch| world.all_running(branch));
        running
            .map(|running| running.lane.state().ledger.audit())
            .map(|audit| audit.transfers + audit.credits)
            .sum::<u64>()
    };
    if eventually(world, END, || open() == 0).await {
        return Ok(());
    }
    let states = (0..2).flat_map(|branch| world.all_running(branch)).map(|running| {
        let state = running.lane.state();
        let (transfers, credits) =
            (state.ledger.outgoing_after(Sequence::ZERO, 3), state.ledger.credits_prepared(3));
        format!("{} {}: {transfers:?} {credits:?}", running.lane.branch(), running.lane.replica())
    });
    Err(format!("something stays open: {}", states.collect::<Vec<_>>().join("\n")))
}

/// How every transfer ended, as all replicas of both branches tell it.
async fn agree(world: &Arc<World>) -> Result<BTreeMap<TransferId, bool>, String> {
    let (mut paid, mut received, mut total) = (Ends::new(), Ends::new(), 0);
    for branch in 0..2 {
        let deposit = Command::Deposit { account: number(1), amount: Amount::from_minor(1).unwrap() };
        let last = write(world, branch, "settled", deposit).await?;
        let replicas = world.all_running(branch);
        let reached = || replicas.iter().all(|running| running.lane.state().ledger.sequence() >= last);
        let whole = || replicas.iter().all(|running| running.lane.state().journal.first() <= Sequence(1));
        if !eventually(world, END, || reached() && whole()).await {
            return Err(format!("the replicas of branch {branch} do not come together"));
        }
        let mut stories = Vec::new();
        for running in &replicas {
            let until = Simulated::now() + Duration::from_secs(5);
            let read = running.lane.read(ReadPoint::Latest, until, |state| state.ledger.audit()).await;
            let (audit, _) = read.map_err(|error| format!("a read does not succeed: {error:?}"))?;
            stories.push((story(running), audit.customers.minor(), audit.held.minor()));
        }
        if stories.iter().any(|story| *story != stories[0]) {
            return Err(format!("the replicas of branch {branch} tell different stories"));
        }
        let ((begun, credited), customers, held) = stories.swap_remove(0);
        if held != 0 {
            return Err(format!("branch {branch} holds {held} for nobody"));
        }
        paid.extend(begun);
        received.extend(credited);
        total += customers - 1;
    }
    let first = i128::from(FIRST) * 2 * i128::from(ACCOUNTS);
    if total != first {
        return Err(format!("there were {first} cents and there are {total}"));
    }
    for (id, (committed, amount)) in &paid {
        if received.remove(id) != committed.then_some((true, *amount)) {
            return Err(format!("{id} ended as {committed} and the receiver says something else"));
        }
    }
    if !received.is_empty() {
        return Err(format!("credits from nowhere: {received:?}"));
    }
    Ok(paid.into_iter().map(|(id, (committed, _))| (id, committed)).collect())
}

/// Transfers with their end and amount.
type Ends = BTreeMap<TransferId, (bool, Amount)>;

/// What the journal of a replica tells: the ends of what it paid, and what it received.
fn story(running: &Running) -> (Ends, Ends) {
    let (mut paid, mut received) = (Ends::new(), Ends::new());
    let branch = running.lane.branch();
    let visit = |record: &crate::model::Applied| {
        let mine = |number: Sequence| TransferId { branch: branch.clone(), number };
        match (&record.command, &record.outcome) {
            (Command::CommitTransfer { number }, Ok(Receipt::TransferCommitted(change))) => {
                assert!(paid.insert(mine(*number), (true, change.amount)).is_none(), "{number} ended twice");
            }
            (Command::AbortTransfer { number, .. }, Ok(Receipt::TransferAborted(change))) => {
                assert!(paid.insert(mine(*number), (false, change.amount)).is_none(), "{number} ended twice");
            }
            (Command::CommitCredit(credit), Ok(Receipt::CreditCommitted(change))) => {
                let id = TransferId { branch: credit.origin.branch.clone(), number: credit.number };
                assert!(received.insert(id, (true, change.amount)).is_none(), "credited twice");
            }
            (_, _) => {}
        }
        ControlFlow::Continue(())
    };
    running.lane.state().journal.visit(Sequence(1), visit).unwrap();
    (paid, received)
}

/// Panics with the line that replays what is wrong.
fn expect_right(seed: u64, left: &Left) {
    if let Some(wrong) = &left.wrong {
        panic!(
            "BANK_SIM_SEED={seed} cargo test --lib transfer::tests::life::one_seed -- --nocapture  # {wrong}"
        );
    }
}

#[test]
fn one_seed() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test of this process may have been first.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let seed = std::env::var("BANK_SIM_SEED").map_or(1, |seed| seed.parse().unwrap());
    let left = life(seed);
    println!("{left:?}");
    expect_right(seed, &left);
}

#[test]
fn no_life_loses_money_and_every_life_replays_bit_for_bit() {
    let began = Instant::now();
    let mut simulated = Duration::ZERO;
    for seed in SEEDS {
        let left = life(seed);
        expect_right(seed, &left);
        assert_eq!(left, life(seed), "seed {seed} does not replay");
        println!(
            "seed {seed}: {} committed, {} aborted in {:?}",
            left.committed, left.aborted, left.simulated
        );
        simulated += 2 * left.simulated;
    }
    println!("{simulated:?} simulated in {:?}", began.elapsed());
}

/// The power went when a page of the journal had begun with less than its header, and its replica did not start again.
#[test]
fn a_journal_that_ends_in_the_header_of_a_page() {
    let seed = 535_196_510_409_719_934;
    expect_right(seed, &life(seed));
}

/// As many simulated minutes as the environment says; none without it.
#[test]
fn many_seeds() {
    soak("transfer::tests::life", |seed| {
        let left = life(seed);
        Lived { simulated: left.simulated, counts: left.counts, wrong: left.wrong }
    });
}

#[test]
fn a_planted_fault_does_not_live_long() {
    for fault in [
        Fault::DecisionInMemory,
        Fault::MessageNotConfirmed,
        Fault::ParticipantGivesUp,
        Fault::DecisionNotInSnapshot,
    ] {
        let found =
            (0..12).find_map(|seed| with_fault(Some(fault), || life(seed)).wrong.map(|wrong| (seed, wrong)));
        println!("{fault:?}: {found:?}");
        assert!(found.is_some(), "{fault:?} is not found");
    }
}
