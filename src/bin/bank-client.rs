//! `bank-client`: talks to a bank server, and puts scenarios, their clusters and the command line together.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bank::cli::{self, RunArgs, Told};
use bank::model::{BranchName, Exit, Failure, Reason};
use bank::scenario::check::check;
use bank::scenario::diagram::{Diagram, DiagramFormat, NotDrawn};
use bank::scenario::files::{STANDARD_INPUT, TraceFolder, folders, read_scenario, write_together};
use bank::scenario::report::{Output, Spelling, outputs};
use bank::scenario::{Dialect, Plan, Played, RunError, Stage, Untraced, input, play};
use bank::server::{LocalCluster, LocalConfig, ServerError};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The name of the branch that a scenario's cluster has.
const BRANCH: &str = "scenario";
/// From how many events on a run shows how far it is.
const LONG: usize = 500;
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    cli::main(&Scenarios)
}

/// The commands about scenarios.
struct Scenarios;

impl cli::Scenarios for Scenarios {
    fn run(&self, wish: &RunArgs, keep_going: bool) -> Result<Told, Failure> {
        let folders = match wish.files.as_slice() {
            [_] => vec![wish.out.clone()],
            several => folders(&wish.out, several)?,
        };
        let (mut data, mut failures) = (String::new(), Vec::new());
        for (file, folder) in wish.files.iter().zip(&folders) {
            match run_one(file, folder, wish) {
                Ok(written) => data += &written,
                Err(failure) => failures.push(failure),
            }
            if !failures.is_empty() && !keep_going {
                break;
            }
        }
        Ok(Told { data, messages: String::new(), failures, exit: Exit::Done })
    }

    fn check_trace(&self, folder: &Path, json: bool) -> Result<Told, Failure> {
        let trace = TraceFolder::read(folder)?;
        let verdict = check(trace.files());
        let data = if json { format!("{}\n", verdict.to_json()) } else { verdict.to_string() };
        let exit = if verdict.is_sound() { Exit::Done } else { Exit::CheckFailed };
        Ok(Told { data, messages: String::new(), failures: Vec::new(), exit })
    }

    fn diagram(&self, folder: &Path, file: &Path, format: cli::DiagramFormat) -> Result<Told, Failure> {
        let format = match format {
            cli::DiagramFormat::Svg => DiagramFormat::Svg,
            cli::DiagramFormat::Shiviz => DiagramFormat::Shiviz,
        };
        let trace = TraceFolder::read(folder)?;
        let diagram = match Diagram::new(trace.files(), format) {
            Ok(diagram) => diagram,
            Err(NotDrawn::NotSound(verdict)) => {
                let messages = format!("{verdict}only a sound trace is drawn\n");
                return Ok(Told {
                    data: String::new(),
                    messages,
                    failures: Vec::new(),
                    exit: Exit::CheckFailed,
                });
            }
            Err(error @ NotDrawn::TooLarge(_)) => {
                return Err(Failure::new(Reason::ScenarioInvalid, error.to_string()));
            }
        };
        let done = |data| Told { data, messages: String::new(), failures: Vec::new(), exit: Exit::Done };
        if file == Path::new("-") {
            return Ok(done(diagram.to_string()));
        }
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            let message = format!("{} is not the name of a file", file.display());
            return Err(Failure::new(Reason::ArgumentInvalid, message));
        };
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        write_together(parent.unwrap_or(Path::new(".")), &[(name, &diagram)])?;
        Ok(done(String::new()))
    }
}

/// Plays a file and writes its outputs; the paths of these, a line for each.
fn run_one(file: &Path, folder: &Path, wish: &RunArgs) -> Result<String, Failure> {
    let name = name(file);
    let of_file = |mut failure: Failure| {
        failure.message = format!("{name}: {}", failure.message);
        failure
    };
    let plan = read(file, &name, wish)?;
    let played = on_a_thread(|| play_on(&plan, wish)).map_err(of_file)?;
    if let Some(why) = &played.untraced {
        eprintln!("{name}: no trace of the messages is written: {why}");
    }
    let outputs = outputs(&plan, &played, spelling(wish));
    let files: Vec<_> = outputs.iter().map(|output| (output.name, output as &dyn Display)).collect();
    write_together(folder, &files)?;
    let line = |output: &Output<'_>| format!("{}\n", folder.join(output.name).display());
    Ok(outputs.iter().map(line).collect())
}

/// What messages call a file.
fn name(file: &Path) -> String {
    if file.as_os_str() == STANDARD_INPUT { "standard input".to_owned() } else { file.display().to_string() }
}

fn spelling(wish: &RunArgs) -> Spelling {
    match wish.spelling {
        cli::Spelling::Propagate => Spelling::Propagate,
        cli::Spelling::Propogate => Spelling::Propogate,
    }
}

/// The plan of a file. What is odd in it is told at once, and the dialect.
fn read(file: &Path, name: &str, wish: &RunArgs) -> Result<Plan, Failure> {
    let dialect = wish.format.tag().and_then(Dialect::tagged);
    let options = input::Options { dialect, strict: wish.strict };
    let (plan, warnings) = input::read(&read_scenario(file)?, options).map_err(|mut failure| {
        failure.message = format!("{name}: {}", failure.message);
        failure
    })?;
    for warning in &warnings {
        eprintln!("{name}: warning: {warning}");
    }
    if warnings.len() == input::WARNINGS {
        eprintln!("{name}: there may be warnings of more kinds");
    }
    eprintln!("{name}: format {}", plan.dialect.tag());
    Ok(plan)
}

/// Plays a plan on the servers of the wish, or on a cluster that lives as long as the run.
fn play_on(plan: &Plan, wish: &RunArgs) -> Result<Played, Failure> {
    if !wish.connect.is_empty() {
        return play_at(plan, wish, wish.connect.clone());
    }
    let branch = BRANCH.parse::<BranchName>().map_err(Failure::from)?;
    let replicas = NonZeroUsize::new(plan.branches.len()).unwrap_or(NonZeroUsize::MIN);
    let trace_events = plan.is_traced();
    let cluster = LocalCluster::of(&LocalConfig { replicas, trace_events, ..LocalConfig::new(branch) })
        .map_err(not_started)?;
    let servers = cluster.addresses().map(|address| address.to_string()).collect();
    let played = play_at(plan, wish, servers);
    let stopped = cluster.stop().map_err(not_started);
    played.and_then(|played| stopped.map(|()| played))
}

fn play_at(plan: &Plan, wish: &RunArgs, servers: Vec<String>) -> Result<Played, Failure> {
    let stage = Stage { servers, concurrent: wish.concurrent, seed: wish.seed };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Reason::Internal, format!("no runtime: {error}")))?;
    let bar = bar(plan.events());
    let progress = |played: usize| bar.set_position(played as u64);
    let played = runtime.block_on(play(plan, &stage, &progress)).map_err(failed);
    bar.finish_and_clear();
    played
}

/// A bar on a terminal when there is much to do.
fn bar(events: usize) -> ProgressBar {
    if events < LONG {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events");
    let bar = ProgressBar::new(events as u64).with_style(style.expect("the template is well-formed"));
    bar.enable_steady_tick(TICK);
    bar
}

fn not_started(error: ServerError) -> Failure {
    let reason = match error {
        ServerError::Refused(_) => Reason::ArgumentInvalid,
        ServerError::Host { .. }
        | ServerError::Address { .. }
        | ServerError::Branch(_)
        | ServerError::Thread(_) => Reason::Unreachable,
    };
    Failure::new(reason, format!("the cluster of the scenario does not run: {error}"))
}

fn failed(error: RunError) -> Failure {
    let message = error.to_string();
    let reason = match error {
        RunError::Failed { failure, .. } | RunError::Client(failure) => {
            return Failure { message, ..failure };
        }
        RunError::Untraced(Untraced::Incomplete { .. }) => Reason::ReplicaBehind,
        RunError::Untraced(_)
        | RunError::TooFewServers { .. }
        | RunError::SameReplica { .. }
        | RunError::OtherBank { .. } => Reason::ArgumentInvalid,
    };
    Failure::new(reason, message)
}

/// Runs work that blocks on a thread without a runtime, because the caller may be on one that has one.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| {
        Err(Failure::new(Reason::Internal, "the run stopped by a mistake of the program"))
    })
}
