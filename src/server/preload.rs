//! The accounts that a new branch begins with when it is told to.

use std::time::{Duration, Instant};

use crate::ledger::Shown;
use crate::model::{
    AccountNumber, Amount, BranchName, Command, Money, NewAccount, Overdraft, Proposal, Timestamp, Work,
};
use crate::replication::{Branch, ReadPoint};

/// Their numbers.
const NUMBERS: [u64; 2] = [1_001, 1_002];
/// What each of them has, in minor units.
const DEPOSIT: i64 = 100_000;
/// Time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Rest before the next one.
const REST: Duration = Duration::from_millis(200);

/// Opens accounts 1001 and 1002 if the branch has no account.
pub(super) async fn preload(branch: &Branch) {
    open_first(branch, openings(branch.lane().branch())).await;
}

/// Opens one account with a balance if the branch has no account.
pub(super) async fn open_shared(branch: &Branch, number: AccountNumber, balance: Money) {
    let (number, deposit) = (Some(number), Amount::from_minor(balance.minor()).ok());
    let new = NewAccount { number, deposit, ..NewAccount::default() };
    open_first(branch, vec![Command::OpenAccount(Box::new(new))]).await;
}

/// Opens the accounts if the branch has none; returns when it is known to have some. Any number of replicas may do
/// this at once: all accounts are opened in one step, which happens once.
async fn open_first(branch: &Branch, openings: Vec<Command>) {
    let lane = branch.lane();
    loop {
        let deadline = Instant::now() + ATTEMPT;
        let is_empty = |shown: &Shown<'_>| shown.accounts(None, Timestamp::MAX, 1).is_empty();
        let done = match lane.view(ReadPoint::Latest, deadline, is_empty).await {
            Ok((false, _)) => return,
            Ok((true, _)) => {
                let work = Work::Atomic(openings.clone());
                lane.execute(Proposal { request: None, work }, None, deadline).await.map(drop)
            }
            Err(unavailable) => Err(unavailable),
        };
        if let Err(unavailable) = done {
            tracing::debug!(?unavailable, "the first accounts are not open yet");
            tokio::time::sleep(REST).await;
        }
    }
}

fn openings(branch: &BranchName) -> Vec<Command> {
    let opening = |(place, number): (usize, u64)| {
        Command::OpenAccount(Box::new(NewAccount {
            number: AccountNumber::new(number),
            // The longest name of a branch fits.
            name: format!("User_{branch}_{place}").parse().ok(),
            deposit: Amount::from_minor(DEPOSIT).ok(),
            overdraft: Overdraft::NONE,
        }))
    };
    (1..).zip(NUMBERS).map(opening).collect()
}
