//! Directories and neighbours that cannot be: one clear line, exit code 2, and nothing is touched.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use bank::client::Options;

use super::{Fleet, Random, Writers, addresses, check, run, server, text};

/// Tries to start a server on a directory; its one line.
fn refused(folder: &Path, extra: &[&str]) -> String {
    let arguments = [&["127.0.0.1", "0", "1", "--data-dir", text(folder)], extra].concat();
    let ended = run(&arguments);
    assert_eq!((ended.status.code(), ended.out.as_str()), (Some(2), ""), "{}", ended.err);
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ended.err);
    ended.err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_ours_is_refused() {
    let mut fleet = Fleet::lone();
    let mut writers = Writers::start(vec![fleet.client(0)]).await;
    writers.progress(5).await;
    let folder = fleet.directory(0);
    assert!(refused(&folder, &[]).contains("another server is running on this data directory"));
    // Which goes on.
    writers.progress(5).await;
    let written = writers.finish().await;
    fleet.stop();

    let other = refused(&folder, &["--branch", "delhi"]);
    assert!(other.contains("replica 1 of branch main, not of replica 1 of branch delhi"), "{other}");
    let other = refused(&folder, &["--replica", "2"]);
    assert!(other.contains("not of replica 2 of branch main"), "{other}");

    let format = folder.join("FORMAT");
    let text_before = fs::read_to_string(&format).unwrap();
    fs::write(&format, text_before.replace("format 1\n", "format 2\n")).unwrap();
    let newer = refused(&folder, &[]);
    assert!(newer.contains("format 2 is newer than format 1"), "{newer}");
    let newer = run(&["verify", text(&folder)]);
    assert_eq!(newer.status.code(), Some(2), "{}", newer.err);
    fs::remove_file(&format).unwrap();
    let foreign = refused(&folder, &[]);
    assert!(foreign.contains("FORMAT"), "{foreign}");
    fs::write(&format, text_before).unwrap();

    let strange = fleet.folder.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("thesis.txt"), "years of work").unwrap();
    assert!(refused(&strange, &[]).contains("thesis.txt is here"));
    assert_eq!(fs::read_to_string(strange.join("thesis.txt")).unwrap(), "years of work");

    fleet.start(0);
    check(&fleet.client(0), &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_bit_is_refused_with_file_and_place_by_server_and_verify() {
    let mut random = Random::new("flipped bit");
    let mut fleet = Fleet::lone();
    let mut writers = Writers::start(vec![fleet.client(0)]).await;
    writers.progress(200).await;
    let written = writers.finish().await;
    fleet.stop();
    let segment = fs::read_dir(fleet.directory(0).join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .unwrap();
    let good = fs::read(&segment).unwrap();
    let end = good.iter().rposition(|byte| *byte != 0).unwrap();
    for _ in 0..5 {
        // In the first half of what was written, so that much is behind it that vouches for it.
        let (byte, bit) = (random.below(end / 2), random.below(8));
        let mut bad = good.clone();
        bad[byte] ^= 1 << bit;
        fs::write(&segment, &bad).unwrap();
        let started = refused(&fleet.directory(0), &[]);
        let verified = run(&["verify", text(&fleet.directory(0))]);
        assert_eq!((verified.status.code(), verified.out.as_str()), (Some(8), ""), "{}", verified.err);
        for said in [&started, &verified.err] {
            assert!(said.contains("log/") && said.contains("damaged at byte"), "{byte}.{bit}: {said}");
        }
    }
    fs::write(&segment, &good).unwrap();
    fleet.start(0);
    check(&fleet.client(0), &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_leads_to_somebody_else_is_refused() {
    // A server without a list has no service for replicas, and could not say who it is.
    let fleet = Fleet::group(1);
    let there = fleet.addresses[0];
    fleet.client(0).branch_status(&Options::default()).await.unwrap();
    let mine = addresses(1)[0];
    let list = format!("1={there},2={mine}");
    let port = mine.port().to_string();
    // Of another branch; and at the port of replica 1 where replica 3 should be.
    let listed = format!("3={there},2={mine}");
    for (list, branch, said) in
        [(&list, "delhi", "answers not replica 1 of this branch"), (&listed, "main", "answers not replica 3")]
    {
        let arguments =
            ["127.0.0.1", &port, "1", "--replica", "2", "--peers", list, "--ephemeral", "--branch", branch];
        let child = server().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(said) && err.contains("correct the list of peers"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
