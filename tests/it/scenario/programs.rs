//! `bank-client run`, `check-trace` and `diagram` as users run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::check::Trace;
use crate::cli::{Answer, Bank};

/// What a run writes whose dialect is not P2.
const FILES: [&str; 6] = [
    "output.json",
    "customer_outputs.json",
    "branch_outputs.json",
    "event_outputs.json",
    "customerDebug.txt",
    "branchDebug.txt",
];

/// Nothing here needs a server that runs already.
fn client(words: &[&str]) -> Answer {
    Bank::at("127.0.0.1:1".to_owned()).run(words)
}

fn example(dialect: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios").join(dialect)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with the files of a trace.
fn folder_of(trace: &Trace) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("customer_outputs.json", &trace.customers),
        ("branch_outputs.json", &trace.branches),
        ("event_outputs.json", &trace.events),
    ] {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

#[test]
fn examples_run_on_clusters_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for dialect in ["p1", "p3", "p3old"] {
        let (file, out) = (example(dialect).join("input.json"), folder.path().join(dialect));
        // Taking turns gives clocks that do not depend on which message is faster; here nobody waits for a turn.
        let turns: &[&str] = if dialect == "p1" { &[] } else { &["--seed", "1"] };
        let answer = client(&[&["run", text(&file), "--out", text(&out)], turns].concat());
        let said = format!("{}: format {dialect}\n", file.display());
        assert_eq!((answer.code, answer.err), (0, said));
        let names: Vec<&str> = answer.out.lines().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, FILES);
        for name in FILES {
            let kept = fs::read_to_string(example(dialect).join(name)).unwrap();
            assert_eq!(fs::read_to_string(out.join(name)).unwrap(), kept, "{dialect} {name}");
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), FILES.len());
        let answer = client(&["check-trace", text(&out)]);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{}", answer.out);
    }
}

#[test]
fn a_scenario_can_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::read_to_string(example("p1").join("input.json")).unwrap();
    let bank = Bank::at("127.0.0.1:1".to_owned());
    let answer = bank.script(&["run", "-", "--out", text(folder.path())], &file);
    assert_eq!((answer.code, answer.err.as_str()), (0, "standard input: format p1\n"));
    let kept = fs::read_to_string(example("p1").join("output.json")).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("output.json")).unwrap(), kept);
    // A script on standard input is no scenario.
    let answer = bank.script(&["-f", "-"], "run -\n");
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("standard input gives the commands here"), "{}", answer.err);
}

#[test]
fn a_run_with_clocks_leaves_a_sound_trace_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    let input = example("p2").join("input.json");
    assert_eq!(client(&["run", text(&input), "--out", out, "--spelling", "propogate"]).code, 0);
    let answer = client(&["check-trace", out]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    assert!(
        answer.out.starts_with("trace sound: 2 customers, 3 branches, 5 requests, 5 + "),
        "{}",
        answer.out
    );
    let branches = fs::read_to_string(folder.path().join("branch_outputs.json")).unwrap();
    assert!(branches.contains("propogate_deposit") && !branches.contains("propagate"));
    let picture = folder.path().join("run.svg");
    let answer = client(&["diagram", out, "-o", text(&picture)]);
    assert_eq!((answer.code, answer.out.as_str(), answer.err.as_str()), (0, "", ""));
    assert!(fs::read_to_string(&picture).unwrap().ends_with("</svg>\n"));
    let answer = client(&["diagram", out, "--format", "shiviz", "-o", "-"]);
    assert!(answer.out.starts_with("(?<host>"), "{}", answer.out);
    let older = client(&["run", text(&input), "--out", out, "--format", "p2old"]);
    assert_eq!(older.code, 0);
    let output: Value =
        serde_json::from_slice(&fs::read(folder.path().join("output.json")).unwrap()).unwrap();
    // Three branches, and the four writes with a request.
    assert_eq!(output.as_array().unwrap().len(), 7);
}

#[test]
fn a_trace_that_is_not_sound_ends_with_code_8() {
    let mut trace = Trace::sound();
    let folder = folder_of(&trace);
    assert_eq!(client(&["check-trace", text(folder.path())]).code, 0);
    trace.events[3]["logical_clock"] = Value::from(1);
    let folder = folder_of(&trace);
    let answer = client(&["check-trace", text(folder.path())]);
    assert_eq!((answer.code, answer.err.as_str()), (8, ""));
    assert!(answer.out.contains("event_outputs.json $[3]: union: "), "{}", answer.out);
    let answer = client(&["-o", "json", "check-trace", text(folder.path())]);
    let verdict: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!((answer.code, &verdict["sound"]), (8, &Value::from(false)));
    let picture = folder.path().join("run.svg");
    let answer = client(&["diagram", text(folder.path()), "-o", text(&picture)]);
    assert_eq!((answer.code, answer.out.as_str(), picture.exists()), (8, "", false));
    assert!(answer.err.ends_with("only a sound trace is drawn\n"), "{}", answer.err);
    let answer = client(&["check-trace", text(&folder.path().join("nowhere"))]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("customer_outputs.json cannot be read"), "{}", answer.err);
}

#[test]
fn bad_files_are_refused_at_once_and_leave_earlier_outputs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("input.json"), folder.path().join("out"));
    fs::create_dir(&out).unwrap();
    fs::write(out.join("output.json"), "earlier").unwrap();
    let branch = r#"{"id":1,"type":"branch","balance":5}"#;
    let other = r#"{"id":2,"type":"branch","balance":6}"#;
    let event = |event: &str| format!(r#"[{{"id":1,"type":"customer","events":[{{{event}}}]}},{branch}]"#);
    let table = [
        ("money, please".to_owned(), "line 1, column 1, $: a JSON value is expected"),
        (branch.to_owned(), "line 1, column 1, $: a scenario is one JSON array"),
        (format!("[{branch}]\nThat is all."), "line 2, column 1, $: the file has something after"),
        (r#"[{"id":"1","type":"branch"}]"#.to_owned(), "line 1, column 8, $[0].id: a whole number"),
        ("[]".to_owned(), "line 1, column 1, $: there is no branch"),
        (event(r#""interface":"deposit","money":-1"#), "$[0].events[0].money: an amount is never negative"),
        (event(r#""interface":"deposit""#), "$[0].events[0].money: this is missing"),
        ("[".repeat(10_000_000), "line 1, column 33, "),
        ("{\"a\":".repeat(2_000_000), "nested deeper than 32 levels"),
        (format!("[{branch},{branch}]"), "$[1].id: branch 1 is there twice"),
        (format!("[{branch},{other}]"), "$[1].balance: branch 2 begins with 6.00 and branch 1 with 5.00"),
    ];
    for (content, message) in table {
        fs::write(&file, content).unwrap();
        let begun = Instant::now();
        let answer = client(&["run", text(&file), "--out", text(&out)]);
        assert!(begun.elapsed() < Duration::from_secs(10), "{message}");
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{message}");
        assert!(
            answer.err.starts_with(&format!("SCENARIO_INVALID: {}: line 1, column ", file.display()))
                || message.contains("line 2"),
            "{}",
            answer.err
        );
        assert!(answer.err.contains(message), "{message}: {}", answer.err);
        assert_eq!(answer.err.lines().count(), 1);
    }
    // What is only odd is refused when the user is strict about it.
    fs::write(&file, event(r#""interface":"query","branch":9"#)).unwrap();
    let answer = client(&["run", text(&file), "--out", text(&out), "--strict"]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("$[0].events[0]: branch 9 is not in the file"), "{}", answer.err);
    let answer = client(&["run", text(&folder.path().join("nowhere.json")), "--out", text(&out)]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("nowhere.json cannot be read"), "{}", answer.err);
    assert_eq!(fs::read_to_string(out.join("output.json")).unwrap(), "earlier");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn several_files_have_folders_of_their_own_and_a_failing_one_ends_them_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (input, other) = (example("p1").join("input.json"), example("p3").join("input.json"));
    let missing = folder.path().join("missing.json");
    let files = ["run", text(&input), text(&missing), text(&other), "--out"];
    let run = |out: &Path, wishes: &[&str]| client(&[files.as_slice(), &[text(out)], wishes].concat());
    let (stopped, whole) = (folder.path().join("stopped"), folder.path().join("whole"));
    let answer = run(&stopped, &[]);
    assert_eq!((answer.code, answer.out.lines().count()), (2, FILES.len()), "{}", answer.err);
    assert!(stopped.join("p1/input/output.json").exists() && !stopped.join("p3").exists());
    let answer = run(&whole, &["--keep-going"]);
    assert_eq!((answer.code, answer.out.lines().count()), (2, 2 * FILES.len()), "{}", answer.err);
    assert!(answer.err.contains("missing.json cannot be read"), "{}", answer.err);
    assert!(whole.join("p1/input/output.json").exists() && whole.join("p3/input/output.json").exists());
    let twice = client(&["run", text(&input), text(&input), "--out", text(folder.path())]);
    assert_eq!(twice.code, 2);
    assert!(twice.err.contains("are the same file"), "{}", twice.err);
}

#[test]
fn a_folder_without_clocks_says_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("output.json"), "[]").unwrap();
    for words in [&["diagram", text(folder.path()), "-o", "-"][..], &["check-trace", text(folder.path())]] {
        let answer = client(words);
        assert_eq!(answer.code, 2);
        assert!(answer.err.contains("--format p2"), "{}", answer.err);
    }
}
