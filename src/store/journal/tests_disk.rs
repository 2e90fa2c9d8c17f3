//! Tests of a journal on a disk: reads, cuts, crashes, damage.

use super::super::directory::DirectoryError;
use super::super::faulty_disk::{Faults, FaultyDisk};
use super::tests::{in_turn, statement, visited};
use super::*;

/// Few records in memory and short segments, so that nearly everything is read from several files.
fn open(disk: &FaultyDisk, keep: u64, since: u64) -> io::Result<Journal> {
    Journal::open_with(Arc::new(disk.clone()), Sequence(keep), Sequence(since), 10, 2)
}

fn checked(disk: &FaultyDisk, known: u64) -> io::Result<u64> {
    check(disk, Sequence(1), Sequence(known), |_| Ok(())).map(|(_, last)| last.0)
}

fn appended(disk: &FaultyDisk, batches: &[std::ops::RangeInclusive<u64>]) -> Journal {
    let journal = open(disk, 0, 1).unwrap();
    batches.iter().for_each(|batch| journal.append(in_turn(batch.clone())));
    journal
}

#[tokio::test]
async fn everything_is_read_from_files_as_from_memory() {
    let disk = FaultyDisk::new(1);
    let journal =
        appended(&disk, &[1..=1, 2..=700, 701..=2_000, 2_001..=2_003, 2_004..=9_000, 9_001..=9_001]);
    assert!(disk.list(FOLDER).unwrap().len() > 3);
    assert_eq!((journal.first(), journal.last()), (Sequence(1), Sequence(9_001)));
    for from in [0, 1, 2, 599, 700, 701, 2_002, 5_555, 8_995, 9_001, 9_002, 99_999] {
        assert_eq!(visited(&journal, from), Ok((from.max(1)..=9_001).collect()), "from {from}");
    }
    assert_eq!(statement(&journal, 1, 9_001), ((1..=9_001).rev().step_by(2).collect(), Ok(())));
    assert_eq!(statement(&journal, 2, 9_000), ((1..=9_000).rev().step_by(2).collect(), Ok(())));
    assert_eq!(statement(&journal, 2, 9_002), (vec![], Ok(())), "not written yet");
    assert_eq!(checked(&disk, 9_001).unwrap(), 9_001);
}

#[tokio::test]
async fn what_the_snapshot_does_not_know_is_cut_and_written_again() {
    let disk = FaultyDisk::new(1);
    let journal = appended(&disk, &[1..=3_000]);
    drop(journal);
    let names = disk.list(FOLDER).unwrap();
    let contents = |disk: &FaultyDisk| {
        names.iter().map(|name| disk.contents(&format!("{}/{name}", FOLDER))).collect::<Vec<_>>()
    };
    let whole = contents(&disk);
    for keep in [0, 1, 2, 555, 600, 601, 1_200, 1_900, 2_999, 3_000] {
        let disk = disk.copy();
        let journal = open(&disk, keep, 1).unwrap();
        assert_eq!((journal.first(), journal.last()), (Sequence(1), Sequence(keep)), "keep {keep}");
        assert_eq!(visited(&journal, 1), Ok((1..=keep).collect()), "keep {keep}");
        let middle = (keep + 3_000) / 2;
        for batch in [keep + 1..=middle, middle + 1..=3_000] {
            journal.append(in_turn(batch));
        }
        assert!(contents(&disk) == whole, "the same rows at the same places, kept {keep}");
    }
    for keep in [3_001, 10_000] {
        let error = open(&disk.copy(), keep, 1).err().expect("records are missing");
        assert!(error.to_string().contains("journal/"), "{error}");
    }
}

#[tokio::test]
async fn older_records_that_come_before_the_first_one_stay() {
    let disk = FaultyDisk::new(1);
    let journal = open(&disk, 0, 1).unwrap();
    journal.restart_after(Sequence(700)).await.unwrap();
    journal.append_older(in_turn(1..=700)).await.unwrap();
    journal.append(in_turn(701..=1_400));
    assert_eq!(visited(&journal, 1), Ok((1..=1_400).collect()));
    assert_eq!(checked(&disk, 1_400).unwrap(), 1_400);
}

#[tokio::test]
async fn what_was_flushed_survives_a_crash() {
    for seed in 0..40 {
        let disk = FaultyDisk::new(seed);
        let journal = appended(&disk, &[1..=650, 651..=1_250]);
        journal.flush().await.unwrap();
        journal.append(in_turn(1_251..=2_500));
        let disk = if seed % 2 == 0 { disk.crash() } else { disk.crash_hard() };
        assert!(checked(&disk, 1_250).unwrap() >= 1_250, "seed {seed}");
        let journal = open(&disk, 1_250, 1).unwrap();
        assert_eq!(visited(&journal, 1), Ok((1..=1_250).collect()));
        journal.append(in_turn(1_251..=2_500));
        assert_eq!(visited(&journal, 1), Ok((1..=2_500).collect()));
        assert_eq!(checked(&disk, 2_500).unwrap(), 2_500);
    }
}

/// A journal whose segments are long, so that many pages are behind what was flushed.
fn open_long(disk: &FaultyDisk, keep: u64, since: u64) -> io::Result<Journal> {
    Journal::open_with(Arc::new(disk.clone()), Sequence(keep), Sequence(since), 10, 16)
}

/// Where pages begin in the first segment whose headers are damaged.
fn damaged_headers(disk: &FaultyDisk) -> Vec<u64> {
    let segment = segment::Segment::open(disk, Sequence(1)).unwrap();
    (0..segment.pages()).filter(|page| segment.header(*page).is_err()).collect()
}

#[tokio::test]
async fn pages_that_a_crash_tore_behind_what_was_flushed_are_cut_and_written_again() {
    let name = segment::segment_name(Sequence(1));
    let whole = {
        let disk = FaultyDisk::new(0);
        let journal = open_long(&disk, 0, 1).unwrap();
        journal.append(in_turn(1..=4_000));
        disk.contents(&name)
    };
    let mut torn = 0;
    for (seed, keep) in (0..40).flat_map(|seed| [(seed, 100), (seed, 1_500)]) {
        let disk = FaultyDisk::new(seed);
        let journal = open_long(&disk, 0, 1).unwrap();
        journal.append(in_turn(1..=keep));
        journal.flush().await.unwrap();
        for batch in [keep + 1..=2_000, 2_001..=2_001, 2_002..=4_000] {
            journal.append(in_turn(batch));
        }
        let disk = disk.crash();
        torn += damaged_headers(&disk).len();
        // A snapshot of a peer, which says nothing of the journal, does not make it forgotten either.
        for since in [1, keep + 1] {
            let disk = disk.copy();
            let journal = open_long(&disk, keep, since).unwrap();
            assert_eq!(visited(&journal, 1), Ok((1..=keep).collect()), "seed {seed}, since {since}");
            journal.append(in_turn(keep + 1..=4_000));
            assert!(disk.contents(&name) == whole, "the same rows at the same places, seed {seed}");
        }
    }
    assert!(torn > 40, "only {torn} headers were torn");
}

#[tokio::test]
async fn a_damaged_header_of_a_flushed_page_is_refused_with_its_place() {
    let disk = FaultyDisk::new(1);
    let journal = open_long(&disk, 0, 1).unwrap();
    journal.append(in_turn(1..=4_000));
    journal.flush().await.unwrap();
    let name = segment::segment_name(Sequence(1));
    let pages = segment::Segment::open(&disk, Sequence(1)).unwrap().pages();
    for page in 0..pages {
        let disk = disk.copy();
        let offset = page * page::PAGE as u64;
        disk.damage(&name, |bytes| bytes[usize::try_from(offset).unwrap() + 9] ^= 1);
        let error = open_long(&disk, 4_000, 1).err().expect("the damage is seen").to_string();
        assert!(error.contains(&format!("damaged at byte {offset}")), "{error}");
    }
}

#[tokio::test]
async fn after_a_failed_write_or_flush_nothing_goes_on() {
    let mut call = 0;
    loop {
        call += 1;
        let disk = FaultyDisk::new(7);
        let journal = appended(&disk, &[1..=100]);
        disk.set_faults(Faults { fail_call: Some(call), ..Faults::default() });
        let batches = [101..=1_500, 1_501..=1_600];
        let appended = batches.into_iter().try_for_each(|batch| {
            journal.append(in_turn(batch));
            journal.check()
        });
        let flushed = journal.flush().await;
        if disk.calls() < call {
            assert!(appended.is_ok() && flushed.is_ok());
            break;
        }
        assert!(flushed.is_err(), "call {call}");
        assert!(journal.flush().await.is_err(), "a later flush does not make it good");
        assert!(journal.check().is_err());
    }
    assert!(call > 4);
}

#[tokio::test]
async fn a_journal_without_its_beginning_takes_it_from_a_peer() {
    let disk = FaultyDisk::new(1);
    let journal = appended(&disk, &[1..=1_000]);
    journal.restart_after(Sequence(5_000)).await.unwrap();
    assert_eq!((journal.first(), journal.last()), (Sequence(5_001), Sequence(5_000)));
    journal.append(in_turn(5_001..=6_000));
    let trimmed = JournalTrimmed { first: Sequence(5_001) };
    assert_eq!(visited(&journal, 5_000), Err(trimmed));
    assert_eq!(statement(&journal, 2, 5_004), (vec![5_004, 5_002], Err(trimmed)));
    for wrong in [in_turn(4_000..=4_999), in_turn(4_000..=5_001)] {
        assert_eq!(journal.append_older(wrong).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    for older in [4_000..=5_000, 3_999..=3_999, 1..=3_998] {
        journal.append_older(in_turn(older)).await.unwrap();
    }
    assert_eq!(visited(&journal, 1), Ok((1..=6_000).collect()));
    journal.flush().await.unwrap();
    let disk = disk.crash_hard();
    assert_eq!(checked(&disk, 6_000).unwrap(), 6_000);
    assert_eq!(visited(&open(&disk, 5_500, 5_001).unwrap(), 1), Ok((1..=5_500).collect()));
}

/// A journal of a replica that was away from record 301 on, got a peer's snapshot up to 700, and goes on.
async fn with_a_gap(disk: &FaultyDisk) -> Journal {
    let journal = appended(disk, &[1..=300]);
    journal.restart_after(Sequence(700)).await.unwrap();
    journal.append(in_turn(701..=900));
    assert_eq!((journal.first(), journal.last()), (Sequence(701), Sequence(900)));
    assert_eq!(visited(&journal, 300), Err(JournalTrimmed { first: Sequence(701) }));
    journal
}

#[tokio::test]
async fn what_was_there_before_a_snapshot_of_a_peer_counts_again_when_the_gap_is_filled() {
    for (restarts, seed) in [(0, 1), (1, 2), (2, 3)] {
        let mut disk = FaultyDisk::new(seed);
        let mut journal = with_a_gap(&disk).await;
        journal.append_older(in_turn(500..=700)).await.unwrap();
        assert_eq!(journal.first(), Sequence(500));
        for _ in 0..restarts {
            // The snapshot that the peer sent says nothing of a journal.
            drop(journal);
            disk = disk.crash_hard();
            assert_eq!(check(&disk, Sequence(701), Sequence(700), |_| Ok(())).unwrap().0, Sequence(500));
            journal = open(&disk, 700, 701).unwrap();
            assert_eq!(journal.first(), Sequence(500), "what was fetched is not fetched again");
            journal.append(in_turn(701..=900));
        }
        // A peer sends more than is missing.
        journal.append_older(in_turn(201..=499)).await.unwrap();
        assert_eq!(journal.first(), Sequence(1));
        assert_eq!(visited(&journal, 1), Ok((1..=900).collect()));
        journal.flush().await.unwrap();
        disk = disk.crash_hard();
        assert_eq!(checked(&disk, 900).unwrap(), 900);
        assert_eq!(visited(&open(&disk, 900, 1).unwrap(), 1), Ok((1..=900).collect()));
    }
}

#[tokio::test]
async fn older_records_that_come_after_another_snapshot_leave_no_gap() {
    let disk = FaultyDisk::new(1);
    let journal = with_a_gap(&disk).await;
    // Asked for before, answered after the next snapshot.
    journal.restart_after(Sequence(2_000)).await.unwrap();
    let late = journal.append_older(in_turn(500..=700)).await.unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(journal.first(), Sequence(2_001));
    for older in [1_000..=2_000, 850..=999, 400..=700] {
        journal.append_older(in_turn(older)).await.unwrap();
    }
    assert_eq!(journal.first(), Sequence(400), "701 to 900 were there, and 301 to 399 never");
    journal.append_older(in_turn(301..=399)).await.unwrap();
    assert_eq!(visited(&journal, 1), Ok((1..=2_000).collect()));
    assert_eq!(checked(&disk, 2_000).unwrap(), 2_000);
}

#[tokio::test]
async fn a_crash_between_a_snapshot_of_a_peer_and_the_journal_loses_no_history() {
    let disk = FaultyDisk::new(1);
    let journal = appended(&disk, &[1..=300]);
    journal.flush().await.unwrap();
    // The snapshot counts, and the journal was not told.
    let disk = disk.crash_hard();
    let (first, last) = check(&disk, Sequence(701), Sequence(700), |_| Ok(())).unwrap();
    assert_eq!((first, last), (Sequence(701), Sequence(700)));
    let journal = open(&disk, 700, 701).unwrap();
    assert_eq!((journal.first(), journal.last()), (Sequence(701), Sequence(700)));
    journal.append_older(in_turn(301..=700)).await.unwrap();
    assert_eq!(visited(&journal, 1), Ok((1..=700).collect()));
}

#[tokio::test]
async fn a_full_disk_takes_no_older_records_and_goes_on() {
    let disk = FaultyDisk::new(1);
    let journal = with_a_gap(&disk).await;
    disk.set_faults(Faults { full_for: Some("journal"), ..Faults::default() });
    for _ in 0..2 {
        let full = journal.append_older(in_turn(500..=700)).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(journal.check().is_ok() && journal.takes_older());
    }
    disk.set_faults(Faults::default());
    journal.append_older(in_turn(301..=700)).await.unwrap();
    assert_eq!(visited(&journal, 1), Ok((1..=900).collect()));
    assert!(!journal.takes_older());
}

/// Whether something may have been read from a damaged journal: true records, in order, without a gap.
fn is_true_prefix(journal: &Journal, from: u64, last: u64) -> bool {
    let mut seen = Vec::new();
    let end = journal.visit(Sequence(from), |record| {
        seen.push(record.clone());
        ControlFlow::Continue(())
    });
    let true_records = in_turn(from..=last);
    true_records.starts_with(&seen) && (end.is_err() || seen.len() == true_records.len())
}

#[tokio::test]
async fn any_flipped_bit_and_any_cut_is_found_and_never_shown() {
    const LAST: u64 = 40;
    let disk = FaultyDisk::new(1);
    let journal = appended(&disk, &[1..=LAST]);
    journal.flush().await.unwrap();
    let name = segment::segment_name(Sequence(1));
    let whole = disk.contents(&name);
    let try_out = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let disk = disk.copy();
        disk.damage(&name, change);
        let error = checked(&disk, LAST).err().unwrap_or_else(|| panic!("{what} was not found"));
        assert!(matches!(DirectoryError::from(error), DirectoryError::Damaged { .. }), "{what}");
        // Opened at every place: refused, or whatever can be read is true.
        for keep in [1, LAST / 2, LAST] {
            match open(&disk, keep, 1) {
                Ok(journal) => assert!(is_true_prefix(&journal, 1, keep), "{what}, kept {keep}"),
                Err(error) => assert!(error.to_string().contains(&name), "{what}: {error}"),
            }
        }
    };
    for bit in 0..whole.len() * 8 {
        try_out(&format!("bit {bit}"), &|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }
    for length in 0..whole.len() {
        try_out(&format!("a cut at {length}"), &|bytes| bytes.truncate(length));
    }
}

#[tokio::test]
async fn a_start_refuses_a_flipped_bit_a_zeroed_sector_and_a_misdirected_one_wherever_they_are() {
    const LAST: u64 = 4_000;
    let disk = FaultyDisk::new(1);
    let journal = open_long(&disk, 0, 1).unwrap();
    journal.append(in_turn(1..=LAST));
    journal.flush().await.unwrap();
    let name = segment::segment_name(Sequence(1));
    let sectors = disk.contents(&name).len() / 512;
    assert!(sectors > 100);
    let refused = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let disk = disk.copy();
        let before = disk.contents(&name);
        disk.damage(&name, change);
        if disk.contents(&name) == before {
            return;
        }
        let error =
            open_long(&disk, LAST, 1).err().unwrap_or_else(|| panic!("{what} was not found")).to_string();
        assert!(error.contains(&name) && error.contains("damaged at byte"), "{what}: {error}");
    };
    for sector in 0..sectors {
        let (at, other) = (sector * 512, (sector + 32) % sectors * 512);
        refused(&format!("a bit of sector {sector}"), &|bytes| bytes[at + 77] ^= 4);
        refused(&format!("a zeroed sector {sector}"), &|bytes| bytes[at..at + 512].fill(0));
        refused(&format!("a misdirected sector {sector}"), &|bytes| {
            bytes.copy_within(other..other + 512, at)
        });
    }
}

#[tokio::test]
async fn damage_in_old_records_does_not_hide_the_others() {
    let disk = FaultyDisk::new(1);
    let journal = appended(&disk, &[1..=5_000, 5_001..=5_001]);
    disk.damage(&segment::segment_name(Sequence(1)), |bytes| bytes[5_000] ^= 1);
    let Err(JournalTrimmed { first }) = visited(&journal, 1) else { panic!("the damage was not seen") };
    assert!(first > Sequence(1) && first < Sequence(5_000));
    assert_eq!(visited(&journal, first.0), Ok((first.0..=5_001).collect()));
    assert!(checked(&disk, 5_000).is_err());
}

#[tokio::test]
async fn on_a_full_disk_records_wait_in_memory_and_are_written_when_there_is_space() {
    let disk = FaultyDisk::new(1);
    let journal = appended(&disk, &[1..=100]);
    journal.flush().await.unwrap();
    assert!(journal.has_room());
    disk.set_faults(Faults { capacity: Some(0), ..Faults::default() });
    for batch in [101..=900, 901..=901, 902..=3_000] {
        journal.append(in_turn(batch));
    }
    assert_eq!(journal.flush().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(!journal.has_room());
    // Nothing is missing for readers, nothing more is needed to go on.
    assert_eq!(visited(&journal, 1), Ok((1..=3_000).collect()));
    disk.set_faults(Faults::default());
    assert!(!journal.has_room(), "asking tries again, for the next who asks");
    journal.flush().await.unwrap();
    assert!(journal.has_room());
    journal.append(in_turn(3_001..=3_100));
    journal.flush().await.unwrap();
    assert_eq!(visited(&journal, 1), Ok((1..=3_100).collect()));
    assert_eq!(checked(&disk, 3_100).unwrap(), 3_100);
}
