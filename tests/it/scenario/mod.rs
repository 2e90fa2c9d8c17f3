//! Scenario files without servers: outputs against an oracle, the checker against broken traces, pictures.

mod check;
mod diagram;
mod examples;
pub(crate) mod play;
mod programs;
mod report;
pub(crate) mod story;
