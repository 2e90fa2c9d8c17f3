//! Calls that only look.

use serde::{Deserialize, Serialize};
use tonic::Request;

use super::BankApi;
use super::call::{Call, check_latest, trace};
use crate::ledger::Shown;
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

    /// Reads accounts of one moment, as fresh as asked and never older than the session, and says of which sequence.
    pub(super) async fn view<T>(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        read: impl Fn(&Shown<'_>) -> T,
    ) -> Result<(T, Sequence), Failure> {
        let (value, sequence) = self.lane.view(point, call.deadline, read).await?;
        if point == ReadPoint::Latest {
            check_latest(call.seen, sequence)?;
        }
        Ok((value, sequence))
    }

    /// An account, and the sequence of which it is.
    pub(super) async fn find(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        number: AccountNumber,
    ) -> Result<(Account, Sequence), Failure> {
        let (account, sequence) = self.view(call, point, |accounts| accounts.account(number)).await?;
        let account =
            account.ok_or_else(|| Failure::from(&Rejection::AccountNotFound { account: number }))?;
        Ok((account, sequence))
    }

    /// Waits until everything up to a sequence is applied.
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
        let (after, opened_by) = match &place {
            Some(place) => (Some(place.after), place.opened_by),
            None => (None, Timestamp::MAX),
        };
        // One more than the page shows says whether there is a next page.
        let list = |accounts: &Shown<'_>| accounts.accounts(after, opened_by, size + 1);
        let (mut accounts, sequence) = self.view(&call, point, list).await?;
        let more = accounts.len() > size;
        accounts.truncate(size);
        let pinned = place.as_ref().map_or(sequence, |place| place.pinned);
        let last = accounts.last().filter(|_| more).map(|last| last.number);
        let next = last.map(|after| {
            // Of a first page: later than everything on it.
            let time = || self.lane.state().ledger.position().time.unwrap_or(Timestamp::MIN);
            let opened_by = place.as_ref().map_or_else(time, |place| place.opened_by);
            query.token(&AccountsPlace { after, opened_by, pinned })
        });
        Ok(reply::accounts(&accounts, next.unwrap_or_default(), call.stamp(&self.lane, sequence)))
    }

    pub(super) async fn operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<v1::GetOperationResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let id = parse::required_request_id(&message.request_id)?;
        let (point, _) = call.read_point(message.consistency)?;
        let (operation, sequence) = self.look(&call, point, |state| state.ledger.operation(&id)).await?;
        let mut told = reply::operation(&id, &operation, call.stamp(&self.lane, sequence));
        self.tell_transfer(&call, &mut told).await?;
        Ok(told)
    }
}
