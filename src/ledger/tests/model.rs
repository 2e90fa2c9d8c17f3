//! The ledger against the naive model, for any work in any batches.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::naive::Naive;
use super::*;

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
    let known = prop_oneof![
        2 => new,
        3 => (any_account(), any_amount()).prop_map(|(account, amount)| Command::Deposit { account, amount }),
        3 => (any_account(), any_amount()).prop_map(|(account, amount)| Command::Withdraw { account, amount }),
        1 => (any_account(), 1u32..=1_000_000).prop_map(|(account, parts)| Command::AddInterest {
            account,
            rate: Rate::from_parts(parts).unwrap()
        }),
        3 => (any_account(), any_account(), any_amount())
            .prop_map(|(source, destination, amount)| Command::Transfer { source, destination, amount }),
    ];
    prop_oneof![4 => known, 3 => any_promise(), 2 => any_credit()]
}

/// Holds, states and transfers to other branches. The numbers are those of commands in short histories.
fn any_promise() -> impl Strategy<Value = Command> {
    let number = || (1u64..48).prop_map(Sequence);
    let hold = || number().prop_map(HoldId);
    let lasts = || proptest::option::of((1u64..8).prop_map(|micros| NonZeroU64::new(micros).unwrap()));
    let action = prop_oneof![
        2 => Just(StateAction::Open),
        1 => Just(StateAction::Freeze),
        1 => Just(StateAction::Close),
        1 => Just(StateAction::Unfreeze),
        1 => Just(StateAction::Reopen)
    ];
    let reason = prop_oneof![
        Just(AbortReason::TimedOut),
        Just(AbortReason::Operator),
        Just(AbortReason::Refused(Box::new(Rejection::RequestReused))),
    ];
    let branch = prop_oneof![Just("delhi"), Just("pune")];
    prop_oneof![
        2 => (any_account(), action).prop_map(|(account, action)| Command::SetAccountState { account, action }),
        3 => (any_account(), any_amount(), lasts())
            .prop_map(|(account, amount, lasts)| Command::PlaceHold(Box::new(NewHold { account, amount, lasts }))),
        3 => (hold(), proptest::option::of(any_amount()))
            .prop_map(|(hold, amount)| Command::CaptureHold { hold, amount }),
        2 => hold().prop_map(|hold| Command::ReleaseHold { hold }),
        2 => hold().prop_map(|hold| Command::ExpireHold { hold }),
        3 => (any_account(), branch, any_account(), any_amount()).prop_map(|(source, branch, account, amount)| {
            let destination = RemoteAccount { branch: branch.parse().unwrap(), account };
            Command::BeginTransfer(Box::new(NewTransfer { source, destination, amount }))
        }),
        4 => number().prop_map(|number| Command::CommitTransfer { number }),
        2 => (number(), reason).prop_map(|(number, reason)| Command::AbortTransfer { number, reason }),
        3 => number().prop_map(|number| Command::CloseTransfer { number, seen: None }),
    ]
}

/// Messages of other branches, honest or not.
fn any_credit() -> impl Strategy<Value = Command> {
    let origin = (prop_oneof![Just("delhi"), Just("pune")], 0u8..2)
        .prop_map(|(branch, life)| Origin { branch: branch.parse().unwrap(), ledger: LedgerId([life; 16]) });
    // Mostly one content for one number, so that messages fit each other.
    let credit =
        (origin, 1u64..9, prop_oneof![3 => Just(0), 1 => 0u64..12], any_account(), 0u64..12, any_minor());
    let credit = credit.prop_map(|(origin, number, settled_below, other, differs, minor)| {
        let account = |number: u64| AccountNumber::new(number).unwrap();
        Box::new(Credit {
            origin,
            number: Sequence(number),
            settled_below: Sequence(settled_below),
            source: account(77),
            destination: if differs == 0 { other } else { account(number % 4 + 1) },
            amount: Amount::from_minor(if differs == 1 { minor } else { 500 }).unwrap(),
        })
    });
    let credit = credit.boxed();
    prop_oneof![
        3 => credit.clone().prop_map(Command::PrepareCredit),
        2 => credit.clone().prop_map(Command::CommitCredit),
        1 => credit.prop_map(Command::AbortCredit),
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

/// The same without holds that end by the time of their batch.
fn timeless(mut proposals: Vec<Proposal>) -> Vec<Proposal> {
    for proposal in &mut proposals {
        let commands = match &mut proposal.work {
            Work::One(command) => std::slice::from_mut(command),
            Work::Independent(commands) | Work::Atomic(commands) => commands,
        };
        for command in commands {
            if let Command::PlaceHold(new) = command {
                new.lasts = None;
            }
        }
    }
    proposals
}

/// An account as the naive model shows it.
fn shown(account: &Account) -> String {
    let Balance { balance, held, .. } = account.balance;
    format!("{}={}/{} {:?}", account.number, balance.minor(), held.minor(), account.state)
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_the_naive_model(
        proposals in proptest::collection::vec(any_proposal(), 1..60),
        sizes in proptest::collection::vec(0usize..8, 0..12),
    ) {
        let (ledger, twin, mut naive) = (Ledger::new(), Ledger::new(), Naive::default());
        for batch in batches(&proposals, &sizes) {
            let done = ledger.apply(&batch);
            for (proposal, reply) in batch.proposals.iter().zip(&done.replies) {
                let expected = naive.propose(proposal.request.as_ref(), &proposal.work, batch.time.micros());
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
        let accounts = ledger.still(|shown| shown.accounts(None, Timestamp::MAX, usize::MAX)).0;
        let shown: Vec<String> = accounts.iter().map(shown).collect();
        prop_assert_eq!(shown, naive.accounts());
    }

    #[test]
    fn how_proposals_are_batched_changes_nothing_but_times(
        proposals in proptest::collection::vec(any_proposal(), 1..40),
        some in proptest::collection::vec(0usize..6, 0..10),
        others in proptest::collection::vec(0usize..6, 0..10),
    ) {
        let proposals = timeless(proposals);
        let run = |sizes: &[usize]| {
            let ledger = Ledger::new();
            let mut outcomes = Vec::new();
            for batch in batches(&proposals, sizes) {
                outcomes.extend(ledger.apply(&batch).replies.iter().map(show_all));
            }
            // The position tells times and their digest.
            (outcomes, ledger.sequence(), Audit { position: Ledger::new().position(), ..ledger.audit() })
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
        let proposal = anonymous(work);
        let preview = ledger.preview(&proposal).outcomes;
        prop_assert_eq!(ledger.position(), before);
        prop_assert_eq!(&ledger.apply(&batch(2, vec![proposal])).replies[0].outcomes, &preview);
    }
}
