//! Servers and clients for the tests: in this process, as a process of its own, and frame by frame.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::{Child, Command, ExitStatus, Stdio};

use bank::model::{Failure, Reason};
use bank::server::{self, Config, Limits};
use bank::wire::from_status;
use bank::wire::proto::v1::bank_service_client::BankServiceClient;
pub(crate) use bank::wire::proto::v1::{BatchCommand, DepositAccountRequest, WithdrawAccountRequest};
use bank::wire::proto::v1::{GetBalanceRequest, OpenAccountRequest, OperationKind};
use bytes::Bytes;
use http::HeaderMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

pub(crate) type Bank = BankServiceClient<Channel>;

/// A server in this process. It stops when it is dropped.
pub(crate) struct Server {
    inner: server::Server,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(2, Limits::default())
    }

    pub(crate) fn with(threads: usize, limits: Limits) -> Server {
        Server::on(0, threads, limits)
    }

    /// A server on a port, for one that comes back where another has been.
    pub(crate) fn on(port: u16, threads: usize, limits: Limits) -> Server {
        let threads = NonZeroUsize::new(threads).unwrap();
        Server::of(&Config { port, threads, limits, ..Config::new("main".parse().unwrap()) })
    }

    /// Any server.
    pub(crate) fn of(config: &Config) -> Server {
        Server { inner: server::start(config).unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// A client with a connection of its own.
    pub(crate) async fn client(&self) -> Bank {
        client(self.address()).await
    }

    /// Begins to stop.
    pub(crate) fn shut_down(&self) {
        self.inner.shutdown().cancel();
    }

    /// Stops and waits for the end.
    pub(crate) async fn stop(self) {
        self.shut_down();
        tokio::task::spawn_blocking(move || self.inner.wait()).await.unwrap().unwrap();
    }
}

/// Ports that were free a moment ago; the system does not give them out again at once.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A server of one branch that knows the way to another one.
pub(crate) fn server_of_two(branch: &str, port: u16, other: &str, other_port: u16) -> Server {
    let routes = [(other.parse().unwrap(), vec![format!("127.0.0.1:{other_port}")])];
    let threads = NonZeroUsize::new(2).unwrap();
    let plain = Config::new(branch.parse().unwrap());
    Server::of(&Config { port, threads, routes: routes.into_iter().collect(), ..plain })
}

/// A server of mumbai and one of delhi that know each other.
pub(crate) fn two_branches() -> [Server; 2] {
    let [mumbai, delhi] = free_ports();
    [server_of_two("mumbai", mumbai, "delhi", delhi), server_of_two("delhi", delhi, "mumbai", mumbai)]
}

/// A client of the client library.
pub(crate) fn client_of(server: &Server) -> bank::client::Client {
    let address = server.address().to_string();
    bank::client::Client::new(&bank::client::Config::new([address])).unwrap()
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub(crate) async fn client(address: SocketAddr) -> Bank {
    BankServiceClient::new(channel(address).await)
}

/// The real program. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) line: String,
}

/// How a program ended and what it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn bank_server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank-server"));
    for name in ["BANK_HOST", "BANK_PORT", "BANK_THREADS", "BANK_BRANCH", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    /// As [`Process::start`], in a process that can have no more than this many files open.
    pub(crate) fn with_descriptors(most: u64, arguments: &[&str]) -> Process {
        let shell = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &shell, env!("CARGO_BIN_EXE_bank-server")])
            .args(arguments)
            .env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Process { child, line }
    }

    /// The most memory that it has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1_024
    }

    /// Starts the server and waits for the line that says where it listens.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut child = bank_server(arguments).envs(environment.iter().copied()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Process { child, line }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let text = self.line.split_whitespace().nth(3).unwrap_or_else(|| panic!("{:?}", self.line));
        text.parse().unwrap_or_else(|_| panic!("{:?}", self.line))
    }

    /// Sends a signal, as `kill` names it.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let (mut stdout, mut stderr) = (self.line.clone(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { status, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let output = bank_server(arguments).envs(environment.iter().copied()).output().unwrap();
    Ended {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The refusal of a call that must not succeed.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> Failure {
    from_status(&result.expect_err("the call must be refused"))
}

pub(crate) fn reason<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> Reason {
    refusal(result).reason
}

/// Opens an account with money in it and returns its number in full form.
pub(crate) async fn open(bank: &mut Bank, deposit: &str) -> String {
    let request = OpenAccountRequest { deposit: deposit.to_owned(), ..OpenAccountRequest::default() };
    bank.open_account(request).await.unwrap().into_inner().account
}

pub(crate) async fn balance(bank: &mut Bank, account: &str) -> String {
    let request = GetBalanceRequest { account: account.to_owned(), ..GetBalanceRequest::default() };
    bank.get_balance(request).await.unwrap().into_inner().balance
}

pub(crate) fn deposit(account: &str, amount: &str) -> DepositAccountRequest {
    DepositAccountRequest {
        account: account.to_owned(),
        amount: amount.to_owned(),
        ..DepositAccountRequest::default()
    }
}

pub(crate) fn withdraw(account: &str, amount: &str) -> WithdrawAccountRequest {
    WithdrawAccountRequest {
        account: account.to_owned(),
        amount: amount.to_owned(),
        ..WithdrawAccountRequest::default()
    }
}

/// A command of a batch that concerns one account and moves minor units.
pub(crate) fn command(kind: OperationKind, account: u64, amount: i64) -> BatchCommand {
    BatchCommand { kind: kind.into(), account, amount, ..BatchCommand::default() }
}

/// An answer as it stood on the wire.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: http::StatusCode,
    /// Headers and trailers together.
    pub(crate) headers: HeaderMap,
}

impl RawAnswer {
    pub(crate) fn failure(&self) -> Failure {
        from_status(&self.grpc())
    }

    pub(crate) fn grpc(&self) -> Status {
        Status::from_header_map(&self.headers).unwrap_or_else(|| panic!("no gRPC status: {self:?}"))
    }
}

/// A connection that sends frames by hand.
pub(crate) struct Raw {
    sender: h2::client::SendRequest<Bytes>,
    address: SocketAddr,
}

/// A call whose message is sent by hand.
pub(crate) struct RawCall {
    pub(crate) body: h2::SendStream<Bytes>,
    response: h2::client::ResponseFuture,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        // Ends with the connection, however that ends.
        tokio::spawn(async move { drop(connection.await) });
        Raw { sender, address }
    }

    /// A request that is no gRPC call.
    pub(crate) async fn browse(&self, path: &str) -> RawAnswer {
        let request = http::Request::get(format!("http://{}{path}", self.address)).body(()).unwrap();
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (response, body) = sender.send_request(request, true).unwrap();
        RawCall { body, response }.answer().await.unwrap()
    }

    /// Begins a call; nothing of its message is sent yet.
    pub(crate) async fn begin(&self, path: &str, headers: &[(&str, &str)]) -> RawCall {
        let mut request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (response, body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        RawCall { body, response }
    }

    /// A call with a whole message.
    pub(crate) async fn call(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        message: &impl prost::Message,
    ) -> RawAnswer {
        self.bytes(path, headers, framed(&message.encode_to_vec())).await
    }

    /// A call with these bytes, whatever they are.
    pub(crate) async fn bytes(&self, path: &str, headers: &[(&str, &str)], bytes: Bytes) -> RawAnswer {
        let mut call = self.begin(path, headers).await;
        // A server that refuses early may reset the stream, which the answer shows.
        let _ = call.body.send_data(bytes, true);
        call.answer().await.unwrap()
    }
}

impl RawCall {
    pub(crate) async fn answer(self) -> Result<RawAnswer, h2::Error> {
        let (parts, mut body) = self.response.await?.into_parts();
        let mut headers = parts.headers;
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        headers.extend(body.trailers().await?.unwrap_or_default());
        Ok(RawAnswer { status: parts.status, headers })
    }
}

/// A message in its gRPC frame.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], length.to_be_bytes().as_slice(), message].concat().into()
}
