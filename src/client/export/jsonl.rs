//! JSON Lines: one object for each record, with the names of the proto. Money stays text.

use std::collections::BTreeMap;

use serde::Serialize;

use super::time_of;
use crate::client::types::JournalRecord;
use crate::model::Failure;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    sequence: u64,
    time: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    account: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    counterparty: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    amount: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    balance: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    counterparty_balance: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    held: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    available: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    transfer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    hold: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abort: Option<Why<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Why<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

#[derive(Serialize)]
struct Why<'a> {
    reason: &'static str,
    message: &'a str,
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Failure> for Why<'a> {
    fn from(failure: &'a Failure) -> Why<'a> {
        Why { reason: failure.reason.as_str(), message: &failure.message, metadata: &failure.metadata }
    }
}

/// Adds the line of a record.
pub(super) fn write(record: &JournalRecord, text: &mut String) {
    let line = Line {
        sequence: record.sequence,
        time: time_of(record.time),
        kind: record.kind.as_str(),
        account: &record.account,
        counterparty: &record.counterparty,
        amount: &record.amount,
        balance: &record.balance,
        counterparty_balance: &record.counterparty_balance,
        held: &record.held,
        available: &record.available,
        transfer: &record.transfer,
        hold: &record.hold,
        state: record.state.map(|state| state.as_str()),
        expire_time: record.expire_time.map(super::time_text),
        abort: record.abort.as_ref().map(Why::from),
        error: record.refused.as_ref().map(Why::from),
        request_id: &record.request_id,
    };
    text.push_str(&json_text(&line));
    text.push('\n');
}

/// The JSON text of a value. No character of it can move the cursor of a terminal: JSON itself escapes the control
/// characters up to U+001F, and here the others are escaped too.
#[must_use]
pub fn json_text(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("text, numbers and maps with text keys are JSON");
    if !json.contains(char::is_control) {
        return json;
    }
    let escaped = |c: char| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escaped).collect()
}
