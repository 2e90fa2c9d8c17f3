//! The journal over HTTP, a page at a time.
//!
//! Invariant: a list of pages shows the journal as it was when its first page was made, however it grows
//! meanwhile; the page token carries that end.

use std::time::Duration;

use crate::client::{Client, JournalRecord, Options, Seen};
use crate::model::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::model::{Failure, Reason, Unavailable};

use super::accounts::{BRANCH, PAGE_SIZE, PAGE_TOKEN};
use super::call::Call;
use super::fields::Takes::{Count, OneOf};
use super::fields::optional;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Method, Route, json};
use super::views;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to ask again for a page that took longer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The routes of the journal.
pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/v1/journal",
    name: "listJournal",
    summary: "Read the journal of a branch: every applied command, also those refused",
    query: &[
        BRANCH,
        optional("order", OneOf(&["newest_first", "oldest_first"]), "Newest first when not given."),
        optional(
            "from",
            Count,
            "The first sequence to show, at one end or the other; else the very first or last.",
        ),
        PAGE_SIZE,
        PAGE_TOKEN,
    ],
    body: None,
    answers: json!(200, views::Journal),
    handler: |call| Box::pin(journal(call)),
}];

/// Which sequences are still to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    first: u64,
    last: u64,
}

async fn journal(call: Call) -> Result<Reply, Problem> {
    let client = call.branch()?;
    let options = call.options()?;
    let newest_first = call.query.text("order") != "oldest_first";
    let page = async {
        let range = match call.query.text("page_token") {
            "" => whole(client, &options, newest_first, call.query.count("from")?).await?,
            token => read_token(token, newest_first)?,
        };
        let size = size(call.query.count("page_size")?)?;
        read(client, &options, range, newest_first, size).await
    };
    let page = tokio::time::timeout(PATIENCE, page)
        .await
        .unwrap_or_else(|_| Err(Unavailable::Overloaded { retry_after: RETRY_AFTER }.into()))?;
    let token = page.rest.map_or_else(String::new, |rest| write_token(rest, newest_first));
    let view = views::Journal {
        records: page.records.into_iter().map(Into::into).collect(),
        next_page_token: token.clone(),
        branch: page.seen.branch.clone(),
        replica: page.seen.replica,
    };
    Ok(Reply::json(&view).seen(&page.seen).next_page(&call, &token))
}

fn size(asked: Option<i64>) -> Result<u64, Failure> {
    match asked {
        None | Some(0) => Ok(PAGE_DEFAULT as u64),
        Some(size) => u64::try_from(size).map(|size| size.min(PAGE_MAX as u64)).map_err(|_| {
            Failure::new(Reason::ArgumentInvalid, "page_size is not negative").in_field("page_size")
        }),
    }
}

/// What a list shows that begins now.
async fn whole(
    client: &Client,
    options: &Options,
    newest_first: bool,
    from: Option<u64>,
) -> Result<Range, Failure> {
    let now = client.watch(0, "", options).next().await?.seen.sequence;
    Ok(match from {
        Some(from) if newest_first => Range { first: 1, last: from.min(now) },
        Some(from) => Range { first: from.max(1), last: now },
        None => Range { first: 1, last: now },
    })
}

/// A page, and what is left behind it.
struct Page {
    records: Vec<JournalRecord>,
    rest: Option<Range>,
    seen: Seen,
}

async fn read(
    client: &Client,
    options: &Options,
    range: Range,
    newest_first: bool,
    size: u64,
) -> Result<Page, Failure> {
    let Range { first, last } = range;
    let (here, rest) = if newest_first {
        let from = first.max((last + 1).saturating_sub(size));
        (Range { first: from, last }, Range { first, last: from - 1 })
    } else {
        let to = last.min(first.saturating_add(size - 1));
        (Range { first, last: to }, Range { first: to + 1, last })
    };
    let left = rest.first <= rest.last;
    match records(client, options, here).await {
        Ok((mut records, seen)) => {
            if newest_first {
                records.reverse();
            }
            Ok(Page { records, rest: left.then_some(rest), seen })
        }
        // Backwards the journal simply ends where it was trimmed.
        Err(failure) if newest_first && failure.reason == Reason::JournalTrimmed => {
            let kept = failure.metadata.get("first").and_then(|first| first.parse().ok());
            let Some(kept) = kept.filter(|kept| here.first < *kept) else { return Err(failure) };
            let (mut records, seen) = records(client, options, Range { first: kept, last }).await?;
            records.reverse();
            Ok(Page { records, rest: None, seen })
        }
        Err(failure) => Err(failure),
    }
}

/// The records of a range that has been applied.
async fn records(
    client: &Client,
    options: &Options,
    range: Range,
) -> Result<(Vec<JournalRecord>, Seen), Failure> {
    let mut watch = client.watch(range.first.max(1), "", options);
    let mut records = Vec::new();
    loop {
        let piece = watch.next().await?;
        records.extend(piece.records.into_iter().filter(|record| record.sequence <= range.last));
        if piece.seen.sequence >= range.last {
            return Ok((records, piece.seen));
        }
    }
}

fn write_token(range: Range, newest_first: bool) -> String {
    let order = if newest_first { "n" } else { "o" };
    format!("{order}{}-{}", range.first, range.last)
}

fn read_token(token: &str, newest_first: bool) -> Result<Range, Failure> {
    let read = || {
        let numbers = token.strip_prefix(if newest_first { "n" } else { "o" })?;
        let (first, last) = numbers.split_once('-')?;
        let range = Range { first: first.parse().ok()?, last: last.parse().ok()? };
        (range.first >= 1 && range.last < u64::MAX).then_some(range)
    };
    read().ok_or_else(|| {
        Failure::new(
            Reason::PageTokenInvalid,
            "this page token is not from a page of this query; begin again without one",
        )
        .in_field("page_token")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_is_read_back_for_its_own_query_only() {
        let range = Range { first: 7, last: 40 };
        for newest_first in [true, false] {
            let token = write_token(range, newest_first);
            assert_eq!(read_token(&token, newest_first), Ok(range));
            assert!(read_token(&token, !newest_first).is_err());
        }
        for token in ["n", "n1", "n0-1", "n1-18446744073709551615", "n-1-1", "x1-2", "n1-2-3"] {
            assert_eq!(read_token(token, true).unwrap_err().reason, Reason::PageTokenInvalid, "{token}");
        }
    }
}
