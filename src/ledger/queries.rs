//! Questions about holds, transfers and credits. Each is answered from one moment.

use super::Ledger;
use crate::model::{
    AccountNumber, BranchName, Credit, CreditState, Hold, HoldId, HoldStatus, InDoubtCount, IncomingCredit,
    Origin, OutgoingState, OutgoingTransfer, Sequence, Timestamp,
};

/// A credit that waits for the paying branch's decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedCredit {
    /// The credit, as a message about it says it.
    pub credit: Credit,
    /// When it was prepared.
    pub at: Timestamp,
}

impl Ledger {
    /// What is known of a hold; none for one that never was or ended long ago.
    #[must_use]
    pub fn hold(&self, hold: HoldId) -> Option<HoldStatus> {
        self.writer.lock().tables.holds.status(hold)
    }

    /// The open holds of an account by number: those after `after`, at most `limit`.
    #[must_use]
    pub fn holds(&self, account: AccountNumber, after: Option<HoldId>, limit: usize) -> Vec<Hold> {
        self.writer.lock().tables.holds.of_account(account, after).take(limit).copied().collect()
    }

    /// When the first open hold ends by itself; none when none does.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.writer.lock().tables.holds.next_expiry()
    }

    /// Open holds whose time is over at `now`, at most `limit`.
    #[must_use]
    pub fn holds_over(&self, now: Timestamp, limit: usize) -> Vec<HoldId> {
        self.writer.lock().tables.holds.over(now).take(limit).collect()
    }

    /// An open transfer that this branch pays.
    #[must_use]
    pub fn outgoing(&self, number: Sequence) -> Option<OutgoingTransfer> {
        self.writer.lock().tables.outgoing.get(number).cloned()
    }

    /// How many transfers are in doubt, and since when.
    #[must_use]
    pub fn in_doubt(&self) -> InDoubtCount {
        let writer = self.writer.lock();
        let (outgoing, incoming) = (&writer.tables.outgoing, &writer.tables.incoming);
        let doubtful =
            || outgoing.all().filter(|transfer| !matches!(transfer.state, OutgoingState::Aborted { .. }));
        let begun = doubtful().next().map(|transfer| transfer.begun);
        InDoubtCount {
            open_transfers: doubtful().count(),
            prepared_credits: incoming.prepared_count(),
            oldest: begun.into_iter().chain(incoming.oldest_prepared()).min(),
        }
    }

    /// The open transfers that this branch pays, newest first: those before `before`, at most `limit`.
    #[must_use]
    pub fn outgoing_open(&self, before: Option<Sequence>, limit: usize) -> Vec<OutgoingTransfer> {
        let writer = self.writer.lock();
        writer.tables.outgoing.before(before.unwrap_or(Sequence(u64::MAX))).take(limit).cloned().collect()
    }

    /// The open transfers that this branch pays, oldest first: those after `after`, at most `limit`.
    #[must_use]
    pub fn outgoing_after(&self, after: Sequence, limit: usize) -> Vec<OutgoingTransfer> {
        self.writer.lock().tables.outgoing.after(after).take(limit).cloned().collect()
    }

    /// The open transfers to one branch, oldest first: those after `after`, at most `limit`; with them the watermark
    /// for messages to that branch.
    #[must_use]
    pub fn outgoing_to(
        &self,
        branch: &BranchName,
        after: Sequence,
        limit: usize,
    ) -> (Vec<OutgoingTransfer>, Sequence) {
        let writer = self.writer.lock();
        let open = writer.tables.outgoing.to(branch, after).take(limit).cloned().collect();
        (open, writer.settled_below(branch))
    }

    /// The branches that open transfers go to.
    #[must_use]
    pub fn outgoing_branches(&self) -> Vec<BranchName> {
        self.writer.lock().tables.outgoing.branches().cloned().collect()
    }

    /// The watermark for messages to a branch: every transfer to it with a smaller number is closed.
    #[must_use]
    pub fn settled_below(&self, branch: &BranchName) -> Sequence {
        self.writer.lock().settled_below(branch)
    }

    /// What is remembered of a credit; none for one that is not known or was closed.
    #[must_use]
    pub fn incoming(&self, origin: &Origin, number: Sequence) -> Option<IncomingCredit> {
        self.writer.lock().tables.incoming.get(origin, number).cloned()
    }

    /// The watermark that a paying branch has told; none when nothing has been kept of it.
    #[must_use]
    pub fn incoming_settled_below(&self, origin: &Origin) -> Option<Sequence> {
        self.writer.lock().tables.incoming.settled_below(origin)
    }

    /// The credits that wait for a decision, the oldest first, at most `limit`.
    #[must_use]
    pub fn credits_prepared(&self, limit: usize) -> Vec<PreparedCredit> {
        let writer = self.writer.lock();
        let incoming = &writer.tables.incoming;
        let prepared = incoming.prepared().filter_map(|(origin, number, known)| {
            let IncomingCredit { source, destination, amount, state } = *known;
            let at = match state {
                CreditState::Prepared { at } => at,
                CreditState::Committed | CreditState::Aborted => return None,
            };
            let settled_below = incoming.settled_below(origin).unwrap_or(Sequence::ZERO);
            let origin = origin.clone();
            let credit = Credit { origin, number, settled_below, source, destination, amount };
            Some(PreparedCredit { credit, at })
        });
        prepared.take(limit).collect()
    }

    /// The newest record that begins a transfer or prepares a credit, from which the chain of transfers leads to all
    /// others; zero when there is none.
    #[must_use]
    pub fn newest_transfer(&self) -> Sequence {
        self.writer.lock().newest_transfer
    }
}
