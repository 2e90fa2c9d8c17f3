//! The commands about scenario files and traces: their grammar, and what does them.
//!
//! Invariant: `cli` knows nothing of scenarios but these words. The program that puts the rooms together gives
//! the [`Scenarios`] that do the work.
//!
//! Architecture invariant: pure.

use std::path::{Path, PathBuf};

use clap::builder::{NonEmptyStringValueParser, PathBufValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

use crate::model::{Exit, Failure};

use super::grammar::OutputWish;

/// What the commands about scenarios do. They may take long and block, also from within a runtime.
pub trait Scenarios: Sync {
    /// Plays scenario files and writes their outputs, up to the first that fails, or all of them with `keep_going`.
    ///
    /// # Errors
    /// When nothing can be played. A file that cannot be read, played or written is in [`Told::failures`].
    fn run(&self, wish: &RunArgs, keep_going: bool) -> Result<Told, Failure>;

    /// Judges the trace in a folder.
    ///
    /// # Errors
    /// When its files cannot be read. A trace that is not sound is an answer, with its exit code.
    fn check_trace(&self, folder: &Path, json: bool) -> Result<Told, Failure>;

    /// Draws the trace in a folder.
    ///
    /// # Errors
    /// When files cannot be read or written.
    fn diagram(&self, folder: &Path, file: &Path, format: DiagramFormat) -> Result<Told, Failure>;
}

/// What a command has to say when it is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// For standard output.
    pub data: String,
    /// For standard error.
    pub messages: String,
    /// What failed; the worst of them decides how the program ends.
    pub failures: Vec<Failure>,
    /// How the program ends when nothing failed.
    pub exit: Exit,
}

/// `run`
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Scenario files, played one after another; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Where the outputs go; with several files, each into a folder there with its name, and with as much of its path
    /// as it takes to tell them apart
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// The form of the file and its outputs
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto", ignore_case = true)]
    pub format: ScenarioFormat,
    /// Let customers take turns in an order drawn from this number, so that outputs can be repeated
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Refuse what would only be warned about
    #[arg(long)]
    pub strict: bool,
    /// Let customers run side by side where they would run one after another
    #[arg(long)]
    pub concurrent: bool,
    /// Running servers to play against, in the order of the file's branches; without, a cluster is started
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub connect: Vec<String>,
    /// How the messages between branches are spelled in the outputs
    #[arg(long, value_enum, value_name = "WORD", default_value = "propagate")]
    pub spelling: Spelling,
}

/// The form of a scenario file.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScenarioFormat {
    /// Found in the file.
    Auto,
    /// One object per customer entry.
    P1,
    /// Logical clocks.
    P2,
    /// Logical clocks in the older form.
    #[value(name = "p2old")]
    P2Old,
    /// One object per event.
    P3,
    /// One balance per query.
    #[value(name = "p3old")]
    P3Old,
}

impl ScenarioFormat {
    /// The tag of the dialect; none when the file is to be asked.
    #[must_use]
    pub fn tag(self) -> Option<&'static str> {
        match self {
            ScenarioFormat::Auto => None,
            ScenarioFormat::P1 => Some("p1"),
            ScenarioFormat::P2 => Some("p2"),
            ScenarioFormat::P2Old => Some("p2old"),
            ScenarioFormat::P3 => Some("p3"),
            ScenarioFormat::P3Old => Some("p3old"),
        }
    }
}

/// How the messages between branches are spelled.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    /// `propagate_deposit`
    Propagate,
    /// `propogate_deposit`
    Propogate,
}

/// `check-trace`
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckTraceArgs {
    /// The folder with customer_outputs.json, branch_outputs.json and event_outputs.json
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// `diagram`
#[derive(Args, Clone, Debug)]
pub(crate) struct DiagramArgs {
    /// The folder with customer_outputs.json, branch_outputs.json and event_outputs.json
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The file to write; - is standard output
    // The name of the `-o` that every other command has; it must have its type too, because clap passes the
    // value up to where that one stands.
    #[arg(
        id = "output",
        short,
        long,
        value_name = "FILE",
        required = true,
        value_parser = PathBufValueParser::new().map(OutputWish::To)
    )]
    file: OutputWish,
    /// svg for a browser, shiviz for that visualiser
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "svg")]
    pub(crate) format: DiagramFormat,
}

impl DiagramArgs {
    /// The file to write; `-` is standard output.
    pub(crate) fn file(&self) -> &Path {
        match &self.file {
            OutputWish::To(file) => file,
            OutputWish::As(_) => Path::new("-"),
        }
    }
}

/// How a trace is drawn.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiagramFormat {
    /// A space-time diagram.
    Svg,
    /// A log with vector clocks.
    Shiviz,
}
