//! The driver: what a leader does about everything that is open in its ledger.
//!
//! Invariant: level-triggered. It looks at what is open and takes the next step; where it stopped, whether it ran
//! before or runs elsewhere at the same time does not matter. Only replicas that believe to lead do anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};

use super::desk::{Batch, Desk, Landed};
use super::flight::Crew;
use super::inquiry::Questions;
use super::message::STEPS;
use super::routes::Routes;
use crate::model::{Applied, BranchName, Command, Credit, Failure, Origin, Sequence, Timestamp};
use crate::replication::Lane;
use crate::store::{Runtime, Tokio};

/// How often it is looked whether this replica leads.
const TICK: Duration = Duration::from_millis(100);
/// How often everything that is open is looked at, whatever was heard of it.
const LOOK: Duration = Duration::from_millis(500);
/// Most answers that wait to be taken in; more flights than this wait for their turn.
const ANSWERS: usize = 1_024;

/// The clock by which holds end.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The driver of one replica.
pub struct Driver<R: Runtime = Tokio> {
    crew: Arc<Crew<R>>,
    clock: Clock,
    desk: Desk<R>,
    questions: Questions<R>,
    /// Whether open holds are being let go.
    expiring: bool,
    next_look: R::Instant,
    /// How often this replica has begun to lead.
    time: u64,
}

/// What a task of the driver did.
enum Done {
    /// In which time of leading, and what became of the batch.
    Flight(u64, Landed),
    Inquiry(Origin),
    Expiry,
}

impl<R: Runtime> Driver<R> {
    /// The driver of a replica. `troubles` is where it writes why other branches did not answer.
    pub(super) fn new(
        lane: Lane<R>,
        routes: Arc<dyn Routes>,
        clock: Clock,
        troubles: Arc<Mutex<BTreeMap<BranchName, Failure>>>,
    ) -> Driver<R> {
        Driver {
            crew: Arc::new(Crew { lane, routes, troubles }),
            clock,
            desk: Desk::new(),
            questions: Questions::new(),
            expiring: false,
            next_look: R::now(),
            time: 0,
        }
    }

    /// Runs until the replica has stopped.
    pub async fn run(mut self) {
        let mut events = self.crew.lane.transfers();
        let (done, mut finished) = mpsc::channel(ANSWERS);
        let mut leads = false;
        while !self.crew.lane.has_stopped() {
            let led = std::mem::replace(&mut leads, self.crew.lane.leads());
            if leads {
                if !led {
                    // Whatever was in hand, the ledger knows it better.
                    self.desk = Desk::new();
                    self.next_look = R::now();
                    self.time += 1;
                }
                self.step(&done);
            }
            let patience = self.patience(leads);
            let woken = R::timeout(patience, async {
                tokio::select! {
                    biased;
                    done = finished.recv() => done,
                    () = concern(&mut events) => None,
                }
            });
            let mut next = woken.await.flatten();
            while let Some(done) = next {
                self.take_in(done);
                next = finished.try_recv().ok();
            }
            while events.try_recv().is_ok() {}
        }
    }

    /// How long nothing happens by itself.
    fn patience(&self, leads: bool) -> Duration {
        match self.desk.next_departure() {
            Some(departure) if leads => R::left(departure).min(TICK),
            Some(_) | None => TICK,
        }
    }

    fn take_in(&mut self, done: Done) {
        match done {
            Done::Flight(time, landed) if time == self.time => self.desk.land(landed),
            // Of a desk that is gone.
            Done::Flight(..) => {}
            Done::Inquiry(origin) => self.questions.answered(&origin),
            Done::Expiry => self.expiring = false,
        }
    }

    /// Sends off what can be sent.
    fn step(&mut self, done: &mpsc::Sender<Done>) {
        let state = self.crew.lane.state();
        if self.next_look <= R::now() {
            self.next_look = R::now() + LOOK;
            let open = state.ledger.outgoing_after(Sequence::ZERO, usize::MAX);
            for transfer in &open {
                self.desk.take_in(transfer.number, &transfer.destination.branch);
            }
            self.desk.keep(|number| open.binary_search_by_key(&number, |transfer| transfer.number).is_ok());
            for batch in self.desk.overdue() {
                self.fly(batch, done);
            }
            for credits in self.questions.due(state.ledger.credits_prepared(usize::MAX)) {
                self.inquire(credits, done);
            }
            self.expire(done);
        } else {
            for transfer in state.ledger.outgoing_after(self.desk.newest(), STEPS) {
                self.desk.take_in(transfer.number, &transfer.destination.branch);
            }
        }
        for batch in self.desk.departures() {
            self.fly(batch, done);
        }
    }

    fn fly(&self, batch: Batch, done: &mpsc::Sender<Done>) {
        let (crew, done, time) = (Arc::clone(&self.crew), done.clone(), self.time);
        R::spawn(async move {
            let landed = crew.fly(batch).await;
            // The driver may have ended.
            let _ = done.send(Done::Flight(time, landed)).await;
        });
    }

    fn inquire(&self, credits: Vec<Credit>, done: &mpsc::Sender<Done>) {
        let Some(origin) = credits.first().map(|credit| credit.origin.clone()) else { return };
        let (crew, done) = (Arc::clone(&self.crew), done.clone());
        R::spawn(async move {
            crew.inquire(credits).await;
            let _ = done.send(Done::Inquiry(origin)).await;
        });
    }

    /// Lets holds go whose time is over.
    fn expire(&mut self, done: &mpsc::Sender<Done>) {
        if self.expiring {
            return;
        }
        let over = self.crew.lane.state().ledger.holds_over((self.clock)(), STEPS);
        if over.is_empty() {
            return;
        }
        self.expiring = true;
        let (crew, done) = (Arc::clone(&self.crew), done.clone());
        R::spawn(async move {
            let commands = over.into_iter().map(|hold| Command::ExpireHold { hold }).collect();
            // What does not get into the log is looked at again.
            let _ = crew.propose(commands).await;
            let _ = done.send(Done::Expiry).await;
        });
    }
}

/// Returns when something happened that may need a step at once.
async fn concern(events: &mut broadcast::Receiver<Arc<[Applied]>>) {
    loop {
        match events.recv().await {
            Ok(records)
                if !records.iter().any(|record| matches!(record.command, Command::BeginTransfer(_))) =>
            {
                // The driver's own doing, whose answer is under way.
            }
            // Who was left behind looks at the ledger.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
