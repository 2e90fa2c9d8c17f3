//! The README, pasted: every `console` block runs and prints what it says. The tour runs against one fresh
//! server, the sections on three servers and two branches
//! in one shell that starts them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::Bank;

/// A command of the tour and what the README says it prints.
struct Step {
    command: String,
    expected: String,
}

/// Where the second section begins.
const THREE: &str = "## Three branch servers on one machine\n";

/// The text before the section on three servers, and from there on.
fn sections() -> (&'static str, &'static str) {
    include_str!("../../README.md").split_once(THREE).expect("the README has a section on three servers")
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
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

/// Where the programs are found.
fn path() -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_bank-client")).parent().unwrap();
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_tour_prints_what_the_readme_says() {
    let bank = Bank::start();
    let path = path();
    let steps = steps(sections().0);
    assert!(steps.len() > 10, "the tour has commands");
    for Step { command, expected } in steps {
        // Where the README starts its server; here any port may be the free one.
        let command = command.replace("127.0.0.1:9001", &bank.address);
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

/// One shell, as a reader has it open. What it started ends with it.
struct Shell {
    bash: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Shell {
    fn open() -> Shell {
        let folder = tempfile::tempdir().unwrap();
        let mut bash = Command::new("bash")
            .env_clear()
            .env("PATH", path())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (bash.stdin.take().unwrap(), BufReader::new(bash.stdout.take().unwrap()));
        Shell { bash, input, output, folder }
    }

    /// Runs a command and returns what it printed, without the announcements of servers in the background.
    fn run(&mut self, command: &str) -> String {
        // The file is made anew for each command; servers go on writing to the one they were started with.
        writeln!(self.input, "rm -f said; {{ {command}\n}} >said 2>&1; echo done").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "$ {command}");
        let said = fs::read_to_string(self.folder.path().join("said")).unwrap();
        // Nor that a job was killed, which bash tells when it comes to it.
        said.lines()
            .filter(|line| !line.starts_with("bank-server listening") && !line.starts_with("bash: line "))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A shell that is gone has nothing to end.
        let _ = writeln!(self.input, "kill -9 ${{pid[@]}}; exit");
        let _ = self.bash.wait();
    }
}

/// The beginning of five free ports that end in 1 to 5, none of which the system gives away by itself.
fn five_ports() -> String {
    let begin = 1_000 + std::process::id() % 1_000;
    let free = |tens: &u32| {
        (1..=5).all(|last| TcpListener::bind(("127.0.0.1", u16::try_from(tens * 10 + last).unwrap())).is_ok())
    };
    (begin..3_000).find(free).expect("free ports").to_string()
}

#[test]
fn servers_on_one_machine_do_what_the_readme_says() {
    let mut shell = Shell::open();
    let ports = five_ports();
    let steps = steps(sections().1);
    assert!(steps.len() > 10, "the section has commands");
    for Step { command, expected } in steps {
        let command = command.replace("900", &ports);
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let printed = shell.run(&command);
            if settled(&printed) == settled(&expected) {
                break;
            }
            // A server of a debug build on a busy machine may take longer to listen than a client waits for it.
            let again = printed.starts_with("UNREACHABLE") || printed.starts_with("STARTING");
            assert!(again && Instant::now() < until, "$ {command}\n{printed}");
        }
    }
}
