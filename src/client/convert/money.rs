//! Holds, states of accounts, transfers and the sums of the books, from proto to the client's own types.

use std::time::Duration;

use super::timestamp;
use crate::client::types::{
    AccountState, Audit, Clearing, Hold, HoldChanged, HoldShown, HoldState, Holds, Named, Seen, StateSet,
    Transfer, TransferPhase, TransferShown, TransferSide, TransferState, TransferStep, Transferred,
    Transfers,
};
use crate::wire::proto::v1;

impl From<v1::AccountState> for AccountState {
    fn from(state: v1::AccountState) -> AccountState {
        match state {
            v1::AccountState::Open => AccountState::Open,
            v1::AccountState::Frozen => AccountState::Frozen,
            v1::AccountState::Closed => AccountState::Closed,
            v1::AccountState::Unspecified => AccountState::Unknown,
        }
    }
}

impl From<AccountState> for v1::AccountState {
    fn from(state: AccountState) -> v1::AccountState {
        match state {
            AccountState::Open => v1::AccountState::Open,
            AccountState::Frozen => v1::AccountState::Frozen,
            AccountState::Closed => v1::AccountState::Closed,
            AccountState::Unknown => v1::AccountState::Unspecified,
        }
    }
}

impl From<v1::SetAccountStateResponse> for StateSet {
    fn from(reply: v1::SetAccountStateResponse) -> StateSet {
        StateSet {
            state: reply.state().into(),
            account: reply.account,
            balance: reply.balance,
            named: named!(reply),
            seen: seen!(reply),
        }
    }
}

impl From<v1::Hold> for Hold {
    fn from(hold: v1::Hold) -> Hold {
        Hold {
            state: match hold.state() {
                v1::HoldState::Active => HoldState::Active,
                v1::HoldState::Captured => HoldState::Captured,
                v1::HoldState::Released => HoldState::Released,
                v1::HoldState::Expired => HoldState::Expired,
                v1::HoldState::Unspecified => HoldState::Unknown,
            },
            hold: hold.hold,
            account: hold.account,
            amount: hold.amount,
            place_time: hold.place_time.and_then(timestamp),
            expire_time: hold.expire_time.and_then(timestamp),
            captured: hold.captured,
        }
    }
}

macro_rules! hold_changed {
    ($($message:ident)+) => {
        $(impl From<v1::$message> for HoldChanged {
            fn from(reply: v1::$message) -> HoldChanged {
                HoldChanged {
                    hold: reply.hold.unwrap_or_default().into(),
                    balance: reply.balance,
                    held: reply.held,
                    available: reply.available,
                    named: named!(reply),
                    seen: seen!(reply),
                }
            }
        })+
    };
}

hold_changed! { PlaceHoldResponse CaptureHoldResponse ReleaseHoldResponse }

impl From<v1::GetHoldResponse> for HoldShown {
    fn from(reply: v1::GetHoldResponse) -> HoldShown {
        HoldShown { hold: reply.hold.unwrap_or_default().into(), seen: seen!(reply) }
    }
}

impl From<v1::ListHoldsResponse> for Holds {
    fn from(reply: v1::ListHoldsResponse) -> Holds {
        Holds {
            holds: reply.holds.into_iter().map(Hold::from).collect(),
            next_page_token: reply.next_page_token,
            seen: seen!(reply),
        }
    }
}

impl From<v1::TransferState> for TransferState {
    fn from(state: v1::TransferState) -> TransferState {
        match state {
            v1::TransferState::Committed => TransferState::Committed,
            v1::TransferState::Pending => TransferState::Pending,
            v1::TransferState::Aborted => TransferState::Aborted,
            v1::TransferState::Unspecified => TransferState::Unknown,
        }
    }
}

impl From<v1::TransferResponse> for Transferred {
    fn from(reply: v1::TransferResponse) -> Transferred {
        Transferred {
            state: reply.state().into(),
            transfer: reply.transfer,
            source: reply.source,
            destination: reply.destination,
            amount: reply.amount,
            source_balance: reply.source_balance,
            destination_balance: reply.destination_balance,
            reason: reply.reason,
            message: reply.message,
            named: named!(reply),
            seen: seen!(reply),
        }
    }
}

impl From<v1::TransferPhase> for TransferPhase {
    fn from(phase: v1::TransferPhase) -> TransferPhase {
        TransferPhase {
            step: match phase.step() {
                v1::TransferStep::Begin => TransferStep::Begin,
                v1::TransferStep::Prepare => TransferStep::Prepare,
                v1::TransferStep::Commit => TransferStep::Commit,
                v1::TransferStep::Abort => TransferStep::Abort,
                v1::TransferStep::Close => TransferStep::Close,
                v1::TransferStep::Unspecified => TransferStep::Unknown,
            },
            branch: phase.branch,
            sequence: phase.sequence,
            time: phase.time.and_then(timestamp),
            detail: phase.detail,
        }
    }
}

impl From<v1::TransferInfo> for Transfer {
    fn from(transfer: v1::TransferInfo) -> Transfer {
        Transfer {
            state: transfer.state().into(),
            side: match transfer.side() {
                v1::TransferSide::Both => TransferSide::Both,
                v1::TransferSide::Paying => TransferSide::Paying,
                v1::TransferSide::Receiving => TransferSide::Receiving,
                v1::TransferSide::Unspecified => TransferSide::Unknown,
            },
            transfer: transfer.transfer,
            source: transfer.source,
            destination: transfer.destination,
            amount: transfer.amount,
            in_doubt: transfer.in_doubt,
            reason: transfer.reason,
            message: transfer.message,
            begin_time: transfer.begin_time.and_then(timestamp),
            age: transfer.age.and_then(|age| Duration::try_from(age).ok()),
            waiting_for: transfer.waiting_for,
            phases: transfer.phases.into_iter().map(TransferPhase::from).collect(),
            request_id: transfer.request_id,
        }
    }
}

impl From<v1::GetTransferResponse> for TransferShown {
    fn from(reply: v1::GetTransferResponse) -> TransferShown {
        TransferShown { transfer: reply.transfer.unwrap_or_default().into(), seen: seen!(reply) }
    }
}

impl From<v1::ListTransfersResponse> for Transfers {
    fn from(reply: v1::ListTransfersResponse) -> Transfers {
        Transfers {
            transfers: reply.transfers.into_iter().map(Transfer::from).collect(),
            next_page_token: reply.next_page_token,
            seen: seen!(reply),
        }
    }
}

impl From<v1::Clearing> for Clearing {
    fn from(clearing: v1::Clearing) -> Clearing {
        Clearing {
            branch: clearing.branch,
            due_to: clearing.due_to,
            due_from: clearing.due_from,
            unconfirmed: clearing.unconfirmed,
        }
    }
}

impl From<v1::GetAuditResponse> for Audit {
    fn from(reply: v1::GetAuditResponse) -> Audit {
        Audit {
            branch: reply.branch,
            ledger: reply.ledger,
            replica: reply.replica,
            sequence: reply.sequence,
            time: reply.time.and_then(timestamp),
            digest: reply.digest,
            accounts: reply.accounts,
            customers: reply.customers,
            cash: reply.cash,
            interest: reply.interest,
            clearing: reply.clearing.into_iter().map(Clearing::from).collect(),
            held: reply.held,
            reserved: reply.reserved,
            holds: reply.holds,
            open_transfers: reply.open_transfers,
            prepared_credits: reply.prepared_credits,
            balanced: reply.balanced,
        }
    }
}
