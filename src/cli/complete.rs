//! Completion and hints for the line being typed, read off the grammar.
//!
//! Architecture invariant: pure.

use clap::{Arg, Command};

use super::line::{Typed, typed};

/// Most flags that a hint names one by one.
const HINTED_FLAGS: usize = 4;

/// What may stand where the cursor is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// Where the word to be replaced begins, in bytes.
    pub(crate) start: usize,
    /// The words that fit what is typed.
    pub(crate) words: Vec<String>,
    /// Whether an account may stand there, and what is typed of it.
    pub(crate) account: Option<String>,
}

/// Completes the line up to the cursor. `grammar` must be built.
pub(crate) fn complete(grammar: &Command, line: &str) -> Option<Completion> {
    let Typed { before, start, word } = typed(line)?;
    let fits = |candidate: &str| candidate.to_lowercase().starts_with(&word.to_lowercase());
    let names = |commands: &Command| {
        let visible = commands.get_subcommands().filter(|command| !command.is_hide_set());
        visible.map(|command| command.get_name().to_owned()).filter(|name| fits(name)).collect()
    };
    let nothing = Completion { start, words: Vec::new(), account: None };
    let Some((name, rest)) = before.split_first() else {
        return Some(Completion { words: names(grammar), ..nothing });
    };
    if name == "help" {
        return Some(Completion {
            words: if rest.is_empty() { names(grammar) } else { Vec::new() },
            ..nothing
        });
    }
    let command = grammar.find_subcommand(name)?;
    let place = Place::after(command, rest);
    let words = match place.next(command) {
        Some(arg) if place.value_of.is_some() || !word.starts_with('-') => {
            let values = arg.get_possible_values();
            let words =
                values.iter().map(|value| value.get_name().to_owned()).filter(|name| fits(name)).collect();
            let account = takes_account(arg).then(|| word.clone());
            return Some(Completion { words, account, ..nothing });
        }
        Some(_) | None if word.starts_with('-') => {
            let flags = command.get_arguments().filter(|arg| !place.used(arg)).filter_map(Arg::get_long);
            flags.map(|flag| format!("--{flag}")).filter(|flag| fits(flag)).collect()
        }
        Some(_) | None => Vec::new(),
    };
    Some(Completion { words, ..nothing })
}

/// What is still missing behind a line: `<AMOUNT>`, `[--limit COUNT]`. `grammar` must be built.
pub(crate) fn hint(grammar: &Command, line: &str) -> Option<String> {
    let Typed { mut before, word, start } = typed(line)?;
    let after_blank = start == line.len();
    if !after_blank {
        before.push(word);
    }
    let (name, rest) = before.split_first()?;
    let command = grammar.find_subcommand(name).filter(|command| command.get_name() != "help")?;
    let place = Place::after(command, rest);
    let missing: Vec<_> = match place.value_of {
        Some(flag) => vec![format!("<{}>", value_name(flag))],
        None => {
            let positionals = command.get_positionals().skip(place.positionals).map(|arg| {
                if arg.is_required_set() {
                    format!("<{}>", value_name(arg))
                } else {
                    format!("[{}]", value_name(arg))
                }
            });
            let flags = command.get_opts().filter(|arg| !arg.is_global_set() && !place.used(arg));
            let flags = flags.filter_map(|arg| Some(format!("[--{} {}]", arg.get_long()?, value_name(arg))));
            let mut flags: Vec<_> = flags.collect();
            if flags.len() > HINTED_FLAGS {
                flags = vec!["[OPTIONS]".to_owned()];
            }
            positionals.chain(flags).collect()
        }
    };
    let missing = missing.join(" ");
    (!missing.is_empty()).then(|| if after_blank { missing } else { format!(" {missing}") })
}

/// Where the words of a command lead.
struct Place<'grammar> {
    /// How many positional arguments are given.
    positionals: usize,
    /// The flag whose value comes next.
    value_of: Option<&'grammar Arg>,
    flags: Vec<&'grammar str>,
}

impl<'grammar> Place<'grammar> {
    fn after(command: &'grammar Command, words: &[String]) -> Place<'grammar> {
        let mut place = Place { positionals: 0, value_of: None, flags: Vec::new() };
        for word in words {
            if place.value_of.take().is_some() {
                continue;
            }
            let (flag, has_value) = match word.split_once('=') {
                Some((flag, _)) => (flag, true),
                None => (word.as_str(), false),
            };
            let arg = command.get_arguments().find(|arg| {
                let long = arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
                let short =
                    arg.get_short().is_some_and(|short| flag.strip_prefix('-') == Some(&short.to_string()));
                long || short
            });
            match arg {
                Some(arg) => {
                    place.flags.push(arg.get_id().as_str());
                    place.value_of = Some(arg).filter(|arg| arg.get_action().takes_values() && !has_value);
                }
                None => place.positionals += 1,
            }
        }
        place
    }

    fn next(&self, command: &'grammar Command) -> Option<&'grammar Arg> {
        self.value_of.or_else(|| command.get_positionals().nth(self.positionals))
    }

    fn used(&self, arg: &Arg) -> bool {
        self.flags.contains(&arg.get_id().as_str())
    }
}

fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) => name.to_string(),
        Some([]) | None => arg.get_id().to_string().to_uppercase(),
    }
}

fn takes_account(arg: &Arg) -> bool {
    matches!(value_name(arg).as_str(), "ACCOUNT" | "FROM" | "TO")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar::repl_line;

    fn grammar() -> Command {
        let mut grammar = repl_line();
        grammar.build();
        grammar
    }

    fn words(line: &str) -> Vec<String> {
        complete(&grammar(), line).map_or_else(Vec::new, |completion| completion.words)
    }

    fn account(line: &str) -> Option<String> {
        complete(&grammar(), line).and_then(|completion| completion.account)
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        assert_eq!(words("dep"), ["deposit"]);
        assert_eq!(words("acc"), ["account", "accounts"]);
        assert_eq!(words("help dep"), ["deposit"]);
        assert_eq!(words("watch o"), ["on", "off"]);
        assert_eq!(words("balance 1 --cons"), ["--consistency"]);
        assert_eq!(words("balance 1 --consistency s"), ["session", "stale"]);
        assert_eq!(words("balance 1 --consistency stale --cons"), [""; 0]);
        assert_eq!(words("errors amount_s"), ["AMOUNT_SYNTAX"]);
        assert_eq!(words("depost 1"), [""; 0]);
        assert_eq!(words("deposit 1 # "), [""; 0]);
        assert_eq!(complete(&grammar(), "  deposit  1 --re").unwrap().start, 13);
    }

    #[test]
    fn accounts_are_completed_where_one_may_stand() {
        assert_eq!(account("deposit "), Some(String::new()));
        assert_eq!(account("transfer 1 ma"), Some("ma".to_owned()));
        assert_eq!(account("transfer --request-id x 1 2"), Some("2".to_owned()));
        assert_eq!(account("watch --account 1"), Some("1".to_owned()));
        for line in ["deposit 1 ", "transfer 1 2 ", "open ", "interest 1 2", "deposit -"] {
            assert_eq!(account(line), None, "{line}");
        }
    }

    #[test]
    fn hints_show_what_is_missing() {
        let hint_of = |line: &str| hint(&grammar(), line).unwrap_or_default();
        assert_eq!(hint_of("deposit"), " <ACCOUNT> <AMOUNT>");
        assert_eq!(hint_of("deposit "), "<ACCOUNT> <AMOUNT>");
        assert_eq!(hint_of("deposit 1"), " <AMOUNT>");
        assert_eq!(hint_of("deposit 1 -5"), "");
        assert_eq!(hint_of("bench "), "[OPTIONS]");
        assert_eq!(hint_of("open --name "), "<NAME>");
        assert_eq!(hint_of("open --name Ada "), "[NUMBER] [--deposit AMOUNT] [--overdraft AMOUNT]");
        for line in ["", "dep", "help ", "deposit 1 2 ", "nonsense "] {
            assert_eq!(hint_of(line), "", "{line}");
        }
    }
}
