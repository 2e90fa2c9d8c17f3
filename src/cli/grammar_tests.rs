//! Tests of the grammar.

use super::*;

fn words(line: &str) -> Vec<std::ffi::OsString> {
    let line = format!("bank-client {line}");
    crate::cli::line::split(&line).unwrap().into_iter().map(Into::into).collect()
}

fn command_line_of(line: &str) -> CommandLine {
    parse_command_line(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn script_line_of(line: &str) -> Result<ScriptLine, clap::Error> {
    ScriptLine::try_parse_from(crate::cli::line::split(line).unwrap())
}

#[test]
fn the_grammars_are_consistent() {
    command_line().debug_assert();
    ScriptLine::command().debug_assert();
    repl_line().debug_assert();
}

#[test]
fn every_command_reads_the_same_on_the_command_line_and_on_a_script_line() {
    for line in [
        "open",
        "open 17 --name 'Ada L' --deposit 5 --overdraft 10.00",
        "accounts --limit 3",
        "account main/17",
        "deposit 1 5 --request-id a --validate-only",
        "withdraw 1 5",
        "interest 1 2.5",
        "balance 1 --consistency stale -o json",
        "transfer 1 2 5",
        "transfer mumbai/1001 delhi/1002 500.00",
        "hold 1 5 --expires 10m",
        "capture mumbai:17 2.50",
        "capture 17",
        "release 17",
        "holds 1 --limit 3",
        "hold-show 17 --consistency stale",
        "freeze 1",
        "unfreeze 1",
        "close 1",
        "reopen 1",
        "transfers --in-doubt --limit 3",
        "transfer-show mumbai:17",
        "transfer-resolve mumbai:17 --abort",
        "export --account 1 --format hledger --out x.journal",
        "audit --with delhi=a:1,b:2 --with goa=c:3",
        "statement 1 --limit 3 --as-of 42 --oldest-first",
        "statement 1 --as-of 2026-11-20T09:30:00Z",
        "watch --from 1 --account 1",
        "operation x",
        "errors",
        "errors amount_syntax",
        "version",
        "completions bash",
        "man",
    ] {
        let whole = format!("{:?}", command_line_of(line).command.unwrap());
        let script = format!("{:?}", script_line_of(line).unwrap().command);
        assert_eq!(whole, script, "{line}");
    }
}

#[test]
fn what_looks_like_a_negative_number_is_an_amount_and_not_a_flag() {
    for amount in ["-1", "-1.50", "+1", "1e3", "-1e3", ".5", "1.", "''", "' 1'", "NaN", "١"] {
        let line = script_line_of(&format!("deposit 1 {amount}")).unwrap();
        let Command::Write(Write::Deposit(payment)) = line.command else { panic!("{amount}") };
        assert_eq!(payment.amount, amount.trim_matches('\''), "{amount}");
    }
    assert!(matches!(script_line_of("open --deposit -5").unwrap().command, Command::Write(Write::Open(open))
        if open.deposit.as_deref() == Some("-5")));
    assert!(matches!(script_line_of("balance -1").unwrap().command, Command::Look(Look::Balance(one))
        if one.account == "-1"));
    assert!(script_line_of("open --deposit ''").is_err());
}

#[test]
fn options_go_before_and_after_the_command() {
    let before = command_line_of("--server a:1,b:2 --session s -o json --timeout 500ms deposit 1 5");
    let after = command_line_of("deposit 1 5 --server a:1 --server b:2 --session s -o json --timeout 500ms");
    for line in [before, after] {
        assert_eq!(line.process.server, ["a:1", "b:2"]);
        assert_eq!(line.process.session, Some("s".into()));
        assert_eq!(line.call.format(), Some(Output::Json));
        assert_eq!(line.call.timeout, Some(Duration::from_millis(500)));
    }
    let line = script_line_of("deposit 1 5 -o csv --timeout 2m").unwrap();
    assert_eq!((line.call.format(), line.call.timeout), (Some(Output::Csv), Some(Duration::from_secs(120))));
}

#[test]
fn the_output_of_a_diagram_is_a_file() {
    for words in ["-o json diagram dir -o run.svg", "diagram dir --output run.svg --format svg"] {
        let line = command_line_of(words);
        assert_eq!(line.call.format(), None);
        let Some(Command::Scenario(Scenario::Diagram(diagram))) = line.command else { panic!("{words}") };
        assert_eq!((diagram.folder.to_str(), diagram.file().to_str()), (Some("dir"), Some("run.svg")));
    }
    assert!(script_line_of("diagram dir").is_err());
    assert!(script_line_of("diagram dir -o run.svg").is_ok());
    assert!(script_line_of("check-trace dir -o run.svg").is_err());
}

#[test]
fn a_run_has_files_and_servers_in_order() {
    let line = command_line_of("run a.json b.json --connect a:1,b:2 --connect c:3 --seed 7 --format P2OLD");
    let Some(Command::Scenario(Scenario::Run(run))) = line.command else { panic!() };
    assert_eq!(run.files, [PathBuf::from("a.json"), PathBuf::from("b.json")]);
    assert_eq!((run.connect, run.seed), (["a:1", "b:2", "c:3"].map(str::to_owned).to_vec(), Some(7)));
    assert_eq!((run.format.tag(), run.out), (Some("p2old"), PathBuf::from(".")));
    assert!(script_line_of("run").is_err());
    assert!(script_line_of("run a.json --format p4").is_err());
}

#[test]
fn unknown_words_are_refused_with_a_suggestion() {
    let unknown = script_line_of("depost 1 5").unwrap_err().to_string();
    assert!(unknown.contains("'deposit'"), "{unknown}");
    let flag = script_line_of("open --depsit 5").unwrap_err().to_string();
    assert!(flag.contains("'--deposit'"), "{flag}");
    let reason = script_line_of("errors AMOUNT_SINTAX").unwrap_err().to_string();
    assert!(reason.contains("AMOUNT_SYNTAX"), "{reason}");
    for line in [
        "transfer-resolve 17",
        "replica",
        "replica add 0 a:1",
        "exit",
        "session",
        "deposit",
        "deposit 1",
        "deposit 1 2 3",
    ] {
        assert_eq!(script_line_of(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for line in [
        "balance 1 --timeout 0s",
        "balance 1 --timeout 5",
        "balance 1 --timeout 2h",
        "balance 1 --consistency fresh",
        "statement 1 --as-of 0",
        "statement 1 --as-of yesterday",
        "statement 1 --as-of ''",
        "statement 1 --limit -1",
        "watch --from 0",
        "hold 1 5 --expires 0s",
        "hold 1 5 --expires 8785h",
        "hold 1 5 --expires soon",
        "export --format xml",
        "audit --with delhi",
        "audit --with Delhi=a:1",
        "audit --with delhi=",
        "watch on --from 1",
        "completions dos",
    ] {
        assert_eq!(script_line_of(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn the_conversation_knows_more_words() {
    for line in ["exit", "quit", "session", "watch on", "deposit 1 5 -o json"] {
        assert!(ReplLine::try_parse_from(crate::cli::line::split(line).unwrap()).is_ok(), "{line}");
    }
}
