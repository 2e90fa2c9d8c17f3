//! Whether a replica can go on: the first failed write, flush or change of a name on its disk is remembered.
//!
//! Invariant: after the first failure nothing is written any more, whichever part of the store noticed it, so a replica
//! whose disk failed cannot vote or acknowledge anything; `replication` waits for [`Health::failed`] and ends the replica
//! at once. A full disk is no failure. [`super::open`] puts [`Guarded`] between the store and the disk.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::disk::{Disk, DiskFile, Lock, Worker};
use crate::model::planted::{Fault, planted};

/// Whether the replica can go on.
#[derive(Default)]
pub(crate) struct Health {
    failure: OnceLock<String>,
    changed: Notify,
}

impl Health {
    /// Why nothing is written any more; none while all is well.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Returns when the replica cannot go on, with the reason.
    pub(crate) async fn failed(&self) -> &str {
        loop {
            let changed = self.changed.notified();
            if let Some(failure) = self.failure() {
                return failure;
            }
            changed.await;
        }
    }

    /// Notes why the replica must not go on.
    pub(crate) fn fail(&self, why: impl FnOnce() -> String) {
        self.failure.get_or_init(why);
        self.changed.notify_waiters();
    }

    /// Does something that changes the disk, unless an earlier change failed; notes a failure.
    fn attempt<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(failure) = self.failure() {
            return Err(io::Error::other(failure.to_owned()));
        }
        change().inspect_err(|error| {
            if is_failure(error.kind()) {
                self.fail(|| format!("the disk failed: {error}"));
            }
        })
    }
}

/// Whether an error says that the disk or the system under it does not work. The others say that there is no space, or
/// that a name is or is not there.
fn is_failure(kind: io::ErrorKind) -> bool {
    !matches!(
        kind,
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// A disk that takes no changes after the first one that failed.
pub(super) struct Guarded {
    disk: Arc<dyn Disk>,
    health: Arc<Health>,
}

impl Guarded {
    pub(super) fn new(disk: Arc<dyn Disk>, health: Arc<Health>) -> Guarded {
        Guarded { disk, health }
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GuardedFile { file, health: Arc::clone(&self.health) })
    }
}

impl Disk for Guarded {
    fn place(&self) -> String {
        self.disk.place()
    }

    fn segment_bytes(&self) -> u64 {
        self.disk.segment_bytes()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.health.attempt(|| self.disk.create_folder(folder))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.health.attempt(|| self.disk.create(name)).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.health.attempt(|| self.disk.remove(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.health.attempt(|| self.disk.rename(from, to))
    }

    fn flush_folder(&self, folder: &str) -> io::Result<()> {
        self.health.attempt(|| self.disk.flush_folder(folder))
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(name)
    }

    fn worker(&self, name: &str) -> io::Result<Box<dyn Worker>> {
        self.disk.worker(name)
    }
}

struct GuardedFile {
    file: Arc<dyn DiskFile>,
    health: Arc<Health>,
}

impl DiskFile for GuardedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.health.attempt(|| self.file.write_at(bytes, offset))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.health.attempt(|| self.file.set_len(length))
    }

    fn flush(&self) -> io::Result<()> {
        if planted(Fault::FlushErrorIgnored) {
            return self.file.flush();
        }
        self.health.attempt(|| self.file.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::super::faulty_disk::{Faults, FaultyDisk};
    use super::*;

    #[tokio::test]
    async fn after_the_first_failure_nothing_is_written_and_a_full_disk_is_none() {
        let (disk, health) = (FaultyDisk::new(1), Arc::<Health>::default());
        let guarded = Guarded::new(Arc::new(disk.clone()), Arc::clone(&health));
        guarded.create_folder("log").unwrap();
        let file = guarded.create("log/a").unwrap();
        assert!(guarded.remove("log/b").is_err() && guarded.create("log/a").is_err());
        disk.set_faults(Faults { full_for: Some("log"), ..Faults::default() });
        assert_eq!(file.write_at(b"1", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(health.failure(), None);

        disk.set_faults(Faults { fail_flush: Some(1), ..Faults::default() });
        file.write_at(b"1", 0).unwrap();
        assert!(file.flush().is_err());
        assert!(health.failed().await.contains("log/a"));
        // The disk itself says that all is well again.
        assert!(
            file.flush().is_err() && guarded.create("log/c").is_err() && guarded.remove("log/a").is_err()
        );
        assert_eq!(disk.list("log").unwrap(), ["a"]);
    }
}
