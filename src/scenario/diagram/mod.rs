//! A trace as a picture: a space-time diagram in SVG, or a log for ShiViz.
//!
//! Only a sound trace is drawn, so every arrow leads from an earlier to a later clock. Like an output of a
//! run, a picture is written by displaying it.
//!
//! Architecture invariant: pure.

mod scene;
mod shiviz;
mod svg;

use std::fmt;

use super::check::{Verdict, judge};
use super::trace::{Recorded, TraceFiles};
use scene::Scene;

/// Most rows of a picture; with more nobody sees anything, and browsers give up.
pub const DIAGRAM_ROWS: usize = 20_000;

/// How to draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DiagramFormat {
    /// One lifeline per process from left to right, an arrow per message, clocks at the events.
    #[default]
    Svg,
    /// The input of the ShiViz visualiser, with vector clocks.
    Shiviz,
}

/// Why a trace is not drawn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotDrawn {
    /// The rules of logical clocks do not hold in it.
    #[error("a trace is drawn when it is sound")]
    NotSound(Box<Verdict>),
    /// More than [`DIAGRAM_ROWS`] rows.
    #[error("the trace has {0} rows and a diagram at most {DIAGRAM_ROWS}")]
    TooLarge(usize),
}

/// A picture. Displaying it writes the file.
#[derive(Debug)]
pub struct Diagram {
    scene: Scene,
    format: DiagramFormat,
}

impl Diagram {
    /// The picture of a trace.
    ///
    /// # Errors
    /// [`NotDrawn`]
    pub fn new(files: TraceFiles<'_>, format: DiagramFormat) -> Result<Diagram, NotDrawn> {
        let recorded = Recorded::read(files);
        if recorded.events.len() > DIAGRAM_ROWS {
            return Err(NotDrawn::TooLarge(recorded.events.len()));
        }
        let verdict = judge(&recorded);
        if verdict.is_sound() {
            Ok(Diagram { scene: Scene::of(&recorded), format })
        } else {
            Err(NotDrawn::NotSound(Box::new(verdict)))
        }
    }
}

impl fmt::Display for Diagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            DiagramFormat::Svg => svg::write(&self.scene, f),
            DiagramFormat::Shiviz => shiviz::write(&self.scene, f),
        }
    }
}
