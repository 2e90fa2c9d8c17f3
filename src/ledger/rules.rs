//! The rules: what a command gets, given the accounts as they stand. Nothing changes here.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use crate::model::{
    AccountNumber, Amount, Balance, Command, Money, NewAccount, Outcome, Overdraft, Receipt, Rejection,
};

/// The accounts that a decision looks at.
pub(super) trait Books {
    /// What an account holds; `None` when there is no such account.
    fn balance(&self, account: AccountNumber) -> Option<Balance>;
    /// The smallest number that is not in use.
    fn free_number(&self) -> AccountNumber;
}

/// Decides one command.
pub(super) fn decide(command: &Command, books: &impl Books) -> Outcome {
    match command {
        Command::OpenAccount(new) => open(new, books),
        Command::Deposit { account, amount } => {
            let balance = existing(books, *account)?;
            let balance = added(*account, &balance, *amount)?;
            Ok(Receipt::Deposited { account: *account, balance })
        }
        Command::Withdraw { account, amount } => {
            let balance = existing(books, *account)?;
            let balance = taken(*account, &balance, *amount)?;
            Ok(Receipt::Withdrawn { account: *account, balance })
        }
        Command::AddInterest { account, rate } => {
            let overflow = Rejection::AmountOverflow { account: *account };
            let before = existing(books, *account)?.balance;
            let interest = rate.interest_on(before).ok_or_else(|| overflow.clone())?;
            let balance = before.checked_add(interest).ok_or(overflow)?;
            Ok(Receipt::InterestAdded { account: *account, interest, balance })
        }
        Command::Transfer { source, destination, amount } => {
            if source == destination {
                return Err(Rejection::SameAccount { account: *source });
            }
            let payer = existing(books, *source)?;
            let receiver = existing(books, *destination)?;
            Ok(Receipt::Transferred {
                source: *source,
                destination: *destination,
                source_balance: taken(*source, &payer, *amount)?,
                destination_balance: added(*destination, &receiver, *amount)?,
            })
        }
    }
}

fn open(new: &NewAccount, books: &impl Books) -> Outcome {
    let account = match new.number {
        Some(account) if books.balance(account).is_some() => {
            return Err(Rejection::AccountExists { account });
        }
        Some(account) => account,
        None => books.free_number(),
    };
    let balance = new.deposit.map_or(Money::ZERO, Amount::money);
    Ok(Receipt::Opened { account, balance })
}

fn existing(books: &impl Books, account: AccountNumber) -> Result<Balance, Rejection> {
    books.balance(account).ok_or(Rejection::AccountNotFound { account })
}

fn added(account: AccountNumber, balance: &Balance, amount: Amount) -> Result<Money, Rejection> {
    balance.balance.checked_add(amount.money()).ok_or(Rejection::AmountOverflow { account })
}

fn taken(account: AccountNumber, balance: &Balance, amount: Amount) -> Result<Money, Rejection> {
    let (available, needed) = (balance.available(), amount.money());
    if needed > available {
        return Err(Rejection::InsufficientFunds { account, available, needed });
    }
    balance.balance.checked_sub(needed).ok_or(Rejection::AmountOverflow { account })
}

/// The accounts as they stand, with the smallest unused number.
pub(super) struct Standing<'a> {
    pub(super) accounts: &'a Accounts,
    /// Every number below it is in use.
    pub(super) next: AccountNumber,
}

impl Books for Standing<'_> {
    fn balance(&self, account: AccountNumber) -> Option<Balance> {
        self.accounts.with(account, |entry| entry.balance())
    }

    fn free_number(&self) -> AccountNumber {
        free_from(self.next, |number| self.accounts.exists(number))
    }
}

/// The accounts as they would stand after some receipts: for work that takes effect as a whole or not at
/// all, and for answers that change nothing.
pub(super) struct Draft<'a> {
    standing: Standing<'a>,
    changed: BTreeMap<AccountNumber, Balance>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(standing: Standing<'a>) -> Draft<'a> {
        Draft { standing, changed: BTreeMap::new() }
    }

    /// Decides a command and keeps what it would change.
    pub(super) fn decide(&mut self, command: &Command) -> Outcome {
        let receipt = decide(command, self)?;
        self.standing.next = after_opening(self.standing.next, command, &receipt);
        for (account, balance) in receipt.balances().into_iter().flatten() {
            let before = match command {
                Command::OpenAccount(new) => Some(new.overdraft),
                Command::Deposit { .. }
                | Command::Withdraw { .. }
                | Command::AddInterest { .. }
                | Command::Transfer { .. } => self.balance(account).map(|balance| balance.overdraft),
            };
            let overdraft = before.unwrap_or(Overdraft::NONE);
            self.changed.insert(account, Balance { balance, held: Money::ZERO, overdraft });
        }
        Ok(receipt)
    }
}

impl Books for Draft<'_> {
    fn balance(&self, account: AccountNumber) -> Option<Balance> {
        self.changed.get(&account).copied().or_else(|| self.standing.balance(account))
    }

    fn free_number(&self) -> AccountNumber {
        free_from(self.standing.next, |number| self.balance(number).is_some())
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
