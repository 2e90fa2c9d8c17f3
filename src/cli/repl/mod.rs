//! The conversation (REPL): commands typed on a terminal.
//!
//! The main thread reads lines, which blocks; everything of the network lives on the runtime's thread.
//!
//! Invariant: a line is executed at most once and only as it was typed. A lost session, an unreachable
//! server or an unknown word never makes the conversation execute something by itself.

mod assistant;
mod feed;
mod history;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser as _;
use futures::FutureExt as _;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use tokio::runtime::Runtime;
use tokio::signal::unix::Signal;

use crate::client::{Options, Page};
use crate::model::{Exit, Failure, Reason};

use super::grammar::{CallOptions, Command, Look, ReplCommand, ReplLine, Switch};
use super::line::{LINE_BYTES, split};
use super::problem::Problem;
use super::run::Runner;
use super::sheet::{Cell, Format};
use super::views;

use assistant::Assistant;
use feed::{Feed, Voice};
use history::History;

/// How many lines are remembered.
const HISTORY_LINES: usize = 1_000;
/// How long an empty line waits to see whether the server is back.
const PROBE: Duration = Duration::from_millis(500);

/// Whether the server answers, as far as is known; the feed knows it first.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<AtomicBool>);

impl Link {
    fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn lost(&self, lost: bool) {
        self.0.store(lost, Ordering::Relaxed);
    }

    /// Takes a failure as news about the server.
    fn failed(&self, failure: &Failure) {
        let unheard = matches!(failure.reason, Reason::Unreachable | Reason::OutcomeUnknown);
        // A wrong line is refused on this side already.
        if failure.reason != Reason::ArgumentInvalid {
            self.lost(unheard);
        }
    }
}

/// What to do after a line.
enum Then {
    Next,
    /// Execute no other line of the same paste.
    Drop,
    Leave,
}

/// The lines of what was entered; a blank entry is one blank line.
fn lines_of(entered: &str) -> impl Iterator<Item = &str> {
    entered.split(['\n', '\r']).filter(move |line| !line.is_empty() || entered.is_empty())
}

struct Conversation<'run> {
    runtime: &'run Runtime,
    runner: Runner,
    link: Link,
    interrupts: Interrupts,
    branch: Option<String>,
    feed: Feed,
}

/// Ctrl-C while a command runs. While a line is typed it is a key like any other.
struct Interrupts(Signal);

impl Interrupts {
    /// Does the work until it is done or interrupted.
    async fn bound<T>(&mut self, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        // What came before concerned something else, like a benchmark that it ended; signals do not queue.
        let _ = self.0.recv().now_or_never();
        tokio::select! {
            outcome = work => outcome,
            _ = self.0.recv() => Err(Problem::Interrupted(None)),
        }
    }
}

/// Talks until the user leaves.
///
/// # Errors
/// When the terminal cannot be used.
pub(super) fn run(runtime: &Runtime, runner: Runner) -> Result<Exit, Problem> {
    let terminal = |error: ReadlineError| Problem::Files(format!("the terminal cannot be used: {error}"));
    let config = Config::builder()
        .max_history_size(HISTORY_LINES)
        .and_then(|builder| builder.history_ignore_dups(true))
        .map_err(terminal)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::<Assistant, FileHistory>::with_config(config).map_err(terminal)?;
    let assistant = Assistant::new(runtime.handle().clone(), runner.client.clone(), runner.screen.color);
    editor.set_helper(Some(assistant));
    let history = History::load(&mut editor);
    let link = Link::default();
    let voice = match editor.create_external_printer() {
        Ok(printer) => Voice::above_the_line(printer),
        Err(_) => Voice::plain(),
    };
    let feed = Feed::new(voice, link.clone());
    let interrupts = Interrupts(super::interrupts(runtime)?);
    let mut conversation = Conversation { runtime, runner, link, interrupts, branch: None, feed };
    conversation.greet()?;
    loop {
        match editor.readline(&conversation.prompt()) {
            Ok(entered) => {
                for line in lines_of(&entered) {
                    history.keep(&mut editor, line);
                }
                if matches!(conversation.lines(&entered)?, Then::Leave) {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        }
    }
    Ok(Exit::Done)
}

impl Conversation<'_> {
    fn greet(&mut self) -> Result<(), Problem> {
        let mut outcome = self.learn();
        if let Err(problem) = &outcome
            && self.session_is_lost(problem, &CallOptions::default())
        {
            self.start_session_anew();
            outcome = self.learn();
        }
        let server = self.runner.client.server();
        match (&outcome, &self.branch) {
            (Ok(()), Some(branch)) => {
                self.say(&format!("branch {branch} at {server}; help lists the commands, Ctrl-D leaves\n"));
                Ok(())
            }
            (Ok(()), None) => Ok(()),
            (Err(_), _) => self.finish(&CallOptions::default(), outcome),
        }
    }

    /// Asks for the branch's name, which also shows whether the server answers.
    fn learn(&mut self) -> Result<(), Problem> {
        let client = self.runner.client.clone();
        let page = Page { size: 1, token: "" };
        let list =
            self.interruptible(async move { Ok(client.accounts(page, &Options::default()).await?) })?;
        self.branch = Some(list.seen.branch);
        Ok(())
    }

    fn prompt(&self) -> String {
        match &self.branch {
            _ if self.link.is_lost() => format!("bank ({} unreachable)> ", self.runner.client.server()),
            Some(branch) => format!("bank {branch}> "),
            None => "bank> ".to_owned(),
        }
    }

    fn say(&self, text: &str) {
        self.runner.screen.message(text);
    }

    /// Executes what was entered, which a paste makes several lines, in order. Ctrl-C drops the rest of them.
    fn lines(&mut self, entered: &str) -> Result<Then, Problem> {
        for line in lines_of(entered) {
            match self.line(line)? {
                Then::Next => {}
                Then::Drop => return Ok(Then::Next),
                Then::Leave => return Ok(Then::Leave),
            }
        }
        Ok(Then::Next)
    }

    fn line(&mut self, line: &str) -> Result<Then, Problem> {
        let (call, outcome) = match parse(line) {
            Ok(None) => {
                self.probe();
                return Ok(Then::Next);
            }
            Ok(Some(ReplLine { command: ReplCommand::Exit, .. })) => return Ok(Then::Leave),
            Ok(Some(ReplLine { command: ReplCommand::Session, call })) => {
                let shown = self.show_session(self.runner.format(&call));
                (call, shown)
            }
            Ok(Some(ReplLine { command: ReplCommand::Bank(command), call })) => {
                let outcome = self.command(&command, &call, line);
                (call, outcome)
            }
            Err(problem) => (CallOptions::default(), Err(problem)),
        };
        let then = if matches!(outcome, Err(Problem::Interrupted(_))) { Then::Drop } else { Then::Next };
        self.finish(&call, outcome)?;
        Ok(then)
    }

    /// Sees whether a lost server is back.
    fn probe(&mut self) {
        if self.link.is_lost() {
            let client = self.runner.client.clone();
            let options = Options { timeout: Some(PROBE), ..Options::default() };
            let health = self.interruptible(async move { Ok(client.health(&options).await?) });
            self.link.lost(health.is_err());
        }
    }

    fn show_session(&self, format: Format) -> Result<(), Problem> {
        let text = |text: String| Cell::Text(text);
        let row = vec![
            text(self.runner.client.server()),
            text(self.branch.clone().unwrap_or_default()),
            text(self.runner.client.session_token()),
        ];
        self.runner.screen.one(format, views::SESSION, row)
    }

    fn command(&mut self, command: &Command, call: &CallOptions, line: &str) -> Result<(), Problem> {
        if let Command::Look(Look::Watch(watch)) = command
            && let Some(switch) = watch.switch
        {
            return self.switch_feed(switch, call, line);
        }
        match self.once(command, call) {
            Err(problem) if self.session_is_lost(&problem, call) => {
                self.start_session_anew();
                if matches!(command, Command::Write(_)) {
                    self.say(&format!("not executed, enter it again if you still want it: {line}\n"));
                    return Ok(());
                }
                self.once(command, call)
            }
            outcome => outcome,
        }
    }

    fn once(&mut self, command: &Command, call: &CallOptions) -> Result<(), Problem> {
        let writes = self.runner.writes.clone();
        let outcome = self.runtime.block_on(self.interrupts.bound(self.runner.run(command, call)));
        let outcome = match outcome {
            Err(Problem::Interrupted(_)) => Err(Problem::Interrupted(writes.end())),
            outcome => outcome,
        };
        if outcome.is_ok() && !matches!(command, Command::Scenario(_) | Command::Local(_)) {
            self.link.lost(false);
            if self.branch.is_none() {
                // The command is done; that the name is still missing shows in the prompt.
                let _ = self.learn();
            }
        }
        outcome
    }

    fn switch_feed(&mut self, switch: Switch, call: &CallOptions, line: &str) -> Result<(), Problem> {
        match switch {
            Switch::Off => {
                let said = if self.feed.stop() { "watch is off\n" } else { "watch was off already\n" };
                self.say(said);
                Ok(())
            }
            Switch::On => match self.start_feed() {
                Err(problem) if self.session_is_lost(&problem, call) => {
                    self.start_session_anew();
                    self.say(&format!("not executed, enter it again if you still want it: {line}\n"));
                    Ok(())
                }
                outcome => outcome,
            },
        }
    }

    fn start_feed(&mut self) -> Result<(), Problem> {
        let client = self.runner.client.clone();
        let from = self.interruptible(async move { feed::next_sequence(&client).await })?;
        self.link.lost(false);
        self.feed.start(self.runtime, &self.runner.client, from, self.runner.writes.clone());
        self.say("watch is on: operations of other clients appear above the line you type\n");
        Ok(())
    }

    fn session_is_lost(&self, problem: &Problem, call: &CallOptions) -> bool {
        let Problem::Failure(failure) = problem else { return false };
        failure.reason == Reason::SessionUnknown && call.session_token.is_none()
    }

    fn start_session_anew(&mut self) {
        self.link.lost(false);
        self.runner.client.forget_session();
        self.feed.session_renewed();
        self.say(
            "this is not the ledger of your session: the server's data was lost or restored since. \
             A new session begins; check what you relied on.\n",
        );
    }

    fn interruptible<T>(&mut self, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        self.runtime.block_on(self.interrupts.bound(work))
    }

    /// Tells what went wrong. Only a terminal that is gone ends the conversation.
    fn finish(&mut self, call: &CallOptions, outcome: Result<(), Problem>) -> Result<(), Problem> {
        let Err(problem) = outcome else { return Ok(()) };
        if matches!(problem, Problem::Closed) {
            return Err(problem);
        }
        if let Problem::Failure(failure) = &problem {
            self.link.failed(failure);
        }
        self.runner.screen.problem(&problem, self.runner.format(call), None)
    }
}

/// Parses what was typed; a blank line or a comment is nothing.
fn parse(line: &str) -> Result<Option<ReplLine>, Problem> {
    if line.len() > LINE_BYTES {
        let message = format!("a line has at most {LINE_BYTES} bytes");
        return Err(Failure::new(Reason::ArgumentInvalid, message).into());
    }
    let words = split(line).map_err(|error| Failure::new(Reason::ArgumentInvalid, error.to_string()))?;
    if words.is_empty() {
        return Ok(None);
    }
    Ok(Some(ReplLine::try_parse_from(words)?))
}
