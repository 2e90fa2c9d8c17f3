//! Running commands: each becomes calls of the client, and their answers sheets on the screen.
//!
//! Invariant: every write has its request id before it is sent, so that its outcome can be asked for
//! whatever interrupts it, and so that a conversation recognises its own operations in the live feed.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::{self, Client, Config, EntryOrder, NewAccount, Options, Page};
use crate::model::{Exit, Failure, Reason, Timestamp};

use super::bench::{self, BenchArgs};
use super::grammar::{
    Accounts, AsOf, CallOptions, Command, Freshness, OneAccount, Open, Operation, ProcessOptions,
    ReadOptions, ReplicaChange, Statement, Watch,
};
use super::local;
use super::problem::Problem;
use super::scenario_args::{Scenarios, Told};
use super::screen::Screen;
use super::session_file::SessionFile;
use super::sheet::{self, Cell, Column, Format, Printer, Shape};
use super::views;

/// Largest page that is asked for; also what one table holds.
const PAGE: u64 = 1_000;
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
        let client = Client::new(&Config::new(&servers))?;
        let session_file = match &process.session {
            Some(path) => {
                let (file, token) = SessionFile::open(path).map_err(Problem::Files)?;
                client.resume_session(&token)?;
                Some(file)
            }
            None => None,
        };
        client.resume_session(defaults.session_token.as_deref().unwrap_or_default())?;
        Ok(Runner { client, screen, writes: Writes::default(), defaults, servers, session_file, scenarios })
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
        if let Some(text) = local::answer(command, format) {
            return self.screen.data(&text);
        }
        let done = self.ask(command, call, format).await;
        self.writes.end();
        done?;
        match &mut self.session_file {
            Some(file) => file.keep(&self.client.session_token()).map_err(Problem::Files),
            None => Ok(()),
        }
    }

    async fn ask(&self, command: &Command, call: &CallOptions, format: Format) -> Result<(), Problem> {
        let client = &self.client;
        match command {
            Command::Open(open) => {
                let done = client.open_account(wish(open), &self.write(call)).await?;
                self.screen.one(format, views::WRITTEN, views::written(&done))
            }
            Command::Deposit(payment) => {
                let done = client.deposit(&payment.account, &payment.amount, &self.write(call)).await?;
                self.screen.one(format, views::WRITTEN, views::written(&done))
            }
            Command::Withdraw(payment) => {
                let done = client.withdraw(&payment.account, &payment.amount, &self.write(call)).await?;
                self.screen.one(format, views::WRITTEN, views::written(&done))
            }
            Command::Interest(interest) => {
                let (account, percent) = (&interest.account, &interest.percent);
                let done = client.add_interest(account, percent, &self.write(call)).await?;
                self.screen.one(format, views::INTEREST, views::interest(&done))
            }
            Command::Transfer(transfer) => {
                let options = self.write(call);
                let done = client.transfer(&transfer.from, &transfer.to, &transfer.amount, &options).await?;
                self.screen.one(format, views::TRANSFER, views::transferred(&done))
            }
            Command::Balance(OneAccount { account, read }) => {
                let balance = client.balance(account, &self.read(call, *read)).await?;
                self.screen.one(format, views::BALANCE, views::balance(&balance))
            }
            Command::Account(OneAccount { account, read }) => {
                let shown = client.account(account, &self.read(call, *read)).await?;
                self.screen.one(format, views::ACCOUNT, views::account_shown(&shown.account, &shown.seen))
            }
            Command::Accounts(accounts) => self.accounts(accounts, call, format).await,
            Command::Statement(statement) => self.statement(statement, call, format).await,
            Command::Watch(watch) => self.watch(watch, call, format).await,
            Command::Operation(Operation { id, read }) => {
                let operation = client.operation(id, &self.read(call, *read)).await?;
                self.screen.one(format, views::OPERATION, views::operation(&operation))
            }
            Command::Status => self.status(call, format).await,
            Command::Replica(replica) => {
                self.change(&replica.change, call).await?;
                self.status(call, format).await
            }
            Command::Bench(bench) => self.bench(bench, format),
            Command::Run(wish) => self.told(self.scenarios.run(wish)?),
            Command::CheckTrace(wish) => {
                self.told(self.scenarios.check_trace(&wish.folder, format.is_json())?)
            }
            Command::Diagram(wish) => {
                self.told(self.scenarios.diagram(&wish.folder, wish.file(), wish.format)?)
            }
            Command::Errors(_) | Command::Version | Command::Completions(_) | Command::Man => Ok(()),
        }
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
    fn write(&self, call: &CallOptions) -> Options {
        let request_id = call.request_id.clone().or_else(|| self.defaults.request_id.clone());
        let request_id = request_id.unwrap_or_else(Client::new_request_id);
        self.writes.begin(&request_id);
        Options {
            request_id: Some(request_id),
            validate_only: call.validate_only || self.defaults.validate_only,
            ..self.options(call)
        }
    }

    fn read(&self, call: &CallOptions, read: ReadOptions) -> Options {
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

    async fn accounts(&self, list: &Accounts, call: &CallOptions, format: Format) -> Result<(), Problem> {
        let options = self.read(call, list.read);
        let mut listing = Listing::new(format, views::ACCOUNTS, list.limit);
        while let Some(size) = listing.next_page() {
            let page = Page { size, token: &listing.token };
            let page = self.client.accounts(page, &options).await?;
            let rows = page.accounts.iter().map(views::account).collect();
            self.screen.data(&listing.page(rows, page.next_page_token))?;
        }
        self.screen.data(&listing.end())
    }

    async fn statement(&self, wish: &Statement, call: &CallOptions, format: Format) -> Result<(), Problem> {
        let options = self.read(call, wish.read);
        let order = if wish.oldest_first { EntryOrder::OldestFirst } else { EntryOrder::NewestFirst };
        let as_of = match wish.as_of {
            None => client::AsOf::Now,
            Some(AsOf::Sequence(sequence)) => client::AsOf::Sequence(sequence),
            Some(AsOf::Time(time)) => {
                client::AsOf::Time(Timestamp::from_micros(u64::try_from(time.as_microsecond()).unwrap_or(0)))
            }
        };
        let mut listing = Listing::new(format, views::STATEMENT, Some(wish.limit));
        while let Some(size) = listing.next_page() {
            let page = Page { size, token: &listing.token };
            let statement = client::Statement { account: &wish.account, order, as_of, page };
            let page = self.client.entries(statement, &options).await?;
            let rows = page.entries.iter().map(views::entry).collect();
            self.screen.data(&listing.page(rows, page.next_page_token))?;
        }
        self.screen.data(&listing.end())
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
                Format::Table => records.iter().map(|record| views::sentence(record) + "\n").collect(),
                Format::Plain | Format::Json | Format::Jsonl | Format::Csv => {
                    printer.rows(records.iter().map(views::record).collect())
                }
            };
            self.screen.data(&text)?;
        }
        Ok(())
    }

    /// Passes on what a command about scenarios says.
    fn told(&self, told: Told) -> Result<(), Problem> {
        self.screen.message(&told.messages);
        self.screen.data(&told.data)?;
        if told.exit == Exit::Done { Ok(()) } else { Err(Problem::Told(told.exit)) }
    }

    /// Measures until it is done or interrupted; a report that is not good is a problem already told.
    fn bench(&self, wish: &BenchArgs, format: Format) -> Result<(), Problem> {
        let report = bench::run(wish, &self.servers)?;
        self.screen.data(&match format {
            Format::Table | Format::Plain => report.to_text(),
            Format::Json | Format::Jsonl => format!("{}\n", report.to_json()),
            Format::Csv => sheet::csv_of_object(&report.to_json()),
        })?;
        let exit = report.exit();
        if exit == Exit::Done { Ok(()) } else { Err(Problem::Told(exit)) }
    }
}

fn wish(open: &Open) -> NewAccount<'_> {
    NewAccount {
        account: open.number.as_deref().unwrap_or_default(),
        name: open.name.as_deref().unwrap_or_default(),
        deposit: open.deposit.as_deref().unwrap_or_default(),
        overdraft_limit: open.overdraft.as_deref().unwrap_or_default(),
    }
}

/// A list over its pages.
struct Listing {
    printer: Printer,
    /// How many rows are still wanted.
    left: u64,
    /// Where to go on.
    token: String,
    begun: bool,
}

impl Listing {
    fn new(format: Format, columns: &'static [Column], limit: Option<u64>) -> Listing {
        Listing {
            printer: Printer::new(format, Shape::List, columns),
            left: limit.unwrap_or(u64::MAX),
            token: String::new(),
            begun: false,
        }
    }

    /// The size of the next page to ask for; `None` at the end. The first page is asked for even when no
    /// row is wanted, so that a wrong account is refused.
    fn next_page(&self) -> Option<i32> {
        let more = !self.begun || (self.left > 0 && !self.token.is_empty());
        more.then(|| i32::try_from(self.left.clamp(1, PAGE)).unwrap_or(i32::MAX))
    }

    fn page(&mut self, mut rows: Vec<Vec<Cell>>, token: String) -> String {
        rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.begun = true;
        self.left -= rows.len() as u64;
        self.token = token;
        self.printer.rows(rows)
    }

    fn end(&mut self) -> String {
        self.printer.end()
    }
}
