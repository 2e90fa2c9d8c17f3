//! Scripts: the same commands, one on each line.
//!
//! Invariant: lines are read one at a time, so that a program on the other side of a pipe can wait for
//! each answer; a script stops at its first failing line unless it was asked to go on.

use std::io::{BufRead, Read as _};

use clap::Parser as _;
use tokio::runtime::Runtime;

use crate::model::{Exit, Failure, Reason};

use super::grammar::{CallOptions, ScriptLine};
use super::line::{LINE_BYTES, split};
use super::problem::Problem;
use super::run::Runner;

/// How a script is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Whether failures name their line.
    pub(crate) numbered: bool,
    /// Whether to go on after a failing line.
    pub(crate) keep_going: bool,
}

/// Runs a script to its end, or to its first failing line.
pub(crate) fn run(runtime: &Runtime, runner: &mut Runner, script: impl BufRead, manner: Manner) -> Exit {
    let mut script = script;
    let mut worst = Exit::Done;
    for number in 1.. {
        let (call, outcome) = match next_line(&mut script) {
            Ok(None) => break,
            Ok(Some(text)) => match parse(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
                Ok(None) => continue,
                Ok(Some(line)) => {
                    let outcome = runtime.block_on(runner.run(&line.command, &line.call));
                    (line.call, outcome)
                }
                Err(problem) => (CallOptions::default(), Err(problem)),
            },
            Err(problem) => (CallOptions::default(), Err(problem)),
        };
        let Err(problem) = outcome else { continue };
        let said = runner.screen.problem(&problem, runner.format(&call), manner.numbered.then_some(number));
        let unreadable = matches!(problem, Problem::Files(_) | Problem::Closed) || said.is_err();
        if problem.exit() as u8 > worst as u8 {
            worst = problem.exit();
        }
        if unreadable || (problem.exit() != Exit::Done && !manner.keep_going) {
            break;
        }
    }
    worst
}

/// Parses one line; a blank line or a comment is nothing.
fn parse(text: &str) -> Result<Option<ScriptLine>, Problem> {
    let words = split(text).map_err(|error| Failure::new(Reason::ArgumentInvalid, error.to_string()))?;
    if words.is_empty() {
        return Ok(None);
    }
    Ok(Some(ScriptLine::try_parse_from(words)?))
}

/// The next line without its end; `None` at the end of the script.
fn next_line(script: &mut impl BufRead) -> Result<Option<String>, Problem> {
    let mut bytes = Vec::new();
    let limit = LINE_BYTES as u64 + 1;
    let read = script.by_ref().take(limit).read_until(b'\n', &mut bytes);
    match read {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(Problem::Files(format!("the script cannot be read: {error}"))),
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > LINE_BYTES {
        return Err(Problem::Files(format!("a line of the script is longer than {LINE_BYTES} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(line) => Ok(Some(line)),
        Err(_) => Err(Failure::new(Reason::ArgumentInvalid, "the line is not UTF-8 text").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut script: &[u8]) -> Vec<Result<String, Exit>> {
        std::iter::from_fn(|| next_line(&mut script).map_err(|problem| problem.exit()).transpose())
            .take(9)
            .collect()
    }

    #[test]
    fn lines_end_with_a_line_feed_or_the_script() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [Ok(String::new())]);
        assert_eq!(lines(b"a\r\n\nb"), [Ok("a\r".to_owned()), Ok(String::new()), Ok("b".to_owned())]);
    }

    #[test]
    fn a_line_that_is_no_text_is_refused_alone_and_one_without_end_stops_the_script() {
        assert_eq!(lines(b"\xff\xfe\nb"), [Err(Exit::FixCall), Ok("b".to_owned())]);
        let longest = vec![b'a'; LINE_BYTES];
        assert_eq!(lines(&longest), [Ok("a".repeat(LINE_BYTES))]);
        let endless = vec![b'a'; LINE_BYTES + 1];
        assert!(matches!(next_line(&mut endless.as_slice()), Err(Problem::Files(_))));
    }

    #[test]
    fn blanks_and_comments_are_no_commands() {
        for text in ["", "  \r", "# deposit 1 5"] {
            assert!(parse(text).unwrap().is_none(), "{text:?}");
        }
        assert!(parse("deposit 1 5 # wages").unwrap().is_some());
        for text in ["deposit", "'", "exit"] {
            assert_eq!(parse(text).unwrap_err().exit(), Exit::FixCall, "{text:?}");
        }
    }
}
