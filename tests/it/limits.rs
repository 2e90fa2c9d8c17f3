//! What is too big, too long, half sent or nonsense is refused by name and harms nobody.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bank::model::Reason;
use bank::server::Limits;
use bank::wire::from_status;
use bank::wire::proto::v1::{
    BatchCommand, ExecuteBatchRequest, GetBalanceRequest, OpenAccountRequest, OperationKind,
};
use bytes::Bytes;
use futures::future::join_all;
use tonic::Code;

use crate::support::{Raw, Server, balance, command, deposit, framed, open};

const DEPOSIT: &str = "/bank.v1.BankService/DepositAccount";
const BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const SUBMIT: &str = "/bank.v1.BankService/Submit";

async fn ready() -> (Server, Raw) {
    let server = Server::start();
    open(&mut server.client().await, "5").await;
    let raw = Raw::connect(server.address()).await;
    (server, raw)
}

async fn untouched(server: &Server) {
    assert_eq!(balance(&mut server.client().await, "1").await, "5.00");
}

#[tokio::test]
async fn garbage_is_refused_and_the_connection_lives_on() {
    let (server, raw) = ready().await;
    let frames: [(&str, Bytes); 6] = [
        ("no message at all", Bytes::new()),
        ("not a message", framed(&[0xff; 40])),
        ("half a frame header", Bytes::from_static(&[0, 0])),
        ("less than the frame says", Bytes::from_static(&[0, 0, 0, 0, 9, 1])),
        ("an unknown compression flag", Bytes::from_static(&[7, 0, 0, 0, 0])),
        ("text that is not UTF-8", framed(&[0x0a, 0x02, 0xff, 0xfe])),
    ];
    for path in [DEPOSIT, BATCH] {
        for (what, bytes) in &frames {
            let failure = raw.bytes(path, &[], bytes.clone()).await.failure();
            assert_eq!(failure.reason, Reason::ArgumentInvalid, "{what}: {failure}");
        }
    }
    let answer = raw.bytes(SUBMIT, &[], framed(&[0xff; 40])).await;
    assert_eq!(answer.failure().reason, Reason::ArgumentInvalid);
    let good = raw.call(DEPOSIT, &[], &deposit("1", "1")).await;
    assert_eq!(good.grpc().code(), Code::Ok);
    assert_eq!(balance(&mut server.client().await, "1").await, "6.00");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let (server, raw) = ready().await;
    // 256 KiB for a unary call: one byte more is too much.
    let padded = |bytes: usize| {
        let empty = OpenAccountRequest { name: "x".repeat(200_000), ..Default::default() };
        let rest = bytes - prost::Message::encoded_len(&empty) - 4;
        let request = OpenAccountRequest { deposit: "y".repeat(rest), ..empty };
        assert_eq!(prost::Message::encoded_len(&request), bytes);
        request
    };
    let open = "/bank.v1.BankService/OpenAccount";
    assert_eq!(raw.call(open, &[], &padded(256 * 1024)).await.failure().reason, Reason::NameTooLong);
    let failure = raw.call(open, &[], &padded(256 * 1024 + 1)).await.failure();
    assert_eq!((failure.reason, failure.metadata["limit"].as_str()), (Reason::MessageTooLarge, "262144"));
    // 4 MiB for a batch.
    let named = |name: usize| ExecuteBatchRequest {
        commands: vec![BatchCommand { name: "x".repeat(name), ..command(OperationKind::Open, 0, 0) }; 8],
        ..Default::default()
    };
    assert_eq!(raw.call(BATCH, &[], &named(500_000)).await.failure().reason, Reason::NameTooLong);
    // The frame says that too much is coming; nobody waits for it.
    let mut call = raw.begin(BATCH, &[]).await;
    call.body.send_data(Bytes::from_static(&[0, 0, 0x40, 0, 1]), false).unwrap();
    let failure = call.answer().await.unwrap().failure();
    assert_eq!((failure.reason, failure.metadata["limit"].as_str()), (Reason::MessageTooLarge, "4194304"));
    untouched(&server).await;
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let (server, raw) = ready().await;
    let long = "x".repeat(20_000);
    let mut call = raw.begin(DEPOSIT, &[("x-long", &long)]).await;
    let _ = call.body.send_data(framed(&[]), true);
    match call.answer().await {
        Ok(answer) => assert_eq!(answer.status, http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
    untouched(&server).await;
}

#[tokio::test]
async fn a_call_that_does_not_exist_is_named() {
    let (_server, raw) = ready().await;
    for path in ["/bank.v1.BankService/Nothing", "/bank.v2.BankService/GetBalance", "/", "/x/y/z"] {
        let failure = raw.call(path, &[], &()).await.failure();
        assert_eq!(failure.reason, Reason::Unimplemented, "{path}");
    }
    let compressed = raw.call(DEPOSIT, &[("grpc-encoding", "gzip")], &deposit("1", "1")).await;
    assert_eq!(compressed.failure().reason, Reason::Unimplemented);
}

#[tokio::test]
async fn a_client_that_goes_before_its_message_is_whole_changes_nothing() {
    let (server, raw) = ready().await;
    let message = framed(&prost::Message::encode_to_vec(&deposit("1", "1")));
    let mut call = raw.begin(DEPOSIT, &[]).await;
    call.body.send_data(message.slice(..message.len() - 1), false).unwrap();
    call.body.send_reset(h2::Reason::CANCEL);
    assert!(call.answer().await.is_err());
    untouched(&server).await;
}

#[tokio::test]
async fn a_write_takes_effect_although_its_client_vanishes() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    open(&mut bank, "").await;
    let busy = ExecuteBatchRequest {
        commands: vec![command(OperationKind::Deposit, 2, 1); 8_192],
        ..Default::default()
    };
    for round in 0..10 {
        // While the branch is busy, the deposit is taken but not answered.
        let load = tokio::spawn({
            let (mut bank, busy) = (bank.clone(), busy.clone());
            async move { bank.execute_batch(busy).await }
        });
        let raw = Raw::connect(server.address()).await;
        let mut call = raw.begin(DEPOSIT, &[]).await;
        call.body.send_data(framed(&prost::Message::encode_to_vec(&deposit("1", "1"))), true).unwrap();
        // Calls of a connection are taken in order: when health has answered, the deposit was taken.
        raw.call("/grpc.health.v1.Health/Check", &[], &()).await;
        if round % 2 == 0 {
            call.body.send_reset(h2::Reason::CANCEL);
        }
        drop((call, raw));
        load.await.unwrap().unwrap();
        assert_eq!(balance(&mut bank, "1").await, format!("{}.00", round + 1));
    }
}

#[tokio::test]
async fn a_call_has_the_time_it_asks_for() {
    let (server, raw) = ready().await;
    let begun = Instant::now();
    // Half a message: the rest never comes.
    let mut call = raw.begin(DEPOSIT, &[("grpc-timeout", "50m")]).await;
    call.body.send_data(Bytes::from_static(&[0, 0, 0]), false).unwrap();
    let failure = call.answer().await.unwrap().failure();
    assert_eq!(failure.reason, Reason::ArgumentInvalid, "{failure}");
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let wrong = raw.call(DEPOSIT, &[("grpc-timeout", "soon")], &deposit("1", "1")).await.failure();
    assert_eq!((wrong.reason, wrong.field.as_deref()), (Reason::ArgumentInvalid, Some("grpc-timeout")));
    // No time at all: refused before the log, so nothing happened.
    let hasty = raw.call(DEPOSIT, &[("grpc-timeout", "0n")], &deposit("1", "1")).await.failure();
    assert_eq!(hasty.reason, Reason::Overloaded);
    let code = raw.call(DEPOSIT, &[("grpc-timeout", "0S")], &deposit("1", "1")).await.grpc().code();
    assert_eq!(code, tonic::Code::DeadlineExceeded);
    untouched(&server).await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_turned_away_and_health_still_answers() {
    let server = Server::with(1, Limits { calls_per_thread: 2, ..Limits::default() });
    let raw = Raw::connect(server.address()).await;
    let (mut first, mut second) = (raw.begin(DEPOSIT, &[]).await, raw.begin(DEPOSIT, &[]).await);
    let balance = GetBalanceRequest { account: "1".to_owned(), ..Default::default() };
    let failure = raw.call("/bank.v1.BankService/GetBalance", &[], &balance).await.failure();
    assert_eq!(failure.reason, Reason::Overloaded);
    assert!(failure.retry_after.is_some());
    let health = raw.call("/grpc.health.v1.Health/Check", &[], &()).await;
    assert_eq!(health.grpc().code(), Code::Ok);
    for call in [&mut first, &mut second] {
        call.body.send_data(framed(&prost::Message::encode_to_vec(&deposit("1", "1"))), true).unwrap();
    }
    for call in [first, second] {
        assert_eq!(call.answer().await.unwrap().failure().reason, Reason::AccountNotFound);
    }
    let failure = raw.call("/bank.v1.BankService/GetBalance", &[], &balance).await.failure();
    assert_eq!(failure.reason, Reason::AccountNotFound, "there is room again");
}

#[tokio::test]
async fn three_times_too_many_calls_are_turned_away_before_the_log_and_all_get_done() {
    const ROOM: usize = 4;
    const EACH: usize = 25;
    let server = Server::with(1, Limits { calls_per_thread: ROOM, ..Limits::default() });
    open(&mut server.client().await, "").await;
    let works = (0..3 * ROOM).map(|_| async {
        let mut bank = server.client().await;
        let (mut done, mut turned_away) = (0, 0);
        while done < EACH {
            match bank.deposit_account(deposit("1", "0.01")).await {
                Ok(_) => done += 1,
                Err(status) => {
                    let failure = from_status(&status);
                    assert_eq!(failure.reason, Reason::Overloaded, "{failure:?}");
                    assert!(failure.retry_after.is_some());
                    turned_away += 1;
                }
            }
        }
        turned_away
    });
    let turned_away: usize = join_all(works).await.into_iter().sum();
    println!("{turned_away} calls were turned away");
    // What was turned away did not happen, and nothing that was done is missing.
    let all = 3 * ROOM * EACH;
    assert_eq!(balance(&mut server.client().await, "1").await, format!("{}.{:02}", all / 100, all % 100));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let server = Server::with(1, Limits { connections: 1, ..Limits::default() });
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    let mut refused = TcpStream::connect(server.address()).unwrap();
    let mut end = Vec::new();
    // Closed at once, whether in order or not.
    assert!(refused.read_to_end(&mut end).is_err() || end.is_empty());
    assert_eq!(balance(&mut bank, "1").await, "1.00");
}

#[test]
fn nonsense_is_refused() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"\x00\x01\x02 nonsense \r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
}
