//! The client library: what REPL, commands, scenarios and the REST bridge stand on.
//!
//! It keeps connections to the servers of a branch, fails over between them, names every write before
//! the first attempt, repeats an attempt only where that is safe, and keeps the session. It decides
//! nothing about money: accounts and amounts pass as text, so that every refusal is the server's.
//!
//! Architecture invariant: knows `wire` and `model` only, and lets no proto type out.

mod calls;
mod cluster;
mod convert;
mod exchange;
mod export;
mod new_file;
mod probe;
mod retry;
mod servers;
mod submit;
mod trace;
mod types;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::model::{BranchName, Failure, Session};
use crate::wire::BRANCH_HEADER;
use crate::wire::proto::v1::bank_service_client::BankServiceClient;

use convert::Reply;
use retry::{Course, Next, Verdict, judge};
use servers::Servers;

pub use export::{Export, ExportFormat, ExportPiece, csv_number, csv_text, json_text, time_text};
pub use new_file::{NewFile, is_written_in_place, place_of, remove_unfinished};
pub use probe::{BatchAnswer, BatchFrame, Missed, Probe, ProbeStream};
pub use servers::InProcess;
pub use submit::{Submission, Submitted};
pub use trace::{TraceEvents, Traced};
pub use types::*;
pub use watch::{JournalReading, Watch};

/// Time for a call when nothing else is said; also the server's own default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call goes on that reaches no server at all, when nothing else is said.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(1);
/// Largest reply: a batch of 8,192 refusals with their messages fits.
const REPLY_BYTES: usize = 16 * 1024 * 1024;

/// How a client reaches the bank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `HOST:PORT` of each server, in the order in which they are tried.
    pub servers: Vec<String>,
    /// Time for one call with all its attempts.
    pub timeout: Duration,
    /// How long a call goes on that reaches no server at all.
    pub patience: Duration,
    /// Connections to each server; 4 under load, because one alone goes in lock-step.
    pub connections: usize,
    /// The branch that is meant. A server of another one refuses the call (`BRANCH_UNKNOWN`) instead of passing it on.
    pub branch: Option<BranchName>,
}

impl Config {
    /// The usual configuration for these servers.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Config {
        Config {
            servers: servers.into_iter().map(Into::into).collect(),
            timeout: DEFAULT_TIMEOUT,
            patience: DEFAULT_PATIENCE,
            connections: 1,
            branch: None,
        }
    }
}

/// A client of the bank. Clones share connections and session. Its connections belong to the runtime
/// of its first call.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    servers: Servers,
    branch: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    patience: Duration,
    session: Mutex<Session>,
}

type Bank = BankServiceClient<Channel>;

impl Client {
    /// A client that connects when the first call is made.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` when no server is named, or one not as `HOST:PORT`.
    pub fn new(config: &Config) -> Result<Client, Failure> {
        Ok(Client {
            shared: Arc::new(Shared {
                servers: Servers::new(&config.servers, config.connections)?,
                // The name of a branch has letters that every header takes.
                branch: config.branch.as_ref().and_then(|branch| branch.as_str().parse().ok()),
                timeout: config.timeout,
                patience: config.patience,
                session: Mutex::default(),
            }),
        })
    }

    /// A client of the server of this process.
    #[must_use]
    pub fn in_process(way: InProcess, connections: usize) -> Client {
        Client {
            shared: Arc::new(Shared {
                servers: Servers::in_process(way, connections),
                branch: None,
                timeout: DEFAULT_TIMEOUT,
                patience: DEFAULT_PATIENCE,
                session: Mutex::default(),
            }),
        }
    }

    /// The server that the next call asks first.
    #[must_use]
    pub fn server(&self) -> String {
        self.shared.servers.preferred().1.address().to_owned()
    }

    /// The session as a token; empty when nothing has been seen.
    #[must_use]
    pub fn session_token(&self) -> String {
        let session = self.shared.session.lock();
        if *session == Session::default() { String::new() } else { session.token() }
    }

    /// Adds what a token has seen to the session, as from another process.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` when the text is no session token.
    pub fn resume_session(&self, token: &str) -> Result<(), Failure> {
        let other = Session::parse(token)?;
        self.shared.session.lock().merge(&other);
        Ok(())
    }

    /// Starts a new session, after `SESSION_UNKNOWN` or whenever the caller wants.
    pub fn forget_session(&self) {
        *self.shared.session.lock() = Session::default();
    }

    /// A new request id, as the client itself makes one for every write that has none.
    #[must_use]
    pub fn new_request_id() -> String {
        Uuid::now_v7().to_string()
    }

    fn token_for(&self, options: &Options) -> String {
        options.session_token.clone().unwrap_or_else(|| self.session_token())
    }

    /// Adds what a reply showed. A token of a form that only a newer server knows is left out; the
    /// reply still carries it to the caller.
    fn saw(&self, token: &str) {
        if let Ok(seen) = Session::parse(token) {
            self.shared.session.lock().merge(&seen);
        }
    }

    /// Makes a call: attempt after attempt until the server decides or the time is up.
    async fn call<Q, R, F, Answer>(
        &self,
        options: &Options,
        request_id: Option<&str>,
        message: Q,
        rpc: F,
    ) -> Result<R, Failure>
    where
        Q: Clone,
        R: Reply,
        F: Fn(Bank, Request<Q>) -> Answer,
        Answer: Future<Output = Result<Response<R>, Status>>,
    {
        let reply = self
            .attempts(options, request_id, |channel, limit| {
                let mut request = self.request(message.clone(), limit);
                if let Some(traced) = &options.trace {
                    traced.put(request.metadata_mut());
                }
                rpc(bank(channel), request)
            })
            .await?
            .into_inner();
        self.saw(reply.session_token());
        Ok(reply)
    }

    /// A request with its time limit, to the branch that is meant.
    fn request<Q>(&self, message: Q, limit: Duration) -> Request<Q> {
        let mut request = Request::new(message);
        request.set_timeout(limit);
        if let Some(branch) = &self.shared.branch {
            request.metadata_mut().insert(BRANCH_HEADER, branch.clone());
        }
        request
    }

    async fn attempts<R, Answer: Future<Output = Result<R, Status>>>(
        &self,
        options: &Options,
        request_id: Option<&str>,
        attempt: impl Fn(Channel, Duration) -> Answer,
    ) -> Result<R, Failure> {
        let Shared { servers, timeout, patience, .. } = &*self.shared;
        let timeout = options.timeout.unwrap_or(*timeout);
        let mut course = Course::new(Instant::now(), timeout, *patience, request_id, servers.count());
        loop {
            let (place, server) = servers.preferred();
            let limit = course.attempt_timeout(Instant::now());
            let wire = server.wire();
            let began = wire.dialed();
            let verdict = match tokio::time::timeout(limit, attempt(wire.channel(), limit)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(status)) => judge(&status),
                Err(_) if wire.dialed().never_connected_since(began) => {
                    Verdict::NotSent(format!("no connection for {} ms", limit.as_millis()))
                }
                Err(_) => Verdict::Unheard(format!("nothing for {} ms", limit.as_millis())),
            };
            match course.after(verdict, server.address(), Instant::now()) {
                Next::GiveUp(failure) => return Err(failure),
                Next::Again { elsewhere, pause } => {
                    if elsewhere {
                        servers.turn_from(place);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

fn bank(channel: Channel) -> Bank {
    BankServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn calls_can_be_spawned_on_any_runtime() {
        fn spawnable<T: Send>(_: &T) {}
        let client = Client::new(&Config::new(["127.0.0.1:1"])).unwrap();
        let options = Options::default();
        spawnable(&client.deposit("1", "1", &options));
        spawnable(&client.health(&options));
        spawnable(&client.watch(0, "", &options).next());
        spawnable(&client.submit(futures::stream::pending(), &options).next());
    }

    #[test]
    fn a_session_goes_from_one_client_to_another() {
        let (first, second) =
            (Client::new(&Config::new(["a:1"])).unwrap(), Client::new(&Config::new(["a:1"])).unwrap());
        let mut session = Session::default();
        session.saw(&"main".parse().unwrap(), crate::model::LedgerId([1; 16]), crate::model::Sequence(5));
        first.saw(&session.token());
        assert_eq!(first.session_token(), session.token());
        second.resume_session(&first.session_token()).unwrap();
        assert_eq!(second.session_token(), session.token());
        second.forget_session();
        assert_eq!(second.session_token(), "");
        assert!(second.resume_session("no token").is_err());
    }

    /// A listener that takes connections and drops each when the first bytes have come.
    async fn rude_server() -> (String, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.readable().await.unwrap();
            }
        });
        (address, task)
    }

    fn quick(servers: &[&str]) -> Client {
        let config = Config {
            timeout: Duration::from_millis(300),
            patience: Duration::from_millis(100),
            ..Config::new(servers.iter().copied())
        };
        Client::new(&config).unwrap()
    }

    #[tokio::test]
    async fn nobody_listening_means_unreachable_for_reads_and_writes() {
        // A port that was free a moment ago; nothing else in this process binds it again.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let client = quick(&[&address]);
        let named = Options { request_id: Some("mine".to_owned()), ..Options::default() };
        let write = client.deposit("1", "1", &named).await.unwrap_err();
        assert_eq!(
            (write.reason, write.metadata["server"].as_str()),
            (Reason::Unreachable, address.as_str())
        );
        assert_eq!(write.metadata["request_id"], "mine");
        let read = client.balance("1", &Options::default()).await.unwrap_err();
        assert_eq!(read.reason, Reason::Unreachable);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_sending_leaves_a_write_unknown_and_a_read_undone() {
        let (address, server) = rude_server().await;
        let client = quick(&[&address]);
        let named = Options { request_id: Some("mine".to_owned()), ..Options::default() };
        let write = client.deposit("1", "1", &named).await.unwrap_err();
        assert_eq!((write.reason, write.metadata["request_id"].as_str()), (Reason::OutcomeUnknown, "mine"));
        let read = client.balance("1", &Options::default()).await.unwrap_err();
        assert_eq!(read.reason, Reason::Unreachable);
        server.abort();
    }
}
