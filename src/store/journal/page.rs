//! The pages that a journal on disk is made of.
//!
//! A page has [`PAGE`] bytes: a header, then records one after the other, then zeroes; no record crosses the
//! end of a page. The header holds its own CRC-32, the version, the sequence of the first record, and a
//! hash of the page before and its hash (the chain). A record is its length, its CRC-32 and its body in postcard.
//! So a record is found by looking at headers, and a change anywhere is seen.

use super::super::directory::DirectoryError;
use crate::model::{Applied, Sequence};

/// Bytes of a page.
pub(super) const PAGE: usize = 16 * 1024;
/// Version of pages and records.
const VERSION: u8 = 1;
/// Bytes of a header: checksum, version and three zeroes, sequence, chain.
pub(super) const HEADER: usize = 4 + 4 + 8 + 32;
/// Bytes before the body of a record: length and checksum.
const FRAME: usize = 2 + 4;

/// The hash that ties a page to everything before it. All zero where a journal begins.
pub(super) type Chain = [u8; 32];

/// What a page says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) first: Sequence,
    pub(super) chain: Chain,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[4] = VERSION;
        bytes[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.chain);
        let checksum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header; says what is wrong with it.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Header, String> {
        let (checksum, rest) = bytes.split_first_chunk().ok_or("it is too short")?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
            return Err("the header of a page does not match its checksum".to_owned());
        }
        if rest[0] != VERSION {
            return Err(format!("journal version {}; this program reads version {VERSION}", rest[0]));
        }
        let first = rest[4..].first_chunk().ok_or("it is too short")?;
        let chain = rest[12..].first_chunk().ok_or("it is too short")?;
        Ok(Header { first: Sequence(u64::from_le_bytes(*first)), chain: *chain })
    }
}

/// The chain after a page.
pub(super) fn chain_after(page: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(page);
    hasher.update(&[0; PAGE][..PAGE - page.len().min(PAGE)]);
    *hasher.finalize().as_bytes()
}

/// Appends a record to a page if it fits.
pub(super) fn push(page: &mut Vec<u8>, record: &Applied) -> bool {
    let start = page.len();
    page.extend([0; FRAME]);
    let body = postcard::to_extend(record, std::mem::take(page));
    *page = body.expect("a vector takes every byte that is written to it");
    if page.len() > PAGE {
        page.truncate(start);
        return false;
    }
    let length = u16::try_from(page.len() - start - FRAME).expect("a record is smaller than a page");
    let checksum = crc32fast::hash(&page[start + FRAME..]);
    page[start..start + 2].copy_from_slice(&length.to_le_bytes());
    page[start + 2..start + FRAME].copy_from_slice(&checksum.to_le_bytes());
    true
}

/// A page read from a file.
pub(super) struct Page {
    /// The file it is from, and where it stands there.
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) header: Header,
    pub(super) bytes: Vec<u8>,
}

impl Page {
    /// The bytes of a page, up to the end of the file when that comes earlier.
    pub(super) fn new(file: &str, offset: u64, bytes: Vec<u8>) -> Result<Page, DirectoryError> {
        let head = bytes
            .first_chunk()
            .ok_or_else(|| DirectoryError::damaged(file, offset, "a page is cut in its header"))?;
        let header = Header::decode(head).map_err(|what| DirectoryError::damaged(file, offset, what))?;
        Ok(Page { file: file.to_owned(), offset, header, bytes })
    }

    /// The records in order. Nothing comes after damage.
    pub(super) fn records(&self) -> Records<'_> {
        Records { page: self, at: HEADER, next: self.header.first }
    }

    fn damage(&self, at: usize, what: &str) -> DirectoryError {
        DirectoryError::damaged(&self.file, self.offset + at as u64, what)
    }
}

/// Reads bytes as the records of a page whose header is in order, each with and without its checksum.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_anything(bytes: &[u8]) {
    let header = Header { first: Sequence(1), chain: [0; 32] };
    let mut page = header.encode().to_vec();
    page.extend_from_slice(bytes);
    page.truncate(PAGE);
    let page = Page::new("page", 0, page).expect("the header is in order");
    for place in page.records().map_while(Result::ok) {
        let _ = place.read();
    }
    let _ = Page::new("page", 0, bytes.to_vec());
    let _ = postcard::from_bytes::<Applied>(bytes);
}

/// The records of a page, not decoded yet.
pub(super) struct Records<'a> {
    page: &'a Page,
    at: usize,
    next: Sequence,
}

/// Where a record stands.
pub(super) struct Place<'a> {
    page: &'a Page,
    pub(super) sequence: Sequence,
    start: usize,
    /// Where the next record begins, from the beginning of the page.
    pub(super) end: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Place<'a>, DirectoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, bytes) = (self.at, &self.page.bytes);
        let length: [u8; 2] = *bytes.get(start..)?.first_chunk()?;
        let length = usize::from(u16::from_le_bytes(length));
        if length == 0 {
            self.at = usize::MAX;
            let rest = bytes[start..].iter().position(|byte| *byte != 0);
            return rest
                .map(|at| Err(self.page.damage(start + at, "there is something behind the last record")));
        }
        let end = start + FRAME + length;
        if end > bytes.len() {
            self.at = usize::MAX;
            return Some(Err(self.page.damage(start, "a record is cut")));
        }
        let sequence = self.next;
        self.next = sequence.next();
        self.at = end;
        Some(Ok(Place { page: self.page, sequence, start, end }))
    }
}

impl Place<'_> {
    /// Whether the record is as it was written; its body.
    pub(super) fn check(&self) -> Result<&[u8], DirectoryError> {
        let bytes = &self.page.bytes[self.start..self.end];
        let damage = |what| self.page.damage(self.start, what);
        let checksum: [u8; 4] = *bytes[2..].first_chunk().ok_or_else(|| damage("a record is cut"))?;
        let body = &bytes[FRAME..];
        if crc32fast::hash(body) != u32::from_le_bytes(checksum) {
            return Err(damage("a record does not match its checksum"));
        }
        Ok(body)
    }

    /// The record itself.
    pub(super) fn read(&self) -> Result<Applied, DirectoryError> {
        let body = self.check()?;
        let damage = |what| self.page.damage(self.start, what);
        match postcard::take_from_bytes::<Applied>(body) {
            Ok((record, [])) if record.sequence == self.sequence => Ok(record),
            Ok((_, [])) => Err(damage("a record is at the place of another")),
            Ok(_) | Err(_) => Err(damage("a record cannot be decoded")),
        }
    }
}
