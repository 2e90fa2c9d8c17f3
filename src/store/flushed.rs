//! What a replica is known to have flushed, by which an older copy of its directory is recognised.
//!
//! Invariant: [`Flushed`] is never more than what the replica had on its disk when it was noted, and a replica that goes
//! on with its own directory never falls behind it: votes only rise, and as long as the vote stays the same an entry that
//! was acknowledged to its leader, or was committed, stays in the log. After a later vote entries may be cut, so what was
//! noted under an earlier one proves nothing any more. `replication` collects what the others know; a directory keeps it
//! in the file `PEERS`.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::directory::{self, DirectoryError};
use super::disk::Disk;
use super::types::{Incarnation, LogId, Vote};
use crate::model::ReplicaId;

/// Most replicas of which it is kept what they have flushed: more than a branch ever has.
pub(crate) const KNOWN_REPLICAS: usize = 256;
/// The file in a data directory.
const FILE: &str = "PEERS";
/// Version of the file.
const VERSION: u8 = 1;
/// Longest file that is looked at.
const FILE_BYTES: u64 = 64 * 1024;

/// What a replica had flushed at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Flushed {
    /// Which life of its log.
    pub(crate) life: Incarnation,
    /// Its vote.
    pub(crate) vote: Vote,
    /// An entry that it had acknowledged to the leader of that vote, or that was committed.
    pub(crate) last: Option<LogId>,
}

impl Flushed {
    /// Whether this was noted later than `other`.
    pub(crate) fn is_later(&self, other: &Flushed) -> bool {
        (self.vote.leader_id, self.last) > (other.vote.leader_id, other.last)
    }
}

/// What all replicas had flushed, as far as one of them knows.
pub(crate) type AllFlushed = BTreeMap<ReplicaId, Flushed>;

/// Reads what an earlier process knew.
pub(super) fn load(disk: &dyn Disk) -> Result<AllFlushed, DirectoryError> {
    let file = match disk.open(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AllFlushed::new()),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(file.len()?.min(FILE_BYTES)).unwrap_or_default();
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    decode(&bytes).ok_or_else(|| DirectoryError::damaged(FILE, 0, "it does not match its own check"))
}

/// Writes it down, durably. Blocks.
pub(super) fn save(disk: &dyn Disk, known: &AllFlushed) -> io::Result<()> {
    directory::write_whole(disk, FILE, &encode(known))
}

fn encode(known: &AllFlushed) -> Vec<u8> {
    let body = postcard::to_extend(known, vec![VERSION]).expect("a vector takes every byte");
    let mut bytes = crc32fast::hash(&body).to_le_bytes().to_vec();
    bytes.extend(body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<AllFlushed> {
    let (check, body) = bytes.split_first_chunk()?;
    let (&version, known) = body.split_first()?;
    if u32::from_le_bytes(*check) != crc32fast::hash(body) || version != VERSION {
        return None;
    }
    match postcard::take_from_bytes(known) {
        Ok((known, [])) => Some(known),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::faulty_disk::FaultyDisk;
    use super::super::types::LeaderId;
    use super::*;

    #[test]
    fn what_is_known_of_others_survives_and_damage_is_named() {
        let disk = FaultyDisk::new(1);
        disk.create_folder("").unwrap();
        assert_eq!(load(&disk).unwrap(), AllFlushed::new());
        let leader = LeaderId { term: 3, node_id: 2 };
        let vote = Vote { leader_id: leader, committed: true };
        let last = Some(LogId { leader_id: leader, index: 70 });
        let known = AllFlushed::from([(ReplicaId(3), Flushed { life: Incarnation([7; 16]), vote, last })]);
        save(&disk, &known).unwrap();
        let disk = disk.crash_hard();
        assert_eq!(load(&disk).unwrap(), known);
        let bytes = encode(&known);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!((decode(&damaged), decode(&bytes[..at])), (None, None), "byte {at}");
        }
        disk.open(FILE).unwrap().write_at(&[9], 6).unwrap();
        assert!(load(&disk).unwrap_err().to_string().starts_with("PEERS: damaged at byte 0"));
    }
}
