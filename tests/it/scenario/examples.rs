//! The example files and their outputs, byte for byte. `BANK_TEST_BLESS=1` writes the outputs anew.

use std::fs;
use std::path::{Path, PathBuf};

use bank::scenario::report::{Spelling, outputs};
use bank::scenario::{Dialect, check, input};
use serde_json::{Value, json};

use super::play;

/// One of the orders in which the customers of a trace may come.
const SEED: u64 = 3;

fn folder(dialect: Dialect) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios").join(dialect.tag())
}

/// Plays the example without servers and compares its outputs with those that are kept.
fn is_kept(dialect: Dialect) {
    let folder = folder(dialect);
    let options = input::Options { dialect: (dialect == Dialect::P2Old).then_some(dialect), strict: true };
    let (plan, warnings) = input::read(&fs::read(folder.join("input.json")).unwrap(), options).unwrap();
    assert_eq!((plan.dialect, warnings), (dialect, Vec::new()));
    let played = if dialect.is_traced() { play::with_clocks(&plan, SEED) } else { play::in_order(&plan) };
    for output in outputs(&plan, &played, Spelling::default()) {
        let (path, content) = (folder.join(output.name), output.to_string());
        if std::env::var_os("BANK_TEST_BLESS").is_some() {
            fs::write(&path, &content).unwrap();
        }
        assert_eq!(content, fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}

#[test]
fn examples_have_the_outputs_that_are_kept() {
    Dialect::ALL.into_iter().for_each(is_kept);
}

/// The kept outputs are right by another hand than the program's: worked out on paper.
#[test]
fn kept_outputs_are_what_a_person_works_out() {
    let output = |dialect| -> Value {
        serde_json::from_slice(&fs::read(folder(dialect).join("output.json")).unwrap()).unwrap()
    };
    let done = |interface: &str, result: &str, after: Value| json!({ "interface": interface, "result": result, "balance_after": after });
    let read = |balance: Value| json!({ "interface": "query", "balance": balance });
    assert_eq!(
        output(Dialect::P1),
        json!([
            { "id": 11, "recv": [done("deposit", "success", json!(290)), read(json!(290))] },
            { "id": 12, "recv": [done("withdraw", "fail", json!(290)), read(json!(290))] },
            { "id": 13, "recv": [done("withdraw", "success", json!(199.5)), read(json!(199.5))] },
        ])
    );
    assert_eq!(
        output(Dialect::P3),
        json!([
            { "id": 8, "recv": [{ "interface": "deposit", "branch": 2, "result": "success", "balance_after": 75 }] },
            { "id": 8, "recv": [{ "interface": "query", "branch": 3, "balance": 75 }] },
            { "id": 8, "recv": [{ "interface": "withdraw", "branch": 1, "result": "fail", "balance_after": 75 }] },
            { "id": 8, "recv": [{ "interface": "query", "branch": 1, "balance": 75 }] },
        ])
    );
    assert_eq!(output(Dialect::P3Old), json!([{ "id": 3, "balance": 25 }]));
    let trace = bank::scenario::files::TraceFolder::read(&folder(Dialect::P2)).unwrap();
    let verdict = check::check(trace.files());
    // Three writes that go to three branches, and two requests that only one branch received.
    assert_eq!((verdict.is_sound(), verdict.counts.rows), (true, [5, 17, 22]), "{verdict}");
}
