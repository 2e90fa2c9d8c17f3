//! Integration tests over real servers on port 0, in one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod cli;
mod client;
mod proxy;
