//! The session file: a session that goes on in the next process.
//!
//! Invariant: the file is whole at every moment (written beside it, then renamed) and readable for its
//! owner only. Processes that share it lose nothing of each other's: what the file has seen is merged in.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::client::{NewFile, is_written_in_place, place_of};
use crate::model::Session;

/// Largest file that can be a session.
const FILE_BYTES: u64 = 64 * 1024;

/// A session on disk. A pipe or a device is only written to, so it holds none.
#[derive(Debug)]
pub(crate) struct SessionFile {
    path: PathBuf,
    saved: String,
}

impl SessionFile {
    /// Opens the file and returns the token in it; a file that does not exist holds none.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else; the text says what to do.
    pub(crate) fn open(path: &Path) -> Result<(SessionFile, String), String> {
        let token = read(path)?;
        Ok((SessionFile { path: path.to_owned(), saved: token.clone() }, token))
    }

    /// Keeps the token, together with what other processes have kept since.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(&mut self, token: &str) -> Result<(), String> {
        if token == self.saved {
            return Ok(());
        }
        let lock = self.lock().map_err(|error| self.unwritable(&error))?;
        let mut session = Session::parse(&read(&self.path)?).unwrap_or_default();
        session.merge(&Session::parse(token).map_err(|error| error.to_string())?);
        self.replace(&session.token()).map_err(|error| self.unwritable(&error))?;
        drop(lock);
        token.clone_into(&mut self.saved);
        Ok(())
    }

    /// Whether the file can be replaced now.
    ///
    /// # Errors
    /// When it cannot be written; nothing was sent to the bank.
    pub(crate) fn check(&self) -> Result<(), String> {
        if is_written_in_place(&self.path) {
            // A pipe may have no reader yet.
            return Ok(());
        }
        let tried = NewFile::create_private(&self.path).map(drop);
        tried.map_err(|error| format!("{}; nothing was sent to the bank", self.unwritable(&error)))
    }

    /// Keeps other processes from replacing the file meanwhile.
    fn lock(&self) -> io::Result<File> {
        let place = place_of(&self.path)?;
        let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new(".")))?;
        directory.lock()?;
        Ok(directory)
    }

    fn replace(&self, token: &str) -> io::Result<()> {
        let mut file = NewFile::create_private(&self.path)?;
        writeln!(file, "{token}")?;
        file.finish()
    }

    fn unwritable(&self, error: &io::Error) -> String {
        format!("the session file {} cannot be written: {error}", self.path.display())
    }
}

fn read(path: &Path) -> Result<String, String> {
    if is_written_in_place(path) {
        return Ok(String::new());
    }
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(format!("the session file {} cannot be read: {error}", path.display())),
        Ok(_) => {}
    }
    let token = text.trim_end();
    match Session::parse(token) {
        Ok(_) => Ok(token.to_owned()),
        Err(_) => {
            Err(format!("{} does not hold a session; remove it to start a new one there", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::{LedgerId, Sequence};

    fn token(branch: &str, sequence: u64) -> String {
        let mut session = Session::default();
        session.saw(&branch.parse().unwrap(), LedgerId([1; 16]), Sequence(sequence));
        session.token()
    }

    #[test]
    fn a_session_is_kept_for_its_owner_and_merged_with_what_others_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session");
        let (mut mine, nothing) = SessionFile::open(&path).unwrap();
        assert_eq!(nothing, "");
        let (mut other, _) = SessionFile::open(&path).unwrap();

        mine.keep(&token("main", 5)).unwrap();
        other.keep(&token("delhi", 9)).unwrap();
        mine.keep(&token("main", 4)).unwrap();

        let (_, kept) = SessionFile::open(&path).unwrap();
        let mut both = Session::parse(&token("main", 5)).unwrap();
        both.merge(&Session::parse(&token("delhi", 9)).unwrap());
        assert_eq!(kept, both.token());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_file_is_neither_taken_for_a_session_nor_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "my notes\n").unwrap();
        assert!(SessionFile::open(&path).unwrap_err().contains("does not hold a session"));
        assert!(SessionFile::open(directory.path()).unwrap_err().contains("cannot be read"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "my notes\n");
    }
}
