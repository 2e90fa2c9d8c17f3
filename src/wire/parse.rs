//! Requests into model values, once, at the edge. Every refusal names the field as the proto does.
//!
//! `api` calls it; nothing behind it checks these values again.

use std::num::NonZeroU64;

use prost_types::Timestamp as ProtoTimestamp;

use super::proto::v1;
use crate::model::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::model::{
    AccountNumber, AccountRef, Amount, BranchName, Command, Failure, IdError, Money, NewAccount, Overdraft,
    Rate, Reason, RequestId, Sequence, Timestamp,
};

/// An account of the branch `home`, written `17` or `main/17`.
///
/// # Errors
/// `ACCOUNT_SYNTAX`, and `BRANCH_UNKNOWN` for an account of another branch.
pub fn account(home: &BranchName, text: &str, field: &str) -> Result<AccountNumber, Failure> {
    let own = text.strip_prefix(home.as_str()).and_then(|rest| rest.strip_prefix('/'));
    own.unwrap_or(text).parse().map_err(|error: IdError| match text.parse::<AccountRef>() {
        Ok(AccountRef { branch: Some(branch), .. }) => Failure::new(
            Reason::BranchUnknown,
            format!("branch {branch} is not known here; this server serves {home}"),
        )
        .with("branch", branch)
        .with("home", home)
        .in_field(field),
        Ok(AccountRef { branch: None, .. }) | Err(_) => Failure::from(error).in_field(field),
    })
}

/// The command of an opening.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn open(home: &BranchName, request: &v1::OpenAccountRequest) -> Result<Command, Failure> {
    let number = match request.account.as_str() {
        "" => None,
        text => Some(account(home, text, "account")?),
    };
    let name = match request.name.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error: IdError| Failure::from(error).in_field("name"))?),
    };
    let deposit = match request.deposit.as_str() {
        "" => None,
        text => Some(amount(text, "deposit")?),
    };
    let overdraft = match request.overdraft_limit.as_str() {
        "" => Overdraft::NONE,
        text => Money::parse(text)
            .and_then(Overdraft::try_from)
            .map_err(|error| Failure::from(error).in_field("overdraft_limit"))?,
    };
    Ok(Command::OpenAccount(Box::new(NewAccount { number, name, deposit, overdraft })))
}

/// The command of a deposit.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn deposit(home: &BranchName, request: &v1::DepositAccountRequest) -> Result<Command, Failure> {
    Ok(Command::Deposit {
        account: account(home, &request.account, "account")?,
        amount: amount(&request.amount, "amount")?,
    })
}

/// The command of a withdrawal.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn withdraw(home: &BranchName, request: &v1::WithdrawAccountRequest) -> Result<Command, Failure> {
    Ok(Command::Withdraw {
        account: account(home, &request.account, "account")?,
        amount: amount(&request.amount, "amount")?,
    })
}

/// The command that adds interest.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn interest(home: &BranchName, request: &v1::AddInterestRequest) -> Result<Command, Failure> {
    Ok(Command::AddInterest {
        account: account(home, &request.account, "account")?,
        rate: Rate::parse(&request.rate).map_err(|error| Failure::from(error).in_field("rate"))?,
    })
}

/// Payer, receiver and amount of a transfer.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn transfer(
    home: &BranchName,
    request: &v1::TransferRequest,
) -> Result<(AccountNumber, AccountNumber, Amount), Failure> {
    Ok((
        account(home, &request.source, "source")?,
        account(home, &request.destination, "destination")?,
        amount(&request.amount, "amount")?,
    ))
}

fn amount(text: &str, field: &str) -> Result<Amount, Failure> {
    Amount::parse(text).map_err(|error| Failure::from(error).in_field(field))
}

/// The name of an operation; none when the field is empty.
///
/// # Errors
/// `REQUEST_ID_INVALID`.
pub fn request_id(text: &str) -> Result<Option<RequestId>, Failure> {
    if text.is_empty() { Ok(None) } else { required_request_id(text).map(Some) }
}

/// The name of an operation that the call is about.
///
/// # Errors
/// `REQUEST_ID_INVALID`.
pub fn required_request_id(text: &str) -> Result<RequestId, Failure> {
    text.parse().map_err(|error: IdError| Failure::from(error).in_field("request_id"))
}

/// How fresh a read must be, as the caller says it.
///
/// # Errors
/// `ARGUMENT_INVALID` for a number without meaning.
pub fn consistency(value: i32) -> Result<v1::Consistency, Failure> {
    v1::Consistency::try_from(value).map_err(|_| unknown_value("consistency", value))
}

/// Whether a statement is wanted newest first.
///
/// # Errors
/// `ARGUMENT_INVALID` for a number without meaning.
pub fn newest_first(order: i32) -> Result<bool, Failure> {
    match v1::EntryOrder::try_from(order) {
        Ok(v1::EntryOrder::Unspecified | v1::EntryOrder::NewestFirst) => Ok(true),
        Ok(v1::EntryOrder::OldestFirst) => Ok(false),
        Err(_) => Err(unknown_value("order", order)),
    }
}

fn unknown_value(field: &str, value: i32) -> Failure {
    Failure::new(Reason::ArgumentInvalid, format!("{field} has no value {value}"))
        .with("value", value)
        .in_field(field)
}

/// How many entries a page has at most.
///
/// # Errors
/// `ARGUMENT_INVALID` for a negative number.
pub fn page_size(size: i32) -> Result<usize, Failure> {
    match usize::try_from(size) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(Failure::new(
            Reason::ArgumentInvalid,
            "page_size must not be negative; 0 takes the usual size",
        )
        .with("value", size)
        .in_field("page_size")),
    }
}

/// Up to which entry a statement goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AsOf {
    /// Entries after this sequence are left out.
    pub sequence: Sequence,
    /// Entries after this time are left out.
    pub time: Timestamp,
}

/// Up to which entry a statement goes: a sequence, or a time, or neither.
///
/// # Errors
/// `ARGUMENT_INVALID` for both, and for a time that is none.
pub fn as_of(sequence: u64, time: Option<&ProtoTimestamp>) -> Result<AsOf, Failure> {
    let sequence = NonZeroU64::new(sequence);
    if sequence.is_some() && time.is_some() {
        return Err(Failure::new(
            Reason::ArgumentInvalid,
            "as_of_sequence and as_of_time do not go together; give one of them",
        )
        .in_field("as_of_time"));
    }
    Ok(AsOf {
        sequence: Sequence(sequence.map_or(u64::MAX, NonZeroU64::get)),
        time: time.map_or(Ok(Timestamp::MAX), as_of_time)?,
    })
}

fn as_of_time(time: &ProtoTimestamp) -> Result<Timestamp, Failure> {
    const NANOS_PER_SECOND: u32 = 1_000_000_000;
    let micros = || {
        let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < NANOS_PER_SECOND)?;
        u64::try_from(time.seconds).ok()?.checked_mul(1_000_000)?.checked_add(u64::from(nanos / 1_000))
    };
    micros().map(Timestamp::from_micros).ok_or_else(|| {
        Failure::new(
            Reason::ArgumentInvalid,
            "as_of_time is not a time since 1970 with nanos below 1000000000",
        )
        .in_field("as_of_time")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_this_branch_is_a_number_with_or_without_its_name() {
        let home: BranchName = "main".parse().unwrap();
        assert_eq!(account(&home, "17", "account").unwrap().get(), 17);
        assert_eq!(account(&home, "main/17", "account").unwrap().get(), 17);
        for (text, reason) in [
            ("delhi/17", Reason::BranchUnknown),
            ("mai/17", Reason::BranchUnknown),
            ("main17", Reason::AccountSyntax),
            ("main/", Reason::AccountSyntax),
            ("main/main/1", Reason::AccountSyntax),
            ("main/0", Reason::AccountSyntax),
            ("", Reason::AccountSyntax),
            ("x", Reason::AccountSyntax),
        ] {
            let failure = account(&home, text, "source").unwrap_err();
            assert_eq!((failure.reason, failure.field.as_deref()), (reason, Some("source")), "{text:?}");
        }
    }

    #[test]
    fn a_page_has_fifty_entries_unless_told_otherwise_and_at_most_a_thousand() {
        for (size, read) in [(0, 50), (1, 1), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
            assert_eq!(page_size(size), Ok(read));
        }
        for size in [-1, i32::MIN] {
            assert_eq!(page_size(size).unwrap_err().field.as_deref(), Some("page_size"));
        }
    }

    #[test]
    fn a_statement_ends_at_a_sequence_or_at_a_time() {
        let at = |seconds, nanos| ProtoTimestamp { seconds, nanos };
        let none = as_of(0, None).unwrap();
        assert_eq!((none.sequence, none.time), (Sequence(u64::MAX), Timestamp::MAX));
        assert_eq!(as_of(7, None).unwrap().sequence, Sequence(7));
        assert_eq!(as_of(0, Some(&at(2, 3_999))).unwrap().time.micros(), 2_000_003);
        for time in [at(-1, 0), at(0, -1), at(0, 1_000_000_000), at(i64::MAX, 0)] {
            assert_eq!(as_of(0, Some(&time)).unwrap_err().reason, Reason::ArgumentInvalid);
        }
        assert_eq!(as_of(1, Some(&at(1, 0))).unwrap_err().reason, Reason::ArgumentInvalid);
    }
}
