//! The house rules that a machine can check: who imports whom, what is pure, how long things are.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use bank::model::Reason;

/// The rooms, and the rooms each may name. `bin` holds the two programs.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("ledger", &["model"]),
    ("store", &["model", "ledger"]),
    ("wire", &["model"]),
    ("client", &["model", "wire"]),
    ("replication", &["model", "ledger", "store", "wire", "client"]),
    ("transfer", &["model", "ledger", "store", "wire", "client", "replication"]),
    ("api", &["model", "ledger", "store", "wire", "client", "replication", "transfer"]),
    ("server", &["model", "ledger", "store", "wire", "client", "replication", "transfer", "api", "gateway"]),
    ("cli", &["model", "client"]),
    ("scenario", &["model", "client"]),
    ("gateway", &["model", "client"]),
    ("bin", &["model", "client", "server", "cli", "scenario"]),
];

/// Places without async, I/O, clock, randomness, environment or floats.
const PURE: &[&str] = &[
    "src/model",
    "src/ledger",
    "src/cli/complete.rs",
    "src/cli/grammar.rs",
    "src/cli/grammar/",
    "src/cli/line.rs",
    "src/cli/local.rs",
    "src/cli/problem.rs",
    "src/cli/scenario_args.rs",
    "src/cli/sheet.rs",
    "src/cli/views.rs",
    "src/transfer/step.rs",
    "src/scenario/check",
    "src/scenario/diagram",
    "src/scenario/input",
    "src/scenario/plan.rs",
    "src/scenario/played.rs",
    "src/scenario/report",
    "src/scenario/trace.rs",
];
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "tokio::",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "Instant",
    "SystemTime",
    "thread::",
    "rand::",
    "f32",
    "f64",
    "println!",
    "RandomState",
    "HashMap",
];

/// The only places where money may be a float.
const FLOATS: &[&str] = &["src/api/compat"];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

struct Source {
    /// Relative to the package, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code: without comments and string literals of their own line.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(n, line)| (n + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            sources.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
        }
    }
    assert!(!sources.is_empty());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Fails with every offence at once.
fn forbid(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

/// The rooms a line names as `crate::ROOM` or, in the programs, `bank::ROOM`.
fn named_rooms(line: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for prefix in ["crate::", "bank::"] {
        for (at, _) in line.match_indices(prefix) {
            let inside_longer_word =
                line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let rest = &line[at + prefix.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if !inside_longer_word && end > 0 {
                rooms.push(&rest[..end]);
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_only_what_the_plan_allows() {
    let mut offences = Vec::new();
    for source in sources(&["src"]) {
        let Some(room) = source.room() else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            offences.push(format!("{}: the plan has no room {room}", source.path));
            continue;
        };
        for (n, line) in source.code() {
            for named in named_rooms(line) {
                let known = ROOMS.iter().any(|(name, _)| *name == named);
                if known && named != room && !allowed.contains(&named) {
                    offences.push(format!("{}:{n}: {room} must not import {named}", source.path));
                }
            }
        }
    }
    forbid(offences);
}

#[test]
fn pure_places_are_pure() {
    let mut offences = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        if PURE.iter().any(|place| source.path.starts_with(place)) {
            for (n, line) in source.code() {
                if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                    offences.push(format!("{}:{n}: {word:?} in a pure place", source.path));
                }
            }
        }
    }
    forbid(offences);
}

#[test]
fn floats_stay_in_the_compatibility_service() {
    let mut offences = Vec::new();
    for source in sources(&["src"]) {
        if !FLOATS.iter().any(|place| source.path.starts_with(place)) {
            let float = |line: &str| line.contains("f32") || line.contains("f64");
            let lines = source.code().filter(|(_, line)| float(line));
            offences.extend(lines.map(|(n, _)| format!("{}:{n}: a float", source.path)));
        }
    }
    forbid(offences);
}

#[test]
fn only_the_store_applies() {
    let mut offences = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        if !source.path.starts_with("src/store/") {
            let lines = source
                .code()
                .filter(|(_, line)| line.contains("ledger.apply(") || line.contains("Ledger::apply("));
            offences
                .extend(lines.map(|(n, _)| format!("{}:{n}: only the store applies batches", source.path)));
        }
    }
    forbid(offences);
}

#[test]
fn files_and_functions_stay_short() {
    let mut offences = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > FILE_LINES {
            offences.push(format!("{}: {} lines", source.path, lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let words: Vec<&str> = trimmed.split(' ').take(4).collect();
            if words.contains(&"fn") && !trimmed.starts_with("//") && !trimmed.ends_with(';') {
                // Formatted code closes a function at the indentation where it opened.
                let close = format!("{}}}", &line[..line.len() - trimmed.len()]);
                let length = lines[start..].iter().position(|line| *line == close).map_or(1, |end| end + 1);
                if length > FUNCTION_LINES {
                    offences.push(format!("{}:{}: a function of {length} lines", source.path, start + 1));
                }
            }
        }
    }
    forbid(offences);
}

#[test]
fn every_module_says_what_it_is_for() {
    let undocumented = sources(&["src", "tests", "benches"]).into_iter();
    let undocumented = undocumented.filter(|source| !source.text.starts_with("//!"));
    forbid(undocumented.map(|source| format!("{}: opens without //!", source.path)).collect());
}

#[test]
fn there_is_no_litter() {
    // Put together here so that this file does not offend itself.
    let litter = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["X", "XX"],
        ["todo", "!("],
        ["dbg", "!("],
        ["/ro", "ot/"],
        ["/wo", "rk/"],
    ];
    let mut offences = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (n, line) in source.text.lines().enumerate() {
            if let Some(word) =
                litter.iter().map(|parts| parts.concat()).find(|word| line.contains(word.as_str()))
            {
                offences.push(format!("{}:{}: {word}", source.path, n + 1));
            }
        }
    }
    forbid(offences);
}

#[test]
fn the_documented_catalogue_is_the_real_one() {
    let documented = include_str!("../src/docs/errors.md");
    let row_of_reason = |line: &&str| {
        line.strip_prefix("| ").is_some_and(|cell| cell.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let rows: Vec<&str> = documented.lines().filter(row_of_reason).collect();
    let real: Vec<String> = Reason::ALL.iter().map(|reason| row(*reason)).collect();
    assert_eq!(rows, real);
}

fn row(reason: Reason) -> String {
    let code = tonic::Code::from_i32(reason.code() as i32);
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    let (http, exit) = (reason.http(), reason.exit() as u8);
    format!("| {} | {name} | {http} | {exit} | {} |", reason.as_str(), reason.explanation())
}
