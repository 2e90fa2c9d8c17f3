//! What people see of a transfer: its state, its phases, what it waits for.
//!
//! Invariant: an open transfer is shown as the ledger holds it, a closed one as the journal tells it.

use std::ops::ControlFlow;

use crate::model::{
    AbortReason, AccountNumber, Amount, Applied, BranchName, Command, Failure, OutgoingState,
    OutgoingTransfer, Reason, Receipt, RemoteAccount, RequestId, Seen, Sequence, Timestamp, TransferId,
};
use crate::store::{Journal, JournalTrimmed};

/// Most records of the journal that one look takes before other calls of the runtime get their turn.
pub(super) const LOOKED_AT: usize = 4_096;

/// How a transfer stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferState {
    /// Nothing is decided; the payer's money is held.
    Pending,
    /// It takes place.
    Committed,
    /// It does not, and no money moved.
    Aborted(AbortReason),
}

/// A step in the life of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhaseKind {
    /// The payer's money was held; or, inside a branch, moved in the same step.
    Begun,
    /// The payer's branch decided that it takes place.
    Committed,
    /// The payer's branch decided that it does not.
    Aborted,
    /// The other branch has the decision.
    Closed,
}

/// When a step was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phase {
    /// Which.
    pub kind: PhaseKind,
    /// By the time of the paying branch's log.
    pub time: Timestamp,
    /// The record of the paying branch's journal, where it is known.
    pub sequence: Option<Sequence>,
}

/// A transfer as its paying branch knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferShown {
    /// Its name.
    pub id: TransferId,
    /// The request that began it, where the journal was read.
    pub request: Option<RequestId>,
    /// The account that pays, in the branch of the name.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: RemoteAccount,
    /// How much.
    pub amount: Amount,
    /// How it stands.
    pub state: TransferState,
    /// Whether the other branch may still need to hear of it.
    pub open: bool,
    /// What has happened so far, in order.
    pub phases: Vec<Phase>,
    /// What it waits for, for people.
    pub waiting_for: Option<String>,
    /// What the receiving branch had reached when it had the decision.
    pub seen: Option<Seen>,
    /// The last record of the paying branch's journal that is shown here.
    pub sequence: Sequence,
}

/// Which side of an open transfer this branch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// It pays, and nothing is decided.
    Undecided,
    /// It pays and has committed, and the other branch has yet to hear it.
    Untold,
    /// It receives, and waits for the decision of the paying branch.
    Prepared,
}

/// A transfer that is not over, as this branch sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InDoubt {
    /// Its name.
    pub id: TransferId,
    /// The account that pays, in the branch of the name.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: RemoteAccount,
    /// How much.
    pub amount: Amount,
    /// What is in doubt.
    pub doubt: Doubt,
    /// Since when this branch has known of it, by the time of its log.
    pub since: Timestamp,
    /// What it waits for, for people.
    pub waiting_for: String,
}

impl TransferShown {
    /// An open transfer.
    pub(super) fn open(
        branch: &BranchName,
        transfer: &OutgoingTransfer,
        sequence: Sequence,
    ) -> TransferShown {
        let begun = Phase { kind: PhaseKind::Begun, time: transfer.begun, sequence: Some(transfer.number) };
        let decided = |kind, time| vec![begun, Phase { kind, time, sequence: None }];
        let (state, phases) = match &transfer.state {
            OutgoingState::Pending => (TransferState::Pending, vec![begun]),
            OutgoingState::Committed { at } => (TransferState::Committed, decided(PhaseKind::Committed, *at)),
            OutgoingState::Aborted { at, reason } => {
                (TransferState::Aborted(reason.clone()), decided(PhaseKind::Aborted, *at))
            }
        };
        TransferShown {
            id: TransferId { branch: branch.clone(), number: transfer.number },
            request: None,
            source: transfer.source,
            destination: transfer.destination.clone(),
            amount: transfer.amount,
            state,
            open: true,
            phases,
            waiting_for: None,
            seen: None,
            sequence,
        }
    }

    /// Begins with the record that began it; none when that began no transfer.
    fn begun(branch: &BranchName, record: &Applied) -> Option<TransferShown> {
        let Ok(receipt) = &record.outcome else { return None };
        let (source, destination, amount, state) = match (receipt, &record.command) {
            (Receipt::TransferBegun(change), _) => {
                (change.source, change.destination.clone(), change.amount, TransferState::Pending)
            }
            (Receipt::Transferred { source, destination, .. }, Command::Transfer { amount, .. }) => {
                let destination = RemoteAccount { branch: branch.clone(), account: *destination };
                (*source, destination, *amount, TransferState::Committed)
            }
            (_, _) => return None,
        };
        let open = state == TransferState::Pending;
        Some(TransferShown {
            id: TransferId { branch: branch.clone(), number: record.sequence },
            request: record.request.clone(),
            source,
            destination,
            amount,
            state,
            open,
            phases: vec![Phase {
                kind: PhaseKind::Begun,
                time: record.time,
                sequence: Some(record.sequence),
            }],
            waiting_for: None,
            seen: None,
            sequence: record.sequence,
        })
    }

    /// Adds what a later record says, if it is about this transfer.
    fn add(&mut self, record: &Applied) {
        if record.outcome.is_err() {
            return;
        }
        let mine = self.id.number;
        let kind = if let Command::CommitTransfer { number } = &record.command
            && *number == mine
        {
            self.state = TransferState::Committed;
            PhaseKind::Committed
        } else if let Command::AbortTransfer { number, reason } = &record.command
            && *number == mine
        {
            self.state = TransferState::Aborted(reason.clone());
            PhaseKind::Aborted
        } else if let Command::CloseTransfer { number, seen } = &record.command
            && *number == mine
        {
            (self.open, self.seen) = (false, seen.as_deref().copied());
            PhaseKind::Closed
        } else {
            return;
        };
        self.phases.push(Phase { kind, time: record.time, sequence: Some(record.sequence) });
        self.sequence = record.sequence;
    }
}

/// The history of one transfer while the journal is read.
pub(super) struct Reading {
    number: Sequence,
    next: Sequence,
    shown: Option<TransferShown>,
}

impl Reading {
    pub(super) fn of(number: Sequence) -> Reading {
        Reading { number, next: number, shown: None }
    }

    /// Reads on, at most so far; true when there is more to read.
    ///
    /// # Errors
    /// `JOURNAL_TRIMMED` when the record of the beginning is no longer held, `TRANSFER_NOT_FOUND` when it began no
    /// transfer.
    pub(super) fn go_on(&mut self, branch: &BranchName, journal: &Journal) -> Result<bool, Failure> {
        let (mut left, mut over) = (LOOKED_AT, false);
        let visited = journal.visit(self.next, |record| {
            self.next = record.sequence.next();
            left -= 1;
            match &mut self.shown {
                None => {
                    self.shown = TransferShown::begun(branch, record);
                    over = self.shown.is_none();
                }
                Some(shown) => shown.add(record),
            }
            over |= self.shown.as_ref().is_some_and(|shown| !shown.open);
            if over || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        visited.map_err(trimmed)?;
        if self.shown.is_none() {
            return Err(not_found(branch, self.number));
        }
        Ok(!over && left == 0)
    }

    /// What was read.
    pub(super) fn end(self, branch: &BranchName) -> Result<TransferShown, Failure> {
        self.shown.ok_or_else(|| not_found(branch, self.number))
    }
}

/// No transfer has this number.
pub(super) fn not_found(branch: &BranchName, number: Sequence) -> Failure {
    let what =
        format!("branch {branch} has no transfer {branch}:{number}; `transfers` lists those that it has");
    Failure::new(Reason::TransferNotFound, what).with("transfer", format_args!("{branch}:{number}"))
}

fn trimmed(trimmed: JournalTrimmed) -> Failure {
    let first = trimmed.first;
    let what = format!("this replica keeps its journal from sequence {first} on; ask one that has all of it");
    Failure::new(Reason::JournalTrimmed, what).with("first", first)
}
