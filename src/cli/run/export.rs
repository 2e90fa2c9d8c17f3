//! `export`: the journal to standard output or into a file.

use std::io::{self, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Runner;
use crate::cli::grammar::{Export, ExportAs};
use crate::cli::problem::Problem;
use crate::client::{ExportFormat, NewFile, Options};

impl Runner {
    /// Exports. A file appears under its name only when it is whole.
    pub(super) async fn export(&self, wish: &Export, options: &Options) -> Result<(), Problem> {
        let format = match wish.format {
            ExportAs::Csv => ExportFormat::Csv,
            ExportAs::Jsonl => ExportFormat::Jsonl,
            ExportAs::Hledger => ExportFormat::Hledger,
        };
        let account = wish.account.as_deref().unwrap_or_default();
        let mut export = self.client.export(account, format, options).await?;
        let out = wish.out.as_deref().map(|path| (path, NewFile::create(path)));
        let mut out = match out {
            Some((path, file)) => Some((path, file.map_err(|error| unwritable(path, &error))?)),
            None => None,
        };
        let bar = bar(export.total());
        while let Some(piece) = export.next().await? {
            bar.set_position(piece.done);
            match &mut out {
                Some((path, file)) => {
                    file.write_all(piece.text.as_bytes()).map_err(|error| unwritable(path, &error))?;
                }
                None => self.screen.data(&piece.text)?,
            }
        }
        bar.finish_and_clear();
        match out {
            Some((path, file)) => file.finish().map_err(|error| unwritable(path, &error)),
            None => Ok(()),
        }
    }
}

/// A progress bar on standard error when that is a terminal; else nothing.
fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("exporting [{bar:40}] {percent:>3} % {human_pos} operations");
    bar.with_style(style.expect("the template is right").progress_chars("=> "))
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    Problem::Files(format!("the file {} cannot be written: {error}", path.display()))
}
