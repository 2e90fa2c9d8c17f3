//! The proof at the end: every account that an operation went to is read back and compared with what
//! the acknowledged operations sum to.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::client::{Balance, Client, Consistency, OperationState, Options, Page};
use crate::model::{Failure, Money};

use super::tally::Lost;
use super::work::Book;

/// Reads in flight.
const READS: usize = 64;
/// From this many accounts on they are read in pages instead of one by one.
const PAGES_FROM: u64 = 50_000;
/// Accounts on a page.
const PAGE: i32 = 1_000;

/// What reading back has shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Findings {
    /// Accounts read.
    pub(super) checked: u64,
    /// Accounts with another balance than they must have.
    pub(super) wrong: u64,
    /// The first of them, and how far it is off in minor units.
    pub(super) first: Option<(String, i64)>,
    /// All differences together, in minor units.
    pub(super) difference: i128,
}

impl Findings {
    /// Whether every account was found and is right.
    pub(super) fn exact(&self, touched: u64) -> bool {
        self.wrong == 0 && self.checked == touched
    }

    fn note(&mut self, account: &str, error: i64) {
        self.checked += 1;
        if error != 0 {
            self.wrong += 1;
            self.difference += i128::from(error);
            self.first.get_or_insert_with(|| (account.to_owned(), error));
        }
    }
}

/// Asks what became of calls whose answer got lost, and enters it. Returns how many stay unknown.
pub(super) async fn resolve(client: &Client, lost: Vec<Lost>, book: &mut Book) -> u64 {
    let options = Options::fresh(Consistency::Linearizable);
    let answers = stream::iter(lost).map(|lost| {
        let options = &options;
        async move { (client.operation(&lost.request_id, options).await, lost.ops) }
    });
    let mut answers = std::pin::pin!(answers.buffer_unordered(READS));
    let mut unknown = 0;
    while let Some((answer, ops)) = answers.next().await {
        match answer {
            Ok(operation) if operation.state == OperationState::Executed => {
                for (op, result) in ops.into_iter().zip(operation.results) {
                    match result.outcome {
                        Ok(done) => book.executed(op, minor(&done.interest).unwrap_or(0)),
                        Err(_) => book.refused(op),
                    }
                }
            }
            Ok(operation)
                if matches!(operation.state, OperationState::Refused | OperationState::NeverSeen) =>
            {
                ops.into_iter().for_each(|op| book.refused(op));
            }
            Ok(_) | Err(_) => {
                unknown += 1;
                ops.into_iter().for_each(|op| book.unknown(op));
            }
        }
    }
    unknown
}

/// Reads every touched account and compares.
///
/// # Errors
/// When an account cannot be read.
pub(super) async fn read_back(
    client: &Client,
    accounts: &[u64],
    book: &Book,
    read: impl Fn(u64),
) -> Result<Findings, Failure> {
    if book.touched() < PAGES_FROM {
        one_by_one(client, accounts, book, read).await
    } else {
        in_pages(client, accounts, book, read).await
    }
}

async fn one_by_one(
    client: &Client,
    accounts: &[u64],
    book: &Book,
    read: impl Fn(u64),
) -> Result<Findings, Failure> {
    let options = Options::fresh(Consistency::Linearizable);
    let touched = accounts.iter().enumerate().filter(|(place, _)| book.is_touched(*place));
    let balances = stream::iter(touched).map(|(place, number)| balance(client, place, *number, &options));
    let mut balances = std::pin::pin!(balances.buffer_unordered(READS));
    let mut findings = Findings::default();
    while let Some((place, shown)) = balances.try_next().await? {
        findings.note(&shown.account, error(book, place, &shown.balance));
        read(findings.checked);
    }
    Ok(findings)
}

async fn balance(
    client: &Client,
    place: usize,
    number: u64,
    options: &Options,
) -> Result<(usize, Balance), Failure> {
    Ok((place, client.balance(&number.to_string(), options).await?))
}

async fn in_pages(
    client: &Client,
    accounts: &[u64],
    book: &Book,
    read: impl Fn(u64),
) -> Result<Findings, Failure> {
    let options = Options::fresh(Consistency::Linearizable);
    let mut findings = Findings::default();
    let mut token = String::new();
    loop {
        let page = client.accounts(Page { size: PAGE, token: &token }, &options).await?;
        for account in &page.accounts {
            let number = account.account.rsplit('/').next().and_then(|number| number.parse().ok());
            let place = number.and_then(|number: u64| accounts.binary_search(&number).ok());
            if let Some(place) = place.filter(|place| book.is_touched(*place)) {
                findings.note(&account.account, error(book, place, &account.balance));
            }
        }
        read(findings.checked);
        token = page.next_page_token;
        if token.is_empty() {
            return Ok(findings);
        }
    }
}

/// A balance that cannot be read as money is as wrong as can be.
fn error(book: &Book, place: usize, balance: &str) -> i64 {
    minor(balance).map_or(i64::MAX, |balance| book.error(place, balance))
}

fn minor(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) => Some(-Money::parse(digits).ok()?.minor()),
        None => Some(Money::parse(text).ok()?.minor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cent_and_a_missing_account_are_found() {
        let mut findings = Findings::default();
        findings.note("main/1", 0);
        assert!(findings.exact(1));
        assert!(!findings.exact(2), "an account was not found");
        findings.note("main/2", -1);
        findings.note("main/3", 1);
        assert!(!findings.exact(3), "two errors that cancel out are two errors");
        assert_eq!(findings.first, Some(("main/2".to_owned(), -1)));
        assert_eq!((findings.wrong, findings.difference), (2, 0));
    }

    #[test]
    fn balances_are_read_to_the_cent() {
        for (text, expected) in [("0.00", Some(0)), ("12.34", Some(1_234)), ("-0.05", Some(-5)), ("x", None)]
        {
            assert_eq!(minor(text), expected, "{text:?}");
        }
    }
}
