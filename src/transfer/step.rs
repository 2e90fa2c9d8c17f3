//! What to do next about a transfer: the whole protocol as pure functions of what a ledger says.
//!
//! Invariant: no state of its own. Calling any of these again, late, or after a crash is always right: what it asks
//! for is a message that may come twice or a command of which the first counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::planted::{Fault, planted};
use crate::model::{
    AbortReason, Command, Credit, CreditState, Outcome, OutgoingState, OutgoingTransfer, Receipt, Rejection,
    Seen,
};

/// How long the payer waits for the vote of the other branch before it aborts. Longer than a branch needs to elect a
/// leader, and shorter than the usual deadline of a call, so that the caller hears why.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long the receiver waits for the decision before it asks.
pub(super) const ASK_AFTER: Duration = Duration::from_secs(2);

/// What the payer tells the receiver about one transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Can you take it?
    Prepare,
    /// It takes place.
    Commit,
    /// It does not take place.
    Abort,
}

/// The next step of the payer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Send this to the receiver.
    Tell(Ask),
    /// Put this into the own log.
    Decide(Command),
}

/// What the receiver answers, after its log has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The vote yes: the receiver will obey.
    Prepared,
    /// The vote no.
    Refused(Box<Rejection>),
    /// The money is in the account.
    Committed,
    /// Nothing will come of it.
    Aborted,
    /// The receiver knows that it was closed long ago.
    Settled,
    /// The receiver does not know it, or knows something else under its number.
    Unknown,
}

/// What the payer says to a receiver that asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// Nothing is decided; wait.
    Pending,
    /// It takes place.
    Commit,
    /// It does not.
    Abort,
    /// No such transfer is open: it has not taken place, or the receiver has confirmed its end.
    Unknown,
}

/// Whether the payer's own word agrees with a message that came in its name. Only then the message is obeyed.
pub(super) fn confirms(verdict: Verdict, ask: Ask) -> bool {
    if planted(Fault::MessageNotConfirmed) || planted(Fault::DecisionInMemory) {
        return true;
    }
    matches!(
        (ask, verdict),
        (Ask::Prepare, Verdict::Pending) | (Ask::Commit, Verdict::Commit) | (Ask::Abort, Verdict::Abort)
    )
}

/// The next step of the payer, who has had the transfer in hand for some time.
pub(super) fn next_step(transfer: &OutgoingTransfer, waited: Duration, reachable: bool) -> Step {
    let abort = |reason| Step::Decide(Command::AbortTransfer { number: transfer.number, reason });
    match &transfer.state {
        OutgoingState::Pending if !reachable => abort(AbortReason::BranchUnknown),
        OutgoingState::Pending if waited >= PATIENCE => abort(AbortReason::TimedOut),
        OutgoingState::Pending => Step::Tell(Ask::Prepare),
        OutgoingState::Committed { .. } => Step::Tell(Ask::Commit),
        OutgoingState::Aborted { .. } => Step::Tell(Ask::Abort),
    }
}

/// What the payer's log gets for an answer of the receiver; nothing when the answer does not help. The transfer is as
/// it was when it was told.
pub(super) fn after_answer(transfer: &OutgoingTransfer, answer: &Answer, seen: Seen) -> Option<Command> {
    let number = transfer.number;
    let close = Some(Command::CloseTransfer { number, seen: Some(Box::new(seen)) });
    match (&transfer.state, answer) {
        (OutgoingState::Pending, Answer::Prepared) => Some(Command::CommitTransfer { number }),
        (OutgoingState::Pending, Answer::Refused(rejection)) => {
            Some(Command::AbortTransfer { number, reason: AbortReason::Refused(rejection.clone()) })
        }
        (OutgoingState::Committed { .. }, Answer::Committed | Answer::Settled)
        | (OutgoingState::Aborted { .. }, Answer::Aborted | Answer::Settled) => close,
        // The receiver is ahead of what was asked, by a message of another leader: look again.
        (OutgoingState::Pending, Answer::Committed | Answer::Aborted | Answer::Settled | Answer::Unknown)
        // The decision stands whatever the receiver says, and is told until it has it.
        | (OutgoingState::Committed { .. }, Answer::Prepared | Answer::Refused(_) | Answer::Aborted | Answer::Unknown)
        | (OutgoingState::Aborted { .. }, Answer::Prepared | Answer::Refused(_) | Answer::Committed | Answer::Unknown) => {
            None
        }
    }
}

/// Whether the receiver has the opposite of what the payer has decided.
pub(super) fn is_contrary(transfer: &OutgoingTransfer, answer: &Answer) -> bool {
    matches!(
        (&transfer.state, answer),
        (OutgoingState::Committed { .. }, Answer::Aborted)
            | (OutgoingState::Aborted { .. }, Answer::Committed)
    )
}

/// The command of the receiver's log for what it was told.
pub(super) fn command_of(ask: Ask, credit: Credit) -> Command {
    let credit = Box::new(credit);
    match ask {
        Ask::Prepare => Command::PrepareCredit(credit),
        Ask::Commit => Command::CommitCredit(credit),
        Ask::Abort => Command::AbortCredit(credit),
    }
}

/// The receiver's command for what the payer says to its question; nothing while that has not decided.
pub(super) fn after_inquiry(verdict: Verdict, credit: Credit) -> Option<Command> {
    match verdict {
        Verdict::Pending => None,
        Verdict::Commit => Some(command_of(Ask::Commit, credit)),
        Verdict::Abort | Verdict::Unknown => Some(command_of(Ask::Abort, credit)),
    }
}

/// What the payer says about a transfer, given what its ledger holds open under that number. A prepared credit whose
/// transfer is not open has not taken place: a committed one stays open until the receiver has it.
pub(super) fn verdict(open: Option<&OutgoingTransfer>) -> Verdict {
    match open.map(|transfer| &transfer.state) {
        Some(OutgoingState::Pending) => Verdict::Pending,
        Some(OutgoingState::Committed { .. }) => Verdict::Commit,
        Some(OutgoingState::Aborted { .. }) => Verdict::Abort,
        None => Verdict::Unknown,
    }
}

/// The receiver's answer for what its log made of the command.
pub(super) fn answer(outcome: &Outcome) -> Answer {
    let known = |state: &CreditState| match state {
        CreditState::Prepared { .. } => Answer::Prepared,
        CreditState::Committed => Answer::Committed,
        CreditState::Aborted => Answer::Aborted,
    };
    let rejection = match outcome {
        Ok(Receipt::CreditPrepared(_)) => return Answer::Prepared,
        Ok(Receipt::CreditCommitted(_)) => return Answer::Committed,
        Ok(Receipt::CreditAborted(_)) => return Answer::Aborted,
        Ok(Receipt::CreditKnown { state }) => return known(state),
        // No command of this protocol has such a receipt.
        Ok(_) => return Answer::Unknown,
        Err(rejection) => rejection,
    };
    if let Rejection::TransferStale { .. } = rejection {
        return Answer::Settled;
    }
    if let Rejection::TransferFinal { committed, .. } = rejection {
        return if *committed { Answer::Committed } else { Answer::Aborted };
    }
    if let Rejection::TransferNotFound { .. } | Rejection::TransferMismatch { .. } = rejection {
        return Answer::Unknown;
    }
    Answer::Refused(Box::new(rejection.clone()))
}
