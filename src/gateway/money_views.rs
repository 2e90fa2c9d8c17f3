//! What answers about transfers and holds contain. The keys are those of `bank-client -o json`.

use crate::client;
use crate::client::{AccountState, HoldState, TransferSide, TransferState, TransferStep};

use super::shape::{Moment, Money, Word, view};

view! {
    /// The answer to a wish to move money.
    Transferred {
        /// The name of the transfer.
        transfer: String,
        /// What became of it so far.
        state: Word<TransferState>,
        /// The account that pays.
        source: String,
        /// The account that receives.
        destination: String,
        /// How much.
        amount: Money,
        /// The payer's balance; null when it is not known.
        source_balance: Option<Money>,
        /// The receiver's balance afterwards; null when it is of another branch.
        destination_balance: Option<Money>,
        /// Why it was aborted: an entry of the error catalogue; else empty.
        reason: String,
        /// Why it was aborted or what it waits for, in words; empty when it is committed.
        message: String,
        /// Place of the operation in the order of the branch that answered.
        sequence: u64,
        /// The name of the operation.
        request_id: String,
        /// Whether this is the first answer again.
        replayed: bool,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// Something that happened to a transfer.
    TransferPhase {
        /// What happened.
        step: Word<TransferStep>,
        /// The branch where it was applied.
        branch: String,
        /// Place in the order of that branch.
        sequence: u64,
        /// When it was applied.
        time: Option<Moment>,
        /// The vote or the reason in words; may be empty.
        detail: String,
    }
}

view! {
    /// A transfer as a branch knows it.
    Transfer {
        /// The name of the transfer.
        transfer: String,
        /// What became of it.
        state: Word<TransferState>,
        /// The account that pays.
        source: String,
        /// The account that receives.
        destination: String,
        /// How much.
        amount: Money,
        /// Which side of it the branch is.
        side: Word<TransferSide>,
        /// Whether it is not finished there.
        in_doubt: bool,
        /// Why it was aborted: an entry of the error catalogue; else empty.
        reason: String,
        /// Why it was aborted or what it waits for, in words; may be empty.
        message: String,
        /// When it began there.
        begin_time: Option<Moment>,
        /// How many milliseconds it has been in doubt; null when it is not.
        age_millis: Option<u64>,
        /// The branch that it waits for; empty when it waits for nobody.
        waiting_for: String,
        /// What happened to it, in order; lists leave it out.
        phases: Vec<TransferPhase>,
        /// Name of the operation that began it; may be empty.
        request_id: String,
    }
}

view! {
    /// One transfer, and how current the answer is.
    TransferShown {
        /// The transfer.
        transfer: Transfer,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// A page of transfers.
    Transfers {
        /// The transfers.
        transfers: Vec<Transfer>,
        /// Where to go on; empty at the end.
        next_page_token: String,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// Money reserved for somebody.
    Hold {
        /// The name of the hold.
        hold: String,
        /// The account whose money it reserves.
        account: String,
        /// How much it reserves, or reserved.
        amount: Money,
        /// Whether it still does.
        state: Word<HoldState>,
        /// When it was placed.
        place_time: Option<Moment>,
        /// When it ends by itself; null when it does not.
        expire_time: Option<Moment>,
        /// How much of it was taken; null unless captured.
        captured: Option<Money>,
    }
}

view! {
    /// A hold was placed, captured or released.
    HoldChanged {
        /// The hold.
        hold: Hold,
        /// The account's balance afterwards.
        balance: Money,
        /// Money reserved afterwards.
        held: Money,
        /// What the account can pay afterwards.
        available: Money,
        /// Place of the operation in the order of the branch.
        sequence: u64,
        /// The name of the operation.
        request_id: String,
        /// Whether this is the first answer again.
        replayed: bool,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// One hold, and how current the answer is.
    HoldShown {
        /// The hold.
        hold: Hold,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// A page of the active holds of an account, oldest first.
    Holds {
        /// The holds.
        holds: Vec<Hold>,
        /// Where to go on; empty at the end.
        next_page_token: String,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// An account was frozen, closed or opened again.
    StateSet {
        /// The account.
        account: String,
        /// Its state.
        state: Word<AccountState>,
        /// Its balance.
        balance: Money,
        /// Place of the operation in the order of the branch.
        sequence: u64,
        /// The name of the operation.
        request_id: String,
        /// Whether this is the first answer again.
        replayed: bool,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

/// Money that an answer may leave out.
fn known(money: String) -> Option<Money> {
    (!money.is_empty()).then_some(Money(money))
}

impl From<client::Transferred> for Transferred {
    fn from(transfer: client::Transferred) -> Transferred {
        Transferred {
            transfer: transfer.transfer,
            state: Word(transfer.state),
            source: transfer.source,
            destination: transfer.destination,
            amount: Money(transfer.amount),
            source_balance: known(transfer.source_balance),
            destination_balance: known(transfer.destination_balance),
            reason: transfer.reason,
            message: transfer.message,
            sequence: transfer.seen.sequence,
            request_id: transfer.named.request_id,
            replayed: transfer.named.replayed,
            branch: transfer.seen.branch,
            replica: transfer.seen.replica,
        }
    }
}

impl From<client::TransferPhase> for TransferPhase {
    fn from(phase: client::TransferPhase) -> TransferPhase {
        TransferPhase {
            step: Word(phase.step),
            branch: phase.branch,
            sequence: phase.sequence,
            time: phase.time.map(Moment),
            detail: phase.detail,
        }
    }
}

impl From<client::Transfer> for Transfer {
    fn from(transfer: client::Transfer) -> Transfer {
        let age = transfer.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Transfer {
            transfer: transfer.transfer,
            state: Word(transfer.state),
            source: transfer.source,
            destination: transfer.destination,
            amount: Money(transfer.amount),
            side: Word(transfer.side),
            in_doubt: transfer.in_doubt,
            reason: transfer.reason,
            message: transfer.message,
            begin_time: transfer.begin_time.map(Moment),
            age_millis: age,
            waiting_for: transfer.waiting_for,
            phases: transfer.phases.into_iter().map(Into::into).collect(),
            request_id: transfer.request_id,
        }
    }
}

impl From<client::TransferShown> for TransferShown {
    fn from(shown: client::TransferShown) -> TransferShown {
        TransferShown {
            transfer: shown.transfer.into(),
            sequence: shown.seen.sequence,
            branch: shown.seen.branch,
            replica: shown.seen.replica,
        }
    }
}

impl From<client::Transfers> for Transfers {
    fn from(page: client::Transfers) -> Transfers {
        Transfers {
            transfers: page.transfers.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            sequence: page.seen.sequence,
            branch: page.seen.branch,
            replica: page.seen.replica,
        }
    }
}

impl From<client::Hold> for Hold {
    fn from(hold: client::Hold) -> Hold {
        Hold {
            hold: hold.hold,
            account: hold.account,
            amount: Money(hold.amount),
            state: Word(hold.state),
            place_time: hold.place_time.map(Moment),
            expire_time: hold.expire_time.map(Moment),
            captured: known(hold.captured),
        }
    }
}

impl From<client::HoldChanged> for HoldChanged {
    fn from(changed: client::HoldChanged) -> HoldChanged {
        HoldChanged {
            hold: changed.hold.into(),
            balance: Money(changed.balance),
            held: Money(changed.held),
            available: Money(changed.available),
            sequence: changed.seen.sequence,
            request_id: changed.named.request_id,
            replayed: changed.named.replayed,
            branch: changed.seen.branch,
            replica: changed.seen.replica,
        }
    }
}

impl From<client::HoldShown> for HoldShown {
    fn from(shown: client::HoldShown) -> HoldShown {
        HoldShown {
            hold: shown.hold.into(),
            sequence: shown.seen.sequence,
            branch: shown.seen.branch,
            replica: shown.seen.replica,
        }
    }
}

impl From<client::Holds> for Holds {
    fn from(page: client::Holds) -> Holds {
        Holds {
            holds: page.holds.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            sequence: page.seen.sequence,
            branch: page.seen.branch,
            replica: page.seen.replica,
        }
    }
}

impl From<client::StateSet> for StateSet {
    fn from(set: client::StateSet) -> StateSet {
        StateSet {
            account: set.account,
            state: Word(set.state),
            balance: Money(set.balance),
            sequence: set.seen.sequence,
            request_id: set.named.request_id,
            replayed: set.named.replayed,
            branch: set.seen.branch,
            replica: set.seen.replica,
        }
    }
}
