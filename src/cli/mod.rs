//! `bank-client`: one grammar for single commands, scripts and the conversation (REPL); rendering.
//!
//! Data goes to standard output and messages go to standard error. Money and accounts pass through as
//! text: the bank parses and refuses them, so that every face gives the same reason.
//!
//! Architecture invariant: uses `client` and `model` only. `grammar`, `scenario_args`, `line`, `sheet`,
//! `views`, `local`, `environment` and `complete` are pure. Only the two programs call in.

pub mod bench;
mod complete;
mod environment;
mod grammar;
mod line;
mod local;
mod problem;
mod repl;
mod run;
mod scenario_args;
mod screen;
mod script;
mod session_file;
mod sheet;
mod views;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client;
use crate::model::Exit;

use grammar::{Color, Command, CommandLine, Operate, ProcessOptions, command_line, parse_command_line};
use problem::Problem;
use run::Runner;
use screen::Screen;

pub use environment::naming_environment;
pub use local::completion_script;
pub use scenario_args::{DiagramFormat, RunArgs, ScenarioFormat, Scenarios, Spelling, Told};

/// What the process is asked to do.
enum Work {
    /// One command.
    One(Command),
    /// These lines.
    Lines(String),
    /// A script in a file, or on standard input.
    Script(Option<std::path::PathBuf>),
    /// A conversation.
    Repl,
}

/// Runs `bank-client` with the arguments and environment of this process. The room of the scenarios is not ours
/// to know; the program hands it in.
#[must_use]
pub fn main(scenarios: &'static dyn Scenarios) -> ExitCode {
    let line = match parse_command_line(std::env::args_os()) {
        Ok(line) => line,
        Err(error) => {
            let words: Vec<_> = std::env::args_os().skip(1).collect();
            let error = naming_environment(&mut command_line(), error, &words);
            return refused(&Screen::of_process(Color::Auto), &error.into());
        }
    };
    let screen = Screen::of_process(line.process.color);
    match run(line, screen, scenarios) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(problem) => refused(&screen, &problem),
    }
}

/// Says what is wrong before any command has run.
fn refused(screen: &Screen, problem: &Problem) -> ExitCode {
    let said = screen.problem(problem, screen.format(None), None);
    ExitCode::from(said.err().map_or(problem.exit(), |problem| problem.exit()) as u8)
}

fn run(line: CommandLine, screen: Screen, scenarios: &'static dyn Scenarios) -> Result<Exit, Problem> {
    let CommandLine { process, call, command } = line;
    let work = work(&process, command)?;
    if call.request_id.is_some() && !matches!(&work, Work::One(_)) && !is_one_line(&work) {
        return Err(usage("--request-id names one operation; in a script give it on the line it belongs to"));
    }
    let format = screen.format(call.format());
    let told = |problem: &Problem| screen.problem(problem, format, None).map(|()| problem.exit());
    if let Work::One(Command::Local(command)) = &work {
        return screen
            .data(&local::answer(command, format))
            .map(|()| Exit::Done)
            .or_else(|problem| told(&problem));
    }
    let mut runner = match Runner::new(&process, screen, call, scenarios) {
        Ok(runner) => runner,
        Err(problem) => return told(&problem),
    };
    runner.free_input = !matches!(work, Work::Script(None) | Work::Repl);
    let runtime = runtime()?;
    let mut leaving =
        vec![signals(&runtime, SignalKind::terminate())?, signals(&runtime, SignalKind::hangup())?];
    // Ctrl-C drops one command of a conversation only, and a benchmark ends its run in order and reports.
    if !matches!(work, Work::Repl | Work::One(Command::Operate(Operate::Bench(_)))) {
        leaving.push(interrupts(&runtime)?);
    }
    leave_on(&runtime, &runner, leaving);
    if let Work::Repl = work {
        return repl::run(&runtime, runner);
    }
    let manner = |numbered| script::Manner { numbered, keep_going: process.keep_going };
    match work {
        // A line of its own has no options besides those of the whole, which the runner knows.
        Work::One(command) => {
            match runtime.block_on(runner.run(&command, &grammar::CallOptions::default())) {
                Ok(()) => Ok(Exit::Done),
                Err(problem) => told(&problem),
            }
        }
        Work::Lines(text) => {
            Ok(script::run(&runtime, &mut runner, text.as_bytes(), manner(text.trim().contains('\n'))))
        }
        Work::Script(Some(path)) => match File::open(&path) {
            Ok(file) => Ok(script::run(&runtime, &mut runner, BufReader::new(file), manner(true))),
            Err(error) => {
                told(&Problem::Files(format!("the script {} cannot be read: {error}", path.display())))
            }
        },
        Work::Script(None) | Work::Repl => {
            Ok(script::run(&runtime, &mut runner, io::stdin().lock(), manner(true)))
        }
    }
}

fn work(process: &ProcessOptions, command: Option<Command>) -> Result<Work, Problem> {
    let work = match (command, &process.line, &process.script) {
        (Some(command), None, None) => Work::One(command),
        (Some(_), _, _) => return Err(usage("give either a command, or -c or -f, and not both")),
        (None, Some(line), _) => Work::Lines(line.clone()),
        (None, None, Some(path)) if path == Path::new("-") => Work::Script(None),
        (None, None, Some(path)) => Work::Script(Some(path.clone())),
        (None, None, None) if io::stdin().is_terminal() => Work::Repl,
        (None, None, None) => Work::Script(None),
    };
    Ok(work)
}

fn is_one_line(work: &Work) -> bool {
    matches!(work, Work::Lines(text) if !text.trim().contains('\n'))
}

fn usage(message: &str) -> Problem {
    command_line().error(ErrorKind::ArgumentConflict, message).into()
}

fn runtime() -> Result<Runtime, Problem> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| Problem::Files(format!("no thread can be started: {error}")))
}

/// Ctrl-C from now on; it no longer ends the process by itself.
fn interrupts(runtime: &Runtime) -> Result<Signal, Problem> {
    signals(runtime, SignalKind::interrupt())
}

fn signals(runtime: &Runtime, kind: SignalKind) -> Result<Signal, Problem> {
    let _entered = runtime.enter();
    signal(kind).map_err(|error| Problem::Files(format!("signals cannot be watched: {error}")))
}

/// Leaves when `signals` come, also while a script waits for its next line.
fn leave_on(runtime: &Runtime, runner: &Runner, signals: Vec<Signal>) {
    let (screen, writes) = (runner.screen, runner.writes.clone());
    let format = runner.format(&grammar::CallOptions::default());
    for mut signal in signals {
        let writes = writes.clone();
        runtime.spawn(async move {
            if signal.recv().await.is_some() {
                client::remove_unfinished();
                let problem = Problem::Interrupted(writes.end());
                // Whether it could be said or not, the process ends.
                let _ = screen.problem(&problem, format, None);
                std::process::exit(Exit::Interrupted as i32);
            }
        });
    }
}
