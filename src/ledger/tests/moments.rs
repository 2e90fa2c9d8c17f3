//! Readers beside the writer, under the interleavings and the orders of memory that the language allows.
//!
//! The protocol is compiled here once more, on the atomics of `loom`; two locked balances stand for the accounts.

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[allow(clippy::duplicate_mod, reason = "once more, on other atomics")]
#[path = "../moment.rs"]
mod moment;

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::model::Sequence;
use moment::Moment;

/// What all accounts have together.
const SUM: i64 = 100;

struct Bank {
    accounts: [Mutex<i64>; 2],
    moment: Moment,
}

impl Bank {
    /// A batch of one command, which moves money.
    fn apply(&self, sequence: Sequence) {
        self.moment.begin();
        *self.accounts[0].lock().unwrap() -= 1;
        *self.accounts[1].lock().unwrap() += 1;
        self.moment.end(sequence);
    }

    fn read(&self) -> ([i64; 2], Option<Sequence>) {
        self.moment.look(|| [0, 1].map(|place| *self.accounts[place].lock().unwrap()))
    }
}

#[test]
fn a_read_of_one_moment_shows_its_sequence_and_nothing_else() {
    // Every way in which the two threads can be interrupted up to so many times.
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let accounts = [Mutex::new(SUM), Mutex::new(0)];
        let bank = Arc::new(Bank { accounts, moment: Moment::default() });
        let writer = {
            let bank = Arc::clone(&bank);
            thread::spawn(move || bank.apply(Sequence(1)))
        };
        if let ([payer, receiver], Some(sequence)) = bank.read() {
            assert_eq!(payer + receiver, SUM, "at {sequence}");
            assert_eq!(receiver, i64::try_from(sequence.0).unwrap());
        }
        writer.join().unwrap();
        assert_eq!(bank.read(), ([SUM - 1, 1], Some(Sequence(1))));
    });
}
