//! What happened to a request id.

use super::{Stamp, account_ref, hold_name, time, transfer_name};
use crate::model::{BranchName, Failure, HoldId, Operation, Outcome, Receipt, Reply, RequestId, Sequence};
use crate::wire::batch::error;
use crate::wire::proto::v1;

/// The reply that says what happened to a request id. A transfer to another branch is shown as pending here.
#[must_use]
pub fn operation(request: &RequestId, operation: &Operation, stamp: Stamp<'_>) -> v1::GetOperationResponse {
    let (state, applied, results) = match operation {
        Operation::Known(reply) => {
            let refused = reply.outcomes.as_slice().iter().all(Result::is_err);
            let state = if refused { v1::OperationState::Refused } else { v1::OperationState::Executed };
            (state, Some(time(reply.time)), results(stamp.branch, reply))
        }
        Operation::NeverSeen => (v1::OperationState::NeverSeen, None, Vec::new()),
        Operation::Forgotten => (v1::OperationState::Forgotten, None, Vec::new()),
    };
    stamped!(
        stamp,
        GetOperationResponse { state: state.into(), time: applied, results, request_id: request.to_string() }
    )
}

fn results(branch: &BranchName, reply: &Reply) -> Vec<v1::OperationResult> {
    let sequences = (reply.first.0..).map(Sequence);
    let outcomes = reply.outcomes.as_slice().iter();
    sequences.zip(outcomes).map(|(sequence, outcome)| result(branch, sequence, outcome)).collect()
}

fn result(branch: &BranchName, sequence: Sequence, outcome: &Outcome) -> v1::OperationResult {
    let plain = v1::OperationResult { sequence: sequence.0, ..v1::OperationResult::default() };
    let receipt = match outcome {
        Ok(receipt) => receipt,
        Err(rejection) => {
            return v1::OperationResult { error: Some(error(&Failure::from(rejection))), ..plain };
        }
    };
    let [changed, _] = receipt.balances();
    let plain = v1::OperationResult {
        account: changed.map(|(account, _)| account_ref(branch, account)).unwrap_or_default(),
        balance: changed.map(|(_, balance)| balance.to_string()).unwrap_or_default(),
        ..plain
    };
    match receipt {
        Receipt::InterestAdded { interest, .. } => {
            v1::OperationResult { interest: interest.to_string(), ..plain }
        }
        Receipt::Transferred { destination, .. } => v1::OperationResult {
            counterparty: account_ref(branch, *destination),
            transfer: transfer_name(branch, sequence),
            transfer_state: v1::TransferState::Committed.into(),
            ..plain
        },
        Receipt::TransferBegun(change) => v1::OperationResult {
            counterparty: change.destination.to_string(),
            transfer: transfer_name(branch, sequence),
            transfer_state: v1::TransferState::Pending.into(),
            ..plain
        },
        Receipt::HoldPlaced(_) => v1::OperationResult { hold: hold_name(branch, HoldId(sequence)), ..plain },
        Receipt::Opened { .. }
        | Receipt::Deposited { .. }
        | Receipt::Withdrawn { .. }
        | Receipt::StateSet(_)
        | Receipt::HoldCaptured(_)
        | Receipt::HoldReleased(_)
        | Receipt::HoldExpired(_)
        | Receipt::TransferCommitted(_)
        | Receipt::TransferAborted(_)
        | Receipt::TransferClosed(_)
        | Receipt::CreditPrepared(_)
        | Receipt::CreditCommitted(_)
        | Receipt::CreditAborted(_)
        | Receipt::CreditKnown { .. } => plain,
    }
}
