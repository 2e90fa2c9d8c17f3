//! The rules of holds. What was reserved can be taken whatever has happened to the account since: only a new hold asks
//! whether it takes operations.

use super::super::holds::OPEN_HOLDS;
use super::{Books, Funds, check_room, existing, reserved, usable};
use crate::model::{
    Amount, Hold, HoldChange, HoldEnd, HoldId, HoldStatus, Money, NewHold, Outcome, Receipt, Rejection,
};

pub(super) fn place(new: &NewHold, books: &impl Books) -> Outcome {
    let account = new.account;
    let funds = usable(books, account)?;
    check_room(books.tables().holds.open_count(), OPEN_HOLDS)?;
    let balance = reserved(account, &funds, new.amount)?;
    let (amount, expires) = (new.amount, new.expires(books.now()));
    Ok(Receipt::HoldPlaced(Box::new(HoldChange { account, amount, captured: None, expires, balance })))
}

pub(super) fn capture(id: HoldId, amount: Option<Amount>, books: &impl Books) -> Outcome {
    let (hold, funds) = open_hold(id, books)?;
    // Over is over, also in the moment before somebody says so.
    if hold.is_over(books.now()) {
        return Err(Rejection::HoldFinal { hold: id, end: HoldEnd::Expired });
    }
    let captured = amount.unwrap_or(hold.amount);
    if captured > hold.amount {
        let (reserved, needed) = (hold.amount.money(), captured.money());
        return Err(Rejection::HoldTooSmall { hold: id, reserved, needed });
    }
    Ok(Receipt::HoldCaptured(Box::new(HoldChange {
        captured: Some(captured),
        ..ended(&hold, &funds, captured.money())
    })))
}

pub(super) fn release(id: HoldId, books: &impl Books) -> Outcome {
    let (hold, funds) = open_hold(id, books)?;
    Ok(Receipt::HoldReleased(Box::new(ended(&hold, &funds, Money::ZERO))))
}

pub(super) fn expire(id: HoldId, books: &impl Books) -> Outcome {
    let (hold, funds) = open_hold(id, books)?;
    if !hold.is_over(books.now()) {
        return Err(Rejection::HoldNotOver { hold: id });
    }
    Ok(Receipt::HoldExpired(Box::new(ended(&hold, &funds, Money::ZERO))))
}

/// An open hold and what its account has.
fn open_hold(id: HoldId, books: &impl Books) -> Result<(Hold, Funds), Rejection> {
    match books.tables().holds.status(id) {
        Some(HoldStatus::Open(hold)) => Ok((hold, existing(books, hold.account)?)),
        Some(HoldStatus::Ended(end)) => Err(Rejection::HoldFinal { hold: id, end }),
        None => Err(Rejection::HoldNotFound { hold: id }),
    }
}

/// The receipt of a hold that ends and of which so much is paid.
fn ended(hold: &Hold, funds: &Funds, paid: Money) -> HoldChange {
    HoldChange {
        account: hold.account,
        amount: hold.amount,
        captured: None,
        expires: hold.expires,
        balance: funds.after_release(hold.amount.money(), paid),
    }
}
