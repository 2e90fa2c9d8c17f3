//! The screen: standard output for data, standard error for messages.

use std::io::{self, IsTerminal as _, Write as _};

use super::grammar::{Color, Output};
use super::problem::{Manner, Problem, colored};
use super::sheet::{Cell, Column, Format, Printer, Shape, json, printable};

/// How wide the terminal is; one that does not know it has no limit.
fn width() -> u16 {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if columns == 0 { u16::MAX } else { columns }
}

/// Where data and messages go, and how they look there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// What `auto` means.
    auto: Format,
    /// A table as wide as the terminal; without one there is no limit.
    table: Format,
    /// Whether messages have colours.
    pub(crate) color: bool,
    /// Whether help has colours.
    help_color: bool,
}

impl Screen {
    /// The screen of this process.
    pub(crate) fn of_process(color: Color) -> Screen {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let no_color = variable("NO_COLOR").is_some() || variable("TERM").is_some_and(|term| term == "dumb");
        let output = io::stdout().is_terminal();
        Screen {
            auto: if output { Format::Table(width()) } else { Format::Plain },
            table: Format::Table(if output { width() } else { u16::MAX }),
            color: colored(color, io::stderr().is_terminal(), no_color),
            help_color: colored(color, output, no_color),
        }
    }

    /// The format for a wish.
    pub(crate) fn format(&self, wish: Option<Output>) -> Format {
        match wish {
            None | Some(Output::Auto) => self.auto,
            Some(Output::Table) => self.table,
            Some(Output::Wide) => Format::WIDE,
            Some(Output::Plain) => Format::Plain,
            Some(Output::Json) => Format::Json,
            Some(Output::Jsonl) => Format::Jsonl,
            Some(Output::Csv) => Format::Csv,
        }
    }

    /// Prints data.
    ///
    /// # Errors
    /// [`Problem::Closed`] when nobody reads it.
    pub(crate) fn data(&self, text: &str) -> Result<(), Problem> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                Problem::Closed
            } else {
                Problem::Files(format!("standard output cannot be written: {error}"))
            }
        })
    }

    /// Whether standard output takes data, as far as that shows before there is any: a full device and a descriptor
    /// that is open for reading refuse a write of no bytes too.
    ///
    /// # Errors
    /// [`Problem::Files`] with what the system says.
    pub(crate) fn check_output(&self) -> Result<(), Problem> {
        match rustix::io::write(io::stdout(), &[]) {
            Ok(_) => Ok(()),
            Err(error) => Err(Problem::Files(format!(
                "standard output cannot be written: {error}; nothing was sent to the bank"
            ))),
        }
    }

    /// Prints one row.
    ///
    /// # Errors
    /// See [`Screen::data`].
    pub(crate) fn one(
        &self,
        format: Format,
        columns: &'static [Column],
        row: Vec<Cell>,
    ) -> Result<(), Problem> {
        self.data(&Printer::new(format, Shape::One, columns).rows(vec![row]))
    }

    /// Prints a message. When standard error is gone there is nobody to tell.
    pub(crate) fn message(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Says what the caller should know about a command that is done; the exit code does not show it.
    pub(crate) fn warning(&self, text: &str, format: Format) {
        let text = if format.is_json() {
            format!("{}\n", json(&serde_json::json!({ "warning": { "message": text } })))
        } else {
            format!("warning: {}\n", printable(text))
        };
        self.message(&text);
    }

    /// Says what went wrong; help that was asked for is data.
    ///
    /// # Errors
    /// See [`Screen::data`].
    pub(crate) fn problem(
        &self,
        problem: &Problem,
        format: Format,
        line: Option<u64>,
    ) -> Result<(), Problem> {
        match problem.asked_for(self.help_color) {
            Some(help) => self.data(&help),
            None => {
                self.message(&problem.text(Manner { json: format.is_json(), color: self.color, line }));
                Ok(())
            }
        }
    }
}
