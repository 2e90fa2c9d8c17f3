//! What callers of a branch rely on, with the branch on a thread of its own as in the server.

mod attacks;
mod catching_up;
mod door;
mod formation;
mod group;
mod members;
mod rollback;
pub(crate) mod sim;
pub(crate) mod simulated;
pub(crate) mod town;

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::future::join_all;
use openraft::{EntryPayload, RaftLogReader};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use super::*;
use crate::model::limits::BATCH_COMMANDS;
use crate::model::{
    AccountNumber, Amount, Applied, Command, LedgerId, Money, NewAccount, Outcomes, Proposal, Receipt,
    ReplicaId, Reply, Seen, Sequence, Timestamp, Unavailable, Work,
};
use crate::store::State;

const LEDGER: LedgerId = LedgerId([7; 16]);

/// A branch on a thread of its own.
struct Running {
    branch: Branch,
    runtime: Handle,
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Running {
        let (quit, quitted) = oneshot::channel();
        let (started, branch) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let branch = Branch::start(config()).await.unwrap();
                started.send((branch, Handle::current())).unwrap();
                let _ = quitted.await;
            });
        });
        let (branch, runtime) = branch.recv().unwrap();
        Running { branch, runtime, quit: Some(quit), thread: Some(thread) }
    }

    /// Holds the branch's thread until the returned guard is dropped.
    fn stall(&self) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (stalled, is_stalled) = mpsc::channel();
        self.runtime.spawn(async move {
            stalled.send(()).unwrap();
            let _ = released.recv();
        });
        is_stalled.recv().unwrap();
        release
    }

    fn log_length(&self) -> (usize, usize) {
        self.branch.replica.log.length()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn config() -> BranchConfig {
    // A clock that stands still: ledger time must rise all the same.
    let clock = Arc::new(|| Timestamp::from_micros(1_000));
    BranchConfig::alone("main".parse().unwrap(), LEDGER, clock)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn number(number: u64) -> AccountNumber {
    AccountNumber::new(number).unwrap()
}

fn work(work: Work) -> Proposal {
    Proposal { request: None, work }
}

fn open(account: u64) -> Proposal {
    let account = NewAccount { number: AccountNumber::new(account), ..NewAccount::default() };
    work(Work::One(Command::OpenAccount(Box::new(account))))
}

fn one_cent(account: u64) -> Command {
    Command::Deposit { account: number(account), amount: Amount::from_minor(1).unwrap() }
}

fn deposit(account: u64) -> Proposal {
    work(Work::One(one_cent(account)))
}

fn cents(state: &State, account: u64) -> i64 {
    state.ledger.account(number(account)).unwrap().balance.balance.minor()
}

fn balance_of(reply: &Reply) -> Money {
    match &reply.outcomes {
        Outcomes::One(Ok(Receipt::Deposited { balance, .. })) => *balance,
        Outcomes::One(_) | Outcomes::Many(_) => panic!("{reply:?}"),
    }
}

/// Polls once, as a caller does before it goes away.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_lone_replica_serves_at_once() {
    let began = Instant::now();
    let running = Running::start();
    assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
    runtime().block_on(async {
        let lane = running.branch.lane();
        assert_eq!((lane.ledger(), lane.replica()), (Ok(LEDGER), ReplicaId(1)));
        assert_eq!(lane.branch().as_str(), "main");
        let read = lane.read(ReadPoint::Latest, soon(), |state| state.ledger.id()).await;
        assert_eq!(read, Ok((Some(LEDGER), Sequence::ZERO)));
        assert_eq!(lane.execute(open(5), None, soon()).await.unwrap().last, Sequence(1));
    });
}

#[test]
fn every_call_from_every_runtime_gets_its_own_reply_in_its_order() {
    const RUNTIMES: u64 = 4;
    const CALLS: u64 = 3_000;
    let running = Running::start();
    let threads: Vec<_> = (0..RUNTIMES)
        .map(|thread| {
            let branch = running.branch.clone();
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let lane = branch.lane();
                    let calls = (0..CALLS).map(|call| {
                        let (lane, account) = (lane.clone(), 1 + thread * CALLS + call);
                        async move {
                            let reply = lane.execute(open(account), None, soon()).await.unwrap();
                            let opened = Receipt::Opened { account: number(account), balance: Money::ZERO };
                            assert_eq!(reply.outcomes, Outcomes::One(Ok(opened)));
                            assert_eq!(reply.first, reply.last);
                            reply
                        }
                    });
                    let replies = join_all(calls).await;
                    assert!(replies.windows(2).all(|two| two[0].last < two[1].last), "in order of the calls");
                    assert!(replies.windows(2).all(|two| two[0].time <= two[1].time));
                    replies
                })
            })
        })
        .collect();
    let mut replies: Vec<Reply> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    replies.sort_by_key(|reply| reply.last);
    let sequences: Vec<u64> = replies.iter().map(|reply| reply.last.0).collect();
    assert_eq!(sequences, (1..=RUNTIMES * CALLS).collect::<Vec<_>>());
    assert!(replies.windows(2).all(|two| two[0].time <= two[1].time), "later in the log is not earlier");
}

#[test]
fn ledger_time_rises_with_every_batch_though_the_clock_stands() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        let mut last = None;
        for account in 1..=20 {
            let reply = lane.execute(open(account), None, soon()).await.unwrap();
            assert!(last < Some(reply.time), "{last:?} {:?}", reply.time);
            last = Some(reply.time);
        }
        let entries = running.branch.replica.log.clone().try_get_log_entries(..).await.unwrap();
        let stamped: Vec<_> = entries
            .iter()
            .filter_map(|entry| match &entry.payload {
                EntryPayload::Normal(batch) => Some(batch.batch().time),
                EntryPayload::Blank | EntryPayload::Membership(_) => None,
            })
            .collect();
        assert_eq!(stamped.len(), 21, "the founding batch and twenty calls");
        assert!(stamped.windows(2).all(|two| two[0] < two[1]), "stamped by the leader: {stamped:?}");
    });
}

#[test]
fn the_log_stays_short_whatever_passes_through_it() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        let full = || work(Work::Independent(vec![one_cent(1); BATCH_COMMANDS]));
        let (mut entries, mut commands) = (0, 0);
        let mut look = || {
            let (e, c) = running.log_length();
            entries = entries.max(e);
            commands = commands.max(c);
        };
        for _ in 0..25 {
            lane.execute(full(), None, soon()).await.unwrap();
            look();
        }
        for _ in 0..5_000 {
            lane.execute(deposit(1), None, soon()).await.unwrap();
            look();
        }
        // The entry that makes the log long, and those that arrive until openraft has purged.
        assert!(entries <= 2 * 1_024, "{entries} entries");
        assert!(commands <= 2 * 65_536, "{commands} commands");
        let (deposited, _) = lane.read(ReadPoint::Latest, soon(), |state| cents(state, 1)).await.unwrap();
        assert_eq!(deposited, 25 * 8_192 + 5_000);
    });
}

#[test]
fn who_goes_away_loses_only_the_answer() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        for _ in 0..100 {
            assert!(poll_once(lane.execute(deposit(1), None, soon())).is_pending());
        }
        drop(lane.execute(deposit(1), None, soon()));
        let last = lane.execute(deposit(1), None, soon()).await.unwrap();
        assert_eq!(balance_of(&last).minor(), 102, "a call takes effect whether anybody waits for it or not");
    });
}

#[test]
fn a_full_queue_sheds_and_what_it_sheds_never_happens() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        let release = running.stall();
        let full = || work(Work::Independent(vec![one_cent(1); BATCH_COMMANDS]));
        let (mut taken, mut shed) = (Vec::new(), 0);
        for _ in 0..100 {
            let mut call = Box::pin(lane.execute(full(), None, soon()));
            match poll_once(call.as_mut()) {
                Poll::Pending => taken.push(call),
                Poll::Ready(answer) => {
                    assert!(matches!(answer, Err(Unavailable::Overloaded { .. })), "{answer:?}");
                    shed += 1;
                }
            }
        }
        assert_eq!((taken.len() * BATCH_COMMANDS, shed), (QUEUED_COMMANDS, 36));
        drop(release);
        assert!(join_all(taken).await.iter().all(Result::is_ok));
        let (deposited, _) = lane.read(ReadPoint::Latest, soon(), |state| cents(state, 1)).await.unwrap();
        assert_eq!(usize::try_from(deposited), Ok(QUEUED_COMMANDS));
    });
}

#[test]
fn a_deadline_says_whether_something_may_have_happened() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        let late = lane.execute(deposit(1), None, Instant::now()).await;
        assert!(matches!(late, Err(Unavailable::Overloaded { .. })), "nothing happened: {late:?}");

        let release = running.stall();
        let shortly = || Instant::now() + Duration::from_millis(5);
        assert_eq!(lane.execute(deposit(1), None, shortly()).await, Err(Unavailable::OutcomeUnknown));
        let read = lane.read(ReadPoint::Latest, shortly(), |_| ()).await;
        assert_eq!(read, Err(Unavailable::NoQuorum));
        let wanted = Seen { ledger: LEDGER, sequence: Sequence(3) };
        let read = lane.read(ReadPoint::AtLeast(wanted), shortly(), |_| ()).await;
        let behind = Unavailable::ReplicaBehind { applied: Sequence(1), wanted: Sequence(3) };
        assert_eq!(read, Err(behind));
        drop(release);

        let last = lane.execute(deposit(1), None, soon()).await.unwrap();
        assert_eq!(balance_of(&last).minor(), 1, "what nobody waits for is not begun");
    });
}

#[test]
fn a_session_sees_what_it_has_seen_or_is_told_that_it_cannot() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        let reply = lane.execute(deposit(1), None, soon()).await.unwrap();
        let seen = Seen { ledger: LEDGER, sequence: reply.last };
        let ahead = Seen { ledger: LEDGER, sequence: reply.last.next() };
        let other = Seen { ledger: LedgerId([8; 16]), sequence: Sequence(1) };

        let reply = lane.execute(deposit(1), Some(seen), soon()).await.unwrap();
        assert_eq!(balance_of(&reply).minor(), 2);
        for unknown in [Seen { sequence: Sequence(99), ..ahead }, other] {
            let write = lane.execute(deposit(1), Some(unknown), soon()).await;
            assert_eq!(write, Err(Unavailable::SessionUnknown));
            let read = lane.read(ReadPoint::AtLeast(unknown), soon(), |_| ()).await;
            assert_eq!(read, Err(Unavailable::SessionUnknown));
        }
        let read = lane.read(ReadPoint::AtLeast(seen), soon(), |state| cents(state, 1)).await;
        assert_eq!(read, Ok((2, reply.last)), "the refused writes did not happen");
    });
}

#[test]
fn a_session_waits_for_what_is_on_its_way() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        let release = running.stall();
        let write = lane.execute(deposit(1), None, soon());
        let seen = Seen { ledger: LEDGER, sequence: Sequence(2) };
        let read = lane.read(ReadPoint::AtLeast(seen), soon(), |state| cents(state, 1));
        let (mut write, mut read) = (pin!(write), pin!(read));
        assert!(poll_once(write.as_mut()).is_pending());
        assert!(poll_once(read.as_mut()).is_pending());
        drop(release);
        let (write, read) = tokio::join!(write, read);
        assert_eq!(read, Ok((1, write.unwrap().last)));
    });
}

#[test]
fn what_is_at_hand_is_read_without_the_branch() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        let reply = lane.execute(open(1), None, soon()).await.unwrap();
        let _stalled = running.stall();
        let seen = Seen { ledger: LEDGER, sequence: reply.last };
        for at in [ReadPoint::Local, ReadPoint::AtLeast(seen)] {
            let read = poll_once(lane.read(at, soon(), |state| cents(state, 1)));
            assert_eq!(read, Poll::Ready(Ok((0, reply.last))), "{at:?}");
        }
        assert!(poll_once(lane.read(ReadPoint::Latest, soon(), |_| ())).is_pending());
    });
}

#[test]
fn the_latest_read_sees_every_acknowledged_write_of_other_runtimes() {
    let running = Running::start();
    runtime().block_on(async {
        running.branch.lane().execute(open(1), None, soon()).await.unwrap();
    });
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let branch = running.branch.clone();
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let lane = branch.lane();
                    let calls = (0..300).map(|_| async {
                        let reply = lane.execute(deposit(1), None, soon()).await.unwrap();
                        let read = lane.read(ReadPoint::Latest, soon(), |state| cents(state, 1)).await;
                        let (read, sequence) = read.unwrap();
                        assert!(read >= balance_of(&reply).minor());
                        assert!(sequence >= reply.last);
                    });
                    join_all(calls).await;
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_is_published_as_applied_stands_in_ledger_and_journal() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        let mut applied = lane.applied();
        let follower = async {
            let mut seen = Sequence::ZERO;
            while seen < Sequence(2_000) {
                seen = *applied.wait_for(|now| *now > seen).await.unwrap();
                let at = ReadPoint::AtLeast(Seen { ledger: LEDGER, sequence: seen });
                let (held, _) = lane
                    .read(at, soon(), |state| state.journal.last().min(state.ledger.sequence()))
                    .await
                    .unwrap();
                assert!(held >= seen, "{held} {seen}");
            }
        };
        let writers = join_all((1..=2_000).map(|account| lane.execute(open(account), None, soon())));
        let (replies, ()) = tokio::join!(writers, follower);
        assert!(replies.iter().all(Result::is_ok));
    });
}

#[test]
fn a_stop_finishes_what_was_accepted_and_refuses_the_rest() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        lane.execute(open(1), None, soon()).await.unwrap();
        let release = running.stall();
        let mut accepted: Vec<_> =
            (0..500).map(|_| Box::pin(lane.execute(deposit(1), None, soon()))).collect();
        accepted.iter_mut().for_each(|call| assert!(poll_once(call.as_mut()).is_pending()));
        let mut read = Box::pin(lane.read(ReadPoint::Latest, soon(), |state| cents(state, 1)));
        assert!(poll_once(read.as_mut()).is_pending());
        let mut stop = Box::pin(running.branch.stop());
        assert!(poll_once(stop.as_mut()).is_pending());

        let refused = poll_once(lane.execute(deposit(1), None, soon()));
        assert_eq!(refused, Poll::Ready(Err(Unavailable::Stopping)));
        let refused = poll_once(lane.read(ReadPoint::Latest, soon(), |_| ()));
        assert_eq!(refused, Poll::Ready(Err(Unavailable::Stopping)));

        drop(release);
        stop.await;
        assert!(join_all(accepted).await.iter().all(Result::is_ok));
        assert!(read.await.is_ok());
        running.branch.ended().await;
        running.branch.stop().await;
        let (deposited, _) = lane.read(ReadPoint::Local, soon(), |state| cents(state, 1)).await.unwrap();
        assert_eq!(deposited, 500);
    });
}

#[test]
fn a_replica_that_breaks_acknowledges_nothing_more() {
    let running = Running::start();
    runtime().block_on(async {
        let lane = running.branch.lane();
        let reply = lane.execute(open(1), None, soon()).await.unwrap();
        let mut record = None;
        let journal = &running.branch.replica.current.get().journal;
        let take = |found: &Applied| {
            record = Some(found.clone());
            ControlFlow::Break(())
        };
        journal.visit(reply.last, take).unwrap();
        // A record from nowhere: the next batch finds that the journal does not fit the ledger.
        journal.append(vec![Applied { sequence: reply.last.next(), ..record.unwrap() }]);

        let broken = lane.execute(deposit(1), None, soon()).await;
        assert_eq!(broken, Err(Unavailable::OutcomeUnknown));
        let after = lane.execute(deposit(1), None, soon()).await;
        assert!(matches!(after, Err(Unavailable::OutcomeUnknown | Unavailable::Stopping)), "{after:?}");
        running.branch.ended().await;
        let read = lane.read(ReadPoint::Latest, soon(), |_| ()).await;
        assert_eq!(read, Err(Unavailable::Stopping));
        running.branch.stop().await;
    });
}
