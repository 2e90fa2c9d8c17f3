//! A disk that is full: writes are refused before they enter the log, reads go on, nothing is lost.

use std::path::PathBuf;
use std::process::Command;

use bank::client::{Batch, BatchCommand, Consistency, Options};
use bank::model::Reason;

use super::{Fleet, Writers, check, opened, text};

/// A small disk in memory; it goes when this is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// None where this may not be done.
    fn mount(place: PathBuf, size: &str) -> Option<Tmpfs> {
        std::fs::create_dir(&place).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", text(&place)]).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Tmpfs(place))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options, text(&self.0)]).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The server may still be going; the mount goes with its last file.
        let _ = Command::new("umount").args(["-l", text(&self.0)]).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_in_time_keeps_reading_and_loses_nothing() {
    let mut fleet = Fleet::planned(vec![Vec::new()]);
    let Some(tmpfs) = Tmpfs::mount(fleet.directory(0), "48m") else {
        println!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    fleet.start(0);
    let client = fleet.client(0);
    let mut writers = Writers::start(vec![fleet.client(0)]).await;
    writers.progress(50).await;
    let written = writers.finish().await;
    let account = opened(&client).await;
    let number: u64 = account.rsplit('/').next().unwrap().parse().unwrap();
    let mut filled = 0;
    let full = loop {
        let commands = vec![BatchCommand::Deposit { account: number, amount: 1 }; 8_192];
        match client.execute_batch(Batch { atomic: true, commands }, &Options::default()).await {
            Ok(_) => filled += 8_192,
            Err(failure) => break failure,
        }
        assert!(filled < 10_000_000, "the disk is never full");
    };
    assert_eq!(full.reason, Reason::StorageFull, "{full:?}");
    assert!(filled > 0);
    // The same for a single write, and nothing of it happens; reads of every kind go on.
    let small = client.deposit(&account, "1", &Options::default()).await.unwrap_err();
    assert_eq!(small.reason, Reason::StorageFull, "{small:?}");
    for consistency in [Consistency::Linearizable, Consistency::Session, Consistency::Stale] {
        let balance = client.balance(&account, &Options::fresh(consistency)).await.unwrap();
        assert_eq!(balance.balance, super::cents(filled));
    }
    check(&client, &written).await;
    // With room again it goes on, without a restart.
    tmpfs.grow("128m");
    let options = Options::default();
    let one = || client.deposit(&account, "0.01", &options);
    let until = std::time::Instant::now() + super::LONG;
    while let Err(failure) = one().await {
        assert_eq!(failure.reason, Reason::StorageFull, "{failure:?}");
        assert!(std::time::Instant::now() < until, "{failure:?}");
    }
    fleet.kill(0);
    fleet.verify(0);
    fleet.start(0);
    check(&client, &written).await;
    let balance = client.balance(&account, &Options::default()).await.unwrap();
    assert_eq!(balance.balance, super::cents(filled + 1));
}
