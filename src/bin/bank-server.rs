//! `bank-server`: parse, call, print.

#[path = "bank-server/from_scenario.rs"]
mod from_scenario;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use bank::cli::{completion_script, naming_environment};
use bank::model::{AccountNumber, BranchName, Failure, Reason, ReplicaId};
use bank::scenario::diagram::{Diagram, DiagramFormat};
use bank::scenario::report::{BRANCH_OUTPUTS, CUSTOMER_OUTPUTS, EVENT_OUTPUTS, Spelling, outputs};
use bank::scenario::{self, Stage, TraceFiles, input};
use bank::server::{
    self, Config, DirectoryError, LocalCluster, LocalConfig, MOST_THREADS, Played, Player, Report, Server,
    ServerError, collect_routes, parse_route, read_routes, start_traffic, tour,
};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use futures::future::select_all;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use from_scenario::FromScenario;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged when `RUST_LOG` does not say. openraft calls normal things errors, a peer that starts later for example;
/// what people should know the bank says itself.
const USUAL_LOG: &str = "warn,openraft=off";
/// Exit code of a call that must be corrected.
const WRONG_CALL: u8 = 2;
/// Exit code of a check that said no.
const CHECK_FAILED: u8 = 8;

/// Serves one branch of the bank over gRPC.
#[derive(Parser)]
#[command(name = "bank-server", version, about, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
    /// Name or address to listen on
    #[arg(value_name = "HOST")]
    host_argument: Option<String>,
    /// Port to listen on; 0 takes a free one
    #[arg(value_name = "PORT", value_parser = port)]
    port_argument: Option<u16>,
    /// Threads that serve calls
    #[arg(value_name = "THREADS", value_parser = threads)]
    threads_argument: Option<NonZeroUsize>,
    /// The same as HOST
    #[arg(long, value_name = "HOST", env = "BANK_HOST", default_value = "127.0.0.1")]
    host: String,
    /// The same as PORT
    #[arg(long, value_name = "PORT", env = "BANK_PORT", value_parser = port, default_value = "9001")]
    port: u16,
    /// The same as THREADS
    #[arg(long, value_name = "THREADS", env = "BANK_THREADS", value_parser = threads, default_value = "4")]
    threads: NonZeroUsize,
    /// Name of the branch served here
    #[arg(long, value_name = "NAME", env = "BANK_BRANCH", value_parser = branch, default_value = "main")]
    branch: BranchName,
    /// Directory for the data; without one it is kept in memory and lost on exit
    #[arg(long, value_name = "DIR", env = "BANK_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Which replica of the branch this server is
    #[arg(long, value_name = "N", env = "BANK_REPLICA", value_parser = replica, default_value = "1")]
    replica: ReplicaId,
    /// The replicas that form the branch, like 1=HOST:PORT,2=HOST:PORT,3=HOST:PORT; the same list for each
    #[arg(long, value_name = "LIST", env = "BANK_PEERS", value_parser = peers, default_value = "", hide_default_value = true)]
    peers: Peers,
    /// Let replicas of a group keep their data in memory; one that ends never comes back under its number
    #[arg(long, env = "BANK_EPHEMERAL", conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Where the other replicas reach this one, when that is not what the list of peers says
    #[arg(long, value_name = "HOST:PORT", env = "BANK_ADVERTISE")]
    advertise: Option<String>,
    /// Open accounts 1001 and 1002 with 1000.00 each if the branch has no accounts
    #[arg(long, env = "BANK_PRELOAD")]
    preload: bool,
    /// Where the servers of another branch are, like delhi=HOST:PORT,HOST:PORT; once for each branch
    #[arg(long = "route", value_name = "ROUTE", env = "BANK_ROUTE", value_parser = parse_route, value_delimiter = ';')]
    routes: Vec<(BranchName, Vec<String>)>,
    /// A file of routes, one on each line
    #[arg(long, value_name = "FILE", env = "BANK_CONFIG")]
    config: Option<PathBuf>,
    /// Keep a logical clock and record the events of calls that are traced
    #[arg(long, env = "BANK_TRACE_EVENTS")]
    trace_events: bool,
    /// The account of older branch clients (Branch.MsgDelivery); opened when it is first used
    #[arg(long, value_name = "N", env = "BANK_BRANCH_ACCOUNT", value_parser = account)]
    branch_account: Option<AccountNumber>,
    /// A name by which browsers may call this server over HTTP, besides HOST and localhost; several with commas
    #[arg(long, value_name = "NAME", env = "BANK_HTTP_HOST", value_delimiter = ',')]
    http_host: Vec<String>,
    /// Serve also the form-encoded calls of the older REST bridge, like POST /balance
    #[arg(long, env = "BANK_COMPAT_REST")]
    compat_rest: bool,
    /// Let whoever opens the dashboard play scenario files; each run starts a cluster of its own in this process
    #[arg(long, env = "BANK_LAB")]
    lab: bool,
}

/// What the program does instead of serving.
#[derive(Subcommand)]
enum Task {
    /// Check a data directory that no server uses, and print what it holds; never writes
    #[command(
        after_help = "Exit code 0: all is well; 8: something is damaged or missing, file and byte are named."
    )]
    Verify {
        /// The data directory
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Serve the branches of a scenario file in this process, in memory, for customers' programs of older courses
    FromScenario(FromScenario),
    /// Run two branches in this process, one of three replicas and one of one, in memory, until Ctrl-C
    Demo {
        /// Name of the branch of three replicas
        #[arg(long, value_name = "NAME", value_parser = branch, default_value = "mumbai")]
        branch: BranchName,
        /// Name of the other branch
        #[arg(long, value_name = "NAME", value_parser = branch, default_value = "delhi")]
        other: BranchName,
        /// Port of the first replica, where bank-client looks for a server; 0 takes a free one
        #[arg(long, value_name = "PORT", value_parser = port, default_value = "9001")]
        port: u16,
        /// Leave the accounts alone; without it a few customers move money all the time
        #[arg(long)]
        no_traffic: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

/// What was asked for.
enum Call {
    Serve(Box<Config>),
    Do(Task),
}

/// The replicas of a branch and where they are reached.
type Peers = BTreeMap<ReplicaId, String>;

const AFTER_HELP: &str = "Logs go to standard error; RUST_LOG=info says more.";

fn replica(text: &str) -> Result<ReplicaId, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(ReplicaId(number)),
        Ok(_) | Err(_) => Err("replicas are numbered from 1".to_owned()),
    }
}

fn peers(text: &str) -> Result<Peers, String> {
    let mut peers = Peers::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (id, address) = part
            .split_once('=')
            .map(|(id, address)| (id.trim(), address.trim()))
            .filter(|(_, address)| {
                address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
            })
            .ok_or_else(|| format!("{part:?} is not N=HOST:PORT"))?;
        if peers.insert(replica(id)?, address.to_owned()).is_some() {
            return Err(format!("replica {id} is there twice"));
        }
    }
    Ok(peers)
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned())
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|threads: &NonZeroUsize| threads.get() <= MOST_THREADS)
        .ok_or_else(|| format!("the number of threads is from 1 to {MOST_THREADS}"))
}

fn account(text: &str) -> Result<AccountNumber, bank::model::IdError> {
    text.parse()
}

fn branch(text: &str) -> Result<BranchName, bank::model::IdError> {
    text.parse()
}

/// Reads the arguments; what stands in its place goes before a flag, a flag before the environment.
fn parse() -> Result<Call, clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    for (place, flag) in
        [("host_argument", "host"), ("port_argument", "port"), ("threads_argument", "threads")]
    {
        if matches.contains_id(place) && matches.value_source(flag) == Some(ValueSource::CommandLine) {
            let message = format!("{} is given twice, in its place and as --{flag}", flag.to_uppercase());
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, message));
        }
    }
    let cli = Cli::from_arg_matches(&matches)?;
    if let Some(task) = cli.task {
        return Ok(Call::Do(task));
    }
    let wrong = |what: String| Err(Cli::command().error(ErrorKind::ValueValidation, what));
    if !cli.peers.is_empty() && !cli.peers.contains_key(&cli.replica) {
        return wrong(format!(
            "the list of peers does not name replica {}, which this server is",
            cli.replica
        ));
    }
    if !cli.peers.is_empty() && cli.data_dir.is_none() && !cli.ephemeral {
        let what = "replicas keep their data: give --data-dir DIR, or --ephemeral for replicas in memory";
        return wrong(what.to_owned());
    }
    let listed = cli.config.as_deref().map_or_else(|| Ok(Vec::new()), read_routes);
    let listed = listed.map_err(|what| Cli::command().error(ErrorKind::ValueValidation, what))?;
    let routes = match collect_routes(&cli.branch, cli.routes.into_iter().chain(listed)) {
        Ok(routes) => routes,
        Err(what) => return wrong(what),
    };
    // What is above a directory that is not there yet must be one, too.
    if let Some(folder) = &cli.data_dir
        && let Some(there) = folder.ancestors().find(|path| path.exists())
        && !there.is_dir()
    {
        return wrong(format!("--data-dir {}: {} is not a directory", folder.display(), there.display()));
    }
    let plain = Config::new(cli.branch);
    Ok(Call::Serve(Box::new(Config {
        host: cli.host_argument.unwrap_or(cli.host),
        port: cli.port_argument.unwrap_or(cli.port),
        threads: cli.threads_argument.unwrap_or(cli.threads),
        branch: plain.branch,
        data_dir: cli.data_dir,
        replica: cli.replica,
        peers: cli.peers,
        advertise: cli.advertise,
        preload: cli.preload,
        trace_events: cli.trace_events,
        branch_account: cli.branch_account,
        branch_id: plain.branch_id,
        routes,
        player: cli.lab.then(player),
        http_hosts: cli.http_host,
        election: plain.election,
        compat_rest: cli.compat_rest,
        limits: plain.limits,
    })))
}

fn main() -> ExitCode {
    let call = match parse() {
        Ok(call) => call,
        Err(error) if error.use_stderr() => return complain(error),
        Err(help) => {
            // Nobody is left to tell that standard output is closed.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Err(_) => EnvFilter::new(USUAL_LOG),
        Ok(wish) => match EnvFilter::try_new(if wish.is_empty() { USUAL_LOG } else { &wish }) {
            Ok(filter) => filter,
            Err(error) => {
                return refuse(&format!("the environment variable {}: {error}", EnvFilter::DEFAULT_ENV));
            }
        },
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    match call {
        Call::Do(Task::Verify { folder }) => verify(&folder),
        Call::Do(Task::Demo { branch, other, .. }) if branch == other => {
            refuse(&format!("both branches are called {branch}; give them different names"))
        }
        Call::Do(Task::Demo { branch, other, port, no_traffic }) => {
            demo([&branch, &other], port, !no_traffic)
        }
        Call::Do(Task::Completions { shell }) => {
            print(&completion_script(&mut without_places(&Cli::command()), shell));
            ExitCode::SUCCESS
        }
        Call::Do(Task::FromScenario(task)) => task.serve(),
        Call::Serve(config) => serve(&config),
    }
}

fn serve(config: &Config) -> ExitCode {
    // Before anything is announced, so that whoever reads the announcement can stop the server in order.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen to signals: {error}")),
    };
    let server = match server::start(config) {
        Ok(server) => server,
        Err(error) => return ended(Err(error)),
    };
    announce(&server, config);
    let shutdown = server.shutdown();
    let _asked = signals.wait(std::slice::from_ref(&shutdown));
    shutdown.cancel();
    ended(server.wait())
}

/// The exit code of a server that did not start, or that ended.
fn ended(end: Result<(), ServerError>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (ServerError::Host { .. } | ServerError::Address { .. } | ServerError::Refused(_))) => {
            refuse(&error.to_string())
        }
        Err(error @ (ServerError::Branch(_) | ServerError::Thread(_))) => fail(&error.to_string()),
    }
}

fn verify(folder: &Path) -> ExitCode {
    if !folder.is_dir() {
        return refuse(&format!("{} is not a directory", folder.display()));
    }
    match server::verify(folder) {
        Ok(report) => {
            print(&told(folder, &report));
            ExitCode::SUCCESS
        }
        Err(DirectoryError::Damaged { file, offset, what }) => {
            wrong(folder, &format!("{file}: damaged at byte {offset}: {what}"))
        }
        Err(DirectoryError::Missing { file }) => wrong(folder, &format!("{file}: missing")),
        Err(error @ DirectoryError::Failed(_)) => fail(&error.to_string()),
        Err(error) => refuse(&error.to_string()),
    }
}

fn wrong(folder: &Path, what: &str) -> ExitCode {
    eprintln!("bank-server: {}: {what}", folder.display());
    ExitCode::from(CHECK_FAILED)
}

/// What a data directory holds, a line for each thing.
fn told(folder: &Path, report: &Report) -> String {
    let ledger = report.ledger.map_or_else(|| "none yet".to_owned(), |ledger| ledger.to_string());
    let audit = &report.audit;
    let mut lines = vec![
        ("directory", folder.display().to_string()),
        ("identity", report.identity.to_string()),
        ("ledger", ledger),
        ("snapshot", format!("up to sequence {}", report.snapshot)),
        (
            "log",
            format!(
                "{} entries, {} committed behind the snapshot, {} undecided and not replayed",
                report.log_entries, report.replayed, report.undecided
            ),
        ),
        ("journal", format!("sequence {} to {}", report.journal_first, report.journal_last)),
        ("accounts", audit.accounts.to_string()),
        ("books", format!("customers {}, cash {}, interest {}", audit.customers, audit.cash, audit.interest)),
    ];
    let due = audit.clearing.iter();
    lines.extend(due.map(|(branch, with)| {
        ("clearing", format!("due to {branch} {}, due from {branch} {}", with.due_to, with.due_from))
    }));
    lines.extend([
        ("held", format!("{} by {} holds and by transfers without a decision", audit.held, audit.holds)),
        ("open", format!("{} transfers, {} credits", audit.transfers, audit.credits)),
        ("sequence", report.sequence.to_string()),
        ("digest", report.digest.to_string()),
    ]);
    lines.into_iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

fn demo(names: [&BranchName; 2], port: u16, traffic: bool) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen to signals: {error}")),
    };
    let [first, second] = names.map(|name| LocalConfig {
        player: Some(player()),
        preload: true,
        ..LocalConfig::new(name.clone())
    });
    let clusters = match LocalCluster::several(&[
        LocalConfig { ports: vec![port], ..first },
        LocalConfig { replicas: NonZeroUsize::MIN, ..second },
    ]) {
        Ok(clusters) => clusters,
        Err(error) => return ended(Err(error)),
    };
    let addresses: Vec<Vec<SocketAddr>> =
        clusters.iter().map(|cluster| cluster.addresses().collect()).collect();
    print(&tour(names, &addresses, traffic));
    if traffic && let Err(error) = start_traffic(names, &addresses) {
        return ended(Err(error));
    }
    let servers: Vec<CancellationToken> = clusters.iter().flat_map(LocalCluster::shutdowns).collect();
    if signals.wait(&servers) {
        // What is in memory ends with the process; handing the lead over first would be for nobody.
        std::process::exit(0);
    }
    let ends: Vec<_> = clusters.into_iter().map(LocalCluster::stop).collect();
    ended(ends.into_iter().collect())
}

/// Whether a scenario of the dashboard is being played; one at a time, because each is a cluster of its own.
static PLAYING: AtomicBool = AtomicBool::new(false);
/// Most branches of a scenario that the dashboard plays; each is a server in this process.
const PLAYED_BRANCHES: usize = 16;
/// Most events of a scenario that the dashboard plays.
const PLAYED_EVENTS: usize = 2_000;

/// What plays the scenario files of the dashboard.
fn player() -> Player {
    Player::new(|file| Box::pin(play(file)))
}

/// Plays a scenario file of the dashboard, on a thread that may block.
async fn play(file: Vec<u8>) -> Result<Played, Failure> {
    let played = tokio::task::spawn_blocking(move || {
        let _turn = Turn::take()?;
        play_now(&file)
    });
    played.await.unwrap_or_else(|_| {
        Err(Failure::new(Reason::Internal, "the run stopped by a mistake of the program"))
    })
}

/// The right to play, given back when the run has ended, whether or not anybody still waits for it.
struct Turn;

impl Turn {
    fn take() -> Result<Turn, Failure> {
        if PLAYING.swap(true, Ordering::AcqRel) {
            let message = "another scenario is being played; wait until it has ended";
            return Err(Failure::new(Reason::Overloaded, message));
        }
        Ok(Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        PLAYING.store(false, Ordering::Release);
    }
}

fn play_now(file: &[u8]) -> Result<Played, Failure> {
    let (plan, warnings) = input::read(file, input::Options::default())?;
    if plan.branches.len() > PLAYED_BRANCHES || plan.events() > PLAYED_EVENTS {
        let message = format!(
            "the dashboard plays at most {PLAYED_BRANCHES} branches and {PLAYED_EVENTS} events; use bank-client run"
        );
        return Err(Failure::new(Reason::ScenarioInvalid, message));
    }
    let replicas = NonZeroUsize::new(plan.branches.len()).unwrap_or(NonZeroUsize::MIN);
    let branch = "scenario".parse::<BranchName>().map_err(Failure::from)?;
    let config = LocalConfig { replicas, trace_events: plan.is_traced(), ..LocalConfig::new(branch) };
    let no_cluster = |error: ServerError| {
        Failure::new(Reason::Internal, format!("the cluster of the scenario does not run: {error}"))
    };
    let cluster = LocalCluster::of(&config).map_err(no_cluster)?;
    let servers = cluster.addresses().map(|address| address.to_string()).collect();
    let stage = Stage { servers, concurrent: false, seed: None };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Reason::Internal, format!("no runtime: {error}")))?;
    let run = runtime.block_on(scenario::play(&plan, &stage, &|_| ()));
    // Its connections end with it; the cluster would wait for them.
    drop(runtime);
    cluster.stop().map_err(no_cluster)?;
    let run = run.map_err(|error| Failure::new(Reason::Internal, error.to_string()))?;
    let outputs = outputs(&plan, &run, Spelling::Propagate);
    let files: Vec<(String, String)> =
        outputs.iter().map(|output| (output.name.to_owned(), output.to_string())).collect();
    Ok(Played {
        format: plan.dialect.tag().to_owned(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        diagram: diagram(&files),
        files,
    })
}

/// The space-time diagram of a run whose outputs have clocks.
fn diagram(files: &[(String, String)]) -> Option<String> {
    let file = |name| files.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_bytes());
    let trace = TraceFiles {
        customers: file(CUSTOMER_OUTPUTS)?,
        branches: file(BRANCH_OUTPUTS)?,
        events: file(EVENT_OUTPUTS)?,
    };
    Diagram::new(trace, DiagramFormat::Svg).ok().map(|diagram| diagram.to_string())
}

fn announce(server: &Server, config: &Config) {
    let (address, threads, branch) = (server.address(), config.threads, &config.branch);
    let plural = if threads.get() == 1 { "" } else { "s" };
    let storage = match &config.data_dir {
        Some(folder) => format!("storage {}", folder.display()),
        None => "storage memory: data is lost on exit".to_owned(),
    };
    let replica = match config.peers.len() {
        0 => String::new(),
        count => format!(", replica {} of {count}", config.replica),
    };
    print(&format!(
        "bank-server listening on {address} with {threads} thread{plural}, branch {branch}{replica}, {storage}\n"
    ));
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A server whose standard output is closed serves all the same.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Ctrl-C and SIGTERM.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let _entered = runtime.enter();
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate, runtime })
    }

    /// Waits for a signal, or for one of the servers to end by itself; whether it was a signal.
    fn wait(mut self, servers: &[CancellationToken]) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => true,
                _ = self.terminate.recv() => true,
                _ = select_all(servers.iter().map(|server| Box::pin(server.cancelled()))) => false,
            }
        })
    }
}

/// The grammar without the arguments that stand in a place: they have nothing to complete, and the completions of zsh
/// would expect a task behind them only.
fn without_places(program: &clap::Command) -> clap::Command {
    clap::Command::new(program.get_name().to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .args(program.get_arguments().filter(|arg| !arg.is_positional()).cloned())
        .subcommands(program.get_subcommands().cloned())
}

/// Says what is wrong with the call: a wrong value in one line, everything else with what the parser advises.
fn complain(error: clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let error = naming_environment(&mut Cli::command(), error, &words);
    if error.kind() == ErrorKind::ValueValidation {
        return refuse(&first_line(&error));
    }
    // Nobody is left to tell that standard error is closed.
    let _ = error.print();
    ExitCode::from(WRONG_CALL)
}

/// What clap says, in one line: its text up to the first empty line.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("bank-server: {message}");
    ExitCode::from(WRONG_CALL)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("bank-server: {message}");
    ExitCode::FAILURE
}
