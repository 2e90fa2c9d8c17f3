//! Counting calls: how many of each kind ended how, and how long they took.
//!
//! Every worker counts in a meter of its own, so counting is a few additions to memory that no other thread
//! writes; whoever wants the sums reads all meters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::model::Reason;

macro_rules! calls {
    ($($variant:ident = $name:literal,)+) => {
        /// The calls that are counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Rpc { $(#[doc = $name] $variant,)+ }

        impl Rpc {
            /// Every call.
            pub const ALL: &[Rpc] = &[$(Rpc::$variant,)+];

            /// Its name in figures.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Rpc::$variant => $name,)+ }
            }
        }
    };
}

calls! {
    OpenAccount = "open_account",
    Deposit = "deposit",
    Withdraw = "withdraw",
    Interest = "interest",
    Transfer = "transfer",
    GetBalance = "get_balance",
    GetAccount = "get_account",
    ListAccounts = "list_accounts",
    ListEntries = "list_entries",
    GetOperation = "get_operation",
    ExecuteBatch = "execute_batch",
    SubmitBatch = "submit_batch",
    WatchJournal = "watch_journal",
    SetState = "set_account_state",
    PlaceHold = "place_hold",
    CaptureHold = "capture_hold",
    ReleaseHold = "release_hold",
    GetHold = "get_hold",
    ListHolds = "list_holds",
    GetTransfer = "get_transfer",
    ListTransfers = "list_transfers",
    ListJournal = "list_journal",
}

/// Ways in which a call ends: done, or with one of the reasons.
const ENDS: usize = Reason::ALL.len() + 1;
/// The upper bounds of the classes of duration; longer calls are in a class of their own.
pub const CLASSES: [Duration; 14] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(5_000),
];

/// The counters of one kind of call.
#[derive(Debug)]
struct Row {
    ends: [AtomicU64; ENDS],
    classes: [AtomicU64; CLASSES.len() + 1],
    nanos: AtomicU64,
}

/// What one worker has counted.
#[derive(Debug)]
pub struct Meter(Vec<Row>);

/// The sums of some meters for one kind of call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// The kind.
    pub rpc: Rpc,
    /// How many ended so; none is a call that was done. Only those that happened.
    pub ends: Vec<(Option<Reason>, u64)>,
    /// How many took at most as long as each of [`CLASSES`] and longer than the one before it, and last
    /// those that took longer than all.
    pub classes: [u64; CLASSES.len() + 1],
    /// How long all of them took together.
    pub took: Duration,
}

impl Default for Meter {
    fn default() -> Meter {
        let zeroes = || std::array::from_fn(|_| AtomicU64::new(0));
        let row = |_| Row {
            ends: std::array::from_fn(|_| AtomicU64::new(0)),
            classes: zeroes(),
            nanos: AtomicU64::new(0),
        };
        Meter(Rpc::ALL.iter().map(row).collect())
    }
}

impl Meter {
    /// Counts a call that began then and ends now.
    pub(super) fn count(&self, rpc: Rpc, began: Instant, end: Option<Reason>) {
        let took = began.elapsed();
        let row = &self.0[rpc as usize];
        let class = CLASSES.iter().position(|bound| took <= *bound).unwrap_or(CLASSES.len());
        row.ends[end.map_or(0, |reason| reason as usize + 1)].fetch_add(1, Ordering::Relaxed);
        row.classes[class].fetch_add(1, Ordering::Relaxed);
        row.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds meters up, for those kinds of which there was a call.
    #[must_use]
    pub fn sum<'a>(meters: impl Iterator<Item = &'a Meter> + Clone) -> Vec<Count> {
        let count = |rpc: Rpc| {
            let sum = |of: &dyn Fn(&Row) -> u64| {
                meters.clone().map(|meter| of(&meter.0[rpc as usize])).fold(0, u64::wrapping_add)
            };
            let read = Ordering::Relaxed;
            let ends = std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some));
            Count {
                rpc,
                ends: ends
                    .enumerate()
                    .map(|(place, end)| (end, sum(&|row| row.ends[place].load(read))))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
                classes: std::array::from_fn(|class| sum(&|row| row.classes[class].load(read))),
                took: Duration::from_nanos(sum(&|row| row.nanos.load(read))),
            }
        };
        Rpc::ALL.iter().map(|rpc| count(*rpc)).filter(|count| !count.ends.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_are_added_up() {
        let meters = [Meter::default(), Meter::default()];
        let long_ago = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        meters[0].count(Rpc::Deposit, Instant::now(), None);
        meters[1].count(Rpc::Deposit, Instant::now(), None);
        meters[1].count(Rpc::Deposit, long_ago, Some(Reason::Internal));
        let counts = Meter::sum(meters.iter());
        let [count] = counts.as_slice() else { panic!("{counts:?}") };
        assert_eq!((count.rpc, &count.ends), (Rpc::Deposit, &vec![(None, 2), (Some(Reason::Internal), 1)]));
        assert_eq!((count.classes.iter().sum::<u64>(), count.classes.last()), (3, Some(&1)));
        assert!(count.took >= Duration::from_secs(9));
    }

    #[test]
    fn every_call_and_reason_has_its_own_counter() {
        assert!(Rpc::ALL.iter().enumerate().all(|(place, rpc)| *rpc as usize == place));
        assert!(Reason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    }
}
