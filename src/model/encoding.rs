//! The bytes of a batch: one version byte, then postcard. The bytes are pinned by golden files, because
//! logs and peers of another version read them.

use super::Batch;

/// Version of the encoding, the first byte.
const VERSION: u8 = 1;

/// Encodes a batch.
#[must_use]
pub fn encode_batch(batch: &Batch) -> Vec<u8> {
    postcard::to_extend(batch, vec![VERSION]).expect("a vector takes every byte that is written to it")
}

/// Decodes a batch.
///
/// # Errors
/// [`DecodeError`] for another version, for bytes that are no batch, and for bytes left over.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Damaged)?;
    if version != VERSION {
        return Err(DecodeError::Version { found: version, known: VERSION });
    }
    match postcard::take_from_bytes(body) {
        Ok((batch, [])) => Ok(batch),
        Ok(_) | Err(_) => Err(DecodeError::Damaged),
    }
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version of this program.
    #[error("encoding version {found}; this program reads version {known}")]
    Version {
        /// The version found.
        found: u8,
        /// The version this program writes.
        known: u8,
    },
    /// Not the encoding of a value.
    #[error("the bytes are damaged")]
    Damaged,
}
