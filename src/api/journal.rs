//! ListJournal: the journal a page at a time, in both orders.
//!
//! A page looks at no more than [`LOOKED_AT`] records, so a page of one account may be short before the end.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tonic::Request;

use super::BankApi;
use super::call::Call;
use super::statement::{LOOKED_AT, gone};
use super::watch::concerns;
use crate::model::{AccountNumber, BranchName, Failure, Sequence};
use crate::store::{Journal, JournalTrimmed, Runtime, State};
use crate::wire::page::Query;
use crate::wire::proto::v1;
use crate::wire::{parse, reply};

/// How many records are read at a time towards older ones when only some of them are wanted.
const RUN: usize = 256;

/// Where a list goes on.
#[derive(Serialize, Deserialize)]
struct JournalPlace {
    /// The next record to look at.
    next: Sequence,
    /// The last record when the first page was read; later ones are left out.
    pinned: Sequence,
}

/// A page being filled, and the next record to look at; zero when the list is at its end.
struct Page<'a> {
    branch: &'a BranchName,
    account: Option<AccountNumber>,
    size: usize,
    pinned: Sequence,
    records: Vec<v1::JournalRecord>,
    next: Sequence,
}

impl<R: Runtime> BankApi<R> {
    pub(super) async fn journal(
        &self,
        request: Request<v1::ListJournalRequest>,
    ) -> Result<v1::ListJournalResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let account = match message.account.as_str() {
            "" => None,
            text => Some(parse::account(self.lane.branch(), text, "account")?),
        };
        let newest_first = parse::newest_first(message.order)?;
        let size = parse::page_size(message.page_size)?;
        let (point, _) = call.read_point(message.consistency)?;
        let fields = (account, newest_first, message.from_sequence);
        let query = Query { call: "ListJournal", ledger: self.lane.ledger()?, fields };
        let place: Option<JournalPlace> = query.place(&message.page_token)?;
        let point = match &place {
            Some(place) => self.no_older_than(point, place.pinned)?,
            None => point,
        };
        let branch = self.lane.branch();
        let read = |state: &State| {
            let journal = &state.journal;
            let JournalPlace { next, pinned } = place.unwrap_or_else(|| {
                let pinned = journal.last();
                let next = match (message.from_sequence, newest_first) {
                    (0, true) => pinned,
                    (0, false) => journal.first(),
                    (from, true) => pinned.min(Sequence(from)),
                    (from, false) => Sequence(from),
                };
                JournalPlace { next, pinned }
            });
            let mut page = Page { branch, account, size, pinned, records: Vec::new(), next };
            let filled = if newest_first { page.back(journal) } else { page.forth(journal) };
            filled.map(|()| page)
        };
        let (page, sequence) = self.look(&call, point, read).await?;
        let page = page.map_err(gone)?;
        let next = if page.next > Sequence::ZERO {
            query.token(&JournalPlace { next: page.next, pinned: page.pinned })
        } else {
            String::new()
        };
        let shown = sequence.max(page.pinned);
        Ok(reply::journal(page.records, next, call.stamp(&self.lane, shown)))
    }
}

impl Page<'_> {
    /// Goes on towards newer records.
    fn forth(&mut self, journal: &Journal) -> Result<(), JournalTrimmed> {
        let mut left = LOOKED_AT;
        let (mut next, mut ended) = (self.next, self.next > self.pinned);
        if !ended {
            journal.visit(self.next, |record| {
                if record.sequence > self.pinned || left == 0 || self.records.len() == self.size {
                    return ControlFlow::Break(());
                }
                left -= 1;
                if self.account.is_none_or(|account| concerns(record, account)) {
                    self.records.push(reply::record(self.branch, record));
                }
                next = record.sequence.next();
                ControlFlow::Continue(())
            })?;
            ended = next > self.pinned;
        }
        self.next = if ended { Sequence::ZERO } else { next };
        Ok(())
    }

    /// Goes on towards older records, which are read in runs of one page each, forward.
    fn back(&mut self, journal: &Journal) -> Result<(), JournalTrimmed> {
        let mut left = LOOKED_AT;
        while left > 0 && self.next > Sequence::ZERO && self.records.len() < self.size {
            let wanted = if self.account.is_some() { RUN } else { self.size - self.records.len() };
            let run = wanted.min(left) as u64;
            let first = Sequence((self.next.0 + 1).saturating_sub(run).max(1)).max(journal.first());
            if first > self.next {
                // What is still held is shown; the page after it says that the rest is gone.
                if self.records.is_empty() {
                    return Err(JournalTrimmed { first: journal.first() });
                }
                return Ok(());
            }
            let mut found = Vec::new();
            journal.visit(first, |record| {
                if record.sequence > self.next {
                    return ControlFlow::Break(());
                }
                if self.account.is_none_or(|account| concerns(record, account)) {
                    found.push(reply::record(self.branch, record));
                }
                ControlFlow::Continue(())
            })?;
            left = left.saturating_sub(usize::try_from(run).unwrap_or(usize::MAX));
            self.next = Sequence(first.0 - 1);
            for record in found.into_iter().rev() {
                if self.records.len() == self.size {
                    break;
                }
                self.next = Sequence(record.sequence - 1);
                self.records.push(record);
            }
            if self.records.len() < self.size {
                self.next = Sequence(first.0 - 1);
            }
        }
        Ok(())
    }
}
