//! Programs that speak the protocols of the servers and lie.

mod branch;
