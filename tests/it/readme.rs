//! The README's tour, pasted: every `console` block runs against one fresh server and says what is printed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::Bank;

/// A command of the tour and what the README says it prints.
struct Step {
    command: String,
    expected: String,
}

fn tour() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in include_str!("../../README.md").lines() {
        match (inside, line.strip_prefix("$ ")) {
            (_, _) if line.starts_with("```") => inside = line == "```console",
            (true, Some(command)) => {
                steps.push(Step { command: command.to_owned(), expected: String::new() });
            }
            (true, None) => {
                let step = steps.last_mut().expect("a console block begins with a command");
                step.expected.push_str(line);
                step.expected.push('\n');
            }
            (false, _) => {}
        }
    }
    steps
}

/// The text with every time and UUID, which differ in each run, replaced by its kind.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for part in text.split_inclusive([',', '\t', ' ', '\n']) {
        let word = part.trim_end_matches([',', '\t', ' ', '\n']);
        let end = &part[word.len()..];
        let digits = |c: char| c.is_ascii_hexdigit() || matches!(c, '-' | ':' | '.' | 'T' | 'Z');
        let random = word.len() >= 20 && word.chars().all(digits);
        settled.push_str(match random {
            true if word.ends_with('Z') => "TIME",
            true => "ID",
            false => word,
        });
        settled.push_str(end);
    }
    settled
}

#[test]
fn the_tour_prints_what_the_readme_says() {
    let bank = Bank::start();
    let programs = Path::new(env!("CARGO_BIN_EXE_bank-client")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let steps = tour();
    assert!(steps.len() > 10, "the tour has commands");
    for Step { command, expected } in steps {
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .env_clear()
            .env("PATH", &path)
            .env("BANK_SERVER", &bank.address)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(settled(&printed), settled(&expected), "$ {command}");
    }
}
