//! The protocol as a model, and whole branches through everything bad that happens between them.

mod lies;
pub(crate) mod life;
mod model;
pub(crate) mod world;
