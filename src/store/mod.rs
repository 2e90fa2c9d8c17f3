//! The store: log, vote, snapshots and journal, in memory.

use std::ops::ControlFlow;

use crate::ledger::Ledger;
use crate::model::{AccountNumber, Applied, CustomerPosting, Sequence};

/// What readers of a branch see: the ledger and the journal of what it applied.
pub struct State {
    /// The accounts.
    pub ledger: Ledger,
    /// The history.
    pub journal: Journal,
}

/// The applied commands of a branch in order.
pub struct Journal {}

/// The journal no longer holds records before this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalTrimmed {
    /// The first record it holds.
    pub first: Sequence,
}

#[allow(clippy::todo, unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Journal {
    /// Records from `from` on, in order, until the end or until `visit` breaks.
    pub fn visit(
        &self,
        from: Sequence,
        visit: impl FnMut(&Applied) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        todo!()
    }
    /// The postings of an account, newest first, beginning with the one at `newest` (which must be a
    /// posting of the account, zero for none) and following the chain, until `visit` breaks. `Err` when
    /// the chain leads to a record that is no longer held.
    pub fn statement(
        &self,
        account: AccountNumber,
        newest: Sequence,
        visit: impl FnMut(&Applied, CustomerPosting) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        todo!()
    }
    /// The first record held; 1 when nothing was trimmed.
    pub fn first(&self) -> Sequence {
        todo!()
    }
    /// The last record; zero when there is none.
    pub fn last(&self) -> Sequence {
        todo!()
    }
}
