//! Session tokens: read your writes, and what is no token of this life.

use bank::model::{LedgerId, Reason, Sequence, Session};
use bank::wire::proto::v1::{Consistency, GetBalanceRequest, WatchJournalRequest};

use crate::support::{DepositAccountRequest, Server, deposit, open, reason, refusal};

fn token(ledger: LedgerId, sequence: u64) -> String {
    let mut session = Session::default();
    session.saw(&"main".parse().unwrap(), ledger, Sequence(sequence));
    session.token()
}

#[tokio::test]
async fn a_token_grows_with_every_reply() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    let main = "main".parse().unwrap();
    let mut session_token = String::new();
    for expected in 2..6 {
        let request = DepositAccountRequest { session_token, ..deposit("1", "1") };
        session_token = bank.deposit_account(request).await.unwrap().into_inner().session_token;
        let seen = Session::parse(&session_token).unwrap().of(&main).unwrap();
        assert_eq!(seen.sequence, Sequence(expected));
    }
    // What was seen of other branches is carried along, and never given up for something older.
    let mut session = Session::parse(&session_token).unwrap();
    session.saw(&"delhi".parse().unwrap(), LedgerId([3; 16]), Sequence(9));
    let request = GetBalanceRequest {
        account: "1".to_owned(),
        session_token: session.token(),
        consistency: Consistency::Stale.into(),
    };
    let reply = bank.get_balance(request).await.unwrap().into_inner();
    assert_eq!(Session::parse(&reply.session_token), Ok(session));
}

#[tokio::test]
async fn a_token_of_another_life_or_of_the_future_is_refused_by_every_call() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    let own = bank.deposit_account(deposit("1", "1")).await.unwrap().into_inner().session_token;
    let ledger = Session::parse(&own).unwrap().of(&"main".parse().unwrap()).unwrap().ledger;
    for session_token in [token(LedgerId([9; 16]), 1), token(ledger, 1_000_000)] {
        let write = DepositAccountRequest { session_token: session_token.clone(), ..deposit("1", "1") };
        assert_eq!(reason(bank.deposit_account(write.clone()).await), Reason::SessionUnknown);
        let preview = DepositAccountRequest { validate_only: true, ..write };
        assert_eq!(reason(bank.deposit_account(preview).await), Reason::SessionUnknown);
        for consistency in [Consistency::Unspecified, Consistency::Linearizable, Consistency::Session] {
            let read = GetBalanceRequest {
                account: "1".to_owned(),
                session_token: session_token.clone(),
                consistency: consistency.into(),
            };
            assert_eq!(reason(bank.get_balance(read).await), Reason::SessionUnknown, "{consistency:?}");
        }
        let watch = WatchJournalRequest { session_token, ..Default::default() };
        assert_eq!(reason(bank.watch_journal(watch).await), Reason::SessionUnknown);
    }
    let garbage = DepositAccountRequest { session_token: "no token".to_owned(), ..deposit("1", "1") };
    let failure = refusal(bank.deposit_account(garbage).await);
    assert_eq!((failure.reason, failure.field.as_deref()), (Reason::ArgumentInvalid, Some("session_token")));
    assert_eq!(crate::support::balance(&mut bank, "1").await, "2.00");
}
