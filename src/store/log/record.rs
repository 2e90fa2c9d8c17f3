//! The records of the log: what stands in a segment, and how.
//!
//! A record is a header of 24 bytes, a body, and zeroes up to the next multiple of 8. All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | CRC-32 of the segment's number (as 8 bytes) and of everything that follows |
//! | 4..8 | length of the body |
//! | 8..16 | number of the record; records are numbered through all segments without gaps |
//! | 16..24 | durable: all records up to this number had been flushed when this one was written |
//! | 24.. | the body: one byte for the kind, then what the kind needs |
//!
//! Invariant: one flipped bit anywhere in a record is found. `writer` writes records, `recovery` reads them.

use serde::{Deserialize, Serialize};

use crate::model::DecodeError;
use crate::store::types::{Entry, LogBatch, LogId, Payload, Vote};

/// Length of a header.
pub(super) const HEADER: usize = 24;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;

const BLANK: u8 = 1;
const BATCH: u8 = 2;
const MEMBERSHIP: u8 = 3;
const VOTE: u8 = 4;
const TRUNCATE: u8 = 5;
const PURGE: u8 = 6;
const MARK: u8 = 7;
const SEAL: u8 = 8;
const BEGIN: u8 = 9;

/// What a record says.
#[derive(Debug)]
pub(super) enum Record {
    /// An entry was appended.
    Entry(Entry),
    /// A vote was cast.
    Vote(Vote),
    /// The entries after this one were dropped.
    Truncate(Option<LogId>),
    /// The entries up to this one were dropped.
    Purge(LogId),
    /// Nothing but what its header says and what is committed.
    Mark(Option<LogId>),
    /// The segment ends here and the next one exists.
    Seal,
    /// The first record of a segment.
    Begin(Begin),
}

/// What the first record of a segment says. Its own number is that of the segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Begin {
    /// Length of the file.
    pub(super) size: u64,
    /// Number of the record that follows.
    pub(super) first: u64,
    /// Where the log stood before that.
    pub(super) state: LogPosition,
}

/// Where a log stands, without its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct LogPosition {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The last entry; what is purged counts.
    pub(super) last: Option<LogId>,
}

/// Writes the body of a record.
pub(super) fn put(buffer: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Entry(entry) => put_entry(buffer, entry),
        Record::Vote(vote) => put_value(buffer, VOTE, vote),
        Record::Truncate(last) => put_value(buffer, TRUNCATE, last),
        Record::Purge(upto) => put_value(buffer, PURGE, upto),
        Record::Mark(committed) => put_value(buffer, MARK, committed),
        Record::Seal => buffer.push(SEAL),
        Record::Begin(begin) => put_value(buffer, BEGIN, begin),
    }
}

fn put_entry(buffer: &mut Vec<u8>, entry: &Entry) {
    match &entry.payload {
        Payload::Blank => put_value(buffer, BLANK, &entry.log_id),
        Payload::Normal(batch) => {
            put_value(buffer, BATCH, &entry.log_id);
            buffer.extend_from_slice(batch.bytes());
        }
        Payload::Membership(members) => put_value(buffer, MEMBERSHIP, &(&entry.log_id, members)),
    }
}

fn put_value(buffer: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    buffer.push(kind);
    *buffer = postcard::to_extend(value, std::mem::take(buffer)).expect("a vector takes every byte");
}

/// Reads a body whose check has passed.
pub(super) fn parse(body: &[u8]) -> Result<Record, DecodeError> {
    let (&kind, rest) = body.split_first().ok_or(DecodeError::Damaged)?;
    Ok(match kind {
        BLANK => Record::Entry(Entry { log_id: whole(rest)?, payload: Payload::Blank }),
        BATCH => {
            let (log_id, rest) = postcard::take_from_bytes(rest).map_err(|_| DecodeError::Damaged)?;
            let batch = LogBatch::decode(rest)?;
            Record::Entry(Entry { log_id, payload: Payload::Normal(batch) })
        }
        MEMBERSHIP => {
            let (log_id, members) = whole(rest)?;
            Record::Entry(Entry { log_id, payload: Payload::Membership(members) })
        }
        VOTE => Record::Vote(whole(rest)?),
        TRUNCATE => Record::Truncate(whole(rest)?),
        PURGE => Record::Purge(whole(rest)?),
        MARK => Record::Mark(whole(rest)?),
        SEAL if rest.is_empty() => Record::Seal,
        BEGIN => Record::Begin(whole(rest)?),
        _ => return Err(DecodeError::Damaged),
    })
}

fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::Damaged),
    }
}

/// Adds a record to `buffer`; `body` writes its body.
pub(super) fn frame(
    buffer: &mut Vec<u8>,
    segment: u64,
    number: u64,
    durable: u64,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    body(buffer);
    let length = u32::try_from(buffer.len() - start - HEADER).expect("a batch is far smaller than 4 GiB");
    buffer.resize(start + padded(buffer.len() - start), 0);
    buffer[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    buffer[start + 8..start + 16].copy_from_slice(&number.to_le_bytes());
    buffer[start + 16..start + 24].copy_from_slice(&durable.to_le_bytes());
    let check = check(segment, &buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&check.to_le_bytes());
}

/// Reads bytes as records of a log one after another, and as the body of one whose check has passed.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_anything(mut bytes: &[u8]) {
    let _ = parse(bytes);
    let _ = claimed_number(bytes);
    while let Some(framed) = unframe(bytes, 1) {
        let _ = parse(framed.body);
        bytes = &bytes[framed.length..];
    }
}

/// A record whose check has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framed<'a> {
    pub(super) number: u64,
    pub(super) durable: u64,
    pub(super) body: &'a [u8],
    /// How many bytes it takes up.
    pub(super) length: usize,
}

/// The record at the beginning of `bytes`, if an undamaged one is there.
pub(super) fn unframe(bytes: &[u8], segment: u64) -> Option<Framed<'_>> {
    let header = bytes.first_chunk::<HEADER>()?;
    let body = usize::try_from(u32::from_le_bytes(*header[4..].first_chunk()?)).ok()?;
    let length = padded(HEADER.checked_add(body)?);
    if body == 0 || length > bytes.len() {
        return None;
    }
    let claimed = u32::from_le_bytes(*header.first_chunk()?);
    (claimed == check(segment, &bytes[4..length])).then_some(Framed {
        number: u64::from_le_bytes(*header[8..].first_chunk()?),
        durable: u64::from_le_bytes(*header[16..].first_chunk()?),
        body: &bytes[HEADER..HEADER + body],
        length,
    })
}

/// The number that a record at the beginning of `bytes` would have, damaged or not.
pub(super) fn claimed_number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?))
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// A record of one segment is not one of another, wherever its bytes turn up.
fn check(segment: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
