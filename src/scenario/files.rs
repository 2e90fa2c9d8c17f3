//! Files of scenarios: traces are read, and what belongs together is replaced together.
//!
//! Invariant: an earlier file stays as it was until all its companions are complete.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::input::INPUT_BYTES;
use super::report::{BRANCH_OUTPUTS, CUSTOMER_OUTPUTS, EVENT_OUTPUTS};
use super::trace::TraceFiles;
use crate::model::{Failure, Reason};

/// Largest file of a trace, in bytes: four million rows of the largest course file are half of it.
const TRACE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// The trace in a folder.
#[derive(Debug)]
pub struct TraceFolder {
    customers: Vec<u8>,
    branches: Vec<u8>,
    events: Vec<u8>,
}

impl TraceFolder {
    /// Reads the three files.
    ///
    /// # Errors
    /// When one is not there, cannot be read or is too large.
    pub fn read(folder: &Path) -> Result<TraceFolder, Failure> {
        let file = |name| read_limited(&folder.join(name), TRACE_BYTES);
        Ok(TraceFolder {
            customers: file(CUSTOMER_OUTPUTS)?,
            branches: file(BRANCH_OUTPUTS)?,
            events: file(EVENT_OUTPUTS)?,
        })
    }

    /// Their contents.
    #[must_use]
    pub fn files(&self) -> TraceFiles<'_> {
        TraceFiles { customers: &self.customers, branches: &self.branches, events: &self.events }
    }
}

/// Reads a scenario file.
///
/// # Errors
/// When it cannot be read or is too large.
pub fn read_scenario(file: &Path) -> Result<Vec<u8>, Failure> {
    read_limited(file, INPUT_BYTES as u64)
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|error| refused(path, "read", &error))?;
    if bytes.len() as u64 > limit {
        let message = format!("{} has more than {limit} bytes", path.display());
        return Err(Failure::new(Reason::ArgumentInvalid, message).with("path", path.display()));
    }
    Ok(bytes)
}

fn refused(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    let message = format!("{} cannot be {what}: {error}", path.display());
    Failure::new(Reason::ArgumentInvalid, message).with("path", path.display())
}

/// Writes files into a folder, which is made if need be: first all under names of their own, then each takes
/// the place of its predecessor.
///
/// # Errors
/// When a file cannot be written; then no earlier file has been touched, unless renaming itself fails.
pub fn write_together(folder: &Path, files: &[(&str, &dyn Display)]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| refused(folder, "made", &error))?;
    let mut unfinished = Unfinished(Vec::new());
    for (name, content) in files {
        let path = folder.join(format!(".{name}.{}.unfinished", std::process::id()));
        unfinished.0.push(path.clone());
        let write = || {
            let mut file = BufWriter::new(File::create(&path)?);
            write!(file, "{content}")?;
            file.into_inner().map_err(|error| error.into_error())?.sync_all()
        };
        write().map_err(|error| refused(&path, "written", &error))?;
    }
    for ((name, _), path) in files.iter().zip(&unfinished.0) {
        let target = folder.join(name);
        fs::rename(path, &target).map_err(|error| refused(&target, "replaced", &error))?;
    }
    unfinished.0.clear();
    Ok(())
}

/// Files that are not complete yet; what is left of them is removed.
struct Unfinished(Vec<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            // It may not exist, and nobody needs it.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let content = |name: &str| fs::read_to_string(inner.join(name)).unwrap();
        write_together(&inner, &[("one", &1), ("two", &2)]).unwrap();
        assert_eq!((content("one"), content("two")), ("1".to_owned(), "2".to_owned()));
        let failure = write_together(&inner, &[("one", &3), ("no/two", &4)]).unwrap_err();
        assert!(failure.message.contains("cannot be written"), "{failure}");
        assert_eq!((content("one"), content("two")), ("1".to_owned(), "2".to_owned()));
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 2);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failure = TraceFolder::read(folder.path()).unwrap_err();
        assert!(failure.message.contains("customer_outputs.json cannot be read"), "{failure}");
    }
}
