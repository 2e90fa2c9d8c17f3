//! The assistant of the line editor: completion and hints.

use std::borrow::Cow;
use std::time::Duration;

use parking_lot::Mutex;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use tokio::runtime::Handle;

use crate::cli::complete::{complete, hint};
use crate::cli::grammar::repl_line;
use crate::client::{Client, Options, Page};

/// Most accounts that completion knows: one page.
const ACCOUNTS: i32 = 1_000;
/// How long the Tab key waits for the server.
const PATIENCE: Duration = Duration::from_millis(500);

/// Completes and hints. It asks the server for its accounts when the Tab key wants them.
pub(super) struct Assistant {
    grammar: clap::Command,
    runtime: Handle,
    client: Client,
    color: bool,
    /// The accounts of the last answer.
    accounts: Mutex<Vec<String>>,
}

impl Assistant {
    pub(super) fn new(runtime: Handle, client: Client, color: bool) -> Assistant {
        let mut grammar = repl_line();
        grammar.build();
        Assistant { grammar, runtime, client, color, accounts: Mutex::default() }
    }

    /// The accounts that begin with what is typed, as `17` or, once a branch is typed, `main/17`.
    fn accounts(&self, word: &str) -> Vec<String> {
        let options = Options { timeout: Some(PATIENCE), ..Options::default() };
        let page = Page { size: ACCOUNTS, token: "" };
        if let Ok(list) = self.runtime.block_on(self.client.accounts(page, &options)) {
            *self.accounts.lock() = list.accounts.into_iter().map(|account| account.account).collect();
        }
        let accounts = self.accounts.lock();
        let number = |account: &str| account.rsplit('/').next().unwrap_or_default().to_owned();
        let numbers =
            accounts.iter().map(|account| number(account)).filter(|number| number.starts_with(word));
        let whole = accounts.iter().filter(|account| !word.is_empty() && account.starts_with(word)).cloned();
        numbers.chain(whole).collect()
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Some(completion) = complete(&self.grammar, line.get(..pos).unwrap_or_default()) else {
            return Ok((pos, Vec::new()));
        };
        let mut words = completion.words;
        if let Some(word) = completion.account {
            words.extend(self.accounts(&word));
        }
        let pairs = words.into_iter().map(|word| Pair { replacement: format!("{word} "), display: word });
        Ok((completion.start, pairs.collect()))
    }
}

/// A hint that is only shown; no key takes it over.
pub(super) struct Shown(String);

impl Hint for Shown {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Shown;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Shown> {
        if pos == line.len() { hint(&self.grammar, line).map(Shown) } else { None }
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(format!("\u{1b}[2m{hint}\u{1b}[0m")) } else { Cow::Borrowed(hint) }
    }
}

impl Validator for Assistant {}

impl Helper for Assistant {}
