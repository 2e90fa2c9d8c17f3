//! Tests of ledger, journal and snapshot together: crashes, damage, peers, the offline check.

use std::num::NonZeroU64;

use futures::{StreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};

use super::faulty_disk::{Faults, FaultyDisk};
use super::snapshot::SnapshotMeta;
use super::types::{Entry, LogId};
use super::*;
use crate::ledger::Position;
use crate::model::{
    AbortReason, AccountNumber, Amount, Applied, Batch, Command, Credit, HoldId, LedgerId, NewAccount,
    NewHold, NewTransfer, Origin, Proposal, Receipt, RemoteAccount, ReplicaId, Sequence, StateAction,
    Timestamp, Work,
};

const LEDGER: LedgerId = LedgerId([9; 16]);

fn log_id(index: u64) -> LogId {
    openraft::testing::log_id::<Types<Tokio>>(1, 1, index)
}

/// Eight commands that make promises and keep those that the entry before made, so that at any moment some are open.
fn promises(index: u64, account: AccountNumber) -> Work {
    // Every second entry has a request that was used up, and so one command less.
    let first = |index: u64| 1 + 11 * index.div_ceil(2) + 10 * (index / 2) + 3 - index % 2;
    let before = |back: u64, place: u64| Sequence(first(index.saturating_sub(back)) + place);
    let amount = Amount::from_minor(1).unwrap();
    let credit = |index: u64| {
        Box::new(Credit {
            origin: Origin { branch: "pune".parse().unwrap(), ledger: LedgerId([8; 16]) },
            number: Sequence(index),
            settled_below: Sequence(index.saturating_sub(1)),
            source: AccountNumber::FIRST,
            destination: AccountNumber::FIRST,
            amount,
        })
    };
    let destination = RemoteAccount { branch: "delhi".parse().unwrap(), account };
    let hold = HoldId(before(1, 0));
    let (ended, decided, credited) = match index % 3 {
        0 => (
            Command::CaptureHold { hold, amount: None },
            Command::CommitTransfer { number: before(1, 1) },
            Command::CommitCredit(credit(index.saturating_sub(1))),
        ),
        1 => (
            Command::ReleaseHold { hold },
            Command::AbortTransfer { number: before(1, 1), reason: AbortReason::TimedOut },
            Command::AbortCredit(credit(index.saturating_sub(1))),
        ),
        _ => (
            Command::ExpireHold { hold },
            Command::CommitTransfer { number: before(1, 1) },
            Command::PrepareCredit(credit(index)),
        ),
    };
    Work::Independent(vec![
        Command::PlaceHold(Box::new(NewHold { account, amount, lasts: NonZeroU64::new(index % 2) })),
        Command::BeginTransfer(Box::new(NewTransfer { source: account, destination, amount })),
        Command::PrepareCredit(credit(index)),
        ended,
        decided,
        credited,
        Command::CloseTransfer { number: before(2, 1), seen: None },
        Command::SetAccountState {
            account: AccountNumber::FIRST,
            action: if index.is_multiple_of(4) { StateAction::Freeze } else { StateAction::Open },
        },
    ])
}

/// The entry at `index`: opens accounts, moves money between them, repeats a request, is refused, makes promises.
fn entry(index: u64) -> Entry {
    let account = |n: u64| AccountNumber::new(n % 7 + 1).unwrap();
    let amount = Amount::from_minor(i64::try_from(index).unwrap() + 1).unwrap();
    let open = Command::OpenAccount(Box::new(NewAccount {
        number: index.is_multiple_of(5).then(|| AccountNumber::new(90_000 + index)).flatten(),
        name: index.is_multiple_of(3).then(|| format!("name {index}").parse().unwrap()),
        deposit: Some(amount),
        ..NewAccount::default()
    }));
    let proposals = [
        (Some(format!("request-{}", index / 2)), Command::Deposit { account: account(index), amount }),
        (None, open),
        (
            Some(format!("019a9d3c-7b00-7abc-8def-{index:012x}")),
            Command::Transfer { source: account(index), destination: account(index + 3), amount },
        ),
    ];
    let proposals = proposals.into_iter().map(|(request, command)| Proposal {
        request: request.map(|request| request.parse().unwrap()),
        work: Work::One(command),
    });
    let proposals = proposals.chain([Proposal { request: None, work: promises(index, account(index)) }]);
    let batch = Batch {
        time: Timestamp::from_micros(1_763_600_000_000_000 + index),
        founding: Some(LEDGER),
        proposals: proposals.collect(),
    };
    Entry { log_id: log_id(index), payload: EntryPayload::Normal(LogBatch::new(batch)) }
}

async fn apply(machine: &mut Machine<Tokio>, indexes: std::ops::Range<u64>) -> io::Result<()> {
    let entries = indexes.map(|index| Ok((entry(index), None)));
    machine.apply(stream::iter(entries.collect::<Vec<_>>()).boxed()).await
}

async fn snapshot(machine: &mut Machine<Tokio>) -> io::Result<SnapshotMeta> {
    let mut builder = machine.get_snapshot_builder().await;
    let built = RaftSnapshotBuilder::<Types<Tokio>>::build_snapshot(&mut builder).await?;
    Ok(built.meta)
}

fn open_machine(disk: &FaultyDisk) -> Result<Machine<Tokio>, DirectoryError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Machine::open(&disk)
}

fn next(machine: &Machine<Tokio>) -> u64 {
    machine.last().map_or(0, |last| last.index + 1)
}

fn position(machine: &Machine<Tokio>) -> Position {
    machine.current().get().ledger.position()
}

fn records(machine: &Machine<Tokio>) -> Vec<Applied> {
    let state = machine.current().get();
    let mut records = Vec::new();
    let visited = state.journal.visit(state.journal.first(), |record| {
        records.push(record.clone());
        std::ops::ControlFlow::Continue(())
    });
    visited.unwrap();
    records
}

/// A machine in memory that has applied the entries before `end`.
async fn twin(end: u64) -> Machine<Tokio> {
    let mut machine = Machine::in_memory();
    apply(&mut machine, 0..end).await.unwrap();
    machine
}

#[tokio::test]
async fn the_history_of_these_tests_has_promises_of_every_kind() {
    let machine = twin(20).await;
    let kinds: std::collections::BTreeSet<_> =
        records(&machine).iter().filter_map(|record| record.outcome.as_ref().ok().map(kind)).collect();
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    let audit = machine.current().get().ledger.audit();
    assert!(audit.balanced() && audit.holds > 0 && audit.transfers > 0 && audit.credits > 0, "{audit:?}");
}

/// The name of a receipt.
fn kind(receipt: &Receipt) -> String {
    let text = format!("{receipt:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn snapshot_name(disk: &FaultyDisk) -> String {
    let names = disk.list(super::snapshot::FOLDER).unwrap();
    let name = names.into_iter().rfind(|name| name.ends_with(".snap")).unwrap();
    format!("{}/{name}", super::snapshot::FOLDER)
}

#[tokio::test]
async fn a_replica_continues_from_its_snapshot_and_writes_the_same_journal() {
    for seed in 0..20 {
        let disk = FaultyDisk::new(seed);
        let mut machine = open_machine(&disk).unwrap();
        apply(&mut machine, 0..10).await.unwrap();
        snapshot(&mut machine).await.unwrap();
        apply(&mut machine, 10..20).await.unwrap();
        let (disk, next_before) = match seed % 3 {
            0 => (disk.crash(), 10),
            1 => (disk.crash_hard(), 10),
            _ => (disk.kill(), 10),
        };
        let mut machine = open_machine(&disk).unwrap();
        assert_eq!(next(&machine), next_before);
        assert_eq!(position(&machine), position(&twin(10).await));
        apply(&mut machine, 10..30).await.unwrap();
        let twin = twin(30).await;
        assert_eq!(position(&machine), position(&twin));
        assert_eq!(records(&machine), records(&twin), "seed {seed}");
    }
}

#[tokio::test]
async fn a_failure_at_any_call_while_a_snapshot_is_written_loses_nothing() {
    let mut call = 0;
    loop {
        call += 1;
        let disk = FaultyDisk::new(call);
        let mut machine = open_machine(&disk).unwrap();
        apply(&mut machine, 0..8).await.unwrap();
        snapshot(&mut machine).await.unwrap();
        apply(&mut machine, 8..16).await.unwrap();
        disk.set_faults(Faults { fail_call: Some(call), ..Faults::default() });
        let built = snapshot(&mut machine).await;
        let all_calls_were_good = disk.calls() < call;
        assert_eq!(built.is_ok(), all_calls_were_good, "call {call}");
        drop(machine);
        let disk = if call % 2 == 0 { disk.crash() } else { disk.crash_hard() };
        let mut machine = open_machine(&disk).unwrap_or_else(|error| panic!("call {call}: {error}"));
        assert!([8, 16].contains(&next(&machine)), "call {call}");
        let from = next(&machine);
        apply(&mut machine, from..20).await.unwrap();
        let twin = twin(20).await;
        assert_eq!((position(&machine), records(&machine)), (position(&twin), records(&twin)), "call {call}");
        snapshot(&mut machine).await.unwrap();
        assert_eq!(disk.list(super::snapshot::FOLDER).unwrap().len(), 1, "nothing is left over");
        if all_calls_were_good {
            break;
        }
    }
    assert!(call > 5);
}

#[tokio::test]
async fn a_ledger_is_never_ahead_of_what_is_published_when_the_journal_fails() {
    let disk = FaultyDisk::new(1);
    let mut machine = open_machine(&disk).unwrap();
    apply(&mut machine, 0..4).await.unwrap();
    disk.set_faults(Faults { fail_call: Some(1), ..Faults::default() });
    let mut index = 4;
    while apply(&mut machine, index..index + 1).await.is_ok() {
        index += 1;
    }
    assert!(disk.calls() >= 1 && index < 8, "the failure is noticed");
    assert_eq!(position(&machine).sequence, machine.progress().applied());
    assert_eq!(position(&machine), position(&twin(index).await));
}

#[tokio::test]
async fn any_flipped_bit_and_any_cut_of_a_snapshot_is_refused_with_its_place() {
    let disk = FaultyDisk::new(1);
    let mut machine = open_machine(&disk).unwrap();
    apply(&mut machine, 0..3).await.unwrap();
    snapshot(&mut machine).await.unwrap();
    let name = snapshot_name(&disk);
    let length = disk.contents(&name).len();
    let refused = |what: String, change: &dyn Fn(&mut Vec<u8>)| {
        let disk = disk.copy();
        disk.damage(&name, change);
        match open_machine(&disk).err() {
            Some(DirectoryError::Damaged { file, offset, .. }) => {
                assert!(file == name && offset <= length as u64, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    };
    for bit in 0..length * 8 {
        refused(format!("bit {bit}"), &|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }
    for end in 0..length {
        refused(format!("a cut at {end}"), &|bytes| bytes.truncate(end));
    }
    refused("something at the end".to_owned(), &|bytes| bytes.push(0));
}

/// Sends the current snapshot of one machine to another, as a network would.
async fn send(from: &mut Machine<Tokio>, to: &mut Machine<Tokio>) -> io::Result<()> {
    let snapshot = from.get_current_snapshot().await?.unwrap();
    let mut receiver = to.snapshots().receive(snapshot.meta.clone()).await?;
    for frame in snapshot.snapshot.frames()? {
        receiver.frame(&frame?).await?;
    }
    to.install_snapshot(&snapshot.meta, receiver.finish().await?).await
}

#[tokio::test]
async fn a_peer_gets_the_accounts_in_memory_and_on_disk() {
    let mut leader = twin(20).await;
    let disk = FaultyDisk::new(3);
    for mut follower in [Machine::in_memory(), open_machine(&disk).unwrap()] {
        apply(&mut follower, 0..4).await.unwrap();
        let before = follower.current().get();
        let sequence = before.ledger.sequence();
        send(&mut leader, &mut follower).await.unwrap();
        assert_eq!(before.ledger.sequence(), sequence, "a reader keeps what it took out");
        assert_eq!(position(&follower), position(&leader));
        assert_eq!(next(&follower), 20);
        assert_eq!(follower.progress().applied(), position(&leader).sequence);
        let first = position(&leader).sequence.next();
        assert_eq!(follower.current().get().journal.first(), first, "older records are not known");
        apply(&mut follower, 20..25).await.unwrap();
        assert_eq!(position(&follower), position(&twin(25).await));
        let older = records(&leader);
        follower.current().get().journal.append_older(older).await.unwrap();
        assert_eq!(records(&follower), records(&twin(25).await));
    }
    // What was installed on the disk is there after a crash.
    let mut machine = open_machine(&disk.crash_hard()).unwrap();
    assert_eq!((next(&machine), position(&machine)), (20, position(&leader)));
    apply(&mut machine, 20..25).await.unwrap();
    assert_eq!(records(&machine).last(), records(&twin(25).await).last());
}

#[tokio::test]
async fn a_failure_at_any_call_of_an_installation_leaves_the_old_or_the_new_state() {
    let mut leader = twin(12).await;
    let mut call = 0;
    loop {
        call += 1;
        let disk = FaultyDisk::new(call);
        let mut machine = open_machine(&disk).unwrap();
        apply(&mut machine, 0..4).await.unwrap();
        snapshot(&mut machine).await.unwrap();
        disk.set_faults(Faults { fail_call: Some(call), ..Faults::default() });
        let sent = send(&mut leader, &mut machine).await;
        let all_calls_were_good = disk.calls() < call;
        assert_eq!(sent.is_ok(), all_calls_were_good, "call {call}");
        drop(machine);
        let disk = if call % 2 == 0 { disk.crash() } else { disk.crash_hard() };
        let mut machine = open_machine(&disk).unwrap_or_else(|error| panic!("call {call}: {error}"));
        let from = next(&machine);
        assert!([4, 12].contains(&from), "call {call}");
        apply(&mut machine, from..20).await.unwrap();
        assert_eq!(position(&machine), position(&twin(20).await), "call {call}");
        if all_calls_were_good {
            break;
        }
    }
    assert!(call > 4);
}

#[tokio::test]
async fn the_history_before_a_snapshot_of_a_peer_survives_a_crash_at_any_call() {
    let mut leader = twin(12).await;
    let (known, mut installed, mut call) = (position(&twin(4).await).sequence, 0, 0);
    loop {
        call += 1;
        let disk = FaultyDisk::new(call);
        let mut machine = open_machine(&disk).unwrap();
        apply(&mut machine, 0..4).await.unwrap();
        disk.set_faults(Faults { fail_call: Some(call), ..Faults::default() });
        let sent = send(&mut leader, &mut machine).await;
        let all_calls_were_good = disk.calls() < call;
        assert_eq!(sent.is_ok(), all_calls_were_good, "call {call}");
        drop(machine);
        for disk in [disk.copy().crash(), disk.copy().crash_hard()] {
            let machine = open_machine(&disk).unwrap_or_else(|error| panic!("call {call}: {error}"));
            if next(&machine) < 12 {
                continue;
            }
            installed += 1;
            let missing = records(&leader).into_iter().filter(|record| record.sequence > known).collect();
            machine.current().get().journal.append_older(missing).await.unwrap();
            assert_eq!(records(&machine), records(&leader), "call {call}");
        }
        if all_calls_were_good {
            break;
        }
    }
    assert!(installed > 2, "{installed}");
}

#[tokio::test]
async fn a_damaged_frame_from_a_peer_is_refused_and_leaves_nothing() {
    let mut leader = twin(5).await;
    let disk = FaultyDisk::new(1);
    let follower = open_machine(&disk).unwrap();
    let sent = leader.get_current_snapshot().await.unwrap().unwrap();
    let frames: Vec<_> = sent.snapshot.frames().unwrap().map(Result::unwrap).collect();
    for damaged in 0..frames.len() {
        let mut receiver = follower.snapshots().receive(sent.meta.clone()).await.unwrap();
        let mut refused = false;
        for (n, frame) in frames.iter().enumerate() {
            let mut frame = frame.clone();
            frame[7] ^= u8::from(n == damaged);
            refused = refused || receiver.frame(&frame).await.is_err();
        }
        assert!(refused);
        drop(receiver);
        assert!(disk.list(super::snapshot::FOLDER).unwrap().is_empty());
    }
}

fn identity() -> Identity {
    Identity { branch: "main".parse().unwrap(), replica: ReplicaId(1) }
}

/// A data directory with a snapshot, committed entries behind it, and how far they go. Its log is in small segments.
async fn directory() -> (FaultyDisk, Position) {
    const SEGMENT: u64 = 16 * 1024;
    let disk = FaultyDisk::new(1);
    let files: Arc<dyn Disk> = Arc::new(disk.clone());
    let begin = |disk: &dyn Disk| log::create_with(disk, SEGMENT);
    let directory = Directory::open(files, identity(), Incarnation([3; 16]), begin).unwrap();
    let mut log = LogStore::<Tokio>::open_with(Arc::new(directory), log::DIRECTORY_LIMITS, SEGMENT).unwrap();
    let mut machine = open_machine(&disk).unwrap();
    for index in 0..20 {
        log.append([entry(index)], IOFlushed::noop()).await.unwrap();
        apply(&mut machine, index..index + 1).await.unwrap();
        if index == 9 {
            snapshot(&mut machine).await.unwrap();
        }
    }
    log.save_committed(Some(log_id(14))).await.unwrap();
    let (current, snapshots) = (machine.current(), machine.snapshots());
    close(&log, &current, &snapshots).await.unwrap();
    (disk, position(&twin(15).await))
}

#[tokio::test]
async fn verify_proves_balances_and_names_the_digest_without_writing() {
    let (disk, expected) = directory().await;
    disk.set_faults(Faults::default());
    let report = verify(&disk).unwrap();
    assert_eq!(disk.calls(), 0, "nothing is written");
    assert_eq!((report.sequence, report.digest), (expected.sequence, expected.digest));
    assert_eq!(report.ledger, Some(LEDGER));
    assert_eq!(report.snapshot, position(&twin(10).await).sequence);
    assert_eq!((report.replayed, report.log_entries, report.undecided), (5, 20, 5));
    assert_eq!(
        (report.journal_first, report.journal_last),
        (Sequence(1), position(&twin(20).await).sequence)
    );
    assert!(report.audit.balanced());
}

#[tokio::test]
async fn verify_refuses_a_running_server_an_empty_directory_and_missing_files() {
    let (disk, _) = directory().await;
    let lock = disk.lock("LOCK").unwrap();
    assert!(matches!(verify(&disk), Err(DirectoryError::InUse { .. })));
    drop(lock);
    assert!(verify(&disk).is_ok());
    assert!(matches!(verify(&FaultyDisk::new(1)), Err(DirectoryError::Nothing { .. })));
    for folder in ["snapshot", "log", "journal"] {
        let disk = disk.copy();
        for name in disk.list(folder).unwrap() {
            disk.remove(&format!("{folder}/{name}")).unwrap();
        }
        if folder == "snapshot" {
            // Nothing was purged yet, so the log would do; but the journal is cut where the snapshot is.
            assert!(verify(&disk).is_ok());
        } else {
            let error = verify(&disk).unwrap_err().to_string();
            assert!(error.contains(folder), "{error}");
        }
    }
}

#[tokio::test]
async fn verify_finds_a_flipped_bit_in_what_the_snapshot_stands_on() {
    let (disk, expected) = directory().await;
    for folder in ["snapshot", "journal"] {
        let name = format!("{folder}/{}", disk.list(folder).unwrap()[0]);
        for bit in (0..disk.contents(&name).len() * 8).step_by(13) {
            let disk = disk.copy();
            disk.damage(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            match verify(&disk) {
                Err(DirectoryError::Damaged { file, .. }) => assert!(file.starts_with(folder), "bit {bit}"),
                // Behind the snapshot the journal is written again.
                Ok(report) if folder == "journal" => {
                    assert!(report.journal_last >= report.snapshot);
                    assert_eq!(report.digest, expected.digest);
                }
                other => panic!("{name} bit {bit}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_replica_whose_snapshot_is_gone_refuses_to_start() {
    let (disk, _) = directory().await;
    let storage = Storage::Directory(Arc::new(disk.clone()));
    let open = || open::<Tokio>(&storage, identity(), Incarnation([3; 16]), false);
    let mut log = open().unwrap().log;
    log.purge(log_id(9)).await.unwrap();
    log.close().await.unwrap();
    drop(open().unwrap().log.close().await);
    disk.remove(&snapshot_name(&disk)).unwrap();
    match open().err() {
        Some(DirectoryError::Missing { file }) => assert_eq!(file, "snapshot"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_directory_with_a_vote_that_no_election_had_is_refused_by_name() {
    let (disk, _) = directory().await;
    let storage = Storage::Directory(Arc::new(disk.clone()));
    let mut log = open::<Tokio>(&storage, identity(), Incarnation([3; 16]), false).unwrap().log;
    log.save_vote(&types::Vote::new(u64::MAX, 2)).await.unwrap();
    log.close().await.unwrap();
    let refusals =
        [open::<Tokio>(&storage, identity(), Incarnation([3; 16]), false).err(), verify(&disk).err()];
    for refusal in refusals {
        let said = refusal.expect("a refusal").to_string();
        assert!(said.starts_with("log: it stores term 18446744073709551615, which no election"), "{said}");
        assert!(said.contains("remove the replica"), "{said}");
    }
}
