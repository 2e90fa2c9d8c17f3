//! Running commands: each becomes calls of the client, and their answers sheets on the screen.
//!
//! Invariant: every write has its request id before it is sent, so that its outcome can be asked for
//! whatever interrupts it, and so that a conversation recognises its own operations in the live feed.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::client::{self, AccountState, Client, Config, NewAccount, Options, Seen, TransferState};
use crate::model::{Exit, Failure, Reason};

use super::bench::{self, BenchArgs};
use super::grammar::{
    CallOptions, Capture, Command, Freshness, Hold, HoldShow, Interest, Look, OneAccount, OneHold, Open,
    Operate, Operation, Payment, ProcessOptions, ReadOptions, ReplicaChange, Scenario, StateOf, Transfer,
    TransferResolve, TransferShow, Watch, Write,
};
use super::local;
use super::problem::Problem;
use super::scenario_args::{Scenarios, Told};
use super::screen::Screen;
use super::session_file::SessionFile;
use super::sheet::{self, Cell, Column, Format, Printer, Shape};
use super::views;

mod audit;
mod export;
mod lists;

/// How many of its own writes a conversation recognises.
const RECENT_WRITES: usize = 1_024;

/// The writes of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Arc<Mutex<WriteNames>>);

#[derive(Debug, Default)]
struct WriteNames {
    under_way: Option<String>,
    recent: VecDeque<String>,
}

impl Writes {
    /// Whether this process made the write, lately.
    pub(crate) fn is_own(&self, request_id: &str) -> bool {
        self.0.lock().recent.iter().any(|own| own == request_id)
    }

    fn begin(&self, request_id: &str) {
        let mut names = self.0.lock();
        names.under_way = Some(request_id.to_owned());
        if names.recent.len() == RECENT_WRITES {
            names.recent.pop_front();
        }
        names.recent.push_back(request_id.to_owned());
    }

    /// The request id of the write that has no outcome yet, or whose outcome is being printed.
    fn under_way(&self) -> Option<String> {
        self.0.lock().under_way.clone()
    }

    /// Ends the write under way, when there is one: it has an outcome, or nobody waits for it any more.
    pub(crate) fn end(&self) -> Option<String> {
        self.0.lock().under_way.take()
    }
}

/// Runs commands one after another in one session.
pub(crate) struct Runner {
    pub(crate) client: Client,
    pub(crate) screen: Screen,
    pub(crate) writes: Writes,
    /// What the command line says for every line.
    defaults: CallOptions,
    /// For bench, which makes connections of its own.
    servers: Vec<String>,
    session_file: Option<SessionFile>,
    scenarios: &'static dyn Scenarios,
    /// What kept an answer from being printed; nothing is written to the bank after that.
    unprinted: OnceLock<String>,
    /// Whether `run` goes on after a file that fails.
    keep_going: bool,
    /// Whether standard input is free for a command, because it is not where the commands come from.
    pub(crate) free_input: bool,
}

impl Runner {
    /// A runner whose session begins with the token of the command line and the session file.
    ///
    /// # Errors
    /// When a server is not named as it should be, when either is no session, or the file cannot be read.
    pub(crate) fn new(
        process: &ProcessOptions,
        screen: Screen,
        defaults: CallOptions,
        scenarios: &'static dyn Scenarios,
    ) -> Result<Runner, Problem> {
        let servers = process.server.clone();
        let client = Client::new(&Config::new(&servers)).map_err(|mut failure| {
            if std::env::var("BANK_SERVER").is_ok_and(|listed| listed.split(',').eq(servers.iter())) {
                failure.message += "; it is the environment variable BANK_SERVER that says so";
            }
            failure
        })?;
        let session_file = match &process.session {
            Some(path) => {
                let (file, token) = SessionFile::open(path).map_err(Problem::Files)?;
                client.resume_session(&token)?;
                Some(file)
            }
            None => None,
        };
        client.resume_session(defaults.session_token.as_deref().unwrap_or_default())?;
        let (writes, unprinted, keep_going) = (Writes::default(), OnceLock::new(), process.keep_going);
        Ok(Runner {
            client,
            screen,
            writes,
            defaults,
            servers,
            session_file,
            scenarios,
            unprinted,
            keep_going,
            free_input: true,
        })
    }

    /// The format of a line.
    pub(crate) fn format(&self, call: &CallOptions) -> Format {
        self.screen.format(call.format().or(self.defaults.format()))
    }

    /// Runs one command and prints its answer.
    ///
    /// # Errors
    /// Why it was not done.
    pub(crate) async fn run(&mut self, command: &Command, call: &CallOptions) -> Result<(), Problem> {
        let format = self.format(call);
        if command.changes_something() {
            self.check_before_sending(command, call)?;
        }
        let done = self.ask(command, call, format).await;
        self.writes.end();
        if let Some(file) = &mut self.session_file
            && let Err(what) = file.keep(&self.client.session_token())
        {
            self.screen.warning(&what, format);
        }
        done
    }

    /// Finds what would go wrong after the bank has done its part, while nothing is done yet.
    fn check_before_sending(&self, command: &Command, call: &CallOptions) -> Result<(), Problem> {
        let only_validated = call.validate_only || self.defaults.validate_only;
        if only_validated && !matches!(command, Command::Write(_)) {
            let message = "this command cannot be validated only; without --validate-only it is executed";
            return Err(Failure::new(Reason::ArgumentInvalid, message).into());
        }
        if let Some(what) = self.unprinted.get() {
            return Err(Problem::Files(format!("{what}; nothing more is sent to the bank")));
        }
        self.screen.check_output()?;
        match &self.session_file {
            Some(file) => file.check().map_err(Problem::Files),
            None => Ok(()),
        }
    }

    /// What printing the answer to something done means: whether it could be printed changes nothing about it.
    fn printed(&self, printed: Result<(), Problem>, format: Format) -> Result<(), Problem> {
        let Err(Problem::Files(what)) = printed else { return printed };
        let look = match self.writes.under_way() {
            Some(id) => format!("; it is done, and `operation {id}` shows its outcome"),
            None => "; it is done".to_owned(),
        };
        self.screen.warning(&format!("{what}{look}"), format);
        // The first one stays.
        let _ = self.unprinted.set(what);
        Ok(())
    }

    /// Prints the answer to a write.
    fn answer(
        &self,
        options: &Options,
        format: Format,
        columns: &'static [Column],
        row: Vec<Cell>,
    ) -> Result<(), Problem> {
        let row = row.into_iter().chain([Cell::Flag(options.validate_only)]).collect();
        self.printed(self.screen.one(format, columns, row), format)
    }

    async fn ask(&self, command: &Command, call: &CallOptions, format: Format) -> Result<(), Problem> {
        match command {
            Command::Write(command) => self.write(command, &self.write_options(call), format).await,
            Command::Look(command) => self.look(command, call, format).await,
            Command::Operate(command) => self.operate(command, call, format).await,
            Command::Scenario(command) => self.scenario(command, format),
            Command::Local(command) => self.screen.data(&local::answer(command, format)),
        }
    }

    async fn write(&self, command: &Write, options: &Options, format: Format) -> Result<(), Problem> {
        let client = &self.client;
        let written = |done| self.answer(options, format, views::WRITTEN, views::written(&done));
        let held = |done| self.answer(options, format, views::HOLD_CHANGED, views::hold_changed(&done));
        match command {
            Write::Open(open) => written(client.open_account(wish(open), options).await?),
            Write::Deposit(Payment { account, amount }) => {
                written(client.deposit(account, amount, options).await?)
            }
            Write::Withdraw(Payment { account, amount }) => {
                written(client.withdraw(account, amount, options).await?)
            }
            Write::Interest(Interest { account, percent }) => {
                let done = client.add_interest(account, percent, options).await?;
                self.answer(options, format, views::INTEREST, views::interest(&done))
            }
            Write::Transfer(Transfer { from, to, amount }) => {
                let done = client.transfer(from, to, amount, options).await?;
                let printed = self.answer(options, format, views::TRANSFERRED, views::transferred(&done));
                if options.validate_only { printed } else { told(&done).and(printed) }
            }
            Write::Hold(Hold { account, amount, expires }) => {
                held(client.place_hold(account, amount, *expires, options).await?)
            }
            Write::Capture(Capture { hold, amount }) => {
                held(client.capture_hold(hold, amount.as_deref().unwrap_or_default(), options).await?)
            }
            Write::Release(OneHold { hold }) => held(client.release_hold(hold, options).await?),
            Write::Freeze(one) => self.give_state(one, None, AccountState::Frozen, options, format).await,
            Write::Close(one) => self.give_state(one, None, AccountState::Closed, options, format).await,
            Write::Unfreeze(one) => {
                self.give_state(one, Some(AccountState::Frozen), AccountState::Open, options, format).await
            }
            Write::Reopen(one) => {
                self.give_state(one, Some(AccountState::Closed), AccountState::Open, options, format).await
            }
        }
    }

    async fn give_state(
        &self,
        one: &StateOf,
        from: Option<AccountState>,
        state: AccountState,
        options: &Options,
        format: Format,
    ) -> Result<(), Problem> {
        let set = self.client.change_account_state(&one.account, from, state, options).await?;
        self.answer(options, format, views::STATE, views::state(&set))
    }

    async fn look(&self, command: &Look, call: &CallOptions, format: Format) -> Result<(), Problem> {
        let client = &self.client;
        match command {
            Look::Balance(OneAccount { account, read }) => {
                let balance = client.balance(account, &self.read_options(call, *read)).await?;
                self.screen.one(format, views::BALANCE, views::balance(&balance))
            }
            Look::Account(OneAccount { account, read }) => {
                let shown = client.account(account, &self.read_options(call, *read)).await?;
                self.screen.one(format, views::ACCOUNT, views::account_shown(&shown.account, &shown.seen))
            }
            Look::Accounts(accounts) => self.accounts(accounts, call, format).await,
            Look::Statement(statement) => self.statement(statement, call, format).await,
            Look::Holds(holds) => self.holds(holds, call, format).await,
            Look::HoldShow(HoldShow { hold, read }) => {
                let shown = client.hold(hold, &self.read_options(call, *read)).await?;
                self.screen.one(format, views::HOLD, views::hold_shown(&shown.hold, &shown.seen))
            }
            Look::Transfers(transfers) => self.transfers(transfers, call, format).await,
            Look::TransferShow(TransferShow { transfer, read }) => {
                let shown = client.transfer_shown(transfer, &self.read_options(call, *read)).await?;
                self.show_transfer(&shown.transfer, &shown.seen, format)
            }
            Look::Operation(Operation { id, read }) => {
                let operation = client.operation(id, &self.read_options(call, *read)).await?;
                self.screen.one(format, views::OPERATION, views::operation(&operation))
            }
            Look::Watch(watch) => self.watch(watch, call, format).await,
            Look::Export(wish) => self.export(wish, &self.options(call)).await,
        }
    }

    async fn operate(&self, command: &Operate, call: &CallOptions, format: Format) -> Result<(), Problem> {
        match command {
            Operate::Status => self.status(call, format).await,
            Operate::Replica(replica) => {
                self.change(&replica.change, call).await?;
                match self.status(call, format).await {
                    Err(Problem::Failure(failure)) => {
                        let what =
                            format!("the change is done; how the branch is now cannot be read: {failure}");
                        self.screen.warning(&what, format);
                        Ok(())
                    }
                    printed => self.printed(printed, format),
                }
            }
            Operate::TransferResolve(TransferResolve { transfer, abort: _ }) => {
                let transfer = self.client.abort_transfer(transfer, &self.options(call)).await?;
                self.printed(self.screen.one(format, views::TRANSFERS, views::transfer(&transfer)), format)
            }
            Operate::Audit(audit) => self.audit(audit, &self.options(call), format).await,
            Operate::Bench(bench) => self.bench(bench, format),
        }
    }

    fn scenario(&self, command: &Scenario, format: Format) -> Result<(), Problem> {
        let told = match command {
            Scenario::Run(wish)
                if !self.free_input && wish.files.iter().any(|file| file.as_os_str() == "-") =>
            {
                let message = "standard input gives the commands here; name the scenario file";
                return Err(Failure::new(Reason::ArgumentInvalid, message).into());
            }
            Scenario::Run(wish) => {
                let told = self.scenarios.run(wish, self.keep_going)?;
                self.screen.message(&told.messages);
                self.printed(self.screen.data(&told.data), format)?;
                return self.failed(told, format);
            }
            Scenario::CheckTrace(wish) => self.scenarios.check_trace(&wish.folder, format.is_json())?,
            Scenario::Diagram(wish) => self.scenarios.diagram(&wish.folder, wish.file(), wish.format)?,
        };
        self.told(told, format)
    }

    fn show_transfer(&self, transfer: &client::Transfer, seen: &Seen, format: Format) -> Result<(), Problem> {
        if !format.is_table() {
            return self.screen.one(format, views::TRANSFER, views::transfer_shown(transfer, seen));
        }
        self.screen.one(format, views::TRANSFERS, views::transfer(transfer))?;
        self.screen.data(&Printer::new(format, Shape::List, views::PHASE).rows(views::phases(transfer)))
    }

    async fn status(&self, call: &CallOptions, format: Format) -> Result<(), Problem> {
        let status = self.client.branch_status(&self.options(call)).await?;
        self.screen.one(format, views::STATUS, views::status(&status))
    }

    async fn change(&self, change: &ReplicaChange, call: &CallOptions) -> Result<(), Problem> {
        let options = self.options(call);
        let done = match change {
            ReplicaChange::Add { id, address } => self.client.add_replica(*id, address, &options).await,
            ReplicaChange::Promote { id } => self.client.promote_replica(*id, &options).await,
            ReplicaChange::Remove { id, lose_history } => {
                self.client.remove_replica(*id, *lose_history, &options).await
            }
            ReplicaChange::Lead { id } => self.client.transfer_leadership(*id, &options).await,
        };
        Ok(done?)
    }

    /// The options of a write, named before it is sent.
    fn write_options(&self, call: &CallOptions) -> Options {
        let request_id = call.request_id.clone().or_else(|| self.defaults.request_id.clone());
        let request_id = request_id.unwrap_or_else(Client::new_request_id);
        self.writes.begin(&request_id);
        Options {
            request_id: Some(request_id),
            validate_only: call.validate_only || self.defaults.validate_only,
            ..self.options(call)
        }
    }

    fn read_options(&self, call: &CallOptions, read: ReadOptions) -> Options {
        let consistency = read.consistency.map(|freshness| match freshness {
            Freshness::Linearizable => client::Consistency::Linearizable,
            Freshness::Session => client::Consistency::Session,
            Freshness::Stale => client::Consistency::Stale,
        });
        Options { consistency, ..self.options(call) }
    }

    fn options(&self, call: &CallOptions) -> Options {
        Options {
            session_token: call.session_token.clone(),
            timeout: call.timeout.or(self.defaults.timeout),
            ..Options::default()
        }
    }

    async fn watch(&self, wish: &Watch, call: &CallOptions, format: Format) -> Result<(), Problem> {
        if wish.switch.is_some() {
            let message = "watch on and watch off belong to a conversation; `watch` alone shows operations until Ctrl-C";
            return Err(Failure::new(Reason::ArgumentInvalid, message).into());
        }
        let account = wish.account.as_deref().unwrap_or_default();
        let mut feed = self.client.watch(wish.from.unwrap_or(0), account, &self.options(call));
        let mut printer = Printer::new(format, Shape::Feed, views::WATCH);
        let mut left = wish.limit.unwrap_or(u64::MAX);
        while left > 0 {
            let mut records = feed.next().await?.records;
            records.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= records.len() as u64;
            let text = match format {
                Format::Table(_) => records.iter().map(|record| views::sentence(record) + "\n").collect(),
                Format::Plain | Format::Json | Format::Jsonl | Format::Csv => {
                    printer.rows(records.iter().map(views::record).collect())
                }
            };
            self.screen.data(&text)?;
        }
        Ok(())
    }

    /// Passes on what a command about scenarios says.
    fn told(&self, told: Told, format: Format) -> Result<(), Problem> {
        self.screen.message(&told.messages);
        self.screen.data(&told.data)?;
        self.failed(told, format)
    }

    /// Says what failed; the worst of it is how the command ends.
    fn failed(&self, told: Told, format: Format) -> Result<(), Problem> {
        let mut exit = told.exit;
        for problem in told.failures.into_iter().map(Problem::from) {
            self.screen.problem(&problem, format, None)?;
            if problem.exit() as u8 > exit as u8 {
                exit = problem.exit();
            }
        }
        ended(exit)
    }

    /// Measures until it is done or interrupted; a report that is not good is a problem already told.
    fn bench(&self, wish: &BenchArgs, format: Format) -> Result<(), Problem> {
        let report = bench::run(wish, &self.servers)?;
        let text = match format {
            Format::Table(_) | Format::Plain => report.to_text(),
            Format::Json | Format::Jsonl => format!("{}\n", report.to_json()),
            Format::Csv => sheet::csv_of_object(&report.to_json()),
        };
        let printed = self.printed(self.screen.data(&text), format);
        ended(report.exit()).and(printed)
    }
}

/// A command whose data says why its exit code is not 0.
fn ended(exit: Exit) -> Result<(), Problem> {
    if exit == Exit::Done { Ok(()) } else { Err(Problem::Told(exit)) }
}

fn wish(open: &Open) -> NewAccount<'_> {
    NewAccount {
        account: open.number.as_deref().unwrap_or_default(),
        name: open.name.as_deref().unwrap_or_default(),
        deposit: open.deposit.as_deref().unwrap_or_default(),
        overdraft_limit: open.overdraft.as_deref().unwrap_or_default(),
    }
}

/// A transfer that has not moved the money ends the command with the exit code that says why.
fn told(done: &client::Transferred) -> Result<(), Problem> {
    let failure = match done.state {
        TransferState::Committed | TransferState::Unknown => return Ok(()),
        TransferState::Aborted => {
            let reason = Reason::named(&done.reason).unwrap_or(Reason::TransferFinal);
            Failure::new(reason, format!("no money moved: {}", done.message))
        }
        TransferState::Pending => Failure::new(
            Reason::OutcomeUnknown,
            format!(
                "transfer {} is not decided yet, {}; `transfer-show {}` follows it",
                done.transfer, done.message, done.transfer
            ),
        ),
    };
    let named = failure.with("transfer", &done.transfer).with("request_id", &done.named.request_id);
    Err(if done.named.replayed { named.replayed() } else { named }.into())
}
