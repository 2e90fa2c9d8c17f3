//! Problems: everything that keeps a command from being done, what is said about it and the exit code.

use clap::error::ErrorKind;

use crate::model::{Exit, Failure, Reason};

use super::grammar::Color;
use super::sheet::{json, printable};

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The line is not in the grammar, or asks for help.
    Usage(Box<clap::Error>),
    /// The bank refuses or cannot answer.
    Failure(Box<Failure>),
    /// Nobody reads what we print, as with `| head`. Not worth a word.
    Closed,
    /// A file or the terminal cannot be read or written.
    Files(String),
    /// Ctrl-C, and the request id of the write that was under way.
    Interrupted(Option<String>),
    /// The data that was printed says it, as a benchmark does whose books do not balance.
    Told(Exit),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        Problem::Failure(Box::new(failure))
    }
}

impl From<clap::Error> for Problem {
    fn from(error: clap::Error) -> Problem {
        Problem::Usage(Box::new(error))
    }
}

/// How to say it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// As a JSON object.
    pub(crate) json: bool,
    /// With colours.
    pub(crate) color: bool,
    /// The number of the script's line.
    pub(crate) line: Option<u64>,
}

#[derive(serde::Serialize)]
struct ErrorObject<'a> {
    error: ErrorBody<'a>,
}

#[derive(serde::Serialize)]
struct ErrorBody<'a> {
    reason: &'a str,
    message: &'a str,
    metadata: &'a std::collections::BTreeMap<String, String>,
    /// Whether this is the first answer to the request id again, with the numbers of then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl Problem {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Problem::Usage(error) if error.use_stderr() => Exit::FixCall,
            Problem::Usage(_) | Problem::Closed => Exit::Done,
            Problem::Failure(failure) => failure.reason.exit(),
            Problem::Files(_) => Exit::FixCall,
            Problem::Interrupted(_) => Exit::Interrupted,
            Problem::Told(exit) => *exit,
        }
    }

    /// Help or version that the user asked for: data, not a problem.
    pub(crate) fn asked_for(&self, color: bool) -> Option<String> {
        match self {
            Problem::Usage(error) if !error.use_stderr() => Some(rendered(error, color)),
            Problem::Usage(_)
            | Problem::Failure(_)
            | Problem::Closed
            | Problem::Files(_)
            | Problem::Interrupted(_)
            | Problem::Told(_) => None,
        }
    }

    /// What to print on standard error, with its line end; empty when there is nothing to say.
    pub(crate) fn text(&self, manner: Manner) -> String {
        if manner.json {
            return self.as_failure().map_or_else(String::new, |failure| object(&failure, manner.line));
        }
        let place = manner.line.map_or_else(String::new, |line| format!("line {line}: "));
        match self {
            Problem::Closed | Problem::Told(_) => String::new(),
            Problem::Usage(error) => format!("{place}{}", rendered(error, manner.color)),
            Problem::Files(_) | Problem::Failure(_) | Problem::Interrupted(_) => {
                let failure = self.as_failure();
                failure.map_or_else(String::new, |failure| sentence(&failure, &place, manner.color))
            }
        }
    }

    fn as_failure(&self) -> Option<Failure> {
        match self {
            Problem::Closed | Problem::Told(_) => None,
            Problem::Failure(failure) => Some((**failure).clone()),
            Problem::Usage(error) => Some(Failure::new(Reason::ArgumentInvalid, summary(error))),
            Problem::Files(message) => Some(Failure::new(Reason::ArgumentInvalid, message)),
            Problem::Interrupted(Some(request_id)) => Some(interrupted(request_id)),
            // Nothing was being changed, and whoever pressed Ctrl-C knows it.
            Problem::Interrupted(None) => None,
        }
    }
}

/// Follows a refusal that a repeated request gets again.
const REPLAYED: &str =
    " (replayed: the first answer to this request id, with the numbers of that time; nothing was done now)";

fn interrupted(id: &str) -> Failure {
    let message = format!(
        "interrupted before the outcome of {id} was known; repeat with this request id, which is safe, or look with `operation {id}`"
    );
    Failure::new(Reason::OutcomeUnknown, message).with("request_id", id)
}

/// `REASON: message`, and how to repeat a write whose outcome is unknown.
fn sentence(failure: &Failure, place: &str, color: bool) -> String {
    let (bold, plain) = if color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let reason = failure.reason.as_str();
    let again = if failure.is_replayed() { REPLAYED } else { "" };
    let mut text = format!("{place}{bold}{reason}{plain}: {}{again}\n", printable(&failure.message));
    if failure.reason.exit() == Exit::Unknown
        && let Some(id) = failure.metadata.get("request_id")
    {
        text.push_str(&format!("to repeat it safely, add: --request-id {}\n", printable(id)));
    }
    text
}

fn object(failure: &Failure, line: Option<u64>) -> String {
    let error = ErrorBody {
        reason: failure.reason.as_str(),
        message: &failure.message,
        metadata: &failure.metadata,
        replayed: failure.is_replayed(),
        line,
    };
    format!("{}\n", json(&ErrorObject { error }))
}

fn rendered(error: &clap::Error, color: bool) -> String {
    let text = error.render();
    if error.kind() == ErrorKind::InvalidSubcommand {
        // clap would go on with the usage of the whole grammar, which says less than the suggestion.
        let text = text.to_string();
        let message = text.split("Usage:").next().unwrap_or_default();
        return format!("{}\n\n`help` lists the commands\n", message.trim_end());
    }
    if color { text.ansi().to_string() } else { text.to_string() }
}

/// The first paragraph of clap's message and its tips, in one line.
fn summary(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; `help` lists them".to_owned();
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// Whether messages have colours, from the flag, the terminal and `NO_COLOR`.
pub(crate) fn colored(wish: Color, on_terminal: bool, no_color: bool) -> bool {
    match wish {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => on_terminal && !no_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar::parse_command_line;

    fn usage(words: &[&str]) -> Problem {
        let words = std::iter::once("bank-client").chain(words.iter().copied());
        parse_command_line(words.map(Into::into)).unwrap_err().into()
    }

    #[test]
    fn a_failure_is_one_line_or_one_object() {
        let problem =
            Problem::from(Failure::new(Reason::AccountNotFound, "no \u{1b}account").with("account", 7));
        let text = |manner| problem.text(manner);
        assert_eq!(text(Manner::default()), "ACCOUNT_NOT_FOUND: no \u{fffd}account\n");
        assert_eq!(
            text(Manner { line: Some(3), ..Manner::default() }),
            "line 3: ACCOUNT_NOT_FOUND: no \u{fffd}account\n"
        );
        assert_eq!(
            text(Manner { json: true, line: Some(3), color: true }),
            r#"{"error":{"reason":"ACCOUNT_NOT_FOUND","message":"no \u001baccount","metadata":{"account":"7"},"line":3}}"#
                .to_owned()
                + "\n"
        );
        assert_eq!(problem.exit(), Exit::NotFound);
    }

    #[test]
    fn a_replayed_refusal_says_so() {
        let failure = Failure::new(Reason::InsufficientFunds, "the balance is 5.00").replayed();
        let problem = Problem::from(failure);
        assert_eq!(
            problem.text(Manner::default()),
            format!("INSUFFICIENT_FUNDS: the balance is 5.00{REPLAYED}\n")
        );
        let object = problem.text(Manner { json: true, ..Manner::default() });
        assert!(object.contains(r#""replayed":true"#), "{object}");
    }

    #[test]
    fn an_unknown_outcome_says_how_to_repeat() {
        let failure = Failure::new(Reason::OutcomeUnknown, "no answer").with("request_id", "a-1");
        assert_eq!(
            Problem::from(failure).text(Manner::default()),
            "OUTCOME_UNKNOWN: no answer\nto repeat it safely, add: --request-id a-1\n"
        );
        let interrupted = Problem::Interrupted(Some("a-2".to_owned()));
        assert!(interrupted.text(Manner::default()).ends_with("add: --request-id a-2\n"));
        assert_eq!(interrupted.exit(), Exit::Interrupted);
    }

    #[test]
    fn a_wrong_line_keeps_the_suggestion_in_one_object() {
        let problem = usage(&["depost", "1"]);
        assert_eq!(problem.exit(), Exit::FixCall);
        let object = problem.text(Manner { json: true, ..Manner::default() });
        assert!(
            object.starts_with(r#"{"error":{"reason":"ARGUMENT_INVALID","message":"unrecognized"#),
            "{object}"
        );
        assert!(object.contains("'deposit'"), "{object}");
        assert_eq!(object.lines().count(), 1);
    }

    #[test]
    fn help_is_data() {
        let problem = usage(&["help", "deposit"]);
        assert!(problem.asked_for(false).is_some_and(|text| text.contains("<AMOUNT>")));
        assert_eq!(problem.exit(), Exit::Done);
        assert!(usage(&["deposit"]).asked_for(false).is_none());
    }

    #[test]
    fn colours_follow_flag_terminal_and_environment() {
        assert!(colored(Color::Auto, true, false));
        assert!(!colored(Color::Auto, true, true));
        assert!(!colored(Color::Auto, false, false));
        assert!(colored(Color::Always, false, true));
        assert!(!colored(Color::Never, true, false));
    }
}
