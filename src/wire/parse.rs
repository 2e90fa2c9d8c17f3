//! Requests into model values, once, at the edge. Every refusal names the field as the proto does.
//!
//! `api` calls it; nothing behind it checks these values again.

use std::num::NonZeroU64;
use std::time::Duration;

use prost_types::Timestamp as ProtoTimestamp;

use super::proto::v1;
use crate::model::limits::{HOLD_LONGEST, PAGE_DEFAULT, PAGE_MAX};
use crate::model::{
    AccountNumber, AccountRef, AccountState, Amount, BranchName, Command, Failure, HoldId, IdError, Money,
    NewAccount, NewHold, Overdraft, Rate, Reason, RemoteAccount, RequestId, Sequence, StateAction, Timestamp,
    TransferId,
};

/// An account of the branch `home`, written `17` or `main/17`.
///
/// # Errors
/// `ACCOUNT_SYNTAX`, and `BRANCH_UNKNOWN` for an account of another branch.
pub fn account(home: &BranchName, text: &str, field: &str) -> Result<AccountNumber, Failure> {
    let own = text.strip_prefix(home.as_str()).and_then(|rest| rest.strip_prefix('/'));
    own.unwrap_or(text).parse().map_err(|error: IdError| match text.parse::<AccountRef>() {
        Ok(AccountRef { branch: Some(branch), .. }) => elsewhere(home, &branch, field),
        Ok(AccountRef { branch: None, .. }) | Err(_) => Failure::from(error).in_field(field),
    })
}

/// What belongs to another branch than the one that is served here.
fn elsewhere(home: &BranchName, branch: &BranchName, field: &str) -> Failure {
    Failure::new(
        Reason::BranchUnknown,
        format!("this server serves branch {home} and not {branch}; ask a server of {branch}"),
    )
    .with("branch", branch)
    .with("home", home)
    .in_field(field)
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

/// Payer, receiver and amount of a transfer, wherever the accounts are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Movement {
    /// The account that pays.
    pub source: RemoteAccount,
    /// The account that receives.
    pub destination: RemoteAccount,
    /// How much.
    pub amount: Amount,
}

/// Payer, receiver and amount of a transfer. An account without a branch is of the branch `home`.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn transfer(home: &BranchName, request: &v1::TransferRequest) -> Result<Movement, Failure> {
    Ok(Movement {
        source: anywhere(home, &request.source, "source")?,
        destination: anywhere(home, &request.destination, "destination")?,
        amount: amount(&request.amount, "amount")?,
    })
}

fn anywhere(home: &BranchName, text: &str, field: &str) -> Result<RemoteAccount, Failure> {
    let AccountRef { branch, number } =
        text.parse().map_err(|error: IdError| Failure::from(error).in_field(field))?;
    Ok(RemoteAccount { branch: branch.unwrap_or_else(|| home.clone()), account: number })
}

/// An account as another branch must be told of it: with its branch. What is no account stays as it is.
#[must_use]
pub fn full_reference(home: &BranchName, text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("{home}/{text}") }
}

/// The name of a transfer, of whatever branch.
///
/// # Errors
/// `ARGUMENT_INVALID` for what is none.
pub fn transfer_id(home: &BranchName, text: &str) -> Result<TransferId, Failure> {
    TransferId::parse(text, home).map_err(|error| Failure::from(error).in_field("transfer"))
}

/// The name of a hold of the branch `home`.
///
/// # Errors
/// `ARGUMENT_INVALID` for what is none, `BRANCH_UNKNOWN` for a hold of another branch.
pub fn hold_id(home: &BranchName, text: &str) -> Result<HoldId, Failure> {
    let (branch, hold) = HoldId::parse(text, home).map_err(|error| Failure::from(error).in_field("hold"))?;
    if branch == *home { Ok(hold) } else { Err(elsewhere(home, &branch, "hold")) }
}

/// The command that freezes, closes or opens an account again.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn set_state(home: &BranchName, request: &v1::SetAccountStateRequest) -> Result<Command, Failure> {
    let named = |field, value| match v1::AccountState::try_from(value) {
        Ok(v1::AccountState::Unspecified) => Ok(None),
        Ok(v1::AccountState::Open) => Ok(Some(AccountState::Open)),
        Ok(v1::AccountState::Frozen) => Ok(Some(AccountState::Frozen)),
        Ok(v1::AccountState::Closed) => Ok(Some(AccountState::Closed)),
        Err(_) => Err(unknown_value(field, value)),
    };
    let state = named("state", request.state)?.ok_or_else(|| unknown_value("state", request.state))?;
    let action = StateAction::to(state, named("from", request.from)?)
        .ok_or_else(|| unknown_value("from", request.from))?;
    Ok(Command::SetAccountState { account: account(home, &request.account, "account")?, action })
}

/// The command that places a hold.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn place_hold(home: &BranchName, request: &v1::PlaceHoldRequest) -> Result<Command, Failure> {
    Ok(Command::PlaceHold(Box::new(NewHold {
        account: account(home, &request.account, "account")?,
        amount: amount(&request.amount, "amount")?,
        lasts: request.expires_in.as_ref().map(lasts).transpose()?,
    })))
}

fn lasts(time: &prost_types::Duration) -> Result<NonZeroU64, Failure> {
    let lasts = Duration::try_from(*time).ok().filter(|time| *time <= HOLD_LONGEST);
    let micros = lasts.and_then(|time| u64::try_from(time.as_micros()).ok()).and_then(NonZeroU64::new);
    micros.ok_or_else(|| {
        Failure::new(
            Reason::ArgumentInvalid,
            "a hold ends by itself after more than a microsecond and at most 366 days; leave expires_in out for never",
        )
        .in_field("expires_in")
    })
}

/// The command that takes the money of a hold, and the hold.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn capture_hold(home: &BranchName, request: &v1::CaptureHoldRequest) -> Result<Command, Failure> {
    let amount = match request.amount.as_str() {
        "" => None,
        text => Some(amount(text, "amount")?),
    };
    Ok(Command::CaptureHold { hold: hold_id(home, &request.hold)?, amount })
}

/// The command that lets the money of a hold go.
///
/// # Errors
/// The reason that fits the wrong field.
pub fn release_hold(home: &BranchName, request: &v1::ReleaseHoldRequest) -> Result<Command, Failure> {
    Ok(Command::ReleaseHold { hold: hold_id(home, &request.hold)? })
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
