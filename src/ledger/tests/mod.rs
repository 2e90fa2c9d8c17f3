//! Tests of the ledger: tables of events, an independent model, snapshots.

mod golden;
mod model;
mod moments;
pub(crate) mod naive;
mod planted;
mod promises;
mod snapshots;
mod table;

use super::*;
use crate::model::{
    AbortReason, AccountState, Amount, Balance, Command, Credit, CreditState, Failure, HoldEnd, HoldId,
    Money, NewAccount, NewHold, NewTransfer, Origin, Outcome, Outcomes, Rate, Receipt, Rejection,
    RemoteAccount, StateAction, Work,
};

/// Reads a command as the tables write it; `-` stands for nothing.
///
/// `open [NUMBER DEPOSIT OVERDRAFT]`, `deposit|withdraw N AMOUNT`, `interest N RATE`, `transfer FROM TO AMOUNT`,
/// `freeze|close|unfreeze|reopen|activate N`, `hold N AMOUNT [LASTS_MICROS]`, `capture HOLD [AMOUNT]`, `release|expire HOLD`,
/// `begin FROM BRANCH TO AMOUNT`, `commit|abort|forget NUMBER`, and from another branch
/// `prepare|credit|cancel BRANCH NUMBER FROM TO AMOUNT [SETTLED_BELOW]`.
fn command(text: &str) -> Command {
    let words: Vec<&str> = text.split_whitespace().collect();
    let word = |place: usize| words.get(place).copied().filter(|word| *word != "-");
    let account = |place| word(place).unwrap().parse::<AccountNumber>().unwrap();
    let amount = |place| Amount::parse(word(place).unwrap()).unwrap();
    let number = |place: usize| Sequence(words[place].parse().unwrap());
    let state = |action| Command::SetAccountState { account: account(1), action };
    let credit = || {
        Box::new(Credit {
            origin: Origin { branch: words[1].parse().unwrap(), ledger: LedgerId([9; 16]) },
            number: number(2),
            settled_below: word(6).map_or(Sequence::ZERO, |_| number(6)),
            source: account(3),
            destination: account(4),
            amount: amount(5),
        })
    };
    match words[0] {
        "open" => Command::OpenAccount(Box::new(NewAccount {
            number: word(1).map(|text| text.parse().unwrap()),
            name: None,
            deposit: word(2).map(|text| Amount::parse(text).unwrap()),
            overdraft: word(3).map_or(Money::ZERO, |text| Money::parse(text).unwrap()).try_into().unwrap(),
        })),
        "deposit" => Command::Deposit { account: account(1), amount: amount(2) },
        "withdraw" => Command::Withdraw { account: account(1), amount: amount(2) },
        "interest" => Command::AddInterest { account: account(1), rate: Rate::parse(words[2]).unwrap() },
        "transfer" => Command::Transfer { source: account(1), destination: account(2), amount: amount(3) },
        "freeze" => state(StateAction::Freeze),
        "close" => state(StateAction::Close),
        "unfreeze" => state(StateAction::Unfreeze),
        "reopen" => state(StateAction::Reopen),
        "activate" => state(StateAction::Open),
        "hold" => Command::PlaceHold(Box::new(NewHold {
            account: account(1),
            amount: amount(2),
            lasts: word(3).map(|micros| micros.parse().unwrap()),
        })),
        "capture" => Command::CaptureHold { hold: HoldId(number(1)), amount: word(2).map(|_| amount(2)) },
        "release" => Command::ReleaseHold { hold: HoldId(number(1)) },
        "expire" => Command::ExpireHold { hold: HoldId(number(1)) },
        "begin" => Command::BeginTransfer(Box::new(NewTransfer {
            source: account(1),
            destination: RemoteAccount { branch: words[2].parse().unwrap(), account: account(3) },
            amount: amount(4),
        })),
        "commit" => Command::CommitTransfer { number: number(1) },
        "abort" => Command::AbortTransfer { number: number(1), reason: AbortReason::TimedOut },
        "forget" => Command::CloseTransfer { number: number(1), seen: None },
        "prepare" => Command::PrepareCredit(credit()),
        "credit" => Command::CommitCredit(credit()),
        "cancel" => Command::AbortCredit(credit()),
        other => panic!("no command {other}"),
    }
}

/// Shows an outcome as the tables write it: `ACCOUNT=BALANCE` afterwards, with `/HELD` where the receipt tells it, or
/// the reason of a refusal in capitals.
pub(crate) fn show(outcome: &Outcome) -> String {
    match outcome {
        Ok(Receipt::CreditKnown { state: CreditState::Prepared { .. } }) => "prepared before".to_owned(),
        Ok(Receipt::CreditKnown { state: CreditState::Committed }) => "committed before".to_owned(),
        Ok(Receipt::CreditKnown { state: CreditState::Aborted }) => "aborted before".to_owned(),
        Ok(receipt) => match receipt.money_after() {
            Some((account, money)) => format!("{account}={}/{}", money.balance, money.held),
            None if receipt.balances() == [None, None] => "noted".to_owned(),
            None => {
                let balances = receipt.balances().into_iter().flatten();
                balances
                    .map(|(account, balance)| format!("{account}={balance}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        },
        Err(rejection) => Failure::from(rejection).reason.as_str().to_owned(),
    }
}

fn show_all(reply: &Reply) -> String {
    reply.outcomes.as_slice().iter().map(show).collect::<Vec<_>>().join("; ")
}

fn batch(micros: u64, proposals: Vec<Proposal>) -> Batch {
    Batch { time: Timestamp::from_micros(micros), founding: Some(LedgerId([7; 16])), proposals }
}

fn anonymous(work: Work) -> Proposal {
    Proposal { request: None, work }
}
