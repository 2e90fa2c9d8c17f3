//! Tests of the ledger: tables of events, an independent model, snapshots.

mod golden;
mod model;
mod snapshots;
mod table;

use super::*;
use crate::model::{Amount, Failure, Money, NewAccount, Rate};

/// Reads a command as the tables write it: `open`, `open 7 100.00 50.00` (number, deposit, overdraft; `-` for
/// none), `deposit 1 5`, `withdraw 1 5`, `interest 1 2.5`, `transfer 1 2 5`.
fn command(text: &str) -> Command {
    let words: Vec<&str> = text.split_whitespace().collect();
    let word = |place: usize| words.get(place).copied().filter(|word| *word != "-");
    let account = |place| word(place).unwrap().parse::<AccountNumber>().unwrap();
    let amount = |place| Amount::parse(word(place).unwrap()).unwrap();
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
        other => panic!("no command {other}"),
    }
}

/// Shows an outcome as the tables write it: the balances afterwards, or the reason.
fn show(outcome: &Outcome) -> String {
    match outcome {
        Ok(receipt) => {
            let balances = receipt.balances().into_iter().flatten();
            balances.map(|(account, balance)| format!("{account}={balance}")).collect::<Vec<_>>().join(" ")
        }
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
