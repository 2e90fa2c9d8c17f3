//! Snapshots: what openraft hands around, and the files that hold them.
//!
//! Invariant: a snapshot counts when its file was written under another name, flushed, renamed and its folder flushed,
//! and only after the journal up to it is durable; then the ones before it go. There is one that counts at any time. A
//! file is a series of parts, each with its length in front: the head, which says what the log knows, then the
//! frames of the ledger, which check themselves. Anything missing, changed or left over is refused with its place.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::alias::SnapshotMetaOf;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::directory::DirectoryError;
use super::disk::{Disk, DiskFile, Worker};
use super::{Tokio, Types};
use crate::ledger::{Frozen, Ledger, Position, SnapshotError, SnapshotReader};
use crate::model::Sequence;
use crate::model::planted::{Fault, planted};

/// The folder of snapshots.
pub(super) const FOLDER: &str = "snapshot";
const SUFFIX: &str = ".snap";
const UNFINISHED: &str = ".tmp";
/// Version of the head.
const VERSION: u8 = 1;
/// Longest part; a ledger's frame is much shorter.
const PART_BYTES: u32 = 64 * 1024 * 1024;
/// How much is written at a time.
const WRITE_BYTES: usize = 1024 * 1024;

/// What the log knows of a snapshot. The same type on every runtime.
pub(crate) type SnapshotMeta = SnapshotMetaOf<Types<Tokio>>;

/// A snapshot as openraft hands it around.
pub(crate) enum Snapshot {
    /// Stands for the state of this very process: enough to forget log entries in memory, and never
    /// serialised. It cannot be sent.
    Marker,
    /// A view of the ledger in memory, encoded while it is sent.
    Frozen(Box<Frozen>),
    /// A file.
    File(SnapshotFile),
    /// A complete snapshot that came from a peer, to be installed.
    Received(Box<Received>),
}

impl Snapshot {
    /// Where the ledger is of a snapshot that came from a peer.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Snapshot::Received(received) => Some(received.ledger.position()),
            Snapshot::Marker | Snapshot::Frozen(_) | Snapshot::File(_) => None,
        }
    }

    /// The frames, to be sent to a peer or taken from one in the same process.
    ///
    /// # Errors
    /// When this kind of snapshot has none.
    pub(crate) fn frames(self) -> io::Result<Frames> {
        match self {
            Snapshot::Frozen(frozen) => Ok(Frames(Source::Frozen(frozen))),
            Snapshot::File(file) => Ok(Frames(Source::File(file.parts()))),
            Snapshot::Marker | Snapshot::Received(_) => {
                Err(io::Error::other("this snapshot carries no accounts to send"))
            }
        }
    }
}

/// The frames of a snapshot, one after the other.
pub(crate) struct Frames(Source);

enum Source {
    Frozen(Box<Frozen>),
    File(Parts),
}

impl Iterator for Frames {
    type Item = io::Result<Vec<u8>>;

    /// The next frame: of less than a mebibyte, except where one request had many commands. Takes about a
    /// millisecond.
    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        match &mut self.0 {
            Source::Frozen(frozen) => frozen.next().map(Ok),
            Source::File(parts) => parts.next().map(|part| part.map(|(_, bytes)| bytes)),
        }
    }
}

/// What the head of a file says.
#[derive(Serialize, Deserialize)]
struct Head {
    meta: SnapshotMeta,
    /// The first record that the journal had; none when it had nothing, because the snapshot came from a peer.
    journal_first: Option<Sequence>,
}

/// A snapshot in a file that counts. Stays readable when it no longer does.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    name: String,
    file: Arc<dyn DiskFile>,
    length: u64,
    /// Where the frames begin.
    frames: u64,
}

impl SnapshotFile {
    fn parts(&self) -> Parts {
        Parts { file: self.clone(), at: self.frames }
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.length
    }

    fn open(disk: &dyn Disk, name: &str) -> io::Result<(SnapshotFile, Head)> {
        let file = disk.open(name)?;
        let length = file.len()?;
        let mut parts =
            Parts { file: SnapshotFile { name: name.to_owned(), file, length, frames: 0 }, at: 0 };
        let damage = |what: String| DirectoryError::damaged(name, 0, what);
        let (_, head) = parts.next().ok_or_else(|| damage("the file is empty".to_owned()))??;
        let head = decode_head(&head).map_err(damage)?;
        Ok((SnapshotFile { frames: parts.at, ..parts.file }, head))
    }

    /// Reads the ledger.
    fn load(&self) -> io::Result<Ledger> {
        let mut reader = SnapshotReader::default();
        let damage =
            |at: u64, error: SnapshotError| DirectoryError::damaged(&self.name, at, error.to_string());
        for part in self.parts() {
            let (at, frame) = part?;
            reader.frame(&frame).map_err(|error| damage(at, error))?;
        }
        Ok(reader.finish().map_err(|error| damage(self.length, error))?)
    }
}

/// The parts of a file and where they begin.
struct Parts {
    file: SnapshotFile,
    at: u64,
}

impl Iterator for Parts {
    type Item = io::Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (at, left) = (self.at, self.file.length.checked_sub(self.at).filter(|left| *left > 0)?);
        let mut read = || {
            let cut =
                || DirectoryError::damaged(&self.file.name, at, "the file ends in the middle of a part");
            let mut length = [0; 4];
            if left < length.len() as u64 {
                return Err(cut().into());
            }
            self.file.file.read_at(&mut length, at)?;
            let length = u32::from_le_bytes(length);
            if u64::from(length) > left - 4 {
                return Err(cut().into());
            }
            if length > PART_BYTES {
                return Err(
                    DirectoryError::damaged(&self.file.name, at, "a part is longer than any can be").into()
                );
            }
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            self.file.file.read_at(&mut bytes, at + 4)?;
            self.at = at + 4 + u64::from(length);
            Ok((at, bytes))
        };
        let part = read();
        if part.is_err() {
            self.at = self.file.length;
        }
        Some(part)
    }
}

fn encode_head(head: &Head) -> io::Result<Vec<u8>> {
    const CHECKSUM: usize = 4;
    let mut bytes = vec![0; CHECKSUM];
    bytes.push(VERSION);
    let mut bytes = postcard::to_extend(head, bytes).map_err(io::Error::other)?;
    let checksum = crc32fast::hash(&bytes[CHECKSUM..]);
    bytes[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

fn decode_head(bytes: &[u8]) -> Result<Head, String> {
    let damaged = || "the head of the snapshot is damaged".to_owned();
    let (checksum, body) = bytes.split_first_chunk().ok_or_else(damaged)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err(damaged());
    }
    let (&version, body) = body.split_first().ok_or_else(damaged)?;
    if version != VERSION {
        return Err(format!("snapshot file version {version}; this program reads version {VERSION}"));
    }
    match postcard::take_from_bytes(body) {
        Ok((head, [])) => Ok(head),
        Ok(_) | Err(_) => Err(damaged()),
    }
}

/// A file that is being written. It goes when it is dropped before it counts.
struct Unfinished {
    disk: Arc<dyn Disk>,
    name: String,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
    frames: u64,
    counts: bool,
}

impl Unfinished {
    fn begin(disk: Arc<dyn Disk>, name: String, head: &Head) -> io::Result<Unfinished> {
        let file = disk.create(&name)?;
        let mut unfinished =
            Unfinished { disk, name, file, buffer: Vec::new(), written: 0, frames: 0, counts: false };
        unfinished.part(&encode_head(head)?)?;
        unfinished.frames = unfinished.buffer.len() as u64;
        Ok(unfinished)
    }

    fn part(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= PART_BYTES);
        let length = length.ok_or_else(|| io::Error::other("a part of a snapshot is too long"))?;
        self.buffer.extend(length.to_le_bytes());
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.buffer.len() >= WRITE_BYTES
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and makes the whole durable, all but its name.
    fn complete(&mut self) -> io::Result<()> {
        self.write()?;
        if planted(Fault::SnapshotNotFlushed) { Ok(()) } else { self.file.flush() }
    }

    /// Makes it, which is complete, count under its final name. Needs no space.
    fn finish(mut self, name: String) -> io::Result<SnapshotFile> {
        self.disk.rename(&self.name, &name)?;
        self.counts = true;
        self.disk.flush_folder(FOLDER)?;
        Ok(SnapshotFile { name, file: Arc::clone(&self.file), length: self.written, frames: self.frames })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.counts {
            // What stays is removed at the next start.
            let _ = self.disk.remove(&self.name);
        }
    }
}

/// A snapshot from a peer: complete, checked, not installed yet.
pub(crate) struct Received {
    ledger: Ledger,
    file: Option<Unfinished>,
}

/// What a snapshot that counts says of the replica.
pub(super) struct Loaded {
    pub(super) ledger: Ledger,
    pub(super) meta: SnapshotMeta,
    /// The first record that the journal must have.
    pub(super) journal_first: Sequence,
}

/// The snapshots of a replica: where they are taken in, and where they are kept if there is a disk. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Snapshots {
    files: Option<Arc<Files>>,
}

struct Files {
    kept: Arc<Kept>,
    worker: Box<dyn Worker>,
}

struct Kept {
    disk: Arc<dyn Disk>,
    current: Mutex<Option<(SnapshotMeta, SnapshotFile)>>,
    /// How many files were begun, so that each has a name of its own.
    begun: AtomicU64,
}

impl Snapshots {
    /// Those of a memory replica.
    pub(super) fn in_memory() -> Snapshots {
        Snapshots { files: None }
    }

    /// Opens the snapshot on a disk, if there is one, and reads it. Blocks.
    ///
    /// # Errors
    /// [`DirectoryError::Damaged`] as an error when it is damaged: the log before it is gone, so nothing can stand in for it.
    pub(super) fn open(disk: Arc<dyn Disk>) -> io::Result<(Snapshots, Option<Loaded>)> {
        disk.create_folder(FOLDER)?;
        let mut current = None;
        let mut loaded = None;
        if let Some((file, head, ledger)) = read_newest(&*disk)? {
            let journal_first = head.journal_first.unwrap_or(ledger.sequence().next());
            loaded = Some(Loaded { ledger, meta: head.meta.clone(), journal_first });
            current = Some((head.meta, file));
        }
        for name in names(&*disk)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            disk.remove(name)?;
        }
        if let Some((_, file)) = &current {
            remove_all_but(&*disk, &file.name)?;
        }
        let worker = disk.worker("snapshot")?;
        let kept = Kept { disk, current: Mutex::new(current), begun: AtomicU64::new(0) };
        let files = Files { kept: Arc::new(kept), worker };
        Ok((Snapshots { files: Some(Arc::new(files)) }, loaded))
    }

    /// Whether there is a disk.
    pub(super) fn are_kept(&self) -> bool {
        self.files.is_some()
    }

    /// The file that counts.
    pub(crate) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.files.as_ref().and_then(|files| files.kept.current.lock().clone())
    }

    /// How many bytes the snapshot that counts has.
    pub(crate) fn bytes(&self) -> u64 {
        self.current().map_or(0, |(_, file)| file.bytes())
    }

    /// Writes a view of the ledger to a file and makes it count, unless a later one does.
    pub(super) async fn write(
        &self,
        meta: SnapshotMeta,
        journal_first: Sequence,
        frozen: Box<Frozen>,
    ) -> io::Result<Snapshot> {
        let Some(files) = &self.files else {
            return Ok(Snapshot::Frozen(frozen));
        };
        let file = files
            .run(move |kept| {
                let mut unfinished =
                    kept.begin(&Head { meta: meta.clone(), journal_first: Some(journal_first) })?;
                for frame in *frozen {
                    unfinished.part(&frame)?;
                    if unfinished.is_full() {
                        unfinished.write()?;
                    }
                }
                unfinished.complete()?;
                kept.publish(meta, unfinished)
            })
            .await?;
        Ok(Snapshot::File(file))
    }

    /// Begins to take a snapshot from a peer.
    ///
    /// # Errors
    /// When its file cannot be begun.
    pub(crate) async fn receive(&self, meta: SnapshotMeta) -> io::Result<SnapshotReceiver> {
        let file = match &self.files {
            Some(files) => {
                Some(files.run(move |kept| kept.begin(&Head { meta, journal_first: None })).await?)
            }
            None => None,
        };
        Ok(SnapshotReceiver { snapshots: self.clone(), reader: SnapshotReader::default(), file })
    }

    /// Waits until nothing is being written.
    pub(super) async fn settle(&self) {
        if let Some(files) = &self.files {
            // Only waits; what fails has told who asked for it.
            let _ = files.run(|_| Ok(())).await;
        }
    }

    /// Makes a received snapshot count and returns its ledger.
    pub(super) async fn install(&self, meta: SnapshotMeta, snapshot: Snapshot) -> io::Result<Ledger> {
        let Snapshot::Received(received) = snapshot else {
            return Err(io::Error::other("this snapshot was not received"));
        };
        let Received { ledger, file } = *received;
        if let (Some(files), Some(file)) = (&self.files, file) {
            files.run(move |kept| kept.publish(meta, file)).await?;
        }
        Ok(ledger)
    }
}

impl Files {
    /// Runs work on the disk away from the caller.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kept) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, wait) = oneshot::channel();
        let kept = Arc::clone(&self.kept);
        self.worker.run(Box::new(move || {
            // Nobody waits any more when the replica was stopped meanwhile.
            let _ = done.send(work(&kept));
        }));
        wait.await.map_err(|_| io::Error::other("the worker of the snapshots is gone"))?
    }
}

impl Kept {
    fn begin(&self, head: &Head) -> io::Result<Unfinished> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        Unfinished::begin(Arc::clone(&self.disk), format!("{FOLDER}/{number}{UNFINISHED}"), head)
    }

    /// Makes a complete file count unless a later one does.
    fn publish(&self, meta: SnapshotMeta, unfinished: Unfinished) -> io::Result<SnapshotFile> {
        let mut current = self.current.lock();
        if let Some((known, file)) = &*current
            && known.last_log_id > meta.last_log_id
        {
            return Ok(file.clone());
        }
        let file = unfinished.finish(snapshot_name(&meta))?;
        *current = Some((meta, file.clone()));
        remove_all_but(&*self.disk, &file.name)?;
        Ok(file)
    }
}

/// The name of a snapshot: the index of the log entry that comes after it.
fn snapshot_name(meta: &SnapshotMeta) -> String {
    let next = meta.last_log_id.map_or(0, |last| last.index + 1);
    format!("{FOLDER}/{next:020}{SUFFIX}")
}

fn names(disk: &dyn Disk) -> io::Result<Vec<String>> {
    Ok(disk.list(FOLDER)?.into_iter().map(|name| format!("{FOLDER}/{name}")).collect())
}

/// Removes the snapshots that no longer count.
fn remove_all_but(disk: &dyn Disk, keep: &str) -> io::Result<()> {
    for name in names(disk)?.iter().filter(|name| name.ends_with(SUFFIX) && name.as_str() != keep) {
        disk.remove(name)?;
    }
    Ok(())
}

fn read_newest(disk: &dyn Disk) -> io::Result<Option<(SnapshotFile, Head, Ledger)>> {
    let Some(name) = names(disk)?.into_iter().rfind(|name| name.ends_with(SUFFIX)) else {
        return Ok(None);
    };
    let (file, head) = SnapshotFile::open(disk, &name)?;
    let ledger = file.load()?;
    if name != snapshot_name(&head.meta) {
        return Err(DirectoryError::damaged(
            &name,
            0,
            "the name of the file is not that of the snapshot in it",
        )
        .into());
    }
    Ok(Some((file, head, ledger)))
}

/// Reads the snapshot that counts. Never writes.
///
/// # Errors
/// [`DirectoryError::Damaged`] as an error.
pub(super) fn check(disk: &dyn Disk) -> io::Result<Option<Loaded>> {
    let newest = read_newest(disk)?;
    Ok(newest.map(|(_, head, ledger)| {
        let journal_first = head.journal_first.unwrap_or(ledger.sequence().next());
        Loaded { ledger, meta: head.meta, journal_first }
    }))
}

/// Takes a snapshot from a peer, frame by frame.
pub(crate) struct SnapshotReceiver {
    snapshots: Snapshots,
    reader: SnapshotReader,
    file: Option<Unfinished>,
}

impl SnapshotReceiver {
    /// Takes the next frame. Takes about a millisecond, or waits for the disk.
    ///
    /// # Errors
    /// When the frame is damaged or out of place, or the disk fails. Then the whole snapshot is void.
    pub(crate) async fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.reader.frame(frame).map_err(refused)?;
        let (Some(files), Some(mut file)) = (&self.snapshots.files, self.file.take()) else {
            return Ok(());
        };
        file.part(frame)?;
        if file.is_full() {
            file = files.run(move |_| file.write().map(|()| file)).await?;
        }
        self.file = Some(file);
        Ok(())
    }

    /// The complete snapshot, to be given to openraft. It is on the disk, so that installing it does not fail for want
    /// of space: openraft has no way back from there.
    ///
    /// # Errors
    /// When it is not complete, or its books do not balance, or the disk fails.
    pub(crate) async fn finish(self) -> io::Result<Snapshot> {
        let ledger = self.reader.finish().map_err(refused)?;
        let file = match (&self.snapshots.files, self.file) {
            (Some(files), Some(mut file)) => Some(files.run(move |_| file.complete().map(|()| file)).await?),
            (Some(_), None) => return Err(io::Error::other("the snapshot could not be written")),
            (None, _) => None,
        };
        Ok(Snapshot::Received(Box::new(Received { ledger, file })))
    }
}

fn refused(error: SnapshotError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
