//! What replies say of a transfer: of one that this branch pays as the transfer room shows it, of one that it receives as
//! its own journal tells it, and of one that another branch told of.

use std::ops::ControlFlow;
use std::time::Duration;

use super::call::Call;
use super::statement::{LOOKED_AT, gone};
use crate::client;
use crate::model::{Applied, BranchName, Command, Credit, Failure, Receipt, Sequence, Timestamp, TransferId};
use crate::replication::Lane;
use crate::store::{Journal, JournalTrimmed, Runtime};
use crate::transfer::{Doubt, InDoubt, PhaseKind, TransferShown, TransferState};
use crate::wire::proto::v1;
use crate::wire::reply;

/// How many of the latest transfers are looked through for a credit by the name of its transfer.
pub(super) const LATEST: usize = 4_096;

/// A transfer that this branch pays. `now` tells its age.
pub(super) fn shown(home: &BranchName, shown: &TransferShown, now: Option<Timestamp>) -> v1::TransferInfo {
    let (reason, message) = match &shown.state {
        TransferState::Aborted(why) => {
            let failure = why.explain(&format!("branch {}", shown.destination.branch));
            (failure.reason.as_str().to_owned(), failure.message)
        }
        TransferState::Pending | TransferState::Committed => (
            String::new(),
            shown.waiting_for.as_ref().map(|what| format!("waits for {what}")).unwrap_or_default(),
        ),
    };
    let inside = shown.destination.branch == *home;
    let begun = shown.phases.first().map(|phase| phase.time);
    v1::TransferInfo {
        transfer: shown.id.to_string(),
        state: state(&shown.state).into(),
        source: reply::account_ref(&shown.id.branch, shown.source),
        destination: shown.destination.to_string(),
        amount: shown.amount.to_string(),
        side: (if inside { v1::TransferSide::Both } else { v1::TransferSide::Paying }).into(),
        in_doubt: shown.open,
        reason,
        begin_time: begun.map(reply::time),
        age: begun.zip(now).filter(|_| shown.open).map(|(begun, now)| age(begun, now)),
        waiting_for: if shown.open { shown.destination.branch.to_string() } else { String::new() },
        phases: phases(shown, &message),
        message,
        request_id: shown.request.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn phases(shown: &TransferShown, why: &str) -> Vec<v1::TransferPhase> {
    let phase = |phase: &crate::transfer::Phase| {
        let to = &shown.destination.branch;
        let (step, detail) = match phase.kind {
            PhaseKind::Begun => (v1::TransferStep::Begin, String::new()),
            PhaseKind::Committed => (v1::TransferStep::Commit, format!("branch {to} voted yes")),
            PhaseKind::Aborted => (v1::TransferStep::Abort, why.to_owned()),
            PhaseKind::Closed => (v1::TransferStep::Close, format!("branch {to} has the outcome")),
        };
        v1::TransferPhase {
            step: step.into(),
            branch: shown.id.branch.to_string(),
            sequence: phase.sequence.map_or(0, |sequence| sequence.0),
            time: Some(reply::time(phase.time)),
            detail,
        }
    };
    shown.phases.iter().map(phase).collect()
}

/// How a transfer stands, as the proto writes it.
pub(super) fn state(state: &TransferState) -> v1::TransferState {
    match state {
        TransferState::Pending => v1::TransferState::Pending,
        TransferState::Committed => v1::TransferState::Committed,
        TransferState::Aborted(_) => v1::TransferState::Aborted,
    }
}

fn age(since: Timestamp, now: Timestamp) -> prost_types::Duration {
    let age = Duration::from_micros(now.micros().saturating_sub(since.micros()));
    // 2^64 microseconds are less than 2^63 seconds.
    age.try_into().unwrap_or_default()
}

/// A transfer in doubt.
pub(super) fn doubted(home: &BranchName, doubt: &InDoubt, now: Timestamp) -> v1::TransferInfo {
    let (state, side, waits_for) = match doubt.doubt {
        Doubt::Undecided => (v1::TransferState::Pending, v1::TransferSide::Paying, &doubt.destination.branch),
        Doubt::Untold => (v1::TransferState::Committed, v1::TransferSide::Paying, &doubt.destination.branch),
        Doubt::Prepared => (v1::TransferState::Pending, v1::TransferSide::Receiving, &doubt.id.branch),
    };
    debug_assert!(waits_for != home, "a transfer in doubt is between two branches");
    v1::TransferInfo {
        transfer: doubt.id.to_string(),
        state: state.into(),
        source: reply::account_ref(&doubt.id.branch, doubt.source),
        destination: doubt.destination.to_string(),
        amount: doubt.amount.to_string(),
        side: side.into(),
        in_doubt: true,
        message: format!("waits for {}", doubt.waiting_for),
        begin_time: Some(reply::time(doubt.since)),
        age: Some(age(doubt.since, now)),
        waiting_for: waits_for.to_string(),
        ..v1::TransferInfo::default()
    }
}

/// The record at a sequence, if it is held.
pub(super) fn record_at(journal: &Journal, sequence: Sequence) -> Option<Applied> {
    let mut found = None;
    let visited = (sequence > Sequence::ZERO).then(|| {
        journal.visit(sequence, |record| {
            found = Some(record.clone());
            ControlFlow::Break(())
        })
    });
    found.filter(|record| visited == Some(Ok(())) && record.sequence == sequence)
}

/// What to say when the chain of transfers leads to what is no longer held.
pub(super) fn trimmed(journal: &Journal) -> Failure {
    gone(JournalTrimmed { first: journal.first() })
}

/// The receiving side of a transfer, as the journal of this branch tells it.
pub(super) struct CreditHistory {
    home: BranchName,
    credit: Credit,
    request: String,
    state: v1::TransferState,
    begun: Timestamp,
    phases: Vec<v1::TransferPhase>,
    next: Sequence,
}

impl CreditHistory {
    /// Begins with the record that prepared the credit; none when the record is of something else, or of another
    /// transfer than the one wanted.
    pub(super) fn of(
        home: &BranchName,
        record: &Applied,
        wanted: Option<&TransferId>,
    ) -> Option<CreditHistory> {
        let Command::PrepareCredit(credit) = &record.command else { return None };
        let is_wanted = |id: &TransferId| id.branch == credit.origin.branch && id.number == credit.number;
        if record.outcome.is_err() || !wanted.is_none_or(is_wanted) {
            return None;
        }
        let mut history = CreditHistory {
            home: home.clone(),
            credit: (**credit).clone(),
            request: record.request.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: v1::TransferState::Pending,
            begun: record.time,
            phases: Vec::new(),
            next: record.sequence.next(),
        };
        history.add(record, v1::TransferStep::Prepare, format!("branch {home} voted yes"));
        Some(history)
    }

    /// Reads on to the decision, or to what is applied now.
    ///
    /// # Errors
    /// `JOURNAL_TRIMMED`, or `OVERLOADED` when the time of the call is over.
    pub(super) async fn whole<R: Runtime>(
        mut self,
        lane: &Lane<R>,
        call: &Call<R>,
    ) -> Result<CreditHistory, Failure> {
        while self.read(&lane.state().journal).map_err(gone)? {
            call.pause().await?;
        }
        Ok(self)
    }

    /// Whether there is more to read.
    fn read(&mut self, journal: &Journal) -> Result<bool, JournalTrimmed> {
        let mut left = LOOKED_AT;
        let from = self.next;
        journal.visit(from, |record| {
            self.next = record.sequence.next();
            left -= 1;
            let decided = self.decide(record);
            if decided || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(left == 0 && self.state == v1::TransferState::Pending)
    }

    fn decide(&mut self, record: &Applied) -> bool {
        let is_mine =
            |credit: &Credit| credit.origin == self.credit.origin && credit.number == self.credit.number;
        match (&record.command, &record.outcome) {
            (Command::CommitCredit(credit), Ok(Receipt::CreditCommitted(_))) if is_mine(credit) => {
                self.state = v1::TransferState::Committed;
                self.add(record, v1::TransferStep::Commit, String::new());
                true
            }
            (Command::AbortCredit(credit), Ok(Receipt::CreditAborted(_))) if is_mine(credit) => {
                self.state = v1::TransferState::Aborted;
                self.add(record, v1::TransferStep::Abort, String::new());
                true
            }
            (_, _) => false,
        }
    }

    fn add(&mut self, record: &Applied, step: v1::TransferStep, detail: String) {
        self.phases.push(v1::TransferPhase {
            step: step.into(),
            branch: self.home.to_string(),
            sequence: record.sequence.0,
            time: Some(reply::time(record.time)),
            detail,
        });
    }

    /// What replies say of it.
    pub(super) fn told(self, now: Option<Timestamp>) -> v1::TransferInfo {
        let from = &self.credit.origin.branch;
        let open = self.state == v1::TransferState::Pending;
        v1::TransferInfo {
            transfer: reply::transfer_name(from, self.credit.number),
            state: self.state.into(),
            source: reply::account_ref(from, self.credit.source),
            destination: reply::account_ref(&self.home, self.credit.destination),
            amount: self.credit.amount.to_string(),
            side: v1::TransferSide::Receiving.into(),
            in_doubt: open,
            message: if open { format!("waits for the decision of branch {from}") } else { String::new() },
            begin_time: Some(reply::time(self.begun)),
            age: now.filter(|_| open).map(|now| age(self.begun, now)),
            waiting_for: if open { from.to_string() } else { String::new() },
            phases: self.phases,
            request_id: self.request,
            ..v1::TransferInfo::default()
        }
    }
}

/// What another branch, which pays, told of a transfer, together with what was applied here.
pub(super) fn joined(here: v1::TransferInfo, there: client::Transfer) -> v1::TransferInfo {
    let there = of_client(there);
    let mut phases = there.phases;
    phases.extend(here.phases);
    // Clocks of two branches may differ; what follows from what does not.
    phases.sort_by_key(|phase| {
        let at = phase.time.map_or((0, 0), |time| (time.seconds, time.nanos));
        (phase.step, at)
    });
    v1::TransferInfo {
        side: here.side,
        in_doubt: here.in_doubt || there.in_doubt,
        age: here.age.or(there.age),
        phases,
        ..there
    }
}

/// What another branch told of a transfer.
pub(super) fn of_client(transfer: client::Transfer) -> v1::TransferInfo {
    let phase = |phase: client::TransferPhase| v1::TransferPhase {
        step: step(phase.step).into(),
        branch: phase.branch,
        sequence: phase.sequence,
        time: phase.time.map(reply::time),
        detail: phase.detail,
    };
    let state = match transfer.state {
        client::TransferState::Committed => v1::TransferState::Committed,
        client::TransferState::Pending => v1::TransferState::Pending,
        client::TransferState::Aborted => v1::TransferState::Aborted,
        client::TransferState::Unknown => v1::TransferState::Unspecified,
    };
    let side = match transfer.side {
        client::TransferSide::Both => v1::TransferSide::Both,
        client::TransferSide::Paying => v1::TransferSide::Paying,
        client::TransferSide::Receiving => v1::TransferSide::Receiving,
        client::TransferSide::Unknown => v1::TransferSide::Unspecified,
    };
    v1::TransferInfo {
        transfer: transfer.transfer,
        state: state.into(),
        source: transfer.source,
        destination: transfer.destination,
        amount: transfer.amount,
        side: side.into(),
        in_doubt: transfer.in_doubt,
        reason: transfer.reason,
        message: transfer.message,
        begin_time: transfer.begin_time.map(reply::time),
        age: transfer.age.and_then(|age| age.try_into().ok()),
        waiting_for: transfer.waiting_for,
        phases: transfer.phases.into_iter().map(phase).collect(),
        request_id: transfer.request_id,
    }
}

fn step(step: client::TransferStep) -> v1::TransferStep {
    match step {
        client::TransferStep::Begin => v1::TransferStep::Begin,
        client::TransferStep::Prepare => v1::TransferStep::Prepare,
        client::TransferStep::Commit => v1::TransferStep::Commit,
        client::TransferStep::Abort => v1::TransferStep::Abort,
        client::TransferStep::Close => v1::TransferStep::Close,
        client::TransferStep::Unknown => v1::TransferStep::Unspecified,
    }
}
