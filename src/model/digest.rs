//! The running hash of applied records.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A BLAKE3 hash over everything a ledger has applied, equal on all replicas at equal sequences.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
