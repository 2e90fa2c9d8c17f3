//! The session file: a session that goes on in the next process.
//!
//! Invariant: the file is whole at every moment (written beside it, then renamed) and readable for its
//! owner only. Processes that share it lose nothing of each other's: what the file has seen is merged in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::model::Session;

/// Largest file that can be a session.
const FILE_BYTES: u64 = 64 * 1024;

/// A session on disk.
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
        let directory = self.directory();
        let lock = File::open(directory).and_then(|directory| directory.lock().map(|()| directory));
        let lock = lock.map_err(|error| self.unwritable(&error))?;
        let mut session = Session::parse(&read(&self.path)?).unwrap_or_default();
        session.merge(&Session::parse(token).map_err(|error| error.to_string())?);
        self.replace(&session.token()).map_err(|error| self.unwritable(&error))?;
        drop(lock);
        token.clone_into(&mut self.saved);
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn replace(&self, token: &str) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = self.directory().join(name);
        // A file of that name is from a process that died before its rename.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let written = writeln!(file, "{token}").and_then(|()| file.sync_all());
        written.and_then(|()| fs::rename(&beside, &self.path)).inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
    }

    fn unwritable(&self, error: &io::Error) -> String {
        format!("the session file {} cannot be written: {error}", self.path.display())
    }
}

fn read(path: &Path) -> Result<String, String> {
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
