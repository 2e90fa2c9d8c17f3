//! The runner: plays a plan on servers of one branch of the bank with the ordinary client.
//!
//! Invariant: every request goes to the server of its target, under a request id and with the session of its customer;
//! there is no other path to the ledger. All of a customer's requests run one after another. What happened is told
//! only when everything was played.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use super::plan::{Event, Plan, RequestIndex, Step};
use super::played::{Answer, Played, Process, TraceKind, TraceRow};
use super::record;
use crate::client::{Client, Config, Consistency, NewAccount, Options, Traced};
use crate::model::{Failure, LamportClock, Money, Reason, Session};

/// How long one request may take with all its attempts, whatever happens to the servers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most customers that run side by side.
const CUSTOMERS_AT_ONCE: usize = 1_024;
/// Most replicas that are asked at the same time.
const REPLICAS_AT_ONCE: usize = 32;
/// Servers that are tried after the target of a request, where no trace says who received it.
const SUBSTITUTES: usize = 2;

/// Where and how a plan is played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// `HOST:PORT` of the replica that stands for each branch of the plan, in the order of the plan.
    pub servers: Vec<String>,
    /// Whether customers run side by side even if their dialect does not ask for it.
    pub concurrent: bool,
    /// Customers take turns, one request at a time, in an order drawn from this number; a request begins when the
    /// one before is at all replicas. So the same plan and number give the same outputs, with the same clocks.
    pub seed: Option<u64>,
}

/// Why a plan could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A request was not answered.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// Branches without a server.
    #[error("the file has {branches} branches and {servers} servers are named; name one for each")]
    TooFewServers {
        /// Branches of the plan.
        branches: usize,
        /// Servers named.
        servers: usize,
    },
    /// A server that does not record what the outputs must show.
    #[error("{server} does not record logical clocks; start it with --trace-events")]
    NotRecording {
        /// Its address.
        server: String,
    },
    /// Two branches of the plan on one replica.
    #[error("{server} is a replica that another branch of the file has already; name each replica once")]
    SameReplica {
        /// Its address.
        server: String,
    },
    /// A replica has lost what it had recorded.
    #[error(
        "the replicas have recorded {found} of {expected} events; one of them was restarted or too far behind: run again"
    )]
    Incomplete {
        /// Events found.
        found: usize,
        /// Events that there must be.
        expected: usize,
    },
}

/// Plays a plan. `progress` is told how many events have been played.
///
/// # Errors
/// [`RunError`]; then requests may have been executed, on an account that nobody else uses.
pub async fn play(plan: &Plan, stage: &Stage, progress: &(dyn Fn(usize) + Sync)) -> Result<Played, RunError> {
    let bank = Bank::open(plan, stage).await?;
    let mut customers = Customers::of(plan, &bank.opened);
    let course = Course { bank: &bank, notes: Mutex::new(Notes::new(plan)), progress };
    if let Some(seed) = stage.seed {
        course.in_turns(customers.all, seed).await?;
    } else if stage.concurrent || plan.dialect.is_concurrent() {
        course.side_by_side(customers.all).await?;
    } else {
        course.one_after_another(&mut customers).await?;
    }
    let Notes { mut played, session, rows, .. } = course.notes.into_inner();
    if let Some(run) = &bank.run {
        // Who has applied everything has recorded everything.
        bank.everywhere(&session).await?;
        let recorded = record::collect(&bank.clients, &stage.servers, run, REPLICAS_AT_ONCE).await?;
        if recorded.len() != rows {
            return Err(RunError::Incomplete { found: recorded.len(), expected: rows });
        }
        played.trace.extend(recorded);
    }
    Ok(played)
}

/// The bank as a plan sees it.
struct Bank<'a> {
    plan: &'a Plan,
    /// For each branch of the plan.
    clients: Vec<Client>,
    /// The account that all share.
    account: String,
    /// The session of its opening.
    opened: String,
    /// What the names of this run's requests begin with, if they are traced.
    run: Option<String>,
}

impl<'a> Bank<'a> {
    /// Opens the shared account, and waits until every replica has it.
    async fn open(plan: &'a Plan, stage: &Stage) -> Result<Bank<'a>, RunError> {
        let (branches, servers) = (plan.branches.len(), stage.servers.len());
        if servers < branches {
            return Err(RunError::TooFewServers { branches, servers });
        }
        let substitutes = if plan.dialect.is_traced() { 0 } else { SUBSTITUTES };
        let client = |place: usize| {
            let order = (place..servers).chain(0..place).take(1 + substitutes);
            let order = order.map(|place| stage.servers[place].clone());
            Client::new(&Config { timeout: PATIENCE, patience: PATIENCE / 3, ..Config::new(order) })
        };
        let clients = (0..branches).map(client).collect::<Result<Vec<_>, _>>()?;
        let mut bank = Bank { plan, clients, account: String::new(), opened: String::new(), run: None };
        let Some(first) = bank.clients.first() else { return Ok(bank) };
        let deposit = if plan.balance == Money::ZERO { String::new() } else { plan.balance.to_string() };
        let new = NewAccount { deposit: &deposit, ..NewAccount::default() };
        let opened = first.open_account(new, &Options::default()).await?;
        (bank.account, bank.opened) = (opened.account, opened.seen.session_token);
        if plan.dialect.is_traced() {
            // What no other run is called.
            let id = Client::new_request_id();
            bank.run = Some(format!("{}.", id.rsplit('-').next().unwrap_or(&id)));
        }
        bank.everywhere(&bank.opened).await?;
        Ok(bank)
    }

    /// Returns when every replica shows what a session has seen.
    async fn everywhere(&self, session: &str) -> Result<(), Failure> {
        let options = Options {
            session_token: Some(session.to_owned()),
            consistency: Some(Consistency::Session),
            ..Options::default()
        };
        let reads = self.clients.iter().map(|client| client.balance(&self.account, &options));
        stream::iter(reads).buffer_unordered(REPLICAS_AT_ONCE).map_ok(drop).try_collect().await
    }

    /// Does what an event asks for.
    async fn perform(&self, step: Step, options: &Options) -> Result<Done, Failure> {
        let (Step::Query { branch } | Step::Deposit { branch, .. } | Step::Withdraw { branch, .. }) = step;
        let client = &self.clients[branch];
        let (write, amount) = match step {
            Step::Deposit { amount, .. } => (true, amount),
            Step::Withdraw { amount, .. } => (false, amount),
            Step::Query { .. } => (false, Money::ZERO),
        };
        if amount == Money::ZERO {
            // The bank moves no nothing: its writer learns the balance as from a query.
            let read = client.balance(&self.account, options).await?;
            let balance = money(&read.balance)?;
            let answer = match step {
                Step::Query { .. } => Answer::Balance(balance),
                Step::Deposit { .. } | Step::Withdraw { .. } => Answer::Success { balance },
            };
            return Ok(Done { answer, session: Some(read.seen.session_token), propagated: false });
        }
        let amount = amount.to_string();
        let written = match write {
            true => client.deposit(&self.account, &amount, options).await,
            false => client.withdraw(&self.account, &amount, options).await,
        };
        match written {
            Ok(written) => {
                let answer = Answer::Success { balance: money(&written.balance)? };
                Ok(Done { answer, session: Some(written.seen.session_token), propagated: true })
            }
            Err(failure) if matches!(failure.reason, Reason::InsufficientFunds | Reason::AmountOverflow) => {
                Ok(Done { answer: Answer::Fail, session: None, propagated: false })
            }
            Err(failure) => Err(failure),
        }
    }
}

fn money(text: &str) -> Result<Money, Failure> {
    Money::parse(text).map_err(Failure::from)
}

/// What became of a request.
struct Done {
    answer: Answer,
    /// The session that has seen it; a refusal shows nothing new.
    session: Option<String>,
    /// Whether the other replicas got it.
    propagated: bool,
}

/// A customer at work.
struct Customer {
    session: String,
    clock: LamportClock,
    left: VecDeque<RequestIndex>,
}

/// The customers of a plan. Entries of the same id are one.
struct Customers {
    all: Vec<Customer>,
    /// The place of each entry's customer.
    of_entry: Vec<usize>,
}

impl Customers {
    fn of(plan: &Plan, session: &str) -> Customers {
        let (mut all, mut of_entry) = (Vec::new(), Vec::new());
        let mut places = BTreeMap::new();
        for entry in &plan.entries {
            of_entry.push(*places.entry(entry.customer).or_insert_with(|| {
                let (clock, left) = (LamportClock::default(), VecDeque::new());
                all.push(Customer { session: session.to_owned(), clock, left });
                all.len() - 1
            }));
        }
        for (request, _, _) in plan.requests() {
            all[of_entry[request.entry as usize]].left.push_back(request);
        }
        Customers { all, of_entry }
    }
}

/// What is noted while a plan is played.
struct Notes {
    played: Played,
    /// The latest session: what it has seen is everything.
    session: String,
    /// Events that the replicas must have recorded.
    rows: usize,
    done: usize,
}

impl Notes {
    fn new(plan: &Plan) -> Notes {
        Notes { played: Played::new(plan), session: String::new(), rows: 0, done: 0 }
    }
}

/// A plan that is being played.
struct Course<'a> {
    bank: &'a Bank<'a>,
    notes: Mutex<Notes>,
    progress: &'a (dyn Fn(usize) + Sync),
}

impl Course<'_> {
    async fn side_by_side(&self, customers: Vec<Customer>) -> Result<(), RunError> {
        let courses = customers.into_iter().map(|mut customer| async move {
            while let Some(request) = customer.left.pop_front() {
                self.step(&mut customer, request).await?;
            }
            Ok::<_, RunError>(customer.session)
        });
        let sessions: Vec<String> =
            stream::iter(courses).buffer_unordered(CUSTOMERS_AT_ONCE).try_collect().await?;
        let mut latest = Session::default();
        for session in sessions {
            latest.merge(&Session::parse(&session).map_err(Failure::from)?);
        }
        self.notes.lock().session = latest.token();
        Ok(())
    }

    /// Each entry begins when all effects of the one before are on all replicas.
    async fn one_after_another(&self, customers: &mut Customers) -> Result<(), RunError> {
        let plan = self.bank.plan;
        let mut session = self.bank.opened.clone();
        for (entry, customer) in plan.entries.iter().zip(&customers.of_entry) {
            let customer = &mut customers.all[*customer];
            customer.session = session;
            for request in customer.left.drain(..entry.events.len()).collect::<Vec<_>>() {
                self.step(customer, request).await?;
            }
            session = customer.session.clone();
            self.bank.everywhere(&session).await?;
        }
        self.notes.lock().session = session;
        Ok(())
    }

    async fn in_turns(&self, mut customers: Vec<Customer>, seed: u64) -> Result<(), RunError> {
        let mut draws = Draws(seed);
        let mut session = self.bank.opened.clone();
        loop {
            customers.retain(|customer| !customer.left.is_empty());
            let Some(place) = draws.below(customers.len()) else { break };
            let customer = &mut customers[place];
            let Some(request) = customer.left.pop_front() else { continue };
            customer.session = session;
            self.step(customer, request).await?;
            session = customer.session.clone();
            self.bank.everywhere(&session).await?;
        }
        self.notes.lock().session = session;
        Ok(())
    }

    async fn step(&self, customer: &mut Customer, request: RequestIndex) -> Result<(), RunError> {
        let step = self.bank.plan.event(request).map(Event::step);
        // What cannot be sent fails, as it is noted from the start.
        if let Some(Ok(step)) = step {
            self.send(customer, request, step).await?;
        }
        let done = {
            let mut notes = self.notes.lock();
            notes.done += 1;
            notes.done
        };
        (self.progress)(done);
        Ok(())
    }

    async fn send(&self, customer: &mut Customer, request: RequestIndex, step: Step) -> Result<(), RunError> {
        customer.clock = customer.clock.after(1);
        let trace = match &self.bank.run {
            Some(run) => Some(Traced { name: record::name(run, request)?, clock: customer.clock }),
            None => None,
        };
        let session_token = Some(customer.session.clone());
        let options = Options { session_token, trace, ..Options::default() };
        let done = self.bank.perform(step, &options).await?;
        let mut notes = self.notes.lock();
        notes.played.set(request, done.answer);
        if self.bank.run.is_some() {
            let (Step::Query { branch } | Step::Deposit { branch, .. } | Step::Withdraw { branch, .. }) =
                step;
            let others = self.bank.clients.len() - 1;
            notes.rows += if done.propagated { 1 + 2 * others } else { 1 };
            let process = Process::Customer(request.entry);
            let kind = TraceKind::Sent(record::branch(branch));
            notes.played.trace.push(TraceRow { process, clock: customer.clock.get(), request, kind });
        }
        if let Some(session) = done.session {
            customer.session = session;
        }
        Ok(())
    }
}

/// Draws that depend on a seed alone (SplitMix64).
struct Draws(u64);

impl Draws {
    /// A number below `count`; none when there is none.
    fn below(&mut self, count: usize) -> Option<usize> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let count = u64::try_from(count).ok()?;
        usize::try_from(mixed.checked_rem(count)?).ok()
    }
}
