//! What callers of a branch rely on when it keeps a data directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Branch, BranchConfig, ReadPoint};
use crate::model::{
    AccountNumber, Amount, Command, LedgerId, NewAccount, Proposal, Timestamp, Unavailable, Work,
};
use crate::store::faulty_disk::{Faults, FaultyDisk};
use crate::store::{Disk, RealDisk, Storage};

const DEPOSITS: usize = 64;

fn config(storage: Storage) -> BranchConfig {
    let clock = Arc::new(|| Timestamp::from_micros(1_000_000));
    BranchConfig { storage, ..BranchConfig::alone("main".parse().unwrap(), LedgerId([7; 16]), clock) }
}

async fn start(disk: &FaultyDisk) -> Branch {
    Branch::start(config(Storage::Directory(Arc::new(disk.clone())))).await.unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn execute(branch: &Branch, command: Command) -> Result<(), Unavailable> {
    let proposal = Proposal { request: None, work: Work::One(command) };
    branch.lane().execute(proposal, None, soon()).await.map(drop)
}

async fn open(branch: &Branch) {
    execute(branch, Command::OpenAccount(Box::<NewAccount>::default())).await.unwrap();
}

async fn deposit(branch: &Branch) -> Result<(), Unavailable> {
    let account = AccountNumber::new(1).unwrap();
    execute(branch, Command::Deposit { account, amount: Amount::from_minor(1).unwrap() }).await
}

async fn deposits(branch: &Branch) {
    let all = join_all((0..DEPOSITS).map(|_| deposit(branch))).await;
    assert!(all.iter().all(Result::is_ok));
}

async fn balance(branch: &Branch) -> i64 {
    let account = AccountNumber::new(1).unwrap();
    let lane = branch.lane();
    let read = lane.read(ReadPoint::Latest, soon(), |state| {
        state.ledger.account(account).map(|account| account.balance.balance.minor())
    });
    read.await.unwrap().0.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() {
    let disk = FaultyDisk::new(1);
    let branch = start(&disk).await;
    open(&branch).await;
    deposits(&branch).await;
    let digest =
        branch.lane().read(ReadPoint::Local, soon(), |state| state.ledger.position()).await.unwrap().0;
    let disk = disk.crash_hard();
    let branch = start(&disk).await;
    assert_eq!(balance(&branch).await, 64);
    let again =
        branch.lane().read(ReadPoint::Local, soon(), |state| state.ledger.position()).await.unwrap().0;
    assert_eq!((again.sequence, again.digest), (digest.sequence, digest.digest));
    deposits(&branch).await;
    let branch = start(&disk.crash()).await;
    assert_eq!(balance(&branch).await, 128);
}

#[tokio::test]
async fn a_replica_whose_flush_fails_acknowledges_nothing_more_and_ends() {
    let disk = FaultyDisk::new(1);
    let branch = start(&disk).await;
    open(&branch).await;
    deposits(&branch).await;
    disk.set_faults(Faults { fail_flush: Some(1), ..Faults::default() });
    assert_eq!(deposit(&branch).await, Err(Unavailable::OutcomeUnknown));
    branch.ended().await;
    assert!(deposit(&branch).await.is_err());
    branch.stop().await;
    let branch = start(&disk.kill()).await;
    let found = balance(&branch).await;
    assert!((64..=65).contains(&found), "{found}");
}

#[tokio::test]
async fn a_replica_ends_when_its_disk_fails_whichever_file_it_was_and_though_nothing_is_written_after() {
    for file in ["journal/", "log/spare", "snapshot/"] {
        let disk = FaultyDisk::new(1).with_segments_of(8 * 1024);
        let branch = start(&disk).await;
        open(&branch).await;
        deposits(&branch).await;
        disk.set_faults(Faults { fail_for: Some(file), ..Faults::default() });
        // The last write goes well as far as its caller can see; what fails is done in the background.
        while !branch.replica.health.failure().is_some_and(|failure| failure.contains(file)) {
            let _ = deposit(&branch).await;
            if file == "snapshot/" {
                branch.make_snapshot().await;
            }
        }
        branch.ended().await;
        let read = branch.lane().read(ReadPoint::Latest, soon(), |_| ()).await;
        assert_eq!(read, Err(Unavailable::Stopping), "{file}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_before_the_log_and_answers_reads() {
    let disk = FaultyDisk::new(1);
    disk.set_faults(Faults { full_for: Some("spare"), ..Faults::default() });
    let branch = start(&disk).await;
    assert_eq!(deposit(&branch).await, Err(Unavailable::StorageFull));
    assert!(branch.lane().read(ReadPoint::Latest, soon(), |_| ()).await.is_ok());
    disk.set_faults(Faults::default());
    while deposit(&branch).await == Err(Unavailable::StorageFull) {}
    open(&branch).await;
    deposits(&branch).await;
    assert_eq!(balance(&branch).await, 64);
}

#[tokio::test]
async fn a_snapshot_that_finds_no_space_is_made_later_and_the_branch_goes_on() {
    let disk = FaultyDisk::new(1);
    let branch = start(&disk).await;
    open(&branch).await;
    for full_for in ["snapshot", "journal"] {
        disk.set_faults(Faults { full_for: Some(full_for), ..Faults::default() });
        deposit(&branch).await.unwrap();
        branch.replica.trigger_snapshot().await;
        // Of the attempt nothing is heard but that the branch goes on; it is made within a few turns.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(balance(&branch).await, if full_for == "snapshot" { 1 } else { 3 });
        let snapshots = disk.list("snapshot").unwrap();
        disk.set_faults(Faults::default());
        while deposit(&branch).await == Err(Unavailable::StorageFull) {}
        while disk.list("snapshot").unwrap().iter().all(|name| snapshots.contains(name)) {
            branch.replica.trigger_snapshot().await;
            tokio::task::yield_now().await;
        }
    }
    branch.stop().await;
    let report = crate::store::verify(&disk).unwrap();
    assert!(report.snapshot > crate::model::Sequence(3) && report.audit.balanced());
    assert_eq!(balance(&start(&disk.kill()).await).await, 4);
}

#[tokio::test]
async fn the_real_disk_serves_and_a_second_server_on_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Storage::Directory(Arc::new(RealDisk::new(folder.path())));
    let mut held = 0;
    for life in 0..3 {
        let branch: Branch = Branch::start(config(storage())).await.unwrap();
        if life == 0 {
            open(&branch).await;
        }
        assert_eq!(balance(&branch).await, held);
        let second = Branch::<crate::store::Tokio>::start(config(storage())).await.err().unwrap().to_string();
        assert!(second.contains("another server is running on this data directory"), "{second}");
        deposits(&branch).await;
        held += 64;
        branch.stop().await;
    }
}

#[tokio::test]
async fn a_branch_that_made_snapshots_continues_from_the_last_one() {
    let disk = FaultyDisk::new(1);
    let branch = start(&disk).await;
    open(&branch).await;
    for _ in 0..3 {
        deposits(&branch).await;
        let snapshots = disk.list("snapshot").unwrap();
        branch.replica.trigger_snapshot().await;
        // The next deposits come while it is written or after it.
        deposits(&branch).await;
        while disk.list("snapshot").unwrap() == snapshots {
            tokio::task::yield_now().await;
        }
    }
    let local = |branch: &Branch| {
        let lane = branch.lane();
        async move { lane.read(ReadPoint::Local, soon(), |state| state.ledger.position()).await.unwrap().0 }
    };
    let before = local(&branch).await;
    branch.stop().await;
    let report = crate::store::verify(&disk).unwrap();
    assert_eq!((report.sequence, report.digest), (before.sequence, before.digest));
    assert!(report.snapshot > crate::model::Sequence(1) && report.audit.balanced());
    let branch = start(&disk.kill()).await;
    let after = local(&branch).await;
    assert_eq!((after.sequence, after.digest), (before.sequence, before.digest));
    assert_eq!(balance(&branch).await, 6 * 64);
    let lane = branch.lane();
    let seen = lane.read(ReadPoint::Local, soon(), |state| {
        let mut seen = 0;
        let visited = state.journal.visit(crate::model::Sequence(1), |_| {
            seen += 1;
            std::ops::ControlFlow::Continue(())
        });
        visited.map(|()| seen)
    });
    assert_eq!(seen.await.unwrap().0, Ok(after.sequence.0), "the whole history is there");
}
