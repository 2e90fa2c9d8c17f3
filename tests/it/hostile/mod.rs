//! Programs that speak the protocols of the servers and lie, or take all they can get.

mod branch;
mod greed;
