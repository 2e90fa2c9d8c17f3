//! One durable server that is killed again and again, and `bank-server verify` on what it leaves.

use bank::client::{Consistency, Options};

use super::{Fleet, Random, Writers, check, opened, run, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_everything_that_it_acknowledged() {
    let mut random = Random::new("killed server");
    let mut fleet = Fleet::lone();
    let mut writers = Writers::start((0..8).map(|_| fleet.client(0)).collect()).await;
    for _ in 0..8 {
        writers.progress(1 + random.below(150)).await;
        fleet.kill(0);
        // What the crash left is whole, and looking at it changes nothing for the next start.
        fleet.verify(0);
        fleet.start(0);
    }
    writers.progress(1).await;
    let written = writers.finish().await;
    check(&fleet.client(0), &written).await;
    let (_, status) = fleet.settled().await;
    fleet.stop();
    let verified = fleet.verify(0);
    assert_eq!(verified["digest"], status.replicas[0].digest);
    assert_eq!(verified["sequence"], status.replicas[0].sequence.to_string());
    assert_eq!(verified["accounts"], "8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_before_the_kill_holds_after_it() {
    let mut fleet = Fleet::lone();
    let client = fleet.client(0);
    let account = opened(&client).await;
    for round in 1..4 {
        client.deposit(&account, "1", &Options::default()).await.unwrap();
        fleet.kill(0);
        fleet.start(0);
        let balance = client.balance(&account, &Options::fresh(Consistency::Session)).await.unwrap();
        assert_eq!(balance.balance, format!("{round}.00"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_looks_and_never_writes() {
    let mut fleet = Fleet::lone();
    let client = fleet.client(0);
    let account = opened(&client).await;
    client.deposit(&account, "12.34", &Options::default()).await.unwrap();
    let folder = fleet.directory(0);
    let in_use = run(&["verify", text(&folder)]);
    assert_eq!((in_use.status.code(), in_use.out.as_str()), (Some(2), ""));
    assert!(in_use.err.contains("another server is running"), "{}", in_use.err);
    fleet.stop();
    let before = contents(&folder);
    let verified = fleet.verify(0);
    assert_eq!(verified["books"], "customers 12.34, cash -12.34, interest 0.00");
    assert_eq!(verified["identity"], "replica 1 of branch main");
    assert_eq!(contents(&folder), before);

    let empty = fleet.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (folder, said) in [(empty.as_path(), "there is no FORMAT"), (&empty.join("no"), "is not a directory")]
    {
        let ended = run(&["verify", text(folder)]);
        assert_eq!((ended.status.code(), ended.err.lines().count()), (Some(2), 1));
        assert!(ended.err.contains(said), "{}", ended.err);
    }
    assert!(contents(&empty).is_empty());
}

/// Every file with what is in it.
fn contents(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}
