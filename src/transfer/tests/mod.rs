//! The protocol as a model, and whole branches through everything bad that happens between them.

mod lies;
mod life;
mod model;
mod world;
