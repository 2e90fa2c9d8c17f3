//! Programs that speak the protocols of the servers and lie, or take all they can get: what somebody who reaches the
//! port can send in the name of a replica, of a branch or of a caller, and what must not come of it.

mod branch;
mod greed;
mod peer;
mod replicas;
