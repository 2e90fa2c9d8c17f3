//! What the log does on a good day: group commit, bounds, reading back, locks, the real disk.

use std::collections::VecDeque;
use std::fs;

use super::*;
use crate::store::disk::Job;
use crate::store::faulty_disk::Faults;

/// A disk whose workers do a job when told.
fn stalled() -> (FaultyDisk, impl Fn() -> bool) {
    let jobs = Arc::new(Mutex::new(VecDeque::<Job>::new()));
    let queue = Arc::clone(&jobs);
    let disk = FaultyDisk::with_workers(1, Arc::new(move |job| queue.lock().push_back(job)));
    let work = move || {
        let job = jobs.lock().pop_front();
        let found = job.is_some();
        job.into_iter().for_each(|job| job());
        found
    };
    (disk, work)
}

#[test]
fn appends_that_wait_share_one_flush_and_are_readable_before_it() {
    let (disk, work) = stalled();
    let mut log = open(&disk).unwrap();
    while work() {}
    disk.set_faults(Faults::default());
    let mut flushed: Vec<_> = (1..=5)
        .map(|index| {
            let (tell, told) = Types::<Tokio>::oneshot();
            now(log.append([blank(1, index)], IOFlushed::signal(tell))).unwrap();
            told
        })
        .collect();
    assert_eq!(now(log.try_get_log_entries(..)).unwrap().len(), 5);
    assert_eq!(disk.calls(), 0, "nothing has been written");
    assert!(flushed.iter_mut().all(|told| told.now_or_never().is_none()), "and nothing acknowledged");
    while work() {}
    flushed.into_iter().for_each(|told| now(told).unwrap().unwrap());
    assert_eq!(disk.calls(), 3, "one write, one flush, one mark");
}

#[test]
fn the_log_stays_bounded_whatever_passes_through_it() {
    let disk = FaultyDisk::new(1);
    let limits = Limits { bytes: 4 * 1_024, ..NOTHING_CACHED };
    let log = Log::open_with(directory(Arc::new(disk.clone())).unwrap(), limits, SMALL).unwrap();
    for index in 0..2_000 {
        perform(&log, &Step::Append(vec![batch(1, index, index % 20)])).unwrap();
        if log.is_long().now_or_never().is_some() {
            perform(&log, &Step::Purge(id(1, index))).unwrap();
        }
        let files = disk.list(recovery::FOLDER).unwrap();
        assert!(files.len() <= 12, "{files:?}");
    }
    let (entries, _) = log.length();
    assert!(entries < 200, "{entries}");
    let view = View::of(&log);
    assert_eq!(View::of(&open(&disk.crash_hard()).unwrap()), view);
}

#[test]
fn what_is_committed_is_never_cut_and_nothing_is_written_after_the_attempt() {
    let disk = FaultyDisk::new(1);
    let mut log = open(&disk).unwrap();
    append(&log, (0..6).map(|index| blank(1, index)).collect()).unwrap();
    now(log.save_committed(Some(id(1, 4)))).unwrap();
    now(log.truncate_after(Some(id(1, 4)))).unwrap();
    let why = now(log.truncate_after(Some(id(1, 3)))).unwrap_err().to_string();
    assert!(why.contains("cut the log behind entry 3") && why.contains("entries up to 4"), "{why}");
    assert!(append(&log, vec![blank(2, 5)]).is_err(), "it has stopped");
    assert_eq!(open(&disk.kill()).unwrap().last_index(), 4);
}

#[test]
fn a_log_that_is_long_when_it_is_opened_says_so() {
    let (disk, _) = lived(&life());
    let limits = Limits { bytes: 100, ..NOTHING_CACHED };
    let log = Log::open_with(directory(Arc::new(disk)).unwrap(), limits, SMALL).unwrap();
    assert!(log.is_long().now_or_never().is_some());
}

#[test]
fn messages_to_peers_have_a_budget_and_are_never_empty() {
    let disk = FaultyDisk::new(1);
    let mut log = open(&disk).unwrap();
    let large = (0..40).map(|index| batch(1, index, 8_192)).collect::<Vec<_>>();
    let memory = Log::memory(false);
    for log in [&log, &memory] {
        append(log, large.clone()).unwrap();
    }
    for log in [&mut log, &mut memory.clone()] {
        let mut from = 0;
        while from < 40 {
            let some = now(log.limited_get_log_entries(from, 40)).unwrap();
            let bytes: usize = some.iter().map(|entry| size(&Slot::new(entry.clone()))).sum();
            assert!(!some.is_empty() && (some.len() == 1 || bytes <= MESSAGE_BYTES), "{bytes}");
            assert!(some.len() > 1 || from == 39, "several fit");
            assert_eq!(some[0].log_id.index, from);
            from += some.len() as u64;
        }
    }
}

#[test]
fn a_replica_that_starts_gets_its_log_in_pieces_and_whole() {
    let disk = FaultyDisk::new(1);
    let mut log = open(&disk).unwrap();
    append(&log, (0..100).map(|index| batch(1, index, 1_000)).collect()).unwrap();
    let stream = now(log.entries_stream(5..90));
    let entries: Vec<_> = now(stream.try_collect()).unwrap();
    let indexes: Vec<_> = entries.iter().map(|entry: &Entry| entry.log_id.index).collect();
    assert_eq!(indexes, (5..90).collect::<Vec<_>>());
}

#[test]
fn what_is_committed_is_known_after_a_close_and_the_directory_is_free() {
    let disk = FaultyDisk::new(1);
    let log = open(&disk).unwrap();
    perform(&log, &Step::Append((0..20).map(|index| batch(1, index, 3)).collect())).unwrap();
    perform(&log, &Step::Commit(id(1, 15))).unwrap();
    assert!(matches!(open(&disk), Err(DirectoryError::InUse { .. })), "the log is open");
    now(log.close()).unwrap();
    assert!(append(&log, vec![blank(1, 20)]).is_err(), "nobody writes to a closed log");
    let mut log = open(&disk.crash_hard()).unwrap();
    assert_eq!(now(log.read_committed()).unwrap(), Some(id(1, 15)));
}

#[test]
fn an_entry_that_does_not_follow_is_refused_and_not_written() {
    let (disk, view) = lived(&life());
    let mut log = open(&disk).unwrap();
    let (tell, _told) = Types::<Tokio>::oneshot();
    assert!(now(log.append([blank(3, 30)], IOFlushed::signal(tell))).is_err());
    assert_eq!(View::of(&log), view);
}

#[test]
fn the_real_disk_keeps_a_log_and_lets_one_server_in() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("some/where");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let open = || {
        let directory = directory(Arc::new(RealDisk::new(&place)))?;
        Log::open_with(directory, NOTHING_CACHED, SMALL)
    };
    let mut view = View::default();
    for (lives, steps) in life().chunks(4).enumerate() {
        let mut log = open().unwrap_or_else(|error| panic!("life {lives}: {error}"));
        let refused = open().err().unwrap().to_string();
        assert!(refused.ends_with("another server is running on this data directory"), "{refused}");
        runtime.block_on(async {
            for step in steps {
                match step.clone() {
                    Step::Append(entries) => {
                        let (tell, told) = Types::<Tokio>::oneshot();
                        log.append(entries, IOFlushed::signal(tell)).await.unwrap();
                        told.await.unwrap().unwrap();
                    }
                    Step::Vote(term) => log.save_vote(&Vote::new(term, 1)).await.unwrap(),
                    Step::Commit(committed) => log.save_committed(Some(committed)).await.unwrap(),
                    Step::Truncate(last) => log.truncate_after(last).await.unwrap(),
                    Step::Purge(upto) => log.purge(upto).await.unwrap(),
                }
                view = view.after(step).pop().unwrap();
            }
            let entries = log.try_get_log_entries(..).await.unwrap();
            assert_eq!(entries.iter().map(shown).collect::<Vec<_>>(), view.entries, "life {lives}");
            assert_eq!(log.read_vote().await.unwrap(), view.vote);
            log.close().await.unwrap();
        });
    }
    let readme = fs::read_to_string(place.join("README")).unwrap();
    assert!(readme.contains("bank-server verify DIR"));
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let (disk, _) = lived(&life());
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let refused = |branch: &str, replica| {
        let identity = Identity { branch: branch.parse().unwrap(), replica: ReplicaId(replica) };
        let begin = |_: &dyn Disk| panic!("the directory is not new");
        Directory::open(Arc::clone(&disk), identity, Incarnation::default(), begin).err().unwrap().to_string()
    };
    assert_eq!(
        refused("main", 2),
        "disk: this is the directory of replica 1 of branch main, not of replica 2 of branch main"
    );
    assert_eq!(
        refused("pune", 1),
        "disk: this is the directory of replica 1 of branch main, not of replica 1 of branch pune"
    );
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.txt"), "important").unwrap();
    let refused = directory(Arc::new(RealDisk::new(foreign.path()))).err().unwrap().to_string();
    assert!(refused.ends_with("thesis.txt is here and FORMAT is not"), "{refused}");
    let left: Vec<_> =
        fs::read_dir(foreign.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.contains(&"FORMAT".into()) && left.contains(&"thesis.txt".into()), "{left:?}");
}

#[test]
fn the_directory_remembers_its_incarnation_and_its_ledger() {
    let disk = FaultyDisk::new(1);
    let first = directory(Arc::new(disk.clone())).unwrap();
    let ledger = crate::model::LedgerId([3; 16]);
    first.remember_ledger(ledger).unwrap();
    first.remember_ledger(ledger).unwrap();
    drop(first);
    let disk: Arc<dyn Disk> = Arc::new(disk.crash_hard());
    let second = Directory::open(disk, identity(), Incarnation([1; 16]), |_| Ok(())).unwrap();
    assert_eq!(second.incarnation(), Incarnation([9; 16]));
    second.remember_ledger(ledger).unwrap();
    let refused = second.remember_ledger(crate::model::LedgerId([4; 16])).unwrap_err().to_string();
    assert!(refused.contains("is the directory of ledger 03030303-"), "{refused}");
}

#[test]
fn the_bytes_of_a_log_are_pinned() {
    let framed = |record: &Record| {
        let mut bytes = Vec::new();
        record::frame(&mut bytes, 3, 9, 8, |body| record::put(body, record));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let pinned = [
        (Record::Entry(blank(2, 300)), "9a7eb8a60500000009000000000000000800000000000000010201ac02000000"),
        (
            Record::Entry(batch(2, 300, 1)),
            "5328b3e61100000009000000000000000800000000000000020201ac0201ac0200010001010101da0400000000000000",
        ),
        (
            Record::Entry(membership(1, 0)),
            "08ac83e75200000009000000000000000800000000000000030101000103010203030106686f73743a31000000000000000000000000000000000206686f73743a32000000000000000000000000000000000306686f73743a3300000000000000000000000000000000000000000000",
        ),
        (Record::Vote(Vote::new(7, 2)), "f66a9f2404000000090000000000000008000000000000000407020000000000"),
        (Record::Truncate(None), "a3fbe66502000000090000000000000008000000000000000500000000000000"),
        (Record::Purge(id(2, 300)), "83777dac0500000009000000000000000800000000000000060201ac02000000"),
        (Record::Mark(Some(id(2, 300))), "76f9f2f3060000000900000000000000080000000000000007010201ac020000"),
        (Record::Seal, "55e93dfc01000000090000000000000008000000000000000800000000000000"),
    ];
    for (record, bytes) in &pinned {
        assert_eq!(framed(record), *bytes, "{record:?}");
    }
}

/// Whether a vote waits until the disk has done its work.
fn votes_wait_for_the_disk() -> bool {
    let (disk, _work) = stalled();
    let mut log = open(&disk).unwrap();
    futures::FutureExt::now_or_never(log.save_vote(&Vote::new(3, 1))).is_none()
}

#[test]
fn a_vote_that_is_not_flushed_is_seen() {
    use crate::model::planted::{Fault, with_fault};

    assert!(votes_wait_for_the_disk());
    assert!(!with_fault(Some(Fault::VoteNotFlushed), votes_wait_for_the_disk));
}
