//! GetAudit: the sums of the books.
//!
//! Invariant: a server adds up its books once at a time, from a frozen view, and everybody who asked before the view
//! was made shares the result, so that no number of audits keeps the ledger from going on.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::call::WHEN_LESS_BUSY;
use crate::ledger::{Audit, Ledger};
use crate::model::{BranchName, Failure, LedgerId, Reason, ReplicaId, Total, Unavailable};
use crate::replication::{Lane, ReadPoint};
use crate::wire::proto::v1;
use crate::wire::reply;

/// The audits of a server: the latest one, and the moment before its view was made. Locked while one is made.
#[derive(Debug, Default)]
pub struct Audits {
    latest: Arc<Mutex<Option<(Instant, Audit)>>>,
}

impl Audits {
    /// The sums of the ledger at `since` or later.
    ///
    /// # Errors
    /// `OVERLOADED` when the deadline passes before.
    async fn since(
        &self,
        since: Instant,
        ledger: impl FnOnce() -> Arc<Ledger> + Send + 'static,
        deadline: Instant,
    ) -> Result<Audit, Failure> {
        let late = |_| Failure::from(Unavailable::Overloaded { retry_after: WHEN_LESS_BUSY });
        let turn = Arc::clone(&self.latest).lock_owned();
        let mut latest = timeout_at(deadline.into(), turn).await.map_err(late)?;
        if let Some((_, audit)) = latest.as_ref().filter(|(frozen, _)| *frozen >= since) {
            return Ok(audit.clone());
        }
        // Long work, so a thread of its own does it. It keeps the turn although its caller goes away.
        let made = tokio::task::spawn_blocking(move || {
            let frozen = Instant::now();
            let audit = ledger().freeze().audit();
            latest.insert((frozen, audit)).1.clone()
        });
        timeout_at(deadline.into(), made)
            .await
            .map_err(late)?
            .map_err(|fault| Failure::new(Reason::Internal, format!("the books were not added up: {fault}")))
    }
}

/// Adds up the books with everything acknowledged before.
///
/// # Errors
/// Why the branch cannot answer so.
pub(super) async fn audit(
    lane: &Lane,
    audits: &Audits,
    deadline: Instant,
) -> Result<v1::GetAuditResponse, Failure> {
    lane.read(ReadPoint::Latest, deadline, |_| ()).await?;
    let ledger = lane.ledger()?;
    let states = lane.clone();
    let audit = audits.since(Instant::now(), move || Arc::clone(&states.state().ledger), deadline).await?;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_asked_before_an_audit_began_shares_it_and_who_asked_after_does_not() {
        let audits = Audits::default();
        let made = Arc::new(AtomicUsize::new(0));
        let ledger = || {
            let made = Arc::clone(&made);
            move || {
                made.fetch_add(1, Ordering::Relaxed);
                Arc::<Ledger>::default()
            }
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let early = Instant::now();
        for _ in 0..100 {
            audits.since(early, ledger(), deadline).await.unwrap();
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        audits.since(Instant::now(), ledger(), deadline).await.unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 2);
        // While one is made, nobody waits longer than until the deadline.
        let _turn = audits.latest.lock().await;
        let refused = audits.since(Instant::now(), ledger(), Instant::now()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
    }
}
