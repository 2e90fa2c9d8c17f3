//! Clients of a simulated branch: they talk to any replica, keep their session, and write down what they see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Simulated;
use super::world::{Running, World, number};
use crate::model::{
    Amount, Command, LedgerId, Outcome, Proposal, RequestId, Seen, Sequence, Unavailable, Work,
};
use crate::replication::ReadPoint;
use crate::store::Runtime;

/// Accounts that are only paid into, drawn from and read, so that each has a history of its own.
pub(super) const APART: u64 = 4;
/// All accounts; money moves between the later ones.
pub(super) const ACCOUNTS: u64 = 7;
/// What each holds at the beginning, in cents.
pub(super) const FIRST: i64 = 1_000;
/// A deposit without a request id is known by its amount, which is greater than this.
pub(super) const NAMELESS: i64 = 1_000_000;

/// What became of a write.
#[derive(Clone, Debug)]
pub(super) enum Became {
    Done {
        last: Sequence,
        outcome: Outcome,
    },
    /// Refused: it never happened.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What a client did.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Write { request: Option<RequestId>, command: Command, became: Became },
    Read { at: ReadPoint, account: u64, cents: i64, sequence: Sequence },
}

/// When, in what is true for all, and what the client had seen before.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) floor: Sequence,
    pub(super) act: Act,
}

/// What all clients wrote down.
#[derive(Default)]
pub(super) struct History {
    clock: AtomicU64,
    events: Mutex<Vec<Event>>,
    ledger: Mutex<Option<LedgerId>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }
}

/// One client.
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) history: Arc<History>,
    pub(super) name: u64,
    calls: u64,
    seen: Sequence,
}

impl Client {
    pub(super) fn new(world: &Arc<World>, history: &Arc<History>, name: u64) -> Client {
        let (world, history) = (Arc::clone(world), Arc::clone(history));
        Client { world, history, name, calls: 0, seen: Sequence::ZERO }
    }

    /// Works until the life ends, and brings its last call to an end.
    pub(super) async fn run(mut self) {
        while !self.world.is_ending() {
            let pause = self.world.chance.micros(1_000, 120_000);
            Simulated::sleep(pause).await;
            match self.world.chance.below(10) {
                0..4 => self.read().await,
                4 => self.nameless().await,
                _ => self.write().await,
            }
        }
    }

    async fn someone(&self) -> Running {
        loop {
            let replica = self.world.chance.pick(&self.world.replicas);
            match self.world.running(replica) {
                Some(running) if running.lane.ledger().is_ok() => return running,
                Some(_) | None => Simulated::sleep(Duration::from_millis(30)).await,
            }
        }
    }

    fn session(&self) -> Option<Seen> {
        let ledger = (*self.history.ledger.lock())?;
        (self.seen > Sequence::ZERO).then_some(Seen { ledger, sequence: self.seen })
    }

    fn command(&self) -> Command {
        let chance = &self.world.chance;
        let account = number(1 + chance.below(ACCOUNTS));
        let amount = Amount::from_minor(i64::try_from(1 + chance.below(400)).unwrap()).unwrap();
        let shared = 1 + APART..=ACCOUNTS;
        match chance.below(3) {
            0 => Command::Withdraw { account, amount },
            1 if shared.contains(&account.get()) => {
                let destination = number(shared.start() + chance.below(ACCOUNTS - APART));
                Command::Transfer { source: account, destination, amount }
            }
            _ => Command::Deposit { account, amount },
        }
    }

    /// One attempt. What a replica says whose machine went off meanwhile is not heard.
    async fn attempt(&self, at: &Running, proposal: Proposal) -> Result<(Sequence, Outcome), Unavailable> {
        let deadline = Simulated::now() + self.world.chance.micros(100_000, 4_000_000);
        let answer = at.lane.execute(proposal, self.session(), deadline).await;
        if !self.world.lives(at.lane.replica().0, at.life) {
            return Err(Unavailable::OutcomeUnknown);
        }
        let reply = answer?;
        self.history.ledger.lock().get_or_insert(at.lane.ledger().unwrap());
        Ok((reply.last, reply.outcomes.as_slice()[0].clone()))
    }

    /// A write under one request id, until it is known what became of it.
    async fn write(&mut self) {
        self.calls += 1;
        let request: RequestId = format!("c{}-{}", self.name, self.calls).parse().unwrap();
        let command = self.command();
        let begun = self.history.tick();
        let mut unsure = false;
        let became = loop {
            let at = self.someone().await;
            let proposal = Proposal { request: Some(request.clone()), work: Work::One(command.clone()) };
            match self.attempt(&at, proposal).await {
                Ok((last, outcome)) => break Became::Done { last, outcome },
                Err(Unavailable::SessionUnknown) => {
                    self.world.wrong(format!("client {}: what it has seen is not known", self.name));
                    break Became::Refused;
                }
                Err(error) => {
                    unsure |= error == Unavailable::OutcomeUnknown;
                    if !unsure && self.world.chance.of_thousand(200) {
                        break Became::Refused;
                    }
                }
            }
            if self.world.first_wrong().is_some() {
                break Became::Unknown;
            }
            Simulated::sleep(self.world.chance.micros(5_000, 200_000)).await;
        };
        if let Became::Done { last, .. } = &became
            && self.world.chance.of_thousand(300)
        {
            self.world.is_durable(&request, *last);
        }
        self.wrote(begun, Some(request), command, became);
    }

    /// A write that nothing recognises if it is tried again, so it is not.
    async fn nameless(&mut self) {
        self.calls += 1;
        let amount = NAMELESS + i64::try_from(self.name * 10_000 + self.calls).unwrap();
        let account = number(ACCOUNTS);
        let command = Command::Deposit { account, amount: Amount::from_minor(amount).unwrap() };
        let begun = self.history.tick();
        let at = self.someone().await;
        let became =
            match self.attempt(&at, Proposal { request: None, work: Work::One(command.clone()) }).await {
                Ok((last, outcome)) => Became::Done { last, outcome },
                Err(Unavailable::OutcomeUnknown) => Became::Unknown,
                Err(_) => Became::Refused,
            };
        self.wrote(begun, None, command, became);
    }

    fn wrote(&mut self, begun: u64, request: Option<RequestId>, command: Command, became: Became) {
        let (ended, floor) = (self.history.tick(), self.seen);
        if let Became::Done { last, .. } = &became {
            self.seen = self.seen.max(*last);
        }
        let known = format!("{} {command:?} {became:?}", self.name);
        self.world.chance.note(known.as_bytes());
        let act = Act::Write { request, command, became };
        self.history.events.lock().push(Event { begun, ended, floor, act });
    }

    async fn read(&mut self) {
        let at = self.someone().await;
        let account = 1 + self.world.chance.below(ACCOUNTS);
        let point = match (self.world.chance.below(5), self.session()) {
            (0, _) => ReadPoint::Local,
            (1 | 2, Some(seen)) => ReadPoint::AtLeast(seen),
            (_, _) => ReadPoint::Latest,
        };
        let (begun, floor) = (self.history.tick(), self.seen);
        let deadline = Simulated::now() + self.world.chance.micros(50_000, 2_000_000);
        let read = at.lane.read(point, deadline, |state| {
            state.ledger.account(number(account)).map(|account| account.balance.balance.minor())
        });
        let answer = read.await;
        if !self.world.lives(at.lane.replica().0, at.life) {
            return;
        }
        match answer {
            Ok((cents, sequence)) => {
                let ended = self.history.tick();
                self.world
                    .chance
                    .note(format!("{} read {account} {cents:?} {sequence}", self.name).as_bytes());
                // A stale read of a replica that is behind may not know the account, and binds nobody.
                if point != ReadPoint::Local {
                    self.seen = self.seen.max(sequence);
                }
                let Some(cents) = cents else {
                    if point != ReadPoint::Local {
                        self.world.wrong(format!("client {}: account {account} is gone", self.name));
                    }
                    return;
                };
                let act = Act::Read { at: point, account, cents, sequence };
                self.history.events.lock().push(Event { begun, ended, floor, act });
            }
            Err(Unavailable::SessionUnknown) => {
                self.world.wrong(format!("client {}: what it has seen is not known to a read", self.name));
            }
            Err(_) => {}
        }
    }
}
