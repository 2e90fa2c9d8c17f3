//! What a ledger keeps besides accounts and request ids: holds, transfers to other branches, credits from them, and
//! what branches owe each other.
//!
//! Invariant: changed by receipts only, through [`Tables::follow`], so that a draft and the ledger come to the
//! same. Shared until changed: a draft or a frozen view costs nothing, and a copy of the table is made by the first
//! change after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::holds::Holds;
use super::incoming::{self, Incoming};
use super::outgoing::Outgoing;
use crate::model::planted::{Fault, planted};
use crate::model::{
    AccountNumber, AccountState, BranchName, Command, CreditState, Hold, HoldEnd, HoldId, Money,
    OutgoingState, OutgoingTransfer, Receipt, Sequence, Timestamp, Total, TransferChange,
};

/// Most branches with which accounts are kept.
pub(super) const BRANCHES: u32 = 4_096;

/// Everything besides accounts and request ids.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) holds: Arc<Holds>,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) incoming: Arc<Incoming>,
    pub(super) clearing: Arc<BTreeMap<BranchName, Clearing>>,
}

/// What this branch and another one owe each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clearing {
    /// What customers have sent there; at least zero.
    pub due_to: Total,
    /// What customers have received from there, below zero.
    pub due_from: Total,
}

impl Clearing {
    const NONE: Clearing = Clearing { due_to: Total::ZERO, due_from: Total::ZERO };
}

impl Tables {
    /// Follows a receipt of the command at this place of the order.
    pub(super) fn follow(&mut self, command: &Command, receipt: &Receipt, at: Sequence, time: Timestamp) {
        match receipt {
            Receipt::Opened { .. }
            | Receipt::Deposited { .. }
            | Receipt::Withdrawn { .. }
            | Receipt::InterestAdded { .. }
            | Receipt::Transferred { .. }
            | Receipt::StateSet(_) => {}
            Receipt::HoldPlaced(change) => {
                let (account, amount, expires) = (change.account, change.amount, change.expires);
                let hold = Hold { id: HoldId(at), account, amount, placed: time, expires };
                Arc::make_mut(&mut self.holds).place(hold);
            }
            Receipt::HoldCaptured(_) => self.end_hold(command, HoldEnd::Captured),
            Receipt::HoldReleased(_) => self.end_hold(command, HoldEnd::Released),
            Receipt::HoldExpired(_) => self.end_hold(command, HoldEnd::Expired),
            Receipt::TransferBegun(change) => self.begin(change, at, time),
            Receipt::TransferCommitted(_) | Receipt::TransferAborted(_) | Receipt::TransferClosed(_) => {
                self.decide(command, time)
            }
            Receipt::CreditPrepared(_) => self.credit(command, CreditState::Prepared { at: time }),
            Receipt::CreditCommitted(_) => self.credit(command, CreditState::Committed),
            Receipt::CreditAborted(change) => {
                if change.balance.is_some() || !planted(Fault::LatePrepareAfterAbort) {
                    self.credit(command, CreditState::Aborted);
                }
            }
            Receipt::CreditKnown { .. } => {}
        }
        self.hear(command);
    }

    /// Hears how far a paying branch has closed its transfers, whatever becomes of its message.
    pub(super) fn hear(&mut self, command: &Command) {
        // Whoever speaks about a transfer has not closed it, so the watermark is not above its number.
        if let Some(credit) = command.credit()
            && credit.settled_below <= credit.number
            && self.incoming.is_news(&credit.origin, credit.settled_below)
        {
            Arc::make_mut(&mut self.incoming).settle(&credit.origin, credit.settled_below);
        }
    }

    /// Books what customers sent to a branch, or received from it.
    pub(super) fn book(&mut self, branch: &BranchName, due_to: Money, due_from: Money) {
        let clearing = Arc::make_mut(&mut self.clearing);
        let of_branch = match clearing.get_mut(branch) {
            Some(known) => known,
            None => clearing.entry(branch.clone()).or_insert(Clearing::NONE),
        };
        of_branch.due_to = of_branch.due_to.plus(due_to);
        of_branch.due_from = of_branch.due_from.plus(due_from);
    }

    fn end_hold(&mut self, command: &Command, end: HoldEnd) {
        if let Command::CaptureHold { hold, .. }
        | Command::ReleaseHold { hold }
        | Command::ExpireHold { hold } = command
        {
            Arc::make_mut(&mut self.holds).end(*hold, end);
        }
    }

    fn begin(&mut self, change: &TransferChange, number: Sequence, begun: Timestamp) {
        Arc::make_mut(&mut self.outgoing).begin(OutgoingTransfer {
            number,
            source: change.source,
            destination: change.destination.clone(),
            amount: change.amount,
            begun,
            state: OutgoingState::Pending,
        });
        // The branch has its account from now on, so that the commit never finds too many.
        self.book(&change.destination.branch, Money::ZERO, Money::ZERO);
    }

    fn decide(&mut self, command: &Command, at: Timestamp) {
        let outgoing = Arc::make_mut(&mut self.outgoing);
        match command {
            Command::CommitTransfer { number } if planted(Fault::DecisionForgotten) => {
                outgoing.close(*number);
            }
            Command::CommitTransfer { number } => outgoing.decide(*number, OutgoingState::Committed { at }),
            Command::AbortTransfer { number, reason } => {
                outgoing.decide(*number, OutgoingState::Aborted { at, reason: reason.clone() });
            }
            Command::CloseTransfer { number, .. } => outgoing.close(*number),
            Command::OpenAccount(_)
            | Command::Deposit { .. }
            | Command::Withdraw { .. }
            | Command::AddInterest { .. }
            | Command::Transfer { .. }
            | Command::SetAccountState { .. }
            | Command::PlaceHold(_)
            | Command::CaptureHold { .. }
            | Command::ReleaseHold { .. }
            | Command::ExpireHold { .. }
            | Command::BeginTransfer(_)
            | Command::PrepareCredit(_)
            | Command::CommitCredit(_)
            | Command::AbortCredit(_) => {}
        }
    }

    fn credit(&mut self, command: &Command, state: CreditState) {
        if let Some(credit) = command.credit() {
            let known = incoming::remembered(credit, state);
            Arc::make_mut(&mut self.incoming).set(&credit.origin, credit.number, known);
            if let CreditState::Prepared { .. } = state {
                self.book(&credit.origin.branch, Money::ZERO, Money::ZERO);
            }
        }
    }
}

/// What a receipt changes in an account besides its balance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reservation {
    pub(super) account: AccountNumber,
    /// The change of the money that is held.
    pub(super) held: Money,
    /// The change of the money that other branches may still credit.
    pub(super) incoming: Money,
    /// The new state.
    pub(super) state: Option<AccountState>,
}

/// What a receipt changes besides balances.
pub(super) fn reservation(receipt: &Receipt) -> Option<Reservation> {
    let held = |account, held| Some(Reservation { account, held, incoming: Money::ZERO, state: None });
    let incoming =
        |account, incoming| Some(Reservation { account, held: Money::ZERO, incoming, state: None });
    match receipt {
        Receipt::Opened { .. }
        | Receipt::Deposited { .. }
        | Receipt::Withdrawn { .. }
        | Receipt::InterestAdded { .. }
        | Receipt::Transferred { .. }
        | Receipt::TransferClosed(_)
        | Receipt::CreditKnown { .. } => None,
        Receipt::StateSet(change) => Some(Reservation {
            account: change.account,
            held: Money::ZERO,
            incoming: Money::ZERO,
            state: Some(change.state),
        }),
        Receipt::TransferBegun(_) if planted(Fault::PrepareReservesNothing) => None,
        Receipt::HoldReleased(_) | Receipt::TransferAborted(_) if planted(Fault::HoldNotReleased) => None,
        Receipt::HoldPlaced(change) => held(change.account, change.amount.money()),
        Receipt::HoldCaptured(change) | Receipt::HoldReleased(change) | Receipt::HoldExpired(change) => {
            held(change.account, -change.amount.money())
        }
        Receipt::TransferBegun(change) => held(change.source, change.amount.money()),
        Receipt::TransferCommitted(change) | Receipt::TransferAborted(change) => {
            held(change.source, -change.amount.money())
        }
        Receipt::CreditPrepared(change) => incoming(change.destination, change.amount.money()),
        Receipt::CreditCommitted(change) => incoming(change.destination, -change.amount.money()),
        // One that was never prepared has reserved nothing.
        Receipt::CreditAborted(change) => {
            change.balance.and_then(|_| incoming(change.destination, -change.amount.money()))
        }
    }
}
