//! The arguments of each command.
//!
//! Architecture invariant: pure.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser as _};
use clap::{ArgAction, Args, Subcommand, ValueEnum};

use crate::model::limits::HOLD_LONGEST;
use crate::model::{BranchName, IdError, Reason};

/// Longest `--timeout`.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// Longest `--expires`.
const EXPIRY_MAX: Duration = HOLD_LONGEST;

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

/// `hold`
#[derive(Args, Debug)]
pub(crate) struct Hold {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
    /// How much, like 12.34
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) amount: String,
    /// After how long the hold ends by itself, like 10m or 24h; without, never
    #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
    pub(crate) expires: Option<Duration>,
}

/// `capture`
#[derive(Args, Debug)]
pub(crate) struct Capture {
    /// The hold, like 17 or mumbai:17
    #[arg(value_name = "HOLD", allow_negative_numbers = true)]
    pub(crate) hold: String,
    /// How much of it, like 12.34; without, all
    #[arg(
        value_name = "AMOUNT",
        allow_negative_numbers = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) amount: Option<String>,
}

/// `release`
#[derive(Args, Debug)]
pub(crate) struct OneHold {
    /// The hold, like 17 or mumbai:17
    #[arg(value_name = "HOLD", allow_negative_numbers = true)]
    pub(crate) hold: String,
}

/// `freeze` and the like
#[derive(Args, Debug)]
pub(crate) struct StateOf {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
}

/// `hold-show`
#[derive(Args, Debug)]
pub(crate) struct HoldShow {
    /// The hold, like 17 or mumbai:17
    #[arg(value_name = "HOLD", allow_negative_numbers = true)]
    pub(crate) hold: String,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `holds`
#[derive(Args, Debug)]
pub(crate) struct Holds {
    /// The account, like 17 or delhi/17
    #[arg(value_name = "ACCOUNT", allow_negative_numbers = true)]
    pub(crate) account: String,
    /// At most this many; all of them without
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
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

/// `transfers`
#[derive(Args, Debug)]
pub(crate) struct Transfers {
    /// Only those that are not finished, oldest first
    #[arg(long)]
    pub(crate) in_doubt: bool,
    /// At most this many; 50 without, or all in doubt
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `transfer-show`
#[derive(Args, Debug)]
pub(crate) struct TransferShow {
    /// The transfer, like 17 or mumbai:17
    #[arg(value_name = "TRANSFER", allow_negative_numbers = true)]
    pub(crate) transfer: String,
    #[command(flatten)]
    pub(crate) read: ReadOptions,
}

/// `transfer-resolve`
#[derive(Args, Debug)]
pub(crate) struct TransferResolve {
    /// The transfer, like 17 or mumbai:17
    #[arg(value_name = "TRANSFER", allow_negative_numbers = true)]
    pub(crate) transfer: String,
    /// No money is to move
    #[arg(long, required = true)]
    pub(crate) abort: bool,
}

/// `export`
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Only what concerns this account
    #[arg(long, value_name = "ACCOUNT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) account: Option<String>,
    /// How to write it
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "csv")]
    pub(crate) format: ExportAs,
    /// Write it to this file; without, to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// How an export is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExportAs {
    // Comma-separated with a header, safe to open in a spreadsheet.
    Csv,
    // One object a line.
    Jsonl,
    // A journal with balance assertions.
    Hledger,
}

/// `audit`
#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Check what this branch owes and is owed against another one's books, like delhi=HOST:PORT
    #[arg(long, value_name = "BRANCH=HOST:PORT[,HOST:PORT...]", value_parser = parse_other, action = ArgAction::Append)]
    pub(crate) with: Vec<OtherBranch>,
}

/// Another branch and its servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OtherBranch {
    /// Its name.
    pub(crate) name: BranchName,
    /// Its servers, in the order in which they are tried.
    pub(crate) servers: Vec<String>,
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

fn reason_parser() -> impl clap::builder::TypedValueParser<Value = Reason> {
    let names = Reason::ALL.iter().map(|reason| reason.as_str());
    PossibleValuesParser::new(names)
        .try_map(|name| Reason::named(&name.to_ascii_uppercase()).ok_or("no such reason"))
}

/// A time like `5s`, more than zero and at most an hour.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_time(text, TIMEOUT_MAX, "a timeout is more than zero and at most 1h")
}

fn parse_expiry(text: &str) -> Result<Duration, String> {
    parse_time(text, EXPIRY_MAX, "a hold ends after more than zero and at most 366 days (8784h)")
}

fn parse_time(text: &str, most: Duration, range: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration =
        text.parse().map_err(|_| "a time is a number and a unit, like 5s, 500ms or 1m".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() && duration <= most => Ok(duration),
        Ok(_) | Err(_) => Err(range.to_owned()),
    }
}

fn parse_other(text: &str) -> Result<OtherBranch, String> {
    let wrong = || "name a branch and its servers, like delhi=127.0.0.1:9002".to_owned();
    let (name, servers) = text.split_once('=').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|error: IdError| error.to_string())?;
    let servers: Vec<String> = servers.split(',').map(|server| server.trim().to_owned()).collect();
    if servers.iter().any(String::is_empty) { Err(wrong()) } else { Ok(OtherBranch { name, servers }) }
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
