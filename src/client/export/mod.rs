//! The journal as text for other programs: CSV, JSON Lines, or the journal of hledger.
//!
//! Invariant: memory is bounded by one piece of the stream, however long the journal is (an hledger export of a
//! journal whose beginning is no longer held also remembers which accounts it has shown). Everything up to the
//! sequence at which the export began is in it, once and in order.

mod csv;
mod hledger;
mod jsonl;

use crate::model::{Failure, Timestamp};

use super::types::{Consistency, EntryOrder, JournalQuery, JournalRecord, Options, Page};
use super::{Client, JournalReading};

pub use csv::{csv_number, csv_text};
use hledger::Hledger;
pub use jsonl::json_text;

/// What an export is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportFormat {
    /// Comma-separated values with a header, safe to open in a spreadsheet.
    Csv,
    /// One JSON object a line, with the names of the proto.
    Jsonl,
    /// A journal for hledger and its kin, with the postings of each operation and balance assertions.
    Hledger,
}

/// An export on its way.
#[derive(Debug)]
pub struct Export {
    reading: JournalReading,
    writer: Writer,
    begun: bool,
    first: u64,
    through: u64,
}

/// A part of an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportPiece {
    /// The text; may be empty.
    pub text: String,
    /// How many records of the journal have been looked at so far, of [`Export::total`].
    pub done: u64,
}

/// Turns records into text.
#[derive(Debug)]
enum Writer {
    Csv,
    Jsonl,
    Hledger(Hledger),
}

impl Client {
    /// Begins to export the journal, or the part of it that concerns one account; empty text is no account.
    /// The export ends with what is acknowledged now.
    ///
    /// # Errors
    /// Any reason of the catalogue; `ACCOUNT_NOT_FOUND` when there is no such account.
    pub async fn export(
        &self,
        account: &str,
        format: ExportFormat,
        options: &Options,
    ) -> Result<Export, Failure> {
        let options = Options { consistency: Some(Consistency::Linearizable), ..options.clone() };
        let account = match account {
            "" => String::new(),
            account => self.account(account, &options).await?.account.account,
        };
        let oldest = JournalQuery {
            from: 0,
            account: "",
            order: EntryOrder::OldestFirst,
            page: Page { size: 1, token: "" },
        };
        let begin = self.journal(oldest, &options).await?;
        let first = begin.records.first().map_or(1, |record| record.sequence);
        let through = begin.seen.sequence;
        let writer = match format {
            ExportFormat::Csv => Writer::Csv,
            ExportFormat::Jsonl => Writer::Jsonl,
            ExportFormat::Hledger => Writer::Hledger(Hledger::new(&account, first > 1)),
        };
        let reading = self.read_journal(first, through, &account, &options);
        Ok(Export { reading, writer, begun: false, first, through })
    }
}

impl Export {
    /// How many records of the journal there are to look at.
    #[must_use]
    pub fn total(&self) -> u64 {
        (self.through + 1).saturating_sub(self.first)
    }

    /// The next part; none when the export is complete.
    ///
    /// # Errors
    /// What the server says, or why it cannot be reached; the export can be asked again.
    pub async fn next(&mut self) -> Result<Option<ExportPiece>, Failure> {
        let piece = self.reading.next().await?;
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            text.push_str(match &self.writer {
                Writer::Csv => csv::HEADER,
                Writer::Jsonl => "",
                Writer::Hledger(_) => hledger::HEADER,
            });
        }
        let Some(piece) = piece else {
            return Ok((!text.is_empty()).then(|| ExportPiece { text, done: self.total() }));
        };
        for record in &piece.records {
            self.writer.write(record, &mut text);
        }
        let done = (piece.seen.sequence.min(self.through) + 1).saturating_sub(self.first);
        Ok(Some(ExportPiece { text, done }))
    }
}

impl Writer {
    fn write(&mut self, record: &JournalRecord, text: &mut String) {
        match self {
            Writer::Csv => csv::write(record, text),
            Writer::Jsonl => jsonl::write(record, text),
            Writer::Hledger(hledger) => hledger.write(record, text),
        }
    }
}

/// A time as RFC 3339 in UTC; microseconds since 1970 when it is beyond the years that have one.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    i64::try_from(time.micros())
        .ok()
        .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok())
        .map_or_else(|| time.micros().to_string(), |time| format!("{time:.6}"))
}

/// The time of a record; empty when it has none.
fn time_of(time: Option<Timestamp>) -> String {
    time.map(time_text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
