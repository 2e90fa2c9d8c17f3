//! Bytes that other versions and other machines read are pinned: a change here is a change of format.

use super::*;
use crate::model::{AccountName, Seen, decode_batch, encode_batch};

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

/// What has a place in every table, and every command and many refusals of them.
fn promises() -> Batch {
    let seen = Seen { ledger: LedgerId(*b"fedcba9876543210"), sequence: Sequence(300) };
    let mut commands: Vec<Command> = [
        "open 1 500 1.5",
        "freeze 1",
        "activate 1",
        "hold 1 10",
        "hold 1 20 600000000",
        "hold 1 30",
        "hold 1 40 1",
        "capture 10 41",
        "capture 11 5.50",
        "release 9",
        "release 9",
        "expire 10",
        "begin 1 delhi 5 60",
        "begin 1 delhi 6 1",
        "begin 1 pune 7 2",
        "begin 1 goa 8 3",
        "commit 18",
        "abort 19",
        "forget 20",
        "prepare delhi 8 5 1 60",
        "prepare delhi 8 5 1 61",
        "prepare delhi 9 5 77 1",
        "credit delhi 8 5 1 60",
        "credit delhi 8 5 1 60",
        "prepare pune 4 5 1 0.25 3",
        "prepare pune 2 5 1 0.25 3",
        "cancel pune 5 5 1 0.25",
        "close 1",
        "close 2",
    ]
    .map(command)
    .to_vec();
    let (number, not_found) = (Sequence(21), Rejection::AccountNotFound { account: AccountNumber::FIRST });
    commands.push(Command::AbortTransfer { number, reason: AbortReason::Refused(Box::new(not_found)) });
    commands.push(Command::CloseTransfer { number, seen: Some(Box::new(seen)) });
    Batch {
        time: Timestamp::from_micros(1_763_600_001_000_000),
        founding: None,
        proposals: vec![anonymous(Work::Independent(commands))],
    }
}

/// A ledger with everything that a ledger can have.
fn full() -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::new());
    ledger.apply(&sample());
    ledger.apply(&promises());
    ledger
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
    let bytes = encode_batch(&promises());
    assert_eq!(hex(&bytes), include_str!("../../../tests/golden/batch-promises-v1.hex"));
    assert_eq!(decode_batch(&bytes), Ok(promises()));
}

#[test]
fn the_outcomes_of_the_pinned_promises_are_these() {
    let ledger = Ledger::new();
    ledger.apply(&sample());
    let outcomes = show_all(&ledger.apply(&promises()).replies[0]).replace("; ", "\n") + "\n";
    assert_eq!(outcomes, include_str!("../../../tests/golden/promises-outcomes.txt"));
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
    assert_eq!(
        format!("{}\n", full().position().digest),
        include_str!("../../../tests/golden/digest-promises-v1.txt")
    );
}

#[test]
fn the_bytes_of_a_snapshot_are_pinned() {
    let frames: String = full().freeze().map(|frame| hex(&frame) + "\n").collect();
    assert_eq!(frames, include_str!("../../../tests/golden/snapshot-v1.hex"));
}

#[test]
fn write_golden() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/");
    let put = |name: &str, text: String| std::fs::write(format!("{dir}{name}"), text).unwrap();
    put("batch-promises-v1.hex", hex(&encode_batch(&promises())));
    let ledger = Ledger::new();
    ledger.apply(&sample());
    put("promises-outcomes.txt", show_all(&ledger.apply(&promises()).replies[0]).replace("; ", "\n") + "\n");
    put("digest-promises-v1.txt", format!("{}\n", full().position().digest));
    put("snapshot-v1.hex", full().freeze().map(|frame| hex(&frame) + "\n").collect());
}
