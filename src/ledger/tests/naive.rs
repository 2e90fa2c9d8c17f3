//! An independent, naive model of the ledger: integers in maps, one rule after another. What is held and what may
//! still come is summed up from the open promises each time, where the ledger keeps it.

use std::collections::BTreeMap;

use super::*;

const MAX: i128 = 99_999_999_999_999;

/// The naive model.
#[derive(Clone, Default)]
pub(crate) struct Naive {
    books: Books,
    answers: BTreeMap<String, (Work, String)>,
    /// How many commands there were.
    sequence: u64,
    now: u64,
}

/// All in minor units, by number.
#[derive(Clone, Default)]
struct Books {
    accounts: BTreeMap<u64, NaiveAccount>,
    /// Account, amount, end.
    holds: BTreeMap<u64, (u64, i128, Option<u64>)>,
    ended: BTreeMap<u64, ()>,
    /// Payer, amount, and whether it takes place when that is decided.
    transfers: BTreeMap<u64, (u64, i128, Option<bool>)>,
    credits: BTreeMap<(Origin, u64), NaiveCredit>,
    settled: BTreeMap<Origin, u64>,
}

#[derive(Clone)]
struct NaiveAccount {
    balance: i128,
    overdraft: i128,
    state: AccountState,
}

#[derive(Clone)]
struct NaiveCredit {
    content: (u64, u64, i128),
    /// Whether it took place, when that is known.
    decided: Option<bool>,
}

fn minor(amount: &Amount) -> i128 {
    i128::from(amount.money().minor())
}

fn money(minor: i128) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", minor.abs() / 100, minor.abs() % 100)
}

/// Refusals are in capitals.
fn is_done(answer: &str) -> bool {
    answer.contains('=') || answer.starts_with(|c: char| c.is_ascii_lowercase())
}

impl Naive {
    pub(crate) fn propose(&mut self, request: Option<&RequestId>, work: &Work, now: u64) -> String {
        self.now = now;
        let Some(request) = request.map(ToString::to_string) else {
            return self.work(work);
        };
        match self.answers.get(&request) {
            Some((known, answer)) if known == work => answer.clone(),
            Some(_) => "REQUEST_REUSED".to_owned(),
            None => {
                let answer = self.work(work);
                self.answers.insert(request, (work.clone(), answer.clone()));
                answer
            }
        }
    }

    /// Every account: number, balance, held, state.
    pub(crate) fn accounts(&self) -> Vec<String> {
        let held = |number: &u64| self.books.held(*number);
        let accounts = self.books.accounts.iter();
        accounts.map(|(n, a)| format!("{n}={}/{} {:?}", a.balance, held(n), a.state)).collect()
    }

    fn work(&mut self, work: &Work) -> String {
        match work {
            Work::One(command) => self.command(command),
            Work::Independent(commands) => {
                commands.iter().map(|command| self.command(command)).collect::<Vec<_>>().join("; ")
            }
            Work::Atomic(commands) => {
                let (before, first) = (self.books.clone(), self.sequence);
                let mut answers = Vec::new();
                for (place, command) in commands.iter().enumerate() {
                    let answer = self.command(command);
                    if !is_done(&answer) {
                        self.books = before;
                        self.books.hear(command);
                        answers = vec!["BATCH_ABORTED".to_owned(); commands.len()];
                        answers[place] = answer;
                        break;
                    }
                    answers.push(answer);
                }
                self.sequence = first + commands.len() as u64;
                answers.join("; ")
            }
        }
    }

    fn command(&mut self, command: &Command) -> String {
        self.sequence += 1;
        let answer = self.books.command(command, self.sequence, self.now);
        self.books.hear(command);
        answer.unwrap_or_else(str::to_owned)
    }
}

type Answer = Result<String, &'static str>;

impl Books {
    /// What a paying branch says of its transfers is heard whatever else becomes of the message.
    fn hear(&mut self, command: &Command) {
        if let Command::PrepareCredit(credit) | Command::CommitCredit(credit) | Command::AbortCredit(credit) =
            command
            && credit.settled_below <= credit.number
            && let Some(settled) = self.settled.get_mut(&credit.origin)
        {
            *settled = credit.settled_below.0.max(*settled);
            let below = *settled;
            self.credits.retain(|(origin, number), known| {
                *origin != credit.origin || *number >= below || known.decided.is_none()
            });
        }
    }

    fn command(&mut self, command: &Command, sequence: u64, now: u64) -> Answer {
        match command {
            Command::OpenAccount(new) => self.open(new),
            Command::Deposit { account, amount } => self.change(&[(account.get(), minor(amount))]),
            Command::Withdraw { account, amount } => self.change(&[(account.get(), -minor(amount))]),
            Command::AddInterest { account, rate } => self.interest(account.get(), i128::from(rate.parts())),
            Command::Transfer { source, destination, .. } if source == destination => Err("SAME_ACCOUNT"),
            Command::Transfer { source, destination, amount } => {
                let amount = minor(amount);
                self.change(&[(source.get(), -amount), (destination.get(), amount)])
            }
            Command::SetAccountState { account, action } => self.set_state(account.get(), *action),
            Command::PlaceHold(new) => {
                let account = new.account.get();
                self.usable(account)?;
                let expires = new.lasts.map(|lasts| now + lasts.get());
                self.reserve(account, minor(&new.amount))?;
                self.holds.insert(sequence, (account, minor(&new.amount), expires));
                Ok(self.with_held(account))
            }
            Command::CaptureHold { hold, amount } => {
                let (_, reserved, expires) = self.hold(hold.0.0)?;
                if expires.is_some_and(|expires| expires <= now) {
                    return Err("HOLD_FINAL");
                }
                let taken = amount.as_ref().map_or(reserved, minor);
                if taken > reserved {
                    return Err("INSUFFICIENT_FUNDS");
                }
                self.end_hold(hold.0.0, taken)
            }
            Command::ReleaseHold { hold } => {
                self.hold(hold.0.0)?;
                self.end_hold(hold.0.0, 0)
            }
            Command::ExpireHold { hold } => match self.hold(hold.0.0)? {
                (_, _, Some(expires)) if expires <= now => self.end_hold(hold.0.0, 0),
                _ => Err("ARGUMENT_INVALID"),
            },
            Command::BeginTransfer(new) => {
                let account = new.source.get();
                self.usable(account)?;
                self.reserve(account, minor(&new.amount))?;
                self.transfers.insert(sequence, (account, minor(&new.amount), None));
                Ok(self.with_held(account))
            }
            Command::CommitTransfer { number } => self.decide(number.0, true),
            Command::AbortTransfer { number, .. } => self.decide(number.0, false),
            Command::CloseTransfer { number, .. } => match self.transfers.get(&number.0) {
                None => Err("TRANSFER_NOT_FOUND"),
                Some((_, _, None)) => Err("ARGUMENT_INVALID"),
                Some((account, _, Some(_))) => {
                    let account = *account;
                    self.transfers.remove(&number.0);
                    Ok(self.with_held(account))
                }
            },
            Command::PrepareCredit(credit) => self.prepare(credit),
            Command::CommitCredit(credit) => self.commit(credit),
            Command::AbortCredit(credit) => self.cancel(credit),
        }
    }

    fn open(&mut self, new: &NewAccount) -> Answer {
        let number = new.number.map(AccountNumber::get);
        if number.is_some_and(|number| self.accounts.contains_key(&number)) {
            return Err("ACCOUNT_EXISTS");
        }
        let number = number.unwrap_or_else(|| (1..).find(|n| !self.accounts.contains_key(n)).unwrap());
        let balance = new.deposit.as_ref().map_or(0, minor);
        let overdraft = i128::from(new.overdraft.money().minor());
        self.accounts.insert(number, NaiveAccount { balance, overdraft, state: AccountState::Open });
        Ok(self.shown(&[number]))
    }

    fn interest(&mut self, account: u64, parts: i128) -> Answer {
        self.usable(account)?;
        // Ten-thousandths of a percent: a millionth. Half to even, from the definition.
        let exact = self.accounts[&account].balance.max(0) * parts;
        let (whole, rest) = (exact / 1_000_000, exact % 1_000_000);
        let up = rest * 2 > 1_000_000 || rest * 2 == 1_000_000 && whole % 2 == 1;
        self.change(&[(account, whole + i128::from(up))])
    }

    fn set_state(&mut self, account: u64, action: StateAction) -> Answer {
        let found = self.accounts.get(&account).ok_or("ACCOUNT_NOT_FOUND")?;
        let state = match (action, found.state) {
            (StateAction::Freeze | StateAction::Unfreeze, AccountState::Closed) => {
                return Err("ACCOUNT_CLOSED");
            }
            (StateAction::Reopen, AccountState::Frozen) => return Err("ACCOUNT_FROZEN"),
            (StateAction::Open | StateAction::Unfreeze | StateAction::Reopen, _) => AccountState::Open,
            (StateAction::Freeze, _) => AccountState::Frozen,
            (StateAction::Close, _) => AccountState::Closed,
        };
        if state == AccountState::Closed {
            if found.balance != 0 {
                return Err("BALANCE_NOT_ZERO");
            }
            if self.held(account) + self.incoming(account) > 0 {
                return Err("ACCOUNT_IN_USE");
            }
        }
        self.accounts.get_mut(&account).unwrap().state = state;
        Ok(self.with_held(account))
    }

    fn usable(&self, account: u64) -> Result<(), &'static str> {
        match self.accounts.get(&account).ok_or("ACCOUNT_NOT_FOUND")?.state {
            AccountState::Open => Ok(()),
            AccountState::Frozen => Err("ACCOUNT_FROZEN"),
            AccountState::Closed => Err("ACCOUNT_CLOSED"),
        }
    }

    fn change(&mut self, changes: &[(u64, i128)]) -> Answer {
        for (account, _) in changes {
            self.accounts.get(account).ok_or("ACCOUNT_NOT_FOUND")?;
        }
        for (account, _) in changes {
            self.usable(*account)?;
        }
        for (account, change) in changes {
            if *change < 0 {
                self.check_available(*account, -change)?;
            }
            let after = self.accounts[account].balance + change;
            let room = if *change < 0 { 0 } else { self.incoming(*account) };
            if after < -MAX || after + room > MAX || after > MAX {
                return Err("AMOUNT_OVERFLOW");
            }
        }
        for (account, change) in changes {
            self.accounts.get_mut(account).unwrap().balance += change;
        }
        Ok(self.shown(&changes.iter().map(|(account, _)| *account).collect::<Vec<_>>()))
    }

    fn check_available(&self, account: u64, needed: i128) -> Result<(), &'static str> {
        let NaiveAccount { balance, overdraft, .. } = self.accounts[&account];
        // What can be paid is itself an amount of money.
        let available = (balance - self.held(account) + overdraft).min(MAX);
        if needed > available { Err("INSUFFICIENT_FUNDS") } else { Ok(()) }
    }

    fn reserve(&self, account: u64, amount: i128) -> Result<(), &'static str> {
        self.check_available(account, amount)?;
        if self.held(account) + amount > MAX { Err("AMOUNT_OVERFLOW") } else { Ok(()) }
    }

    fn held(&self, account: u64) -> i128 {
        let holds = self.holds.values().filter(|hold| hold.0 == account).map(|hold| hold.1);
        let pending = self.transfers.values().filter(|out| out.0 == account && out.2.is_none());
        holds.chain(pending.map(|out| out.1)).sum()
    }

    fn incoming(&self, account: u64) -> i128 {
        let open = self.credits.values().filter(|known| known.decided.is_none());
        open.filter(|known| known.content.1 == account).map(|known| known.content.2).sum()
    }

    fn hold(&self, hold: u64) -> Result<(u64, i128, Option<u64>), &'static str> {
        let refusal = if self.ended.contains_key(&hold) { "HOLD_FINAL" } else { "HOLD_NOT_FOUND" };
        self.holds.get(&hold).copied().ok_or(refusal)
    }

    fn end_hold(&mut self, hold: u64, taken: i128) -> Answer {
        let (account, ..) = self.holds.remove(&hold).unwrap();
        self.ended.insert(hold, ());
        self.accounts.get_mut(&account).unwrap().balance -= taken;
        Ok(self.with_held(account))
    }

    fn decide(&mut self, number: u64, commit: bool) -> Answer {
        let (account, amount, decided) = self.transfers.get_mut(&number).ok_or("TRANSFER_NOT_FOUND")?;
        if decided.is_some() {
            return Err("TRANSFER_FINAL");
        }
        *decided = Some(commit);
        let (account, amount) = (*account, *amount);
        if commit {
            self.accounts.get_mut(&account).unwrap().balance -= amount;
        }
        Ok(self.with_held(account))
    }

    /// Whether the credit was decided, when it is known.
    fn known(&self, credit: &Credit) -> Result<Option<Option<bool>>, &'static str> {
        let key = (credit.origin.clone(), credit.number.0);
        let content = (credit.source.get(), credit.destination.get(), minor(&credit.amount));
        match self.credits.get(&key) {
            Some(known) if known.content != content => Err("TRANSFER_MISMATCH"),
            Some(known) => Ok(Some(known.decided)),
            None => {
                let settled = self.settled.get(&credit.origin).copied().unwrap_or(0);
                let stale = credit.number.0 < settled.max(credit.settled_below.0);
                if stale { Err("TRANSFER_FINAL") } else { Ok(None) }
            }
        }
    }

    fn remember(&mut self, credit: &Credit, decided: Option<bool>) {
        self.settled.entry(credit.origin.clone()).or_insert(0);
        let content = (credit.source.get(), credit.destination.get(), minor(&credit.amount));
        self.credits.insert((credit.origin.clone(), credit.number.0), NaiveCredit { content, decided });
    }

    fn prepare(&mut self, credit: &Credit) -> Answer {
        match self.known(credit)? {
            Some(None) => Ok("prepared before".to_owned()),
            Some(Some(true)) => Ok("committed before".to_owned()),
            Some(Some(false)) => Err("TRANSFER_FINAL"),
            None => {
                let (account, amount) = (credit.destination.get(), minor(&credit.amount));
                self.usable(account)?;
                let incoming = self.incoming(account) + amount;
                let balance = self.accounts[&account].balance;
                if balance + amount > MAX || balance + incoming > MAX || incoming > MAX {
                    return Err("AMOUNT_OVERFLOW");
                }
                self.remember(credit, None);
                Ok(self.with_held(account))
            }
        }
    }

    fn commit(&mut self, credit: &Credit) -> Answer {
        match self.known(credit)? {
            Some(Some(true)) => Ok("committed before".to_owned()),
            Some(Some(false)) => Err("TRANSFER_FINAL"),
            None => Err("TRANSFER_NOT_FOUND"),
            Some(None) => {
                self.remember(credit, Some(true));
                let account = credit.destination.get();
                self.accounts.get_mut(&account).unwrap().balance += minor(&credit.amount);
                Ok(self.with_held(account))
            }
        }
    }

    fn cancel(&mut self, credit: &Credit) -> Answer {
        match self.known(credit)? {
            Some(Some(false)) => Ok("aborted before".to_owned()),
            Some(Some(true)) => Err("TRANSFER_FINAL"),
            known => {
                self.remember(credit, Some(false));
                let account = credit.destination.get();
                Ok(if known.is_some() { self.with_held(account) } else { "noted".to_owned() })
            }
        }
    }

    fn with_held(&self, account: u64) -> String {
        format!("{account}={}/{}", money(self.accounts[&account].balance), money(self.held(account)))
    }

    fn shown(&self, accounts: &[u64]) -> String {
        let shown = |account: &u64| format!("{account}={}", money(self.accounts[account].balance));
        accounts.iter().map(shown).collect::<Vec<_>>().join(" ")
    }
}
