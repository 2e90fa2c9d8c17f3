//! The data directory: who may use it, whose it is, and the refusals in words.
//!
//! Invariant: nothing in the directory is read or written without its lock, and nothing is served from a
//! directory of another branch or replica, of a newer format, or without a `FORMAT` file. `FORMAT` is
//! written last when a directory is made, so it says that everything else is there.
//! [`super::open`] calls it; the log and the snapshots keep their files in it.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, Lock};
use super::log;
use super::types::Incarnation;
use crate::model::{BranchName, LedgerId, ReplicaId};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// A file that earlier programs locked instead of the directory.
const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const README: &str = "README";
const TITLE: &str = "bank data directory";
/// Longest `FORMAT` file that is looked at.
const FORMAT_BYTES: u64 = 4096;

/// What people who look into the directory should know.
const README_TEXT: &str = "\
This directory is the memory of one replica of a bank branch. It belongs to one running bank-server.

FORMAT     format version, branch, replica and ledger of this directory
log/       the ordered log: every change, and the replica's votes, in checksummed segments
snapshot/  the ledger as of some entry of the log
journal/   the history
PEERS      what the other replicas of the branch are known to have written

Look: bank-server verify DIR (never writes). Copy: only while no server runs here, and the whole of it.
Never edit, remove or restore single files: the server would refuse to start, or this replica would
break a promise it gave. A replica that lost its directory must not come back under its old number.
";

/// Why a data directory cannot be used. Each is one line that says where to look.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("{place}: another server is running on this data directory")]
    InUse {
        /// The directory.
        place: String,
    },
    /// Something else is in it.
    #[error("{place}: not empty, and not a data directory of the bank: {found} is here and {FORMAT} is not")]
    Foreign {
        /// The directory.
        place: String,
        /// A file that should not be there.
        found: String,
    },
    /// There is nothing of the bank in it.
    #[error("{place}: not a data directory of the bank: there is no {FORMAT} in it")]
    Nothing {
        /// The directory.
        place: String,
    },
    /// A newer program wrote it.
    #[error(
        "{file}: format {found} is newer than format {FORMAT_VERSION}, the newest that this server reads"
    )]
    Newer {
        /// The file that says so.
        file: String,
        /// Its format.
        found: u32,
    },
    /// It belongs to somebody else.
    #[error("{place}: this is the directory of {found}, not of {wanted}")]
    Other {
        /// The directory.
        place: String,
        /// Whose it is.
        found: String,
        /// Who wants it.
        wanted: String,
    },
    /// Bytes are not what was written.
    #[error(
        "{file}: damaged at byte {offset}: {what}; not starting, because this replica may have promised what it lost"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file that must be there is not.
    #[error("{file}: missing; not starting, because this replica may have promised what it lost")]
    Missing {
        /// The file.
        file: String,
    },
    /// It stores a vote or an entry that no replica of a branch ever made.
    #[error(
        "{file}: it stores term {term}, which no election can have had: a forged message must have put it there; not \
         starting, because the next election would fail; replace this directory (remove the replica, start it without \
         one, add it again; if it is alone, restore a copy)"
    )]
    Impossible {
        /// The file.
        file: String,
        /// The term.
        term: u64,
    },
    /// The disk failed.
    #[error("the data directory cannot be used: {0}")]
    Failed(#[source] io::Error),
}

impl DirectoryError {
    /// Bytes are not what was written.
    pub(super) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> DirectoryError {
        DirectoryError::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}

impl From<io::Error> for DirectoryError {
    fn from(error: io::Error) -> DirectoryError {
        // What went through an interface that knows errors of the disk only is what it was.
        error.downcast().unwrap_or_else(DirectoryError::Failed)
    }
}

impl From<DirectoryError> for io::Error {
    fn from(error: DirectoryError) -> io::Error {
        match error {
            DirectoryError::Failed(error) => error,
            DirectoryError::InUse { .. }
            | DirectoryError::Foreign { .. }
            | DirectoryError::Nothing { .. }
            | DirectoryError::Newer { .. }
            | DirectoryError::Other { .. }
            | DirectoryError::Damaged { .. }
            | DirectoryError::Missing { .. }
            | DirectoryError::Impossible { .. } => io::Error::other(error),
        }
    }
}

/// Whose directory it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The branch.
    pub branch: BranchName,
    /// The replica.
    pub replica: ReplicaId,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "replica {} of branch {}", self.replica.0, self.branch)
    }
}

/// What `FORMAT` says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Format {
    identity: Identity,
    incarnation: Incarnation,
    ledger: Option<LedgerId>,
}

/// A data directory that this process has for itself.
pub(crate) struct Directory {
    disk: Arc<dyn Disk>,
    format: Mutex<Format>,
    lock: Mutex<Option<Box<dyn Lock>>>,
    new: bool,
}

impl Directory {
    /// Takes the directory for `identity`. A new one is made, with this `incarnation`: `begin` writes what
    /// must be there from the start; it may find what an earlier attempt left.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        identity: Identity,
        incarnation: Incarnation,
        begin: impl FnOnce(&dyn Disk) -> Result<(), DirectoryError>,
    ) -> Result<Directory, DirectoryError> {
        disk.create_folder("")?;
        let lock = disk.lock(LOCK).map_err(|error| in_use(&*disk, error))?;
        let found = read_format(&*disk)?;
        let new = found.is_none();
        let format = match found {
            Some(format) if format.identity == identity => format,
            Some(format) => {
                let (found, wanted) = (format.identity.to_string(), identity.to_string());
                return Err(DirectoryError::Other { place: disk.place(), found, wanted });
            }
            None => {
                let format = Format { identity, incarnation, ledger: None };
                begin_directory(&*disk, begin)?;
                format
            }
        };
        // Written at every start: nothing is promised on names that an earlier process could not flush.
        write_whole(&*disk, FORMAT, format.encode().as_bytes())?;
        Ok(Directory { disk, format: Mutex::new(format), lock: Mutex::new(Some(lock)), new })
    }

    /// The files in it.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Whether it was made by this start.
    pub(crate) fn is_new(&self) -> bool {
        self.new
    }

    /// Which life of the replica's log is kept here.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.format.lock().incarnation
    }

    /// Remembers which ledger is kept here, durably. Blocks.
    ///
    /// # Errors
    /// When it is another one than before, or when the disk fails.
    pub(crate) fn remember_ledger(&self, ledger: LedgerId) -> Result<(), DirectoryError> {
        let format = {
            let mut format = self.format.lock();
            match format.ledger {
                Some(known) if known == ledger => return Ok(()),
                Some(known) => {
                    let (found, wanted) = (format!("ledger {known}"), format!("ledger {ledger}"));
                    return Err(DirectoryError::Other { place: self.disk.place(), found, wanted });
                }
                None => format.ledger = Some(ledger),
            }
            format.clone()
        };
        Ok(write_whole(&*self.disk, FORMAT, format.encode().as_bytes())?)
    }

    /// Lets other processes in. Nothing may be written after it.
    pub(super) fn release(&self) {
        drop(self.lock.lock().take());
    }
}

/// Makes a directory, all but its `FORMAT`.
fn begin_directory(
    disk: &dyn Disk,
    begin: impl FnOnce(&dyn Disk) -> Result<(), DirectoryError>,
) -> Result<(), DirectoryError> {
    let ours = [LOCK, README, &new(README), &new(FORMAT)].map(str::to_owned);
    if let Some(found) = disk.list("")?.into_iter().find(|name| !ours.contains(name)) {
        return Err(DirectoryError::Foreign { place: disk.place(), found });
    }
    begin(disk)?;
    Ok(write_whole(disk, README, README_TEXT.as_bytes())?)
}

/// The name of a file that is being written.
pub(super) fn new(name: &str) -> String {
    format!("{name}.new")
}

/// Writes a small file so that it is there as a whole or as it was before.
pub(super) fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = new(name);
    remove_if_there(disk, &temporary)?;
    let file = disk.create(&temporary)?;
    file.write_at(bytes, 0)?;
    file.flush()?;
    disk.rename(&temporary, name)?;
    disk.flush_folder("")
}

/// Removes a file that may not exist.
pub(super) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// What [`look`] finds: whose directory it is, which ledger is in it, and its lock.
pub(super) type Looked = (Identity, Option<LedgerId>, Option<Box<dyn Lock>>);

/// Whose directory it is and which ledger is in it, without writing anything. The lock, if there is one, is
/// held by the caller from then on.
pub(super) fn look(disk: &dyn Disk) -> Result<Looked, DirectoryError> {
    let lock = match disk.lock(LOCK) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(in_use(disk, error)),
    };
    let format = match read_format(disk)? {
        Some(format) => format,
        None if disk.list(log::FOLDER)?.is_empty() => {
            return Err(DirectoryError::Nothing { place: disk.place() });
        }
        None => return Err(DirectoryError::Missing { file: FORMAT.to_owned() }),
    };
    Ok((format.identity, format.ledger, lock))
}

fn in_use(disk: &dyn Disk, error: io::Error) -> DirectoryError {
    if error.kind() == io::ErrorKind::WouldBlock {
        DirectoryError::InUse { place: disk.place() }
    } else {
        DirectoryError::Failed(error)
    }
}

/// Reads `FORMAT`, without writing anything.
fn read_format(disk: &dyn Disk) -> Result<Option<Format>, DirectoryError> {
    let file = match disk.open(FORMAT) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(file.len()?.min(FORMAT_BYTES)).unwrap_or_default();
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    match Format::parse(&bytes) {
        Ok(format) => Ok(Some(format)),
        Err(Some(found)) => Err(DirectoryError::Newer { file: FORMAT.to_owned(), found }),
        Err(None) => Err(DirectoryError::Damaged {
            file: FORMAT.to_owned(),
            offset: 0,
            what: "it does not match its own check".to_owned(),
        }),
    }
}

impl Format {
    fn encode(&self) -> String {
        let ledger = self.ledger.map_or_else(|| "unknown".to_owned(), |ledger| hex(ledger.0));
        let incarnation = hex(self.incarnation.0);
        let Identity { branch, replica } = &self.identity;
        let said = format!(
            "{TITLE}\nformat {FORMAT_VERSION}\nbranch {branch}\nreplica {replica}\n\
             incarnation {incarnation}\nledger {ledger}\n"
        );
        format!("{said}check {:08x}\n", crc32fast::hash(said.as_bytes()))
    }

    /// Reads the text; an error is the newer version that wrote it, or none if it is damaged.
    fn parse(bytes: &[u8]) -> Result<Format, Option<u32>> {
        let text = std::str::from_utf8(bytes).map_err(|_| None)?;
        let mut lines = text.lines();
        let mut value =
            |key: &str| lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' ')).ok_or(None);
        let (title_key, title_value) = TITLE.split_once(' ').unwrap_or_default();
        if value(title_key)? != title_value {
            return Err(None);
        }
        let version: u32 = value("format")?.parse().map_err(|_| None)?;
        if version > FORMAT_VERSION {
            return Err(Some(version));
        }
        let branch = value("branch")?.parse().map_err(|_| None)?;
        let replica = ReplicaId(value("replica")?.parse().map_err(|_| None)?);
        let incarnation = Incarnation(unhex(value("incarnation")?)?);
        let ledger = match value("ledger")? {
            "unknown" => None,
            ledger => Some(LedgerId(unhex(ledger)?)),
        };
        let format = Format { identity: Identity { branch, replica }, incarnation, ledger };
        // There is one way to write it; so this finds what the lines do not say, and the check's line too.
        if format.encode() == text { Ok(format) } else { Err(None) }
    }
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn unhex(text: &str) -> Result<[u8; 16], Option<u32>> {
    u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(|_| None)
}
