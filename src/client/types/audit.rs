//! The sums of a branch's books.

use crate::model::Timestamp;

/// What a branch has booked against another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clearing {
    /// The other branch.
    pub branch: String,
    /// What this branch owes the other one for transfers that it paid: zero or more.
    pub due_to: String,
    /// What the other one owes this branch for transfers that were received here: zero or less.
    pub due_from: String,
    /// The part of `due_to` whose receipt the other one has not confirmed.
    pub unconfirmed: String,
}

/// The sums of a branch's books at one sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The branch.
    pub branch: String,
    /// The identity of its ledger.
    pub ledger: String,
    /// The replica that added up.
    pub replica: u64,
    /// The last command applied.
    pub sequence: u64,
    /// When it was applied.
    pub time: Option<Timestamp>,
    /// The digest there.
    pub digest: String,
    /// How many accounts there are.
    pub accounts: u64,
    /// The sum of their balances.
    pub customers: String,
    /// The bank's cash: less than zero by what was paid in.
    pub cash: String,
    /// The bank's interest: less than zero by what was earned.
    pub interest: String,
    /// What is booked against other branches, by name.
    pub clearing: Vec<Clearing>,
    /// The sum of what the accounts say is reserved.
    pub held: String,
    /// The sum of active holds and undecided transfers; equal to `held`.
    pub reserved: String,
    /// How many holds are active.
    pub holds: u64,
    /// How many transfers of this branch are not closed.
    pub open_transfers: u64,
    /// How many credits of other branches are promised here.
    pub prepared_credits: u64,
    /// Whether the sums are as they must be.
    pub balanced: bool,
}
