//! Snapshots: taken anywhere they change nothing; damaged anywhere they are refused.

use proptest::prelude::*;

use super::model::{any_proposal, batches};
use super::*;

fn frames(ledger: &Ledger) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    ledger.encode_snapshot(|frame| frames.push(frame));
    frames
}

fn restore(frames: &[Vec<u8>]) -> Result<Ledger, SnapshotError> {
    let mut reader = SnapshotReader::default();
    frames.iter().try_for_each(|frame| reader.frame(frame))?;
    reader.finish()
}

fn small_ledger() -> Ledger {
    let ledger = Ledger::new();
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
        let ledger = Ledger::new();
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
    let ledger = Ledger::new();
    ledger.apply(&batch(1, vec![anonymous(Work::Independent(vec![command("open - 1"); 10_000]))]));
    let saved = frames(&ledger);
    assert!(saved.len() >= 5 && saved.iter().all(|frame| frame.len() < 256 * 1024));
    assert_eq!(restore(&saved).unwrap().audit(), ledger.audit());
}
