//! The sums of a ledger, which prove that no money is missing.

use std::collections::BTreeMap;

use super::accounts::Entry;
use super::tables::Tables;
use super::{Clearing, Frozen, Ledger, Position};
use crate::model::{BranchName, CreditState, OutgoingState, Total};

/// The sums of a ledger, read at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// How far the ledger had come.
    pub position: Position,
    /// How many accounts there are.
    pub accounts: u64,
    /// The sum of their balances.
    pub customers: Total,
    /// The bank's cash account: less than zero by what customers have paid in.
    pub cash: Total,
    /// The bank's interest account: less than zero by what customers have earned.
    pub interest: Total,
    /// What this branch and others owe each other.
    pub clearing: BTreeMap<BranchName, Clearing>,
    /// By branch, the sum of transfers that are committed and whose receipt is not confirmed: a part of what is due
    /// to it. Branches without any are left out.
    pub unconfirmed: BTreeMap<BranchName, Total>,
    /// The sum of what accounts hold back.
    pub held: Total,
    /// The sum of open holds and of transfers without a decision: the same, if nothing is held for nobody.
    pub reserved: Total,
    /// The sum of the room that accounts keep for credits.
    pub incoming: Total,
    /// The sum of prepared credits: the same.
    pub prepared: Total,
    /// How many holds are open.
    pub holds: u64,
    /// How many transfers to other branches are open.
    pub transfers: u64,
    /// How many credits are prepared.
    pub credits: u64,
}

impl Audit {
    /// Whether all books together sum to zero, and what is held is held for something, as it must be.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let own = self.customers.and(self.cash).and(self.interest);
        let sum = self.clearing.values().fold(own, |sum, with| sum.and(with.due_to).and(with.due_from));
        sum == Total::ZERO && self.held == self.reserved && self.incoming == self.prepared
    }
}

impl Ledger {
    /// Sums up the whole ledger. Nothing is applied meanwhile; [`Frozen::audit`] is for one that goes on.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let writer = self.writer.lock();
        let mut audit = Audit::of(writer.position(self.id()), writer.cash, writer.interest, &writer.tables);
        self.accounts.visit(None, |_, entry| {
            audit.add(entry);
            true
        });
        audit
    }
}

impl Frozen {
    /// Sums up the whole ledger as it was when it was frozen, while it goes on.
    #[must_use]
    pub fn audit(self) -> Audit {
        let (cash, interest) = self.bank_books();
        let mut audit = Audit::of(self.position(), cash, interest, self.tables());
        self.visit_accounts(|entry| audit.add(entry));
        audit
    }
}

impl Audit {
    /// The sums of everything but accounts.
    fn of(position: Position, cash: Total, interest: Total, tables: &Tables) -> Audit {
        let mut audit = Audit {
            position,
            unconfirmed: BTreeMap::new(),
            accounts: 0,
            customers: Total::ZERO,
            cash,
            interest,
            clearing: (*tables.clearing).clone(),
            held: Total::ZERO,
            reserved: Total::ZERO,
            incoming: Total::ZERO,
            prepared: Total::ZERO,
            holds: tables.holds.open_count() as u64,
            transfers: tables.outgoing.open_count() as u64,
            credits: tables.incoming.prepared_count() as u64,
        };
        for hold in tables.holds.all_open() {
            audit.reserved = audit.reserved.plus(hold.amount.money());
        }
        for transfer in tables.outgoing.all() {
            match transfer.state {
                OutgoingState::Pending => audit.reserved = audit.reserved.plus(transfer.amount.money()),
                OutgoingState::Committed { .. } => {
                    let of_branch = audit.unconfirmed.entry(transfer.destination.branch.clone());
                    let sum = of_branch.or_insert(Total::ZERO);
                    *sum = sum.plus(transfer.amount.money());
                }
                OutgoingState::Aborted { .. } => {}
            }
        }
        for (_, _, credit) in tables.incoming.all() {
            match credit.state {
                CreditState::Prepared { .. } => audit.prepared = audit.prepared.plus(credit.amount.money()),
                CreditState::Committed | CreditState::Aborted => {}
            }
        }
        audit
    }

    fn add(&mut self, entry: &Entry) {
        self.accounts += 1;
        self.customers = self.customers.plus(entry.balance);
        if let Some(details) = &entry.details {
            self.held = self.held.plus(details.held);
            self.incoming = self.incoming.plus(details.incoming);
        }
    }
}
