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
async fn messages_beyond_what_a_server_holds_are_turned_away_and_small_calls_are_not() {
    const MOST: usize = 4 << 20;
    let (server, raw) = ready().await;
    let begin = async || {
        let mut call = raw.begin(BATCH, &[("grpc-timeout", "60S")]).await;
        let header = Bytes::from_static(&[0, 0, 0x40, 0, 0]);
        call.body.send_data(header, false).unwrap();
        // All but one byte of the largest batch.
        call.body.send_data(vec![0; MOST - 1].into(), false).unwrap();
        call
    };
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(Box::pin(begin().await.answer()));
    }
    let (answer, _, rest) = futures::future::select_all(calls).await;
    assert_eq!(answer.unwrap().failure().reason, Reason::Overloaded);
    untouched(&server).await;
    drop(rest);
    // What the others held is free again.
    let batch = ExecuteBatchRequest {
        commands: vec![command(OperationKind::Deposit, 1, 1); 8_192],
        ..Default::default()
    };
    let done = tokio::time::timeout(Duration::from_secs(60), async {
        while raw.call(BATCH, &[], &batch).await.grpc().code() != Code::Ok {}
    });
    done.await.expect("a batch finds room again");
}

#[tokio::test]
async fn a_batch_of_millions_of_empty_commands_is_refused() {
    let (server, raw) = ready().await;
    let commands = vec![BatchCommand::default(); 2_000_000];
    let failure =
        raw.call(BATCH, &[], &ExecuteBatchRequest { commands, ..Default::default() }).await.failure();
    assert_eq!(failure.reason, Reason::BatchTooLarge);
    assert_eq!(failure.metadata["commands"], "more than 8192");
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

/// A server that gives up soon on whoever does not read, with accounts for long lists.
async fn impatient() -> (Server, crate::support::Bank) {
    let server = Server::with(1, Limits { unread: Duration::from_millis(400), ..Limits::default() });
    let mut bank = server.client().await;
    let commands = vec![command(OperationKind::Open, 0, 100); 2_000];
    bank.execute_batch(ExecuteBatchRequest { commands, ..Default::default() }).await.unwrap();
    (server, bank)
}

#[tokio::test]
async fn a_connection_whose_answers_nobody_reads_is_closed() {
    let (server, mut bank) = impatient().await;
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    // Room for one byte of each answer.
    let mut builder = h2::client::Builder::new();
    let (sender, connection) = builder.initial_window_size(1).handshake::<_, Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/v1/accounts?page_size=1000", server.address()));
    let mut sender = sender.ready().await.unwrap();
    let (_unread, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(60), connection);
    // In order or not.
    drop(closed.await.expect("the server closes the connection").unwrap());
    assert_eq!(balance(&mut bank, "1").await, "1.00", "a quiet connection without answers stays");
}

#[tokio::test]
async fn a_connection_to_which_nothing_can_be_written_is_closed() {
    let (server, mut bank) = impatient().await;
    let address = server.address();
    let ask = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = format!("GET /v1/accounts?page_size=1000 HTTP/1.1\r\nhost: {address}\r\n\r\n");
        loop {
            if let Err(error) = stream.write_all(request.as_bytes()) {
                return error;
            }
        }
    });
    let error = ask.await.unwrap();
    let timed_out = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
    assert!(!timed_out, "the server closes the connection: {error}");
    assert_eq!(balance(&mut bank, "1").await, "1.00");
}

#[tokio::test]
async fn an_address_has_a_limited_number_of_connections() {
    let server = Server::with(1, Limits { connections_per_address: 1, ..Limits::default() });
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    // The machine itself has eight; the client's is one of them.
    let mut others: Vec<_> = (0..8).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let refused = others.last_mut().unwrap();
    let mut end = Vec::new();
    assert!(refused.read_to_end(&mut end).is_err() || end.is_empty());
    assert_eq!(balance(&mut bank, "1").await, "1.00");
}

#[tokio::test]
async fn an_address_has_a_limited_number_of_feeds() {
    let (server, raw) = ready().await;
    const MOST: usize = 256;
    let mut feeds: Vec<_> = (0..MOST + 10).map(|_| Box::pin(raw.browse("/v1/events"))).collect();
    for _ in 0..10 {
        let (answer, _, rest) = futures::future::select_all(feeds).await;
        assert_eq!(answer.status, http::StatusCode::TOO_MANY_REQUESTS);
        feeds = rest;
    }
    untouched(&server).await;
}
