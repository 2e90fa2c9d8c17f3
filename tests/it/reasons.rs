//! The error catalogue over gRPC: every reason that a healthy lone server can be brought to give is provoked,
//! and looks the same on the wire each time.
//!
//! [`provoke`] is a total match: a new reason does not compile until it has a row here.

use std::time::Duration;

use bank::model::Reason;
use bank::server::Limits;
use bank::wire::proto::v1::cluster_service_client::ClusterServiceClient;
use bank::wire::proto::v1::{
    AccountState, AddInterestRequest, BatchCommand, ExecuteBatchRequest, GetBalanceRequest,
    GetTransferRequest, ListAccountsRequest, ListEntriesRequest, OpenAccountRequest, OperationError,
    OperationKind, PlaceHoldRequest, ReleaseHoldRequest, ReleaseHoldResponse, RemoveReplicaRequest,
    ResolveTransferRequest, SetAccountStateRequest, SetAccountStateResponse, SubmitRequest, TransferRequest,
    TransferResolution, WatchJournalRequest,
};
use bank::wire::{ERROR_DOMAIN, REASON_TRAILER, from_status};
use tokio_stream::StreamExt as _;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Bank, DepositAccountRequest, Raw, Server, balance, channel, command, deposit, open, withdraw,
};

/// How a reason comes to the caller.
enum Told {
    /// As the status of the call.
    Call(Box<Status>),
    /// As the error of one command of a batch that as a whole is answered.
    Command(OperationError),
}

/// A provoked refusal and what must be in it besides the reason.
struct Row {
    told: Told,
    field: Option<&'static str>,
    metadata: &'static [&'static str],
    later: bool,
}

impl Row {
    fn call<T: std::fmt::Debug>(result: Result<T, Status>) -> Row {
        let told = Told::Call(Box::new(result.expect_err("the call must be refused")));
        Row { told, field: None, metadata: &[], later: false }
    }

    fn in_field(self, field: &'static str) -> Row {
        Row { field: Some(field), ..self }
    }

    fn with(self, metadata: &'static [&'static str]) -> Row {
        Row { metadata, ..self }
    }

    fn later(self) -> Row {
        Row { later: true, ..self }
    }
}

/// Account 1 has 10.00, account 2 nothing.
struct World {
    server: Server,
    bank: Bank,
}

impl World {
    async fn new() -> World {
        let server = Server::start();
        let mut bank = server.client().await;
        open(&mut bank, "10").await;
        open(&mut bank, "").await;
        World { server, bank }
    }

    async fn deposit(&mut self, account: &str, amount: &str) -> Row {
        Row::call(self.bank.deposit_account(deposit(account, amount)).await)
    }

    async fn open(&mut self, request: OpenAccountRequest) -> Row {
        Row::call(self.bank.open_account(request).await)
    }

    async fn transfer(&mut self, source: &str, destination: &str, amount: &str) -> Row {
        let request = TransferRequest {
            source: source.to_owned(),
            destination: destination.to_owned(),
            amount: amount.to_owned(),
            ..Default::default()
        };
        Row::call(self.bank.transfer(request).await)
    }

    async fn hold(&mut self, account: &str, amount: &str) {
        let (account, amount) = (account.to_owned(), amount.to_owned());
        self.bank.place_hold(PlaceHoldRequest { account, amount, ..Default::default() }).await.unwrap();
    }

    async fn release(&mut self, hold: &str) -> Result<Response<ReleaseHoldResponse>, Status> {
        let request = ReleaseHoldRequest { hold: hold.to_owned(), ..Default::default() };
        self.bank.release_hold(request).await
    }

    async fn set_state(
        &mut self,
        account: &str,
        state: AccountState,
    ) -> Result<Response<SetAccountStateResponse>, Status> {
        let (account, state) = (account.to_owned(), state.into());
        self.bank.set_account_state(SetAccountStateRequest { account, state, ..Default::default() }).await
    }

    async fn open_named(&mut self, name: &str) -> Row {
        self.open(OpenAccountRequest { name: name.to_owned(), ..Default::default() }).await
    }

    async fn interest(&mut self, rate: &str) -> Row {
        let (account, rate) = ("1".to_owned(), rate.to_owned());
        Row::call(self.bank.add_interest(AddInterestRequest { account, rate, ..Default::default() }).await)
    }

    async fn open_numbered(&mut self, account: &str) -> Row {
        self.open(OpenAccountRequest { account: account.to_owned(), ..Default::default() }).await
    }

    async fn batch(&mut self, commands: Vec<BatchCommand>) -> Row {
        let request = ExecuteBatchRequest { commands, ..Default::default() };
        Row::call(self.bank.execute_batch(request).await)
    }
}

/// Provokes a reason; none for those that a healthy lone server does not give.
async fn provoke(world: &mut World, reason: Reason) -> Option<Row> {
    Some(match reason {
        Reason::AmountMissing => world.deposit("1", "").await.in_field("amount"),
        Reason::AmountSyntax => world.deposit("1", "1e3").await.in_field("amount"),
        Reason::AmountPrecision => world.deposit("1", "1.234").await.in_field("amount"),
        Reason::AmountNotPositive => world.transfer("1", "2", "0").await.in_field("amount"),
        Reason::RateOutOfRange => world.interest("101").await.in_field("rate"),
        Reason::AccountSyntax => world.transfer("1", "main/x", "1").await.in_field("destination"),
        Reason::NameTooLong => world.open_named(&"x".repeat(65)).await.in_field("name"),
        Reason::NameSyntax => world.open_named("\u{202e}evil").await.in_field("name"),
        Reason::BatchTooLarge => {
            let row = world.batch(vec![command(OperationKind::Deposit, 1, 1); 8_193]).await;
            row.in_field("commands").with(&["commands", "limit"])
        }
        Reason::PageTokenInvalid => foreign_page(world).await.in_field("page_token"),
        Reason::RequestIdInvalid => {
            let request = DepositAccountRequest { request_id: "a b".to_owned(), ..deposit("1", "1") };
            Row::call(world.bank.deposit_account(request).await).in_field("request_id")
        }
        Reason::ArgumentInvalid => negative_page(world).await.in_field("page_size").with(&["value"]),
        Reason::ChangeRefused => removed_a_stranger(world).await,
        Reason::RequestReused => reused(world).await,
        Reason::AccountNotFound => world.deposit("77", "1").await.with(&["account"]),
        Reason::BranchUnknown => {
            world.deposit("delhi/1", "1").await.in_field("account").with(&["branch", "home"])
        }
        Reason::AccountExists => world.open_numbered("1").await.with(&["account"]),
        Reason::InsufficientFunds => Row::call(world.bank.withdraw_account(withdraw("2", "0.01")).await)
            .with(&["account", "available", "needed"]),
        Reason::SameAccount => world.transfer("1", "1", "1").await.with(&["account"]),
        Reason::BatchAborted => aborted(world).await,
        Reason::SessionUnknown => foreign_session(world).await,
        Reason::AmountOverflow => world.deposit("1", "999999999999.99").await.with(&["account"]),
        Reason::RequestExpired | Reason::JournalTrimmed => after_a_million_commands(reason).await,
        Reason::NoQuorum => {
            let account = GetBalanceRequest { account: "1".to_owned(), ..Default::default() };
            hurried(world, reason, "GetBalance", &account).await.later()
        }
        Reason::Stopping => stopping().await.later(),
        Reason::Overloaded => overloaded().await.later().with(&["retry_after_ms"]),
        Reason::MessageTooLarge => world.open_named(&"x".repeat(256 * 1024)).await.with(&["limit"]),
        Reason::OutcomeUnknown => outcome_unknown(world).await.with(&["request_id"]),
        Reason::Unimplemented => unknown_call(world).await,
        Reason::TransferNotFound => unknown_transfer(world).await.with(&["transfer"]),
        Reason::TransferFinal => decided(world).await.with(&["transfer", "state"]),
        Reason::HoldNotFound => Row::call(world.release("99").await).with(&["hold"]),
        Reason::HoldFinal => released_twice(world).await.with(&["hold", "state"]),
        Reason::AccountFrozen => paid_to(world, "1", AccountState::Frozen).await.with(&["account"]),
        Reason::AccountClosed => paid_to(world, "2", AccountState::Closed).await.with(&["account"]),
        Reason::AccountInUse => closed_with_a_hold(world).await.with(&["account"]),
        Reason::BalanceNotZero => {
            Row::call(world.set_state("1", AccountState::Closed).await).with(&["account", "balance"])
        }
        // No other replicas are there to lose or to wait for, and no disk to fill; a server listens only when it serves;
        // the client alone knows that nobody answered, and reads scenarios; and our own faults are not for sale.
        // No other branch is there to lie, and nobody waits for one.
        Reason::TransferMismatch
        | Reason::TransferAborted
        | Reason::TooManyOpen
        | Reason::NoLeader
        | Reason::StorageFull
        | Reason::ReplicaBehind
        | Reason::Starting
        | Reason::Unreachable
        | Reason::ScenarioInvalid
        | Reason::PermissionDenied
        | Reason::Internal => return None,
    })
}

async fn removed_a_stranger(world: &mut World) -> Row {
    let mut cluster = ClusterServiceClient::new(channel(world.server.address()).await);
    Row::call(cluster.remove_replica(RemoveReplicaRequest { id: 7, lose_history: false }).await)
}

async fn foreign_page(world: &mut World) -> Row {
    let request = ListAccountsRequest { page_token: "AAAA".to_owned(), ..Default::default() };
    Row::call(world.bank.list_accounts(request).await)
}

async fn negative_page(world: &mut World) -> Row {
    let request = ListEntriesRequest { account: "1".to_owned(), page_size: -1, ..Default::default() };
    Row::call(world.bank.list_entries(request).await)
}

async fn unknown_transfer(world: &mut World) -> Row {
    let request = GetTransferRequest { transfer: "99".to_owned(), ..Default::default() };
    Row::call(world.bank.get_transfer(request).await)
}

async fn released_twice(world: &mut World) -> Row {
    world.hold("1", "1").await;
    world.release("main:3").await.unwrap();
    Row::call(world.release("main:3").await)
}

async fn paid_to(world: &mut World, account: &str, state: AccountState) -> Row {
    world.set_state(account, state).await.unwrap();
    world.deposit(account, "1").await
}

async fn closed_with_a_hold(world: &mut World) -> Row {
    let request = OpenAccountRequest { overdraft_limit: "5".to_owned(), ..Default::default() };
    world.bank.open_account(request).await.unwrap();
    world.hold("3", "5").await;
    Row::call(world.set_state("3", AccountState::Closed).await)
}

async fn reused(world: &mut World) -> Row {
    let request = DepositAccountRequest { request_id: "once".to_owned(), ..deposit("1", "1") };
    world.bank.deposit_account(request.clone()).await.unwrap();
    let other = DepositAccountRequest { amount: "2".to_owned(), ..request };
    Row::call(world.bank.deposit_account(other).await)
}

async fn decided(world: &mut World) -> Row {
    let request = TransferRequest {
        source: "1".to_owned(),
        destination: "2".to_owned(),
        amount: "1".to_owned(),
        ..Default::default()
    };
    let transfer = world.bank.transfer(request).await.unwrap().into_inner().transfer;
    let resolution = TransferResolution::Abort.into();
    let request = ResolveTransferRequest { transfer, resolution, request_id: String::new() };
    let channel = channel(world.server.address()).await;
    Row::call(ClusterServiceClient::new(channel).resolve_transfer(request).await)
}

async fn aborted(world: &mut World) -> Row {
    use OperationKind::{Deposit, Withdraw};
    let commands = vec![command(Deposit, 2, 1), command(Withdraw, 2, 2)];
    let request = ExecuteBatchRequest { atomic: true, commands, ..Default::default() };
    let reply = world.bank.execute_batch(request).await.unwrap().into_inner();
    let told = Told::Command(reply.results[0].error.clone().unwrap());
    Row { told, field: None, metadata: &["failed"], later: false }
}

async fn unknown_call(world: &World) -> Row {
    let raw = Raw::connect(world.server.address()).await;
    Row::call(Err::<(), _>(raw.call("/bank.v1.BankService/Nothing", &[], &()).await.grpc()))
}

async fn outcome_unknown(world: &mut World) -> Row {
    let request = DepositAccountRequest { request_id: "late".to_owned(), ..deposit("1", "0.01") };
    let row = hurried(world, Reason::OutcomeUnknown, "DepositAccount", &request).await;
    // It was in the log, so it took effect; the same id again says so and adds nothing.
    let again = world.bank.deposit_account(request).await.unwrap().into_inner();
    assert_eq!((again.balance.as_str(), again.replayed), ("10.01", true));
    row
}

async fn foreign_session(world: &mut World) -> Row {
    let other = Server::start();
    let mut bank = other.client().await;
    let session_token =
        bank.open_account(OpenAccountRequest::default()).await.unwrap().into_inner().session_token;
    let request = DepositAccountRequest { session_token, ..deposit("1", "1") };
    Row::call(world.bank.deposit_account(request).await)
}

async fn overloaded() -> Row {
    let server = Server::with(1, Limits { calls_per_thread: 0, ..Limits::default() });
    let mut bank = server.client().await;
    Row::call(bank.deposit_account(deposit("1", "1")).await)
}

async fn stopping() -> Row {
    let server = Server::start();
    let mut bank = server.client().await;
    let mut feed = bank.watch_journal(WatchJournalRequest::default()).await.unwrap().into_inner();
    server.shut_down();
    loop {
        if let Err(status) = feed.message().await {
            return Row::call(Err::<(), _>(status));
        }
    }
}

/// Makes a call with very little time while the branch is busy, until the time is too short.
async fn hurried(world: &World, reason: Reason, call: &str, message: &impl prost::Message) -> Row {
    let busy = ExecuteBatchRequest {
        commands: vec![command(OperationKind::Deposit, 2, 1); 8_192],
        ..Default::default()
    };
    let raw = Raw::connect(world.server.address()).await;
    let path = format!("/bank.v1.BankService/{call}");
    for _ in 0..1_000 {
        let mut others: Vec<Bank> = vec![world.bank.clone(); 4];
        let load = futures::future::join_all(others.iter_mut().map(|bank| bank.execute_batch(busy.clone())));
        let (_, answer) = tokio::join!(load, raw.call(&path, &[("grpc-timeout", "3m")], message));
        let status = answer.grpc();
        if status.code() != Code::Ok && from_status(&status).reason == reason {
            return Row::call(Err::<(), _>(status));
        }
    }
    panic!("no call was too short of time");
}

/// Executes more commands than the journal holds records and the ledger remembers outcomes.
async fn after_a_million_commands(reason: Reason) -> Row {
    const BATCHES: u64 = 130;
    let server = Server::with(1, Limits::default());
    let mut bank = server.client().await;
    for _ in 0..3 {
        open(&mut bank, "1").await;
    }
    let batches = (1..=BATCHES).map(|number| SubmitRequest {
        number,
        commands: vec![command(OperationKind::Deposit, 1, 1); 8_192],
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    });
    let mut replies = bank.submit(tokio_stream::iter(batches)).await.unwrap().into_inner();
    while let Some(reply) = replies.next().await {
        assert_eq!(reply.unwrap().error, None);
    }
    if reason == Reason::RequestExpired {
        // Made in 2024, long before what is remembered.
        let request_id = "018cc251-f400-7abc-8def-0123456789ab".to_owned();
        let request = DepositAccountRequest { request_id, ..deposit("2", "1") };
        let row = Row::call(bank.deposit_account(request).await).with(&["forgotten_until_micros"]);
        assert_eq!(balance(&mut bank, "2").await, "1.00");
        return row;
    }
    bank.deposit_account(deposit("3", "1")).await.unwrap();
    let entries = |account: &str, order, page_token: String| ListEntriesRequest {
        account: account.to_owned(),
        order,
        page_token,
        page_size: 5,
        ..Default::default()
    };
    // What is still held is shown, and the page after it says that the rest is gone.
    let held = bank.list_entries(entries("3", 1, String::new())).await.unwrap().into_inner();
    assert_eq!((held.entries.len(), held.entries[0].balance.as_str()), (1, "2.00"));
    for request in [
        entries("3", 1, held.next_page_token),
        entries("1", 2, String::new()),
        entries("2", 1, String::new()),
    ] {
        let status = bank.list_entries(request).await.unwrap_err();
        assert_eq!(from_status(&status).reason, Reason::JournalTrimmed);
    }
    // An account that was opened since is shown from its first entry.
    let young = open(&mut bank, "7").await;
    let shown = bank.list_entries(entries(&young, 2, String::new())).await.unwrap().into_inner();
    assert_eq!((shown.entries.len(), shown.next_page_token.as_str()), (1, ""));
    let request = WatchJournalRequest { from_sequence: 1, ..Default::default() };
    Row::call(bank.watch_journal(request).await).with(&["first"])
}

fn check(reason: Reason, row: &Row) {
    let metadata = match &row.told {
        Told::Call(status) => {
            let details = status.get_error_details();
            let info = details.error_info().unwrap_or_else(|| panic!("{reason:?}: no ErrorInfo"));
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), ERROR_DOMAIN));
            assert_eq!(status.code() as i32, reason.code() as i32, "{reason:?}");
            assert_eq!(status.metadata().get(REASON_TRAILER).unwrap(), reason.as_str());
            let failure = from_status(status);
            assert_eq!(failure.field.as_deref(), row.field, "{reason:?}");
            assert_eq!(failure.retry_after.is_some(), row.later, "{reason:?}: RetryInfo");
            assert!(!failure.message.is_empty());
            failure.metadata.into_iter().collect()
        }
        Told::Command(error) => {
            assert_eq!(error.reason, reason.as_str());
            assert!(!error.message.is_empty());
            error.metadata.clone()
        }
    };
    for key in row.metadata.iter().chain(row.field.is_some().then_some(&"field")) {
        assert!(metadata.contains_key(*key), "{reason:?}: no {key} in {metadata:?}");
    }
}

#[tokio::test]
async fn every_reason_looks_on_the_wire_as_the_catalogue_says() {
    for reason in Reason::ALL {
        let mut world = World::new().await;
        if let Some(row) = provoke(&mut world, *reason).await {
            check(*reason, &row);
        }
    }
}

#[tokio::test]
async fn a_wrong_amount_changes_nothing() {
    use Reason::{AmountMissing, AmountNotPositive, AmountOverflow, AmountPrecision, AmountSyntax};
    let table = [
        ("", AmountMissing),
        ("0", AmountNotPositive),
        ("-1", AmountNotPositive),
        ("+1", AmountSyntax),
        ("1e3", AmountSyntax),
        ("1.234", AmountPrecision),
        (".5", AmountSyntax),
        ("1.", AmountSyntax),
        (" 1", AmountSyntax),
        ("NaN", AmountSyntax),
        ("١", AmountSyntax),
        ("999999999999999999999", AmountOverflow),
    ];
    let mut world = World::new().await;
    for (amount, reason) in table {
        let rows = [
            world.deposit("1", amount).await,
            Row::call(world.bank.withdraw_account(withdraw("1", amount)).await),
            world.transfer("1", "2", amount).await,
        ];
        for row in rows {
            check(reason, &row.in_field("amount"));
        }
        if !amount.is_empty() {
            let request = OpenAccountRequest { deposit: amount.to_owned(), ..Default::default() };
            check(reason, &world.open(request).await.in_field("deposit"));
        }
        assert_eq!(balance(&mut world.bank, "1").await, "10.00", "{amount:?}");
    }
    assert_eq!(balance(&mut world.bank, "2").await, "0.00");
}

#[tokio::test]
async fn a_request_id_from_the_future_is_refused() {
    let mut world = World::new().await;
    let ahead = std::time::SystemTime::now() + Duration::from_secs(7_200);
    let seconds = ahead.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    let request = DepositAccountRequest { request_id: id.to_string(), ..deposit("1", "1") };
    let row = Row::call(world.bank.deposit_account(request).await).with(&["made_micros", "now_micros"]);
    check(Reason::RequestIdInvalid, &row);
}
