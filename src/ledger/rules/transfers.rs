//! The rules of transfers between branches: the paying side, then the receiving side.
//!
//! What was promised takes place whatever has happened to the account since: only new promises ask whether it takes
//! operations.

use super::super::incoming::{ORIGINS, PREPARED_CREDITS, REMEMBERED_CREDITS, is_same};
use super::super::outgoing::OPEN_TRANSFERS;
use super::super::tables::BRANCHES;
use super::{Books, added, check_room, existing, reserved, usable};
use crate::model::planted::{Fault, planted};
use crate::model::{
    Balance, BranchName, Credit, CreditChange, CreditState, IncomingCredit, Money, NewTransfer, Outcome,
    OutgoingState, OutgoingTransfer, Receipt, Rejection, RemoteAccount, Sequence, TransferChange,
};

pub(super) fn begin(new: &NewTransfer, books: &impl Books) -> Outcome {
    let funds = usable(books, new.source)?;
    check_room(books.tables().outgoing.open_count(), OPEN_TRANSFERS)?;
    check_branch(&new.destination.branch, books)?;
    let balance = reserved(new.source, &funds, new.amount)?;
    Ok(Receipt::TransferBegun(Box::new(TransferChange {
        source: new.source,
        destination: new.destination.clone(),
        amount: new.amount,
        balance,
    })))
}

pub(super) fn commit(number: Sequence, books: &impl Books) -> Outcome {
    let transfer = pending(number, books)?;
    changed(transfer, books, transfer.amount.money(), transfer.amount.money()).map(Receipt::TransferCommitted)
}

pub(super) fn abort(number: Sequence, books: &impl Books) -> Outcome {
    let transfer = pending(number, books)?;
    changed(transfer, books, transfer.amount.money(), Money::ZERO).map(Receipt::TransferAborted)
}

pub(super) fn close(number: Sequence, books: &impl Books) -> Outcome {
    let transfer = open(number, books)?;
    match transfer.state {
        OutgoingState::Pending => Err(Rejection::TransferPending { number }),
        OutgoingState::Committed { .. } | OutgoingState::Aborted { .. } => {
            changed(transfer, books, Money::ZERO, Money::ZERO).map(Receipt::TransferClosed)
        }
    }
}

fn open(number: Sequence, books: &impl Books) -> Result<&OutgoingTransfer, Rejection> {
    books.tables().outgoing.get(number).ok_or(Rejection::TransferNotFound { number })
}

/// A transfer that waits for its decision. The first decision counts.
fn pending(number: Sequence, books: &impl Books) -> Result<&OutgoingTransfer, Rejection> {
    let transfer = open(number, books)?;
    match transfer.state {
        OutgoingState::Pending => Ok(transfer),
        OutgoingState::Committed { .. } => Err(Rejection::TransferFinal { number, committed: true }),
        OutgoingState::Aborted { .. } => Err(Rejection::TransferFinal { number, committed: false }),
    }
}

/// The receipt of a transfer of which so much is no longer held, and so much was paid.
fn changed(
    transfer: &OutgoingTransfer,
    books: &impl Books,
    released: Money,
    paid: Money,
) -> Result<Box<TransferChange>, Rejection> {
    let balance = existing(books, transfer.source)?.after_release(released, paid);
    Ok(Box::new(TransferChange {
        source: transfer.source,
        destination: transfer.destination.clone(),
        amount: transfer.amount,
        balance,
    }))
}

/// Refuses a branch for which there is no room in the books.
fn check_branch(branch: &BranchName, books: &impl Books) -> Result<(), Rejection> {
    let clearing = &books.tables().clearing;
    if clearing.contains_key(branch) { Ok(()) } else { check_room(clearing.len(), BRANCHES) }
}

pub(super) fn prepare_credit(credit: &Credit, books: &impl Books) -> Outcome {
    match known(credit, books)? {
        Some(CreditState::Aborted) => Err(settled(credit, false)),
        Some(state @ (CreditState::Prepared { .. } | CreditState::Committed)) => {
            Ok(Receipt::CreditKnown { state })
        }
        None => {
            let funds = usable(books, credit.destination)?;
            added(credit.destination, &funds, credit.amount.money())?;
            // The room for all of them together is itself an amount of money.
            let all = funds.incoming.checked_add(credit.amount.money());
            all.ok_or(Rejection::AmountOverflow { account: credit.destination })?;
            check_room(books.tables().incoming.prepared_count(), PREPARED_CREDITS)?;
            check_memory(credit, books)?;
            check_branch(&credit.origin.branch, books)?;
            Ok(Receipt::CreditPrepared(told(credit, Some(funds.balance))))
        }
    }
}

pub(super) fn commit_credit(credit: &Credit, books: &impl Books) -> Outcome {
    match known(credit, books)? {
        Some(CreditState::Committed) if !planted(Fault::CommitPostedTwice) => {
            Ok(Receipt::CreditKnown { state: CreditState::Committed })
        }
        Some(CreditState::Prepared { .. } | CreditState::Committed) => {
            let before = existing(books, credit.destination)?.balance;
            let balance = before.balance.checked_add(credit.amount.money());
            let balance = balance.ok_or(Rejection::AmountOverflow { account: credit.destination })?;
            Ok(Receipt::CreditCommitted(told(credit, Some(Balance { balance, ..before }))))
        }
        Some(CreditState::Aborted) => Err(settled(credit, false)),
        None => Err(Rejection::TransferNotFound { number: credit.number }),
    }
}

pub(super) fn abort_credit(credit: &Credit, books: &impl Books) -> Outcome {
    match known(credit, books)? {
        Some(CreditState::Aborted) => Ok(Receipt::CreditKnown { state: CreditState::Aborted }),
        Some(CreditState::Committed) => Err(settled(credit, true)),
        Some(CreditState::Prepared { .. }) => {
            let balance = existing(books, credit.destination)?.balance;
            Ok(Receipt::CreditAborted(told(credit, Some(balance))))
        }
        None => {
            check_memory(credit, books)?;
            Ok(Receipt::CreditAborted(told(credit, None)))
        }
    }
}

/// How the credit of a message stands, unless the message is stale or says something else than one before it.
fn known(credit: &Credit, books: &impl Books) -> Result<Option<CreditState>, Rejection> {
    let (incoming, number) = (&books.tables().incoming, credit.number);
    if let Some(known) = incoming.get(&credit.origin, number) {
        return same(credit, known).map(Some);
    }
    let settled_below = incoming.settled_below(&credit.origin).max(Some(credit.settled_below));
    match settled_below {
        Some(settled_below) if number < settled_below => {
            Err(Rejection::TransferStale { number, settled_below })
        }
        Some(_) | None => Ok(None),
    }
}

fn same(credit: &Credit, known: &IncomingCredit) -> Result<CreditState, Rejection> {
    if is_same(credit, known) {
        Ok(known.state)
    } else {
        Err(Rejection::TransferMismatch { number: credit.number })
    }
}

fn settled(credit: &Credit, committed: bool) -> Rejection {
    Rejection::TransferFinal { number: credit.number, committed }
}

/// Refuses one more credit to remember when there are too many.
fn check_memory(credit: &Credit, books: &impl Books) -> Result<(), Rejection> {
    let incoming = &books.tables().incoming;
    check_room(incoming.remembered_count(), REMEMBERED_CREDITS)?;
    match incoming.settled_below(&credit.origin) {
        Some(_) => Ok(()),
        None => check_room(incoming.payers(), ORIGINS),
    }
}

fn told(credit: &Credit, balance: Option<Balance>) -> Box<CreditChange> {
    Box::new(CreditChange {
        source: RemoteAccount { branch: credit.origin.branch.clone(), account: credit.source },
        destination: credit.destination,
        amount: credit.amount,
        balance,
    })
}
