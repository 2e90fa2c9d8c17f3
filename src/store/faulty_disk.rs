//! A disk in memory that behaves as badly as real ones do, for tests.
//!
//! Invariant: what was flushed survives a crash, unless a fault says otherwise; what was not flushed survives, is lost or is
//! torn as the seed decides, so the same seed gives the same disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, Job, Lock, Worker};

/// What a disk writes as a whole or not at all, mostly.
const SECTOR: usize = 512;

/// Faults that a disk has from now on.
#[derive(Clone, Default, Debug)]
pub(crate) struct Faults {
    /// The call that changes something or flushes, counted from now beginning with 1, that fails. The ones after it
    /// succeed again.
    pub(crate) fail_call: Option<u64>,
    /// The flush, counted from now beginning with 1, that fails. As on Linux, what was written before it then
    /// counts as clean: later flushes say that all is well and do not write it.
    pub(crate) fail_flush: Option<u64>,
    /// Most bytes in all files; a write that makes them more fails as on a full disk.
    pub(crate) capacity: Option<u64>,
    /// Writes to files with this in their name fail as on a full disk.
    pub(crate) full_for: Option<&'static str>,
    /// Changes of files with this in their name fail.
    pub(crate) fail_for: Option<&'static str>,
    /// A flush says that all is well and does nothing.
    pub(crate) flush_lies: bool,
}

/// Runs the jobs of a worker, in their order, when it wants to.
pub(crate) type Run = Arc<dyn Fn(Job) + Send + Sync>;

/// A faulty disk. Cheap to clone; clones are the same disk until it crashes.
#[derive(Clone)]
pub(crate) struct FaultyDisk {
    platter: Arc<Mutex<Platter>>,
    /// Which life of the machine this handle belongs to.
    life: u64,
    run: Run,
    segment_bytes: u64,
}

struct Platter {
    life: u64,
    random: u64,
    files: Vec<Contents>,
    folders: BTreeSet<String>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    locked: BTreeSet<String>,
    faults: Faults,
    calls: u64,
    flushes: u64,
}

#[derive(Clone, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLength(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(contents, *offset, bytes),
            Change::SetLength(length) => contents.resize(*length, 0),
        }
    }
}

fn put(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("a test's files fit into memory")
}

impl Platter {
    fn random(&mut self, below: u64) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Counts a call that changes something or flushes, and fails it if it is its turn.
    fn call(&mut self, name: &str) -> io::Result<()> {
        self.calls += 1;
        let fails = self.faults.fail_for.is_some_and(|part| name.contains(part));
        if fails || self.faults.fail_call == Some(self.calls) {
            return Err(io::Error::other(format!("{name}: the disk failed")));
        }
        Ok(())
    }

    fn flush(&mut self, file: usize, name: &str) -> io::Result<()> {
        self.call(name)?;
        self.flushes += 1;
        let fails = self.faults.fail_flush == Some(self.flushes);
        let contents = &mut self.files[file];
        if fails {
            // Clean now, and not written: no later flush will write it.
            contents.pending.clear();
            return Err(io::Error::other(format!("{name}: the flush failed")));
        }
        if !self.faults.flush_lies {
            for change in std::mem::take(&mut contents.pending) {
                change.apply(&mut contents.durable);
            }
        }
        Ok(())
    }

    /// What of a change reaches the disk when the machine stops: all, nothing, or some of its sectors, one of
    /// which may be torn.
    fn tear(&mut self, change: &Change, durable: &mut Vec<u8>) {
        match (self.random(4), change) {
            (0, _) => {}
            (1, _) | (_, Change::SetLength(_)) => change.apply(durable),
            (_, Change::Write { offset, bytes }) => {
                let mut at = 0;
                while at < bytes.len() {
                    let end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
                    let sector = &bytes[at..end.min(bytes.len())];
                    match self.random(5) {
                        0 | 1 => put(durable, offset + at, sector),
                        2 => {
                            let length = sector.len() as u64 + 1;
                            let kept = position(self.random(length));
                            put(durable, offset + at, &sector[..kept]);
                        }
                        _ => {}
                    }
                    at = end;
                }
            }
        }
    }
}

impl FaultyDisk {
    /// An empty disk without faults whose workers do their jobs at once.
    pub(crate) fn new(seed: u64) -> FaultyDisk {
        FaultyDisk::with_workers(seed, Arc::new(|job: Job| job()))
    }

    /// An empty disk without faults whose workers' jobs go to `run`.
    pub(crate) fn with_workers(seed: u64, run: Run) -> FaultyDisk {
        let platter = Platter {
            life: 0,
            random: seed,
            files: Vec::new(),
            folders: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            locked: BTreeSet::new(),
            faults: Faults::default(),
            calls: 0,
            flushes: 0,
        };
        FaultyDisk { platter: Arc::new(Mutex::new(platter)), life: 0, run, segment_bytes: 16 * 1024 * 1024 }
    }

    /// The same disk with short segments, so that a test sees many.
    pub(crate) fn with_segments_of(self, segment_bytes: u64) -> FaultyDisk {
        FaultyDisk { segment_bytes, ..self }
    }

    /// Sets the faults from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut platter = self.platter.lock();
        platter.faults = faults;
        platter.calls = 0;
        platter.flushes = 0;
    }

    /// How many calls changed something or flushed since the faults were set.
    pub(crate) fn calls(&self) -> u64 {
        self.platter.lock().calls
    }

    /// The power goes: what was not flushed survives, is lost or is torn. Every handle from before fails from now on;
    /// the returned one is the disk after the restart, without faults.
    pub(crate) fn crash(&self) -> FaultyDisk {
        self.stop(false, |platter, contents| {
            let mut durable = std::mem::take(&mut contents.durable);
            for change in &contents.pending {
                platter.tear(change, &mut durable);
            }
            durable
        })
    }

    /// The power goes and everything that was not flushed is lost.
    pub(crate) fn crash_hard(&self) -> FaultyDisk {
        self.stop(true, |_, contents| std::mem::take(&mut contents.durable))
    }

    /// The process is killed, the machine goes on: nothing is lost.
    pub(crate) fn kill(&self) -> FaultyDisk {
        let mut platter = self.platter.lock();
        platter.life += 1;
        platter.locked.clear();
        platter.faults = Faults::default();
        FaultyDisk { platter: Arc::clone(&self.platter), life: platter.life, ..self.clone() }
    }

    fn stop(
        &self,
        hard: bool,
        mut survives: impl FnMut(&mut Platter, &mut Contents) -> Vec<u8>,
    ) -> FaultyDisk {
        {
            let mut platter = self.platter.lock();
            let mut files = std::mem::take(&mut platter.files);
            for contents in &mut files {
                let durable = survives(&mut platter, contents);
                *contents = Contents { now: durable.clone(), durable, pending: Vec::new() };
            }
            platter.files = files;
            // What happened to names since the folder was flushed is lost, or it is not.
            if hard || platter.random(2) == 0 {
                platter.names = platter.durable_names.clone();
            } else {
                platter.durable_names = platter.names.clone();
            }
        }
        self.kill()
    }

    /// A copy of the disk as it is, for trying something out on it.
    pub(crate) fn copy(&self) -> FaultyDisk {
        let platter = self.platter.lock();
        let copy = FaultyDisk::with_workers(platter.random, Arc::clone(&self.run));
        let copy = copy.with_segments_of(self.segment_bytes);
        {
            let mut to = copy.platter.lock();
            to.files.clone_from(&platter.files);
            to.folders.clone_from(&platter.folders);
            to.names.clone_from(&platter.names);
            to.durable_names.clone_from(&platter.durable_names);
        }
        copy
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.platter.lock().names.keys().cloned().collect()
    }

    /// The contents of a file.
    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        let platter = self.platter.lock();
        platter.files[platter.names[name]].now.clone()
    }

    /// Changes a file behind everybody's back, and durably.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut platter = self.platter.lock();
        let file = platter.names[name];
        let contents = &mut platter.files[file];
        change(&mut contents.now);
        contents.durable = contents.now.clone();
        contents.pending.clear();
    }

    fn alive<T>(&self, work: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.platter.lock();
        if platter.life == self.life {
            work(&mut platter)
        } else {
            Err(io::Error::other("the machine is off"))
        }
    }

    fn file(&self, name: &str, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { disk: self.clone(), name: name.to_owned(), file })
    }
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such file"))
}

/// The folder of a file.
fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for FaultyDisk {
    fn place(&self) -> String {
        "disk".to_owned()
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    fn list(&self, wanted: &str) -> io::Result<Vec<String>> {
        self.alive(|platter| {
            let inside = platter.names.keys().filter(|name| folder(name) == wanted);
            let base = if wanted.is_empty() { 0 } else { wanted.len() + 1 };
            Ok(inside.map(|name| name[base..].to_owned()).collect())
        })
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.alive(|platter| {
            platter.call(folder)?;
            platter.folders.insert(folder.to_owned());
            Ok(())
        })
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.alive(|platter| {
            platter.call(name)?;
            if !folder(name).is_empty() && !platter.folders.contains(folder(name)) {
                return Err(not_found(folder(name)));
            }
            if platter.names.contains_key(name) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name}: it exists")));
            }
            let file = platter.files.len();
            platter.files.push(Contents::default());
            platter.names.insert(name.to_owned(), file);
            Ok(self.file(name, file))
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.alive(|platter| {
            let file = platter.names.get(name).ok_or_else(|| not_found(name))?;
            Ok(self.file(name, *file))
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.alive(|platter| {
            platter.call(name)?;
            platter.names.remove(name).map(|_| ()).ok_or_else(|| not_found(name))
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.alive(|platter| {
            platter.call(from)?;
            let file = platter.names.remove(from).ok_or_else(|| not_found(from))?;
            platter.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn flush_folder(&self, wanted: &str) -> io::Result<()> {
        self.alive(|platter| {
            platter.call(wanted)?;
            if !platter.faults.flush_lies {
                platter.durable_names.retain(|name, _| folder(name) != wanted);
                let now = platter.names.iter().filter(|(name, _)| folder(name) == wanted);
                platter.durable_names.extend(now.map(|(name, file)| (name.clone(), *file)));
            }
            Ok(())
        })
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        self.alive(|platter| {
            if !platter.locked.insert(name.to_owned()) {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{name}: it is locked")));
            }
            Ok(Box::new(FaultyLock { disk: self.clone(), name: name.to_owned() }) as Box<dyn Lock>)
        })
    }

    fn worker(&self, _name: &str) -> io::Result<Box<dyn Worker>> {
        let queue = Arc::new(Mutex::new(VecDeque::new()));
        Ok(Box::new(FaultyWorker { run: Arc::clone(&self.run), queue }))
    }
}

struct FaultyLock {
    disk: FaultyDisk,
    name: String,
}

impl Lock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let _ = self.disk.alive(|platter| {
            platter.locked.remove(&self.name);
            Ok(())
        });
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    name: String,
    file: usize,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.alive(|platter| Ok(platter.files[self.file].now.len() as u64))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.alive(|platter| {
            let start = position(offset);
            let found = platter.files[self.file].now.get(start..start + bytes.len());
            let eof = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("{}: it ends", self.name));
            bytes.copy_from_slice(found.ok_or_else(eof)?);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let change = Change::Write { offset: position(offset), bytes: bytes.to_vec() };
        self.disk.alive(|platter| {
            platter.call(&self.name)?;
            let used: usize = platter.names.values().map(|file| platter.files[*file].now.len()).sum();
            let grows = (position(offset) + bytes.len()).saturating_sub(platter.files[self.file].now.len());
            let over =
                platter.faults.capacity.is_some_and(|capacity| grows > 0 && (used + grows) as u64 > capacity);
            if over || platter.faults.full_for.is_some_and(|part| self.name.contains(part)) {
                let full = format!("{}: no space left on the disk", self.name);
                return Err(io::Error::new(io::ErrorKind::StorageFull, full));
            }
            let contents = &mut platter.files[self.file];
            change.apply(&mut contents.now);
            contents.pending.push(change);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let change = Change::SetLength(position(length));
        self.disk.alive(|platter| {
            platter.call(&self.name)?;
            let contents = &mut platter.files[self.file];
            change.apply(&mut contents.now);
            contents.pending.push(change);
            Ok(())
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.alive(|platter| platter.flush(self.file, &self.name))
    }
}

/// Keeps its jobs in order whatever `run` does with them.
struct FaultyWorker {
    run: Run,
    queue: Arc<Mutex<VecDeque<Job>>>,
}

impl Worker for FaultyWorker {
    fn run(&self, job: Job) {
        self.queue.lock().push_back(job);
        let queue = Arc::clone(&self.queue);
        (self.run)(Box::new(move || {
            let next = queue.lock().pop_front();
            if let Some(next) = next {
                next();
            }
        }));
    }
}
