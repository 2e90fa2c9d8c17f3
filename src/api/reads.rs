//! Calls that only look.

use serde::{Deserialize, Serialize};
use tonic::Request;

use super::BankApi;
use super::call::{Call, check_latest, trace};
use crate::model::{Account, AccountNumber, Failure, Rejection, Seen, Sequence, Timestamp};
use crate::replication::ReadPoint;
use crate::store::{Runtime, State};
use crate::wire::page::Query;
use crate::wire::proto::v1;
use crate::wire::{parse, reply};

/// Where a list of accounts goes on.
#[derive(Serialize, Deserialize)]
struct AccountsPlace {
    /// The last account shown.
    after: AccountNumber,
    /// Accounts opened later are left out.
    opened_by: Timestamp,
    /// How far the first page had come.
    pinned: Sequence,
}

impl<R: Runtime> BankApi<R> {
    /// Reads the state, as fresh as asked and never older than the session.
    pub(super) async fn look<T>(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        read: impl FnOnce(&State) -> T,
    ) -> Result<(T, Sequence), Failure> {
        let (value, sequence) = self.lane.read(point, call.deadline, read).await?;
        if point == ReadPoint::Latest {
            check_latest(call.seen, sequence)?;
        }
        Ok((value, sequence))
    }

    /// Reads what the ledger keeps besides accounts, and the sequence that a reply showing it has reached: such a read
    /// may see a batch whose end is not published yet.
    pub(super) async fn observe<T>(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        read: impl FnOnce(&State) -> T,
    ) -> Result<(T, Sequence), Failure> {
        let seen = |state: &State| (read(state), state.ledger.position().sequence);
        let ((value, reached), sequence) = self.look(call, point, seen).await?;
        let sequence = self.settle(call, sequence.max(reached)).await?;
        Ok((value, sequence))
    }

    /// An account, and the sequence that a reply showing it has reached.
    pub(super) async fn find(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        number: AccountNumber,
    ) -> Result<(Account, Sequence), Failure> {
        let (account, sequence) = self.look(call, point, |state| state.ledger.account(number)).await?;
        let account =
            account.ok_or_else(|| Failure::from(&Rejection::AccountNotFound { account: number }))?;
        let sequence = self.settle(call, sequence.max(account.newest_entry)).await?;
        Ok((account, sequence))
    }

    /// Waits until everything up to a sequence is applied. Without it a reply could show one account of a
    /// batch while a later read still finds another account as it was before.
    pub(super) async fn settle(&self, call: &Call<R>, shown: Sequence) -> Result<Sequence, Failure> {
        let point = ReadPoint::AtLeast(Seen { ledger: self.lane.ledger()?, sequence: shown });
        self.lane.read(point, call.deadline, |_| ()).await?;
        Ok(shown)
    }

    /// The read point of a page that must show at least what the first page had seen.
    pub(super) fn no_older_than(&self, point: ReadPoint, pinned: Sequence) -> Result<ReadPoint, Failure> {
        let ledger = self.lane.ledger()?;
        Ok(match point {
            ReadPoint::Latest => ReadPoint::Latest,
            ReadPoint::AtLeast(seen) => {
                ReadPoint::AtLeast(Seen { ledger, sequence: seen.sequence.max(pinned) })
            }
            ReadPoint::Local => ReadPoint::AtLeast(Seen { ledger, sequence: pinned }),
        })
    }

    pub(super) async fn balance(
        &self,
        request: Request<v1::GetBalanceRequest>,
    ) -> Result<v1::GetBalanceResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        trace(&self.lane, &metadata, false)?;
        let number = parse::account(self.lane.branch(), &message.account, "account")?;
        let (point, consistency) = call.read_point(message.consistency)?;
        let (account, sequence) = self.find(&call, point, number).await?;
        Ok(reply::balance(&account, consistency, call.stamp(&self.lane, sequence)))
    }

    pub(super) async fn account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<v1::GetAccountResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        trace(&self.lane, &metadata, false)?;
        let number = parse::account(self.lane.branch(), &message.account, "account")?;
        let (point, _) = call.read_point(message.consistency)?;
        let (account, sequence) = self.find(&call, point, number).await?;
        Ok(reply::account(&account, call.stamp(&self.lane, sequence)))
    }

    pub(super) async fn accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<v1::ListAccountsResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let size = parse::page_size(message.page_size)?;
        let (point, _) = call.read_point(message.consistency)?;
        let query = Query { call: "ListAccounts", ledger: self.lane.ledger()?, fields: () };
        let place: Option<AccountsPlace> = query.place(&message.page_token)?;
        let point = match &place {
            Some(place) => self.no_older_than(point, place.pinned)?,
            None => point,
        };
        let list = |state: &State| {
            let (after, opened_by) = match &place {
                Some(place) => (Some(place.after), place.opened_by),
                // A ledger that has taken no batch has no accounts.
                None => (None, state.ledger.position().time.unwrap_or(Timestamp::MIN)),
            };
            // One more than the page shows says whether there is a next page.
            (state.ledger.accounts(after, opened_by, size + 1), opened_by)
        };
        let ((mut accounts, opened_by), sequence) = self.look(&call, point, list).await?;
        let more = accounts.len() > size;
        accounts.truncate(size);
        let pinned = place.as_ref().map_or(sequence, |place| place.pinned);
        let next = accounts
            .last()
            .filter(|_| more)
            .map(|last| query.token(&AccountsPlace { after: last.number, opened_by, pinned }));
        let shown = accounts.iter().map(|account| account.newest_entry).fold(sequence, Sequence::max);
        self.settle(&call, shown).await?;
        Ok(reply::accounts(&accounts, next.unwrap_or_default(), call.stamp(&self.lane, shown)))
    }

    pub(super) async fn operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<v1::GetOperationResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let id = parse::required_request_id(&message.request_id)?;
        let (point, _) = call.read_point(message.consistency)?;
        let (operation, sequence) = self.observe(&call, point, |state| state.ledger.operation(&id)).await?;
        let mut told = reply::operation(&id, &operation, call.stamp(&self.lane, sequence));
        self.tell_transfer(&call, &mut told).await?;
        Ok(told)
    }
}
