//! Batches: integers on the wire, so that millions of commands a second pass here. Nothing is formatted
//! and nothing allocated for a command that is in order, except the box of an opening.
//!
//! `api` calls it.

use std::fmt;

use super::proto::v1::{BatchCommand, BatchResult, OperationError, OperationKind};
use crate::model::limits::BATCH_COMMANDS;
use crate::model::{
    AccountNumber, Amount, AmountError, Command, Failure, IdError, Money, NewAccount, Outcome, Overdraft,
    Rate, Reason, Receipt, Work,
};

/// The work of a batch.
///
/// # Errors
/// The reason that fits the first wrong command, naming its position; nothing of the batch is done.
pub fn work(atomic: bool, commands: &[BatchCommand]) -> Result<Work, Failure> {
    if commands.is_empty() {
        return Err(
            Failure::new(Reason::ArgumentInvalid, "a batch has at least one command").in_field("commands")
        );
    }
    if commands.len() > BATCH_COMMANDS {
        return Err(too_large(commands.len()));
    }
    let mut parsed = Vec::with_capacity(commands.len());
    for (index, wire) in commands.iter().enumerate() {
        parsed.push(command(wire).map_err(|wrong| wrong.at(index))?);
    }
    Ok(if atomic { Work::Atomic(parsed) } else { Work::Independent(parsed) })
}

/// A batch of this many commands, which is too many.
#[must_use]
pub fn too_large(commands: impl fmt::Display) -> Failure {
    let what = format!("the batch has {commands} commands and a batch has at most {BATCH_COMMANDS}");
    Failure::new(Reason::BatchTooLarge, what)
        .with("commands", commands)
        .with("limit", BATCH_COMMANDS)
        .in_field("commands")
}

/// What is wrong with a command, before anything is formatted.
enum Wrong {
    Kind,
    NotInBatches,
    Account(&'static str),
    Amount(&'static str, AmountError),
    Rate,
    Name(IdError),
    Surplus(&'static str),
}

impl Wrong {
    fn at(self, index: usize) -> Failure {
        let (field, failure) = match self {
            Wrong::Kind => ("kind", Failure::new(Reason::ArgumentInvalid, "the kind is missing or unknown")),
            Wrong::NotInBatches => {
                let what = "a batch takes openings, deposits, withdrawals, interest and transfers inside the branch; make a call of its own for this";
                ("kind", Failure::new(Reason::ArgumentInvalid, what))
            }
            Wrong::Account(field) => (field, IdError::Account.into()),
            Wrong::Amount(field, error) => (field, error.into()),
            Wrong::Rate => ("rate", crate::model::RateError.into()),
            Wrong::Name(error) => ("name", error.into()),
            Wrong::Surplus(field) => (
                field,
                Failure::new(
                    Reason::ArgumentInvalid,
                    format!("a command of this kind does not take {field}; leave it out"),
                ),
            ),
        };
        let message = format!("command {index} of the batch: {}", failure.message);
        Failure { message, ..failure }.with("index", index).in_field(&format!("commands[{index}].{field}"))
    }
}

fn command(wire: &BatchCommand) -> Result<Command, Wrong> {
    let kind = OperationKind::try_from(wire.kind).map_err(|_| Wrong::Kind)?;
    let account = || AccountNumber::new(wire.account).ok_or(Wrong::Account("account"));
    let amount = || Amount::from_minor(wire.amount).map_err(|error| Wrong::Amount("amount", error));
    let with_destination = ("destination", wire.destination != 0);
    let with_rate = ("rate", wire.rate != 0);
    let with_name = ("name", !wire.name.is_empty());
    let with_overdraft = ("overdraft_limit", wire.overdraft_limit != 0);
    match kind {
        OperationKind::Unspecified => Err(Wrong::Kind),
        OperationKind::Open => {
            none_of([with_destination, with_rate])?;
            open(wire)
        }
        OperationKind::Deposit => {
            none_of([with_destination, with_rate, with_name, with_overdraft])?;
            Ok(Command::Deposit { account: account()?, amount: amount()? })
        }
        OperationKind::Withdraw => {
            none_of([with_destination, with_rate, with_name, with_overdraft])?;
            Ok(Command::Withdraw { account: account()?, amount: amount()? })
        }
        OperationKind::Interest => {
            none_of([("amount", wire.amount != 0), with_destination, with_name, with_overdraft])?;
            let rate = Rate::from_parts(wire.rate).map_err(|_| Wrong::Rate)?;
            Ok(Command::AddInterest { account: account()?, rate })
        }
        OperationKind::Transfer => {
            none_of([with_rate, with_name, with_overdraft])?;
            let destination = AccountNumber::new(wire.destination).ok_or(Wrong::Account("destination"))?;
            Ok(Command::Transfer { source: account()?, destination, amount: amount()? })
        }
        OperationKind::SetState
        | OperationKind::Hold
        | OperationKind::Capture
        | OperationKind::Release
        | OperationKind::Expire
        | OperationKind::TransferBegin
        | OperationKind::TransferCommit
        | OperationKind::TransferAbort
        | OperationKind::TransferClose
        | OperationKind::CreditPrepare
        | OperationKind::CreditCommit
        | OperationKind::CreditAbort => Err(Wrong::NotInBatches),
    }
}

/// Refuses fields that the kind does not name.
fn none_of<const N: usize>(fields: [(&'static str, bool); N]) -> Result<(), Wrong> {
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Wrong::Surplus(field)),
        None => Ok(()),
    }
}

fn open(wire: &BatchCommand) -> Result<Command, Wrong> {
    let number = match wire.account {
        0 => None,
        number => Some(AccountNumber::new(number).ok_or(Wrong::Account("account"))?),
    };
    let name = match wire.name.as_str() {
        "" => None,
        name => Some(name.parse().map_err(Wrong::Name)?),
    };
    let deposit = match wire.amount {
        0 => None,
        amount => Some(Amount::from_minor(amount).map_err(|error| Wrong::Amount("amount", error))?),
    };
    let overdraft = Money::from_minor(wire.overdraft_limit)
        .ok_or(AmountError::Overflow)
        .and_then(Overdraft::try_from)
        .map_err(|error| Wrong::Amount("overdraft_limit", error))?;
    Ok(Command::OpenAccount(Box::new(NewAccount { number, name, deposit, overdraft })))
}

/// What became of each command of a batch.
#[must_use]
pub fn results(outcomes: &[Outcome]) -> Vec<BatchResult> {
    outcomes.iter().map(result).collect()
}

fn result(outcome: &Outcome) -> BatchResult {
    match outcome {
        Ok(
            Receipt::Opened { account, balance }
            | Receipt::Deposited { account, balance }
            | Receipt::Withdrawn { account, balance },
        ) => BatchResult { account: account.get(), balance: balance.minor(), ..BatchResult::default() },
        Ok(Receipt::InterestAdded { account, interest, balance }) => BatchResult {
            account: account.get(),
            balance: balance.minor(),
            interest: interest.minor(),
            ..BatchResult::default()
        },
        Ok(Receipt::Transferred { source, source_balance, destination_balance, .. }) => BatchResult {
            account: source.get(),
            balance: source_balance.minor(),
            destination_balance: destination_balance.minor(),
            ..BatchResult::default()
        },
        Ok(
            receipt @ (Receipt::StateSet(_)
            | Receipt::HoldPlaced(_)
            | Receipt::HoldCaptured(_)
            | Receipt::HoldReleased(_)
            | Receipt::HoldExpired(_)
            | Receipt::TransferBegun(_)
            | Receipt::TransferCommitted(_)
            | Receipt::TransferAborted(_)
            | Receipt::TransferClosed(_)
            | Receipt::CreditPrepared(_)
            | Receipt::CreditCommitted(_)
            | Receipt::CreditAborted(_)
            | Receipt::CreditKnown { .. }),
        ) => {
            let money = receipt.money_after();
            BatchResult {
                account: money.map_or(0, |(account, _)| account.get()),
                balance: money.map_or(0, |(_, money)| money.balance.minor()),
                ..BatchResult::default()
            }
        }
        Err(rejection) => {
            BatchResult { error: Some(error(&Failure::from(rejection))), ..BatchResult::default() }
        }
    }
}

/// A failure inside a reply that as a whole is one.
#[must_use]
pub fn error(failure: &Failure) -> OperationError {
    OperationError {
        reason: failure.reason.as_str().to_owned(),
        message: failure.message.clone(),
        metadata: failure.metadata.clone().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: OperationKind) -> BatchCommand {
        BatchCommand { kind: kind.into(), ..BatchCommand::default() }
    }

    #[test]
    fn each_kind_takes_its_fields() {
        use OperationKind::{Deposit, Interest, Open, Transfer, Withdraw};
        let commands = [
            wire(Open),
            BatchCommand { account: 9, amount: 5, name: "Ada".into(), overdraft_limit: 7, ..wire(Open) },
            BatchCommand { account: 1, amount: 5, ..wire(Deposit) },
            BatchCommand { account: 1, amount: 5, ..wire(Withdraw) },
            BatchCommand { account: 1, rate: 10_000, ..wire(Interest) },
            BatchCommand { account: 1, destination: 2, amount: 5, ..wire(Transfer) },
        ];
        let number = |number| AccountNumber::new(number).unwrap();
        let amount = Amount::from_minor(5).unwrap();
        let expected = vec![
            Command::OpenAccount(Box::default()),
            Command::OpenAccount(Box::new(NewAccount {
                number: Some(number(9)),
                name: Some("Ada".parse().unwrap()),
                deposit: Some(amount),
                overdraft: Money::from_minor(7).unwrap().try_into().unwrap(),
            })),
            Command::Deposit { account: number(1), amount },
            Command::Withdraw { account: number(1), amount },
            Command::AddInterest { account: number(1), rate: Rate::parse("1").unwrap() },
            Command::Transfer { source: number(1), destination: number(2), amount },
        ];
        assert_eq!(work(true, &commands), Ok(Work::Atomic(expected.clone())));
        assert_eq!(work(false, &commands), Ok(Work::Independent(expected)));
    }

    #[test]
    fn a_wrong_command_is_refused_by_position_and_field() {
        use OperationKind::{Deposit, Interest, Open, Transfer, Unspecified, Withdraw};
        let good = BatchCommand { account: 1, amount: 5, ..wire(Deposit) };
        let table = [
            (wire(Unspecified), Reason::ArgumentInvalid, "kind"),
            (BatchCommand { kind: 77, ..good.clone() }, Reason::ArgumentInvalid, "kind"),
            (
                BatchCommand { kind: OperationKind::Hold.into(), ..good.clone() },
                Reason::ArgumentInvalid,
                "kind",
            ),
            (BatchCommand { account: 0, ..good.clone() }, Reason::AccountSyntax, "account"),
            (BatchCommand { account: u64::MAX, ..wire(Open) }, Reason::AccountSyntax, "account"),
            (BatchCommand { amount: 0, ..good.clone() }, Reason::AmountNotPositive, "amount"),
            (BatchCommand { amount: i64::MIN, ..good.clone() }, Reason::AmountNotPositive, "amount"),
            (BatchCommand { amount: i64::MAX, ..good.clone() }, Reason::AmountOverflow, "amount"),
            (BatchCommand { amount: -1, ..wire(Open) }, Reason::AmountNotPositive, "amount"),
            (
                BatchCommand { overdraft_limit: -1, ..wire(Open) },
                Reason::AmountNotPositive,
                "overdraft_limit",
            ),
            (
                BatchCommand { overdraft_limit: i64::MAX, ..wire(Open) },
                Reason::AmountOverflow,
                "overdraft_limit",
            ),
            (BatchCommand { name: "x".repeat(65), ..wire(Open) }, Reason::NameTooLong, "name"),
            (BatchCommand { name: " x".into(), ..wire(Open) }, Reason::NameSyntax, "name"),
            (BatchCommand { rate: 1, ..wire(Open) }, Reason::ArgumentInvalid, "rate"),
            (BatchCommand { rate: 1, ..good.clone() }, Reason::ArgumentInvalid, "rate"),
            (BatchCommand { destination: 2, ..good.clone() }, Reason::ArgumentInvalid, "destination"),
            (BatchCommand { name: "x".into(), ..good.clone() }, Reason::ArgumentInvalid, "name"),
            (BatchCommand { overdraft_limit: 1, ..good.clone() }, Reason::ArgumentInvalid, "overdraft_limit"),
            (
                BatchCommand { account: 1, amount: 5, rate: 1, ..wire(Withdraw) },
                Reason::ArgumentInvalid,
                "rate",
            ),
            (
                BatchCommand { account: 1, amount: 5, rate: 1, ..wire(Interest) },
                Reason::ArgumentInvalid,
                "amount",
            ),
            (BatchCommand { account: 1, ..wire(Interest) }, Reason::RateOutOfRange, "rate"),
            (BatchCommand { account: 1, rate: 1_000_001, ..wire(Interest) }, Reason::RateOutOfRange, "rate"),
            (BatchCommand { account: 1, amount: 5, ..wire(Transfer) }, Reason::AccountSyntax, "destination"),
        ];
        for (bad, reason, field) in table {
            let failure = work(false, &[good.clone(), bad.clone()]).unwrap_err();
            assert_eq!(failure.reason, reason, "{bad:?}");
            assert_eq!(failure.field, Some(format!("commands[1].{field}")), "{bad:?}");
            assert_eq!(failure.metadata["index"], "1");
        }
    }

    #[test]
    fn a_batch_has_between_one_and_the_limit_of_commands() {
        let good = BatchCommand { account: 1, amount: 5, ..wire(OperationKind::Deposit) };
        assert_eq!(work(false, &[]).unwrap_err().reason, Reason::ArgumentInvalid);
        assert!(work(false, &vec![good.clone(); BATCH_COMMANDS]).is_ok());
        let failure = work(false, &vec![good; BATCH_COMMANDS + 1]).unwrap_err();
        assert_eq!((failure.reason, failure.metadata["limit"].as_str()), (Reason::BatchTooLarge, "8192"));
    }
}
