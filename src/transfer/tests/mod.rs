//! The protocol as a model, and whole branches that simulate everything bad between them.

mod model;
