//! Operations: everything the branches have applied, live, with filters; and any stretch of a journal.

mod csv;
mod feed;

use std::cmp::Reverse;
use std::sync::Arc;

use futures::future::join_all;
use maud::{Markup, html};

pub(super) use csv::download;
pub(super) use feed::stream;

use super::lookout::{Lookout, quick};
use super::parts::{self, action, empty, operation_head, operation_row, scrolling};
use super::screen::{Asked, Regions, head};
use super::text;
use crate::client::{EntryOrder, JournalQuery, JournalRecord, Kind, Page};
use crate::gateway::House;
use crate::model::{AccountRef, BranchName, Failure};

/// Operations that are read when the page is opened, of each branch; and on a page of a journal.
const ROWS: i32 = 50;

/// Which operations somebody wants to see; empty wishes want everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Filter {
    pub(super) branch: String,
    pub(super) account: String,
    pub(super) kind: String,
    pub(super) result: String,
    /// The first sequence of a stretch of a journal; without one the feed is live.
    pub(super) from: Option<u64>,
    /// Where each branch's feed goes on, as [`Filter::resumed`] reads it.
    pub(super) after: String,
}

impl Filter {
    pub(super) fn of(field: impl Fn(&str) -> String) -> Filter {
        Filter {
            branch: field("branch"),
            account: field("account").trim().to_owned(),
            kind: field("kind"),
            result: field("result"),
            from: field("from").trim().parse().ok(),
            after: field("after"),
        }
    }

    /// Whether an operation is one of those wanted. The account is a wish that the branch itself fulfils.
    fn wants(&self, record: &JournalRecord) -> bool {
        let kind = self.kind.is_empty() || record.kind.as_str() == self.kind;
        let result = match self.result.as_str() {
            "done" => record.refused.is_none(),
            "refused" => record.refused.is_some(),
            _ => true,
        };
        kind && result
    }

    /// The branch that the filter names by itself or in its account.
    fn named(&self, house: &House) -> Option<BranchName> {
        if let Ok(account) = self.account.parse::<AccountRef>() {
            return Some(
                account
                    .branch
                    .or_else(|| self.branch.parse().ok())
                    .unwrap_or_else(|| house.bank.home().clone()),
            );
        }
        self.branch.parse().ok()
    }

    /// Refuses a branch that is not known here and an account that is none.
    ///
    /// # Errors
    /// `BRANCH_UNKNOWN`, or what is wrong with the account.
    pub(super) fn checked(&self, house: &House) -> Result<(), Failure> {
        let account = match self.account.as_str() {
            "" => None,
            text => Some(text.parse::<AccountRef>()?),
        };
        if !self.branch.is_empty() {
            house.bank.named(&self.branch)?;
        }
        match account.and_then(|account| account.branch) {
            Some(branch) => house.bank.named(branch.as_str()).map(drop),
            None => Ok(()),
        }
    }

    /// The branches whose operations are wanted.
    fn lookouts<'a>(&self, house: &'a House) -> Vec<&'a Arc<Lookout>> {
        let named = self.named(house);
        house
            .lookouts
            .iter()
            .filter(|lookout| named.as_ref().is_none_or(|branch| lookout.branch == *branch))
            .collect()
    }

    /// The account as its branch knows it.
    fn account_at(&self, branch: &BranchName) -> String {
        match self.account.parse::<AccountRef>() {
            Ok(account) => format!("{branch}/{}", account.number),
            Err(_) => self.account.clone(),
        }
    }

    /// The sequence up to which a branch's operations are shown already, from text like `main=17;delhi=4`.
    fn resumed(after: &str, branch: &BranchName) -> Option<u64> {
        let pairs = after.split(';').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == branch.to_string()).find_map(|(_, sequence)| sequence.parse().ok())
    }

    /// The same wishes as an address, with another beginning.
    fn address(&self, from: Option<u64>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        let fields = [
            ("branch", &self.branch),
            ("account", &self.account),
            ("kind", &self.kind),
            ("result", &self.result),
            ("from", &from),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        format!("/operations?{}", query.finish())
    }
}

/// The frame of the screen.
pub(super) fn body(house: &House, filter: &Filter, regions: &Regions) -> Markup {
    let mut csv = form_urlencoded::Serializer::new(String::new());
    let fields = [
        ("branch", &filter.branch),
        ("account", &filter.account),
        ("kind", &filter.kind),
        ("result", &filter.result),
    ];
    for (name, value) in fields {
        if !value.is_empty() {
            csv.append_pair(name, value);
        }
    }
    html! {
        (head("Operations", html! { "Everything that was applied, in the order of each branch. Refused operations too." }, html! {
            a.button.ghost href={ "/operations.csv?" (csv.finish()) } download { (parts::icon("download")) "Download CSV" }
        }))
        (filters(house, filter))
        @if filter.from.is_none() {
            div.feed-bar data-feed-bar {
                button type="button" data-pause aria-pressed="false" { (parts::icon("pause")) span data-word { "Pause" } }
                button.ghost type="button" data-clear { "Clear view" }
                p.quiet data-feed-note aria-live="polite" { "" }
            }
        }
        section.card aria-label="Operations" { (regions.place("operations")) }
    }
}

fn filters(house: &House, filter: &Filter) -> Markup {
    let kinds = || Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Unknown);
    html! {
        form.filters method="get" action="/operations" {
            div.field { label for="f-branch" { "Branch" } select id="f-branch" name="branch" {
                option value="" { "All" }
                @for (name, _) in house.bank.branches() { option value=(name) selected[filter.branch == name.to_string()] { (name) } }
            } }
            div.field { label for="f-account" { "Account" } input type="text" id="f-account" name="account" value=(filter.account) placeholder="All"; }
            div.field { label for="f-kind" { "Action" } select id="f-kind" name="kind" {
                option value="" { "All" }
                @for kind in kinds() { option value=(kind) selected[filter.kind == kind.as_str()] { (action(kind)) } }
            } }
            div.field { label for="f-result" { "Result" } select id="f-result" name="result" {
                @for (value, name) in [("", "All"), ("done", "Done"), ("refused", "Refused")] { option value=(value) selected[filter.result == value] { (name) } }
            } }
            div.field { label for="f-from" { "From sequence" } input.digits type="text" inputmode="numeric" id="f-from" name="from" placeholder="Live" value=[filter.from]; }
            div.field.buttons { button type="submit" { "Show" } @if *filter != Filter::default() { a href="/operations" { "Reset" } } }
        }
    }
}

/// The living parts; the feed itself is live in its own way.
pub(super) async fn regions(house: &Arc<House>, filter: &Filter, asked: &Asked) -> Regions {
    let body = match filter.from {
        Some(from) => stretch(house, filter, from, asked).await,
        None => latest(house, filter).await,
    };
    Regions::default().with("operations", body)
}

/// The latest operations of the branches, newest first.
async fn latest(house: &House, filter: &Filter) -> Markup {
    let reads = join_all(filter.lookouts(house).into_iter().map(|lookout| async move {
        let account = filter.account_at(&lookout.branch);
        let query = JournalQuery {
            from: 0,
            account: &account,
            order: EntryOrder::NewestFirst,
            page: Page { size: ROWS, token: "" },
        };
        (lookout.branch.to_string(), lookout.client().journal(query, &quick()).await)
    }))
    .await;
    let mut rows: Vec<(String, JournalRecord)> = Vec::new();
    let mut after = String::new();
    let mut refused: Vec<Failure> = Vec::new();
    for (branch, read) in reads {
        match read {
            Ok(page) => {
                let reached =
                    page.records.first().map_or(0, |record| record.sequence).max(page.seen.sequence);
                after += &format!("{branch}={reached};");
                rows.extend(
                    page.records
                        .into_iter()
                        .filter(|record| filter.wants(record))
                        .map(|record| (branch.clone(), record)),
                );
            }
            Err(failure) => refused.push(failure),
        }
    }
    rows.sort_by_key(|(_, record)| Reverse(record.time));
    html! {
        @for failure in &refused { (parts::refused(failure)) }
        (scrolling("Operations", html! {
            table.operations data-feed data-after=(after) {
                (operation_head())
                tbody data-feed-rows { @for (branch, record) in &rows { (operation_row(branch, record)) } }
            }
        }))
        div.empty data-feed-empty hidden[!rows.is_empty()] { p { strong { "No such operation so far" } } p.quiet { "New ones appear here by themselves." } }
    }
}

/// A stretch of one branch's journal, in its order.
async fn stretch(house: &House, filter: &Filter, from: u64, asked: &Asked) -> Markup {
    let branch = filter.named(house).unwrap_or_else(|| house.bank.home().clone());
    let Some(lookout) = house.lookouts.of(&branch) else {
        return html! { div.notice.bad { strong { "Branch " (branch) " is not known here." } } };
    };
    let account = filter.account_at(&branch);
    let query = JournalQuery {
        from: from.max(1),
        account: &account,
        order: EntryOrder::OldestFirst,
        page: Page { size: ROWS, token: "" },
    };
    let read = asked.read(|options| async move { lookout.client().journal(query, &options).await }).await;
    let page = match read {
        Ok(page) => page,
        Err(failure) => return parts::refused(&failure),
    };
    let next =
        page.records.last().map(|record| record.sequence + 1).filter(|_| !page.next_page_token.is_empty());
    let rows: Vec<&JournalRecord> = page.records.iter().filter(|record| filter.wants(record)).collect();
    let before = from.saturating_sub(u64::from(ROWS.unsigned_abs())).max(1);
    html! {
        div.card-head { h2 { "Branch " (branch) " from sequence " (text::count(from)) } a href=(filter.address(None)) { "Back to live" } }
        @if rows.is_empty() { (empty("Nothing here", html! { "The journal of " (branch) " has no such operation from " (text::count(from)) " on." })) }
        @else {
            (scrolling("Operations", html! {
                table.operations { (operation_head()) tbody { @for record in rows { (operation_row(&branch.to_string(), record)) } } }
            }))
        }
        nav.pages aria-label="Pages" {
            @if from > 1 { a rel="prev" href=(filter.address(Some(before))) { "Earlier" } }
            @if let Some(next) = next { a rel="next" href=(filter.address(Some(next))) { "Later" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_resumes_where_each_branch_was() {
        let branch = |name: &str| name.parse::<BranchName>().unwrap();
        let after = "main=17;delhi=4;";
        assert_eq!(Filter::resumed(after, &branch("main")), Some(17));
        assert_eq!(Filter::resumed(after, &branch("delhi")), Some(4));
        assert_eq!(Filter::resumed(after, &branch("pune")), None);
        assert_eq!(Filter::resumed("main=x;;=", &branch("main")), None);
    }

    #[test]
    fn wishes_go_into_addresses() {
        let filter = Filter { account: "main/1".to_owned(), kind: "DEPOSIT".to_owned(), ..Filter::default() };
        assert_eq!(filter.address(Some(7)), "/operations?account=main%2F1&kind=DEPOSIT&from=7");
        assert_eq!(filter.account_at(&"main".parse().unwrap()), "main/1");
    }
}
