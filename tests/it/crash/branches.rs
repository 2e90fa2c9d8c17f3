//! Two branches between which customers send money both ways, while either or both are killed: nothing is lost,
//! nothing is doubled, and nothing stays open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use bank::client::{Audit, Client, NewAccount, Options, TransferState};
use bank::model::Reason;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Fleet, LONG, Random, replica};

const NAMES: [&str; 2] = ["mumbai", "delhi"];
/// Accounts of each branch, and what each holds at the beginning.
const ACCOUNTS: usize = 8;
const FIRST: &str = "1000.00";
/// Customers of each branch that send money at a time.
const CUSTOMERS: usize = 12;
/// Transfers that must be acknowledged before the end.
const TRANSFERS: usize = 2_000;

/// Three durable replicas, and one durable server, each with the way to the other branch.
fn two_branches() -> [Fleet; 2] {
    let mut fleets = [3, 1].map(|count| Fleet::planned(vec![Vec::new(); count]));
    for here in 0..2 {
        let others: Vec<String> = fleets[1 - here].addresses.iter().map(ToString::to_string).collect();
        let route = format!("{}={}", NAMES[1 - here], others.join(","));
        let count = fleets[here].addresses.len();
        let peers = fleets[here].peers(count);
        let arguments = |id| {
            let mut arguments = if count > 1 { replica(id, &peers) } else { Vec::new() };
            arguments.extend(["--branch", NAMES[here], "--route", &route].map(str::to_owned));
            arguments
        };
        fleets[here].extra = (1..=count).map(arguments).collect();
        (0..count).for_each(|place| fleets[here].start(place));
    }
    fleets
}

/// Customers at work.
struct Customers {
    tasks: Vec<JoinHandle<BTreeMap<String, TransferState>>>,
    done: watch::Receiver<usize>,
    stop: Arc<AtomicBool>,
}

impl Customers {
    fn start(fleets: &[Fleet; 2]) -> Customers {
        let (count, done) = watch::channel(0);
        let (stop, unknown) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let customer = |number: usize| {
            let branch = number % 2;
            let client = fleets[branch].client(number / 2 % fleets[branch].addresses.len());
            tokio::spawn(send_money(client, number, count.clone(), Arc::clone(&stop), Arc::clone(&unknown)))
        };
        let tasks = (0..2 * CUSTOMERS).map(customer).collect();
        Customers { tasks, done, stop }
    }

    /// Waits until so many more transfers are acknowledged.
    async fn progress(&mut self, more: usize) {
        let goal = *self.done.borrow() + more;
        let waited = tokio::time::timeout(2 * LONG, self.done.wait_for(|done| *done >= goal)).await;
        assert!(waited.is_ok(), "the customers do not get on");
        waited.unwrap().unwrap();
    }

    /// What the customers were told.
    async fn finish(self) -> BTreeMap<String, TransferState> {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = BTreeMap::new();
        for task in self.tasks {
            told.extend(task.await.unwrap());
        }
        told
    }
}

/// Sends money until told to stop; what fails is repeated under its own id, whatever it takes.
async fn send_money(
    client: Client,
    number: usize,
    count: watch::Sender<usize>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
) -> BTreeMap<String, TransferState> {
    let mut told = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let step = sent.fetch_add(1, Ordering::Relaxed);
        let source = format!("{}/{}", NAMES[number % 2], 1 + step % ACCOUNTS);
        let destination = format!("{}/{}", NAMES[1 - number % 2], 1 + step / 3 % ACCOUNTS);
        let amount = format!("{}.{:02}", step % 5, 1 + step % 99);
        let named = Options { request_id: Some(Client::new_request_id()), ..Options::default() };
        let until = Instant::now() + LONG;
        loop {
            match client.transfer(&source, &destination, &amount, &named).await {
                Ok(done) => {
                    told.insert(done.transfer, done.state);
                    break;
                }
                Err(failure) if failure.reason == Reason::InsufficientFunds => break,
                Err(failure) => assert!(Instant::now() < until, "{failure:?}"),
            }
        }
        count.send_modify(|count| *count += 1);
    }
    told
}

async fn open_accounts(fleet: &Fleet) {
    let client = fleet.client(0);
    for number in 1..=ACCOUNTS {
        let named = Options { request_id: Some(Client::new_request_id()), ..Options::default() };
        let until = Instant::now() + LONG;
        let number = number.to_string();
        let new = || NewAccount { account: &number, deposit: FIRST, ..NewAccount::default() };
        while let Err(failure) = client.open_account(new(), &named).await {
            assert!(Instant::now() < until, "{failure}");
        }
    }
}

/// Waits until nothing is open at either branch; the books of both.
async fn nothing_open(fleets: &[Fleet; 2]) -> [Audit; 2] {
    let until = Instant::now() + LONG;
    let clients = [fleets[0].client(0), fleets[1].client(0)];
    loop {
        let audits =
            [clients[0].audit(&Options::default()).await, clients[1].audit(&Options::default()).await];
        if let [Ok(first), Ok(second)] = &audits
            && [first, second].iter().all(|audit| audit.open_transfers + audit.prepared_credits == 0)
        {
            return [first.clone(), second.clone()];
        }
        assert!(Instant::now() < until, "{audits:?}");
        tokio::task::yield_now().await;
    }
}

fn cents(money: &str) -> i64 {
    let (whole, part) = money.trim_start_matches('-').split_once('.').unwrap();
    let cents = whole.parse::<i64>().unwrap() * 100 + part.parse::<i64>().unwrap();
    if money.starts_with('-') { -cents } else { cents }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_no_transfer_between_branches_is_lost_or_done_twice() {
    let mut random = Random::new("killed branches");
    let mut fleets = two_branches();
    for fleet in &fleets {
        open_accounts(fleet).await;
    }
    let mut customers = Customers::start(&fleets);
    for round in 0..6 {
        customers.progress(20 + random.below(100)).await;
        let leader = fleets[0].led().await;
        let victims: Vec<(usize, usize)> = match round % 6 {
            0 => vec![(0, leader)],
            1 => vec![(1, 0)],
            2 => vec![(0, 0), (0, 1), (0, 2)],
            3 => vec![(0, leader), (1, 0)],
            4 => vec![(0, 0), (0, 1), (0, 2), (1, 0)],
            _ => vec![(0, random.below(3)), (1, 0)],
        };
        println!("round {round}: leader {leader}, killed {victims:?}");
        victims.iter().for_each(|(branch, place)| fleets[*branch].kill(*place));
        if victims == [(0, leader)] {
            customers.progress(20).await;
        }
        victims.iter().for_each(|(branch, place)| fleets[*branch].start(*place));
    }
    let done = *customers.done.borrow();
    customers.progress(TRANSFERS.saturating_sub(done)).await;
    let told = customers.finish().await;
    fleets[0].led().await;
    let audits = nothing_open(&fleets).await;
    check_books(&audits);
    check_told(&fleets, &told).await;
    for fleet in &mut fleets {
        fleet.stop();
        (0..fleet.addresses.len()).for_each(|place| drop(fleet.verify(place)));
    }
}

/// Not a cent is missing, and what one branch owes the other has received.
fn check_books(audits: &[Audit; 2]) {
    let customers: i64 = audits.iter().map(|audit| cents(&audit.customers)).sum();
    assert_eq!(customers, 2 * i64::try_from(ACCOUNTS).unwrap() * cents(FIRST));
    for (here, audit) in audits.iter().enumerate() {
        assert!(audit.balanced, "{audit:?}");
        assert_eq!((audit.held.as_str(), audit.holds), ("0.00", 0));
        let with = |audit: &Audit, name: &str| {
            let with = audit.clearing.iter().find(|clearing| clearing.branch == name).unwrap();
            (cents(&with.due_to), cents(&with.due_from))
        };
        let (due_to, _) = with(audit, NAMES[1 - here]);
        let (_, due_from) = with(&audits[1 - here], NAMES[here]);
        assert_eq!(due_to + due_from, 0, "{audits:?}");
    }
}

/// Every transfer whose end was told has that end, at both branches.
async fn check_told(fleets: &[Fleet; 2], told: &BTreeMap<String, TransferState>) {
    let clients = [fleets[0].client(0), fleets[1].client(0)];
    let mut ends = BTreeMap::<&str, usize>::new();
    for (place, (id, state)) in told.iter().enumerate() {
        if place % 8 == 0 || *state == TransferState::Pending {
            let payer = usize::from(id.starts_with(NAMES[1]));
            let shown = clients[payer].transfer_shown(id, &Options::default()).await.unwrap().transfer;
            assert!(!shown.in_doubt, "{shown:?}");
            assert!(shown.state == *state || *state == TransferState::Pending, "{state:?}: {shown:?}");
        }
        *ends.entry(state.as_str()).or_default() += 1;
    }
    println!("{ends:?}");
    assert!(ends["COMMITTED"] > told.len() / 2, "{ends:?}");
}
