//! The one writer of a ledger: takes proposals in order and makes receipts true.

use std::sync::Arc;

use super::Position;
use super::accounts::{Accounts, Details, Entry};
use super::canonical;
use super::frozen::Preimages;
use super::requests::{Fingerprint, Recognised, Remembered, Requests};
use super::rules::{self, Draft, Standing};
use super::tables::{Reservation, Tables, reservation};
use crate::model::planted::{Fault, planted};
use crate::model::{
    AccountNumber, AccountState, Applied, Book, BranchName, Command, Digest, LedgerId, Money, Outcome,
    Outcomes, Proposal, Receipt, Rejection, Reply, RequestId, Sequence, Timestamp, Total, Work, postings,
};

/// What only `apply` changes, besides the accounts.
pub(super) struct Writer {
    pub(super) sequence: Sequence,
    pub(super) time: Option<Timestamp>,
    pub(super) digest: Digest,
    /// Every account number below it is in use.
    pub(super) next: AccountNumber,
    pub(super) cash: Total,
    pub(super) interest: Total,
    pub(super) requests: Requests,
    pub(super) tables: Tables,
    /// The newest record that begins a transfer; zero when there is none.
    pub(super) newest_transfer: Sequence,
    /// For whom accounts are kept before they change.
    pub(super) frozen: Vec<Arc<Preimages>>,
    /// Reused for the canonical bytes of each batch.
    pub(super) scratch: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer {
            sequence: Sequence::ZERO,
            time: None,
            digest: Digest::default(),
            next: AccountNumber::FIRST,
            cash: Total::ZERO,
            interest: Total::ZERO,
            requests: Requests::default(),
            tables: Tables::default(),
            newest_transfer: Sequence::ZERO,
            frozen: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl Writer {
    pub(super) fn position(&self, ledger: Option<LedgerId>) -> Position {
        Position { ledger, sequence: self.sequence, time: self.time, digest: self.digest }
    }

    /// Takes one proposal: answers a repetition, refuses what its id forbids, or executes the work.
    pub(super) fn take(
        &mut self,
        accounts: &Accounts,
        proposal: &Proposal,
        time: Timestamp,
        applied: &mut Vec<Applied>,
    ) -> Reply {
        let start = self.scratch.len();
        canonical::put_request(&mut self.scratch, proposal.request.as_ref());
        let work = self.scratch.len();
        canonical::put_work(&mut self.scratch, &proposal.work);
        let Some(request) = &proposal.request else {
            return self.execute(accounts, None, &proposal.work, time, applied);
        };
        let fingerprint = fingerprint(&self.scratch[work..]);
        let refused = match self.requests.recognise(request, fingerprint, time) {
            _ if planted(Fault::RequestsNotRecognised) => {
                return self.execute(accounts, Some(request), &proposal.work, time, applied);
            }
            Recognised::New => {
                let reply = self.execute(accounts, Some(request), &proposal.work, time, applied);
                let Reply { first, last, time, outcomes, .. } = reply.clone();
                let remembered = Remembered { fingerprint, first, last, time, outcomes };
                self.requests.remember(request.clone(), remembered, &self.frozen);
                return reply;
            }
            Recognised::Again(reply) => reply,
            Recognised::Refused(rejection) => Reply {
                first: self.sequence,
                last: self.sequence,
                time,
                replayed: false,
                outcomes: Outcomes::One(Err(rejection)),
            },
        };
        // Nothing happened, so the digest does not see it either.
        self.scratch.truncate(start);
        refused
    }

    fn execute(
        &mut self,
        accounts: &Accounts,
        request: Option<&RequestId>,
        work: &Work,
        time: Timestamp,
        applied: &mut Vec<Applied>,
    ) -> Reply {
        let first = self.sequence.next();
        let mut record = |writer: &mut Writer, command: &Command, outcome: Outcome| {
            writer.sequence = writer.sequence.next();
            canonical::put_outcome(&mut writer.scratch, &outcome);
            let Links { previous, previous_transfer } = match &outcome {
                Ok(receipt) => writer.post(accounts, command, receipt, time),
                Err(Rejection::BatchAborted { .. }) => Links::default(),
                Err(_) => {
                    writer.tables.hear(command);
                    Links::default()
                }
            };
            applied.push(Applied {
                sequence: writer.sequence,
                time,
                request: request.cloned(),
                command: command.clone(),
                outcome: outcome.clone(),
                previous,
                previous_transfer,
            });
            outcome
        };
        let outcomes = match work {
            Work::One(command) => {
                let outcome = rules::decide(command, &self.standing(accounts, time));
                Outcomes::One(record(self, command, outcome))
            }
            Work::Independent(commands) => Outcomes::Many(
                commands
                    .iter()
                    .map(|command| {
                        let outcome = rules::decide(command, &self.standing(accounts, time));
                        record(self, command, outcome)
                    })
                    .collect(),
            ),
            Work::Atomic(commands) => {
                let outcomes = self.decide_atomic(accounts, commands, time);
                let recorded =
                    commands.iter().zip(outcomes).map(|(command, outcome)| record(self, command, outcome));
                Outcomes::Many(recorded.collect())
            }
        };
        Reply { first, last: self.sequence, time, replayed: false, outcomes }
    }

    /// What the proposal would get if it were applied next, at the earliest time that can have.
    pub(super) fn preview(&self, accounts: &Accounts, proposal: &Proposal) -> Reply {
        let time = Timestamp::MIN.after(self.time);
        let recognised = proposal.request.as_ref().map(|request| {
            let mut work = Vec::new();
            canonical::put_work(&mut work, &proposal.work);
            self.requests.recognise(request, fingerprint(&work), time)
        });
        let outcomes = match recognised {
            Some(Recognised::Again(reply)) => return reply,
            // The clock that judges this is the one of the batch, which a preview does not have: in a quiet branch
            // every new id is far ahead of the last batch.
            None | Some(Recognised::New | Recognised::Refused(Rejection::RequestFromFuture { .. })) => {
                self.preview_new(accounts, &proposal.work, time)
            }
            Some(Recognised::Refused(rejection)) => Outcomes::One(Err(rejection)),
        };
        Reply { first: self.sequence, last: self.sequence, time, replayed: false, outcomes }
    }

    fn preview_new(&self, accounts: &Accounts, work: &Work, time: Timestamp) -> Outcomes {
        match work {
            Work::One(command) => Outcomes::One(rules::decide(command, &self.standing(accounts, time))),
            Work::Independent(commands) => {
                let mut draft = Draft::new(self.standing(accounts, time), self.sequence.next());
                Outcomes::Many(commands.iter().map(|command| draft.decide(command)).collect())
            }
            Work::Atomic(commands) => Outcomes::Many(self.decide_atomic(accounts, commands, time).into()),
        }
    }

    /// The outcomes of commands that all take effect or none.
    fn decide_atomic(&self, accounts: &Accounts, commands: &[Command], time: Timestamp) -> Vec<Outcome> {
        let mut draft = Draft::new(self.standing(accounts, time), self.sequence.next());
        let mut outcomes = Vec::with_capacity(commands.len());
        for (position, command) in commands.iter().enumerate() {
            match draft.decide(command) {
                Ok(receipt) => outcomes.push(Ok(receipt)),
                Err(rejection) => {
                    let failed = u32::try_from(position).expect("a batch has at most 8,192 commands");
                    outcomes = vec![Err(Rejection::BatchAborted { failed }); commands.len()];
                    outcomes[position] = Err(rejection);
                    break;
                }
            }
        }
        outcomes
    }

    /// Makes a receipt true: posts it and returns where statements and the list of transfers went on before it.
    fn post(&mut self, accounts: &Accounts, command: &Command, receipt: &Receipt, time: Timestamp) -> Links {
        let sequence = self.sequence;
        if let (Command::OpenAccount(new), Receipt::Opened { account, balance }) = (command, receipt) {
            let details = Details::of(new.name.clone(), new.overdraft, AccountState::Open);
            let entry = Entry { balance: *balance, newest: sequence, opened: time, details };
            accounts.insert(*account, entry, &self.frozen);
            self.next = rules::after_opening(self.next, command, receipt);
        }
        let mut reservation = reservation(receipt);
        let mut links = Links::default();
        let mut places = links.previous.iter_mut();
        for posting in postings(command, receipt) {
            match posting.book {
                Book::Cash => self.cash = self.cash.plus(posting.amount),
                Book::Interest => self.interest = self.interest.plus(posting.amount),
                Book::DueTo(branch) => self.tables.book(branch, posting.amount, Money::ZERO),
                Book::DueFrom(branch) => self.tables.book(branch, Money::ZERO, posting.amount),
                Book::Customer(_) if matches!(receipt, Receipt::Opened { .. }) => {}
                Book::Customer(account) => {
                    // In one step, so that no reader sees what left the balance as still held.
                    let reservation = reservation.take();
                    let before = accounts.change(account, &self.frozen, |entry| {
                        entry.balance = entry
                            .balance
                            .checked_add(posting.amount)
                            .expect("the rules have checked the balance");
                        reserve(entry, reservation.as_ref());
                        std::mem::replace(&mut entry.newest, sequence)
                    });
                    let place = places.next().expect("a command has at most two customer postings");
                    *place = before.expect("the rules have found the account");
                }
            }
        }
        if let Some(rest) = reservation {
            accounts.change(rest.account, &self.frozen, |entry| reserve(entry, Some(&rest)));
        }
        self.tables.follow(command, receipt, sequence, time);
        if receipt.begins_transfer() {
            links.previous_transfer = std::mem::replace(&mut self.newest_transfer, sequence);
        }
        links
    }

    /// Every transfer to the branch with a smaller number is closed.
    pub(super) fn settled_below(&self, branch: &BranchName) -> Sequence {
        let first = self.tables.outgoing.first_to(branch).unwrap_or(self.sequence.next());
        if planted(Fault::WatermarkTooHigh) {
            // A receiver does not believe a watermark above the transfer that it comes with.
            return self.tables.outgoing.to(branch, first).next().map_or(first, |second| second.number);
        }
        first
    }

    fn standing<'a>(&'a self, accounts: &'a Accounts, time: Timestamp) -> Standing<'a> {
        Standing { accounts, tables: &self.tables, next: self.next, time }
    }

    /// Ends a batch: its canonical bytes go into the running digest. A batch in which nothing happened leaves
    /// the digest as it is, so that equal sequences have equal digests.
    pub(super) fn seal(&mut self, id: Option<LedgerId>) {
        if self.scratch.is_empty() {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.digest.0);
        hasher.update(&id.unwrap_or(LedgerId([0; 16])).0);
        hasher.update(&self.sequence.0.to_le_bytes());
        hasher.update(&self.time.map_or(0, Timestamp::micros).to_le_bytes());
        hasher.update(&self.scratch);
        self.digest = Digest(*hasher.finalize().as_bytes());
    }
}

fn fingerprint(work: &[u8]) -> Fingerprint {
    let hash = blake3::hash(work);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn reserve(entry: &mut Entry, reservation: Option<&Reservation>) {
    if let Some(reservation) = reservation {
        entry.reserve(reservation).expect("the rules have checked what is held");
    }
}

/// Where chains of records went on before a record.
#[derive(Default)]
struct Links {
    previous: [Sequence; 2],
    previous_transfer: Sequence,
}
