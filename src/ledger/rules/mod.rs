//! The rules: what a command gets, given the ledger as it stands. Nothing changes here.

mod draft;
mod holds;
mod transfers;

use super::accounts::Accounts;
use super::tables::{Reservation, Tables};
use crate::model::{
    AccountNumber, AccountState, Amount, Balance, Command, Money, NewAccount, Outcome, Receipt, Rejection,
    StateAction, StateChange, Timestamp,
};
pub(super) use draft::Draft;

/// What a decision looks at.
pub(super) trait Books {
    /// What an account has; `None` when there is no such account.
    fn funds(&self, account: AccountNumber) -> Option<Funds>;
    /// The smallest number that is not in use.
    fn free_number(&self) -> AccountNumber;
    /// Holds, transfers and credits.
    fn tables(&self) -> &Tables;
    /// The time of the batch.
    fn now(&self) -> Timestamp;
}

/// What an account has and may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Funds {
    pub(super) balance: Balance,
    /// What other branches may still credit: room that is kept for it.
    pub(super) incoming: Money,
    pub(super) state: AccountState,
}

impl Funds {
    /// Follows a receipt.
    fn reserve(&mut self, reservation: &Reservation) {
        let sum = |money: Money, change: Money| money.checked_add(change).expect(RESERVED);
        self.balance.held = sum(self.balance.held, reservation.held);
        self.incoming = sum(self.incoming, reservation.incoming);
        self.state = reservation.state.unwrap_or(self.state);
    }

    /// What is left when money that is held goes away: `taken` of it is paid.
    fn after_release(&self, held: Money, taken: Money) -> Balance {
        let less = |money: Money, by: Money| money.checked_sub(by).expect(RESERVED);
        Balance {
            balance: less(self.balance.balance, taken),
            held: less(self.balance.held, held),
            overdraft: self.balance.overdraft,
        }
    }
}

/// Why money that is held can always be paid: available was at least zero after it was held, and nothing takes more
/// than is available.
const RESERVED: &str = "money that is held is there";

/// Decides one command.
pub(super) fn decide(command: &Command, books: &impl Books) -> Outcome {
    match command {
        Command::OpenAccount(new) => open(new, books),
        Command::Deposit { account, amount } => {
            let funds = usable(books, *account)?;
            let balance = added(*account, &funds, amount.money())?;
            Ok(Receipt::Deposited { account: *account, balance })
        }
        Command::Withdraw { account, amount } => {
            let funds = usable(books, *account)?;
            let balance = taken(*account, &funds, *amount)?;
            Ok(Receipt::Withdrawn { account: *account, balance })
        }
        Command::AddInterest { account, rate } => {
            let funds = usable(books, *account)?;
            let interest = rate.interest_on(funds.balance.balance);
            let interest = interest.ok_or(Rejection::AmountOverflow { account: *account })?;
            let balance = added(*account, &funds, interest)?;
            Ok(Receipt::InterestAdded { account: *account, interest, balance })
        }
        Command::Transfer { source, destination, amount } => {
            if source == destination {
                return Err(Rejection::SameAccount { account: *source });
            }
            let (payer, receiver) = (existing(books, *source)?, existing(books, *destination)?);
            check_state(*source, &payer)?;
            check_state(*destination, &receiver)?;
            Ok(Receipt::Transferred {
                source: *source,
                destination: *destination,
                source_balance: taken(*source, &payer, *amount)?,
                destination_balance: added(*destination, &receiver, amount.money())?,
            })
        }
        Command::SetAccountState { account, action } => set_state(*account, *action, books),
        Command::PlaceHold(new) => holds::place(new, books),
        Command::CaptureHold { hold, amount } => holds::capture(*hold, *amount, books),
        Command::ReleaseHold { hold } => holds::release(*hold, books),
        Command::ExpireHold { hold } => holds::expire(*hold, books),
        Command::BeginTransfer(new) => transfers::begin(new, books),
        Command::CommitTransfer { number } => transfers::commit(*number, books),
        Command::AbortTransfer { number, .. } => transfers::abort(*number, books),
        Command::CloseTransfer { number, .. } => transfers::close(*number, books),
        Command::PrepareCredit(credit) => transfers::prepare_credit(credit, books),
        Command::CommitCredit(credit) => transfers::commit_credit(credit, books),
        Command::AbortCredit(credit) => transfers::abort_credit(credit, books),
    }
}

fn open(new: &NewAccount, books: &impl Books) -> Outcome {
    let account = match new.number {
        Some(account) if books.funds(account).is_some() => {
            return Err(Rejection::AccountExists { account });
        }
        Some(account) => account,
        None => books.free_number(),
    };
    let balance = new.deposit.map_or(Money::ZERO, Amount::money);
    Ok(Receipt::Opened { account, balance })
}

fn set_state(account: AccountNumber, action: StateAction, books: &impl Books) -> Outcome {
    let funds = existing(books, account)?;
    if !action.may_leave(funds.state) {
        check_state(account, &funds)?;
    }
    let state = action.state();
    match state {
        AccountState::Open | AccountState::Frozen => {}
        AccountState::Closed => {
            let balance = funds.balance.balance;
            if balance != Money::ZERO {
                return Err(Rejection::BalanceNotZero { account, balance });
            }
            if funds.balance.held != Money::ZERO || funds.incoming != Money::ZERO {
                return Err(Rejection::AccountInUse { account });
            }
        }
    }
    Ok(Receipt::StateSet(Box::new(StateChange { account, state, balance: funds.balance })))
}

fn existing(books: &impl Books, account: AccountNumber) -> Result<Funds, Rejection> {
    books.funds(account).ok_or(Rejection::AccountNotFound { account })
}

fn check_state(account: AccountNumber, funds: &Funds) -> Result<(), Rejection> {
    match funds.state {
        AccountState::Open => Ok(()),
        AccountState::Frozen => Err(Rejection::AccountFrozen { account }),
        AccountState::Closed => Err(Rejection::AccountClosed { account }),
    }
}

/// What an account has, if it exists and takes operations.
fn usable(books: &impl Books, account: AccountNumber) -> Result<Funds, Rejection> {
    let funds = existing(books, account)?;
    check_state(account, &funds)?;
    Ok(funds)
}

/// The balance with more money, if there is still room for what other branches were promised.
fn added(account: AccountNumber, funds: &Funds, amount: Money) -> Result<Money, Rejection> {
    let balance = funds.balance.balance.checked_add(amount);
    let fits =
        |balance: &Money| funds.incoming == Money::ZERO || balance.checked_add(funds.incoming).is_some();
    balance.filter(fits).ok_or(Rejection::AmountOverflow { account })
}

/// The balance with less money.
fn taken(account: AccountNumber, funds: &Funds, amount: Amount) -> Result<Money, Rejection> {
    check_available(account, funds, amount)?;
    funds.balance.balance.checked_sub(amount.money()).ok_or(Rejection::AmountOverflow { account })
}

/// The account's money when so much more of it is held.
fn reserved(account: AccountNumber, funds: &Funds, amount: Amount) -> Result<Balance, Rejection> {
    check_available(account, funds, amount)?;
    let held = funds.balance.held.checked_add(amount.money());
    let held = held.ok_or(Rejection::AmountOverflow { account })?;
    Ok(Balance { held, ..funds.balance })
}

fn check_available(account: AccountNumber, funds: &Funds, amount: Amount) -> Result<(), Rejection> {
    let (available, needed) = (funds.balance.available(), amount.money());
    if needed > available {
        return Err(Rejection::InsufficientFunds { account, available, needed });
    }
    Ok(())
}

/// Refuses one more of something that has a limit.
fn check_room(count: usize, limit: u32) -> Result<(), Rejection> {
    let has_room = u32::try_from(count).is_ok_and(|count| count < limit);
    if has_room { Ok(()) } else { Err(Rejection::TooManyOpen { limit }) }
}

/// The ledger as it stands.
pub(super) struct Standing<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) tables: &'a Tables,
    /// Every number below it is in use.
    pub(super) next: AccountNumber,
    /// The time of the batch.
    pub(super) time: Timestamp,
}

impl Books for Standing<'_> {
    fn funds(&self, account: AccountNumber) -> Option<Funds> {
        self.accounts.with(account, |entry| entry.funds())
    }

    fn free_number(&self) -> AccountNumber {
        free_from(self.next, |number| self.accounts.exists(number))
    }

    fn tables(&self) -> &Tables {
        self.tables
    }

    fn now(&self) -> Timestamp {
        self.time
    }
}

/// The smallest number that may be unused after a command: an automatic opening took the smallest one.
pub(super) fn after_opening(next: AccountNumber, command: &Command, receipt: &Receipt) -> AccountNumber {
    match (command, receipt) {
        (Command::OpenAccount(new), Receipt::Opened { account, .. }) if new.number.is_none() => {
            account.next().expect(FULL)
        }
        (_, _) => next,
    }
}

const FULL: &str = "a million million accounts fit in no memory";

fn free_from(from: AccountNumber, in_use: impl Fn(AccountNumber) -> bool) -> AccountNumber {
    let mut number = from;
    while in_use(number) {
        number = number.next().expect(FULL);
    }
    number
}
