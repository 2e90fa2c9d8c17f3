//! The books as the journal tells them, to be held against those of the ledger.
//!
//! Invariant: made from what records say and from nothing else, so that a fault of the ledger shows. A journal that does
//! not reach back to the beginning tells less: only how one record continues another. `verify` feeds it.

use std::collections::BTreeMap;

use crate::ledger::{Audit, Ledger};
use crate::model::{AccountNumber, Applied, Balance, Book, BranchName, Money, Receipt, Sequence, Total};

/// What the records so far add up to.
#[derive(Default)]
pub(in super::super) struct Books {
    /// The first record.
    first: Option<Sequence>,
    /// Balance and newest line of each account.
    accounts: BTreeMap<AccountNumber, (Money, Sequence)>,
    /// What is held of accounts of which something was ever held.
    held: BTreeMap<AccountNumber, Money>,
    /// The newest record that begins a transfer.
    transfer: Sequence,
    cash: Sum,
    interest: Sum,
    /// Due to and due from each branch.
    clearing: BTreeMap<BranchName, (Sum, Sum)>,
}

struct Sum(Total);

impl Default for Sum {
    fn default() -> Sum {
        Sum(Total::ZERO)
    }
}

impl Sum {
    fn add(&mut self, money: Money) {
        self.0 = self.0.plus(money);
    }
}

impl Books {
    /// Takes the next record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in super::super) fn post(&mut self, record: &Applied) -> Result<(), String> {
        self.first.get_or_insert(record.sequence);
        self.post_lines(record)?;
        self.post_held(record)?;
        self.post_transfer(record)?;
        let mut sum = Total::ZERO;
        for posting in record.postings() {
            sum = sum.plus(posting.amount);
            match posting.book {
                Book::Customer(_) => {}
                Book::Cash => self.cash.add(posting.amount),
                Book::Interest => self.interest.add(posting.amount),
                Book::DueTo(branch) => self.clearing.entry(branch.clone()).or_default().0.add(posting.amount),
                Book::DueFrom(branch) => {
                    self.clearing.entry(branch.clone()).or_default().1.add(posting.amount)
                }
            }
        }
        if sum == Total::ZERO {
            Ok(())
        } else {
            Err(format!("the postings of record {} do not sum to zero", record.sequence.0))
        }
    }

    /// Whether the records reach back to the beginning.
    fn is_complete(&self) -> bool {
        self.first.is_none_or(|first| first == Sequence(1))
    }

    fn post_lines(&mut self, record: &Applied) -> Result<(), String> {
        for line in record.customer_postings() {
            let now = (line.balance, record.sequence);
            let known = self.accounts.insert(line.account, now);
            let opened = line.previous == Sequence::ZERO;
            let follows = match known {
                Some((balance, newest)) => {
                    newest == line.previous && balance.checked_add(line.amount) == Some(line.balance)
                }
                None => opened || !self.is_complete(),
            };
            if !follows {
                let (account, at) = (line.account, record.sequence.0);
                return Err(format!("record {at} does not continue the statement of account {account}"));
            }
        }
        Ok(())
    }

    fn post_held(&mut self, record: &Applied) -> Result<(), String> {
        let Ok(receipt) = &record.outcome else { return Ok(()) };
        let Some((account, Balance { balance, held, .. })) = receipt.money_after() else { return Ok(()) };
        let known = self.held.insert(account, held).or(self.is_complete().then_some(Money::ZERO));
        let follows = known.is_none_or(|known| known.checked_add(more_held(receipt)) == Some(held));
        let same = self.accounts.get(&account).is_none_or(|(known, _)| *known == balance);
        if follows && same {
            Ok(())
        } else {
            Err(format!("record {} does not continue what account {account} holds back", record.sequence.0))
        }
    }

    fn post_transfer(&mut self, record: &Applied) -> Result<(), String> {
        if !record.begins_transfer() {
            return Ok(());
        }
        let known = std::mem::replace(&mut self.transfer, record.sequence);
        if record.previous_transfer == known || known == Sequence::ZERO && !self.is_complete() {
            Ok(())
        } else {
            Err(format!("record {} does not continue the list of transfers", record.sequence.0))
        }
    }

    /// Holds the books against those of the ledger.
    ///
    /// # Errors
    /// What is different.
    pub(in super::super) fn compare(&self, ledger: &Ledger, audit: &Audit) -> Result<(), String> {
        if !audit.balanced() {
            return Err("the books of the ledger do not balance".to_owned());
        }
        for (number, (balance, newest)) in &self.accounts {
            let account = ledger.account(*number);
            if account
                .is_none_or(|account| account.balance.balance != *balance || account.newest_entry != *newest)
            {
                return Err(format!("the journal and the ledger differ on account {number}"));
            }
        }
        for (number, held) in &self.held {
            if ledger.account(*number).is_none_or(|account| account.balance.held != *held) {
                return Err(format!("the journal and the ledger differ on what account {number} holds back"));
            }
        }
        if self.transfer > Sequence::ZERO && self.transfer != ledger.newest_transfer() {
            return Err("the journal and the ledger differ on the newest transfer".to_owned());
        }
        if self.is_complete() && self.first.is_some() { self.compare_sums(audit) } else { Ok(()) }
    }

    /// Holds the sums of everything that ever happened against those of the ledger.
    fn compare_sums(&self, audit: &Audit) -> Result<(), String> {
        if self.accounts.len() as u64 != audit.accounts {
            return Err("the journal does not know all accounts of the ledger".to_owned());
        }
        if (self.cash.0, self.interest.0) != (audit.cash, audit.interest) {
            return Err("the journal and the ledger differ on the bank's own books".to_owned());
        }
        for (branch, with) in &audit.clearing {
            let (due_to, due_from) = match self.clearing.get(branch) {
                Some((due_to, due_from)) => (due_to.0, due_from.0),
                None => (Total::ZERO, Total::ZERO),
            };
            if (due_to, due_from) != (with.due_to, with.due_from) {
                return Err(format!("the journal and the ledger differ on what is due to or from {branch}"));
            }
        }
        Ok(())
    }
}

/// By how much a receipt changes what its account holds back.
fn more_held(receipt: &Receipt) -> Money {
    match receipt {
        Receipt::HoldPlaced(change) => change.amount.money(),
        Receipt::HoldCaptured(change) | Receipt::HoldReleased(change) | Receipt::HoldExpired(change) => {
            -change.amount.money()
        }
        Receipt::TransferBegun(change) => change.amount.money(),
        Receipt::TransferCommitted(change) | Receipt::TransferAborted(change) => -change.amount.money(),
        Receipt::Opened { .. }
        | Receipt::Deposited { .. }
        | Receipt::Withdrawn { .. }
        | Receipt::InterestAdded { .. }
        | Receipt::Transferred { .. }
        | Receipt::StateSet(_)
        | Receipt::TransferClosed(_)
        | Receipt::CreditPrepared(_)
        | Receipt::CreditCommitted(_)
        | Receipt::CreditAborted(_)
        | Receipt::CreditKnown { .. } => Money::ZERO,
    }
}
