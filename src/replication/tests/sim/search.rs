//! An independent search for an order that explains what the clients of one account saw (Wing and Gong, with the
//! states that were tried remembered, as Lowe does). It knows nothing of sequences, logs or the ledger.

use std::collections::BTreeSet;

/// What a client asked of an account, in cents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Deposit(i64),
    Withdraw(i64),
    Read,
}

/// What it saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Saw {
    Balance(i64),
    /// Refused by the rules of the account: not enough money.
    Poor,
    /// Nothing: it may have happened, at any time since, or never.
    Nothing,
}

/// One call: begun before, and ended after, others as these numbers say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) begun: u64,
    /// `u64::MAX` when it never ended.
    pub(super) ended: u64,
    pub(super) asked: Asked,
    pub(super) saw: Saw,
}

/// Most calls of one search.
pub(super) const CALLS: usize = 128;

fn step(balance: i64, call: &Call) -> Option<i64> {
    let (next, says) = match call.asked {
        Asked::Deposit(amount) => (balance + amount, Saw::Balance(balance + amount)),
        Asked::Withdraw(amount) if amount > balance => (balance, Saw::Poor),
        Asked::Withdraw(amount) => (balance - amount, Saw::Balance(balance - amount)),
        Asked::Read => (balance, Saw::Balance(balance)),
    };
    (call.saw == says || call.saw == Saw::Nothing).then_some(next)
}

/// Whether some order of the calls that agrees with real time explains everything.
pub(super) fn explains(calls: &[Call], balance: i64) -> bool {
    assert!(calls.len() <= CALLS);
    let mut tried = BTreeSet::new();
    let mut open = vec![(0_u128, balance)];
    while let Some((done, balance)) = open.pop() {
        let left = |place: &usize| done & (1 << place) == 0;
        let ended = |place: usize| calls[place].ended;
        let Some(first_end) = (0..calls.len()).filter(left).map(ended).min() else { return true };
        if first_end == u64::MAX {
            return true;
        }
        // Whatever began before the first end may come next.
        for place in (0..calls.len()).filter(left).filter(|place| calls[*place].begun < first_end) {
            if let Some(next) = step(balance, &calls[place]) {
                let state = (done | (1 << place), next);
                if tried.insert(state) {
                    open.push(state);
                }
            }
        }
    }
    false
}

#[test]
fn the_search_finds_an_order_or_that_there_is_none() {
    let call = |begun, ended, asked, saw| Call { begun, ended, asked, saw };
    let deposit = call(1, 4, Asked::Deposit(5), Saw::Balance(5));
    let early = call(2, 3, Asked::Read, Saw::Balance(5));
    assert!(explains(&[deposit, early], 0), "it may take effect before it returns");
    let stale = call(5, 6, Asked::Read, Saw::Balance(0));
    assert!(!explains(&[deposit, stale], 0), "what has returned has taken effect");
    let unknown = call(1, u64::MAX, Asked::Withdraw(5), Saw::Nothing);
    assert!(explains(&[deposit, unknown, stale], 0), "unless something unknown explains it");
    let twice = call(7, 8, Asked::Read, Saw::Balance(10));
    assert!(!explains(&[deposit, unknown, twice], 0), "once and not twice");
    let poor = call(1, 9, Asked::Withdraw(6), Saw::Poor);
    assert!(explains(&[deposit, poor], 0) && !explains(&[call(10, 11, poor.asked, Saw::Poor)], 6));
}
