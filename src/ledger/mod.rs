//! The ledger: accounts and the only code that changes money.
//!
//! One writer applies the batches of the branch's log in order; any number of readers look at accounts
//! meanwhile, each locking one account at a time.
//!
//! Architecture invariants: pure (no async, no I/O, no clock, no randomness, no float). [`Ledger::apply`]
//! never fails, it returns outcomes; nothing that a client or another branch sends can panic it. It is called
//! from `store` and tests only. Equal batches give equal ledgers, replies and digests on every machine.

mod accounts;
mod canonical;
mod frozen;
mod requests;
mod rules;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::model::planted::{Fault, planted};
use crate::model::{
    Account, AccountNumber, Applied, Batch, Book, Command, Digest, LedgerId, Operation, Outcome, Outcomes,
    Proposal, Receipt, Rejection, Reply, RequestId, Sequence, Timestamp, Total, Work, postings,
};
use accounts::{Accounts, Details, Entry};
use frozen::Preimages;
use requests::{Fingerprint, Recognised, Remembered, Requests};
use rules::{Draft, Standing};

pub use frozen::Frozen;
pub use snapshot::{SnapshotError, SnapshotReader};

/// The accounts of one branch, and everything that decides what happens to a command.
#[derive(Default)]
pub struct Ledger {
    accounts: Accounts,
    writer: Mutex<Writer>,
    /// What is published of the writer for readers.
    id: OnceLock<LedgerId>,
    sequence: AtomicU64,
}

/// What only `apply` changes, besides the accounts.
struct Writer {
    sequence: Sequence,
    time: Option<Timestamp>,
    digest: Digest,
    /// Every account number below it is in use.
    next: AccountNumber,
    cash: Total,
    interest: Total,
    requests: Requests,
    /// For whom accounts are kept before they change.
    frozen: Vec<Arc<Preimages>>,
    /// Reused for the canonical bytes of each batch.
    scratch: Vec<u8>,
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
            frozen: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

/// What a batch did: one record for each command that got a sequence, one reply for each proposal.
#[derive(PartialEq, Eq, Debug)]
pub struct AppliedBatch {
    /// Records in order; proposals that were replayed or refused as a whole have none.
    pub applied: Vec<Applied>,
    /// Replies in the order of the proposals.
    pub replies: Vec<Reply>,
}

/// How far a ledger has come, read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The ledger's identity; none before the founding batch.
    pub ledger: Option<LedgerId>,
    /// The last applied command.
    pub sequence: Sequence,
    /// The time of the last batch.
    pub time: Option<Timestamp>,
    /// The running hash.
    pub digest: Digest,
}

/// The sums of a ledger, read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    /// How many accounts there are.
    pub accounts: u64,
    /// The sum of their balances.
    pub customers: Total,
    /// The bank's cash account: less than zero by what customers have paid in.
    pub cash: Total,
    /// The bank's interest account: less than zero by what customers have earned.
    pub interest: Total,
}

impl Audit {
    /// Whether everything sums to zero, as it must.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.customers.and(self.cash).and(self.interest) == Total::ZERO
    }
}

impl Ledger {
    /// An empty ledger without an identity; its first founding batch gives it one.
    #[must_use]
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Applies the next batch of the log. One caller at a time, in log order.
    ///
    /// Readers see accounts change while this runs; [`Ledger::sequence`] rises when all of the batch is done.
    pub fn apply(&self, batch: &Batch) -> AppliedBatch {
        let mut writer = self.writer.lock();
        // Who has dropped the view needs nothing any more.
        writer.frozen.retain(|preimages| Arc::strong_count(preimages) > 1);
        if let Some(id) = batch.founding {
            self.id.get_or_init(|| id);
        }
        let time = match planted(Fault::TimeGoesBack) {
            false => batch.time.after(writer.time),
            true => batch.time,
        };
        writer.time = Some(time);
        writer.scratch.clear();
        let mut applied = Vec::with_capacity(batch.command_count());
        let replies = batch
            .proposals
            .iter()
            .map(|proposal| writer.take(&self.accounts, proposal, time, &mut applied))
            .collect();
        writer.seal(self.id());
        self.sequence.store(writer.sequence.0, Ordering::Release);
        AppliedBatch { applied, replies }
    }

    /// What the work would get if it were applied next; nothing changes.
    #[must_use]
    pub fn preview(&self, work: &Work) -> Outcomes {
        let writer = self.writer.lock();
        match work {
            Work::One(command) => Outcomes::One(rules::decide(command, &writer.standing(&self.accounts))),
            Work::Independent(commands) => {
                let mut draft = Draft::new(writer.standing(&self.accounts));
                Outcomes::Many(commands.iter().map(|command| draft.decide(command)).collect())
            }
            Work::Atomic(commands) => Outcomes::Many(writer.decide_atomic(&self.accounts, commands).into()),
        }
    }

    /// How far the ledger has come.
    #[must_use]
    pub fn position(&self) -> Position {
        self.writer.lock().position(self.id())
    }

    /// The last command of the last batch that is applied completely. An account may already show a command
    /// of the batch that is being applied; its `newest_entry` tells.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        Sequence(self.sequence.load(Ordering::Acquire))
    }

    /// The ledger's identity; none before the founding batch.
    #[must_use]
    pub fn id(&self) -> Option<LedgerId> {
        self.id.get().copied()
    }

    /// An account as it stands, read under its lock.
    #[must_use]
    pub fn account(&self, number: AccountNumber) -> Option<Account> {
        self.accounts.account(number)
    }

    /// Accounts by number: those after `after`, opened at `opened_by` or earlier, at most `limit`. Each is
    /// consistent in itself.
    #[must_use]
    pub fn accounts(&self, after: Option<AccountNumber>, opened_by: Timestamp, limit: usize) -> Vec<Account> {
        let mut page = Vec::new();
        self.accounts.visit(after, |number, entry| {
            if page.len() == limit {
                return false;
            }
            if entry.opened <= opened_by {
                page.push(entry.account(number));
            }
            true
        });
        page
    }

    /// What the ledger knows of a request id.
    #[must_use]
    pub fn operation(&self, request: &RequestId) -> Operation {
        self.writer.lock().requests.operation(request)
    }

    /// Sums up the whole ledger. Nothing is applied meanwhile.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let writer = self.writer.lock();
        let (mut accounts, mut customers) = (0, Total::ZERO);
        self.accounts.visit(None, |_, entry| {
            accounts += 1;
            customers = customers.plus(entry.balance);
            true
        });
        Audit { accounts, customers, cash: writer.cash, interest: writer.interest }
    }

    /// Continues where a snapshot ended.
    fn begin_at(&self, writer: Writer) {
        self.sequence.store(writer.sequence.0, Ordering::Release);
        *self.writer.lock() = writer;
    }
}

impl Writer {
    fn position(&self, ledger: Option<LedgerId>) -> Position {
        Position { ledger, sequence: self.sequence, time: self.time, digest: self.digest }
    }

    /// Takes one proposal: answers a repetition, refuses what its id forbids, or executes the work.
    fn take(
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
            let previous = match &outcome {
                Ok(receipt) => writer.post(accounts, command, receipt, time),
                Err(_) => [Sequence::ZERO; 2],
            };
            applied.push(Applied {
                sequence: writer.sequence,
                time,
                request: request.cloned(),
                command: command.clone(),
                outcome: outcome.clone(),
                previous,
            });
            outcome
        };
        let outcomes = match work {
            Work::One(command) => {
                let outcome = rules::decide(command, &self.standing(accounts));
                Outcomes::One(record(self, command, outcome))
            }
            Work::Independent(commands) => Outcomes::Many(
                commands
                    .iter()
                    .map(|command| {
                        let outcome = rules::decide(command, &self.standing(accounts));
                        record(self, command, outcome)
                    })
                    .collect(),
            ),
            Work::Atomic(commands) => {
                let outcomes = self.decide_atomic(accounts, commands);
                let recorded =
                    commands.iter().zip(outcomes).map(|(command, outcome)| record(self, command, outcome));
                Outcomes::Many(recorded.collect())
            }
        };
        Reply { first, last: self.sequence, time, replayed: false, outcomes }
    }

    /// The outcomes of commands that all take effect or none.
    fn decide_atomic(&self, accounts: &Accounts, commands: &[Command]) -> Vec<Outcome> {
        let mut draft = Draft::new(self.standing(accounts));
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

    /// Makes a receipt true: posts it and returns where the accounts' statements went on before it.
    fn post(
        &mut self,
        accounts: &Accounts,
        command: &Command,
        receipt: &Receipt,
        time: Timestamp,
    ) -> [Sequence; 2] {
        let sequence = self.sequence;
        if let (Command::OpenAccount(new), Receipt::Opened { account, balance }) = (command, receipt) {
            let plain = new.name.is_none() && new.overdraft == Default::default();
            let details = || Box::new(Details { name: new.name.clone(), overdraft: new.overdraft });
            let details = (!plain).then(details);
            let entry = Entry { balance: *balance, newest: sequence, opened: time, details };
            accounts.insert(*account, entry, &self.frozen);
            self.next = rules::after_opening(self.next, command, receipt);
        }
        let mut previous = [Sequence::ZERO; 2];
        let mut places = previous.iter_mut();
        for posting in postings(command, receipt) {
            match posting.book {
                Book::Cash => self.cash = self.cash.plus(posting.amount),
                Book::Interest => self.interest = self.interest.plus(posting.amount),
                Book::Customer(_) if matches!(receipt, Receipt::Opened { .. }) => {}
                Book::Customer(account) => {
                    let before = accounts.change(account, &self.frozen, |entry| {
                        entry.balance = entry
                            .balance
                            .checked_add(posting.amount)
                            .expect("the rules have checked the balance");
                        std::mem::replace(&mut entry.newest, sequence)
                    });
                    let place = places.next().expect("a command has at most two customer postings");
                    *place = before.expect("the rules have found the account");
                }
            }
        }
        previous
    }

    fn standing<'a>(&self, accounts: &'a Accounts) -> Standing<'a> {
        Standing { accounts, next: self.next }
    }

    /// Ends a batch: its canonical bytes go into the running digest. A batch in which nothing happened leaves
    /// the digest as it is, so that equal sequences have equal digests.
    fn seal(&mut self, id: Option<LedgerId>) {
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
