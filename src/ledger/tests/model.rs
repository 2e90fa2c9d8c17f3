//! The ledger against an independent, naive model: integers in a map, one rule after another.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The naive model: balance and overdraft limit in minor units, by number.
#[derive(Clone, Default)]
struct Naive {
    accounts: BTreeMap<u64, (i128, i128)>,
    answers: BTreeMap<String, (Work, String)>,
}

const MAX: i128 = 99_999_999_999_999;

impl Naive {
    fn propose(&mut self, request: Option<&RequestId>, work: &Work) -> String {
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

    fn work(&mut self, work: &Work) -> String {
        match work {
            Work::One(command) => self.command(command),
            Work::Independent(commands) => {
                commands.iter().map(|command| self.command(command)).collect::<Vec<_>>().join("; ")
            }
            Work::Atomic(commands) => {
                let before = self.accounts.clone();
                let mut answers = Vec::new();
                for (place, command) in commands.iter().enumerate() {
                    let answer = self.command(command);
                    if !answer.contains('=') {
                        self.accounts = before;
                        answers = vec!["BATCH_ABORTED".to_owned(); commands.len()];
                        answers[place] = answer;
                        break;
                    }
                    answers.push(answer);
                }
                answers.join("; ")
            }
        }
    }

    fn command(&mut self, command: &Command) -> String {
        match command {
            Command::OpenAccount(new) => {
                let number = new.number.map(AccountNumber::get);
                if number.is_some_and(|number| self.accounts.contains_key(&number)) {
                    return "ACCOUNT_EXISTS".to_owned();
                }
                let number =
                    number.unwrap_or_else(|| (1..).find(|n| !self.accounts.contains_key(n)).unwrap());
                let deposit = new.deposit.map_or(0, |amount| i128::from(amount.money().minor()));
                self.accounts.insert(number, (deposit, i128::from(new.overdraft.money().minor())));
                self.shown(&[number])
            }
            Command::Deposit { account, amount } => {
                self.change(&[(account.get(), i128::from(amount.money().minor()))])
            }
            Command::Withdraw { account, amount } => {
                self.change(&[(account.get(), -i128::from(amount.money().minor()))])
            }
            Command::AddInterest { account, rate } => {
                let Some((balance, _)) = self.accounts.get(&account.get()) else {
                    return "ACCOUNT_NOT_FOUND".to_owned();
                };
                // Ten-thousandths of a percent: a millionth. Half to even, from the definition.
                let exact = (*balance).max(0) * i128::from(rate.parts());
                let (whole, rest) = (exact / 1_000_000, exact % 1_000_000);
                let up = rest * 2 > 1_000_000 || rest * 2 == 1_000_000 && whole % 2 == 1;
                self.change(&[(account.get(), whole + i128::from(up))])
            }
            Command::Transfer { source, destination, .. } if source == destination => {
                "SAME_ACCOUNT".to_owned()
            }
            Command::Transfer { source, destination, amount } => {
                let amount = i128::from(amount.money().minor());
                self.change(&[(source.get(), -amount), (destination.get(), amount)])
            }
        }
    }

    fn change(&mut self, changes: &[(u64, i128)]) -> String {
        let known = |(account, _): &(u64, i128)| self.accounts.contains_key(account);
        if !changes.iter().all(known) {
            return "ACCOUNT_NOT_FOUND".to_owned();
        }
        for (account, change) in changes {
            let (balance, overdraft) = self.accounts[account];
            // What can be paid is itself an amount of money.
            if *change < 0 && -change > (balance + overdraft).min(MAX) {
                return "INSUFFICIENT_FUNDS".to_owned();
            }
            if (balance + change).abs() > MAX {
                return "AMOUNT_OVERFLOW".to_owned();
            }
        }
        for (account, change) in changes {
            self.accounts.get_mut(account).unwrap().0 += change;
        }
        self.shown(&changes.iter().map(|(account, _)| *account).collect::<Vec<_>>())
    }

    fn shown(&self, accounts: &[u64]) -> String {
        let shown = |account: &u64| {
            let balance = self.accounts[account].0;
            let sign = if balance < 0 { "-" } else { "" };
            format!("{account}={sign}{}.{:02}", balance.abs() / 100, balance.abs() % 100)
        };
        accounts.iter().map(shown).collect::<Vec<_>>().join(" ")
    }
}

fn any_minor() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1i64..20_000, 1 => 1i64..=99_999_999_999_999, 1 => Just(99_999_999_999_999)]
}

fn any_amount() -> impl Strategy<Value = Amount> {
    any_minor().prop_map(|minor| Amount::from_minor(minor).unwrap())
}

fn any_account() -> impl Strategy<Value = AccountNumber> {
    (1u64..8).prop_map(|number| AccountNumber::new(number).unwrap())
}

fn any_command() -> impl Strategy<Value = Command> {
    let number = prop_oneof![3 => Just(None), 2 => any_account().prop_map(Some),
        1 => Just(AccountNumber::new(5_000_000))];
    let limit = prop_oneof![Just(0), any_minor()].prop_map(|minor| Money::from_minor(minor).unwrap());
    let new = (number, proptest::option::of(any_amount()), limit).prop_map(|(number, deposit, limit)| {
        Command::OpenAccount(Box::new(NewAccount {
            number,
            name: None,
            deposit,
            overdraft: limit.try_into().unwrap(),
        }))
    });
    prop_oneof![
        2 => new,
        3 => (any_account(), any_amount()).prop_map(|(account, amount)| Command::Deposit { account, amount }),
        3 => (any_account(), any_amount()).prop_map(|(account, amount)| Command::Withdraw { account, amount }),
        1 => (any_account(), 1u32..=1_000_000).prop_map(|(account, parts)| Command::AddInterest {
            account,
            rate: Rate::from_parts(parts).unwrap()
        }),
        3 => (any_account(), any_account(), any_amount())
            .prop_map(|(source, destination, amount)| Command::Transfer { source, destination, amount }),
    ]
}

pub(super) fn any_work() -> impl Strategy<Value = Work> {
    prop_oneof![
        4 => any_command().prop_map(Work::One),
        1 => proptest::collection::vec(any_command(), 1..5).prop_map(Work::Independent),
        1 => proptest::collection::vec(any_command(), 1..5).prop_map(Work::Atomic),
    ]
}

pub(super) fn any_proposal() -> impl Strategy<Value = Proposal> {
    let request = proptest::option::of((0u8..12).prop_map(|n| format!("request-{n}").parse().unwrap()));
    (request, any_work()).prop_map(|(request, work)| Proposal { request, work })
}

/// Proposals split into batches of the sizes given, the last one taking the rest.
pub(super) fn batches(proposals: &[Proposal], sizes: &[usize]) -> Vec<Batch> {
    let (mut rest, mut batches) = (proposals, Vec::new());
    for size in sizes.iter().chain([&usize::MAX]) {
        let (now, later) = rest.split_at(rest.len().min(*size));
        batches.push(batch(batches.len() as u64 + 1, now.to_vec()));
        rest = later;
    }
    batches
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_the_naive_model(
        proposals in proptest::collection::vec(any_proposal(), 1..40),
        sizes in proptest::collection::vec(0usize..6, 0..10),
    ) {
        let (ledger, twin, mut naive) = (Ledger::new(), Ledger::new(), Naive::default());
        for batch in batches(&proposals, &sizes) {
            let done = ledger.apply(&batch);
            for (proposal, reply) in batch.proposals.iter().zip(&done.replies) {
                let expected = naive.propose(proposal.request.as_ref(), &proposal.work);
                prop_assert_eq!(show_all(reply), expected);
            }
            for record in &done.applied {
                let sum: i64 = record.postings().into_iter().map(|posting| posting.amount.minor()).sum();
                prop_assert_eq!(sum, 0);
            }
            prop_assert_eq!(&done, &twin.apply(&batch));
            prop_assert_eq!(ledger.position(), twin.position());
            prop_assert!(ledger.audit().balanced());
        }
        let accounts = ledger.accounts(None, Timestamp::MAX, usize::MAX);
        let balances: Vec<(u64, i128)> =
            accounts.iter().map(|a| (a.number.get(), i128::from(a.balance.balance.minor()))).collect();
        let expected: Vec<(u64, i128)> = naive.accounts.iter().map(|(n, (balance, _))| (*n, *balance)).collect();
        prop_assert_eq!(balances, expected);
    }

    #[test]
    fn how_proposals_are_batched_changes_nothing_but_times(
        proposals in proptest::collection::vec(any_proposal(), 1..40),
        some in proptest::collection::vec(0usize..6, 0..10),
        others in proptest::collection::vec(0usize..6, 0..10),
    ) {
        let run = |sizes: &[usize]| {
            let ledger = Ledger::new();
            let mut outcomes = Vec::new();
            for batch in batches(&proposals, sizes) {
                outcomes.extend(ledger.apply(&batch).replies.iter().map(show_all));
            }
            (outcomes, ledger.sequence(), ledger.audit())
        };
        prop_assert_eq!(run(&some), run(&others));
    }

    #[test]
    fn a_preview_is_what_then_happens_and_changes_nothing(
        proposals in proptest::collection::vec(any_proposal(), 1..20),
        work in any_work(),
    ) {
        let ledger = Ledger::new();
        ledger.apply(&batch(1, proposals));
        let before = ledger.position();
        let preview = ledger.preview(&work);
        prop_assert_eq!(ledger.position(), before);
        prop_assert_eq!(&ledger.apply(&batch(2, vec![anonymous(work)])).replies[0].outcomes, &preview);
    }
}
