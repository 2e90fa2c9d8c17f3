//! Customers: they call the services of any replica of their branch, keep their session, and write down what they are
//! told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use super::asks::{Answer, Ask, read};
use crate::api::{BankApi, House, Meter};
use crate::model::{Exit, Failure, Reason, Sequence, Session, Timestamp};
use crate::replication::tests::simulated::Simulated;
use crate::store::Runtime;
use crate::transfer::ClientRoutes;
use crate::transfer::tests::world::{ACCOUNTS, BEGIN_MICROS, Running, World, name};
use crate::wire::proto::v1;
use crate::wire::proto::v1::bank_service_server::BankService;

/// Accounts that customers name: those opened at the beginning, some that they open, and one that nobody has.
const NAMED: u64 = ACCOUNTS + 3;
/// Accounts that are never frozen or closed.
const STEADY: u64 = 1;

/// What became of a write.
#[derive(Clone, Debug)]
pub(super) enum End {
    Done(Answer),
    /// The ledger said no, for this reason.
    Refused(Reason),
    /// It did not happen.
    Nothing,
    Unknown,
}

/// A write and its end.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) branch: usize,
    pub(super) id: String,
    pub(super) ask: Ask,
    pub(super) end: End,
}

/// An account as a reply showed it at a sequence: `NUMBER=MINOR/HELD`, with its state when it was shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) branch: usize,
    pub(super) sequence: Sequence,
    pub(super) account: String,
}

/// What all customers wrote down.
#[derive(Default)]
pub(super) struct History {
    pub(super) writes: Mutex<Vec<Write>>,
    pub(super) shown: Mutex<Vec<Shown>>,
    /// The balance of a statement after an entry.
    pub(super) entries: Mutex<Vec<Shown>>,
    /// The latest sequence of each branch that anybody was told.
    told: Mutex<[Sequence; 2]>,
}

/// The services of a replica.
fn services(running: &Running) -> BankApi<Simulated> {
    let clock = || Timestamp::from_micros(BEGIN_MICROS + elapsed());
    let ways = Arc::new(ClientRoutes::new(&BTreeMap::new()).unwrap());
    let (lane, transfers) = (running.lane.clone(), running.transfers.clone());
    let house = House { lane, transfers, ways, clock, audits: Arc::default() };
    BankApi::new(house, CancellationToken::new(), Duration::from_secs(5), Arc::<Meter>::default())
}

/// Whether an id is refused for the time that it carries.
fn is_about_the_id(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::RequestExpired | Reason::RequestIdInvalid)
}

/// A balance as a reply writes it, in minor units.
fn minor(text: &str) -> i64 {
    text.replace('.', "").parse().unwrap()
}

fn elapsed() -> u64 {
    u64::try_from(SimInstant::try_now().unwrap().elapsed_since_start().as_micros()).unwrap()
}

pub(super) struct Customer {
    world: Arc<World>,
    history: Arc<History>,
    name: u64,
    branch: usize,
    /// By how much its clock is wrong, in milliseconds.
    skew: i64,
    calls: u64,
    token: String,
    seen: Sequence,
    holds: Vec<String>,
}

impl Customer {
    pub(super) fn new(world: &Arc<World>, history: &Arc<History>, name: u64) -> Customer {
        let (world, history) = (Arc::clone(world), Arc::clone(history));
        let most = world.chance.pick(&[1, 60_000, 290_000, 86_400_000]);
        let skew = i64::try_from(world.chance.below(2 * most)).unwrap() - i64::try_from(most).unwrap();
        let branch = usize::try_from(name % 2).unwrap();
        let (token, seen, holds) = (String::new(), Sequence::ZERO, Vec::new());
        Customer { world, history, name, branch, skew, calls: 0, token, seen, holds }
    }

    /// Works until the life ends, and brings the last call to an end.
    pub(super) async fn run(mut self) {
        while !self.world.is_ending() {
            Simulated::sleep(self.world.chance.micros(1_000, 250_000)).await;
            match self.world.chance.below(12) {
                0..6 => self.write().await,
                6 => self.repeat_late().await,
                _ => self.read().await,
            }
        }
    }

    /// A UUIDv7 by the customer's clock.
    fn id(&mut self) -> String {
        self.calls += 1;
        let now = (BEGIN_MICROS + elapsed()) / 1_000;
        let millis = now.checked_add_signed(self.skew).unwrap();
        let (high, low) = (millis >> 16, millis & 0xffff);
        format!("{high:08x}-{low:04x}-7{:03x}-8000-{:012x}", self.name, self.calls)
    }

    fn account(&self) -> String {
        (1 + self.world.chance.below(NAMED)).to_string()
    }

    fn ask(&self) -> Ask {
        let chance = &self.world.chance;
        let (account, amount) = (self.account(), format!("{}.{:02}", chance.below(30), 1 + chance.below(99)));
        match chance.below(14) {
            0 => {
                let account = (1 + ACCOUNTS + chance.below(2)).to_string();
                let (deposit, overdraft_limit) = (amount, "5.00".to_owned());
                Ask::Open(v1::OpenAccountRequest { account, deposit, overdraft_limit, ..Default::default() })
            }
            1 | 2 => Ask::Deposit(v1::DepositAccountRequest { account, amount, ..Default::default() }),
            3 => Ask::Withdraw(v1::WithdrawAccountRequest { account, amount, ..Default::default() }),
            4 => {
                let rate = chance.pick(&["0.0001", "2.5", "100"]).to_owned();
                Ask::Interest(v1::AddInterestRequest { account, rate, ..Default::default() })
            }
            5 => {
                let destination = self.account();
                Ask::Transfer(v1::TransferRequest {
                    source: account,
                    destination,
                    amount,
                    ..Default::default()
                })
            }
            6 | 7 => {
                let destination = format!("{}/{}", name(1 - self.branch), self.account());
                Ask::Transfer(v1::TransferRequest {
                    source: account,
                    destination,
                    amount,
                    ..Default::default()
                })
            }
            8 => {
                let states = [v1::AccountState::Open, v1::AccountState::Frozen, v1::AccountState::Closed];
                let state = if chance.below(2) == 0 { states[0] } else { chance.pick(&states) }.into();
                let account = (STEADY + 1 + chance.below(2)).to_string();
                Ask::State(v1::SetAccountStateRequest { account, state, ..Default::default() })
            }
            9 | 10 => {
                let seconds = i64::try_from(1 + chance.below(20)).unwrap();
                let lasts = prost_types::Duration { seconds, nanos: 0 };
                let expires_in = (chance.below(3) > 0).then_some(lasts);
                Ask::Place(v1::PlaceHoldRequest { account, amount, expires_in, ..Default::default() })
            }
            11 | 12 if !self.holds.is_empty() => {
                let place = usize::try_from(chance.below(self.holds.len() as u64)).unwrap();
                let hold = self.holds[place].clone();
                match chance.below(3) {
                    0 => Ask::Release(v1::ReleaseHoldRequest { hold, ..Default::default() }),
                    1 => Ask::Capture(v1::CaptureHoldRequest { hold, ..Default::default() }),
                    _ => Ask::Capture(v1::CaptureHoldRequest { hold, amount, ..Default::default() }),
                }
            }
            _ => self.batch(),
        }
    }

    fn batch(&self) -> Ask {
        let chance = &self.world.chance;
        let command = |_| {
            let (account, destination) = (1 + chance.below(NAMED), 1 + chance.below(NAMED));
            let amount = i64::try_from(1 + chance.below(2_000)).unwrap();
            let command = v1::BatchCommand { account, amount, ..Default::default() };
            match chance.below(4) {
                0 => v1::BatchCommand { kind: v1::OperationKind::Deposit.into(), ..command },
                1 => v1::BatchCommand { kind: v1::OperationKind::Withdraw.into(), ..command },
                2 => v1::BatchCommand {
                    kind: v1::OperationKind::Interest.into(),
                    amount: 0,
                    rate: 15_000,
                    ..command
                },
                _ => v1::BatchCommand { kind: v1::OperationKind::Transfer.into(), destination, ..command },
            }
        };
        let commands = (0..1 + chance.below(5)).map(command).collect();
        Ask::Batch(v1::ExecuteBatchRequest { atomic: chance.below(2) == 0, commands, ..Default::default() })
    }

    /// Asks any replica of a branch, and hears nothing of one whose machine went off meanwhile.
    async fn attempt(&self, branch: usize, ask: &Ask, id: &str) -> Result<Answer, Failure> {
        let nobody = || Failure::new(Reason::Unreachable, "nobody is there");
        let running = self.world.someone(branch).ok_or_else(nobody)?;
        let patience = self.world.chance.micros(100_000, 4_000_000);
        let token = if branch == self.branch { self.token.as_str() } else { "" };
        let answer = ask.send(&services(&running), id, token, patience).await;
        if self.world.lives((branch, running.lane.replica().0), running.life) {
            answer
        } else {
            Err(Failure::new(Reason::OutcomeUnknown, "the machine went off"))
        }
    }

    /// A write under one request id, until it is known what became of it.
    async fn write(&mut self) {
        let (ask, id) = (self.ask(), self.id());
        let (must, mut unsure, mut attempts) = (self.history.told.lock()[self.branch], false, 0);
        let end = loop {
            attempts += 1;
            match self.attempt(self.branch, &ask, &id).await {
                Ok(answer) => break self.done(&ask, answer, must),
                Err(failure) if is_about_the_id(&failure) => {
                    self.world.chance.count("id expired");
                    // A replica may have asked its leader twice, and the network may ask once more. In between the
                    // ledger forgets an old id, and comes to the time of one from the future.
                    break End::Unknown;
                }
                Err(failure) if failure.reason == Reason::SessionUnknown => {
                    self.world.wrong(format!("{}: {failure:?}", self.name));
                }
                Err(failure) if failure.reason.exit() == Exit::Unknown => unsure = true,
                Err(failure) if failure.reason.exit() == Exit::TryAgain => {
                    if !unsure && self.world.chance.of_thousand(200) {
                        break End::Nothing;
                    }
                }
                Err(failure) => break End::Refused(failure.reason),
            }
            if self.world.first_wrong().is_some() {
                break End::Unknown;
            }
            Simulated::sleep(self.world.chance.micros(5_000, 200_000)).await;
        };
        self.wrote(ask, id, end, attempts);
    }

    fn wrote(&self, ask: Ask, id: String, end: End, attempts: u64) {
        let chance = &self.world.chance;
        let what = match &end {
            End::Done(_) => ask.kind(),
            End::Refused(_) => "write refused",
            End::Nothing => "write left out",
            End::Unknown => "write unsure",
        };
        chance.count(what);
        if matches!(end, End::Done(_)) {
            chance.count("write done");
        }
        if attempts > 1 {
            chance.count("write repeated");
        }
        let write = Write { branch: self.branch, id, ask, end };
        chance.note(format!("{write:?}").as_bytes());
        self.history.writes.lock().push(write);
    }

    fn done(&mut self, ask: &Ask, answer: Answer, must: Sequence) -> End {
        if let Ask::Place(_) = ask {
            let hold = format!("{}:{}", name(self.branch), answer.sequence);
            self.holds.push(hold);
        }
        if answer.sequence <= must {
            self.world.wrong(format!("{}: {answer:?} came after {must} was told", self.name));
        }
        self.saw(answer.sequence, &answer.token);
        End::Done(answer)
    }

    /// Keeps what an answer shows, whose token must cover it.
    fn saw(&mut self, sequence: Sequence, token: &str) {
        let seen = Session::parse(token).ok().and_then(|session| session.of(&name(self.branch)));
        if seen.is_none_or(|seen| seen.sequence < sequence) {
            self.world.wrong(format!("{}: shown {sequence}, and its token has {seen:?}", self.name));
        }
        token.clone_into(&mut self.token);
        self.seen = self.seen.max(sequence);
        let mut told = self.history.told.lock();
        told[self.branch] = told[self.branch].max(sequence);
    }

    /// A write that was done long ago comes again: it gets the first answer, or its id is too old.
    async fn repeat_late(&mut self) {
        let write = {
            let writes = self.history.writes.lock();
            let places: Vec<usize> = (0..writes.len()).collect();
            if places.is_empty() {
                return;
            }
            writes[self.world.chance.pick(&places)].clone()
        };
        let End::Done(first) = &write.end else { return };
        let again = self.attempt(write.branch, &write.ask, &write.id).await;
        self.world.chance.note(format!("{} again {again:?}", write.id).as_bytes());
        match again {
            Ok(again) => {
                self.world.chance.count("repeated late");
                let same = again.sequence == first.sequence && again.content == first.content;
                if !again.replayed || !(same || write.ask.goes_on()) {
                    self.world.wrong(format!("the answer to {write:?} is not that again: {again:?}"));
                }
            }
            Err(failure) if failure.reason == Reason::RequestExpired => {
                self.world.chance.count("id expired");
            }
            Err(failure) if matches!(failure.reason.exit(), Exit::TryAgain | Exit::Unknown) => {}
            Err(failure) => {
                self.world.wrong(format!("{write:?} is refused when it comes again: {failure:?}"))
            }
        }
    }

    async fn read(&mut self) {
        let Some(running) = self.world.someone(self.branch) else { return };
        let api = services(&running);
        match self.world.chance.below(5) {
            0 => self.read_list(&api, &running).await,
            1 => self.read_statement(&api, &running).await,
            2 => self.read_operation(&api, &running).await,
            _ => self.read_account(&api, &running).await,
        }
    }

    /// Reads once. Nothing when there was no answer that counts.
    async fn look<T, A>(
        &mut self,
        running: &Running,
        message: T,
        call: impl AsyncFnOnce(tonic::Request<T>) -> Result<Response<A>, Status>,
    ) -> Option<A> {
        let patience = self.world.chance.micros(50_000, 3_000_000);
        let answer = read(message, patience, call).await;
        if !self.world.lives((self.branch, running.lane.replica().0), running.life) {
            return None;
        }
        if let Err(failure) = &answer
            && failure.reason == Reason::SessionUnknown
        {
            self.world.wrong(format!("{}: a read: {failure:?}", self.name));
        }
        answer.ok()
    }

    /// Notes how far a read came, and says what is wrong with that. `must` is what had been told when it began.
    fn came(&mut self, consistency: v1::Consistency, must: Sequence, sequence: Sequence, token: &str) {
        let floor = match consistency {
            v1::Consistency::Linearizable => must.max(self.seen),
            v1::Consistency::Unspecified | v1::Consistency::Session => self.seen,
            v1::Consistency::Stale => Sequence::ZERO,
        };
        if sequence < floor {
            self.world.wrong(format!("{}: a read shows {sequence}, less than {floor}", self.name));
        }
        self.saw(sequence, token);
    }

    fn consistency(&self) -> v1::Consistency {
        use v1::Consistency::{Linearizable, Session, Stale, Unspecified};
        self.world.chance.pick(&[Unspecified, Linearizable, Session, Stale])
    }

    fn show(&self, sequence: u64, account: &v1::Account) {
        let number = account.account.rsplit('/').next().unwrap_or_default();
        let state = match account.state() {
            v1::AccountState::Open => "Open",
            v1::AccountState::Frozen => "Frozen",
            v1::AccountState::Closed => "Closed",
            v1::AccountState::Unspecified => "",
        };
        let account = format!("{number}={}/{} {state}", minor(&account.balance), minor(&account.held));
        let shown = Shown { branch: self.branch, sequence: Sequence(sequence), account };
        self.world.chance.note(format!("{shown:?}").as_bytes());
        self.history.shown.lock().push(shown);
    }

    async fn read_account(&mut self, api: &BankApi<Simulated>, running: &Running) {
        let (consistency, must) = (self.consistency(), self.history.told.lock()[self.branch]);
        let (account, session_token) = (self.account(), self.token.clone());
        let shown = if self.world.chance.below(2) == 0 {
            let message = v1::GetBalanceRequest { account, session_token, consistency: consistency.into() };
            let answer = self.look(running, message, async |message| api.get_balance(message).await).await;
            answer.map(|shown| {
                let account = shown.account.rsplit('/').next().unwrap_or_default().to_owned();
                let account =
                    v1::Account { account, balance: shown.balance, held: shown.held, ..Default::default() };
                (account, shown.sequence, shown.session_token)
            })
        } else {
            let message = v1::GetAccountRequest { account, session_token, consistency: consistency.into() };
            let answer = self.look(running, message, async |message| api.get_account(message).await).await;
            answer.and_then(|shown| Some((shown.account?, shown.sequence, shown.session_token)))
        };
        let Some((account, sequence, token)) = shown else { return };
        self.world.chance.count("read");
        self.came(consistency, must, Sequence(sequence), &token);
        self.show(sequence, &account);
    }

    async fn read_list(&mut self, api: &BankApi<Simulated>, running: &Running) {
        let (consistency, mut page_token) = (self.consistency(), String::new());
        loop {
            let must = self.history.told.lock()[self.branch];
            let message = v1::ListAccountsRequest {
                page_size: 3,
                page_token,
                session_token: self.token.clone(),
                consistency: consistency.into(),
            };
            let answer = self.look(running, message, async |message| api.list_accounts(message).await).await;
            let Some(page) = answer else { return };
            self.world.chance.count("list");
            self.came(consistency, must, Sequence(page.sequence), &page.session_token);
            page.accounts.iter().for_each(|account| self.show(page.sequence, account));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return;
            }
        }
    }

    async fn read_statement(&mut self, api: &BankApi<Simulated>, running: &Running) {
        let (consistency, must) = (self.consistency(), self.history.told.lock()[self.branch]);
        let message = v1::ListEntriesRequest {
            account: self.account(),
            page_size: 5,
            session_token: self.token.clone(),
            consistency: consistency.into(),
            ..Default::default()
        };
        let account = message.account.clone();
        let answer = self.look(running, message, async |message| api.list_entries(message).await).await;
        let Some(page) = answer else { return };
        self.world.chance.count("statement");
        self.came(consistency, must, Sequence(page.sequence), &page.session_token);
        for entry in page.entries {
            let account = format!("{account}={}/", minor(&entry.balance));
            let shown = Shown { branch: self.branch, sequence: Sequence(entry.sequence), account };
            self.history.entries.lock().push(shown);
        }
    }

    /// What was done is known as done, or forgotten.
    async fn read_operation(&mut self, api: &BankApi<Simulated>, running: &Running) {
        let done = |write: &&Write| write.branch == self.branch && matches!(write.end, End::Done(_));
        let ids: Vec<String> =
            self.history.writes.lock().iter().filter(done).map(|write| write.id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let places: Vec<usize> = (0..ids.len()).collect();
        let request_id = ids[self.world.chance.pick(&places)].clone();
        let (consistency, must) = (v1::Consistency::Linearizable, self.history.told.lock()[self.branch]);
        let message = v1::GetOperationRequest {
            request_id: request_id.clone(),
            session_token: self.token.clone(),
            consistency: consistency.into(),
        };
        let answer = self.look(running, message, async |message| api.get_operation(message).await).await;
        let Some(told) = answer else { return };
        self.world.chance.count("operation");
        self.came(consistency, must, Sequence(told.sequence), &told.session_token);
        if told.state() == v1::OperationState::NeverSeen {
            self.world.wrong(format!("{request_id} was done, and is called never seen"));
        }
    }
}

/// A deposit at each replica of a branch, within half a minute; returns the last sequence.
pub(super) async fn served_everywhere(
    world: &Arc<World>,
    branch: usize,
    request: &str,
) -> Result<Sequence, String> {
    let mut last = Sequence::ZERO;
    for running in world.all_running(branch) {
        let (account, amount) = (STEADY.to_string(), "0.01".to_owned());
        let ask = Ask::Deposit(v1::DepositAccountRequest { account, amount, ..Default::default() });
        let (api, id) = (services(&running), format!("{request}-{}", running.lane.replica()));
        let until = Simulated::now() + Duration::from_secs(30);
        last = loop {
            let failure = match ask.send(&api, &id, "", Duration::from_secs(4)).await {
                Ok(answer) => break answer.sequence,
                Err(failure) => failure,
            };
            if Simulated::now() >= until {
                let replica = running.lane.replica();
                return Err(format!("replica {replica} of branch {branch} does not serve: {failure:?}"));
            }
            Simulated::sleep(Duration::from_millis(100)).await;
        };
    }
    Ok(last)
}

/// Money goes from a branch to the other one within a minute.
pub(super) async fn transfer_takes_place(world: &Arc<World>, branch: usize) -> Result<(), String> {
    let destination = format!("{}/{STEADY}", name(1 - branch));
    let (source, amount) = (STEADY.to_string(), "0.01".to_owned());
    let ask = Ask::Transfer(v1::TransferRequest { source, destination, amount, ..Default::default() });
    let until = Simulated::now() + Duration::from_secs(60);
    for attempt in 0_u64.. {
        let running = world.someone(branch).ok_or("nobody is there")?;
        let answer =
            ask.send(&services(&running), &format!("sent-{attempt}"), "", Duration::from_secs(4)).await;
        if answer.as_ref().is_ok_and(|answer| answer.content.contains("state: Committed")) {
            return Ok(());
        }
        if Simulated::now() >= until {
            return Err(format!("a transfer from branch {branch} does not take place: {answer:?}"));
        }
        Simulated::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
