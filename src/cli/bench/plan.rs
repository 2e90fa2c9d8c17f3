//! What is to be measured: the options of `bank-client bench`, and the plan that they make.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use uuid::Uuid;

use crate::model::{AccountRef, Failure, Reason, limits::BATCH_COMMANDS};

const MAX_CLIENTS: u64 = 64;
const MAX_INFLIGHT: u64 = 65_536;
const MAX_ACCOUNTS: u64 = 100_000_000;
const MAX_THREADS: u64 = 64;
const MAX_DURATION: Duration = Duration::from_hours(24);
/// More threads take the processor from a server on the same machine.
const DEFAULT_THREADS: usize = 2;

fn count(max: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max)
}

/// Options of `bank-client bench`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct BenchArgs {
    /// Connections.
    #[arg(long, value_name = "N", default_value = "4", value_parser = count(MAX_CLIENTS))]
    pub clients: usize,
    /// Calls in flight, over all connections.
    #[arg(long, value_name = "N", default_value = "64", value_parser = count(MAX_INFLIGHT))]
    pub inflight: usize,
    /// How long to measure, like 8s, 500ms or 2m.
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub duration: Duration,
    /// How long to run before measuring.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Start N calls a second whatever the answers do, and count latency from the scheduled start.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Send N commands in each message, by ExecuteBatch.
    #[arg(long, value_name = "N", value_parser = count(BATCH_COMMANDS as u64))]
    pub batch: Option<usize>,
    /// Send the batches on streams, by Submit.
    #[arg(long, requires = "batch", conflicts_with = "rate")]
    pub submit: bool,
    /// Shares of the operations: deposit, withdraw, transfer, interest, balance.
    #[arg(long, value_name = "OPERATION=SHARE,...", default_value = "deposit=100")]
    pub mix: Mix,
    /// Accounts to open and to spread the operations over.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count(MAX_ACCOUNTS))]
    pub accounts: usize,
    /// Send every operation to the same account.
    #[arg(long)]
    pub hot: bool,
    /// Choose accounts and amounts as another run did; each run prints its seed.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Beside the load, pay in at the first server and read it back here with the session of that deposit.
    #[arg(long, value_name = "HOST:PORT")]
    pub read_at: Option<String>,
    /// Transfers of the mix go to this account of another branch, like delhi/1.
    #[arg(long, value_name = "BRANCH/N", conflicts_with = "batch", value_parser = elsewhere)]
    pub transfer_to: Option<String>,
    /// Threads that make the load; up to two when not given.
    #[arg(long, value_name = "N", value_parser = count(MAX_THREADS))]
    pub threads: Option<usize>,
    /// Send writes without request ids; answers that got lost then stay unknown.
    #[arg(long)]
    pub no_request_ids: bool,
}

fn elsewhere(text: &str) -> Result<String, String> {
    let account: AccountRef = text.parse().map_err(|error: crate::model::IdError| error.to_string())?;
    if account.branch.is_none() {
        return Err("name the branch as well, like delhi/1".to_owned());
    }
    Ok(account.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("write a time as a whole number with ms, s or m, like 8s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|error: ParseIntError| error.to_string())?;
    let time = Duration::from_millis(number.saturating_mul(factor));
    if time > MAX_DURATION { Err("at most 24 hours".to_owned()) } else { Ok(time) }
}

/// An operation that can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Add money.
    Deposit,
    /// Take money.
    Withdraw,
    /// Move money.
    Transfer,
    /// Add interest.
    Interest,
    /// Read a balance.
    Balance,
}

impl Operation {
    const ALL: [Operation; 5] = [
        Operation::Deposit,
        Operation::Withdraw,
        Operation::Transfer,
        Operation::Interest,
        Operation::Balance,
    ];

    fn name(self) -> &'static str {
        match self {
            Operation::Deposit => "deposit",
            Operation::Withdraw => "withdraw",
            Operation::Transfer => "transfer",
            Operation::Interest => "interest",
            Operation::Balance => "balance",
        }
    }
}

/// Operations with their shares, each share at least 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mix(Vec<(Operation, u32)>);

impl Mix {
    /// The sum of all shares.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, share)| u64::from(*share)).sum()
    }

    /// The operation at a point from 0 up to [`Mix::total`].
    #[must_use]
    pub fn at(&self, point: u64) -> Operation {
        let mut left = point;
        for (operation, share) in &self.0 {
            match left.checked_sub(u64::from(*share)) {
                Some(rest) => left = rest,
                None => return *operation,
            }
        }
        self.0[0].0
    }

    fn has(&self, wanted: Operation) -> bool {
        self.0.iter().any(|(operation, _)| *operation == wanted)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut shares: Vec<(Operation, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let operation =
                Operation::ALL.into_iter().find(|operation| operation.name() == name.trim()).ok_or_else(
                    || format!("{name:?} is none of deposit, withdraw, transfer, interest, balance"),
                )?;
            if shares.iter().any(|(known, _)| *known == operation) {
                return Err(format!("{} stands there twice", operation.name()));
            }
            let share =
                share.trim().parse().map_err(|_| format!("{share:?} is not a share, a whole number"))?;
            if share > 0 {
                shares.push((operation, share));
            }
        }
        if shares.is_empty() { Err("some share must be more than 0".to_owned()) } else { Ok(Mix(shares)) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (operation, share)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}={share}", operation.name())?;
        }
        Ok(())
    }
}

/// How operations are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    /// One a call.
    Unary,
    /// This many a call.
    Batches(usize),
    /// This many a message of a stream.
    Stream(usize),
}

/// Options that fit together, with everything decided that they left open.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) sending: Sending,
    pub(super) rate: Option<u32>,
    pub(super) duration: Duration,
    pub(super) warmup: Duration,
    pub(super) mix: Mix,
    pub(super) accounts: usize,
    pub(super) hot: bool,
    pub(super) seed: u64,
    pub(super) threads: usize,
    pub(super) connections: usize,
    /// Calls in flight, over all connections.
    pub(super) inflight: usize,
    /// Batches in flight on each stream.
    pub(super) window: usize,
    pub(super) request_ids: bool,
    /// The account of another branch that transfers go to.
    pub(super) transfer_to: Option<String>,
    /// Where session reads are measured.
    pub(super) read_at: Option<String>,
}

impl Plan {
    pub(super) fn new(args: &BenchArgs) -> Result<Plan, Failure> {
        let wrong =
            |field: &str, message: &str| Err(Failure::new(Reason::ArgumentInvalid, message).in_field(field));
        if args.batch.is_some() && args.mix.has(Operation::Balance) {
            return wrong("mix", "a batch holds writes only; leave balance out of --mix");
        }
        if args.no_request_ids && args.mix.has(Operation::Interest) {
            return wrong(
                "mix",
                "the amount of interest whose answer got lost is found by its request id; leave out interest or --no-request-ids",
            );
        }
        if args.duration.is_zero() {
            return wrong("duration", "--duration must be more than 0");
        }
        let sending = match (args.batch, args.submit) {
            (None, _) => Sending::Unary,
            (Some(commands), false) => Sending::Batches(commands),
            (Some(commands), true) => Sending::Stream(commands),
        };
        let connections = args.clients.min(args.inflight);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.unwrap_or(DEFAULT_THREADS.min(cores));
        // A transfer needs a second account, also when all money is on one.
        let least = if args.mix.has(Operation::Transfer) { 2 } else { 1 };
        Ok(Plan {
            sending,
            rate: args.rate,
            duration: args.duration,
            warmup: args.warmup,
            mix: args.mix.clone(),
            accounts: args.accounts.max(least),
            hot: args.hot,
            seed: args.seed.unwrap_or_else(fresh_seed),
            threads: threads.min(connections),
            connections,
            inflight: args.inflight,
            window: args.inflight.div_ceil(connections),
            request_ids: !args.no_request_ids,
            transfer_to: args.transfer_to.clone(),
            read_at: args.read_at.clone(),
        })
    }

    /// Commands in one message.
    pub(super) fn commands(&self) -> usize {
        match self.sending {
            Sending::Unary => 1,
            Sending::Batches(commands) | Sending::Stream(commands) => commands,
        }
    }
}

/// Small enough to be typed again.
fn fresh_seed() -> u64 {
    const SIX_DIGITS: u64 = 1_000_000;
    Uuid::now_v7().as_u64_pair().1 % SIX_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parsed(line: &str) -> Result<BenchArgs, String> {
        Line::try_parse_from(format!("bench {line}").split_whitespace())
            .map(|line| line.bench)
            .map_err(|error| error.to_string())
    }

    fn plan(line: &str) -> Result<Plan, Failure> {
        Plan::new(&parsed(line).unwrap())
    }

    #[test]
    fn the_defaults_are_the_usual_measurement() {
        let plan = plan("").unwrap();
        assert_eq!((plan.connections, plan.inflight, plan.accounts), (4, 64, 1_000));
        assert_eq!(plan.sending, Sending::Unary);
        assert_eq!((plan.duration, plan.mix.to_string().as_str()), (Duration::from_secs(8), "deposit=100"));
        assert!(plan.request_ids);
    }

    #[test]
    fn there_are_never_more_connections_than_calls() {
        let one = plan("--inflight 1 --threads 8").unwrap();
        assert_eq!((one.connections, one.inflight, one.threads), (1, 1, 1));
        let streams = plan("--batch 10 --submit --inflight 10").unwrap();
        assert_eq!((streams.connections, streams.inflight, streams.window), (4, 10, 3));
    }

    #[test]
    fn a_mix_gives_every_operation_its_share() {
        let mix: Mix = "deposit=7,balance=2,withdraw=0,transfer=1".parse().unwrap();
        assert_eq!(mix.to_string(), "deposit=7,balance=2,transfer=1");
        let counted = |wanted| (0..mix.total()).filter(|point| mix.at(*point) == wanted).count();
        assert_eq!(
            [Operation::Deposit, Operation::Balance, Operation::Transfer, Operation::Withdraw].map(counted),
            [7, 2, 1, 0]
        );
        for text in ["", "deposit=0", "deposit=1,deposit=2", "robbery=1", "deposit=-1", "deposit=1.5"] {
            assert!(text.parse::<Mix>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn options_that_cannot_be_measured_are_refused() {
        for line in [
            "--clients 0",
            "--inflight 0",
            "--batch 8193",
            "--duration 8",
            "--duration -1s",
            "--duration 25000m",
            "--rate 0",
            "--submit",
            "--submit --batch 2 --rate 5",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        for line in ["--batch 2 --mix balance", "--no-request-ids --mix interest", "--duration 0s"] {
            assert_eq!(plan(line).unwrap_err().reason, Reason::ArgumentInvalid, "{line}");
        }
    }
}
