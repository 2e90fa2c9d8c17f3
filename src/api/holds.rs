//! GetHold and ListHolds.
//!
//! A hold that reserves money is in the ledger; what has become of another one the journal tells, which is read
//! from the record that placed it.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tonic::Request;

use super::BankApi;
use super::call::Call;
use super::statement::{LOOKED_AT, gone};
use crate::model::{
    AccountNumber, Applied, BranchName, Command, Failure, Hold, HoldId, HoldStatus, Receipt, Rejection,
    Sequence,
};
use crate::store::{Journal, JournalTrimmed, Runtime, State};
use crate::wire::page::Query;
use crate::wire::proto::v1;
use crate::wire::{parse, reply};

/// Where a list of holds goes on.
#[derive(Serialize, Deserialize)]
struct HoldsPlace {
    /// The last hold shown.
    after: HoldId,
    /// How far the first page had come.
    pinned: Sequence,
}

impl<R: Runtime> BankApi<R> {
    pub(super) async fn hold(
        &self,
        request: Request<v1::GetHoldRequest>,
    ) -> Result<v1::GetHoldResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let id = parse::hold_id(self.lane.branch(), &message.hold)?;
        let (point, _) = call.read_point(message.consistency)?;
        let (status, sequence) = self.look(&call, point, |state| state.ledger.hold(id)).await?;
        let hold = match status {
            Some(HoldStatus::Open(hold)) => reply::hold_fields(self.lane.branch(), &hold),
            Some(HoldStatus::Ended(_)) => self.ended(&call, id).await?,
            None if id.0 > sequence => return Err(not_found(id)),
            None => self.ended(&call, id).await?,
        };
        Ok(reply::hold_shown(hold, call.stamp(&self.lane, sequence)))
    }

    /// A hold that is not open, as the journal tells it.
    async fn ended(&self, call: &Call<R>, id: HoldId) -> Result<v1::Hold, Failure> {
        let mut history = History { id, next: id.0, hold: None, over: false };
        while !history.over {
            history.read(self.lane.branch(), &self.lane.state().journal).map_err(gone)?;
            if history.hold.is_none() {
                break;
            }
            call.pause().await?;
        }
        history.hold.ok_or_else(|| not_found(id))
    }

    pub(super) async fn holds(
        &self,
        request: Request<v1::ListHoldsRequest>,
    ) -> Result<v1::ListHoldsResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let account = parse::account(self.lane.branch(), &message.account, "account")?;
        let size = parse::page_size(message.page_size)?;
        let (point, _) = call.read_point(message.consistency)?;
        let query = Query { call: "ListHolds", ledger: self.lane.ledger()?, fields: account };
        let place: Option<HoldsPlace> = query.place(&message.page_token)?;
        let point = match &place {
            Some(place) => self.no_older_than(point, place.pinned)?,
            None => point,
        };
        let after = place.as_ref().map(|place| place.after);
        let list = |state: &State| open_holds(state, account, after, size);
        let (holds, sequence) = self.look(&call, point, list).await?;
        let mut holds = holds?;
        let more = holds.len() > size;
        holds.truncate(size);
        let pinned = place.as_ref().map_or(sequence, |place| place.pinned);
        let next = holds.last().filter(|_| more);
        let next = next.map(|last| query.token(&HoldsPlace { after: last.id, pinned })).unwrap_or_default();
        let holds = holds.iter().map(|hold| reply::hold_fields(self.lane.branch(), hold)).collect();
        Ok(reply::holds(holds, next, call.stamp(&self.lane, sequence)))
    }
}

/// One more than the page shows says whether there is a next page.
fn open_holds(
    state: &State,
    account: AccountNumber,
    after: Option<HoldId>,
    size: usize,
) -> Result<Vec<Hold>, Failure> {
    match state.ledger.account(account) {
        Some(_) => Ok(state.ledger.holds(account, after, size + 1)),
        None => Err(Failure::from(&Rejection::AccountNotFound { account })),
    }
}

fn not_found(hold: HoldId) -> Failure {
    Failure::from(&Rejection::HoldNotFound { hold })
}

/// The history of one hold while the journal is read.
struct History {
    id: HoldId,
    next: Sequence,
    /// None when the record of its name placed no hold.
    hold: Option<v1::Hold>,
    over: bool,
}

impl History {
    /// Reads on, so far and no further; over at the end of the hold or of the journal.
    fn read(&mut self, branch: &BranchName, journal: &Journal) -> Result<(), JournalTrimmed> {
        let mut left = LOOKED_AT;
        journal.visit(self.next, |record| {
            self.next = record.sequence.next();
            left -= 1;
            if record.sequence == self.id.0 {
                self.hold = placed(branch, self.id, record);
                self.over = self.hold.is_none();
            } else {
                self.end(record);
            }
            if self.over || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.over |= left > 0;
        Ok(())
    }

    fn end(&mut self, record: &Applied) {
        let (Some(hold), Ok(receipt)) = (&mut self.hold, &record.outcome) else { return };
        let (state, captured) = if let Command::CaptureHold { hold, .. } = &record.command
            && *hold == self.id
            && let Receipt::HoldCaptured(change) = receipt
        {
            (v1::HoldState::Captured, change.captured)
        } else if matches!(&record.command, Command::ReleaseHold { hold } if *hold == self.id) {
            (v1::HoldState::Released, None)
        } else if matches!(&record.command, Command::ExpireHold { hold } if *hold == self.id) {
            (v1::HoldState::Expired, None)
        } else {
            return;
        };
        hold.state = state.into();
        hold.captured = captured.map(|amount| amount.to_string()).unwrap_or_default();
        self.over = true;
    }
}

fn placed(branch: &BranchName, id: HoldId, record: &Applied) -> Option<v1::Hold> {
    let Ok(Receipt::HoldPlaced(change)) = &record.outcome else { return None };
    let (account, amount, expires) = (change.account, change.amount, change.expires);
    Some(reply::hold_fields(branch, &Hold { id, account, amount, placed: record.time, expires }))
}
