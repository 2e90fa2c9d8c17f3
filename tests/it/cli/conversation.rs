//! The conversation, through a real pseudo-terminal.

use rexpect::ReadUntil;
use rexpect::session::PtySession;

use super::Bank;

/// How long a test waits for what must appear.
const PATIENCE_MS: u64 = 20_000;

/// A conversation, and the directory where it keeps its history.
struct Conversation {
    terminal: PtySession,
    /// Everything seen so far.
    seen: String,
    state: tempfile::TempDir,
}

impl Conversation {
    fn start(bank: &Bank) -> Conversation {
        Conversation::start_with(bank, &[])
    }

    fn start_with(bank: &Bank, words: &[&str]) -> Conversation {
        Conversation::start_in(bank, words, tempfile::tempdir().unwrap())
    }

    fn start_in(bank: &Bank, words: &[&str], state: tempfile::TempDir) -> Conversation {
        let mut command = bank.command(words);
        command.env("TERM", "xterm").env("XDG_STATE_HOME", state.path());
        let terminal = rexpect::session::spawn_command(command, Some(PATIENCE_MS)).unwrap();
        Conversation { terminal, seen: String::new(), state }
    }

    /// Waits for a text; what came before it is taken too.
    fn sees(&mut self, text: &str) -> String {
        let before = self.terminal.exp_string(text);
        let before = before.unwrap_or_else(|error| panic!("waiting for {text:?}: {error}"));
        self.seen.extend([before.as_str(), text]);
        before
    }

    /// Waits for a new prompt. Every redrawn line shows it too, but only a new one turns pasting on.
    fn is_asked(&mut self) {
        self.sees("\u{1b}[?2004h");
        self.sees("bank main> ");
    }

    /// Waits for several texts that may come in any order.
    fn sees_all(&mut self, texts: &[&str]) {
        let mut missing: Vec<&str> = texts.to_vec();
        while !missing.is_empty() {
            let needles = missing.iter().map(|text| ReadUntil::String((*text).to_owned())).collect();
            let found = self.terminal.exp_any(needles);
            let (_, found) = found.unwrap_or_else(|error| panic!("waiting for {missing:?}: {error}"));
            missing.retain(|text| *text != found);
        }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.send(keys).unwrap();
        self.terminal.flush().unwrap();
    }

    /// Enters a line at the prompt.
    fn enters(&mut self, line: &str) {
        self.types(&format!("{line}\r"));
    }

    /// Leaves with Ctrl-D; everything that was to be seen.
    fn leaves(mut self) -> String {
        self.types("\u{4}");
        let rest = self.terminal.exp_eof().unwrap();
        let status = self.terminal.process().wait().unwrap();
        assert!(matches!(status, rexpect::process::WaitStatus::Exited(_, 0)), "{status:?}");
        self.seen + &rest
    }
}

#[test]
fn commands_are_typed_and_answered() {
    let bank = Bank::start();
    let mut talk = Conversation::start(&bank);
    talk.sees("branch main at 127.0.0.1:");
    talk.is_asked();
    talk.enters("open --name 'Ada L' --deposit 5");
    talk.sees("main/1");
    talk.sees("5.00");
    talk.is_asked();
    talk.enters("withdraw 1 6");
    talk.sees("INSUFFICIENT_FUNDS");
    talk.is_asked();
    talk.enters("balance 1 -o plain");
    talk.sees("main/1\t5.00\t0.00\t5.00\tSESSION\t");
    talk.is_asked();
    talk.enters("help");
    talk.sees("Move money from one account to another");
    talk.is_asked();
    talk.enters("session -o json");
    talk.sees("\"sessionToken\":\"");
    talk.is_asked();
    talk.enters("quit");
    talk.terminal.exp_eof().unwrap();
}

#[test]
fn unknown_words_get_a_suggestion_and_are_never_executed() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.enters("depost 1 5");
    talk.sees("'deposit'");
    talk.is_asked();
    talk.leaves();
    assert_eq!(bank.json(&["balance", "1"])["balance"], "0.00");
}

#[test]
fn the_tab_key_completes_commands_flags_and_accounts() {
    let bank = Bank::start();
    bank.json(&["open", "4711"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.types("dep\t");
    talk.sees("deposit");
    // What is missing is shown behind the cursor.
    talk.sees("<ACCOUNT> <AMOUNT>");
    talk.types("47\t");
    talk.sees("4711");
    talk.types("5 --req\t");
    talk.sees("--request-id");
    talk.enters("mine");
    talk.sees("main/4711");
    talk.is_asked();
    talk.leaves();
    assert_eq!(bank.json(&["operation", "mine"])["state"], "EXECUTED");
}

#[test]
fn other_clients_show_up_above_the_line_being_typed_and_own_operations_do_not() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.enters("watch on");
    talk.sees("watch is on");
    talk.is_asked();
    talk.enters("deposit 1 1.11 -o plain");
    talk.sees("main/1\t1.11");
    talk.is_asked();

    talk.types("withdraw 1 0.1");
    talk.sees(".1");
    bank.json(&["deposit", "1", "2.22"]);
    talk.sees("[3] deposit 2.22 to main/1, balance 3.33");
    // The line is still there, and goes on.
    talk.sees("withdraw 1 0.1");
    talk.enters("1 -o plain");
    talk.sees("main/1\t3.22");
    talk.is_asked();

    talk.enters("watch off");
    talk.sees("watch is off");
    talk.is_asked();
    bank.json(&["deposit", "1", "4.44"]);
    talk.enters("balance 1 -o plain");
    let before = talk.sees("main/1\t7.66");
    assert!(!before.contains("4.44"), "{before}");
    talk.is_asked();
    let seen = talk.leaves();
    assert!(!seen.contains("[2] ") && !seen.contains("[4] "), "{seen}");
}

#[test]
fn a_busy_bank_does_not_flood_the_terminal() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.enters("watch on");
    talk.sees("watch is on");
    assert_eq!(bank.script(&[], &"deposit 1 0.01\n".repeat(500)).code, 0);
    talk.sees("more operation");
    // The line being typed is drawn again below.
    talk.sees("bank main> ");
    let seen = talk.leaves();
    assert!(seen.matches("deposit 0.01 to main/1").count() < 400, "{seen}");
}

#[test]
fn two_conversations_see_each_other() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let (mut ada, mut bob) = (Conversation::start(&bank), Conversation::start(&bank));
    for talk in [&mut ada, &mut bob] {
        talk.is_asked();
        talk.enters("watch on");
        talk.sees("watch is on");
        talk.is_asked();
    }
    ada.enters("deposit 1 1");
    bob.sees("[2] deposit 1.00 to main/1, balance 1.00");
    bob.enters("deposit 1 2");
    ada.sees("[3] deposit 2.00 to main/1, balance 3.00");
    let seen = ada.leaves();
    assert!(!seen.contains("[2] "), "{seen}");
    bob.leaves();
}

#[test]
fn ctrl_c_drops_the_line_or_the_running_command_and_ctrl_d_leaves() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.types("deposit 1 5");
    talk.sees("deposit 1 5");
    talk.types("\u{3}");
    talk.is_asked();
    talk.enters("watch");
    bank.json(&["deposit", "1", "7"]);
    // Whether the feed began before or after that deposit, the next one shows.
    talk.sees("\r\n");
    talk.types("\u{3}");
    talk.is_asked();
    talk.enters("balance 1 -o plain");
    talk.sees("main/1\t7.00");
    talk.is_asked();
    talk.leaves();
}

#[test]
fn an_interrupted_write_says_how_to_repeat_it() {
    // Takes the connection and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bank = Bank::at(silent.local_addr().unwrap().to_string());
    let mut talk = Conversation::start(&bank);
    let connection = silent.accept().unwrap();
    talk.types("\u{3}");
    talk.sees("bank> ");
    talk.enters("deposit 1 5 --request-id mine --timeout 1m");
    talk.sees("\r\n");
    talk.types("\u{3}");
    talk.sees("OUTCOME_UNKNOWN");
    talk.sees("--request-id mine\r\n");
    talk.sees("> ");
    talk.leaves();
    drop(connection);
}

#[test]
fn a_session_file_of_another_ledger_is_told_of_at_once() {
    let (first, second) = (Bank::start(), Bank::start());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("session");
    let session = ["--session", file.to_str().unwrap()];
    first.done(&[session.as_slice(), &["open"]].concat());
    let mut talk = Conversation::start_with(&second, &session);
    talk.sees("this is not the ledger of your session");
    talk.is_asked();
    talk.enters("open -o plain");
    talk.sees("main/1\t0.00");
    talk.is_asked();
    talk.leaves();
    second.done(&[session.as_slice(), &["balance", "1"]].concat());
}

#[test]
fn a_conversation_survives_a_restart_of_the_server() {
    let mut bank = Bank::start();
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.enters("open --deposit 5");
    talk.sees("main/1");
    talk.is_asked();

    assert!(bank.stop());
    talk.enters("balance 1");
    talk.sees("UNREACHABLE");
    talk.sees(&format!("bank ({} unreachable)> ", bank.address));

    bank.start_again();
    talk.enters("");
    talk.is_asked();
    talk.enters("deposit 1 7");
    talk.sees("this is not the ledger of your session");
    talk.sees("not executed");
    talk.is_asked();
    talk.enters("open -o plain");
    let before = talk.sees("main/1\t0.00\t1");
    assert!(!before.contains("not the ledger"), "{before}");
    talk.is_asked();
    talk.leaves();
    assert_eq!(bank.json(&["balance", "1"])["balance"], "0.00");
}

#[test]
fn the_live_feed_survives_a_restart_of_the_server() {
    let mut bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.enters("watch on");
    talk.sees("watch is on");
    talk.is_asked();
    assert!(bank.stop());
    talk.sees("still trying");
    bank.start_again();
    // A read is repeated in the new session, after the user was told.
    talk.enters("accounts -o json");
    talk.sees("this is not the ledger of your session");
    talk.sees_all(&["[]", "watch: connected again"]);
    bank.json(&["open"]);
    talk.sees("[1] open main/1, balance 0.00");
    talk.leaves();
}

#[test]
fn a_conversation_begins_without_a_server_and_finds_it_later() {
    let mut bank = Bank::start();
    assert!(bank.stop());
    let mut talk = Conversation::start(&bank);
    talk.sees("UNREACHABLE");
    talk.sees("unreachable)> ");
    bank.start_again();
    talk.enters("open -o plain");
    talk.sees("main/1\t0.00");
    talk.is_asked();
    talk.leaves();
}

#[test]
fn lines_are_remembered_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let bank = Bank::start();
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.enters("open --name Ada");
    talk.is_asked();
    talk.types("\u{4}");
    talk.terminal.exp_eof().unwrap();

    let Conversation { state, .. } = talk;
    let file = state.path().join("bank/history");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut again = Conversation::start_in(&bank, &[], state);
    again.is_asked();
    again.types("\u{1b}[A");
    again.sees("open --name Ada");
    again.types("\u{3}");
    again.is_asked();
    again.leaves();
}

#[test]
fn without_colours_no_message_has_any() {
    let bank = Bank::start();
    let mut talk = Conversation::start_with(&bank, &["--color", "never"]);
    talk.is_asked();
    talk.enters("balance 9");
    let before = talk.sees("ACCOUNT_NOT_FOUND: ");
    assert!(!before.contains("\u{1b}[1;31m"), "{before:?}");
    talk.is_asked();
    talk.leaves();
}

#[test]
fn lines_typed_ahead_are_all_executed_in_order() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    // More than the editor reads at once, and the rest comes while the first lines are executed.
    let lines: String = (0..60).map(|n| format!("deposit 1 0.01 --request-id ahead-{n}\r")).collect();
    talk.types(&lines);
    talk.types("withdraw 1 0.60 -o plain\rbalance 1 -o json\r");
    talk.sees("main/1\t0.00");
    talk.sees("\"balance\":\"0.00\"");
    talk.leaves();
    assert_eq!(bank.json(&["balance", "1"])["sequence"], 62);
}

#[test]
fn every_line_of_a_paste_is_executed() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut talk = Conversation::start(&bank);
    talk.is_asked();
    talk.types("\u{1b}[200~deposit 1 5\ndepost 1 7\n\nwithdraw 1 2 -o plain\n# the end\u{1b}[201~");
    talk.sees("the end");
    talk.types("\r");
    talk.sees("'deposit'");
    talk.sees("main/1\t3.00");
    talk.is_asked();
    // Each is remembered as a line of its own.
    talk.types("\u{1b}[A\u{1b}[A");
    talk.sees("withdraw 1 2");
    talk.types("\u{3}");
    talk.is_asked();
    talk.leaves();
    assert_eq!(bank.json(&["balance", "1"])["balance"], "3.00");
}

#[test]
fn a_dumb_terminal_gets_neither_colours_nor_tricks() {
    let bank = Bank::start();
    let mut command = bank.command(&[]);
    let state = tempfile::tempdir().unwrap();
    command.env("TERM", "dumb").env("XDG_STATE_HOME", state.path());
    let terminal = rexpect::session::spawn_command(command, Some(PATIENCE_MS)).unwrap();
    let mut talk = Conversation { terminal, seen: String::new(), state };
    talk.sees("bank main> ");
    talk.types("open --deposit 5\n");
    talk.sees("5.00");
    talk.sees("bank main> ");
    talk.types("withdraw 1 6\n");
    talk.sees("INSUFFICIENT_FUNDS: ");
    talk.sees("bank main> ");
    let seen = talk.leaves();
    assert!(!seen.contains('\u{1b}'), "{seen:?}");
}
