//! Lists: page after page, printed as they come.

use super::Runner;
use crate::cli::grammar::{Accounts, AsOf, CallOptions, Holds, Statement, Transfers};
use crate::cli::problem::Problem;
use crate::cli::sheet::{Cell, Column, Format, Printer, Shape};
use crate::cli::views;
use crate::client::{self, EntryOrder, Page};
use crate::model::{Failure, Timestamp};

/// Largest page that is asked for; also what one table holds.
const PAGE: u64 = 1_000;
/// How many transfers are listed when nobody says.
const TRANSFERS: u64 = 50;

/// Rows of a page, and where the list goes on.
type Rows = (Vec<Vec<Cell>>, String);

impl Runner {
    pub(super) async fn accounts(
        &self,
        wish: &Accounts,
        call: &CallOptions,
        format: Format,
    ) -> Result<(), Problem> {
        let options = self.read_options(call, wish.read);
        self.list(format, views::ACCOUNTS, "no accounts", wish.limit, async |page| {
            let page = self.client.accounts(page, &options).await?;
            Ok((page.accounts.iter().map(views::account).collect(), page.next_page_token))
        })
        .await
    }

    pub(super) async fn statement(
        &self,
        wish: &Statement,
        call: &CallOptions,
        format: Format,
    ) -> Result<(), Problem> {
        let options = self.read_options(call, wish.read);
        let order = if wish.oldest_first { EntryOrder::OldestFirst } else { EntryOrder::NewestFirst };
        let as_of = match wish.as_of {
            None => client::AsOf::Now,
            Some(AsOf::Sequence(sequence)) => client::AsOf::Sequence(sequence),
            Some(AsOf::Time(time)) => {
                client::AsOf::Time(Timestamp::from_micros(u64::try_from(time.as_microsecond()).unwrap_or(0)))
            }
        };
        self.list(format, views::STATEMENT, "no entries", Some(wish.limit), async |page| {
            let statement = client::Statement { account: &wish.account, order, as_of, page };
            let page = self.client.entries(statement, &options).await?;
            Ok((page.entries.iter().map(views::entry).collect(), page.next_page_token))
        })
        .await
    }

    pub(super) async fn holds(
        &self,
        wish: &Holds,
        call: &CallOptions,
        format: Format,
    ) -> Result<(), Problem> {
        let options = self.read_options(call, wish.read);
        self.list(format, views::HOLDS, "no holds", wish.limit, async |page| {
            let page = self.client.holds(&wish.account, page, &options).await?;
            Ok((page.holds.iter().map(views::hold).collect(), page.next_page_token))
        })
        .await
    }

    pub(super) async fn transfers(
        &self,
        wish: &Transfers,
        call: &CallOptions,
        format: Format,
    ) -> Result<(), Problem> {
        let options = self.read_options(call, wish.read);
        let none = if wish.in_doubt { "no transfers in doubt" } else { "no transfers" };
        let limit = wish.limit.or((!wish.in_doubt).then_some(TRANSFERS));
        self.list(format, views::TRANSFERS, none, limit, async |page| {
            let page = self.client.transfers(wish.in_doubt, page, &options).await?;
            Ok((page.transfers.iter().map(views::transfer).collect(), page.next_page_token))
        })
        .await
    }

    /// Prints a list page by page until it ends or `limit` rows are there. The first page is asked for even when no
    /// row is wanted, so that a wrong account is refused. People are told when there is nothing to list.
    async fn list(
        &self,
        format: Format,
        columns: &'static [Column],
        none: &str,
        limit: Option<u64>,
        fetch: impl AsyncFn(Page<'_>) -> Result<Rows, Failure>,
    ) -> Result<(), Problem> {
        let mut printer = Printer::new(format, Shape::List, columns);
        let mut left = limit.unwrap_or(u64::MAX);
        let (mut token, mut listed) = (String::new(), left == 0);
        loop {
            let size = i32::try_from(left.clamp(1, PAGE)).unwrap_or(i32::MAX);
            let (mut rows, next) = fetch(Page { size, token: &token }).await?;
            rows.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= rows.len() as u64;
            listed |= !rows.is_empty();
            self.screen.data(&printer.rows(rows))?;
            token = next;
            if left == 0 || token.is_empty() {
                if !listed && format.is_table() {
                    self.screen.message(&format!("{none}\n"));
                }
                return self.screen.data(&printer.end());
            }
        }
    }
}
