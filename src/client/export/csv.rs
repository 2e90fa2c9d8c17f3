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
        put(cell, text);
    }
    text.push('\n');
}

/// A cell that a spreadsheet takes as text or number and never as a formula: what begins like one and is no
/// number gets an apostrophe in front, which spreadsheets do not show.
#[must_use]
pub fn csv_cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    put(text, &mut cell);
    cell
}

fn put(value: &str, text: &mut String) {
    let risky = value.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(value);
    let quoted = risky || value.contains([',', '"', '\n', '\r', '\t', '\'']);
    if !quoted {
        text.push_str(value);
        return;
    }
    text.push('"');
    if risky {
        text.push('\'');
    }
    for c in value.chars() {
        if c == '"' {
            text.push('"');
        }
        text.push(c);
    }
    text.push('"');
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
