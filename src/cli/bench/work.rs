//! The operations of a run, and the book of what they must have done to each account.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use uuid::{Builder, Uuid};

use crate::client::BatchCommand;

use super::numbers::Numbers;
use super::plan::{Mix, Operation, Plan};

/// What every account starts with, in minor units.
pub(super) const FIRST_DEPOSIT: i64 = 100_000;
/// The largest amount of an operation, in minor units.
const LARGEST_AMOUNT: u64 = 100;
/// The rate of interest: so small that a busy account stays within the range of money.
pub(super) const RATE: &str = "0.0001";
const RATE_TEN_THOUSANDTHS: u32 = 1;

/// One operation. Accounts are places in the list of the run's accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Deposit {
        account: u32,
        amount: i64,
    },
    Withdraw {
        account: u32,
        amount: i64,
    },
    Transfer {
        source: u32,
        destination: u32,
        amount: i64,
    },
    /// To the account of another branch that the plan names.
    Send {
        source: u32,
        amount: i64,
    },
    Interest {
        account: u32,
    },
    Balance {
        account: u32,
    },
}

impl Op {
    /// The command of a batch; nothing for a read or for money to another branch, which no batch holds.
    pub(super) fn command(self, accounts: &Numbers) -> Option<BatchCommand> {
        let number = |place: u32| accounts.at(place);
        Some(match self {
            Op::Deposit { account, amount } => BatchCommand::Deposit { account: number(account), amount },
            Op::Withdraw { account, amount } => BatchCommand::Withdraw { account: number(account), amount },
            Op::Transfer { source, destination, amount } => {
                BatchCommand::Transfer { source: number(source), destination: number(destination), amount }
            }
            Op::Interest { account } => {
                BatchCommand::Interest { account: number(account), rate: RATE_TEN_THOUSANDTHS }
            }
            Op::Balance { .. } | Op::Send { .. } => return None,
        })
    }

    /// What it changes when it is executed: places and minor units.
    fn changes(self, interest: i64) -> [Option<(u32, i64)>; 2] {
        match self {
            Op::Deposit { account, amount } => [Some((account, amount)), None],
            Op::Withdraw { account, amount } => [Some((account, -amount)), None],
            Op::Transfer { source, destination, amount } => {
                [Some((source, -amount)), Some((destination, amount))]
            }
            Op::Send { source, amount } => [Some((source, -amount)), None],
            Op::Interest { account } => [Some((account, interest)), None],
            Op::Balance { account } => [Some((account, 0)), None],
        }
    }
}

/// Chooses operations; the same seed chooses the same ones.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    random: Random,
    mix: Mix,
    total: u64,
    accounts: u64,
    hot: bool,
    /// Whether transfers go to another branch.
    sends: bool,
}

impl Chooser {
    pub(super) fn new(plan: &Plan, worker: u64) -> Chooser {
        let mut random = Random(plan.seed);
        // Each worker's numbers start far from those of the others.
        random.0 = random.next() ^ Random(worker).next();
        Chooser {
            random,
            mix: plan.mix.clone(),
            total: plan.mix.total(),
            accounts: plan.accounts as u64,
            hot: plan.hot,
            sends: plan.transfer_to.is_some(),
        }
    }

    pub(super) fn next(&mut self) -> Op {
        let operation = self.mix.at(self.random.below(self.total));
        let account = if self.hot { 0 } else { self.place(self.accounts) };
        let amount = i64::try_from(1 + self.random.below(LARGEST_AMOUNT)).unwrap_or(1);
        match operation {
            Operation::Deposit => Op::Deposit { account, amount },
            Operation::Withdraw => Op::Withdraw { account, amount },
            Operation::Interest => Op::Interest { account },
            Operation::Balance => Op::Balance { account },
            Operation::Transfer if self.sends => Op::Send { source: account, amount },
            Operation::Transfer => {
                // Any account but the source.
                let other = self.place(self.accounts - 1);
                let destination = if other >= account { other + 1 } else { other };
                Op::Transfer { source: account, destination, amount }
            }
        }
    }

    fn place(&mut self, below: u64) -> u32 {
        u32::try_from(self.random.below(below)).expect("there are at most 100,000,000 accounts")
    }
}

/// SplitMix64: fast, and good enough to spread load.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 32).wrapping_mul(limit) >> 32
    }
}

/// Makes UUIDv7 request ids without asking the system for time and randomness each time.
#[derive(Clone, Debug)]
pub(super) struct RequestIds {
    /// Time in milliseconds at `started`.
    millis: u64,
    started: Instant,
    /// Random for each maker, with a counter at the end.
    tail: [u8; 10],
    counter: u32,
}

impl RequestIds {
    pub(super) fn new() -> RequestIds {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut tail = [0; 10];
        tail[..6].copy_from_slice(&Uuid::now_v7().as_bytes()[10..]);
        RequestIds {
            millis: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            started: Instant::now(),
            tail,
            counter: 0,
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> String {
        let since = now.saturating_duration_since(self.started).as_millis();
        let millis = self.millis.saturating_add(u64::try_from(since).unwrap_or(u64::MAX));
        self.counter = self.counter.wrapping_add(1);
        self.tail[6..].copy_from_slice(&self.counter.to_be_bytes());
        Builder::from_unix_timestamp_millis(millis, &self.tail).into_uuid().to_string()
    }
}

/// What the acknowledged operations must have done to each account.
#[derive(Debug)]
pub(super) struct Book {
    /// Change of each account, in minor units.
    changes: Vec<i64>,
    /// One bit for each account that an operation went to.
    touched: Vec<u64>,
    /// How much less or more an account may have, because an outcome stayed unknown.
    slack: BTreeMap<u32, (i64, i64)>,
}

impl Book {
    pub(super) fn new(accounts: usize) -> Book {
        // Written to before the run, so that the run does not wait for the system to hand out the pages.
        let mut changes = std::hint::black_box(vec![1; accounts]);
        changes.fill(0);
        Book { changes, touched: vec![0; accounts.div_ceil(u64::BITS as usize)], slack: BTreeMap::new() }
    }

    /// An operation was executed; `interest` is what it added, if it was that.
    pub(super) fn executed(&mut self, op: Op, interest: i64) {
        for (account, change) in op.changes(interest).into_iter().flatten() {
            self.touch(account);
            self.changes[account as usize] += change;
        }
    }

    /// An operation was refused.
    pub(super) fn refused(&mut self, op: Op) {
        for (account, _) in op.changes(0).into_iter().flatten() {
            self.touch(account);
        }
    }

    /// Nobody can say whether an operation was executed.
    pub(super) fn unknown(&mut self, op: Op) {
        for (account, change) in op.changes(0).into_iter().flatten() {
            self.touch(account);
            let (less, more) = self.slack.entry(account).or_default();
            *less += change.min(0);
            *more += change.max(0);
        }
    }

    fn touch(&mut self, account: u32) {
        self.touched[(account / u64::BITS) as usize] |= 1 << (account % u64::BITS);
    }

    /// Adds what another book says.
    pub(super) fn add(&mut self, other: &Book) {
        for (mine, theirs) in self.changes.iter_mut().zip(&other.changes) {
            *mine += theirs;
        }
        for (mine, theirs) in self.touched.iter_mut().zip(&other.touched) {
            *mine |= theirs;
        }
        for (account, (less, more)) in &other.slack {
            let mine = self.slack.entry(*account).or_default();
            *mine = (mine.0 + less, mine.1 + more);
        }
    }

    /// Whether an operation went to the account.
    pub(super) fn is_touched(&self, account: u32) -> bool {
        self.touched[(account / u64::BITS) as usize] >> (account % u64::BITS) & 1 == 1
    }

    /// How many accounts operations went to.
    pub(super) fn touched(&self) -> u64 {
        self.touched.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How far a balance in minor units is from what it must be; 0 when it is right.
    pub(super) fn error(&self, account: u32, balance: i64) -> i64 {
        let difference = balance - FIRST_DEPOSIT - self.changes[account as usize];
        let (less, more) = self.slack.get(&account).copied().unwrap_or_default();
        difference - difference.clamp(less, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RequestId, Timestamp};
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn the_book_knows_what_every_account_must_have() {
        let mut book = Book::new(3);
        book.executed(Op::Deposit { account: 0, amount: 50 }, 0);
        book.executed(Op::Transfer { source: 0, destination: 2, amount: 20 }, 0);
        book.executed(Op::Interest { account: 2 }, 3);
        book.refused(Op::Withdraw { account: 2, amount: 7 });
        let mut other = Book::new(3);
        other.executed(Op::Withdraw { account: 0, amount: 5 }, 0);
        book.add(&other);
        assert_eq!([0, 1, 2].map(|account| book.is_touched(account)), [true, false, true]);
        assert_eq!(book.touched(), 2);
        assert_eq!(book.error(0, FIRST_DEPOSIT + 25), 0);
        assert_eq!(book.error(0, FIRST_DEPOSIT + 24), -1);
        assert_eq!(book.error(2, FIRST_DEPOSIT + 24), 1);
    }

    #[test]
    fn money_that_was_sent_away_is_missed_here() {
        let mut book = Book::new(1);
        book.executed(Op::Send { source: 0, amount: 30 }, 0);
        assert_eq!(book.error(0, FIRST_DEPOSIT - 30), 0);
        let plan = Plan {
            mix: "transfer=1".parse().unwrap(),
            transfer_to: Some("delhi/1".to_owned()),
            ..test_plan()
        };
        assert!(matches!(Chooser::new(&plan, 1).next(), Op::Send { .. }));
    }

    #[test]
    fn an_unknown_outcome_allows_both_and_no_more() {
        let mut book = Book::new(1);
        book.unknown(Op::Deposit { account: 0, amount: 10 });
        book.unknown(Op::Withdraw { account: 0, amount: 4 });
        for (balance, error) in [(-5, -1), (-4, 0), (0, 0), (10, 0), (11, 1)] {
            assert_eq!(book.error(0, FIRST_DEPOSIT + balance), error, "{balance}");
        }
    }

    #[test]
    fn a_seed_chooses_the_same_operations_again_and_workers_choose_different_ones() {
        let plan =
            Plan { mix: "deposit=1,transfer=1,withdraw=1".parse().unwrap(), accounts: 2, ..test_plan() };
        let chosen = |worker| {
            let mut chooser = Chooser::new(&plan, worker);
            (0..50).map(|_| chooser.next()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
        for op in chosen(3) {
            if let Op::Transfer { source, destination, .. } = op {
                assert_ne!(source, destination);
            }
        }
    }

    #[test]
    fn request_ids_are_all_different_and_tell_their_time() {
        let (mut first, mut second) = (RequestIds::new(), RequestIds::new());
        let now = Instant::now() + Duration::from_secs(2);
        let ids: Vec<String> = (0..100).flat_map(|_| [first.next(now), second.next(now)]).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 200);
        for id in ids {
            let made = id.parse::<RequestId>().unwrap().made_at().map(Timestamp::micros).unwrap();
            assert!((1_000..10_000).contains(&(made / 1_000 - first.millis)), "{made}");
        }
    }

    fn test_plan() -> Plan {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            bench: super::super::BenchArgs,
        }
        Plan::new(&Line::parse_from(["bench"]).bench).unwrap()
    }
}
