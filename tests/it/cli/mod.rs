//! `bank-client` and `bank-server` as users run them: the real programs, on a port of their own.

mod answers;
mod completion;
mod conversation;
mod movements;
mod outcomes;
mod refusals;
mod scripts;
mod sessions;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::free_ports;

/// A server process and how to reach it.
pub(crate) struct Bank {
    pub(crate) address: String,
    server: Option<Child>,
}

/// What a client said.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bank {
    /// A server on a free port.
    pub(crate) fn start() -> Bank {
        Bank::start_at("0")
    }

    fn start_at(port: &str) -> Bank {
        Bank::start_with(port, &[])
    }

    fn start_with(port: &str, options: &[&str]) -> Bank {
        let mut server = plain_command(env!("CARGO_BIN_EXE_bank-server"))
            .args(["127.0.0.1", port, "1"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.split(' ').find(|word| word.starts_with("127.0.0.1:")).expect("an address").to_owned();
        Bank { address, server: Some(server) }
    }

    /// A server of mumbai and one of delhi that know each other, each with accounts 1001 and 1002.
    pub(crate) fn two_branches() -> [Bank; 2] {
        let [mumbai, delhi] = free_ports::<2>().map(|port| port.to_string());
        let start = |branch: &str, port: &str, other: &str, other_port: &str| {
            let route = format!("{other}=127.0.0.1:{other_port}");
            Bank::start_with(port, &["--branch", branch, "--preload", "--route", &route])
        };
        [start("mumbai", &mumbai, "delhi", &delhi), start("delhi", &delhi, "mumbai", &mumbai)]
    }

    /// An address where something else listens.
    pub(crate) fn at(address: String) -> Bank {
        Bank { address, server: None }
    }

    /// An address where nobody listens.
    pub(crate) fn nobody() -> Bank {
        // The port was free a moment ago, and the system does not give it out again at once.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Bank::at(listener.local_addr().unwrap().to_string())
    }

    /// Stops the server; whether it left in order.
    pub(crate) fn stop(&mut self) -> bool {
        let Some(mut server) = self.server.take() else { return true };
        interrupt(server.id());
        server.wait().unwrap().success()
    }

    /// Starts another server on the same port, with another ledger.
    pub(crate) fn start_again(&mut self) {
        let port = self.address.rsplit(':').next().unwrap();
        *self = Bank::start_at(port);
    }

    /// The client, told where this server is.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = plain_command(env!("CARGO_BIN_EXE_bank-client"));
        command.env("BANK_SERVER", &self.address).args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Answer {
        self.command(words).stdin(Stdio::null()).output().unwrap().into()
    }

    /// What a command prints that is done without a word of complaint.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let answer = self.run(words);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{words:?}");
        answer.out
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[&["-o", "json"], words].concat())).unwrap()
    }

    /// Runs a script from standard input.
    pub(crate) fn script(&self, words: &[&str], script: &str) -> Answer {
        let mut client = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = client.stdin.take().unwrap();
        let script = script.to_owned();
        let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
        let answer = client.wait_with_output().unwrap();
        // A client that stopped at a failing line has not read the rest.
        let _ = writer.join().unwrap();
        answer.into()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = (server.kill(), server.wait());
        }
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        Answer {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A program without anything of this process's environment that would change what it does.
fn plain_command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BANK_") || name == "NO_COLOR" || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// What Ctrl-C sends.
pub(crate) fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap().success());
}

pub(crate) fn assert_keys(object: &Value, keys: &[&str]) {
    for key in keys {
        assert!(object.get(key).is_some(), "{key} in {object}");
    }
}
