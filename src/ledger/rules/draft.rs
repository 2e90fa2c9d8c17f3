//! The ledger as it would stand after some receipts: for work that takes effect as a whole or not at all, and
//! for answers that change nothing.

use std::collections::BTreeMap;

use super::super::tables::{Tables, reservation};
use super::{Books, Funds, Standing, after_opening, decide, free_from};
use crate::model::{
    AccountNumber, AccountState, Balance, Book, Command, Money, Outcome, Overdraft, Rejection, Sequence,
    Timestamp, postings,
};

/// A ledger that only seems to change.
pub(in super::super) struct Draft<'a> {
    standing: Standing<'a>,
    /// Shared with the ledger until a receipt changes it.
    tables: Tables,
    changed: BTreeMap<AccountNumber, Funds>,
    /// The place of the next command.
    next: Sequence,
}

impl<'a> Draft<'a> {
    /// A draft whose first command would get the sequence `next`.
    pub(in super::super) fn new(standing: Standing<'a>, next: Sequence) -> Draft<'a> {
        let tables = standing.tables.clone();
        Draft { standing, tables, changed: BTreeMap::new(), next }
    }

    /// Decides a command and keeps what it would change.
    pub(in super::super) fn decide(&mut self, command: &Command) -> Outcome {
        let outcome = decide(command, self);
        let at = self.next;
        self.next = at.next();
        let receipt = match &outcome {
            Ok(receipt) => receipt,
            Err(Rejection::BatchAborted { .. }) => return outcome,
            Err(_) => {
                self.tables.hear(command);
                return outcome;
            }
        };
        self.standing.next = after_opening(self.standing.next, command, receipt);
        if let (Command::OpenAccount(new), [Some((account, _)), _]) = (command, receipt.balances()) {
            self.changed.insert(account, opened(new.overdraft));
        }
        for posting in postings(command, receipt) {
            match posting.book {
                Book::Customer(account) => self.change(account, |funds| {
                    let balance = funds.balance.balance.checked_add(posting.amount);
                    funds.balance.balance = balance.expect("the rules have checked the balance");
                }),
                Book::Cash | Book::Interest => {}
                Book::DueTo(branch) => self.tables.book(branch, posting.amount, Money::ZERO),
                Book::DueFrom(branch) => self.tables.book(branch, Money::ZERO, posting.amount),
            }
        }
        if let Some(reservation) = reservation(receipt) {
            self.change(reservation.account, |funds| funds.reserve(&reservation));
        }
        self.tables.follow(command, receipt, at, self.standing.time);
        outcome
    }

    fn change(&mut self, account: AccountNumber, change: impl FnOnce(&mut Funds)) {
        if let Some(mut funds) = self.funds(account) {
            change(&mut funds);
            self.changed.insert(account, funds);
        }
    }
}

/// A new account before its first deposit.
fn opened(overdraft: Overdraft) -> Funds {
    let balance = Balance { balance: Money::ZERO, held: Money::ZERO, overdraft };
    Funds { balance, incoming: Money::ZERO, state: AccountState::Open }
}

impl Books for Draft<'_> {
    fn funds(&self, account: AccountNumber) -> Option<Funds> {
        self.changed.get(&account).copied().or_else(|| self.standing.funds(account))
    }

    fn free_number(&self) -> AccountNumber {
        free_from(self.standing.next, |number| self.funds(number).is_some())
    }

    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn now(&self) -> Timestamp {
        self.standing.time
    }
}
