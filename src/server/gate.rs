//! The gate: every call of a connection passes here on its way to its service.
//!
//! It bounds what is in flight, passes what is no gRPC call to the gateway, and sees to it that every refusal
//! carries a reason of the catalogue, also those that the gRPC machinery writes by itself.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Request, Response, Version};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic_health::pb::health_server::{HealthServer, SERVICE_NAME as HEALTH};
use tonic_health::server::HealthService;
use tower::Service as _;
use tower::util::BoxCloneSyncService;

use super::body::{Holds, InFlight, Outbound, Readers};
use super::budget::{Budgets, Charge};
use super::callers::Taken;
use super::inbound::{Expected, Inbound, Metered};
use super::pulse::Watched;
use crate::api::{BankApi, BranchApi, ClusterApi, CompatApi, DEFAULT_DEADLINE, call_timeout};
use crate::gateway::Gateway;
use crate::model::limits::{BATCH_MESSAGE_BYTES, UNARY_MESSAGE_BYTES};
use crate::model::{BranchName, Code, Failure, Reason, Unavailable};
use crate::replication::{PEER_MESSAGE_BYTES, PeerApi};
use crate::transfer::{EXCHANGE_MESSAGE_BYTES, TransferApi};
use crate::wire::proto::branch::branch_server::{BranchServer, SERVICE_NAME as BRANCH};
use crate::wire::proto::compat::bank_account_service_server::{
    BankAccountServiceServer, SERVICE_NAME as COMPAT,
};
use crate::wire::proto::example::branch_server::SERVICE_NAME as EXAMPLE;
use crate::wire::proto::peer::peer_service_server::{PeerServiceServer, SERVICE_NAME as PEER};
use crate::wire::proto::peer::transfer_service_server::{SERVICE_NAME as TRANSFER, TransferServiceServer};
use crate::wire::proto::read_your_writes::bank_service_server::SERVICE_NAME as READ_YOUR_WRITES;
use crate::wire::proto::v1::bank_service_server::{BankServiceServer, SERVICE_NAME as BANK};
use crate::wire::proto::v1::cluster_service_server::{ClusterServiceServer, SERVICE_NAME as CLUSTER};
use crate::wire::{BRANCH_HEADER, REASON_TRAILER, dress, to_status, to_status_as};

/// How long a message may take to arrive.
const BODY: Duration = Duration::from_secs(10);
/// How long one of a replica may take, which can be much larger.
const PEER_BODY: Duration = Duration::from_secs(60);
/// When a call that was turned away should come again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// When a feed that was turned away should come again.
const RETRY_FEED: Duration = Duration::from_secs(5);
/// Most feeds of one address at a time: a browser opens six at most, and a few people may share an address.
const FEEDS_PER_ADDRESS: usize = 32;
/// The media types of calls over gRPC. Whoever speaks another dialect of it could not read the answer, and would send
/// the call again.
const GRPC: [&str; 2] = ["application/grpc", "application/grpc+proto"];
/// The media type of answers that go on for ever.
const EVENTS: &str = "text/event-stream";

/// A service that is not worth a type of its own here.
pub(super) type Other = BoxCloneSyncService<Request<Inbound>, Response<Body>, Infallible>;

/// The services of one thread.
pub(super) struct Gate {
    pub(super) bank: BankServiceServer<BankApi>,
    pub(super) compat: BankAccountServiceServer<CompatApi>,
    pub(super) branch: BranchServer<BranchApi>,
    pub(super) cluster: ClusterServiceServer<ClusterApi>,
    /// The service for the other replicas; a server without a list of peers has none.
    pub(super) peer: Option<PeerServiceServer<PeerApi>>,
    /// The service for other branches; a server that knows no way to one has none.
    pub(super) transfer: Option<TransferServiceServer<TransferApi>>,
    /// The branch served here.
    pub(super) home: BranchName,
    pub(super) health: HealthServer<HealthService>,
    /// Reflection and the rarer contracts of older clients, by service name.
    pub(super) others: Vec<(&'static str, Other)>,
    /// How many calls of this thread are in flight.
    pub(super) in_flight: Arc<AtomicUsize>,
    /// How many requests of the gateway are being answered; each makes calls of its own.
    pub(super) http_in_flight: Arc<AtomicUsize>,
    /// Most calls of this thread in flight.
    pub(super) limit: usize,
    /// What all threads of the server share.
    pub(super) watched: Arc<Watched>,
    /// Ends streams that would go on for ever.
    pub(super) closing: CancellationToken,
}

/// What the gate must know of a call before its service sees it.
struct Traits {
    /// Most bytes of a message.
    limit: usize,
    /// Whether the caller sends a stream.
    sends_stream: bool,
    /// Whether the answer is a stream.
    answers_stream: bool,
}

fn traits(path: &str) -> Traits {
    let unary = Traits { limit: UNARY_MESSAGE_BYTES, sends_stream: false, answers_stream: false };
    let stream = Traits { sends_stream: true, answers_stream: true, ..unary };
    match path {
        "/bank.v1.BankService/ExecuteBatch" => Traits { limit: BATCH_MESSAGE_BYTES, ..unary },
        "/bank.peer.v1.PeerService/Call" => Traits { limit: PEER_MESSAGE_BYTES, ..unary },
        "/bank.peer.v1.TransferService/Exchange" => Traits { limit: EXCHANGE_MESSAGE_BYTES, ..unary },
        "/bank.peer.v1.PeerService/Stream" => Traits { limit: PEER_MESSAGE_BYTES, ..stream },
        "/bank.v1.BankService/Submit" => Traits { limit: BATCH_MESSAGE_BYTES, ..stream },
        "/bank.v1.BankService/WatchJournal" | "/grpc.health.v1.Health/Watch" => {
            Traits { answers_stream: true, ..unary }
        }
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        | "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => stream,
        _ => unary,
    }
}

/// The gate as one connection sees it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) gate: Arc<Gate>,
    /// Where requests go that are no gRPC calls; the gateway's own connection has none.
    pub(super) gateway: Option<Arc<Gateway>>,
    /// Who is at the other end; nobody else on the gateway's own connection.
    pub(super) visitor: Option<Visitor>,
}

/// The other end of a connection.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) address: IpAddr,
    /// Which answers it has not read.
    pub(super) readers: Arc<Readers>,
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Outbound>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Outbound>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (gate, visitor) = (Arc::clone(&self.gate), self.visitor.clone());
        match &self.gateway {
            Some(gateway) if !is_grpc(request.headers()) => {
                let gateway = Arc::clone(gateway);
                Box::pin(async move { Ok(gate.show(&gateway, visitor, request).await) })
            }
            // A page of another site can send what a browser sends: HTTP/1, or whatever carries its origin.
            Some(gateway)
                if request.version() < Version::HTTP_2 || request.headers().contains_key(ORIGIN) =>
            {
                let refused = gateway.refusal(&request);
                match refused {
                    Some(refused) => {
                        Box::pin(std::future::ready(Ok(refused.map(|body| whole(Body::new(body))))))
                    }
                    None => Box::pin(async move { Ok(gate.pass(visitor, request).await) }),
                }
            }
            Some(_) | None => Box::pin(async move { Ok(gate.pass(visitor, request).await) }),
        }
    }
}

impl Gate {
    /// Lets the gateway answer.
    async fn show(
        &self,
        gateway: &Gateway,
        visitor: Option<Visitor>,
        request: Request<Incoming>,
    ) -> Response<Outbound> {
        let Some(counted) = InFlight::enter(&self.http_in_flight, self.limit) else {
            return Gateway::overloaded().map(|body| whole(Body::new(body)));
        };
        let charge = Charge::new(&self.watched.budgets.small);
        let metered = |body| axum::body::Body::new(Metered::new(body, Arc::clone(&charge)));
        let response = gateway.answer(request.map(metered)).await;
        if charge.is_refused() {
            return Gateway::overloaded().map(|body| whole(Body::new(body)));
        }
        let endless = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == EVENTS);
        let Ok(stream) = self.stream(visitor.as_ref(), endless) else {
            return Gateway::overloaded().map(|body| whole(Body::new(body)));
        };
        let closing = endless.then(|| self.closing.clone().cancelled_owned());
        let holds = Holds {
            counted: Some(counted),
            stream,
            budget: Some(Arc::clone(&self.watched.budgets.answers)),
            readers: visitor.map(|visitor| visitor.readers),
            ..Holds::default()
        };
        response.map(|body| Outbound::new(Body::new(body), holds, closing))
    }

    async fn pass(&self, visitor: Option<Visitor>, request: Request<Incoming>) -> Response<Outbound> {
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
        let ours = matches!(service, BANK | COMPAT | BRANCH | EXAMPLE | READ_YOUR_WRITES | CLUSTER);
        if let Some(failure) = self.misdirected(request.headers()) {
            return refuse(&failure);
        }
        let counted = InFlight::enter(&self.in_flight, self.limit);
        // Health must answer also when everything else is turned away; and what replicas and branches say to each
        // other is how the branch gets rid of its work.
        if counted.is_none() && !matches!(service, HEALTH | PEER | TRANSFER) {
            return refuse(&Unavailable::Overloaded { retry_after: RETRY_AFTER }.into());
        }
        let Traits { limit, sends_stream, answers_stream } = traits(path);
        let longest = if service == PEER { PEER_BODY } else { BODY };
        let patience = match call_timeout(request.headers().get("grpc-timeout").map(HeaderValue::as_bytes)) {
            Ok(Some(Duration::ZERO)) => return no_time(),
            Ok(_) if sends_stream => longest,
            Ok(timeout) => timeout.unwrap_or(DEFAULT_DEADLINE).min(longest),
            Err(failure) => return refuse(&failure),
        };
        let is_feed = service == BANK && answers_stream && !sends_stream;
        let stream = match self.stream(visitor.as_ref(), is_feed) {
            Ok(stream) => stream,
            Err(failure) => return refuse(&failure),
        };
        let Budgets { small, batches, peers, answers } = &self.watched.budgets;
        let budget = match service {
            PEER | TRANSFER => peers,
            _ if limit == BATCH_MESSAGE_BYTES => batches,
            _ => small,
        };
        let expected = Expected { limit, many: sends_stream, patience, budget: Arc::clone(budget) };
        let request = request.map(|body| Inbound::new(body, expected));
        let message = (!sends_stream).then(|| request.body().charge());
        // What has happened is told, whatever the size of the answer.
        let is_read = ours && limit == UNARY_MESSAGE_BYTES;
        let budget_of_answers = Arc::clone(answers);
        let response = self.dispatch(request).await;
        let response = if ours { dressed(response) } else { response };
        // Streams of ours end themselves, and say why.
        let closing = (answers_stream && !ours).then(|| self.closing.clone().cancelled_owned());
        let holds = Holds {
            counted: counted.filter(|_| answers_stream),
            message,
            stream,
            budget: is_read.then_some(budget_of_answers),
            trailers: true,
            readers: visitor.map(|visitor| visitor.readers),
        };
        response.map(|body| Outbound::new(body, holds, closing))
    }

    /// A place among the feeds of a caller, for an answer that is one.
    ///
    /// # Errors
    /// `OVERLOADED` when the caller has too many.
    fn stream(&self, visitor: Option<&Visitor>, is_feed: bool) -> Result<Option<Taken>, Failure> {
        let Some(visitor) = visitor.filter(|_| is_feed) else { return Ok(None) };
        let taken = self.watched.feeds.take(visitor.address, FEEDS_PER_ADDRESS);
        taken.map(Some).ok_or_else(|| Unavailable::Overloaded { retry_after: RETRY_FEED }.into())
    }

    /// Why a call is refused that another server has passed on to the wrong branch. Passed on again it could come
    /// here again, until its time is used up.
    fn misdirected(&self, headers: &HeaderMap) -> Option<Failure> {
        let meant = headers.get(BRANCH_HEADER)?;
        if meant.as_bytes() == self.home.as_str().as_bytes() {
            return None;
        }
        let meant = String::from_utf8_lossy(meant.as_bytes());
        let what = format!(
            "this server belongs to branch {}, not to {meant:?}; correct the --route of the server that sent the call here",
            self.home
        );
        Some(Failure::new(Reason::BranchUnknown, what).with("branch", meant))
    }

    async fn dispatch(&self, request: Request<Inbound>) -> Response<Body> {
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
        let Ok(response) = match service {
            BANK => self.bank.clone().call(request).await,
            COMPAT => self.compat.clone().call(request).await,
            BRANCH => self.branch.clone().call(request).await,
            CLUSTER => self.cluster.clone().call(request).await,
            PEER => match &self.peer {
                Some(peer) => peer.clone().call(request).await,
                None => Ok(to_status(&no_peers()).into_http()),
            },
            TRANSFER => match &self.transfer {
                Some(transfer) => transfer.clone().call(request).await,
                None => Ok(to_status(&no_routes()).into_http()),
            },
            HEALTH => self.health.clone().call(request).await,
            other => match self.others.iter().find(|(name, _)| *name == other) {
                Some((_, service)) => service.clone().call(request).await,
                None => Ok(to_status(&unknown_service(other)).into_http()),
            },
        };
        response
    }
}

/// A body that is no stream.
fn whole(body: Body) -> Outbound {
    Outbound::new(body, Holds::default(), None)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    GRPC.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

fn refuse(failure: &Failure) -> Response<Outbound> {
    to_status(failure).into_http().map(whole)
}

/// The answer to a call whose time is over when it comes.
fn no_time() -> Response<Outbound> {
    let failure = Failure::new(
        Reason::Overloaded,
        "the call came without any time left (grpc-timeout), so nothing happened; give it more",
    );
    to_status_as(&failure, Code::DeadlineExceeded).into_http().map(whole)
}

fn no_routes() -> Failure {
    let what =
        "this server takes no part in transfers between branches; start it with --route BRANCH=HOST:PORT";
    Failure::new(Reason::Unimplemented, what)
}

fn no_peers() -> Failure {
    let what = "this server was started without --peers and talks to no other replica";
    Failure::new(Reason::Unimplemented, what)
}

fn unknown_service(name: &str) -> Failure {
    Failure::new(
        Reason::Unimplemented,
        format!("the server has no service {name:?}; it serves {BANK} and lists all by reflection"),
    )
}

/// Gives a refusal that the gRPC machinery wrote by itself its place in the catalogue.
fn dressed(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key(Status::GRPC_STATUS) || headers.contains_key(REASON_TRAILER) {
        return response;
    }
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => dress(status).into_http(),
        Some(_) | None => response,
    }
}
