//! Operations as a file for spreadsheets: one line each, in the order of each branch.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures::stream;

use super::super::lookout::{Lookout, quick};
use super::super::text;
use super::Filter;
use crate::client::{Client, EntryOrder, JournalQuery, JournalRecord, Options, Page, csv_text};
use crate::gateway::House;
use crate::model::Failure;

const HEADER: &str = "Time,Branch,Account,Action,Result\n";
/// Operations that are read at once.
const PIECE: i32 = 1_000;
/// Time for one piece.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What is still to be read.
struct Reading {
    filter: Filter,
    branches: VecDeque<(Arc<Lookout>, String)>,
    began: bool,
}

/// The file. One that could not be read to its end is broken off, so that nobody takes it for whole.
pub(in super::super) fn download(house: &House, filter: Filter) -> Response<Body> {
    let branches =
        filter.lookouts(house).into_iter().map(|lookout| (Arc::clone(lookout), String::new())).collect();
    let reading = Reading { filter, branches, began: false };
    let lines = stream::try_unfold(reading, |mut reading| async move {
        let text = reading.next().await?;
        Ok::<_, Failure>(text.map(|text| (Bytes::from(text), reading)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = HeaderValue::from_static("attachment; filename=\"operations.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    response
}

impl Reading {
    async fn next(&mut self) -> Result<Option<String>, Failure> {
        if !self.began {
            self.began = true;
            return Ok(Some(HEADER.to_owned()));
        }
        let Some((lookout, token)) = self.branches.front_mut() else { return Ok(None) };
        let (branch, client): (String, &Client) = (lookout.branch.to_string(), lookout.client());
        let account = self.filter.account_at(&lookout.branch);
        let query = JournalQuery {
            from: 0,
            account: &account,
            order: EntryOrder::OldestFirst,
            page: Page { size: PIECE, token },
        };
        let options = Options { timeout: Some(PATIENCE), ..quick() };
        let page = client.journal(query, &options).await?;
        let wanted = page.records.iter().filter(|record| self.filter.wants(record));
        let lines = wanted.map(|record| line(&branch, record)).collect();
        if page.next_page_token.is_empty() {
            self.branches.pop_front();
        } else {
            *token = page.next_page_token;
        }
        Ok(Some(lines))
    }
}

fn line(branch: &str, record: &JournalRecord) -> String {
    let time = record.time.and_then(text::moments).map(|(machine, _)| machine).unwrap_or_default();
    let mut action = record.kind.as_str().to_owned();
    if !record.amount.is_empty() {
        action += " ";
        action += &record.amount;
    }
    if !record.counterparty.is_empty() {
        action += " with ";
        action += &record.counterparty;
    }
    let result = record.refused.as_ref().map_or("DONE", |failure| failure.reason.as_str());
    let cells = [&time, branch, &record.account, &action, result].map(csv_text);
    cells.join(",") + "\n"
}
