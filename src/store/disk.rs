//! The seam between the store and the disk: files in one directory, and threads that work on them.
//!
//! Invariant: everything in `store` that touches a disk goes through [`Disk`], [`DiskFile`] and
//! [`Worker`], so that tests can put a faulty disk under it. Nothing is promised by a write: what must survive a
//! crash is flushed, the file with [`DiskFile::flush`] and its name with [`Disk::flush_folder`]. The methods of a file block;
//! code on a runtime hands them to a worker, and only the start of a replica may call them itself.
//!
//! Every error names the file.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rustix::io::Errno;

/// How many zeroes are written at a time when a file is filled.
const ZEROES: usize = 64 * 1024;

/// Rights of a directory that is made: what customers own is nobody else's business.
const FOLDER_MODE: u32 = 0o700;
/// Rights of a file that is made.
const FILE_MODE: u32 = 0o600;

/// Length of a segment of the log.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A directory of files. Names are relative to it, with `/` between a folder and a file in it.
pub trait Disk: Send + Sync + 'static {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// How long the segments of a log on it are; a log of four of them is long.
    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES
    }

    /// The names of the files (not the folders) in a folder, in order; `""` is the directory itself. A folder
    /// that does not exist is empty.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes a folder (and the directory) and its name durable; that it exists is no error.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Makes a new file. Its name counts after [`Disk::flush_folder`].
    ///
    /// # Errors
    /// When it exists or cannot be made.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and, on a disk that may be changed, writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none, or another when it cannot be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file. It may come back until [`Disk::flush_folder`].
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing the file that has it, at once and as a whole. After a
    /// crash either name may be found until [`Disk::flush_folder`].
    ///
    /// # Errors
    /// When it cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes what happened to the names in a folder durable.
    ///
    /// # Errors
    /// When the disk does not say that it did.
    fn flush_folder(&self, folder: &str) -> io::Result<()>;

    /// Keeps other processes out of the directory for as long as the returned value lives. The directory itself is locked,
    /// so nothing that is removed from it lets anybody in; so is the file of this name, if an earlier program left one.
    /// From then on a file is made only in the very directory that was locked, not in another one that took its place.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>>;

    /// A new worker that has nothing to do yet. The name is for people who look at threads.
    ///
    /// # Errors
    /// When there is no thread for it.
    fn worker(&self, name: &str) -> io::Result<Box<dyn Worker>>;
}

/// Keeps other processes out while it lives.
pub trait Lock: Send + Sync {}

/// A file.
#[allow(clippy::len_without_is_empty, reason = "nobody asks a file whether it is empty")]
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// When the disk does not tell.
    fn len(&self) -> io::Result<u64>;

    /// Fills `bytes` from the file, beginning at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before, or another when it cannot be read.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all `bytes` beginning at `offset`; the file grows if it must. Not durable before a flush.
    ///
    /// # Errors
    /// When not everything was written. What was written is unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeroes.
    ///
    /// # Errors
    /// When the disk does not do it.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes everything written durable.
    ///
    /// # Errors
    /// When the disk does not say that it did. Then nothing written since the last good flush can be
    /// trusted, also when a later flush says that all is well.
    fn flush(&self) -> io::Result<()>;
}

/// What a worker does.
pub type Job = Box<dyn FnOnce() + Send>;

/// Does jobs one after the other, in the order in which they came, away from the caller.
///
/// Dropping it waits for the jobs that it was given. It is not dropped by one of its own jobs.
pub trait Worker: Send + Sync {
    /// Takes a job; does not block.
    fn run(&self, job: Job);
}

/// Writes zeroes over `from..to`, so that the file has its blocks before they are needed and a later flush
/// of them changes nothing but their contents.
pub(super) fn fill(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeroes = [0; ZEROES];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at).unwrap_or(ZEROES).min(ZEROES);
        file.write_at(&zeroes[..most], at)?;
        at += most as u64;
    }
    Ok(())
}

/// The disk of the operating system.
pub struct RealDisk {
    directory: PathBuf,
    /// Whether anything may be changed.
    writable: bool,
    /// Which directory was locked: its device and its number there.
    locked: OnceLock<(u64, u64)>,
}

impl RealDisk {
    /// The files under `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> RealDisk {
        RealDisk { directory: directory.into(), writable: true, locked: OnceLock::new() }
    }

    /// The files under `directory`, to be looked at only: they are opened for reading, and whatever would change
    /// something is refused with [`io::ErrorKind::ReadOnlyFilesystem`].
    pub fn to_look_at(directory: impl Into<PathBuf>) -> RealDisk {
        RealDisk { directory: directory.into(), writable: false, locked: OnceLock::new() }
    }

    fn may_change(&self, name: &str) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        let what = format!("{}: is only looked at", self.path(name).display());
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, what))
    }

    /// Whether the directory is still the one that was locked.
    fn is_in_place(&self) -> io::Result<()> {
        let Some(locked) = self.locked.get() else { return Ok(()) };
        let now = fs::metadata(&self.directory).map_err(about(&self.directory))?;
        if (now.dev(), now.ino()) == *locked {
            return Ok(());
        }
        let what = format!("{}: another directory took the place of the one that was locked", self.place());
        Err(io::Error::other(what))
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.clone() } else { self.directory.join(name) }
    }
}

/// Adds to an error the file that it is about.
fn about(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    |error| io::Error::new(kind_of(&error), format!("{}: {error}", path.display()))
}

/// The kind of an error of the system. A limit of the process, of the machine or of the owner says nothing about the
/// disk: there is no room now, and there may be later.
fn kind_of(error: &io::Error) -> io::ErrorKind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::DQUOT) => io::ErrorKind::StorageFull,
        Some(_) | None => error.kind(),
    }
}

fn flush_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(about(path))
}

impl Disk for RealDisk {
    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let path = self.path(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(about(&path)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(about(&path))?;
            if !entry.file_type().map_err(about(&path))?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.may_change(folder)?;
        let path = self.path(folder);
        let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        // A relative path ends in the empty path, which is the working directory.
        missing.retain(|path| !path.as_os_str().is_empty());
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path).map_err(about(&path))?;
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            flush_directory(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.may_change(name)?;
        self.is_in_place()?;
        let path = self.path(name);
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(&path);
        Ok(Arc::new(RealFile { file: file.map_err(about(&path))?, path }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        let file = fs::File::options().read(true).write(self.writable).open(&path);
        Ok(Arc::new(RealFile { file: file.map_err(about(&path))?, path }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_change(name)?;
        let path = self.path(name);
        fs::remove_file(&path).map_err(about(&path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_change(from)?;
        let (from, to) = (self.path(from), self.path(to));
        fs::rename(&from, &to).map_err(about(&from))
    }

    fn flush_folder(&self, folder: &str) -> io::Result<()> {
        flush_directory(&self.path(folder))
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        let directory = fs::File::open(&self.directory).map_err(about(&self.directory))?;
        directory.try_lock().map_err(io::Error::from).map_err(about(&self.directory))?;
        let path = self.path(name);
        let older = match fs::File::open(&path) {
            Ok(file) => {
                file.try_lock().map_err(io::Error::from).map_err(about(&path))?;
                Some(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(about(&path)(error)),
        };
        let found = directory.metadata().map_err(about(&self.directory))?;
        self.locked.get_or_init(|| (found.dev(), found.ino()));
        Ok(Box::new(RealLock { _directory: directory, _older: older }))
    }

    fn worker(&self, name: &str) -> io::Result<Box<dyn Worker>> {
        let (jobs, taken) = mpsc::channel::<Job>();
        let work = move || taken.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Box::new(Thread { jobs: Some(jobs), thread: Some(thread) }))
    }
}

/// The operating system frees the lock when the file is closed, also when the process is killed.
struct RealLock {
    _directory: fs::File,
    _older: Option<fs::File>,
}

impl Lock for RealLock {}

struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(about(&self.path))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(about(&self.path))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(about(&self.path))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length).map_err(about(&self.path))
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data().map_err(about(&self.path))
    }
}

/// A worker that is a thread.
struct Thread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker for Thread {
    fn run(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Fails only when a job before it panicked; the job is dropped, and who waits for it learns that.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A job that panicked has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_only_looked_at_is_never_changed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path());
        disk.create_folder("sub").unwrap();
        disk.create("sub/file").unwrap().write_at(b"as it was", 0).unwrap();
        drop(disk.lock("LOCK").unwrap());

        let looked = RealDisk::to_look_at(folder.path());
        let refused = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        };
        refused(looked.create_folder("new"));
        refused(looked.create("sub/new").map(drop));
        refused(looked.remove("sub/file"));
        refused(looked.rename("sub/file", "sub/other"));
        let file = looked.open("sub/file").unwrap();
        // The system itself refuses, whatever the rights of the user.
        assert!(file.write_at(b"changed", 0).is_err());
        assert!(file.set_len(3).is_err());
        let mut bytes = [0; 9];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, looked.list("sub").unwrap()), (b"as it was", vec!["file".to_owned()]));
        // A lock keeps a server out also when it is taken without writing, and leaves nothing.
        let lock = looked.lock("LOCK").unwrap();
        assert_eq!(disk.lock("LOCK").err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(lock);
        assert_eq!(disk.list("").unwrap(), [""; 0]);
        assert_eq!(disk.list("sub").unwrap(), ["file"]);
    }

    #[test]
    fn the_directory_itself_is_locked_and_nothing_is_made_in_another_one_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("bank");
        let disk = RealDisk::new(&place);
        disk.create_folder("log").unwrap();
        fs::write(place.join("LOCK"), "").unwrap();
        let lock = disk.lock("LOCK").unwrap();
        disk.create("log/a").unwrap();
        let rights = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((rights(&place), rights(&place.join("log"))), (0o700, 0o700));
        assert_eq!(rights(&place.join("log/a")), 0o600);
        fs::remove_file(place.join("LOCK")).unwrap();
        let second = RealDisk::new(&place).lock("LOCK").err().map(|error| error.kind());
        assert_eq!(second, Some(io::ErrorKind::WouldBlock));
        fs::rename(&place, folder.path().join("moved")).unwrap();
        fs::create_dir_all(place.join("log")).unwrap();
        let error = disk.create("log/b").err().unwrap().to_string();
        assert!(error.contains("another directory took the place"), "{error}");
        drop(lock);
    }
}
