//! GetAudit: the sums of the books.

use std::time::Instant;

use crate::ledger::Audit;
use crate::model::{BranchName, Failure, LedgerId, Reason, ReplicaId, Total};
use crate::replication::{Lane, ReadPoint};
use crate::wire::proto::v1;
use crate::wire::reply;

/// Adds up the books with everything acknowledged before. Long work, so a thread of its own does it.
///
/// # Errors
/// Why the branch cannot answer so.
pub(super) async fn audit(lane: &Lane, deadline: Instant) -> Result<v1::GetAuditResponse, Failure> {
    lane.read(ReadPoint::Latest, deadline, |_| ()).await?;
    let ledger = lane.ledger()?;
    let state = lane.state();
    let audit = tokio::task::spawn_blocking(move || state.ledger.audit())
        .await
        .map_err(|fault| Failure::new(Reason::Internal, format!("the books were not added up: {fault}")))?;
    Ok(told(lane.branch(), lane.replica(), ledger, &audit))
}

fn told(branch: &BranchName, replica: ReplicaId, ledger: LedgerId, audit: &Audit) -> v1::GetAuditResponse {
    let clearing = audit.clearing.iter().map(|(other, sums)| v1::Clearing {
        branch: other.to_string(),
        due_to: sums.due_to.to_string(),
        due_from: sums.due_from.to_string(),
        unconfirmed: audit.unconfirmed.get(other).copied().unwrap_or(Total::ZERO).to_string(),
    });
    v1::GetAuditResponse {
        branch: branch.to_string(),
        ledger: ledger.to_string(),
        replica: replica.0,
        sequence: audit.position.sequence.0,
        time: audit.position.time.map(reply::time),
        digest: audit.position.digest.to_string(),
        accounts: audit.accounts,
        customers: audit.customers.to_string(),
        cash: audit.cash.to_string(),
        interest: audit.interest.to_string(),
        clearing: clearing.collect(),
        held: audit.held.to_string(),
        reserved: audit.reserved.to_string(),
        holds: audit.holds,
        open_transfers: audit.transfers,
        prepared_credits: audit.credits,
        balanced: audit.balanced(),
    }
}
