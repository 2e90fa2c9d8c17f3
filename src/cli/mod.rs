//! `bank-client`.
//!
//! Architecture invariant: uses `client` and `model` only.

pub mod bench;
