//! The bytes of a batch: one version byte, then postcard. The bytes are pinned by golden files, because
//! logs and peers of another version read them.

use serde::de::DeserializeOwned;

use super::{Batch, Trace};

/// Version of the encoding, the first byte.
const VERSION: u8 = 1;
/// The same, followed by the traces of proposals.
const TRACED: u8 = 2;

/// A proposal's place in its batch, from 0, and its trace.
pub type Traced = (u32, Trace);

/// Encodes a batch.
#[must_use]
pub fn encode_batch(batch: &Batch) -> Vec<u8> {
    encode_traced(batch, &[])
}

/// Encodes a batch and the traces of its proposals. Without any the bytes are those of the batch alone.
#[must_use]
pub fn encode_traced(batch: &Batch, traces: &[Traced]) -> Vec<u8> {
    let encoded = if traces.is_empty() {
        postcard::to_extend(batch, vec![VERSION])
    } else {
        postcard::to_extend(&(batch, traces), vec![TRACED])
    };
    encoded.expect("a vector takes every byte that is written to it")
}

/// Decodes a batch.
///
/// # Errors
/// [`DecodeError`] for another version, for bytes that are no batch, and for bytes left over.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, DecodeError> {
    decode_traced(bytes).map(|(batch, _)| batch)
}

/// Decodes a batch and its traces.
///
/// # Errors
/// As [`decode_batch`].
pub fn decode_traced(bytes: &[u8]) -> Result<(Batch, Vec<Traced>), DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Damaged)?;
    match version {
        VERSION => Ok((whole(body)?, Vec::new())),
        TRACED => whole(body),
        _ => Err(DecodeError::Version { found: version, known: TRACED }),
    }
}

fn whole<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
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
