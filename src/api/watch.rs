//! WatchJournal: the live feed, from any sequence, without gap or duplicate.
//!
//! The feed is made when the connection can take it: a slow client holds up nobody and nothing is queued
//! for it. When it falls behind what the journal keeps, it is told so.

use std::ops::ControlFlow;

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tonic::{Request, Status};

use super::BankApi;
use super::call::{Call, DEFAULT_DEADLINE};
use super::statement::gone;
use crate::model::{AccountNumber, Applied, BranchName, Failure, Sequence, Unavailable};
use crate::replication::ReadPoint;
use crate::store::{Journal, JournalTrimmed, Runtime};
use crate::wire::proto::v1::{JournalRecord, WatchJournalRequest, WatchJournalResponse};
use crate::wire::{parse, reply, to_status};

/// Most records in one message.
const RECORDS_A_MESSAGE: usize = 256;
/// Most records that one message is made from, those of other accounts included.
const LOOKED_AT: usize = 4_096;

/// The messages of a feed.
pub(super) type Feed = BoxStream<'static, Result<WatchJournalResponse, Status>>;

/// One client that follows the journal.
struct Follower<R: Runtime> {
    api: BankApi<R>,
    call: Call<R>,
    account: Option<AccountNumber>,
    applied: watch::Receiver<Sequence>,
    /// Everything up to here was shown.
    shown: Sequence,
    /// The feed ends when everything up to here was shown.
    through: Sequence,
    /// Whether the first message was sent, which says where the feed begins.
    greeted: bool,
}

/// Some records in order, and how far they go.
struct Records {
    records: Vec<JournalRecord>,
    shown: Sequence,
}

impl<R: Runtime> BankApi<R> {
    pub(super) async fn watch(&self, request: Request<WatchJournalRequest>) -> Result<Feed, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let account = match message.account.as_str() {
            "" => None,
            text => Some(parse::account(self.lane.branch(), text, "account")?),
        };
        let applied = self.lane.applied();
        let (first, now) = self.look(&call, ReadPoint::Latest, |state| state.journal.first()).await?;
        let from = match message.from_sequence {
            0 => now.next(),
            from => Sequence(from),
        };
        if from < first {
            return Err(gone(JournalTrimmed { first }));
        }
        let shown = Sequence(from.0 - 1);
        let through = match message.through_sequence {
            0 => Sequence(u64::MAX),
            through => Sequence(through),
        };
        let api = self.clone();
        let follower = Follower { api, call, account, applied, shown, through, greeted: false };
        let messages = stream::try_unfold(follower, |mut follower| async move {
            if follower.greeted && follower.shown >= follower.through {
                return Ok(None);
            }
            match follower.next().await {
                Ok(message) => Ok(Some((message, follower))),
                Err(failure) => Err(to_status(&failure)),
            }
        });
        Ok(messages.boxed())
    }
}

impl<R: Runtime> Follower<R> {
    /// The next message: records, or a sign of life.
    async fn next(&mut self) -> Result<WatchJournalResponse, Failure> {
        if !self.greeted {
            self.greeted = true;
            return Ok(self.message(Vec::new()));
        }
        let closing = self.api.closing.clone();
        let quiet = R::sleep(self.api.heartbeat);
        tokio::pin!(quiet);
        loop {
            if closing.is_cancelled() {
                return Err(Unavailable::Stopping.into());
            }
            self.applied.borrow_and_update();
            let records = self.read().await?;
            let looked = records.shown > self.shown;
            self.shown = records.shown;
            if !records.records.is_empty() || self.shown >= self.through {
                return Ok(self.message(records.records));
            }
            if looked {
                // Only records of other accounts so far: let other calls have their turn and go on.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                changed = self.applied.changed() => changed.map_err(|_| Unavailable::Stopping)?,
                () = &mut quiet => return Ok(self.message(Vec::new())),
                () = closing.cancelled() => {}
            }
        }
    }

    async fn read(&self) -> Result<Records, Failure> {
        let deadline = R::now() + DEFAULT_DEADLINE;
        let (account, shown, through) = (self.account, self.shown, self.through);
        let branch = self.api.lane.branch();
        let read =
            |state: &crate::store::State| Records::between(shown, through, &state.journal, account, branch);
        let (records, _) = self.api.lane.read(ReadPoint::Local, deadline, read).await?;
        records.map_err(gone)
    }

    fn message(&mut self, records: Vec<JournalRecord>) -> WatchJournalResponse {
        // A feed that begins in the future has shown nothing of it.
        let reached = self.shown.min(*self.applied.borrow()).max(last(&records));
        let stamp = self.call.stamp(&self.api.lane, reached);
        reply::feed(records, reply::Stamp { sequence: self.shown, ..stamp })
    }
}

fn last(records: &[JournalRecord]) -> Sequence {
    records.last().map_or(Sequence::ZERO, |record| Sequence(record.sequence))
}

impl Records {
    fn between(
        shown: Sequence,
        through: Sequence,
        journal: &Journal,
        account: Option<AccountNumber>,
        branch: &BranchName,
    ) -> Result<Records, JournalTrimmed> {
        let mut records = Vec::new();
        let mut reached = shown;
        let mut budget = LOOKED_AT;
        journal.visit(shown.next(), |applied| {
            let ended = applied.sequence > through;
            if ended || budget == 0 || records.len() == RECORDS_A_MESSAGE {
                return ControlFlow::Break(());
            }
            budget -= 1;
            reached = applied.sequence;
            if account.is_none_or(|account| concerns(applied, account)) {
                records.push(reply::record(branch, applied));
            }
            ControlFlow::Continue(())
        })?;
        Ok(Records { records, shown: reached })
    }
}

/// Whether a command concerns an account of this branch.
pub(super) fn concerns(applied: &Applied, account: AccountNumber) -> bool {
    let (changed, counterparty) = reply::accounts_of(applied);
    changed == Some(account) || counterparty == Some(account)
}
