//! The space-time diagram: time runs to the right in steps of the Lamport clock, one lifeline per process.
//!
//! All sizes are whole pixels. The background is drawn, so that the picture looks the same on a dark page.

use std::collections::BTreeSet;
use std::fmt;

use super::scene::{Scene, SceneEvent};
use crate::scenario::trace::Who;

/// Between two lifelines.
const LANE: usize = 40;
/// Between two clocks, at least.
const STEP: usize = 30;
/// Around everything.
const MARGIN: usize = 20;
/// For title and legend.
const HEAD: usize = 64;
/// Between a branch and the customers of the next one.
const GAP: usize = 16;
/// Width of a character of a label, and of a clock.
const LETTER: usize = 8;
const DIGIT: usize = 7;
/// Radius of an event.
const DOT: usize = 4;
/// An arrow ends this far before its event, so that its head is seen.
const HEAD_ROOM: usize = 6;

/// One colour per customer, again from the start when they run out; all are readable on the background.
const COLORS: [&str; 8] =
    ["#1f5fa8", "#b3471d", "#2c7a3f", "#7a3b94", "#a1283b", "#1b7a80", "#7a6200", "#515a66"];

const STYLE: &str = "text{font-family:ui-monospace,Menlo,Consolas,monospace;fill:#22262b}\
.n{font-size:13px}.c{font-size:11px;text-anchor:middle;paint-order:stroke;stroke:#fcfcf9;stroke-width:3px}.h{font-size:15px;font-weight:600}\
.l{stroke:#b9bec5;stroke-width:1}.m{fill:none;stroke-width:1.4}\
.r{fill:#fcfcf9;stroke-width:2}g:hover>.m{stroke-width:3}";

/// Where things are.
struct Layout {
    left: usize,
    step: usize,
    width: usize,
    height: usize,
    /// The clocks that occur, ascending: nothing is drawn for the others.
    clocks: Vec<u64>,
    /// The height of each lifeline.
    lanes: Vec<usize>,
}

impl Layout {
    fn of(scene: &Scene) -> Layout {
        let clocks: BTreeSet<u64> = scene.events.iter().map(|event| event.clock).collect();
        let clocks: Vec<u64> = clocks.into_iter().collect();
        let label = scene.processes.iter().map(|who| who.to_string().len()).max().unwrap_or_default();
        let left = MARGIN * 2 + label * LETTER;
        let digits = clocks.last().map_or(1, |clock| clock.to_string().len());
        let step = STEP.max(digits * DIGIT + DIGIT);
        let mut lanes = Vec::with_capacity(scene.processes.len());
        let mut y = HEAD + MARGIN;
        let mut after_branch = false;
        for who in &scene.processes {
            let is_branch = matches!(who, Who::Branch(_));
            if after_branch && !is_branch {
                y += GAP;
            }
            after_branch = is_branch;
            lanes.push(y);
            y += LANE;
        }
        // Wide enough for the legend, and the names again at the right end.
        let width = (left * 2 + (clocks.len() + 1) * step).max(620);
        Layout { left, step, width, height: y + MARGIN, clocks, lanes }
    }

    fn x(&self, event: &SceneEvent) -> usize {
        let rank = self.clocks.partition_point(|clock| *clock < event.clock);
        self.left + (rank + 1) * self.step
    }

    fn y(&self, process: usize) -> usize {
        self.lanes.get(process).copied().unwrap_or_default()
    }
}

pub(super) fn write(scene: &Scene, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let layout = Layout::of(scene);
    let Layout { width, height, .. } = layout;
    writeln!(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">"
    )?;
    head(scene, f)?;
    writeln!(f, "<rect width=\"{width}\" height=\"{height}\" fill=\"#fcfcf9\"/>")?;
    legend(f)?;
    for (at, who) in scene.processes.iter().enumerate() {
        lifeline(&layout, at, *who, f)?;
    }
    for event in &scene.events {
        if let Some(send) = event.cause.and_then(|cause| scene.events.get(cause)) {
            arrow(scene, &layout, send, event, f)?;
        }
    }
    for event in &scene.events {
        dot(scene, &layout, event, f)?;
    }
    writeln!(f, "</svg>")
}

fn head(scene: &Scene, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let customers = scene.processes.iter().filter(|who| matches!(who, Who::Customer(_))).count();
    let branches = scene.processes.len() - customers;
    let messages = scene.events.iter().filter(|event| event.cause.is_some()).count();
    writeln!(
        f,
        "<title>Space-time diagram: {customers} customers, {branches} branches, {messages} messages</title>"
    )?;
    writeln!(f, "<style>{STYLE}</style>")?;
    f.write_str("<defs>")?;
    for (at, color) in COLORS.iter().enumerate() {
        writeln!(
            f,
            "<marker id=\"to{at}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{color}\"/></marker>"
        )?;
    }
    writeln!(f, "</defs>")
}

fn legend(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (x, title, line) = (MARGIN, MARGIN + 12, MARGIN + 36);
    writeln!(f, "<text class=\"h\" x=\"{x}\" y=\"{title}\">Messages and Lamport clocks</text>")?;
    let text = "\u{25cf} sent  \u{25cb} received  numbers: clocks  colours: customers";
    writeln!(f, "<text class=\"n\" x=\"{x}\" y=\"{line}\" xml:space=\"preserve\">{}</text>", Escaped(text))
}

fn lifeline(layout: &Layout, at: usize, who: Who, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (y, name) = (layout.y(at), who.to_string());
    let (from, to) = (layout.left, layout.width.saturating_sub(layout.left));
    let (text_y, after) = (y + 4, to + MARGIN);
    let name = Escaped(&name);
    writeln!(
        f,
        "<g><title>{name}</title><line class=\"l\" x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\"/>"
    )?;
    writeln!(f, "<text class=\"n\" x=\"{MARGIN}\" y=\"{text_y}\">{name}</text>")?;
    writeln!(f, "<text class=\"n\" x=\"{after}\" y=\"{text_y}\">{name}</text></g>")
}

fn arrow(
    scene: &Scene,
    layout: &Layout,
    send: &SceneEvent,
    receive: &SceneEvent,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (x1, x2) = (layout.x(send), layout.x(receive));
    let (y1, y2) = (layout.y(send.process), layout.y(receive.process));
    // The head stands before the dot, on the side from which the arrow comes.
    let end = if y1 < y2 { y2.saturating_sub(HEAD_ROOM) } else { y2 + HEAD_ROOM };
    let (color, marker, sender) = (color(send), send.asker % COLORS.len(), process(scene, send));
    let title = format!("{} at clock {}: {} at clock {}", sender, send.clock, send.text, receive.clock);
    writeln!(
        f,
        "<g><title>{}</title><path class=\"m\" d=\"M{x1} {y1}L{x2} {end}\" stroke=\"{color}\" marker-end=\"url(#to{marker})\"/></g>",
        Escaped(&title)
    )
}

fn dot(scene: &Scene, layout: &Layout, event: &SceneEvent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (x, y, color) = (layout.x(event), layout.y(event.process), color(event));
    let (class, fill) = if event.cause.is_some() { (" class=\"r\"", "none") } else { ("", color) };
    let title = format!("{}, clock {}: {}", process(scene, event), event.clock, event.text);
    let above = y.saturating_sub(DOT * 2 + 1);
    writeln!(
        f,
        "<g><title>{}</title><circle{class} cx=\"{x}\" cy=\"{y}\" r=\"{DOT}\" fill=\"{fill}\" stroke=\"{color}\"/><text class=\"c\" x=\"{x}\" y=\"{above}\">{}</text></g>",
        Escaped(&title),
        event.clock
    )
}

fn color(event: &SceneEvent) -> &'static str {
    COLORS.get(event.asker % COLORS.len()).copied().unwrap_or("#515a66")
}

fn process(scene: &Scene, event: &SceneEvent) -> String {
    scene.processes.get(event.process).map_or_else(String::new, Who::to_string)
}

/// Text of an XML document.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}
