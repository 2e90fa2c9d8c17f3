//! The runner: plays a plan on servers of one branch of the bank with the ordinary client.
//!
//! Invariant: every request goes to the server of its target, under a request id and with the session of its customer;
//! there is no other path to the ledger. All of a customer's requests run one after another. What happened is told
//! only when everything was played.

use std::collections::{BTreeMap, VecDeque};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use super::bank::Bank;
use super::plan::{Dialect, Event, Plan, RequestIndex, Step};
use super::played::{Played, Process, TraceKind, TraceRow, Untraced};
use super::record;
use crate::client::{Options, Traced};
use crate::model::{Failure, LamportClock, Session};

/// Most customers that run side by side.
const CUSTOMERS_AT_ONCE: usize = 1_024;

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
    /// A branch did not do what was asked of it.
    #[error("branch {branch} at {server}: {failure}")]
    Failed {
        /// The branch's id in the plan.
        branch: u64,
        /// The address of its server.
        server: String,
        /// Why.
        failure: Failure,
    },
    /// Nothing that a branch did.
    #[error("{0}")]
    Client(#[from] Failure),
    /// Branches without a server.
    #[error("the file has {branches} branches and {servers} servers are named; name one for each")]
    TooFewServers {
        /// Branches of the plan.
        branches: usize,
        /// Servers named.
        servers: usize,
    },
    /// No trace, though the outputs of the dialect are one.
    #[error("{0}")]
    Untraced(Untraced),
    /// Two branches of the plan on one replica.
    #[error(
        "branch {branch} at {server} is the replica that branch {other} has already; name each replica once"
    )]
    SameReplica {
        /// The branch's id in the plan.
        branch: u64,
        /// The address of its server.
        server: String,
        /// The id of the branch that is on the same replica.
        other: u64,
    },
    /// Branches of the plan whose servers do not belong together.
    #[error(
        "branch {branch} at {server} is not a replica of the bank that branch {other} is of; name replicas of one bank"
    )]
    OtherBank {
        /// The branch's id in the plan.
        branch: u64,
        /// The address of its server.
        server: String,
        /// The id of the first branch.
        other: u64,
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
    played.untraced = bank.untraced.clone();
    if let Some(run) = &bank.run {
        // Who has applied everything has recorded everything.
        bank.everywhere(&session).await?;
        let recorded = record::collect(&bank.replicas, run).await?;
        if recorded.len() == rows {
            played.trace.extend(recorded);
        } else {
            played.untraced = Some(Untraced::Incomplete { found: recorded.len(), expected: rows });
        }
    }
    if let Some(why) = &played.untraced {
        if plan.dialect.is_traced() {
            return Err(RunError::Untraced(why.clone()));
        }
        played.trace.clear();
    }
    Ok(played)
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
        if let (Dialect::P2Old, true, Some(session)) =
            (self.bank.plan.dialect, done.propagated, &done.session)
        {
            // In this form a branch responds when all the others have executed, and only then the customer goes on.
            self.bank.everywhere(session).await?;
        }
        let mut notes = self.notes.lock();
        notes.played.set(request, done.answer);
        if self.bank.run.is_some() {
            let (Step::Query { branch } | Step::Deposit { branch, .. } | Step::Withdraw { branch, .. }) =
                step;
            let others = self.bank.replicas.len() - 1;
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
