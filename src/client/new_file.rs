//! Files that appear whole: written beside their place, then renamed. What is no regular file is written itself.
//!
//! Invariant: a link stays a link, a pipe a pipe and a device a device; an unfinished file is removed when the writer
//! is dropped, and by [`remove_unfinished`] when the process ends otherwise.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Most links that lead from one to the next.
const MOST_LINKS: usize = 40;
/// Rights of a file whose owner alone may read it.
const PRIVATE: u32 = 0o600;
/// Rights that the system's mask reduces.
const USUAL: u32 = 0o666;

/// The unfinished files of this process.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes every unfinished file, because the process is about to end.
pub fn remove_unfinished() {
    for path in UNFINISHED.lock().iter() {
        // Nobody is left to tell.
        let _ = fs::remove_file(path);
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct NewFile {
    file: BufWriter<File>,
    /// Where it is written until it is whole, and its place; nothing for what is written in place.
    rename: Option<(PathBuf, PathBuf)>,
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// What the system says. Nothing has changed at `path` then.
    pub fn create(path: &Path) -> io::Result<NewFile> {
        NewFile::with_mode(path, USUAL)
    }

    /// Begins a file that only its owner may read.
    ///
    /// # Errors
    /// As [`NewFile::create`].
    pub fn create_private(path: &Path) -> io::Result<NewFile> {
        NewFile::with_mode(path, PRIVATE)
    }

    fn with_mode(path: &Path, mode: u32) -> io::Result<NewFile> {
        if is_written_in_place(path) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(NewFile { file: BufWriter::new(file), rename: None });
        }
        let place = place_of(path)?;
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let beside = place.with_file_name(name);
        // A file of that name is from a process that ended before its rename.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        UNFINISHED.lock().insert(beside.clone());
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside) {
            Ok(file) => Ok(NewFile { file: BufWriter::new(file), rename: Some((beside, place)) }),
            Err(error) => {
                UNFINISHED.lock().remove(&beside);
                Err(error)
            }
        }
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// What the system says. A regular file is as it was before then.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        let Some((beside, place)) = &self.rename else { return Ok(()) };
        self.file.get_ref().sync_all()?;
        if let Ok(before) = fs::metadata(place) {
            fs::set_permissions(beside, before.permissions())?;
        }
        fs::rename(beside, place)?;
        UNFINISHED.lock().remove(beside);
        self.rename = None;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.rename {
            // What is not whole is of no use to anybody.
            let _ = fs::remove_file(beside);
            UNFINISHED.lock().remove(beside);
        }
    }
}

/// Whether what stands at a path is no file that another one may take the place of, but a pipe, a device or the like.
#[must_use]
pub fn is_written_in_place(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Where the links at a path lead; the path itself when it is no link.
///
/// # Errors
/// What the system says, and when there are too many links.
pub fn place_of(path: &Path) -> io::Result<PathBuf> {
    if let Ok(place) = fs::canonicalize(path) {
        return Ok(place);
    }
    // The last link may lead to a file that does not exist yet.
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            Ok(target) => place = place.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::other("too many links lead from one to the next"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut file = NewFile::create(path)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    #[test]
    fn a_link_stays_and_its_target_changes_also_when_it_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("target", at("link")).unwrap();
        symlink(at("link"), at("second")).unwrap();
        for text in ["one", "two"] {
            write(&at("second"), text).unwrap();
            assert_eq!(fs::read_to_string(at("target")).unwrap(), text);
        }
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("target"));
        assert_eq!(fs::read_link(at("second")).unwrap(), at("link"));
        symlink("round", at("round")).unwrap();
        assert!(write(&at("round"), "x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_pipe_and_a_device_are_written_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe)
        });
        write(&pipe, "through").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "through");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

        // A device of the test's own would need more rights; a link keeps the system's one out of danger.
        let link = folder.path().join("null");
        symlink("/dev/null", &link).unwrap();
        write(&link, "nowhere").unwrap();
        assert!(fs::metadata(&link).unwrap().file_type().is_char_device());
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/dev/null"));
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_and_a_finished_one_keeps_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        write(&path, "after").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);

        let unfinished = NewFile::create_private(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        remove_unfinished();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(unfinished);
    }
}
