//! The protocol as a model, and whole branches through everything bad that happens between them.

mod life;
mod model;
mod world;
