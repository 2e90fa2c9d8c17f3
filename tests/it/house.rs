//! Health, reflection, and how a server in this process stops.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bank::model::Reason;
use bank::server::Limits;
use bank::wire::from_status;
use bank::wire::proto::v1::{GetBalanceRequest, OperationKind, SubmitRequest};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::support::{Raw, Server, channel, command, framed, open};

const BALANCE: &str = "/bank.v1.BankService/GetBalance";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn health_is_told_for_the_server_and_each_service() {
    let server = Server::start();
    let mut health = HealthClient::new(channel(server.address()).await);
    for service in ["", "bank.v1.BankService", "main.BankAccountService"] {
        let reply: HealthCheckResponse = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(of("nobody")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_health_learns_first_that_the_server_stops() {
    let server = Server::start();
    let mut health = HealthClient::new(channel(server.address()).await);
    let mut watch = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.shut_down();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // The stream ends, so that it does not hold the server up.
    assert!(!matches!(watch.message().await, Ok(Some(_))));
    server.stop().await;
}

#[tokio::test]
async fn connections_are_dealt_out_evenly() {
    const THREADS: usize = 4;
    let server = Server::with(THREADS, Limits { calls_per_thread: 1, ..Limits::default() });
    let mut held = Vec::new();
    // Each thread takes one call: four connections find four threads, and the fifth finds all of them busy.
    for _ in 0..THREADS {
        let raw = Raw::connect(server.address()).await;
        let call = raw.begin(BALANCE, &[]).await;
        // Calls of a connection are taken in order, and health is answered whatever is in flight.
        raw.call("/grpc.health.v1.Health/Check", &[], &()).await;
        held.push((raw, call));
    }
    let fifth = Raw::connect(server.address()).await;
    let request = GetBalanceRequest { account: "1".to_owned(), ..Default::default() };
    assert_eq!(fifth.call(BALANCE, &[], &request).await.failure().reason, Reason::Overloaded);
    for (_raw, mut call) in held {
        call.body.send_data(framed(&prost::Message::encode_to_vec(&request)), true).unwrap();
        assert_eq!(call.answer().await.unwrap().failure().reason, Reason::AccountNotFound);
    }
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_hold_the_server_up() {
    let server = Server::with(1, Limits { grace: Duration::from_millis(100), ..Limits::default() });
    let silent = TcpStream::connect(server.address()).unwrap();
    let raw = Raw::connect(server.address()).await;
    let call = raw.begin(BALANCE, &[("grpc-timeout", "1H")]).await;
    raw.call("/grpc.health.v1.Health/Check", &[], &()).await;
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(call.answer().await.is_err());
    drop(silent);
}

/// Asks the reflection service of one version for all services and for the file of one of them.
macro_rules! reflect {
    ($server:expr, $version:ident) => {{
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        use tonic_reflection::pb::$version::{ListServiceResponse, ServerReflectionRequest};
        let mut reflection = ServerReflectionClient::new(channel($server.address()).await);
        let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let requests = tokio_stream::iter([
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol("bank.v1.BankService".to_owned())),
        ]);
        let replies = reflection.server_reflection_info(requests).await.unwrap().into_inner();
        let replies: Vec<_> = replies.map(|reply| reply.unwrap().message_response.unwrap()).collect().await;
        let [MessageResponse::ListServicesResponse(ListServiceResponse { service }), file] = &replies[..]
        else {
            panic!("{replies:?}");
        };
        assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
        service.iter().map(|service| service.name.clone()).collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn reflection_lists_every_service_in_both_versions() {
    let server = Server::start();
    let both = [
        ("grpc.reflection.v1.ServerReflection", reflect!(server, v1)),
        ("grpc.reflection.v1alpha.ServerReflection", reflect!(server, v1alpha)),
    ];
    for (own, services) in both {
        for name in ["bank.v1.BankService", "main.BankAccountService", "grpc.health.v1.Health", own] {
            assert!(services.iter().any(|service| service == name), "{name} is not in {services:?}");
        }
    }
}

#[tokio::test]
async fn a_stopping_server_answers_what_it_took_and_says_that_it_stops() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let (sender, receiver) = mpsc::channel(1);
    let mut replies = bank.submit(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let commands = vec![command(OperationKind::Deposit, 1, 1); 100];
    sender.send(SubmitRequest { number: 1, commands, ..Default::default() }).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap().sequence, 101);
    let stopped = tokio::spawn(server.stop());
    let status = replies.next().await.unwrap().unwrap_err();
    assert_eq!(from_status(&status).reason, Reason::Stopping);
    drop((sender, replies, bank));
    stopped.await.unwrap();
}
