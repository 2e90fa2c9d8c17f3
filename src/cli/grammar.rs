//! The grammar of `bank-client`: one set of commands for the command line, `-c`, scripts and the REPL.
//!
//! Money and accounts stay text: the bank parses them, so that every face refuses the same text with the
//! same reason. That is why `deposit 1 -1` is an amount here and not a wrong flag.
//!
//! Architecture invariant: pure. The environment variables named here are read by clap.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{EnumValueParser, NonEmptyStringValueParser, TypedValueParser as _};
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use super::bench::BenchArgs;
use super::scenario_args::{CheckTraceArgs, DiagramArgs, RunArgs};

mod arguments;

pub(crate) use arguments::*;

/// Talk to a bank server: single commands, scripts, or a conversation.
///
/// Without a command it opens a conversation (REPL) on a terminal, and reads a script from standard
/// input otherwise. Data goes to standard output, messages go to standard error.
#[derive(Parser, Debug)]
#[command(name = "bank-client", version, after_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) process: ProcessOptions,
    #[command(flatten)]
    pub(crate) call: CallOptions,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 our bug, 2 fix the call, 3 nothing happened, try again, 4 refused by a rule, \
5 not found, 6 outcome unknown (repeat with the same --request-id), 8 a check said no, 130 interrupted. \
`bank-client errors` explains every reason.";

/// Options of a whole run.
#[derive(Args, Debug)]
pub(crate) struct ProcessOptions {
    /// Servers of the branch, tried in this order
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "BANK_SERVER",
        default_value = "127.0.0.1:9001",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
        action = ArgAction::Append,
        global = true
    )]
    pub(crate) server: Vec<String>,

    /// Run this line (or these lines) as a script
    #[arg(short = 'c', value_name = "LINE", conflicts_with = "script", allow_hyphen_values = true)]
    pub(crate) line: Option<String>,

    /// Run this script; - is standard input
    #[arg(short = 'f', value_name = "FILE", id = "script")]
    pub(crate) script: Option<PathBuf>,

    /// Go on after a failing line of a script, or a failing file of run, and exit with the worst code
    #[arg(long, global = true)]
    pub(crate) keep_going: bool,

    /// Keep the session in this file, for the next process to go on from
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) session: Option<PathBuf>,

    /// Colours in messages; NO_COLOR switches them off too
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true)]
    pub(crate) color: Color,
}

/// Options of one command, on the command line and on every line of a script or conversation.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CallOptions {
    /// How to print data; auto is a table on a terminal and plain otherwise
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_parser = EnumValueParser::<Output>::new().map(OutputWish::As),
        global = true
    )]
    pub(crate) output: Option<OutputWish>,

    /// How long to wait for an answer, like 5s or 500ms
    #[arg(long, value_name = "TIME", value_parser = arguments::parse_timeout, global = true)]
    pub(crate) timeout: Option<Duration>,

    /// Name of the operation; repeating a write with the same name is safe
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), global = true)]
    pub(crate) request_id: Option<String>,

    /// Show at least what this session token has seen
    #[arg(long, value_name = "TOKEN", global = true)]
    pub(crate) session_token: Option<String>,

    /// Writes: answer as if executed, but change nothing
    #[arg(long, global = true)]
    pub(crate) validate_only: bool,
}

impl CallOptions {
    /// How to print data.
    pub(crate) fn format(&self) -> Option<Output> {
        match self.output {
            Some(OutputWish::As(output)) => Some(output),
            Some(OutputWish::To(_)) | None => None,
        }
    }
}

/// What `-o` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum OutputWish {
    /// How to print data.
    As(Output),
    /// Where to write it: of `diagram`, which prints no data.
    To(PathBuf),
}

/// How data is printed. Documentation of the values would make every help twice as long.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    // A table on a terminal, plain otherwise.
    Auto,
    // Columns for people, as many as the terminal has room for.
    Table,
    // All columns for people.
    Wide,
    // Fields separated by tabs, without a header.
    Plain,
    // One object or array.
    Json,
    // One object a line.
    Jsonl,
    // Comma-separated with a header, safe to open in a spreadsheet.
    Csv,
}

/// When messages have colours.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Color {
    // On a terminal.
    Auto,
    // Never.
    Never,
    // Always.
    Always,
}

/// What a user can ask for.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    #[command(flatten)]
    Write(Write),
    #[command(flatten)]
    Look(Look),
    #[command(flatten)]
    Operate(Operate),
    #[command(flatten)]
    Scenario(Scenario),
    #[command(flatten)]
    Local(Local),
}

impl Command {
    /// Whether it changes something at a server.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Command::Write(_) | Command::Scenario(Scenario::Run(_)) => true,
            Command::Operate(operate) => match operate {
                Operate::Replica(_) | Operate::TransferResolve(_) | Operate::Bench(_) => true,
                Operate::Status | Operate::Audit(_) => false,
            },
            Command::Look(_)
            | Command::Local(_)
            | Command::Scenario(Scenario::CheckTrace(_) | Scenario::Diagram(_)) => false,
        }
    }
}

/// Writes, each with a request id.
#[derive(Subcommand, Debug)]
pub(crate) enum Write {
    /// Open an account, with the next free number or the one asked for
    Open(Open),
    /// Add money to an account
    Deposit(Payment),
    /// Take money from an account
    Withdraw(Payment),
    /// Add a percentage of the balance to an account
    Interest(Interest),
    /// Move money from one account to another, also of another branch
    Transfer(Transfer),
    /// Reserve money of an account
    Hold(Hold),
    /// Take the money that a hold reserves, or part of it
    Capture(Capture),
    /// Let the money of a hold go
    Release(OneHold),
    /// Let nothing be taken from an account, added or reserved
    Freeze(StateOf),
    /// Let a frozen account take operations again
    Unfreeze(StateOf),
    /// Close an account whose balance is zero
    Close(StateOf),
    /// Open a closed account again
    Reopen(StateOf),
}

/// Questions about accounts and operations.
#[derive(Subcommand, Debug)]
pub(crate) enum Look {
    /// Show the balance of an account
    Balance(OneAccount),
    /// Show everything about an account
    Account(OneAccount),
    /// List the accounts
    Accounts(Accounts),
    /// List what changed an account, newest first
    Statement(Statement),
    /// List the holds that reserve money of an account
    Holds(Holds),
    /// Show a hold
    HoldShow(HoldShow),
    /// List the transfers that the branch pays or receives, newest first
    Transfers(Transfers),
    /// Show a transfer and what has happened to it
    TransferShow(TransferShow),
    /// Say what happened to a request id
    Operation(Operation),
    /// Show operations as they happen
    Watch(Watch),
    /// Write the journal as CSV, JSON Lines or a journal of hledger
    Export(Export),
}

/// What operators ask and change.
#[derive(Subcommand, Debug)]
pub(crate) enum Operate {
    /// Show the replicas of the branch: role, log, sequence, digest
    Status,
    /// Change the replicas of the branch
    Replica(Replica),
    /// Abort a transfer that has no decision
    TransferResolve(TransferResolve),
    /// Add up the books: nothing may be missing, in a branch and between branches
    #[command(after_help = "Exit code 8 when the books do not add up.")]
    Audit(Audit),
    /// Measure a server, and prove that no cent is missing
    Bench(BenchArgs),
}

/// What is done with scenario files and their traces; no server of the caller is asked.
#[derive(Subcommand, Debug)]
pub(crate) enum Scenario {
    /// Play scenario files on a cluster of their own, and write their outputs
    Run(RunArgs),
    /// Hold a trace to the rules of logical clocks
    CheckTrace(CheckTraceArgs),
    /// Draw a trace
    Diagram(DiagramArgs),
}

/// What needs no server.
#[derive(Subcommand, Debug)]
pub(crate) enum Local {
    /// Explain the reasons of refusals
    Errors(Errors),
    /// Print the version
    Version,
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

/// The commands of a script; `help COMMAND` tells more.
#[derive(Parser, Debug)]
#[command(name = "", bin_name = "", no_binary_name = true)]
pub(crate) struct ScriptLine {
    #[command(flatten)]
    pub(crate) call: CallOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands of a conversation; `help COMMAND` tells more.
#[derive(Parser, Debug)]
#[command(name = "", bin_name = "", no_binary_name = true)]
pub(crate) struct ReplLine {
    #[command(flatten)]
    pub(crate) call: CallOptions,
    #[command(subcommand)]
    pub(crate) command: ReplCommand,
}

/// What a conversation understands.
#[derive(Subcommand, Debug)]
pub(crate) enum ReplCommand {
    #[command(flatten)]
    Bank(Command),
    /// Show the session token of this conversation
    Session,
    /// Leave
    #[command(alias = "quit")]
    Exit,
}

/// Parses the words of the command line, the program's name first.
///
/// # Errors
/// clap's error, which is also how it answers `--help`.
pub(crate) fn parse_command_line(
    words: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<CommandLine, clap::Error> {
    CommandLine::from_arg_matches(&command_line().try_get_matches_from(words)?)
}

/// The grammar of the command line. `BANK_OUTPUT` belongs to it and not to [`CallOptions`], because on a
/// line of a script it would hide the `-o` of the command line.
pub(crate) fn command_line() -> clap::Command {
    CommandLine::command().mut_arg("output", |arg| arg.env("BANK_OUTPUT"))
}

/// The grammar of a conversation.
pub(crate) fn repl_line() -> clap::Command {
    ReplLine::command()
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
