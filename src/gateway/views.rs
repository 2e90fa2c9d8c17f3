//! What answers contain: the client library's types as JSON. The keys are those of `bank-client -o json`.

use crate::client;
use crate::client::{AccountState, Kind, OperationState, ReplicaRole, TransferState};
use crate::model::Failure;

use super::problem::{Problem, ProblemView};
use super::shape::{Moment, Money, Word, view};

view! {
    /// An account was opened, received or paid money.
    Written {
        /// The account, as BRANCH/NUMBER.
        account: String,
        /// Its balance afterwards.
        balance: Money,
        /// The amount really added, for interest; else null.
        interest: Option<Money>,
        /// Place of the operation in the order of the branch.
        sequence: u64,
        /// The name of the operation.
        request_id: String,
        /// Whether this is the first answer again.
        replayed: bool,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// An account at one moment.
    Account {
        /// The account, as BRANCH/NUMBER.
        account: String,
        /// What it is called; may be empty.
        name: String,
        /// Whether it takes operations.
        state: Word<AccountState>,
        /// When it was opened.
        open_time: Option<Moment>,
        /// Posted money.
        balance: Money,
        /// Money reserved by holds and open transfers.
        held: Money,
        /// What the account can pay.
        available: Money,
        /// How far below zero the balance may go.
        overdraft_limit: Money,
    }
}

view! {
    /// One account, and how current the answer is.
    AccountShown {
        /// The account.
        account: Account,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// A page of accounts by number.
    Accounts {
        /// The accounts.
        accounts: Vec<Account>,
        /// Where to go on; empty at the end.
        next_page_token: String,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// One posting of a statement.
    Entry {
        /// Place of the operation in the order of the branch.
        sequence: u64,
        /// When it was applied.
        time: Option<Moment>,
        /// What it was.
        kind: Word<Kind>,
        /// The change; negative when money left the account.
        amount: Money,
        /// The account's balance afterwards.
        balance: Money,
        /// The other account of a transfer; else empty.
        counterparty: String,
        /// The name of the operation; may be empty.
        request_id: String,
        /// The transfer that it is of; may be empty.
        transfer: String,
        /// The hold that it takes; may be empty.
        hold: String,
    }
}

view! {
    /// A page of a statement.
    Entries {
        /// The entries.
        entries: Vec<Entry>,
        /// Where to go on; empty at the end.
        next_page_token: String,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// One applied command of the journal.
    Record {
        /// Its place in the order of the branch.
        sequence: u64,
        /// When it was applied.
        time: Option<Moment>,
        /// What it was.
        kind: Word<Kind>,
        /// The account of this branch that was opened, changed or pays, or that receives when another branch
        /// pays; may be empty when refused.
        account: String,
        /// The other account of a transfer; else empty.
        counterparty: String,
        /// The amount moved, reserved or asked for; for interest the amount added; may be empty.
        amount: String,
        /// The account's balance afterwards; empty when refused.
        balance: String,
        /// The receiver's balance after a transfer inside the branch; else empty.
        counterparty_balance: String,
        /// What of the account is reserved afterwards; empty where nothing about it changed.
        held: String,
        /// What the account can pay afterwards; empty where `held` is.
        available: String,
        /// The transfer; may be empty.
        transfer: String,
        /// The hold; may be empty.
        hold: String,
        /// The state that an account was given.
        state: Option<Word<AccountState>>,
        /// Why a transfer was aborted.
        abort: Option<ProblemView>,
        /// When a hold ends by itself.
        expire_time: Option<Moment>,
        /// The name of the operation; may be empty.
        request_id: String,
        /// Why the command was refused; null when it was executed.
        error: Option<ProblemView>,
    }
}

view! {
    /// A page of the journal.
    Journal {
        /// The records.
        records: Vec<Record>,
        /// Where to go on; empty at the end.
        next_page_token: String,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
        /// The replica that answered.
        replica: u64,
    }
}

view! {
    /// What happened since the event before.
    Events {
        /// The branch.
        branch: String,
        /// Everything up to here has been told; also the id of the event.
        sequence: u64,
        /// What whoever has read this has seen.
        session_token: String,
        /// The operations, in order.
        records: Vec<Record>,
    }
}

view! {
    /// What became of one command of an operation.
    OperationResult {
        /// Its place in the order of the branch.
        sequence: u64,
        /// The account opened, changed, or paying; empty when refused.
        account: String,
        /// Its balance afterwards; empty when refused.
        balance: String,
        /// The amount of interest added, for interest; else empty.
        interest: String,
        /// The receiving account of a transfer; else empty.
        counterparty: String,
        /// The transfer; else empty.
        transfer: String,
        /// What has become of the transfer so far; null when it is no transfer.
        transfer_state: Option<Word<TransferState>>,
        /// The hold; else empty.
        hold: String,
        /// Why the command was refused; null when it was executed.
        error: Option<ProblemView>,
    }
}

view! {
    /// What happened to a request id.
    Operation {
        /// The request id.
        request_id: String,
        /// What happened.
        state: Word<OperationState>,
        /// When it was applied.
        time: Option<Moment>,
        /// One result for each command.
        results: Vec<OperationResult>,
        /// The sequence that the answer shows at least.
        sequence: u64,
        /// The branch that answered.
        branch: String,
    }
}

view! {
    /// One replica of a branch.
    Replica {
        /// Its number.
        id: u64,
        /// Where the other replicas reach it.
        address: String,
        /// What it is.
        role: Word<ReplicaRole>,
        /// Whether it has a vote.
        voter: bool,
        /// The term it is in.
        term: u64,
        /// The last index in its log.
        log_index: u64,
        /// The last index it knows to be committed.
        committed_index: u64,
        /// The last index it has applied.
        applied_index: u64,
        /// The last command it has applied.
        sequence: u64,
        /// The digest there, equal at equal sequences.
        digest: String,
        /// Committed entries that it has not applied.
        lag: u64,
    }
}

view! {
    /// How the replicas of a branch are, as one of them sees it.
    Branch {
        /// The branch.
        branch: String,
        /// The identity of its ledger; empty while it has none or cannot be asked.
        ledger: String,
        /// The replica that answered; null when none did.
        replica: Option<u64>,
        /// The replica that leads, as far as the one that answered knows.
        leader: Option<u64>,
        /// All replicas, by number.
        replicas: Vec<Replica>,
        /// Why the branch could not be asked; null when it answered.
        error: Option<ProblemView>,
    }
}

view! {
    /// Every branch known here.
    Cluster {
        /// The branches, the one served here first.
        branches: Vec<Branch>,
    }
}

impl From<client::Written> for Written {
    fn from(written: client::Written) -> Written {
        Written {
            account: written.account,
            balance: Money(written.balance),
            interest: None,
            sequence: written.seen.sequence,
            request_id: written.named.request_id,
            replayed: written.named.replayed,
            branch: written.seen.branch,
            replica: written.seen.replica,
        }
    }
}

impl From<client::InterestAdded> for Written {
    fn from(added: client::InterestAdded) -> Written {
        Written {
            account: added.account,
            balance: Money(added.balance),
            interest: Some(Money(added.interest)),
            sequence: added.seen.sequence,
            request_id: added.named.request_id,
            replayed: added.named.replayed,
            branch: added.seen.branch,
            replica: added.seen.replica,
        }
    }
}

impl From<client::Account> for Account {
    fn from(account: client::Account) -> Account {
        Account {
            account: account.account,
            name: account.name,
            state: Word(account.state),
            open_time: account.open_time.map(Moment),
            balance: Money(account.balance),
            held: Money(account.held),
            available: Money(account.available),
            overdraft_limit: Money(account.overdraft_limit),
        }
    }
}

impl From<client::AccountShown> for AccountShown {
    fn from(shown: client::AccountShown) -> AccountShown {
        AccountShown {
            account: shown.account.into(),
            sequence: shown.seen.sequence,
            branch: shown.seen.branch,
            replica: shown.seen.replica,
        }
    }
}

impl From<client::Accounts> for Accounts {
    fn from(page: client::Accounts) -> Accounts {
        Accounts {
            accounts: page.accounts.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            sequence: page.seen.sequence,
            branch: page.seen.branch,
            replica: page.seen.replica,
        }
    }
}

impl From<client::Entry> for Entry {
    fn from(entry: client::Entry) -> Entry {
        Entry {
            sequence: entry.sequence,
            time: entry.time.map(Moment),
            kind: Word(entry.kind),
            amount: Money(entry.amount),
            balance: Money(entry.balance),
            counterparty: entry.counterparty,
            request_id: entry.request_id,
            transfer: entry.transfer,
            hold: entry.hold,
        }
    }
}

impl From<client::Entries> for Entries {
    fn from(page: client::Entries) -> Entries {
        Entries {
            entries: page.entries.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            sequence: page.seen.sequence,
            branch: page.seen.branch,
            replica: page.seen.replica,
        }
    }
}

pub(super) fn refusal(failure: Failure) -> ProblemView {
    Problem::from(failure).view()
}

impl From<client::JournalRecord> for Record {
    fn from(record: client::JournalRecord) -> Record {
        Record {
            sequence: record.sequence,
            time: record.time.map(Moment),
            kind: Word(record.kind),
            account: record.account,
            counterparty: record.counterparty,
            amount: record.amount,
            balance: record.balance,
            counterparty_balance: record.counterparty_balance,
            held: record.held,
            available: record.available,
            transfer: record.transfer,
            hold: record.hold,
            state: record.state.map(Word),
            abort: record.abort.map(refusal),
            expire_time: record.expire_time.map(Moment),
            request_id: record.request_id,
            error: record.refused.map(refusal),
        }
    }
}

impl From<client::Journal> for Journal {
    fn from(page: client::Journal) -> Journal {
        Journal {
            records: page.records.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            sequence: page.seen.sequence,
            branch: page.seen.branch,
            replica: page.seen.replica,
        }
    }
}

impl From<client::JournalPiece> for Events {
    fn from(piece: client::JournalPiece) -> Events {
        Events {
            branch: piece.seen.branch,
            sequence: piece.seen.sequence,
            session_token: piece.seen.session_token,
            records: piece.records.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<client::OperationResult> for OperationResult {
    fn from(result: client::OperationResult) -> OperationResult {
        let sequence = result.sequence;
        match result.outcome {
            Ok(done) => OperationResult {
                sequence,
                account: done.account,
                balance: done.balance,
                interest: done.interest,
                counterparty: done.counterparty,
                transfer: done.transfer,
                transfer_state: done.transfer_state.map(Word),
                hold: done.hold,
                error: None,
            },
            Err(failure) => OperationResult {
                sequence,
                account: String::new(),
                balance: String::new(),
                interest: String::new(),
                counterparty: String::new(),
                transfer: String::new(),
                transfer_state: None,
                hold: String::new(),
                error: Some(refusal(failure)),
            },
        }
    }
}

impl From<client::Operation> for Operation {
    fn from(operation: client::Operation) -> Operation {
        Operation {
            request_id: operation.request_id,
            state: Word(operation.state),
            time: operation.time.map(Moment),
            results: operation.results.into_iter().map(Into::into).collect(),
            sequence: operation.seen.sequence,
            branch: operation.seen.branch,
        }
    }
}

impl From<client::ReplicaStatus> for Replica {
    fn from(replica: client::ReplicaStatus) -> Replica {
        Replica {
            id: replica.id,
            address: replica.address,
            role: Word(replica.role),
            voter: replica.voter,
            term: replica.term,
            log_index: replica.log_index,
            committed_index: replica.committed_index,
            applied_index: replica.applied_index,
            sequence: replica.sequence,
            digest: replica.digest,
            lag: replica.lag,
        }
    }
}

impl From<client::BranchStatus> for Branch {
    fn from(status: client::BranchStatus) -> Branch {
        Branch {
            branch: status.branch,
            ledger: status.ledger,
            replica: Some(status.replica),
            leader: status.leader,
            replicas: status.replicas.into_iter().map(Into::into).collect(),
            error: None,
        }
    }
}

impl Branch {
    /// A branch that did not answer.
    pub(super) fn silent(branch: String, failure: Failure) -> Branch {
        let (ledger, replicas) = (String::new(), Vec::new());
        Branch { branch, ledger, replica: None, leader: None, replicas, error: Some(refusal(failure)) }
    }
}
