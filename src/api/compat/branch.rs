//! The branch processes that older customers' programs speak to: `Branch`, `example.Branch` and `bank.BankService`.
//!
//! All of them share one account. A write leaves its caller's id in the ledger, as the name of an empty piece of work
//! that is proposed when the write has been decided; so any replica can tell whether a write that a caller
//! lists is in its state, also after a restart. A reply reflects everything that was acknowledged before
//! the call, and waits for what its caller lists besides.

use std::time::Instant;

use tokio::sync::watch;
use tokio::time::timeout_at;
use tonic::{Request, Response, Status};

use crate::api::call::{DEFAULT_DEADLINE, timeout_of};
use crate::client::Client;
use crate::ledger::Shown;
use crate::model::{
    AccountNumber, Amount, Command, Failure, Money, NewAccount, Operation, Outcomes, Proposal, Reason,
    Receipt, Rejection, RequestId, Seen, Sequence, Work,
};
use crate::replication::{Lane, ReadPoint};
use crate::store::State;
use crate::wire::proto::branch::branch_server::Branch;
use crate::wire::proto::branch::{Reply, Request as BranchRequest};
use crate::wire::proto::{example, read_your_writes};
use crate::wire::to_status;

/// Most ids in one writeset.
const WRITES: usize = 65_536;
/// Cents of the whole units in which the older contract counts.
const UNIT: i64 = 100;

/// The service for the calls of one runtime. Cheap to clone.
#[derive(Clone)]
pub struct BranchApi {
    lane: Lane,
    account: Option<AccountNumber>,
    id: Option<u64>,
}

/// What an older customer wants.
struct Wish {
    interface: String,
    /// In whole units.
    money: i32,
    /// What writesets call it; none for a contract without writesets.
    id: Option<i32>,
    writeset: Vec<i32>,
}

/// The account after a call, and whether the call did what it should.
struct Done {
    success: bool,
    balance: Money,
}

impl BranchApi {
    /// The service on a lane, with the account that it serves, without which it refuses every call, and the id by which
    /// its callers know this branch.
    #[must_use]
    pub fn new(lane: Lane, account: Option<AccountNumber>, id: Option<u64>) -> BranchApi {
        BranchApi { lane, account, id }
    }

    /// Does what a call wants within its time.
    async fn call<T>(&self, request: Request<T>, wish: impl FnOnce(T) -> Wish) -> Result<Done, Status> {
        let timeout = timeout_of(request.metadata()).map_err(|failure| to_status(&failure))?;
        let deadline = Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE);
        let (api, wish) = (self.clone(), wish(request.into_inner()));
        // A write and its name belong together, though the caller goes away.
        let delivered = tokio::spawn(async move { api.deliver(&wish, deadline).await });
        let done = delivered.await.unwrap_or_else(|fault| {
            Err(Failure::new(Reason::Internal, format!("the call was not finished: {fault}")))
        });
        done.map_err(|failure| to_status(&failure))
    }

    async fn deliver(&self, wish: &Wish, deadline: Instant) -> Result<Done, Failure> {
        let Some(account) = self.account else {
            let what =
                "this server has no account for older branch clients; start it with --branch-account N";
            return Err(Failure::new(Reason::Unimplemented, what));
        };
        self.has(account, &wish.writeset, deadline).await?;
        let account = Shared { lane: &self.lane, account, deadline };
        account.opened().await?;
        let amount = Amount::from_minor(i64::from(wish.money) * UNIT).ok();
        let command = match (wish.interface.to_ascii_lowercase().as_str(), amount) {
            ("query", _) => return account.balance(true, ReadPoint::Latest).await,
            ("deposit", Some(amount)) => Command::Deposit { account: account.account, amount },
            ("withdraw", Some(amount)) => Command::Withdraw { account: account.account, amount },
            // Adding nothing is no reason to fail, and nothing that anybody could miss.
            ("deposit", None) => return account.balance(wish.money == 0, ReadPoint::Latest).await,
            _ => return account.balance(false, ReadPoint::Latest).await,
        };
        let done = account.change(command).await?;
        if let Some(id) = wish.id {
            account.execute(Some(name(account.account, id)?), Work::Independent(Vec::new())).await?;
        }
        Ok(done)
    }

    /// Returns when this replica has everything that was acknowledged, and the writes of these ids besides.
    async fn has(&self, account: AccountNumber, writes: &[i32], deadline: Instant) -> Result<(), Failure> {
        if writes.len() > WRITES {
            let what = format!("a writeset has at most {WRITES} ids");
            return Err(Failure::new(Reason::ArgumentInvalid, what).in_field("writeset"));
        }
        let names = writes.iter().map(|id| name(account, *id)).collect::<Result<Vec<_>, _>>()?;
        let missing = |state: &State| {
            let unseen = |name: &&RequestId| state.ledger.operation(name) == Operation::NeverSeen;
            names.iter().position(|name| unseen(&name))
        };
        let mut applied: watch::Receiver<Sequence> = self.lane.applied();
        let mut point = ReadPoint::Latest;
        while let (Some(place), _) = self.lane.read(point, deadline, missing).await? {
            let more = timeout_at(deadline.into(), applied.changed()).await;
            if !matches!(more, Ok(Ok(()))) {
                let what = format!("the write {} has not arrived here; ask again", writes[place]);
                return Err(Failure::new(Reason::ReplicaBehind, what).with("write", writes[place]));
            }
            point = ReadPoint::Local;
        }
        Ok(())
    }
}

/// What the ledger remembers the write of an older client by.
fn name(account: AccountNumber, id: i32) -> Result<RequestId, Failure> {
    Ok(format!("branch-{account}/{id}").parse()?)
}

/// The shared account during one call.
struct Shared<'a> {
    lane: &'a Lane,
    account: AccountNumber,
    deadline: Instant,
}

impl Shared<'_> {
    /// Opens the account if nobody has.
    async fn opened(&self) -> Result<(), Failure> {
        let known = |state: &State| state.ledger.account(self.account).is_some();
        if self.lane.read(ReadPoint::Local, self.deadline, known).await?.0 {
            return Ok(());
        }
        let new = NewAccount { number: Some(self.account), ..NewAccount::default() };
        let (outcomes, _) = self.execute(None, Work::One(Command::OpenAccount(Box::new(new)))).await?;
        match outcomes {
            Outcomes::One(Ok(_) | Err(Rejection::AccountExists { .. })) | Outcomes::Many(_) => Ok(()),
            Outcomes::One(Err(rejection)) => Err(Failure::from(&rejection)),
        }
    }

    async fn balance(&self, success: bool, point: ReadPoint) -> Result<Done, Failure> {
        let read = |accounts: &Shown<'_>| accounts.account(self.account);
        let (account, _) = self.lane.view(point, self.deadline, read).await?;
        let gone = || Failure::from(&Rejection::AccountNotFound { account: self.account });
        Ok(Done { success, balance: account.ok_or_else(gone)?.balance.balance })
    }

    async fn change(&self, command: Command) -> Result<Done, Failure> {
        // Its own, so that it is executed once whatever leads meanwhile.
        let request = Client::new_request_id().parse()?;
        match self.execute(Some(request), Work::One(command)).await? {
            (Outcomes::One(Ok(receipt)), _) => {
                let (Receipt::Deposited { balance, .. } | Receipt::Withdrawn { balance, .. }) = receipt
                else {
                    return Err(Failure::new(Reason::Internal, "a change was answered with another receipt"));
                };
                Ok(Done { success: true, balance })
            }
            (Outcomes::One(Err(_)) | Outcomes::Many(_), last) => {
                let ledger = self.lane.ledger()?;
                self.balance(false, ReadPoint::AtLeast(Seen { ledger, sequence: last })).await
            }
        }
    }

    async fn execute(&self, request: Option<RequestId>, work: Work) -> Result<(Outcomes, Sequence), Failure> {
        let proposal = Proposal { request, work };
        let reply = self.lane.execute(proposal, None, self.deadline).await?;
        Ok((reply.outcomes, reply.last))
    }
}

#[tonic::async_trait]
impl Branch for BranchApi {
    async fn msg_delivery(&self, request: Request<BranchRequest>) -> Result<Response<Reply>, Status> {
        let interface = request.get_ref().interface.clone();
        let wish = |BranchRequest { id, interface, money, writeset }| Wish {
            interface,
            money,
            id: Some(id),
            writeset,
        };
        let done = self.call(request, wish).await?;
        let (result, balance) = (word(done.success).to_owned(), whole_units(done.balance));
        Ok(Response::new(Reply { interface, result, balance }))
    }
}

fn wish(interface: &str, money: i32, id: Option<i32>) -> Wish {
    Wish { interface: interface.to_owned(), money, id, writeset: Vec::new() }
}

#[tonic::async_trait]
impl example::branch_server::Branch for BranchApi {
    async fn query(
        &self,
        request: Request<example::QueryRequest>,
    ) -> Result<Response<example::QueryReply>, Status> {
        let done = self.call(request, |_| wish("query", 0, None)).await?;
        let (balance, message) = (whole_units(done.balance), word(done.success).to_owned());
        Ok(Response::new(example::QueryReply { balance, message }))
    }

    async fn deposit(
        &self,
        request: Request<example::ChangeRequest>,
    ) -> Result<Response<example::ChangeReply>, Status> {
        let done = self.call(request, |change| wish("deposit", change.amount, Some(change.event_id))).await?;
        Ok(Response::new(example::ChangeReply { message: word(done.success).to_owned() }))
    }

    async fn withdraw(
        &self,
        request: Request<example::ChangeRequest>,
    ) -> Result<Response<example::ChangeReply>, Status> {
        let done =
            self.call(request, |change| wish("withdraw", change.amount, Some(change.event_id))).await?;
        Ok(Response::new(example::ChangeReply { message: word(done.success).to_owned() }))
    }

    async fn msg_delivery(
        &self,
        request: Request<example::DeliveryRequest>,
    ) -> Result<Response<example::DeliveryReply>, Status> {
        let message = request.get_ref();
        if !message.clock_interface.is_empty() {
            let what = "this message is one of the program about logical clocks (its field 6 is the interface), which is not served; play its file with bank-client run --format p2";
            return Err(to_status(&Failure::new(Reason::Unimplemented, what)));
        }
        if message.interface.is_empty() {
            let what = "the message says neither in field 2 (interface) nor in field 6 what to do; it is of no known program";
            let failure = Failure::new(Reason::ArgumentInvalid, what).in_field("interface");
            return Err(to_status(&failure));
        }
        // Whichever branch is meant: all replicas have the account, and the reply reflects the writeset.
        let own = self.id.and_then(|id| i32::try_from(id).ok());
        let (interface, branch_id) = (message.interface.clone(), own.unwrap_or(message.branch));
        let wish = |message: example::DeliveryRequest| Wish {
            interface: message.interface,
            money: message.money,
            id: Some(message.id),
            writeset: message.writeset,
        };
        let done = self.call(request, wish).await?;
        let (result, balance) = (word(done.success).to_owned(), f64::from(whole_units(done.balance)));
        Ok(Response::new(example::DeliveryReply { interface, result, balance, branch_id }))
    }
}

#[tonic::async_trait]
impl read_your_writes::bank_service_server::BankService for BranchApi {
    async fn query(
        &self,
        request: Request<read_your_writes::CustomerRequest>,
    ) -> Result<Response<read_your_writes::BalanceResponse>, Status> {
        let done = self.call(request, |_| wish("query", 0, None)).await?;
        Ok(Response::new(read_your_writes::BalanceResponse { balance: whole_units(done.balance) }))
    }

    async fn deposit(
        &self,
        request: Request<read_your_writes::TransactionRequest>,
    ) -> Result<Response<read_your_writes::EventResponse>, Status> {
        let done = self.call(request, |change| wish("deposit", change.amount, None)).await?;
        Ok(Response::new(event_response(done.success)))
    }

    async fn withdraw(
        &self,
        request: Request<read_your_writes::TransactionRequest>,
    ) -> Result<Response<read_your_writes::EventResponse>, Status> {
        let done = self.call(request, |change| wish("withdraw", change.amount, None)).await?;
        Ok(Response::new(event_response(done.success)))
    }
}

fn event_response(success: bool) -> read_your_writes::EventResponse {
    let status = if success { "Success" } else { "Failure" };
    read_your_writes::EventResponse { status: status.to_owned() }
}

fn word(success: bool) -> &'static str {
    if success { "success" } else { "fail" }
}

/// As much as the older contract can carry.
fn whole_units(money: Money) -> i32 {
    let units = money.minor() / UNIT;
    i32::try_from(units).unwrap_or(if units < 0 { i32::MIN } else { i32::MAX })
}
