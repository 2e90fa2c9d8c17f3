//! Everything that reads bytes or text of strangers, by name, for the fuzz targets of `fuzz/` and for a test that
//! every run of the tests goes through. Compiled for these two only.
//!
//! A target may refuse everything; it must not panic, and what it understands it must write so that it understands it
//! again.

use std::fmt::Display;

use prost::Message;

use crate::ledger::SnapshotReader;
use crate::model::{
    AccountName, AccountNumber, AccountRef, Amount, BranchName, DecodeError, LamportClock, LedgerId, Money,
    Rate, RequestId, Sequence, Session, TraceName, TransferId, decode_batch, decode_traced,
};
use crate::scenario::input::{Options, read};
use crate::scenario::{Dialect, TraceFiles};
use crate::wire::page::Query;
use crate::wire::proto::v1;
use crate::wire::{batch, parse};

/// What reads bytes of strangers.
pub type Target = fn(&[u8]);

/// All targets, by the name that `fuzz/` uses.
pub const TARGETS: [(&str, Target); 13] = [
    ("peer_message", crate::replication::read_peer_message),
    ("transfer_message", crate::transfer::read_transfer_message),
    ("batch", batch_message),
    ("request", request_message),
    ("token", token),
    ("text", text),
    ("rest", crate::gateway::read_rest),
    ("scenario", scenario),
    ("trace", trace),
    ("config", config),
    ("log_record", log_record),
    ("journal_page", crate::store::read_page),
    ("snapshot", snapshot),
];

/// Runs a target by name.
///
/// # Panics
/// When there is no such target, and when the target finds a fault.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no target is called {name}"));
    target(bytes);
}

fn home() -> BranchName {
    "mumbai".parse().expect("a name")
}

fn batch_message(bytes: &[u8]) {
    if let Ok(message) = v1::ExecuteBatchRequest::decode(bytes) {
        let _ = batch::work(message.atomic, &message.commands);
    }
    if let Ok(message) = v1::SubmitRequest::decode(bytes) {
        let _ = batch::work(message.atomic, &message.commands);
    }
}

/// Every request with its parser.
fn request_message(bytes: &[u8]) {
    let home = home();
    macro_rules! requests {
        ($($message:ident by $parse:path),+) => {
            $(if let Ok(message) = v1::$message::decode(bytes) {
                let _ = $parse(&home, &message);
            })+
        };
    }
    requests!(
        OpenAccountRequest by parse::open,
        DepositAccountRequest by parse::deposit,
        WithdrawAccountRequest by parse::withdraw,
        AddInterestRequest by parse::interest,
        TransferRequest by parse::transfer,
        SetAccountStateRequest by parse::set_state,
        PlaceHoldRequest by parse::place_hold,
        CaptureHoldRequest by parse::capture_hold,
        ReleaseHoldRequest by parse::release_hold
    );
    if let Ok(message) = v1::ListEntriesRequest::decode(bytes) {
        let _ = parse::page_size(message.page_size);
        let _ = parse::newest_first(message.order);
        let _ = parse::consistency(message.consistency);
        let _ = parse::as_of(message.as_of_sequence, message.as_of_time.as_ref());
    }
}

fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(session) = Session::parse(&text) {
        assert_eq!(Session::parse(&session.token()), Ok(session), "a session is not read again");
    }
    let query = Query { call: "ListAccounts", ledger: LedgerId([7; 16]), fields: () };
    let _ = query.place::<(AccountNumber, u64, Sequence)>(&text);
    let _ = query.place::<Sequence>(&text);
}

/// What a text means must be what its own text means.
fn same<T: PartialEq + Display, E>(text: &str, parse: impl Fn(&str) -> Result<T, E>) {
    if let Ok(value) = parse(text) {
        let again = parse(&value.to_string()).ok();
        assert!(again.is_some_and(|again| again == value), "{value} is not read again");
    }
}

fn text(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    let home = home();
    same(text, Amount::parse);
    same(text, Rate::parse);
    same(text, str::parse::<AccountNumber>);
    same(text, str::parse::<AccountRef>);
    same(text, str::parse::<AccountName>);
    same(text, str::parse::<BranchName>);
    same(text, str::parse::<RequestId>);
    same(text, |text| TransferId::parse(text, &home));
    let _ = Money::parse(text);
    let _ = text.parse::<TraceName>();
    let _ = text.parse::<LamportClock>();
    let _ = parse::account(&home, text, "account");
    let _ = parse::transfer_id(&home, text);
    let _ = parse::hold_id(&home, text);
    let _ = parse::full_reference(&home, text);
    let _ = crate::api::call_timeout(Some(bytes));
}

fn scenario(bytes: &[u8]) {
    let dialects = [Dialect::P1, Dialect::P2, Dialect::P2Old, Dialect::P3, Dialect::P3Old];
    for dialect in dialects.into_iter().map(Some).chain([None]) {
        for strict in [false, true] {
            let _ = read(bytes, Options { dialect, strict });
        }
    }
}

/// The three files of a run, split at zero bytes.
fn trace(bytes: &[u8]) {
    let mut files = bytes.splitn(3, |byte| *byte == 0);
    let mut next = || files.next().unwrap_or_default();
    let files = TraceFiles { customers: next(), branches: next(), events: next() };
    let verdict = crate::scenario::check::check(files);
    let _ = verdict.to_json();
}

fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let _ = crate::server::parse_route(line);
    }
}

fn log_record(bytes: &[u8]) {
    crate::store::read_records(bytes);
    let _: Result<_, DecodeError> = decode_batch(bytes);
    let _ = decode_traced(bytes);
}

/// Frames with their lengths in two bytes before each; the checksums are made here, so that all is looked at.
fn snapshot(mut bytes: &[u8]) {
    let mut reader = SnapshotReader::default();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (body, rest) = rest.split_at(length);
        let mut frame = crc32fast::hash(body).to_le_bytes().to_vec();
        frame.extend_from_slice(body);
        if reader.frame(&frame).is_err() {
            return;
        }
        bytes = rest;
    }
    let _ = reader.finish();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// What the fuzzer kept of a target.
    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut files: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn what_the_fuzzer_kept_is_read_without_a_fault() {
        for (name, target) in TARGETS {
            let inputs = corpus(name);
            assert!(!inputs.is_empty(), "nothing is kept of {name}");
            inputs.iter().for_each(|input| target(input));
        }
    }

    proptest! {
        #[test]
        fn changed_inputs_are_read_without_a_fault(
            place in 0..TARGETS.len(),
            kept in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (name, target) = TARGETS[place];
            let inputs = corpus(name);
            let mut input = kept.get(&inputs).clone();
            input.extend(tail);
            for (at, byte) in changes {
                if !input.is_empty() {
                    let at = at.index(input.len());
                    input[at] = byte;
                }
            }
            target(&input);
        }
    }
}
