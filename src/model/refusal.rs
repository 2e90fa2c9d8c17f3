//! What each rejection of the ledger tells its caller: its reason, one sentence, and the numbers in it.

use super::{AccountNumber, Failure, Reason, Rejection};

const REUSED: &str = "this request id already belongs to other work; use a new id for new work";
const EXPIRED: &str =
    "this request id is older than the ids the bank remembers; look at the statement before using a new id";
const FROM_FUTURE: &str = "this request id claims to be made more than five minutes ahead of the bank's clock; correct the clock that made it";

impl From<&Rejection> for Failure {
    fn from(rejection: &Rejection) -> Failure {
        let told = Failure::new(rejection.reason(), rejection.message());
        rejection.numbers().into_iter().fold(told, |told, (name, value)| told.with(name, value))
    }
}

impl Rejection {
    /// The entry of the catalogue.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Rejection::AccountNotFound { .. } => Reason::AccountNotFound,
            Rejection::AccountExists { .. } => Reason::AccountExists,
            Rejection::InsufficientFunds { .. } | Rejection::HoldTooSmall { .. } => Reason::InsufficientFunds,
            Rejection::AmountOverflow { .. } => Reason::AmountOverflow,
            Rejection::SameAccount { .. } => Reason::SameAccount,
            Rejection::AccountFrozen { .. } => Reason::AccountFrozen,
            Rejection::AccountClosed { .. } => Reason::AccountClosed,
            Rejection::BalanceNotZero { .. } => Reason::BalanceNotZero,
            Rejection::AccountInUse { .. } => Reason::AccountInUse,
            Rejection::HoldNotFound { .. } => Reason::HoldNotFound,
            Rejection::HoldFinal { .. } => Reason::HoldFinal,
            Rejection::HoldNotOver { .. } | Rejection::TransferPending { .. } => Reason::ArgumentInvalid,
            Rejection::TransferNotFound { .. } => Reason::TransferNotFound,
            Rejection::TransferFinal { .. } | Rejection::TransferStale { .. } => Reason::TransferFinal,
            Rejection::TransferMismatch { .. } => Reason::TransferMismatch,
            Rejection::TooManyOpen { .. } => Reason::TooManyOpen,
            Rejection::BatchAborted { .. } => Reason::BatchAborted,
            Rejection::RequestReused => Reason::RequestReused,
            Rejection::RequestExpired { .. } => Reason::RequestExpired,
            Rejection::RequestFromFuture { .. } => Reason::RequestIdInvalid,
        }
    }

    fn message(&self) -> String {
        let of_account = |account: &AccountNumber, what: &str| format!("account {account} {what}");
        match self {
            Rejection::AccountNotFound { account } => {
                of_account(account, "does not exist; `accounts` lists those that do")
            }
            Rejection::AccountExists { account } => {
                of_account(account, "exists already; ask for another number, or for none")
            }
            Rejection::InsufficientFunds { account, available, needed } => {
                format!("account {account} has {available} available and the operation takes {needed}")
            }
            Rejection::AmountOverflow { account } => {
                format!("the balance of account {account} would be more than 999999999999.99 in size")
            }
            Rejection::SameAccount { account } => {
                format!("source and destination are both account {account}; a transfer needs two")
            }
            Rejection::AccountFrozen { account } => {
                of_account(account, "is frozen; `unfreeze` lets it take operations again")
            }
            Rejection::AccountClosed { account } => of_account(account, "is closed; `reopen` opens it again"),
            Rejection::BalanceNotZero { account, balance } => {
                format!("account {account} has a balance of {balance}; bring it to zero before you close it")
            }
            Rejection::AccountInUse { account } => {
                of_account(account, "has open holds or transfers; let them end before you close it")
            }
            Rejection::HoldNotFound { hold } => {
                format!(
                    "hold {hold} does not exist, or ended long ago; `holds` lists the open ones of an account"
                )
            }
            Rejection::HoldFinal { hold, end } => {
                format!("hold {hold} has ended: {}; its money is no longer reserved", end.as_str())
            }
            Rejection::HoldTooSmall { hold, reserved, needed } => {
                format!("hold {hold} reserves {reserved} and the capture takes {needed}")
            }
            Rejection::HoldNotOver { hold } => format!("the time of hold {hold} is not over"),
            Rejection::TransferNotFound { number } => format!("no transfer with the number {number} is open"),
            Rejection::TransferFinal { number, committed } => {
                format!("transfer {number} is {}, and that never changes", final_state(*committed))
            }
            Rejection::TransferPending { number } => format!("transfer {number} has no decision yet"),
            Rejection::TransferStale { number, .. } => format!("transfer {number} was closed long ago"),
            Rejection::TransferMismatch { number } => {
                format!("this says something else about transfer {number} than a message before it")
            }
            Rejection::TooManyOpen { limit } => {
                format!("the branch takes no more than {limit} that are open; try again when some have ended")
            }
            Rejection::BatchAborted { failed } => {
                format!("nothing was done because command {failed} of this atomic batch was refused")
            }
            Rejection::RequestReused => REUSED.to_owned(),
            Rejection::RequestExpired { .. } => EXPIRED.to_owned(),
            Rejection::RequestFromFuture { .. } => FROM_FUTURE.to_owned(),
        }
    }

    /// The numbers and names of the message.
    fn numbers(&self) -> Vec<(&'static str, String)> {
        match self {
            Rejection::AccountNotFound { account }
            | Rejection::AccountExists { account }
            | Rejection::AmountOverflow { account }
            | Rejection::SameAccount { account }
            | Rejection::AccountFrozen { account }
            | Rejection::AccountClosed { account }
            | Rejection::AccountInUse { account } => vec![("account", account.to_string())],
            Rejection::BalanceNotZero { account, balance } => {
                vec![("account", account.to_string()), ("balance", balance.to_string())]
            }
            Rejection::InsufficientFunds { account, available, needed } => vec![
                ("account", account.to_string()),
                ("available", available.to_string()),
                ("needed", needed.to_string()),
            ],
            Rejection::HoldNotFound { hold } | Rejection::HoldNotOver { hold } => {
                vec![("hold", hold.to_string())]
            }
            Rejection::HoldFinal { hold, end } => {
                vec![("hold", hold.to_string()), ("state", end.as_str().to_owned())]
            }
            Rejection::HoldTooSmall { hold, reserved, needed } => vec![
                ("hold", hold.to_string()),
                ("reserved", reserved.to_string()),
                ("needed", needed.to_string()),
            ],
            Rejection::TransferNotFound { number }
            | Rejection::TransferPending { number }
            | Rejection::TransferMismatch { number } => vec![("transfer", number.to_string())],
            Rejection::TransferFinal { number, committed } => {
                vec![("transfer", number.to_string()), ("state", final_state(*committed).to_owned())]
            }
            Rejection::TransferStale { number, settled_below } => {
                vec![("transfer", number.to_string()), ("settled_below", settled_below.to_string())]
            }
            Rejection::TooManyOpen { limit } => vec![("limit", limit.to_string())],
            Rejection::BatchAborted { failed } => vec![("failed", failed.to_string())],
            Rejection::RequestReused => Vec::new(),
            Rejection::RequestExpired { forgotten } => {
                vec![("forgotten_until_micros", forgotten.micros().to_string())]
            }
            Rejection::RequestFromFuture { made, now } => {
                vec![("made_micros", made.micros().to_string()), ("now_micros", now.micros().to_string())]
            }
        }
    }
}

fn final_state(committed: bool) -> &'static str {
    if committed { "COMMITTED" } else { "ABORTED" }
}
