//! Bytes that other versions and other machines read are pinned: a change here is a change of format.

use super::*;
use crate::model::{AccountName, decode_batch, encode_batch};

fn sample() -> Batch {
    let name: AccountName = "Ada".parse().unwrap();
    let named = NewAccount {
        number: AccountNumber::new(1001),
        name: Some(name),
        deposit: Some(Amount::parse("1000").unwrap()),
        overdraft: Money::parse("50").unwrap().try_into().unwrap(),
    };
    Batch {
        time: Timestamp::from_micros(1_763_600_000_000_000),
        founding: Some(LedgerId(*b"0123456789abcdef")),
        proposals: vec![
            anonymous(Work::One(Command::OpenAccount(Box::new(named)))),
            Proposal {
                request: Some("019a9d3c-7b00-7abc-8def-0123456789ab".parse().unwrap()),
                work: Work::Atomic(vec![command("deposit 1001 12.34"), command("interest 1001 2.5")]),
            },
            Proposal {
                request: Some("till-7".parse().unwrap()),
                work: Work::Independent(vec![command("withdraw 1001 0.01"), command("transfer 1001 2 5")]),
            },
        ],
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = digits.as_bytes().chunks(96).map(|line| std::str::from_utf8(line).unwrap());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn the_bytes_of_a_batch_are_pinned() {
    let bytes = encode_batch(&sample());
    assert_eq!(hex(&bytes), include_str!("../../../tests/golden/batch-v1.hex"));
    assert_eq!(decode_batch(&bytes), Ok(sample()));
}

#[test]
fn damaged_batches_are_refused_or_other_batches() {
    let bytes = encode_batch(&sample());
    for end in 0..bytes.len() {
        assert!(decode_batch(&bytes[..end]).is_err(), "cut at {end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(decode_batch(&damaged), Ok(sample()), "bit {bit}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(decode_batch(&longer).is_err());
}

#[test]
fn the_digest_is_pinned() {
    let ledger = Ledger::new();
    ledger.apply(&sample());
    assert_eq!(
        format!("{}\n", ledger.position().digest),
        include_str!("../../../tests/golden/digest-v1.txt")
    );
}

#[test]
fn the_bytes_of_a_snapshot_are_pinned() {
    let ledger = Arc::new(Ledger::new());
    ledger.apply(&sample());
    let frames: String = ledger.freeze().map(|frame| hex(&frame) + "\n").collect();
    assert_eq!(frames, include_str!("../../../tests/golden/snapshot-v1.hex"));
}
