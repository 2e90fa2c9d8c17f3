//! Commands that need no server.
//!
//! Architecture invariant: pure.

use clap_complete::Shell;

use crate::model::Reason;

use super::grammar::{self, Errors, Local};
use super::sheet::{Cell, Format, Printer, Shape};
use super::views;

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a command prints that needs no server.
pub(crate) fn answer(command: &Local, format: Format) -> String {
    match command {
        Local::Errors(errors) => reasons(errors, format),
        Local::Version => {
            let row = vec![Cell::Text(VERSION.to_owned())];
            match format {
                Format::Table(_) | Format::Plain => format!("bank-client {VERSION}\n"),
                Format::Json | Format::Jsonl | Format::Csv => {
                    Printer::new(format, Shape::One, views::VERSION).rows(vec![row])
                }
            }
        }
        Local::Completions(completions) => completion_script(&mut grammar::command_line(), completions.shell),
        Local::Man => manual(),
    }
}

/// The completions of a program for a shell.
pub fn completion_script(program: &mut clap::Command, shell: Shell) -> String {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, &name, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    if shell != Shell::Bash {
        return script;
    }
    // The generator names the states of a program with a hyphen one way where it sets them and another way where it
    // reads them.
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

fn reasons(errors: &Errors, format: Format) -> String {
    let (shape, reasons) = match errors.reason {
        Some(reason) => (Shape::One, vec![reason]),
        None => (Shape::List, Reason::ALL.to_vec()),
    };
    if format.is_table() {
        return reasons.into_iter().map(paragraph).collect();
    }
    let mut printer = Printer::new(format, shape, views::ERRORS);
    let rows = printer.rows(reasons.into_iter().map(views::reason).collect());
    rows + &printer.end()
}

/// A reason for people: a table would be wider than a terminal.
fn paragraph(reason: Reason) -> String {
    format!("{} (exit {})\n    {}\n", reason.as_str(), reason.exit() as u8, reason.explanation())
}

/// The manual page: the page of the command line, then a section for each command.
fn manual() -> String {
    let mut whole = grammar::command_line();
    whole.build();
    let mut page = Vec::new();
    let page_of = clap_mangen::Man::new(whole.clone());
    page_of.render(&mut page).expect("a vector takes every byte that is written to it");
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        let mut section = Vec::new();
        let man = clap_mangen::Man::new(command.clone());
        man.render_synopsis_section(&mut section)
            .and_then(|()| man.render_description_section(&mut section))
            .expect("a vector takes every byte that is written to it");
        let section = String::from_utf8_lossy(&section).into_owned();
        let heading = format!(".SH \"{}\"", command.get_name().to_uppercase());
        page.extend_from_slice(heading.as_bytes());
        page.push(b'\n');
        page.extend(section.replace(".SH ", ".SS ").into_bytes());
    }
    String::from_utf8_lossy(&page).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar::Completions;

    #[test]
    fn every_reason_is_explained_in_every_format() {
        for format in [Format::WIDE, Format::Plain, Format::Json, Format::Jsonl, Format::Csv] {
            let text = answer(&Local::Errors(Errors { reason: None }), format);
            for reason in Reason::ALL {
                assert!(text.contains(reason.as_str()), "{reason:?} {format:?}");
            }
        }
        let one = Local::Errors(Errors { reason: Some(Reason::SameAccount) });
        assert_eq!(
            answer(&one, Format::WIDE),
            "SAME_ACCOUNT (exit 4)\n    A transfer needs two different accounts.\n"
        );
        assert_eq!(
            answer(&one, Format::Json),
            r#"{"reason":"SAME_ACCOUNT","grpc":"FAILED_PRECONDITION","http":409,"exit":4,"explanation":"A transfer needs two different accounts."}"#
                .to_owned()
                + "\n"
        );
    }

    #[test]
    fn completions_and_manual_name_every_command() {
        let script = Local::Completions(Completions { shell: clap_complete::Shell::Bash });
        for text in [answer(&script, Format::Plain), answer(&Local::Man, Format::Plain)] {
            for command in grammar::command_line().get_subcommands() {
                assert!(text.to_lowercase().contains(command.get_name()), "{}", command.get_name());
            }
        }
        assert!(answer(&Local::Man, Format::Plain).contains(".SH \"TRANSFER\""));
    }
}
