//! A replica that is started on an older copy of its directory is refused by name; no acknowledged write is lost.

use std::fs;
use std::path::Path;

use bank::client::Options;
use bank::model::Reason;

use super::{Fleet, Writers, check};

/// Copies a directory of files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Puts a copy where a directory is; returns where that one is kept.
fn exchange(fleet: &Fleet, place: usize, older: &Path) -> std::path::PathBuf {
    let kept = fleet.folder.path().join("latest");
    fs::rename(fleet.directory(place), &kept).unwrap();
    fs::rename(older, fleet.directory(place)).unwrap();
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_on_an_older_copy_is_refused_and_its_latest_directory_is_not() {
    let mut fleet = Fleet::group(3);
    let mut writers = Writers::start(vec![fleet.client(0), fleet.client(1)]).await;
    writers.progress(50).await;
    let leader = fleet.led().await;
    let (victim, third) = ((leader + 1) % 3, (leader + 2) % 3);
    fleet.kill(third);
    fleet.kill(victim);
    let older = fleet.folder.path().join("older");
    copy(&fleet.directory(victim), &older);
    fleet.start(victim);
    writers.progress(100).await;
    let written = writers.finish().await;
    fleet.kill(victim);
    let latest = exchange(&fleet, victim, &older);
    fleet.start(victim);
    let status = fleet.processes[victim].take().unwrap().wait().unwrap();
    let said = fs::read_to_string(fleet.log(victim)).unwrap();
    assert_eq!(status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[lines.len() - 1].contains("was started on an older copy of its directory"), "{said}");

    // The machine of the leader dies, and the third one comes back: it must not go on without what was acknowledged.
    fleet.kill(leader);
    fleet.start(third);
    let lone = fleet.only(third);
    let options = Options { timeout: Some(std::time::Duration::from_secs(3)), ..Options::default() };
    let refused = lone.deposit(&written[0].account, "1", &options).await.unwrap_err();
    assert!(matches!(refused.reason, Reason::NoQuorum | Reason::NoLeader | Reason::Starting), "{refused:?}");

    fs::remove_dir_all(fleet.directory(victim)).unwrap();
    fs::rename(&latest, fleet.directory(victim)).unwrap();
    fleet.start(victim);
    check(&fleet.client(third), &written).await;
    fleet.start(leader);
    check(&fleet.client(leader), &written).await;
    fleet.settled().await;
}
