//! ExecuteBatch and Submit.

use bank::model::Reason;
use bank::model::limits::BATCH_COMMANDS;
use bank::wire::proto::v1::{
    BatchCommand, BatchResult, ExecuteBatchRequest, GetOperationRequest, OperationKind, OperationState,
    SubmitRequest, SubmitResponse,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{Server, balance, command, open, reason, refusal};

fn batch(atomic: bool, commands: Vec<BatchCommand>) -> ExecuteBatchRequest {
    ExecuteBatchRequest { atomic, commands, ..Default::default() }
}

fn reasons(results: &[BatchResult]) -> Vec<&str> {
    results.iter().map(|result| result.error.as_ref().map_or("", |error| error.reason.as_str())).collect()
}

#[tokio::test]
async fn a_batch_answers_every_command_in_order() {
    use OperationKind::{Deposit, Interest, Open, Transfer, Withdraw};
    let server = Server::start();
    let mut bank = server.client().await;
    let commands = vec![
        BatchCommand { name: "Ada".to_owned(), overdraft_limit: 500, ..command(Open, 0, 10_000) },
        command(Open, 9, 0),
        command(Deposit, 1, 50),
        command(Withdraw, 9, 1),
        BatchCommand { rate: 100_000, ..command(Interest, 1, 0) },
        BatchCommand { destination: 9, ..command(Transfer, 1, 5_000) },
        command(Deposit, 77, 1),
    ];
    let reply = bank.execute_batch(batch(false, commands)).await.unwrap().into_inner();
    assert_eq!((reply.first_sequence, reply.sequence), (1, 7));
    assert_eq!(reasons(&reply.results), ["", "", "", "INSUFFICIENT_FUNDS", "", "", "ACCOUNT_NOT_FOUND"]);
    let shown: Vec<_> =
        reply.results.iter().map(|r| (r.account, r.balance, r.interest, r.destination_balance)).collect();
    let expected = [
        (1, 10_000, 0, 0),
        (9, 0, 0, 0),
        (1, 10_050, 0, 0),
        (0, 0, 0, 0),
        (1, 11_055, 1_005, 0),
        (1, 6_055, 0, 5_000),
        (0, 0, 0, 0),
    ];
    assert_eq!(shown, expected);
    assert_eq!(reply.results[3].error.as_ref().unwrap().metadata["needed"], "0.01");
}

#[tokio::test]
async fn an_atomic_batch_is_done_whole_or_not_at_all() {
    use OperationKind::{Deposit, Withdraw};
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    let commands = vec![command(Deposit, 1, 100), command(Withdraw, 1, 201), command(Deposit, 1, 1)];
    let request = ExecuteBatchRequest { request_id: "b-1".to_owned(), ..batch(true, commands) };
    let refused = bank.execute_batch(request.clone()).await.unwrap().into_inner();
    assert_eq!(reasons(&refused.results), ["BATCH_ABORTED", "INSUFFICIENT_FUNDS", "BATCH_ABORTED"]);
    assert_eq!(refused.results[0].error.as_ref().unwrap().metadata["failed"], "1");
    assert_eq!(balance(&mut bank, "1").await, "1.00");
    let again = bank.execute_batch(request.clone()).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!((again.results, again.sequence), (refused.results, refused.sequence));
    let other = ExecuteBatchRequest { atomic: false, ..request };
    assert_eq!(reason(bank.execute_batch(other).await), Reason::RequestReused);
    let look = GetOperationRequest { request_id: "b-1".to_owned(), ..Default::default() };
    let operation = bank.get_operation(look).await.unwrap().into_inner();
    assert_eq!((operation.state(), operation.results.len()), (OperationState::Refused, 3));
    let good = vec![command(Deposit, 1, 100), command(Withdraw, 1, 200)];
    let preview = ExecuteBatchRequest { validate_only: true, ..batch(true, good.clone()) };
    let preview = bank.execute_batch(preview).await.unwrap().into_inner();
    assert_eq!(balance(&mut bank, "1").await, "1.00");
    let done = bank.execute_batch(batch(true, good)).await.unwrap().into_inner();
    assert_eq!(preview.results, done.results);
    assert_eq!(balance(&mut bank, "1").await, "0.00");
}

#[tokio::test]
async fn a_full_batch_fits_and_one_more_does_not() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let full = vec![command(OperationKind::Deposit, 1, 1); BATCH_COMMANDS];
    let over = vec![command(OperationKind::Deposit, 1, 1); BATCH_COMMANDS + 1];
    let failure = refusal(bank.execute_batch(batch(false, over)).await);
    assert_eq!((failure.reason, failure.metadata["limit"].as_str()), (Reason::BatchTooLarge, "8192"));
    assert_eq!(reason(bank.execute_batch(batch(true, Vec::new())).await), Reason::ArgumentInvalid);
    assert_eq!(balance(&mut bank, "1").await, "0.00");
    bank.execute_batch(batch(false, full)).await.unwrap();
    assert_eq!(balance(&mut bank, "1").await, "81.92");
}

#[tokio::test]
async fn a_stream_answers_in_order_and_goes_on_after_an_error() {
    const BATCHES: u64 = 100;
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let deposit = |amount| vec![command(OperationKind::Deposit, 1, amount); 10];
    let requests = (1..=BATCHES).map(move |number| SubmitRequest {
        number: if number == 60 { 59 } else { number },
        atomic: number % 2 == 0,
        // The amount of batch 50 is wrong, so the batch as a whole is refused.
        commands: deposit(if number == 50 { -1 } else { 1 }),
        request_id: format!("batch-{number}"),
    });
    let replies = bank.submit(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let replies: Vec<SubmitResponse> = replies.map(Result::unwrap).collect().await;
    assert_eq!(replies.len(), 100);
    let mut last = 1;
    for (reply, number) in replies.iter().zip(1..) {
        assert_eq!(reply.number, if number == 60 { 59 } else { number });
        assert_eq!(reply.request_id, format!("batch-{number}"));
        match &reply.error {
            Some(error) => {
                assert!(number == 50 || number == 60, "{number}: {error:?}");
                let (reason, field) = if number == 50 {
                    ("AMOUNT_NOT_POSITIVE", "commands[0].amount")
                } else {
                    ("ARGUMENT_INVALID", "number")
                };
                assert_eq!((error.reason.as_str(), error.metadata["field"].as_str()), (reason, field));
                assert_eq!((reply.results.len(), reply.sequence), (0, 0));
            }
            None => {
                assert_eq!((reply.first_sequence, reply.sequence), (last + 1, last + 10), "{number}");
                assert_eq!(reply.results.len(), 10);
                last = reply.sequence;
            }
        }
    }
    assert_eq!(balance(&mut bank, "1").await, "9.80");
}

#[tokio::test]
async fn the_same_batch_again_on_a_stream_is_answered_again() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let request = |number| SubmitRequest {
        number,
        commands: vec![command(OperationKind::Deposit, 1, 5)],
        request_id: "once".to_owned(),
        ..Default::default()
    };
    let replies = bank.submit(tokio_stream::iter([request(1), request(2)])).await.unwrap().into_inner();
    let replies: Vec<SubmitResponse> = replies.map(Result::unwrap).collect().await;
    assert_eq!([replies[0].replayed, replies[1].replayed], [false, true]);
    assert_eq!(replies[0].results, replies[1].results);
    assert_eq!(balance(&mut bank, "1").await, "0.05");
}

#[tokio::test]
async fn batches_of_a_client_that_vanishes_take_effect_once_answered() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let (sender, receiver) = mpsc::channel(4);
    let mut replies = bank.submit(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let commands = vec![command(OperationKind::Deposit, 1, 5)];
    sender.send(SubmitRequest { number: 1, commands, ..Default::default() }).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap().number, 1);
    drop((sender, replies));
    assert_eq!(balance(&mut bank, "1").await, "0.05");
}
