//! What is wrong with a file, and where.

use std::io;

/// A place in a file whose bytes are not what was written there. Nothing at or behind it can be trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file} is damaged at byte {offset}: {what}")]
pub struct Damage {
    /// The file, relative to the data directory.
    pub file: String,
    /// The first byte that is concerned.
    pub offset: u64,
    /// What was found.
    pub what: String,
}

impl Damage {
    pub(super) fn new(file: &str, offset: u64, what: impl Into<String>) -> Damage {
        Damage { file: file.to_owned(), offset, what: what.into() }
    }
}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, damage)
    }
}
