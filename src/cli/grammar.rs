//! The grammar of `bank-client`: one set of commands for the command line, `-c`, scripts and the REPL.
//!
//! Money and accounts stay text: the bank parses them, so that every face refuses the same text with the
//! same reason. That is why `deposit 1 -1` is an amount here and not a wrong flag.
//!
//! Architecture invariant: pure. The environment variables named here are read by clap.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{
    EnumValueParser, NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser as _,
};
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::model::Reason;

use super::bench::BenchArgs;
use super::scenario_args::{CheckTraceArgs, DiagramArgs, RunArgs};

/// Longest `--timeout`.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

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

    /// In a script: go on after a failing line, and exit with the worst code
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
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, global = true)]
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
    // Columns for people.
    Table,
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
    /// Open an account, with the next free number or the one asked for
    Open(Open),
    /// List the accounts
    Accounts(Accounts),
    /// Show everything about an account
    Account(OneAccount),
    /// Add money to an account
    Deposit(Payment),
    /// Take money from an account
    Withdraw(Payment),
    /// Add a percentage of the balance to an account
    Interest(Interest),
    /// Show the balance of an account
    Balance(OneAccount),
    /// Move money from one account to another
    Transfer(Transfer),
    /// List what changed an account, newest first
    Statement(Statement),
    /// Show operations as they happen
    Watch(Watch),
    /// Say what happened to a request id
    Operation(Operation),
    /// Show the replicas of the branch: role, log, sequence, digest
    Status,
    /// Change the replicas of the branch
    Replica(Replica),
    /// Measure a server, and prove that no cent is missing
    Bench(BenchArgs),
    /// Play scenario files on a cluster of their own, and write their outputs
    Run(RunArgs),
    /// Hold a trace to the rules of logical clocks
    CheckTrace(CheckTraceArgs),
    /// Draw a trace
    Diagram(DiagramArgs),
    /// Explain the reasons of refusals
    Errors(Errors),
    /// Print the version
    Version,
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

impl Command {
    /// Whether a server answers it.
    pub(crate) fn needs_server(&self) -> bool {
        match self {
            Command::Run(_)
            | Command::CheckTrace(_)
            | Command::Diagram(_)
            | Command::Errors(_)
            | Command::Version
            | Command::Completions(_)
            | Command::Man => false,
            Command::Open(_)
            | Command::Accounts(_)
            | Command::Account(_)
            | Command::Deposit(_)
            | Command::Withdraw(_)
            | Command::Interest(_)
            | Command::Balance(_)
            | Command::Transfer(_)
            | Command::Statement(_)
            | Command::Watch(_)
            | Command::Operation(_)
            | Command::Status
            | Command::Replica(_)
            | Command::Bench(_) => true,
        }
    }

    /// Whether it is a write with a request id.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Command::Open(_)
            | Command::Deposit(_)
            | Command::Withdraw(_)
            | Command::Interest(_)
            | Command::Transfer(_) => true,
            Command::Accounts(_)
            | Command::Account(_)
            | Command::Balance(_)
            | Command::Statement(_)
            | Command::Watch(_)
            | Command::Operation(_)
            | Command::Status
            | Command::Replica(_)
            | Command::Bench(_)
            | Command::Run(_)
            | Command::CheckTrace(_)
            | Command::Diagram(_)
            | Command::Errors(_)
            | Command::Version
            | Command::Completions(_)
            | Command::Man => false,
        }
    }
}

/// `open`
#[derive(Args, Debug)]
pub(crate) struct Open {
    /// The number wanted
    #[arg(value_name = "NUMBER", allow_negative_numbers = true, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) number: Option<String>,
    /// What to call it
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,
    /// The first deposit
    #[arg(
        long,
        value_name = "AMOUNT",
        allow_negative_numbers = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) deposit: Option<String>,
    /// How far below zero the balance may go
    #[arg(
        long,
        value_name = "AMOUNT",
        allow_negative_numbers = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) overdraft: Option<String>,
}

/// `accounts`
#[derive(Args, Debug)]
pub(crate) struct Accounts {
    /// At most this many; all of them without
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `account` and `balance`
#[derive(Args, Debug)]
pub(crate) struct OneAccount {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `deposit` and `withdraw`
#[derive(Args, Debug)]
pub(crate) struct Payment {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
    /// How much, like 12.34
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) amount: String,
}

/// `interest`
#[derive(Args, Debug)]
pub(crate) struct Interest {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
    /// Percentage of the balance, like 2.5
    #[arg(value_name = "PERCENT", allow_negative_numbers = true)]
    pub(crate) percent: String,
}

/// `transfer`
#[derive(Args, Debug)]
pub(crate) struct Transfer {
    /// The account that pays
    #[arg(value_name = "FROM", allow_negative_numbers = true)]
    pub(crate) from: String,
    /// The account that receives
    #[arg(value_name = "TO", allow_negative_numbers = true)]
    pub(crate) to: String,
    /// How much, like 12.34
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) amount: String,
}

/// `statement`
#[derive(Args, Debug)]
pub(crate) struct Statement {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
    /// At most this many entries
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: u64,
    /// As it was at this time, like 2026-11-20T09:30:00Z, or sequence
    #[arg(long, value_name = "TIME|SEQ", value_parser = parse_as_of)]
    pub(crate) as_of: Option<AsOf>,
    /// Oldest entries first
    #[arg(long)]
    pub(crate) oldest_first: bool,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `watch`
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// In a conversation: show other clients' operations while you type
    #[arg(value_enum, value_name = "on|off", conflicts_with_all = ["from", "account", "limit"])]
    pub(crate) switch: Option<Switch>,
    /// Begin with this sequence; without, with the next operation
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// Only this account
    #[arg(long, value_name = "ACCOUNT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) account: Option<String>,
    /// Leave after this many operations
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
}

/// On or off.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Switch {
    // On.
    On,
    // Off.
    Off,
}

/// `operation`
#[derive(Args, Debug)]
pub(crate) struct Operation {
    /// Name of the operation
    #[arg(value_name = "REQUEST_ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `replica`
#[derive(Args, Debug)]
pub(crate) struct Replica {
    #[command(subcommand)]
    pub(crate) change: ReplicaChange,
}

/// What to change.
#[derive(Subcommand, Debug)]
pub(crate) enum ReplicaChange {
    /// Let a new replica, started with an empty log, follow without a vote
    Add {
        /// Its number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// Where the other replicas reach it
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Give a replica that follows a vote
    Promote {
        /// Its number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
    },
    /// Take a replica out of the branch
    Remove {
        /// Its number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// Also when a part of the history goes with it
        #[arg(long)]
        lose_history: bool,
    },
    /// Let another replica lead
    Lead {
        /// Its number; the one that is furthest without
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        id: Option<u64>,
    },
}

/// `errors`
#[derive(Args, Debug)]
pub(crate) struct Errors {
    /// Only this reason
    #[arg(value_name = "REASON", value_parser = reason_parser(), ignore_case = true)]
    pub(crate) reason: Option<Reason>,
}

/// `completions`
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// How fresh a read must be.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    /// How fresh the answer must be; without, what the session has seen, else linearizable
    #[arg(long, value_enum, value_name = "CONSISTENCY")]
    pub(crate) consistency: Option<Freshness>,
}

/// The consistency of a read.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freshness {
    // Everything acknowledged before the call.
    Linearizable,
    // At least what the session has seen.
    Session,
    // What the server has at once.
    Stale,
}

/// A point in an account's past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AsOf {
    /// After this sequence.
    Sequence(u64),
    /// At this time.
    Time(jiff::Timestamp),
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

fn reason_parser() -> impl clap::builder::TypedValueParser<Value = Reason> {
    let names = Reason::ALL.iter().map(|reason| reason.as_str());
    PossibleValuesParser::new(names)
        .try_map(|name| Reason::named(&name.to_ascii_uppercase()).ok_or("no such reason"))
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration =
        text.parse().map_err(|_| "a time is a number and a unit, like 5s, 500ms or 1m".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() && duration <= TIMEOUT_MAX => Ok(duration),
        Ok(_) | Err(_) => Err("a timeout is more than zero and at most 1h".to_owned()),
    }
}

fn parse_as_of(text: &str) -> Result<AsOf, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(sequence) if sequence > 0 => Ok(AsOf::Sequence(sequence)),
            Ok(_) | Err(_) => Err("a sequence is a number from 1".to_owned()),
        };
    }
    text.parse().map(AsOf::Time).map_err(|_| {
        "give a sequence, like 42, or a time with its offset from UTC, like 2026-11-20T09:30:00Z".to_owned()
    })
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
