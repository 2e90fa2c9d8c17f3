//! Scenario files: course inputs of customers and branches, read, played on real replicas, reported and
//! checked.
//!
//! `input` reads a file into a [`Plan`]; a runner plays it with the ordinary client and fills a
//! [`Played`]; `report` writes the outputs of the plan's dialect from the two. `check` and `diagram` work on
//! written traces alone, so that anybody's can be judged.
//!
//! Architecture invariant: uses `client` and `model` only; everything but the runner (`run`, `bank`, `record`) and `files` is pure.

mod bank;
pub mod check;
pub mod diagram;
pub mod files;
pub mod input;
mod plan;
mod played;
mod record;
pub mod report;
mod run;
mod trace;

pub use plan::{Dialect, Entry, Event, Interface, Misfit, Plan, RequestIndex, Step, Target, UNASKED_ROWS};
pub use played::{Answer, Played, Process, TraceKind, TraceRow, Untraced};
pub use run::{RunError, Stage, play};
pub use trace::TraceFiles;
