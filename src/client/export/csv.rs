//! CSV (RFC 4180) that a spreadsheet takes as text and numbers and never as a formula.

use super::time_of;
use crate::client::types::JournalRecord;

/// The names of the columns, those of the proto.
pub(super) const HEADER: &str = "sequence,time,kind,account,counterparty,amount,balance,counterpartyBalance,held,available,transfer,hold,state,expireTime,abort,error,requestId\n";

/// Adds the line of a record.
pub(super) fn write(record: &JournalRecord, text: &mut String) {
    let sequence = record.sequence.to_string();
    let (time, expire_time) = (time_of(record.time), time_of(record.expire_time));
    let cells: [&str; 17] = [
        &sequence,
        &time,
        record.kind.as_str(),
        &record.account,
        &record.counterparty,
        &record.amount,
        &record.balance,
        &record.counterparty_balance,
        &record.held,
        &record.available,
        &record.transfer,
        &record.hold,
        record.state.map_or("", |state| state.as_str()),
        &expire_time,
        record.abort.as_ref().map_or("", |failure| failure.reason.as_str()),
        record.refused.as_ref().map_or("", |failure| failure.reason.as_str()),
        &record.request_id,
    ];
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&if NUMBERS.contains(&place) { csv_number(cell) } else { csv_text(cell) });
    }
    text.push('\n');
}

/// The columns of amounts and of the sequence.
const NUMBERS: [usize; 6] = [0, 5, 6, 7, 8, 9];

/// A cell of text, which a spreadsheet shows as it is: what it would take for a formula, or for a number or date that it
/// shows in another way (`0017`, `1e5`, `1-2`, more than 15 digits), gets an apostrophe in front, which spreadsheets
/// do not show. No character but a line end and a tab can move the cursor of a terminal.
#[must_use]
pub fn csv_text(text: &str) -> String {
    cell(text, is_formula(text) || is_changed(text))
}

/// A cell of a number as the bank writes it. Other text is treated as [`csv_text`] does.
#[must_use]
pub fn csv_number(text: &str) -> String {
    if is_number(text) { text.to_owned() } else { csv_text(text) }
}

fn cell(value: &str, risky: bool) -> String {
    if !risky && !value.contains(|c: char| matches!(c, ',' | '"' | '\'') || c.is_control()) {
        return value.to_owned();
    }
    let mut text = String::from(if risky { "\"'" } else { "\"" });
    for c in value.chars() {
        match c {
            '"' => text.push_str("\"\""),
            '\n' | '\t' => text.push(c),
            c if c.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Whether a spreadsheet may take the text for a formula. Some take the full-width signs too.
fn is_formula(text: &str) -> bool {
    const FULL_WIDTH: [char; 4] = ['\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) || text.starts_with(FULL_WIDTH)
}

/// Whether a spreadsheet may take the text for a number or a date and show it in another way.
fn is_changed(text: &str) -> bool {
    const EXACT_DIGITS: usize = 15;
    let like_number = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".,:/-+eE% ".contains(&byte));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "1"));
    let is_shown_as_it_is = is_number(text)
        && (whole == "0" || !whole.starts_with('0'))
        && !fraction.ends_with('0')
        && text.len() <= EXACT_DIGITS;
    like_number && !is_shown_as_it_is
}

/// Digits with an optional minus and one inner point.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let size = text.strip_prefix('-').unwrap_or(text);
    match size.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(size),
    }
}
