//! Health, reflection, and how a server in this process stops.

use bank::model::Reason;
use bank::wire::from_status;
use bank::wire::proto::v1::{OperationKind, SubmitRequest};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::support::{Server, channel, command, open};

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
