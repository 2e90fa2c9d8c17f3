//! Drawings in SVG, laid out in whole numbers. The text of everything drawn also stands in a table on the page.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::lookout::RATES;
use super::text::{self, Sum};

/// A balance at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Point {
    /// Microseconds since the epoch.
    pub(super) at: u64,
    /// Minor units.
    pub(super) value: i64,
    /// The time as machines read it, and as people do in UTC.
    pub(super) moment: String,
    pub(super) label: String,
}

const WIDTH: i64 = 560;
const HEIGHT: i64 = 210;
const LEFT: i64 = 8;
const RIGHT: i64 = 92;
const TOP: i64 = 14;
const BOTTOM: i64 = 26;
/// Most lines of the grid.
const LINES: i64 = 5;

/// Where a value lies between two others, on a way of some length; in the middle when there is no between.
fn place(value: i64, low: i64, high: i64, length: i64) -> i64 {
    let span = i128::from(high) - i128::from(low);
    if span <= 0 {
        return length / 2;
    }
    let part = (i128::from(value) - i128::from(low)).clamp(0, span) * i128::from(length) / span;
    i64::try_from(part).unwrap_or(length)
}

/// A round step, so that at most [`LINES`] of them span a range.
fn step(span: i64) -> i64 {
    let least = (span / LINES).max(1);
    let mut size = 1;
    loop {
        for factor in [1, 2, 5] {
            if size * factor >= least {
                return size * factor;
            }
        }
        size *= 10;
    }
}

/// A balance over time: steps, because money stays until it moves.
pub(super) fn balance(points: &[Point]) -> Markup {
    let values = || points.iter().map(|point| point.value);
    let (low, high) = (values().min().unwrap_or(0).min(0), values().max().unwrap_or(0).max(0));
    let rise = step((high - low).max(1));
    let (low, high) = (low.div_euclid(rise) * rise, (high + rise - 1).div_euclid(rise) * rise);
    let time = |point: &Point| i64::try_from(point.at).unwrap_or(i64::MAX);
    let (first, last) = (points.first().map_or(0, time), points.last().map_or(0, time));
    let x = |point: &Point| LEFT + place(time(point), first, last, WIDTH - LEFT - RIGHT);
    let y = |value| HEIGHT - BOTTOM - place(value, low, high, HEIGHT - TOP - BOTTOM);
    let mut line = String::new();
    for (number, point) in points.iter().enumerate() {
        let (x, y) = (x(point), y(point.value));
        // Writing to a string cannot fail.
        let _ = if number == 0 { write!(line, "M{x} {y}") } else { write!(line, "H{x}V{y}") };
    }
    let base = y(0);
    let area = format!("{line}V{base}H{LEFT}Z");
    let grid: Vec<i64> = (0..=(high - low) / rise).map(|number| low + number * rise).collect();
    let ends = [(points.first(), LEFT, "start"), (points.last(), WIDTH - RIGHT, "end")];
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Balance over time; the same is in the table below" {
            @for value in grid {
                line.grid.zero[value == 0] x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(value)) y2=(y(value)) {}
                text.axis.value x=(WIDTH - RIGHT + 8) y=(y(value) + 4) { (Sum::of(&text::from_minor(value)).text()) }
            }
            path.area d=(area) {}
            path.line d=(line) {}
            @if let Some(point) = points.last() { circle.now cx=(x(point)) cy=(y(point.value)) r="4" {} }
            @for point in points {
                circle.hover cx=(x(point)) cy=(y(point.value)) r="9" {
                    @let amount = format!(": {}", Sum::of(&text::from_minor(point.value)).text());
                    title data-moment=(point.moment) data-suffix=(amount) { (point.label) (amount) }
                }
            }
            @for (point, x, anchor) in ends {
                @if let Some(point) = point { text.axis data-moment=(point.moment) x=(x) y=(HEIGHT - 6) text-anchor=(anchor) { (point.label) } }
            }
        }
    }
}

/// The rate of the last rounds, as bars.
pub(super) fn spark(rates: impl Iterator<Item = u64>, branch: &str) -> Markup {
    const BAR: i64 = 4;
    const HEIGHT: i64 = 36;
    let rates: Vec<i64> = rates.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX)).collect();
    let most = rates.iter().copied().max().unwrap_or(0);
    let rounds = i64::try_from(RATES).unwrap_or(i64::MAX);
    let begin = rounds - i64::try_from(rates.len()).unwrap_or(rounds);
    html! {
        svg.sparkline viewBox={ "0 0 " (rounds * BAR) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            aria-label={ "Operations per second of branch " (branch) " in the last minute, at most " (text::count(u64::try_from(most).unwrap_or(0))) } {
            line.grid x1="0" x2=(rounds * BAR) y1=(HEIGHT) y2=(HEIGHT) {}
            @for (place_of, rate) in (begin..).zip(&rates) {
                @let height = if most == 0 { 0 } else { place(*rate, 0, most, HEIGHT - 2) };
                @if height > 0 || *rate > 0 {
                    rect x=(place_of * BAR) y=(HEIGHT - height.max(1)) width=(BAR - 1) height=(height.max(1)) {}
                }
            }
        }
    }
}

/// Log, committed and applied of one replica on an axis that all replicas share.
pub(super) fn bars(low: u64, high: u64, log: u64, committed: u64, applied: u64) -> Markup {
    const LENGTH: i64 = 1_000;
    let number = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
    let length = |index: u64| place(number(index), number(low), number(high), LENGTH).max(4);
    let label = format!(
        "Log to {}, committed to {}, applied to {}",
        text::count(log),
        text::count(committed),
        text::count(applied)
    );
    html! {
        svg.bars viewBox="0 0 1000 36" preserveAspectRatio="none" role="img" aria-label=(label) {
            title { (label) }
            @for (row, (class, index)) in [("log", log), ("committed", committed), ("applied", applied)].into_iter().enumerate() {
                rect.track x="0" y=(row * 13) width="1000" height="9" {}
                rect class=(class) x="0" y=(row * 13) width=(length(index)) height="9" {}
            }
        }
    }
}

/// Something that happened at one of two places, or went from one to the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Happening {
    /// On the right lifeline instead of the left one.
    pub(super) right: bool,
    /// Whether it was caused by the happening before on the other lifeline.
    pub(super) arrow: bool,
    pub(super) title: String,
    /// More about it; long text is broken into lines.
    pub(super) note: String,
    /// Whether it is a refusal.
    pub(super) bad: bool,
}

/// Letters of a note that fit beside a lifeline.
const NOTE_LETTERS: usize = 46;

/// Text broken at blanks into lines that fit; a longer word is broken as well.
fn note_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(NOTE_LETTERS) {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + piece.len() <= NOTE_LETTERS => {
                    line.push(' ');
                    line.extend(piece);
                }
                Some(_) | None => lines.push(piece.iter().collect()),
            }
        }
    }
    lines
}

/// Two lifelines and what happened, from top to bottom.
pub(super) fn sequence(left: &str, right: &str, happenings: &[Happening]) -> Markup {
    const ROW: usize = 47;
    const LINE: usize = 17;
    const HEAD: usize = 80;
    const LEFT_LINE: i64 = 310;
    const RIGHT_LINE: i64 = 630;
    let mut y = HEAD;
    let mut rows = Vec::with_capacity(happenings.len());
    for happening in happenings {
        let notes = note_lines(&happening.note);
        let height = ROW + LINE * notes.len().max(1);
        rows.push((y, happening, notes));
        y += height;
    }
    let height = y.max(HEAD + ROW);
    html! {
        svg.sequence viewBox={ "0 0 940 " (height) } role="img" aria-label="What happened at the two branches, in order; the same is in the table below" {
            defs { marker #arrow-head viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
                path.arrow-tip d="M0 0L10 5L0 10z" {}
            } }
            @for (x, name) in [(LEFT_LINE, left), (RIGHT_LINE, right)] {
                rect.who x=(x - 110) y="8" width="220" height="32" rx="8" {}
                text.who-name x=(x) y="29" text-anchor="middle" { (name) }
                line.life x1=(x) x2=(x) y1="40" y2=(height - 4) {}
            }
            @for (y, happening, notes) in rows {
                @let x = if happening.right { RIGHT_LINE } else { LEFT_LINE };
                @if happening.arrow {
                    @let from = if happening.right { LEFT_LINE + 8 } else { RIGHT_LINE - 8 };
                    line.arrow.bad[happening.bad] x1=(from) x2=(if happening.right { x - 9 } else { x + 9 }) y1=(y.saturating_sub(18)) y2=(y) marker-end="url(#arrow-head)" {}
                }
                circle.event.bad[happening.bad] cx=(x) cy=(y) r="6" {}
                @let (beside, anchor) = if happening.right { (x + 16, "start") } else { (x - 16, "end") };
                text.event-title x=(beside) y=(y) text-anchor=(anchor) { (happening.title) }
                @for (line, note) in notes.iter().enumerate() {
                    text.event-note x=(beside) y=(y + LINE * (line + 1)) text-anchor=(anchor) { (note) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_on_the_way() {
        assert_eq!((place(5, 0, 10, 100), place(-5, 0, 10, 100), place(50, 0, 10, 100)), (50, 0, 100));
        assert_eq!((place(3, 3, 3, 100), place(i64::MAX, i64::MIN, i64::MAX, 700)), (50, 700));
    }

    #[test]
    fn a_long_note_is_broken_and_nothing_of_it_is_left_out() {
        let text =
            "13:02:11.5 · account mumbai/1002 is frozen and takes no new promises; the money is free again";
        let lines = note_lines(text);
        assert!(
            lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= NOTE_LETTERS),
            "{lines:?}"
        );
        assert_eq!(lines.join(" "), text);
        assert_eq!(note_lines(&"x".repeat(NOTE_LETTERS + 1)).len(), 2);
        let happening = |note: &str| Happening {
            right: true,
            arrow: false,
            title: "Abort".to_owned(),
            note: note.to_owned(),
            bad: true,
        };
        let svg = sequence("a", "b", &[happening(text), happening("short")]).into_string();
        assert!(lines.iter().all(|line| svg.contains(line.as_str())) && svg.contains("short"), "{svg}");
    }

    #[test]
    fn steps_are_round_and_few() {
        for (span, expected) in
            [(1, 1), (5, 1), (10, 2), (26, 5), (100, 20), (99_999_999_999_999, 20_000_000_000_000)]
        {
            assert_eq!(step(span), expected, "{span}");
        }
    }

    #[test]
    fn a_balance_chart_holds_every_point_and_escapes_its_labels() {
        let point = |at, value| Point { at, value, moment: String::new(), label: "<then>".to_owned() };
        let svg = balance(&[point(1, 0), point(2, -500), point(3, 123_456)]).into_string();
        assert_eq!(svg.matches("class=\"hover\"").count(), 3);
        assert!(svg.contains("1,234.56") && svg.contains("&lt;then&gt;") && !svg.contains("<then>"), "{svg}");
    }
}
