//! Snapshots: taken anywhere they change nothing; damaged anywhere they are refused.

use proptest::prelude::*;

use super::model::{any_proposal, batches};
use super::*;

pub(super) fn frames(ledger: &Arc<Ledger>) -> Vec<Vec<u8>> {
    ledger.freeze().collect()
}

pub(super) fn restore(frames: &[Vec<u8>]) -> Result<Arc<Ledger>, SnapshotError> {
    let mut reader = SnapshotReader::default();
    frames.iter().try_for_each(|frame| reader.frame(frame))?;
    reader.finish().map(Arc::new)
}

fn small_ledger() -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::new());
    let works = ["open - 5 7", "open 900000", "deposit 1 9.99", "interest 1 3", "withdraw 900000 1"];
    let proposal = |(n, text): (usize, &str)| Proposal {
        request: Some(format!("r{n}").parse().unwrap()),
        work: Work::One(command(text)),
    };
    ledger.apply(&batch(1, works.into_iter().enumerate().map(proposal).collect()));
    ledger
}

proptest! {
    #[test]
    fn a_ledger_continues_from_its_snapshot_as_if_nothing_had_happened(
        proposals in proptest::collection::vec(any_proposal(), 1..40),
        sizes in proptest::collection::vec(0usize..6, 0..10),
        at in 0usize..10,
    ) {
        let batches = batches(&proposals, &sizes);
        let (before, after) = batches.split_at(at.min(batches.len()));
        let ledger = Arc::new(Ledger::new());
        before.iter().for_each(|batch| { ledger.apply(batch); });
        let saved = frames(&ledger);
        let copy = restore(&saved).unwrap();
        prop_assert_eq!(&frames(&copy), &saved);
        for batch in after {
            prop_assert_eq!(ledger.apply(batch), copy.apply(batch));
        }
        prop_assert_eq!(ledger.position(), copy.position());
        prop_assert_eq!(frames(&ledger), frames(&copy));
    }

    #[test]
    fn a_frozen_ledger_stays_as_it_was_while_batches_are_applied(
        proposals in proptest::collection::vec(any_proposal(), 1..40),
        sizes in proptest::collection::vec(0usize..6, 0..10),
        at in 0usize..10,
        opened in 0usize..6_000,
        steps in proptest::collection::vec(0usize..3, 10..20),
    ) {
        let ledger = Arc::new(Ledger::new());
        let opening = Work::Independent(vec![command("open - 1000"); opened]);
        let mut batches = batches(&proposals, &sizes);
        batches.insert(0, batch(1, vec![anonymous(opening)]));
        let (before, after) = batches.split_at(at.clamp(1, batches.len()));
        before.iter().for_each(|batch| { ledger.apply(batch); });
        let expected = frames(&ledger);
        let position = ledger.position();

        let frozen = ledger.freeze();
        prop_assert_eq!(frozen.position(), position);
        let (summed_early, summed_late, sums) = (ledger.freeze(), ledger.freeze(), ledger.audit());
        // Whatever is applied at whatever frame, the frames are the same.
        let mut after = after.iter();
        let mut steps = steps.into_iter();
        let mut found = Vec::new();
        for _ in 0..steps.next().unwrap_or(0) {
            after.next().map(|batch| ledger.apply(batch));
        }
        prop_assert_eq!(&summed_early.audit(), &sums);
        for frame in frozen {
            found.push(frame);
            for _ in 0..steps.next().unwrap_or(0) {
                after.next().map(|batch| ledger.apply(batch));
            }
        }
        prop_assert!(found == expected);
        after.for_each(|batch| { ledger.apply(batch); });
        prop_assert_eq!(&summed_late.audit(), &sums);
        prop_assert!(ledger.audit().balanced());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // With a right checksum, so that the decoder behind it is reached.
        let mut frame = crc32fast::hash(&bytes).to_le_bytes().to_vec();
        frame.extend(&bytes);
        prop_assert!(restore(&[frame]).is_err());
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let whole = frames(&small_ledger());
    for frame in 0..whole.len() {
        for bit in 0..whole[frame].len() * 8 {
            let mut damaged = whole.clone();
            damaged[frame][bit / 8] ^= 1 << (bit % 8);
            let error = restore(&damaged).err().expect("a damaged frame is refused");
            assert_eq!(error, SnapshotError::Damaged { frame: frame as u64 });
        }
    }
}

#[test]
fn missing_repeated_and_cut_frames_are_refused() {
    let whole = frames(&small_ledger());
    assert!(restore(&whole).is_ok());
    for frame in 0..whole.len() {
        let mut missing = whole.clone();
        missing.remove(frame);
        assert!(restore(&missing).is_err(), "without frame {frame}");
        let mut repeated = whole.clone();
        repeated.insert(frame, whole[frame].clone());
        assert!(restore(&repeated).is_err(), "with frame {frame} twice");
        let mut cut = whole.clone();
        cut[frame].pop();
        assert!(restore(&cut).is_err(), "with frame {frame} cut");
    }
    assert!(restore(&[]).is_err());
}

#[test]
fn a_snapshot_of_many_accounts_has_many_small_frames() {
    let ledger = Arc::new(Ledger::new());
    ledger.apply(&batch(1, vec![anonymous(Work::Independent(vec![command("open - 1"); 10_000]))]));
    let saved = frames(&ledger);
    assert!(saved.len() >= 5 && saved.iter().all(|frame| frame.len() < 256 * 1024));
    assert_eq!(restore(&saved).unwrap().audit(), ledger.audit());
}

/// Many accounts in chunks and beside them, so that a view is long on its way.
fn large_ledger() -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::new());
    let sparse = (0..500).map(|n| command(&format!("open {} 5", 9_000 + n * 977)));
    ledger.apply(&batch(1, vec![anonymous(Work::Independent(sparse.collect()))]));
    ledger.apply(&batch(2, vec![anonymous(Work::Independent(vec![command("open - 1"); 20_000]))]));
    ledger
}

#[test]
fn a_view_read_on_another_thread_is_the_ledger_as_it_was_frozen() {
    let ledger = large_ledger();
    for round in 0..5_u64 {
        let expected = frames(&ledger);
        let frozen = ledger.freeze();
        let found = std::thread::scope(|threads| {
            let reader = threads.spawn(|| frozen.collect::<Vec<_>>());
            for n in 0..60_u64 {
                // New accounts in old and new chunks and beside them, and changes everywhere.
                let to = |k: u64| (n * 331 + k * 97) % 20_000 + 1;
                let mut commands: Vec<Command> =
                    (0..100).map(|k| command(&format!("deposit {} 0.01", to(k)))).collect();
                commands.extend((0..100).map(|k| command(&format!("transfer {} {} 0.01", to(k), to(k + 1)))));
                commands.extend((0..20).map(|_| command("open")));
                let far = 1_000_000 + round * 1_000 + n;
                commands.extend(
                    [format!("open {far} 1"), format!("deposit {} 1", 9_000 + n * 977)]
                        .map(|text| command(&text)),
                );
                ledger.apply(&batch(n, vec![anonymous(Work::Independent(commands))]));
            }
            reader.join().unwrap()
        });
        assert!(found == expected, "round {round}");
    }
    assert!(ledger.audit().balanced());
}

#[test]
fn requests_that_are_forgotten_meanwhile_stay_in_the_view() {
    const WEIGHT: usize = 8_192;
    let ledger = Arc::new(Ledger::new());
    let heavy = |n: usize, named: bool| {
        let request = match named {
            true => format!("named-{n}"),
            false => format!("{n:08x}-0000-7000-8000-000000000000"),
        };
        // Refused, so it is cheap.
        let work = Work::Independent(vec![command("withdraw 1 1"); WEIGHT]);
        batch(u64::MAX / 2, vec![Proposal { request: Some(request.parse().unwrap()), work }])
    };
    let (timed, named) = (requests::TIMED_OUTCOMES / WEIGHT, requests::NAMED_OUTCOMES / WEIGHT);
    (0..timed).for_each(|n| drop(ledger.apply(&heavy(n * 2, false))));
    (0..named).for_each(|n| drop(ledger.apply(&heavy(n, true))));
    let expected = frames(&ledger);
    let mut found = Vec::new();
    // Between frames one more comes and one is forgotten; some of the new ones are older than the known.
    for (n, frame) in ledger.freeze().enumerate() {
        found.push(frame);
        let next = if n % 3 == 0 { n * 2 + 1 } else { (timed + n) * 2 };
        ledger.apply(&heavy(next, false));
        ledger.apply(&heavy(named + n, true));
    }
    assert!(found == expected);
}

#[test]
fn nothing_is_kept_for_a_view_that_is_gone() {
    let ledger = small_ledger();
    let frozen = ledger.freeze();
    ledger.apply(&batch(9, vec![anonymous(Work::One(command("deposit 1 1")))]));
    assert_eq!(ledger.writer.lock().frozen.len(), 1);
    drop(frozen);
    ledger.apply(&batch(9, vec![anonymous(Work::One(command("deposit 1 1")))]));
    assert!(ledger.writer.lock().frozen.is_empty());
}
