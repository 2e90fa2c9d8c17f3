//! Postings: where money goes when a command takes effect.

use super::{AccountNumber, BranchName, Command, Money, Receipt};

/// Where a posting is booked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Book<'a> {
    /// An account of a customer.
    Customer(AccountNumber),
    /// The bank's cash: what customers paid in comes from here, what they take goes here.
    Cash,
    /// The bank's interest expense.
    Interest,
    /// What this branch owes another one for money that its customers sent there.
    DueTo(&'a BranchName),
    /// What another branch owes this one for money that customers received from there.
    DueFrom(&'a BranchName),
}

/// One change of one account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posting<'a> {
    /// Which account.
    pub book: Book<'a>,
    /// The change; postings of one command sum to zero.
    pub amount: Money,
}

/// The postings of one command: none or a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Postings<'a>([Option<Posting<'a>>; 2]);

impl<'a> Postings<'a> {
    /// No change of any balance.
    pub const NONE: Postings<'static> = Postings([None, None]);

    /// `amount` leaves one account and reaches the other. Nothing is posted for zero.
    #[must_use]
    pub fn move_money(from: Book<'a>, to: Book<'a>, amount: Money) -> Postings<'a> {
        if amount == Money::ZERO {
            return Postings::NONE;
        }
        Postings([Some(Posting { book: from, amount: -amount }), Some(Posting { book: to, amount })])
    }
}

impl<'a> IntoIterator for Postings<'a> {
    type Item = Posting<'a>;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Posting<'a>>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// The postings that a command with this receipt makes. The ledger changes balances by these and by
/// nothing else.
#[must_use]
pub fn postings<'a>(command: &Command, receipt: &'a Receipt) -> Postings<'a> {
    use Book::{Cash, Customer, DueFrom, DueTo, Interest};
    match (receipt, command) {
        (Receipt::Opened { account, balance }, _) => Postings::move_money(Cash, Customer(*account), *balance),
        (Receipt::Deposited { account, .. }, Command::Deposit { amount, .. }) => {
            Postings::move_money(Cash, Customer(*account), amount.money())
        }
        (Receipt::Withdrawn { account, .. }, Command::Withdraw { amount, .. }) => {
            Postings::move_money(Customer(*account), Cash, amount.money())
        }
        (Receipt::InterestAdded { account, interest, .. }, _) => {
            Postings::move_money(Interest, Customer(*account), *interest)
        }
        (Receipt::Transferred { source, destination, .. }, Command::Transfer { amount, .. }) => {
            Postings::move_money(Customer(*source), Customer(*destination), amount.money())
        }
        (Receipt::Deposited { .. } | Receipt::Withdrawn { .. } | Receipt::Transferred { .. }, _) => {
            unreachable!("the ledger gives these receipts to the commands of the same names")
        }
        (Receipt::HoldCaptured(change), _) => {
            let captured = change.captured.map_or(Money::ZERO, Money::from);
            Postings::move_money(Customer(change.account), Cash, captured)
        }
        (Receipt::TransferCommitted(change), _) => Postings::move_money(
            Customer(change.source),
            DueTo(&change.destination.branch),
            change.amount.money(),
        ),
        (Receipt::CreditCommitted(change), _) => Postings::move_money(
            DueFrom(&change.source.branch),
            Customer(change.destination),
            change.amount.money(),
        ),
        (
            Receipt::StateSet(_)
            | Receipt::HoldPlaced(_)
            | Receipt::HoldReleased(_)
            | Receipt::HoldExpired(_)
            | Receipt::TransferBegun(_)
            | Receipt::TransferAborted(_)
            | Receipt::TransferClosed(_)
            | Receipt::CreditPrepared(_)
            | Receipt::CreditAborted(_)
            | Receipt::CreditKnown { .. },
            _,
        ) => Postings::NONE,
    }
}
