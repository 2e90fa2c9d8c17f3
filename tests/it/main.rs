//! Integration tests over real servers on port 0, in one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod batches;
mod bench;
mod branch_clients;
mod branches;
mod chains;
mod cli;
mod client;
mod compat;
mod crash;
mod demo;
mod exports;
mod holds;
mod hostile;
mod house;
mod limits;
mod moments;
mod process;
mod proxy;
mod readme;
mod reasons;
mod replicas;
mod rest;
mod runs;
mod scenario;
mod sessions;
mod statements;
mod stress;
mod support;
mod traces;
mod transfers;
mod watch;
