//! `export`: the journal to standard output or into a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Runner;
use crate::cli::grammar::{Export, ExportAs};
use crate::cli::problem::Problem;
use crate::client::{ExportFormat, Options};

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
        let mut file = wish.out.as_deref().map(NewFile::create).transpose()?;
        let bar = bar(export.total());
        while let Some(piece) = export.next().await? {
            bar.set_position(piece.done);
            match &mut file {
                Some(file) => file.write(&piece.text)?,
                None => self.screen.data(&piece.text)?,
            }
        }
        bar.finish_and_clear();
        file.map_or(Ok(()), NewFile::finish)
    }
}

/// A progress bar on standard error when that is a terminal; else nothing.
fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("exporting [{bar:40}] {percent:>3} % {human_pos} operations");
    bar.with_style(style.expect("the template is right").progress_chars("=> "))
}

/// A file that is written beside its place and renamed when it is whole.
struct NewFile {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl NewFile {
    fn create(path: &Path) -> Result<NewFile, Problem> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(|error| unwritable(path, &error))?;
        Ok(NewFile { path: path.to_owned(), beside, file: BufWriter::new(file), finished: false })
    }

    fn write(&mut self, text: &str) -> Result<(), Problem> {
        self.file.write_all(text.as_bytes()).map_err(|error| unwritable(&self.path, &error))
    }

    fn finish(mut self) -> Result<(), Problem> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        done.and_then(|()| fs::rename(&self.beside, &self.path))
            .map_err(|error| unwritable(&self.path, &error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.finished {
            // What is not whole is of no use to anybody.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    Problem::Files(format!("the file {} cannot be written: {error}", path.display()))
}
