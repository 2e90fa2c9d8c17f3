//! ListEntries: the statement of one account, a page at a time.
//!
//! Newest first follows the account's chain of postings through the journal; oldest first reads the journal
//! forward. A read looks at no more than [`LOOKED_AT`] records before other calls of the runtime get their
//! turn.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tonic::Request;

use super::BankApi;
use super::call::Call;
use crate::model::{Account, AccountNumber, BranchName, Failure, Reason, Seen, Sequence};
use crate::replication::ReadPoint;
use crate::store::{Journal, JournalTrimmed, Runtime, State};
use crate::wire::page::Query;
use crate::wire::parse::AsOf;
use crate::wire::proto::v1;
use crate::wire::{parse, reply};

/// Most records of the journal that one read looks at.
pub(super) const LOOKED_AT: usize = 4_096;

/// Where a statement goes on.
#[derive(Serialize, Deserialize)]
struct EntriesPlace {
    /// Newest first: the next entry to show. Oldest first: the first record to look at.
    next: Sequence,
    /// The newest entry when the first page was read; later ones are left out.
    pinned: Sequence,
}

/// The page being filled.
struct Page<'a> {
    branch: &'a BranchName,
    account: AccountNumber,
    as_of: AsOf,
    size: usize,
    entries: Vec<v1::Entry>,
    /// As in [`EntriesPlace`]; zero when the statement is at its end.
    next: Sequence,
}

/// How a read of the journal ended.
enum Walk {
    /// The page is full, or the statement at its end.
    Done,
    /// There is more to look at.
    Pause,
}

impl<R: Runtime> BankApi<R> {
    pub(super) async fn entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<v1::ListEntriesResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let number = parse::account(self.lane.branch(), &message.account, "account")?;
        let newest_first = parse::newest_first(message.order)?;
        let size = parse::page_size(message.page_size)?;
        let as_of = parse::as_of(message.as_of_sequence, message.as_of_time.as_ref())?;
        let (point, _) = call.read_point(message.consistency)?;
        let fields = (number, newest_first, as_of.sequence, as_of.time);
        let query = Query { call: "ListEntries", ledger: self.lane.ledger()?, fields };
        let place: Option<EntriesPlace> = query.place(&message.page_token)?;
        let point = match &place {
            Some(place) => self.no_older_than(point, place.pinned)?,
            None => point,
        };
        let (account, sequence) = self.find(&call, point, number).await?;
        let pinned = place.as_ref().map_or(account.newest_entry, |place| place.pinned);
        let as_of = AsOf { sequence: as_of.sequence.min(pinned), ..as_of };
        let entries = Vec::with_capacity(size);
        let mut page =
            Page { branch: self.lane.branch(), account: number, as_of, size, entries, next: pinned };
        if newest_first {
            page.next = place.map_or(pinned, |place| place.next);
            self.newest_first(&call, pinned, &mut page).await?;
        } else if pinned > Sequence::ZERO {
            page.next = place.map_or(Sequence::ZERO, |place| place.next);
            self.oldest_first(&call, pinned, &account, &mut page).await?;
        }
        let next = if page.next > Sequence::ZERO {
            query.token(&EntriesPlace { next: page.next, pinned })
        } else {
            String::new()
        };
        Ok(reply::entries(page.entries, next, call.stamp(&self.lane, sequence.max(pinned))))
    }

    async fn newest_first(
        &self,
        call: &Call<R>,
        pinned: Sequence,
        page: &mut Page<'_>,
    ) -> Result<(), Failure> {
        loop {
            match self.walk(call, pinned, |state| page.back(&state.journal)).await? {
                Ok(Walk::Done) => return Ok(()),
                Ok(Walk::Pause) => call.pause().await?,
                // What is still held is shown; the page after it says that the rest is gone.
                Err(_) if !page.entries.is_empty() => return Ok(()),
                Err(trimmed) => return Err(gone(trimmed)),
            }
        }
    }

    async fn oldest_first(
        &self,
        call: &Call<R>,
        pinned: Sequence,
        account: &Account,
        page: &mut Page<'_>,
    ) -> Result<(), Failure> {
        loop {
            match self.walk(call, pinned, |state| page.forth(&state.journal, account)).await? {
                Ok(Walk::Done) => return Ok(()),
                Ok(Walk::Pause) => call.pause().await?,
                Err(trimmed) => return Err(gone(trimmed)),
            }
        }
    }

    /// Reads the journal when it holds the entry at `pinned`, which an account shows a moment earlier.
    async fn walk<T>(
        &self,
        call: &Call<R>,
        pinned: Sequence,
        read: impl FnOnce(&State) -> T,
    ) -> Result<T, Failure> {
        let seen = Seen { ledger: self.lane.ledger()?, sequence: pinned };
        let (value, _) = self.look(call, ReadPoint::AtLeast(seen), read).await?;
        Ok(value)
    }
}

impl Page<'_> {
    /// Goes on towards older entries.
    fn back(&mut self, journal: &Journal) -> Result<Walk, JournalTrimmed> {
        let mut budget = LOOKED_AT;
        let mut end = Walk::Done;
        let from = self.next;
        journal.statement(self.account, from, |applied, posting| {
            if self.entries.len() == self.size {
                return ControlFlow::Break(());
            }
            if budget == 0 {
                end = Walk::Pause;
                return ControlFlow::Break(());
            }
            budget -= 1;
            if applied.sequence <= self.as_of.sequence && applied.time <= self.as_of.time {
                self.entries.push(reply::entry(self.branch, applied, &posting));
            }
            self.next = posting.previous;
            ControlFlow::Continue(())
        })?;
        Ok(end)
    }

    /// Goes on towards newer entries.
    fn forth(&mut self, journal: &Journal, account: &Account) -> Result<Walk, JournalTrimmed> {
        if self.next == Sequence::ZERO {
            self.next = first_to_look_at(journal, account)?;
        }
        let mut budget = LOOKED_AT;
        let mut end = Walk::Done;
        let mut finished = false;
        journal.visit(self.next, |applied| {
            if applied.sequence > self.as_of.sequence || applied.time > self.as_of.time {
                finished = true;
                return ControlFlow::Break(());
            }
            if self.entries.len() == self.size {
                return ControlFlow::Break(());
            }
            if budget == 0 {
                end = Walk::Pause;
                return ControlFlow::Break(());
            }
            budget -= 1;
            if let Some(posting) = applied.customer_postings().find(|posting| posting.account == self.account)
            {
                self.entries.push(reply::entry(self.branch, applied, &posting));
            }
            self.next = applied.sequence.next();
            // The newest entry that is shown is known, so nothing needs to be looked at behind it.
            finished = applied.sequence == self.as_of.sequence;
            if finished { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if finished {
            self.next = Sequence::ZERO;
        }
        Ok(end)
    }
}

/// The first record that may be an entry of the account, if everything since its opening is held.
fn first_to_look_at(journal: &Journal, account: &Account) -> Result<Sequence, JournalTrimmed> {
    let first = journal.first();
    let mut held_before_opening = first == Sequence(1);
    if !held_before_opening {
        journal.visit(first, |applied| {
            held_before_opening = applied.time < account.opened;
            ControlFlow::Break(())
        })?;
    }
    if held_before_opening { Ok(first) } else { Err(JournalTrimmed { first }) }
}

/// What was asked for is no longer in the journal.
pub(super) fn gone(trimmed: JournalTrimmed) -> Failure {
    let first = trimmed.first;
    Failure::new(
        Reason::JournalTrimmed,
        format!(
            "the journal holds records from sequence {first} on and no longer those before; start from there"
        ),
    )
    .with("first", first)
}
