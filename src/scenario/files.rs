//! Files of scenarios: traces are read, and what belongs together is replaced together.
//!
//! Invariant: an earlier file stays as it was until all its companions are complete.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use super::input::INPUT_BYTES;
use super::report::{BRANCH_OUTPUTS, CUSTOMER_OUTPUTS, EVENT_OUTPUTS, OUTPUT};
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
        if folder.join(OUTPUT).exists() && !folder.join(EVENT_OUTPUTS).exists() {
            let message = format!(
                "{} has the outputs of a run without clocks; `run FILE --format p2 --out DIR` writes a run with them",
                folder.display()
            );
            return Err(Failure::new(Reason::ArgumentInvalid, message).with("path", folder.display()));
        }
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

/// The name that stands for standard input.
pub const STANDARD_INPUT: &str = "-";

/// Reads a scenario file, or standard input under the name [`STANDARD_INPUT`].
///
/// # Errors
/// When it cannot be read or is too large.
pub fn read_scenario(file: &Path) -> Result<Vec<u8>, Failure> {
    let limit = INPUT_BYTES as u64;
    if file.as_os_str() == STANDARD_INPUT {
        return limited(Path::new("standard input"), limit, || Ok(std::io::stdin().lock()));
    }
    read_limited(file, limit)
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    limited(path, limit, || File::open(path))
}

fn limited<R: Read>(
    path: &Path,
    limit: u64,
    open: impl FnOnce() -> std::io::Result<R>,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = open().and_then(|source| source.take(limit + 1).read_to_end(&mut bytes));
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

/// Where the outputs of each of several scenario files go below a folder: under the name of the file, with as many of the
/// directories above it as it takes to tell it from the others.
///
/// # Errors
/// When two names mean the same file.
pub fn folders(below: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let named: Vec<PathBuf> = files.iter().map(|file| whole_path(file)).collect();
    let mut known = BTreeMap::new();
    for (name, file) in named.iter().zip(files) {
        if let Some(other) = known.insert(name, file) {
            let message =
                format!("{} and {} are the same file; name it once", other.display(), file.display());
            return Err(Failure::new(Reason::ArgumentInvalid, message));
        }
    }
    // Without their endings, unless that makes two of them the same.
    let short: Vec<PathBuf> = named.iter().map(|path| path.with_extension("")).collect();
    let is_alone = |path: &PathBuf| short.iter().filter(|other| *other == path).count() == 1;
    let chosen: Vec<&PathBuf> =
        short.iter().zip(&named).map(|(short, whole)| if is_alone(short) { short } else { whole }).collect();
    let parts: Vec<Vec<&OsStr>> = chosen.iter().map(|path| path.iter().collect()).collect();
    let folder = |own: &Vec<&OsStr>| {
        let clashes = |depth: &usize| {
            let ending = own.get(own.len() - depth..);
            parts.iter().filter(|other| other.get(other.len().saturating_sub(*depth)..) == ending).count() > 1
        };
        let depth = (1..own.len()).find(|depth| !clashes(depth)).unwrap_or(own.len());
        let ending = own.iter().skip(own.len() - depth).filter(|part| **part != "/");
        below.join(ending.collect::<PathBuf>())
    };
    Ok(parts.iter().map(folder).collect())
}

/// The path of a file without `.` and `..`, so that no output leaves its folder. The name itself may be a link.
fn whole_path(file: &Path) -> PathBuf {
    if file.as_os_str() == STANDARD_INPUT {
        return PathBuf::from("/standard-input");
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What does not exist is named when it is read; until then its name only has to be harmless.
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| {
        folder.components().filter(|part| matches!(part, Component::Normal(_))).collect()
    });
    folder.join(file.file_name().unwrap_or_default())
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
    fn each_file_has_a_folder_of_its_own_that_is_named_after_it() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["a/x", "b/x"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let table: [(&[&str], &[&str]); 6] = [
            (&["a/one.json", "b/two.json"], &["one", "two"]),
            (&["a/input.json", "b/input.json", "b/other.json"], &["a/input", "b/input", "other"]),
            (&["a/x/input.json", "b/x/input.json"], &["a/x/input", "b/x/input"]),
            (&["a/input.json", "a/input.txt"], &["input.json", "input.txt"]),
            (&["a/x/../input.json", "b/../a/x/input.json"], &["a/input", "x/input"]),
            (&["nowhere/../../one.json", "a/two.json"], &["one", "two"]),
        ];
        for (files, expected) in table {
            let files: Vec<PathBuf> = files.iter().map(|file| root.path().join(file)).collect();
            let found = folders(Path::new("out"), &files).unwrap();
            assert_eq!(found, expected.iter().map(|name| Path::new("out").join(name)).collect::<Vec<_>>());
        }
        let twice = [root.path().join("a/input.json"), root.path().join("a/x/../input.json")];
        assert!(folders(Path::new("out"), &twice).unwrap_err().message.contains("are the same file"));
        let read =
            folders(Path::new("out"), &[PathBuf::from("-"), root.path().join("a/input.json")]).unwrap();
        assert_eq!(read, [Path::new("out/standard-input"), Path::new("out/input")]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failure = TraceFolder::read(folder.path()).unwrap_err();
        assert!(failure.message.contains("customer_outputs.json cannot be read"), "{failure}");
    }
}
