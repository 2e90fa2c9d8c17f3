//! Planted faults of holds and transfers: each breaks what this short history of two branches shows.

use super::snapshots::{frames, restore};
use super::*;
use crate::model::planted::with_fault;

/// One branch, and what went wrong in it so far.
struct Town {
    ledger: Arc<Ledger>,
    time: u64,
}

impl Town {
    /// Account 1 has 100.00.
    fn new() -> Town {
        let mut town = Town { ledger: Arc::default(), time: 0 };
        town.does("open - 100");
        town
    }

    fn does(&mut self, text: &str) -> String {
        self.time += 1;
        let work = anonymous(Work::One(command(text)));
        show_all(&self.ledger.apply(&batch(self.time, vec![work])).replies[0])
    }

    /// Stops and goes on from its snapshot.
    fn restarts(&mut self) {
        if let Ok(ledger) = restore(&frames(&self.ledger)) {
            self.ledger = ledger;
        }
    }
}

/// Pays 60.00 from one branch to the other, with messages that come twice, early and late, and says the first thing that
/// is not as it must be.
fn history() -> Result<(), String> {
    let (mut payer, mut receiver) = (Town::new(), Town::new());
    let must = |town: &mut Town, text: &str, expected: &str| {
        let found = town.does(text);
        let balanced = town.ledger.audit().balanced();
        if found == expected && balanced {
            Ok(())
        } else {
            Err(format!("{text}: {found} instead of {expected}, balanced: {balanced}"))
        }
    };
    must(&mut payer, "begin 1 delhi 1 60", "1=100.00/60.00")?;
    must(&mut payer, "withdraw 1 50", "INSUFFICIENT_FUNDS")?;
    must(&mut receiver, "prepare mumbai 2 1 1 60", "1=100.00/0.00")?;
    must(&mut payer, "commit 2", "1=40.00/0.00")?;
    payer.restarts();
    must(&mut payer, "abort 2", "TRANSFER_FINAL")?;
    must(&mut receiver, "credit mumbai 2 1 1 60", "1=160.00/0.00")?;
    receiver.restarts();
    must(&mut receiver, "credit mumbai 2 1 1 60", "committed before")?;
    must(&mut payer, "forget 2", "1=40.00/0.00")?;
    must(&mut payer, "begin 1 delhi 1 30", "1=40.00/30.00")?;
    must(&mut payer, "abort 7", "1=40.00/0.00")?;
    must(&mut receiver, "cancel mumbai 7 1 1 30", "noted")?;
    must(&mut receiver, "prepare mumbai 7 1 1 30", "TRANSFER_FINAL")?;
    must(&mut payer, "hold 1 40", "1=40.00/40.00")?;
    must(&mut payer, "release 9", "1=40.00/0.00")
}

#[test]
fn every_planted_fault_shows() {
    assert_eq!(history(), Ok(()));
    for fault in [
        Fault::PrepareReservesNothing,
        Fault::DecisionNotInSnapshot,
        Fault::DecisionForgotten,
        Fault::LatePrepareAfterAbort,
        Fault::CommitPostedTwice,
        Fault::HoldNotReleased,
    ] {
        let found = with_fault(Some(fault), history);
        assert!(found.is_err(), "{fault:?} is not seen");
    }
}
