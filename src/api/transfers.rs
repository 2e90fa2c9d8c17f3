//! Transfer, GetTransfer and ListTransfers, inside a branch and between branches.
//!
//! Who pays decides: a call about money that another branch pays goes there through the client library, with the same
//! request id and the time that is left, so that any server takes any call.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::Request;

use super::BankApi;
use super::call::Call;
use super::transfer_history::{self as history, CreditHistory};
use crate::client::{self, Options};
use crate::ledger::Shown;
use crate::model::{
    BranchName, Command, Failure, NewTransfer, Reason, Receipt, RequestId, Seen, Sequence, Timestamp,
    TransferId, Work,
};
use crate::replication::ReadPoint;
use crate::store::{Runtime, State};
use crate::transfer::{Begun, InDoubt, TransferShown};
use crate::wire::page::Query;
use crate::wire::parse::{self, Movement};
use crate::wire::proto::v1;
use crate::wire::reply::{self, WriteStamp};

/// How long before its time a call about a transfer without an outcome is answered.
const MARGIN: Duration = Duration::from_millis(100);
/// How many transfers are looked at before other calls of the runtime get their turn.
const TURN: usize = 16;
/// Time to bring a forwarded answer back.
const WAY_BACK: Duration = Duration::from_millis(20);

/// Where a list of transfers goes on.
#[derive(Serialize, Deserialize)]
struct TransfersPlace {
    /// The record of the next transfer to show.
    next: Sequence,
    /// How far the first page had come.
    pinned: Sequence,
}

/// Where the list of those in doubt goes on: the last one shown, by age and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct DoubtPlace {
    since: Timestamp,
    id: TransferId,
}

impl<R: Runtime> BankApi<R> {
    pub(super) async fn transfer_money(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<v1::TransferResponse, Failure> {
        let home = self.lane.branch();
        let movement = parse::transfer(home, request.get_ref())?;
        if movement.source.branch != *home {
            return self.transfer_elsewhere(request, &movement.source.branch).await;
        }
        let Movement { source, destination, amount } = movement;
        if destination.branch != *home {
            let new = NewTransfer { source: source.account, destination, amount };
            return self.transfer_between(request, new).await;
        }
        let (source, destination) = (source.account, destination.account);
        let command = |_: &BranchName, _: &_| Ok(Command::Transfer { source, destination, amount });
        let convert =
            |receipt: &Receipt, written: WriteStamp<'_>| reply::transferred(receipt, amount.money(), written);
        self.one(request, command, convert).await
    }

    /// A transfer to another branch. When the first part returns the work is handed over.
    async fn transfer_between(
        &self,
        request: Request<v1::TransferRequest>,
        new: NewTransfer,
    ) -> Result<v1::TransferResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let request = parse::request_id(&message.request_id)?;
        if message.validate_only {
            return self.transfer_previewed(&mut call, request, new).await;
        }
        // A caller that hears how far it is can go on from there; one whose time ran out cannot.
        let deadline = R::now() + (call.left() - MARGIN.min(call.left() / 8));
        let begun = self.transfers.begin(new, request.clone(), call.seen, deadline).await?;
        Ok(self.transfer_reply(&mut call, request, &begun).await)
    }

    async fn transfer_reply(
        &self,
        call: &mut Call<R>,
        request: Option<RequestId>,
        begun: &Begun,
    ) -> v1::TransferResponse {
        let shown = &begun.transfer;
        if let Some(seen) = shown.seen {
            call.saw(&shown.destination.branch, seen);
        }
        let source = |accounts: &Shown<'_>| accounts.account(shown.source);
        // The transfer stands, so that its reply may lack the balance but must not be a failure.
        let seen = self.lane.view(ReadPoint::Local, call.deadline, source).await;
        let (payer, sequence) = seen.unwrap_or((None, shown.sequence));
        let told = history::shown(self.lane.branch(), shown, None);
        let stamp = call.stamp(&self.lane, sequence.max(shown.sequence));
        v1::TransferResponse {
            transfer: told.transfer,
            state: told.state,
            source: told.source,
            destination: told.destination,
            amount: told.amount,
            source_balance: payer.map(|payer| payer.balance.balance.to_string()).unwrap_or_default(),
            destination_balance: String::new(),
            reason: told.reason,
            message: told.message,
            sequence: shown.id.number.0,
            session_token: stamp.session_token,
            branch: stamp.branch.to_string(),
            replica: stamp.replica.0,
            request_id: request.map(|request| request.to_string()).unwrap_or_default(),
            replayed: begun.replayed,
        }
    }

    /// What a transfer to another branch would begin with; what that branch would say nobody has asked.
    async fn transfer_previewed(
        &self,
        call: &mut Call<R>,
        request: Option<RequestId>,
        new: NewTransfer,
    ) -> Result<v1::TransferResponse, Failure> {
        let to = new.destination.branch.clone();
        self.ways.client(&to)?;
        let work = Work::One(Command::BeginTransfer(Box::new(new)));
        let done = self.perform(call, request.clone(), true, None, work).await?;
        let Receipt::TransferBegun(change) = done.receipt()? else {
            return Err(Failure::new(Reason::Internal, "a transfer began with another receipt"));
        };
        let written = self.written(call, request.as_ref(), &done);
        Ok(v1::TransferResponse {
            state: v1::TransferState::Pending.into(),
            source: reply::account_ref(self.lane.branch(), change.source),
            destination: change.destination.to_string(),
            amount: change.amount.to_string(),
            source_balance: change.balance.balance.to_string(),
            message: if done.replayed {
                "this request id is used for this transfer already".to_owned()
            } else {
                format!("only looked at; branch {to} was not asked")
            },
            replayed: done.replayed,
            sequence: written.stamp.sequence.0,
            session_token: written.stamp.session_token,
            branch: written.stamp.branch.to_string(),
            replica: written.stamp.replica.0,
            request_id: written.request_id,
            ..v1::TransferResponse::default()
        })
    }

    /// A transfer that another branch pays.
    async fn transfer_elsewhere(
        &self,
        request: Request<v1::TransferRequest>,
        payer: &BranchName,
    ) -> Result<v1::TransferResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let full = |account: &str| parse::full_reference(self.lane.branch(), account);
        let options = Options {
            request_id: parse::request_id(&message.request_id)?.map(|request| request.to_string()),
            session_token: Some(message.session_token.clone()),
            validate_only: message.validate_only,
            timeout: Some(call.left().saturating_sub(WAY_BACK)),
            ..Options::default()
        };
        let client = self.ways.client(payer).map_err(|failure| failure.in_field("source"))?.clone();
        let (source, destination) = (full(&message.source), full(&message.destination));
        // The other branch may do it though the caller of this one goes away.
        let forwarded =
            tokio::spawn(
                async move { client.transfer(&source, &destination, &message.amount, &options).await },
            );
        let done = forwarded.await.map_err(|fault| {
            Failure::new(Reason::Internal, format!("the call was not forwarded: {fault}"))
        })??;
        Ok(forwarded_reply(done))
    }

    pub(super) async fn transfer_shown(
        &self,
        request: Request<v1::GetTransferRequest>,
    ) -> Result<v1::GetTransferResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let id = parse::transfer_id(self.lane.branch(), &message.transfer)?;
        let (point, _) = call.read_point(message.consistency)?;
        let (transfer, sequence) = if id.branch == *self.lane.branch() {
            let shown = self.transfers.show(id.number, point, call.deadline).await?;
            if let Some(seen) = shown.seen {
                call.saw(&shown.destination.branch, seen);
            }
            (self.told(&shown), shown.sequence)
        } else {
            self.received(&call, point, &id, &message).await?
        };
        let sequence = self.settle(&call, sequence).await?;
        let stamp = call.stamp(&self.lane, sequence);
        Ok(v1::GetTransferResponse {
            transfer: Some(transfer),
            sequence: stamp.sequence.0,
            session_token: stamp.session_token,
            branch: stamp.branch.to_string(),
            replica: stamp.replica.0,
        })
    }

    fn told(&self, shown: &TransferShown) -> v1::TransferInfo {
        history::shown(self.lane.branch(), shown, Some((self.clock)()))
    }

    /// A transfer that another branch pays: what that branch says of it, with what was applied here.
    async fn received(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        id: &TransferId,
        message: &v1::GetTransferRequest,
    ) -> Result<(v1::TransferInfo, Sequence), Failure> {
        let newest = |state: &State| state.ledger.newest_transfer();
        let (newest, sequence) = self.look(call, point, newest).await?;
        let here = self.credit_here(call, id, newest).await?;
        let options = Options {
            session_token: Some(message.session_token.clone()),
            timeout: Some((call.left() / 2).saturating_sub(WAY_BACK)),
            ..Options::default()
        };
        let there = match self.ways.client(&id.branch) {
            Ok(client) => client.transfer_shown(&id.to_string(), &options).await,
            Err(unknown) => Err(unknown.in_field("transfer")),
        };
        let transfer = match (here, there) {
            (Some(credit), Ok(there)) => history::joined(credit.told(Some((self.clock)())), there.transfer),
            (Some(credit), Err(_)) => credit.told(Some((self.clock)())),
            (None, Ok(there)) => history::of_client(there.transfer),
            (None, Err(failure)) => return Err(failure),
        };
        Ok((transfer, sequence))
    }

    /// The receiving side of a transfer, if it is among the latest.
    async fn credit_here(
        &self,
        call: &Call<R>,
        id: &TransferId,
        newest: Sequence,
    ) -> Result<Option<CreditHistory>, Failure> {
        let mut next = newest;
        for looked_at in 0..history::LATEST {
            if looked_at % TURN == TURN - 1 {
                call.pause().await?;
            }
            let state = self.lane.state();
            let Some(record) = history::record_at(&state.journal, next) else { return Ok(None) };
            if let Some(credit) = CreditHistory::of(self.lane.branch(), &record, Some(id)) {
                return credit.whole(&self.lane, call).await.map(Some);
            }
            next = record.previous_transfer;
        }
        Ok(None)
    }

    pub(super) async fn transfers_listed(
        &self,
        request: Request<v1::ListTransfersRequest>,
    ) -> Result<v1::ListTransfersResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let size = parse::page_size(message.page_size)?;
        let (point, _) = call.read_point(message.consistency)?;
        let (transfers, next, sequence) = if message.in_doubt {
            self.in_doubt(&call, point, size, &message.page_token).await?
        } else {
            self.newest_first_transfers(&call, point, size, &message.page_token).await?
        };
        let stamp = call.stamp(&self.lane, sequence);
        Ok(v1::ListTransfersResponse {
            transfers,
            next_page_token: next,
            sequence: stamp.sequence.0,
            session_token: stamp.session_token,
            branch: stamp.branch.to_string(),
            replica: stamp.replica.0,
        })
    }

    /// A page of those in doubt, the oldest first.
    async fn in_doubt(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        size: usize,
        page_token: &str,
    ) -> Result<(Vec<v1::TransferInfo>, String, Sequence), Failure> {
        let query = Query { call: "ListTransfers", ledger: self.lane.ledger()?, fields: true };
        let after: Option<DoubtPlace> = query.place(page_token)?;
        let (doubts, sequence) = self.transfers.in_doubt(point, call.deadline).await?;
        let place = |doubt: &InDoubt| DoubtPlace { since: doubt.since, id: doubt.id.clone() };
        let mut doubts: Vec<_> = doubts.into_iter().map(|doubt| (place(&doubt), doubt)).collect();
        doubts.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
        doubts.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = doubts.len() > size;
        doubts.truncate(size);
        let next = doubts.last().filter(|_| more).map(|(place, _)| query.token(place)).unwrap_or_default();
        let now = (self.clock)();
        let transfers = doubts.iter().map(|(_, doubt)| history::doubted(self.lane.branch(), doubt, now));
        let sequence = self.settle(call, sequence.max(self.lane.state().ledger.position().sequence)).await?;
        Ok((transfers.collect(), next, sequence))
    }

    /// A page along the chain of transfers, from the newest to the first.
    async fn newest_first_transfers(
        &self,
        call: &Call<R>,
        point: ReadPoint,
        size: usize,
        page_token: &str,
    ) -> Result<(Vec<v1::TransferInfo>, String, Sequence), Failure> {
        let query = Query { call: "ListTransfers", ledger: self.lane.ledger()?, fields: false };
        let place: Option<TransfersPlace> = query.place(page_token)?;
        let point = match &place {
            Some(place) => self.no_older_than(point, place.pinned)?,
            None => point,
        };
        let (newest, sequence) = self.look(call, point, |state| state.ledger.newest_transfer()).await?;
        let mut next = place.as_ref().map_or(newest, |place| place.next);
        let mut transfers = Vec::new();
        while next > Sequence::ZERO && transfers.len() < size {
            let Some(record) = history::record_at(&self.lane.state().journal, next) else {
                // What is still held is shown; the page after it says that the rest is gone.
                if transfers.is_empty() {
                    return Err(history::trimmed(&self.lane.state().journal));
                }
                break;
            };
            next = record.previous_transfer;
            let info = match CreditHistory::of(self.lane.branch(), &record, None) {
                Some(credit) => credit.whole(&self.lane, call).await?.told(Some((self.clock)())),
                None => {
                    let at = ReadPoint::AtLeast(Seen { ledger: self.lane.ledger()?, sequence });
                    self.told(&self.transfers.show(record.sequence, at, call.deadline).await?)
                }
            };
            transfers.push(v1::TransferInfo { phases: Vec::new(), ..info });
            if transfers.len() % TURN == 0 {
                call.pause().await?;
            }
        }
        let pinned = place.map_or(sequence, |place| place.pinned);
        let next = match next {
            Sequence::ZERO => String::new(),
            next => query.token(&TransfersPlace { next, pinned }),
        };
        Ok((transfers, next, sequence))
    }

    /// Says in the answer about an operation how the transfer that it began stands now.
    pub(super) async fn tell_transfer(
        &self,
        call: &Call<R>,
        told: &mut v1::GetOperationResponse,
    ) -> Result<(), Failure> {
        let pending =
            |result: &&mut v1::OperationResult| result.transfer_state() == v1::TransferState::Pending;
        for result in told.results.iter_mut().filter(pending) {
            let point = ReadPoint::Local;
            let shown = self.transfers.show(Sequence(result.sequence), point, call.deadline).await?;
            result.set_transfer_state(history::state(&shown.state));
        }
        Ok(())
    }
}

fn forwarded_reply(done: client::Transferred) -> v1::TransferResponse {
    let state = match done.state {
        client::TransferState::Committed => v1::TransferState::Committed,
        client::TransferState::Pending => v1::TransferState::Pending,
        client::TransferState::Aborted => v1::TransferState::Aborted,
        client::TransferState::Unknown => v1::TransferState::Unspecified,
    };
    v1::TransferResponse {
        transfer: done.transfer,
        state: state.into(),
        source: done.source,
        destination: done.destination,
        amount: done.amount,
        source_balance: done.source_balance,
        destination_balance: done.destination_balance,
        reason: done.reason,
        message: done.message,
        sequence: done.seen.sequence,
        session_token: done.seen.session_token,
        branch: done.seen.branch,
        replica: done.seen.replica,
        request_id: done.named.request_id,
        replayed: done.named.replayed,
    }
}
