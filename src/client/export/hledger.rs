//! The journal of hledger: the postings of every operation, against the bank's own accounts, and after each
//! posting of a customer the balance that the bank says the account has. `hledger check` adds up by itself and
//! so proves or disproves it.
//!
//! Customers are positive here and the bank's cash is negative by what they have paid in, as in the bank's
//! own books. Names begin with the branch, so that the exports of several branches go in one file: then what
//! one branch owes another one and what that one is owed meet.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::time_of;
use crate::client::types::{JournalRecord, Kind};
use crate::model::Money;

/// What every export begins with.
pub(super) const HEADER: &str = "decimal-mark .\n\n";
/// Where an account's money is from whose beginning is no longer held.
const CARRIED: &str = "carried-forward";

/// Writes an hledger journal.
#[derive(Debug)]
pub(super) struct Hledger {
    /// The only account whose whole history is exported; empty for all.
    only: String,
    /// Which accounts have been shown, when the beginning of the journal is missing.
    shown: Option<HashSet<String>>,
}

/// One change of one account.
struct Posting {
    name: String,
    amount: String,
    /// Of a customer, the account and its balance afterwards.
    after: Option<(String, String)>,
}

impl Hledger {
    /// Writes all accounts, or only one whose full name is given. `beheaded` says that the journal does not
    /// begin with the branch.
    pub(super) fn new(only: &str, beheaded: bool) -> Hledger {
        Hledger { only: only.to_owned(), shown: beheaded.then(HashSet::new) }
    }

    /// Adds the transaction of a record; nothing when it moved no money.
    pub(super) fn write(&mut self, record: &JournalRecord, text: &mut String) {
        let postings = postings(record);
        if postings.is_empty() {
            return;
        }
        let time = time_of(record.time);
        let date = time.split('T').next().unwrap_or_default();
        for posting in &postings {
            self.carry_forward(date, posting, text);
        }
        let branch = branch_of(&record.account);
        let kind = record.kind.as_str().to_lowercase();
        // Writing to a string cannot fail.
        let _ = write!(text, "{date} ({branch}:{}) {kind}  ; time:{time}", record.sequence);
        if !record.request_id.is_empty() {
            let _ = write!(text, ", request:{}", tag_value(&record.request_id));
        }
        text.push('\n');
        for Posting { name, amount, after } in postings {
            let _ = write!(text, "    {name}  {amount}");
            match after {
                Some((account, balance)) if self.proves(&account) => {
                    let _ = writeln!(text, " = {balance}");
                }
                Some(_) | None => text.push('\n'),
            }
        }
        text.push('\n');
    }

    /// Whether the whole history of the account is in the export.
    fn proves(&self, account: &str) -> bool {
        self.only.is_empty() || self.only == account
    }

    /// Brings an account to where it stood before the first posting that is held.
    fn carry_forward(&mut self, date: &str, posting: &Posting, text: &mut String) {
        let Some((account, after)) = &posting.after else { return };
        let proves = self.proves(account);
        let first = self.shown.as_mut().is_some_and(|shown| proves && shown.insert(account.clone()));
        let before = parsed(after).zip(parsed(&posting.amount));
        let before = before.and_then(|(after, amount)| after.checked_sub(amount)).filter(|_| first);
        let Some(before) = before.filter(|before| *before != Money::ZERO) else { return };
        let name = &posting.name;
        let bank = branch_of(account);
        let _ = writeln!(
            text,
            "{date} balance before the journal begins\n    {name}  {before}\n    {bank}:{CARRIED}  {}\n",
            -before
        );
    }
}

/// What a record changed; empty for what moved no money.
fn postings(record: &JournalRecord) -> Vec<Posting> {
    let JournalRecord { kind, account, counterparty, amount, balance, counterparty_balance, .. } = record;
    if record.refused.is_some() {
        return Vec::new();
    }
    let bank = branch_of(account);
    let own = |name: &str| format!("{bank}:{name}");
    let other = branch_of(counterparty);
    // The money leaves the first and reaches the second.
    let (from, to) = match kind {
        Kind::Open | Kind::Deposit => (Err(own("cash")), Ok((account, balance))),
        Kind::Interest => (Err(own("interest")), Ok((account, balance))),
        Kind::Withdraw | Kind::Capture => (Ok((account, balance)), Err(own("cash"))),
        Kind::Transfer => (Ok((account, balance)), Ok((counterparty, counterparty_balance))),
        Kind::TransferCommit => (Ok((account, balance)), Err(own(&format!("due-to:{other}")))),
        Kind::CreditCommit => (Err(own(&format!("due-from:{other}"))), Ok((account, balance))),
        Kind::SetState
        | Kind::Hold
        | Kind::Release
        | Kind::Expire
        | Kind::TransferBegin
        | Kind::TransferAbort
        | Kind::TransferClose
        | Kind::CreditPrepare
        | Kind::CreditAbort
        | Kind::Unknown => return Vec::new(),
    };
    // A second message about the same credit is a record without a balance: nothing was posted.
    if balance.is_empty() || (*kind == Kind::Interest && is_zero(amount)) {
        return Vec::new();
    }
    let posting = |side: Result<(&String, &String), String>, amount: String| match side {
        Ok((account, balance)) => {
            Posting { name: customer(account), amount, after: Some((account.clone(), balance.clone())) }
        }
        Err(name) => Posting { name, amount, after: None },
    };
    let to = posting(to, amount.clone());
    // An account that opens empty is there to be seen, and needs nothing against it.
    if is_zero(amount) { vec![to] } else { vec![posting(from, format!("-{amount}")), to] }
}

/// The name of a customer's account: `main:customers:17`.
fn customer(account: &str) -> String {
    match account.split_once('/') {
        Some((branch, number)) => format!("{branch}:customers:{number}"),
        None => format!("customers:{account}"),
    }
}

fn branch_of(account: &str) -> &str {
    account.split_once('/').map_or("bank", |(branch, _)| branch)
}

fn is_zero(amount: &str) -> bool {
    parsed(amount) == Some(Money::ZERO)
}

fn parsed(amount: &str) -> Option<Money> {
    let (size, negative) = amount.strip_prefix('-').map_or((amount, false), |size| (size, true));
    Money::parse(size).ok().map(|money| if negative { -money } else { money })
}

/// A text that hledger takes as the value of a tag and as nothing else: anything but letters, digits and inner
/// punctuation without a meaning is written as `%` and its number.
fn tag_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            value.push(char::from(byte));
        } else {
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}
