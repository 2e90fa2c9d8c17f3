//! Holds and the states of accounts.

use super::{Stamp, WriteStamp, account_ref, hold_name, mismatch, state_of, time};
use crate::model::{BranchName, Failure, Hold, HoldChange, HoldId, Receipt};
use crate::wire::proto::v1;

/// The reply to a change of an account's state.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn state_set(receipt: &Receipt, written: WriteStamp<'_>) -> Result<v1::SetAccountStateResponse, Failure> {
    let Receipt::StateSet(change) = receipt else { return Err(mismatch(receipt)) };
    Ok(written!(
        written,
        SetAccountStateResponse {
            account: account_ref(written.stamp.branch, change.account),
            state: state_of(change.state).into(),
            balance: change.balance.balance.to_string(),
        }
    ))
}

/// An open hold.
#[must_use]
pub fn hold_fields(branch: &BranchName, hold: &Hold) -> v1::Hold {
    v1::Hold {
        hold: hold_name(branch, hold.id),
        account: account_ref(branch, hold.account),
        amount: hold.amount.to_string(),
        state: v1::HoldState::Active.into(),
        place_time: Some(time(hold.placed)),
        expire_time: hold.expires.map(time),
        captured: String::new(),
    }
}

/// A hold after something happened to it.
fn changed(branch: &BranchName, name: String, change: &HoldChange, state: v1::HoldState) -> v1::Hold {
    v1::Hold {
        hold: name,
        account: account_ref(branch, change.account),
        amount: change.amount.to_string(),
        state: state.into(),
        place_time: None,
        expire_time: change.expires.map(time),
        captured: change.captured.map(|amount| amount.to_string()).unwrap_or_default(),
    }
}

macro_rules! hold_reply {
    ($written:ident, $change:ident, $hold:expr, $message:ident) => {
        written!(
            $written,
            $message {
                hold: Some($hold),
                balance: $change.balance.balance.to_string(),
                held: $change.balance.held.to_string(),
                available: $change.balance.available().to_string(),
            }
        )
    };
}

/// The reply to a new hold.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn placed(receipt: &Receipt, written: WriteStamp<'_>) -> Result<v1::PlaceHoldResponse, Failure> {
    let Receipt::HoldPlaced(change) = receipt else { return Err(mismatch(receipt)) };
    let hold = changed(written.stamp.branch, written.name(), change, v1::HoldState::Active);
    let hold = v1::Hold { place_time: written.applied.map(time), ..hold };
    Ok(hold_reply!(written, change, hold, PlaceHoldResponse))
}

/// The reply to a capture of a hold.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn captured(
    hold: HoldId,
    receipt: &Receipt,
    written: WriteStamp<'_>,
) -> Result<v1::CaptureHoldResponse, Failure> {
    let Receipt::HoldCaptured(change) = receipt else { return Err(mismatch(receipt)) };
    let branch = written.stamp.branch;
    let hold = changed(branch, hold_name(branch, hold), change, v1::HoldState::Captured);
    Ok(hold_reply!(written, change, hold, CaptureHoldResponse))
}

/// The reply to a release of a hold.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn released(
    hold: HoldId,
    receipt: &Receipt,
    written: WriteStamp<'_>,
) -> Result<v1::ReleaseHoldResponse, Failure> {
    let Receipt::HoldReleased(change) = receipt else { return Err(mismatch(receipt)) };
    let branch = written.stamp.branch;
    let hold = changed(branch, hold_name(branch, hold), change, v1::HoldState::Released);
    Ok(hold_reply!(written, change, hold, ReleaseHoldResponse))
}

/// The reply that tells a hold.
#[must_use]
pub fn hold(hold: v1::Hold, stamp: Stamp<'_>) -> v1::GetHoldResponse {
    stamped!(stamp, GetHoldResponse { hold: Some(hold) })
}

/// The reply that lists holds.
#[must_use]
pub fn holds(holds: Vec<v1::Hold>, next_page_token: String, stamp: Stamp<'_>) -> v1::ListHoldsResponse {
    stamped!(stamp, ListHoldsResponse { holds, next_page_token })
}
