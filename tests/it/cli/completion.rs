//! Completions, by completing in the shells themselves. A shell that is not installed is named and left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::plain_command;

/// The programs with a line that is being typed, and a word that must be offered for its end.
const TYPED: [(&str, &str, &str); 6] = [
    ("bank-client", "bank-client dep", "deposit"),
    ("bank-client", "bank-client deposit 1 --reque", "--request-id"),
    ("bank-client", "bank-client transfer-show --consist", "--consistency"),
    ("bank-client", "bank-client replica prom", "promote"),
    ("bank-server", "bank-server ver", "verify"),
    ("bank-server", "bank-server demo --oth", "--other"),
];

fn is_installed(shell: &str) -> bool {
    let found = Command::new(shell).arg("-c").arg("true").stdin(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: {shell} is not installed, so its completions are not tried");
    }
    found
}

/// Writes the completions of a program and returns where they are.
fn script(folder: &Path, program: &str, shell: &str) -> PathBuf {
    let path = match program {
        "bank-client" => env!("CARGO_BIN_EXE_bank-client"),
        _ => env!("CARGO_BIN_EXE_bank-server"),
    };
    let output = plain_command(path).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{program} {shell}");
    let file = folder.join(format!("{program}.{shell}"));
    std::fs::write(&file, output.stdout).unwrap();
    file
}

fn output(command: &mut Command) -> String {
    String::from_utf8(command.stdin(Stdio::null()).output().unwrap().stdout).unwrap()
}

#[test]
fn bash_completes() {
    if !is_installed("bash") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (program, typed, expected) in TYPED {
        let script = script(folder.path(), program, "bash");
        let words = r#"
            source "$1"; read -ra COMP_WORDS <<<"$2"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            registered=$(complete -p "${COMP_WORDS[0]}"); [[ $registered =~ -F\ ([^ ]+) ]]
            "${BASH_REMATCH[1]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            printf '%s\n' "${COMPREPLY[@]}"
        "#;
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "-c", words, "bash"]).arg(script).arg(typed);
        let offered = output(&mut bash);
        assert!(offered.lines().any(|word| word == expected), "{typed:?}: {offered:?}");
    }
}

#[test]
fn fish_completes() {
    if !is_installed("fish") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (program, typed, expected) in TYPED {
        let script = script(folder.path(), program, "fish");
        let mut fish = Command::new("fish");
        fish.env("HOME", folder.path()).args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]);
        let offered = output(fish.arg(script).arg(typed));
        let word = |line: &str| line.split('\t').next().unwrap_or_default() == expected;
        assert!(offered.lines().any(word), "{typed:?}: {offered:?}");
    }
}

#[test]
fn zsh_completes() {
    if !is_installed("zsh") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (program, typed, expected) in TYPED {
        let script = script(folder.path(), program, "zsh");
        let mut zsh = plain_command("zsh");
        zsh.args(["-f", "-i"]).current_dir(folder.path()).env("TERM", "xterm").env("HOME", folder.path());
        let mut terminal = rexpect::session::spawn_command(zsh, Some(20_000)).unwrap();
        let load =
            format!("autoload -Uz compinit; compinit -u -D; source {}; print loa''ded", script.display());
        // An interactive shell stays when it is asked to end.
        terminal.process_mut().set_kill_timeout(Some(100));
        terminal.send_line(&load).unwrap();
        terminal.exp_string("loaded").unwrap();
        // The next prompt turns pasting on; before it a tab would be text.
        terminal.exp_string("\u{1b}[?2004h").unwrap();
        terminal.send(typed).unwrap();
        terminal.flush().unwrap();
        // The line editor draws the first key by itself.
        terminal.exp_string(&typed[1..]).unwrap();
        terminal.send("\t").unwrap();
        terminal.flush().unwrap();
        // It writes only what is added to the word.
        let added = expected.strip_prefix(typed.rsplit(' ').next().unwrap()).unwrap();
        terminal.exp_string(added).unwrap_or_else(|error| panic!("{typed:?}: {error}"));
    }
}
