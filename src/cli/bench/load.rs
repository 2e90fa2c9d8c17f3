//! The load: threads that each run their own connections and loops, and do one phase after another.
//!
//! Invariant: every operation that may have reached the server is in the tally, executed, refused or
//! lost, also when a phase is cut short.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Sleep, sleep, sleep_until};

use crate::client::{BatchFrame, Missed, Probe, ProbeStream};
use crate::model::{Failure, Reason};

use super::numbers::Numbers;
use super::plan::{Plan, Sending};
use super::tally::Tally;
use super::work::{Chooser, Op, RATE, RequestIds};

/// How long after the end of a phase an answer may come: longer than a server works on a call without a
/// deadline, so that what is unknown then has been executed or will never be.
const GRACE: Duration = Duration::from_secs(6);
/// How long the clock of a schedule sleeps before it looks whether the run is cut short.
const LONGEST_NAP: Duration = Duration::from_millis(50);
/// The pause after a call that brought no answer, unless the server asks for another.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends the wait for an answer; one for each loop and phase, because a timer for each call costs more.
type Grace = Pin<Box<Sleep>>;

/// What the threads do together for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Ask for the server's health.
    Noop,
    /// Do the operations of the mix.
    Work {
        /// Whether the answers count, or only the money does.
        measured: bool,
    },
}

/// A phase for one thread.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) phase: Phase,
    pub(super) length: Duration,
    pub(super) done: oneshot::Sender<()>,
}

/// What all loops share.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) plan: Plan,
    pub(super) server: String,
    /// Numbers of the run's accounts.
    pub(super) accounts: Numbers,
    /// Set when the run is cut short.
    pub(super) stop: AtomicBool,
}

/// Runs the loops of one thread until no more orders come, and returns what they saw.
///
/// # Errors
/// When the connections cannot be made; `ready` tells it too.
pub(super) async fn run(
    setting: Arc<Setting>,
    thread: usize,
    ready: oneshot::Sender<Result<(), Failure>>,
    mut orders: mpsc::Receiver<Order>,
) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::new(setting.accounts.count())));
    let mut workers = match workers(&setting, thread, &tally).await {
        Ok(workers) => {
            let _ = ready.send(Ok(()));
            workers
        }
        Err(failure) => {
            let _ = ready.send(Err(failure));
            Vec::new()
        }
    };
    while let Some(order) = orders.recv().await {
        let started = Instant::now();
        tally.lock().measuring = order.phase == Phase::Work { measured: true };
        let pace = pace(&setting, order.phase, workers.len(), started, order.length);
        let running: Vec<_> = workers
            .drain(..)
            .map(|worker| tokio::spawn(worker.phase(order.phase, started + order.length, pace.clone())))
            .collect();
        for worker in running {
            workers.push(worker.await.expect("a loop of the load does not panic"));
        }
        let mut tally = tally.lock();
        match order.phase {
            Phase::Noop => tally.noop.elapsed += started.elapsed(),
            Phase::Work { measured: true } => tally.work.elapsed += started.elapsed(),
            Phase::Work { measured: false } => {}
        }
        let _ = order.done.send(());
    }
    drop(workers);
    Arc::into_inner(tally).expect("all loops have ended").into_inner()
}

async fn workers(
    setting: &Arc<Setting>,
    thread: usize,
    tally: &Arc<Mutex<Tally>>,
) -> Result<Vec<Worker>, Failure> {
    let plan = &setting.plan;
    let mut workers = Vec::new();
    for connection in (thread..plan.connections).step_by(plan.threads) {
        let probe = Probe::connect(&setting.server).await?;
        for worker in (connection..plan.inflight).step_by(plan.connections) {
            workers.push(Worker {
                setting: Arc::clone(setting),
                tally: Arc::clone(tally),
                probe: probe.clone(),
                leads: worker == connection,
                chooser: Chooser::new(plan, worker as u64),
                ids: plan.request_ids.then(RequestIds::new),
            });
        }
    }
    Ok(workers)
}

/// When calls start that do not wait for each other.
#[derive(Debug)]
struct Pace {
    started: Instant,
    interval_nanos: u64,
    due: Semaphore,
    taken: Mutex<u64>,
}

impl Pace {
    /// Waits for the next scheduled start and returns it; nothing at the end of the phase.
    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let mut taken = self.taken.lock();
        let at = self.started + Duration::from_nanos(self.interval_nanos.saturating_mul(*taken));
        *taken += 1;
        Some(at)
    }
}

/// The schedule of a thread, when the plan has a rate. A thread of its own wakes the loops, because
/// the timer of their runtime counts whole milliseconds.
fn pace(
    setting: &Arc<Setting>,
    phase: Phase,
    workers: usize,
    started: Instant,
    length: Duration,
) -> Option<Arc<Pace>> {
    const SECOND: u64 = 1_000_000_000;
    let (Some(rate), Phase::Work { .. }) = (setting.plan.rate, phase) else { return None };
    let share = (u64::from(rate) * workers as u64).max(1);
    let pace = Arc::new(Pace {
        started,
        interval_nanos: (SECOND * setting.plan.inflight as u64 / share).max(1),
        due: Semaphore::new(0),
        taken: Mutex::new(0),
    });
    let (setting, clock) = (Arc::clone(setting), Arc::clone(&pace));
    std::thread::spawn(move || {
        let mut released = 0;
        while started.elapsed() < length && !setting.stop.load(Ordering::Relaxed) {
            let now = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let due = now / clock.interval_nanos + 1;
            clock.due.add_permits(usize::try_from(due - released).unwrap_or(usize::MAX));
            released = due;
            let next = Duration::from_nanos(clock.interval_nanos.saturating_mul(released));
            std::thread::sleep(next.min(length).saturating_sub(started.elapsed()).min(LONGEST_NAP));
        }
        clock.due.close();
    });
    Some(pace)
}

/// A loop with one call in flight; the first loop of each connection may have a stream instead.
struct Worker {
    setting: Arc<Setting>,
    tally: Arc<Mutex<Tally>>,
    probe: Probe,
    /// Whether it is the first loop of its connection, the one that has the connection's stream.
    leads: bool,
    chooser: Chooser,
    ids: Option<RequestIds>,
}

impl Worker {
    async fn phase(mut self, phase: Phase, end: Instant, pace: Option<Arc<Pace>>) -> Worker {
        let mut grace = Box::pin(sleep_until((end + GRACE).into()));
        match (phase, self.setting.plan.sending) {
            (Phase::Noop, _) => self.noops(end, &mut grace).await,
            (Phase::Work { .. }, Sending::Unary | Sending::Batches(_)) => {
                self.calls(end, pace.as_deref(), &mut grace).await;
            }
            (Phase::Work { .. }, Sending::Stream(_)) if self.leads => self.stream(end, &mut grace).await,
            (Phase::Work { .. }, Sending::Stream(_)) => {}
        }
        self
    }

    fn goes_on(&self, end: Instant, now: Instant) -> bool {
        now < end && !self.setting.stop.load(Ordering::Relaxed)
    }

    async fn noops(&mut self, end: Instant, grace: &mut Grace) {
        let mut now = Instant::now();
        while self.goes_on(end, now) {
            let started = now;
            let answer = in_time(self.probe.check(), grace).await;
            now = Instant::now();
            self.tally.lock().noop(&answer, now - started);
            if let Err(missed) = &answer {
                self.recover(missed).await;
                now = Instant::now();
            }
        }
    }

    async fn calls(&mut self, end: Instant, pace: Option<&Pace>, grace: &mut Grace) {
        let mut now = Instant::now();
        while self.goes_on(end, now) {
            let started = match pace {
                None => now,
                Some(pace) => match pace.next().await {
                    Some(scheduled) => scheduled,
                    None => return,
                },
            };
            let missed = match self.setting.plan.sending {
                Sending::Unary => self.one(started, grace).await,
                Sending::Batches(commands) | Sending::Stream(commands) => {
                    self.batch(commands, started, grace).await
                }
            };
            if let Some(missed) = missed {
                self.recover(&missed).await;
            }
            now = Instant::now();
        }
    }

    async fn one(&mut self, started: Instant, grace: &mut Grace) -> Option<Missed> {
        let op = self.chooser.next();
        let id = self.request_id(started);
        let answer = in_time(call(&mut self.probe, op, &self.setting, &id), grace).await;
        self.tally.lock().operation(op, &id, &answer, started.elapsed());
        answer.err().filter(|missed| !matches!(missed, Missed::Refused(_)))
    }

    async fn batch(&mut self, commands: usize, started: Instant, grace: &mut Grace) -> Option<Missed> {
        let id = self.request_id(started);
        let mut frame = BatchFrame::execute(&id);
        let ops = self.fill(&mut frame, commands);
        let answer = in_time(self.probe.execute_batch(frame), grace).await;
        let mut tally = self.tally.lock();
        match answer {
            Ok(answer) => {
                tally.batch(&ops, &answer.results, started.elapsed());
                None
            }
            Err(missed) => {
                tally.batch_missed(ops, &id, &missed);
                Some(missed)
            }
        }
    }

    fn fill(&mut self, frame: &mut BatchFrame, commands: usize) -> Vec<Op> {
        let ops: Vec<Op> = (0..commands).map(|_| self.chooser.next()).collect();
        for command in ops.iter().filter_map(|op| op.command(&self.setting.accounts)) {
            frame.push(command);
        }
        ops
    }

    fn request_id(&mut self, now: Instant) -> String {
        self.ids.as_mut().map(|ids| ids.next(now)).unwrap_or_default()
    }

    /// Waits a moment and connects again when the connection may be broken.
    async fn recover(&mut self, missed: &Missed) {
        let pause = match missed {
            Missed::Later(failure) => failure.retry_after.unwrap_or(PAUSE),
            Missed::Refused(_) | Missed::Unknown(_) => PAUSE,
        };
        sleep(pause).await;
        let overloaded = matches!(missed, Missed::Later(failure) if failure.reason == Reason::Overloaded);
        if !overloaded {
            // The next call tells it when this does not succeed.
            let _ = self.probe.renew().await;
        }
    }

    async fn stream(&mut self, end: Instant, grace: &mut Grace) {
        while self.goes_on(end, Instant::now()) {
            let mut flying = VecDeque::new();
            let missed = match self.probe.submit().await {
                Ok(mut stream) => self.stream_along(&mut stream, &mut flying, end, grace).await,
                Err(missed) => Some(missed),
            };
            let Some(missed) = missed else { return };
            let lost = Missed::Unknown(Failure::new(Reason::OutcomeUnknown, "the stream broke"));
            {
                let mut tally = self.tally.lock();
                if flying.is_empty() {
                    tally.noop(&Err(missed.clone()), Duration::ZERO);
                }
                for flight in flying {
                    tally.batch_missed(flight.ops, &flight.request_id, &lost);
                }
            }
            self.recover(&missed).await;
        }
    }

    /// Keeps the window full until the end, then takes the last answers.
    async fn stream_along(
        &mut self,
        stream: &mut ProbeStream,
        flying: &mut VecDeque<Flight>,
        end: Instant,
        grace: &mut Grace,
    ) -> Option<Missed> {
        let plan = &self.setting.plan;
        let (window, commands) = (plan.window, plan.commands());
        let mut number = 0;
        loop {
            let mut now = Instant::now();
            while flying.len() < window && self.goes_on(end, now) {
                number += 1;
                let request_id = self.request_id(now);
                let mut frame = BatchFrame::submit(number, &request_id);
                let ops = self.fill(&mut frame, commands);
                flying.push_back(Flight { number, request_id, ops, started: now });
                if let Err(missed) = stream.send(frame) {
                    return Some(missed);
                }
                now = Instant::now();
            }
            let flight = flying.front()?;
            let answer = match in_time(stream.next(), grace).await {
                Ok(answer) if answer.number == flight.number => answer,
                Ok(answer) => return Some(Missed::Unknown(out_of_turn(answer.number))),
                Err(missed) => return Some(missed),
            };
            let flight = flying.pop_front()?;
            let mut tally = self.tally.lock();
            match answer.refused {
                None => tally.batch(&flight.ops, &answer.results, flight.started.elapsed()),
                Some(missed) => tally.batch_missed(flight.ops, &flight.request_id, &missed),
            }
        }
    }
}

/// A batch of a stream on its way.
struct Flight {
    number: u64,
    request_id: String,
    ops: Vec<Op>,
    started: Instant,
}

fn out_of_turn(number: u64) -> Failure {
    Failure::new(Reason::Internal, format!("batch {number} was answered out of turn"))
}

/// Makes one call; the answer is the interest added, 0 for anything else.
async fn call(probe: &mut Probe, op: Op, setting: &Setting, id: &str) -> Result<i64, Missed> {
    let number = |place: u32| setting.accounts.at(place);
    match op {
        Op::Deposit { account, amount } => probe.deposit(number(account), amount, id).await.map(|()| 0),
        Op::Withdraw { account, amount } => probe.withdraw(number(account), amount, id).await.map(|()| 0),
        Op::Transfer { source, destination, amount } => {
            probe.transfer(number(source), number(destination), amount, id).await.map(|()| 0)
        }
        Op::Send { source, amount } => {
            let to = setting.plan.transfer_to.as_deref().unwrap_or_default();
            probe.send_money(number(source), to, amount, id).await.map(|()| 0)
        }
        Op::Interest { account } => probe.interest(number(account), RATE, id).await,
        Op::Balance { account } => probe.balance(number(account)).await.map(|()| 0),
    }
}

/// The answer, or that none came before the end of the phase and the time of grace.
async fn in_time<T>(answer: impl Future<Output = Result<T, Missed>>, grace: &mut Grace) -> Result<T, Missed> {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = grace => Err(Missed::Unknown(Failure::new(Reason::OutcomeUnknown, "no answer came in time"))),
    }
}
