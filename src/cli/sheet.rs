//! Sheets: what a command answers, before it is printed in one of the formats.
//!
//! Architecture invariant: pure. [`Printer`] turns rows into text; somebody else writes it.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::client::{csv_number, csv_text, json_text};

/// One column of a sheet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Column {
    /// Its name for programs, as proto-JSON writes it.
    pub(crate) key: &'static str,
    /// Its name for people; empty for a column that only programs get (json, jsonl, csv).
    pub(crate) title: &'static str,
    /// Whether a table leaves it out that would be wider than the terminal.
    pub(crate) spare: bool,
}

impl Column {
    /// The same column, left out of a table that would be wider than the terminal.
    pub(crate) const fn spare(self) -> Column {
        Column { spare: true, ..self }
    }
}

/// A column for people and programs.
pub(crate) const fn column(key: &'static str, title: &'static str) -> Column {
    Column { key, title, spare: false }
}

/// A column for programs only.
pub(crate) const fn detail(key: &'static str) -> Column {
    Column { key, title: "", spare: true }
}

/// One value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    /// Words and names.
    Text(String),
    /// A time as the bank writes it; a table shows its seconds.
    Time(String),
    /// A digest; a table shows its beginning.
    Digest(String),
    /// Money as the bank writes it.
    Money(String),
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Why something was refused.
    Refusal(Refusal),
    /// Rows within a row.
    Rows(Sheet),
    /// No value.
    Nothing,
}

/// Why something was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Refusal {
    /// The entry of the catalogue.
    pub(crate) reason: String,
    /// What to do next.
    pub(crate) message: String,
    /// The numbers and names of the message.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Rows under columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sheet {
    /// The columns.
    pub(crate) columns: &'static [Column],
    /// The rows; each has one cell for each column.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A format, with `auto` decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Columns for people, on a terminal of this many.
    Table(u16),
    /// Fields separated by tabs, without a header.
    Plain,
    /// One object or array.
    Json,
    /// One object a line.
    Jsonl,
    /// Comma-separated with a header.
    Csv,
}

impl Format {
    /// All columns for people, with everything in them.
    pub(crate) const WIDE: Format = Format::Table(u16::MAX);

    /// Whether it is for people.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Format::Table(_))
    }

    /// Whether messages are for programs too.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Format::Json | Format::Jsonl)
    }
}

/// How the rows of one answer belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// One row: an object in JSON.
    One,
    /// A list that ends: an array in JSON.
    List,
    /// A feed that may not end: one JSON object a line.
    Feed,
}

/// Prints one answer, a part at a time: every text it returns is to be written in order.
pub(crate) struct Printer {
    format: Format,
    shape: Shape,
    columns: &'static [Column],
    printed: bool,
}

impl Printer {
    /// A printer of an answer that has printed nothing.
    pub(crate) fn new(format: Format, shape: Shape, columns: &'static [Column]) -> Printer {
        Printer { format, shape, columns, printed: false }
    }

    /// The next rows as text.
    pub(crate) fn rows(&mut self, rows: Vec<Vec<Cell>>) -> String {
        let mut text = String::new();
        let sheet = Sheet { columns: self.columns, rows };
        match (self.format, self.shape) {
            (Format::Json, Shape::List) => {
                for row in sheet.objects() {
                    text.push_str(if self.printed { ",\n " } else { "[" });
                    text.push_str(&json(&row));
                    self.printed = true;
                }
                return text;
            }
            (Format::Json, Shape::One | Shape::Feed) | (Format::Jsonl, _) => {
                for row in sheet.objects() {
                    text.push_str(&json(&row));
                    text.push('\n');
                }
            }
            (Format::Csv, _) => text = sheet.flat().csv(!self.printed),
            (Format::Plain, _) => text = sheet.flat().plain(),
            (Format::Table(width), _) => text = sheet.flat().table(width),
        }
        self.printed = true;
        text
    }

    /// What ends the answer.
    pub(crate) fn end(&mut self) -> String {
        match (self.format, self.shape) {
            (Format::Json, Shape::List) => (if self.printed { "]\n" } else { "[]\n" }).to_owned(),
            (Format::Csv, _) if !self.printed => self.rows(Vec::new()),
            (Format::Csv | Format::Table(_) | Format::Plain | Format::Json | Format::Jsonl, _) => {
                String::new()
            }
        }
    }
}

impl Sheet {
    fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        self.rows.iter().map(|row| Object { columns: self.columns, row })
    }

    /// The same with rows within rows spread out: the outer cells are repeated for each inner row.
    fn flat(self) -> Flat {
        let Some(nested) = self.rows.iter().flatten().find_map(|cell| match cell {
            Cell::Rows(inner) => Some(inner.columns),
            Cell::Text(_)
            | Cell::Time(_)
            | Cell::Digest(_)
            | Cell::Money(_)
            | Cell::Number(_)
            | Cell::Flag(_)
            | Cell::Refusal(_)
            | Cell::Nothing => None,
        }) else {
            let keys = self.columns.iter().map(|column| column.key.to_owned()).collect();
            return Flat { columns: self.columns.to_vec(), keys, rows: self.rows };
        };
        let (mut columns, mut keys) = (Vec::new(), Vec::new());
        for (index, column) in self.columns.iter().enumerate() {
            let is_nested = self.rows.iter().any(|row| matches!(row.get(index), Some(Cell::Rows(_))));
            if !is_nested {
                columns.push(*column);
                keys.push(column.key.to_owned());
                continue;
            }
            columns.extend(nested);
            // Two columns of one name could not be told apart.
            keys.extend(nested.iter().map(|inner| {
                match self.columns.iter().any(|outer| outer.key == inner.key) {
                    true => format!("{}.{}", column.key, inner.key),
                    false => inner.key.to_owned(),
                }
            }));
        }
        let mut rows = Vec::new();
        for row in self.rows {
            rows.extend(spread(row));
        }
        Flat { columns, keys, rows }
    }
}

/// One row for each row within `row`; one row with empty cells when there is none.
fn spread(row: Vec<Cell>) -> Vec<Vec<Cell>> {
    let mut spread = vec![Vec::new()];
    for cell in row {
        let Cell::Rows(inner) = cell else {
            spread.iter_mut().for_each(|row| row.push(cell.clone()));
            continue;
        };
        let width = inner.columns.len();
        let inner = if inner.rows.is_empty() { vec![vec![Cell::Nothing; width]] } else { inner.rows };
        let so_far = spread.pop().unwrap_or_default();
        spread = inner.into_iter().map(|inner| so_far.iter().cloned().chain(inner).collect()).collect();
    }
    spread
}

/// Rows of single values.
struct Flat {
    columns: Vec<Column>,
    /// The names of the columns for programs.
    keys: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Flat {
    /// Where the columns are that people see. A flag that is never set is left out.
    fn shown(&self) -> Vec<usize> {
        let is_clear = |row: &Vec<Cell>, index| row.get(index) == Some(&Cell::Flag(false));
        let columns = self.columns.iter().enumerate().filter(|(_, column)| !column.title.is_empty());
        columns
            .map(|(index, _)| index)
            .filter(|index| !self.rows.iter().all(|row| is_clear(row, *index)))
            .collect()
    }

    /// What people see in a cell; a flag shows its name.
    fn for_people(&self, row: &[Cell], index: usize) -> String {
        match row.get(index) {
            Some(Cell::Flag(set)) => (if *set { self.columns[index].title } else { "" }).to_owned(),
            Some(cell) => printable(&text_of(cell)),
            None => String::new(),
        }
    }

    /// A table that fits the width: with fewer columns if need be; a single row that does not fit even so becomes a
    /// list of its values, and several rows are broken within their cells.
    fn table(&self, width: u16) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut shown = self.shown();
        let mut table = self.drawn(&shown, width);
        let all = shown.len();
        while width_of(&table) > usize::from(width)
            && let Some(place) = shown.iter().rposition(|index| self.is_spare(*index))
        {
            shown.remove(place);
            table = self.drawn(&shown, width);
        }
        if width_of(&table) > usize::from(width) {
            if let [row] = self.rows.as_slice() {
                return self.record(row, width);
            }
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        match all - shown.len() {
            0 => format!("{table}\n"),
            1 => format!("{table}\n1 column more: -o wide\n"),
            more => format!("{table}\n{more} columns more: -o wide\n"),
        }
    }

    /// Whether a column is of less use than the others, or says nothing in any row.
    fn is_spare(&self, index: usize) -> bool {
        self.columns[index].spare || self.rows.iter().all(|row| row.get(index).is_none_or(is_empty))
    }

    fn drawn(&self, shown: &[usize], width: u16) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED.with_rounded_corners());
        table.set_header(shown.iter().map(|index| self.columns[*index].title));
        for row in &self.rows {
            table.add_row(shown.iter().map(|index| {
                let is_number = matches!(row.get(*index), Some(Cell::Money(_) | Cell::Number(_)));
                let alignment = if is_number { CellAlignment::Right } else { CellAlignment::Left };
                comfy_table::Cell::new(self.in_table(row, *index, width)).set_alignment(alignment)
            }));
        }
        table
    }

    /// One row as a list of names and values.
    fn record(&self, row: &[Cell], width: u16) -> String {
        let shown = self.shown();
        let name = |index: &usize| self.columns[*index].title;
        let longest = shown.iter().map(|index| name(index).chars().count()).max().unwrap_or(0);
        let line =
            |index: &usize| format!("{:<longest$}  {}\n", name(index), self.in_table(row, *index, width));
        shown.iter().map(line).collect()
    }

    /// What a table shows of a cell: what is long and alike is short unless everything is wanted.
    fn in_table(&self, row: &[Cell], index: usize, width: u16) -> String {
        let text = self.for_people(row, index);
        match row.get(index) {
            Some(_) if width == u16::MAX => text,
            Some(Cell::Digest(_)) => text.chars().take(SHORT_DIGEST).collect(),
            Some(Cell::Time(_)) => match text.split_once('.') {
                Some((seconds, _)) => format!("{}Z", seconds.replacen('T', " ", 1)),
                None => text,
            },
            Some(_) | None => text,
        }
    }

    fn plain(&self) -> String {
        let shown = self.shown();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<_> = shown.iter().map(|index| self.for_people(row, *index)).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        text
    }

    fn csv(&self, with_header: bool) -> String {
        let mut text = String::new();
        if with_header {
            text.push_str(&self.keys.join(","));
            text.push('\n');
        }
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(csv_of).collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        text
    }
}

/// How many digits of a digest a table shows.
const SHORT_DIGEST: usize = 12;

/// How wide a table is when no cell is broken: each column with a blank on both sides and a border.
fn width_of(table: &Table) -> usize {
    table.column_max_content_widths().iter().map(|width| usize::from(*width) + 3).sum::<usize>() + 1
}

fn is_empty(cell: &Cell) -> bool {
    match cell {
        Cell::Text(text) | Cell::Time(text) | Cell::Digest(text) | Cell::Money(text) => text.is_empty(),
        Cell::Nothing => true,
        Cell::Number(_) | Cell::Flag(_) | Cell::Refusal(_) | Cell::Rows(_) => false,
    }
}

fn csv_of(cell: &Cell) -> String {
    match cell {
        Cell::Money(_) | Cell::Number(_) => csv_number(&text_of(cell)),
        Cell::Text(_)
        | Cell::Time(_)
        | Cell::Digest(_)
        | Cell::Flag(_)
        | Cell::Refusal(_)
        | Cell::Rows(_)
        | Cell::Nothing => csv_text(&text_of(cell)),
    }
}

fn text_of(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Time(text) | Cell::Digest(text) | Cell::Money(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Refusal(refusal) => refusal.reason.clone(),
        Cell::Rows(_) | Cell::Nothing => String::new(),
    }
}

/// The text with every control character made visible, so that nothing a server sends moves the cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The single values of a JSON object as a header and a line.
pub(crate) fn csv_of_object(object: &serde_json::Value) -> String {
    let values = object.as_object().into_iter().flatten();
    let single = values.filter(|(_, value)| !value.is_object() && !value.is_array());
    let (keys, cells): (Vec<&str>, Vec<String>) = single
        .map(|(key, value)| {
            let number = || if value.is_null() { String::new() } else { csv_number(&value.to_string()) };
            (key.as_str(), value.as_str().map_or_else(number, csv_text))
        })
        .unzip();
    format!("{}\n{}\n", keys.join(","), cells.join(","))
}

/// The JSON text of a value, safe for a terminal.
pub(crate) fn json(value: &impl Serialize) -> String {
    json_text(value)
}

/// A row as a JSON object, in the order of the columns.
struct Object<'sheet> {
    columns: &'static [Column],
    row: &'sheet [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.row) {
            map.serialize_entry(column.key, cell)?;
        }
        map.end()
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Text(text) | Cell::Time(text) | Cell::Digest(text) | Cell::Money(text) => {
                serializer.serialize_str(text)
            }
            Cell::Number(number) => serializer.serialize_u64(*number),
            Cell::Flag(flag) => serializer.serialize_bool(*flag),
            Cell::Refusal(refusal) => refusal.serialize(serializer),
            Cell::Rows(sheet) => serializer.collect_seq(sheet.objects()),
            Cell::Nothing => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
#[path = "sheet_tests.rs"]
mod tests;
