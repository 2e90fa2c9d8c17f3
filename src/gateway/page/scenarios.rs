//! Scenario files: drop one, it is played on a cluster of its own, and the outputs are shown.
//!
//! The gateway does not know how scenarios are played; the server gives it a player.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::parts::{self, refused};
use super::screen::head;
use super::text;
use crate::gateway::House;
use crate::model::Failure;

/// What playing a scenario file gave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Played {
    /// The format that was found.
    pub format: String,
    /// What was noticed in the file and tolerated.
    pub warnings: Vec<String>,
    /// The files that were written: name and text.
    pub files: Vec<(String, String)>,
    /// The space-time diagram in SVG, when the format has clocks.
    pub diagram: Option<String>,
}

/// The outcome of a scenario, on its way.
pub type Playing = Pin<Box<dyn Future<Output = Result<Played, Failure>> + Send>>;

/// Plays scenario files.
#[derive(Clone)]
pub struct Player(Arc<dyn Fn(Vec<u8>) -> Playing + Send + Sync>);

impl Player {
    /// A player that plays by calling a function with the content of the file.
    #[must_use]
    pub fn new(play: impl Fn(Vec<u8>) -> Playing + Send + Sync + 'static) -> Player {
        Player(Arc::new(play))
    }

    /// Plays a file.
    ///
    /// # Errors
    /// What is wrong with it, with its place; or why it could not be played.
    pub(super) async fn play(&self, file: Vec<u8>) -> Result<Played, Failure> {
        (self.0)(file).await
    }
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Player")
    }
}

const EXAMPLE: &str = r#"[
  {"id": 1, "type": "customer", "events": [
    {"id": 1, "interface": "deposit", "money": 40},
    {"id": 2, "interface": "query"}]},
  {"id": 2, "type": "customer", "events": [
    {"id": 3, "interface": "withdraw", "money": 90},
    {"id": 4, "interface": "query"}]},
  {"id": 1, "type": "branch", "balance": 250},
  {"id": 2, "type": "branch", "balance": 250}
]"#;

/// The frame of the screen.
pub(super) fn body(house: &House) -> Markup {
    html! {
        (head("Scenarios", html! { "Play a file of customers and branches on a cluster of its own. This bank's accounts are not touched." }, html! {}))
        @if house.player.is_none() {
            div.notice {
                strong { "This server plays no scenarios." }
                p { "Start it with " code { "--lab" } " to play files here, or use " code { "bank-client run input.json" } "." }
            }
        } @else {
            div.card {
                form #scenario data-scenario novalidate {
                    div.drop data-drop {
                        (parts::icon("scenarios"))
                        p { strong { "Drop an " code { "input.json" } " here" } " or "
                            label.button.ghost for="scenario-file" { "choose a file" }
                            input.hidden type="file" id="scenario-file" accept=".json,application/json" aria-describedby="scenario-hint"; }
                        p.hint #scenario-hint { "All five formats are recognised; at most 256 KiB." }
                    }
                    div.field {
                        label for="scenario-text" { "The file" }
                        textarea.mono id="scenario-text" name="text" rows="12" spellcheck="false" { (EXAMPLE) }
                        p.form-error role="alert" data-form-error hidden {}
                    }
                    button.primary type="submit" { "Play" }
                }
            }
            div #outcome aria-live="polite" {}
        }
    }
}

/// What came of it.
pub(super) fn outcome(played: Result<Played, Failure>) -> Markup {
    let played = match played {
        Ok(played) => played,
        Err(failure) => return refused(&failure),
    };
    html! {
        section.card aria-labelledby="outcome-title" {
            div.card-head { h2 #outcome-title { "Outcome" } p.quiet { "format " (played.format) } }
            @if !played.warnings.is_empty() {
                div.notice.warn { strong { (text::count(u64::try_from(played.warnings.len()).unwrap_or(u64::MAX))) " things were tolerated" }
                    ul { @for warning in &played.warnings { li { (warning) } } } }
            }
            @if let Some(diagram) = &played.diagram {
                h3 { "Space-time diagram" }
                // As a picture of its own, so that its style sheet is not one of the page's.
                (parts::scrolling("Space-time diagram", html! {
                    img.diagram src={ "data:image/svg+xml;base64," (STANDARD.encode(diagram)) }
                        alt="Every customer and branch on a line of its own, and an arrow for every message; the outputs below say the same";
                }))
            }
            @for (place, (name, content)) in played.files.iter().enumerate() {
                details open[place == 0] {
                    summary { (name) }
                    div.file-actions { button.ghost type="button" data-save=(name) { (parts::icon("download")) "Save " (name) } }
                    pre tabindex="0" { (content) }
                }
            }
        }
    }
}
