//! The form-encoded calls of the older REST bridge, for pages that were written for it. Off unless asked for.
//!
//! Its answers are always 200 and say in the body how it went. `host` and `port` name a branch that this
//! server knows already; anything else is refused, so nobody can make the server call an address of theirs.
//! Money stands in its answers as JSON numbers, because the contract says so; they are written digit by digit
//! from exact text.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::client::{
    AccountState, Client, EntryOrder, JournalQuery, JournalRecord, Kind, Options, Page, TransferState,
};
use crate::model::{AccountRef, Failure, Reason};

use super::House;
use super::call::{check_media_type, whole};
use super::problem::Problem;
use super::reply::Reply;
use super::shape::Moment;

/// The host of a form that names none.
const HOST: &str = "127.0.0.1";
/// Most records of a log.
const LOGS: i32 = 200;
/// Accounts that are read at once,
const ACCOUNTS: i32 = 1_000;
/// and how often: more accounts than both say are left out of a list.
const READS: usize = 100;

/// The calls of the older bridge.
pub(super) fn router() -> Router<Arc<House>> {
    Router::new()
        .route("/balance", post(|State(house), request| answer(house, request, balance)))
        .route("/deposit", post(|State(house), request| answer(house, request, deposit)))
        .route("/withdraw", post(|State(house), request| answer(house, request, withdraw)))
        .route("/transfer", post(|State(house), request| answer(house, request, transfer)))
        .route("/get_logs", post(|State(house), request| answer(house, request, logs)))
        .route("/list_accounts", get(|State(house), request| answer(house, request, accounts)))
}

/// The fields of a form.
type Form = BTreeMap<String, String>;
/// What a call gives back, as JSON.
type Given = Result<Box<RawValue>, Failure>;

/// How a call went.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Told {
    Ok { result: Box<RawValue> },
    Error { error: String },
}

async fn answer<F>(house: Arc<House>, request: Request<Body>, call: fn(Arc<House>, Form) -> F) -> Response
where
    F: Future<Output = Given>,
{
    let form = match read(&house, request).await {
        Ok(form) => form,
        Err(problem) => return problem.into_response(),
    };
    let told = match call(house, form).await {
        Ok(result) => Told::Ok { result },
        Err(failure) => Told::Error { error: failure.message },
    };
    Reply::json(&told).into_response()
}

/// Reads the form of a POST, or the query of a GET.
async fn read(house: &House, request: Request<Body>) -> Result<Form, Problem> {
    let (head, body) = request.into_parts();
    let text = if head.method == axum::http::Method::GET {
        head.uri.query().unwrap_or_default().as_bytes().to_vec()
    } else {
        check_media_type(&head.headers, "application/x-www-form-urlencoded")?;
        whole(body, house.patience).await?
    };
    Ok(form_urlencoded::parse(&text).into_owned().collect())
}

fn field<'a>(form: &'a Form, name: &str) -> Result<&'a str, Failure> {
    form.get(name).map(String::as_str).ok_or_else(|| {
        Failure::new(Reason::ArgumentInvalid, format!("the field {name} is missing")).in_field(name)
    })
}

/// The branch that a form names by the address of one of its servers, and the client for it. A form without a host means
/// this machine.
fn branch<'a>(house: &'a House, form: &Form, side: &str) -> Result<(&'a str, &'a Client), Failure> {
    let host = form.get(&format!("{side}host")).map(String::as_str).filter(|host| !host.is_empty());
    let (host, port) = (host.unwrap_or(HOST), field(form, &format!("{side}port"))?);
    house.bank.at(host, port).ok_or_else(|| {
        Failure::new(Reason::BranchUnknown, format!("no branch known here has a server at {host}:{port}"))
    })
}

/// An account of the branch whose server the form names, in full.
fn account(branch: &str, form: &Form, name: &str) -> Result<String, Failure> {
    let AccountRef { branch: named, number } = field(form, name)?.parse()?;
    match named {
        Some(other) if other.as_str() != branch => {
            let message = format!(
                "account {other}/{number} is of branch {other}, and the server named is one of {branch}; name a server of {other}"
            );
            Err(Failure::new(Reason::ArgumentInvalid, message).in_field(name))
        }
        Some(_) | None => Ok(format!("{branch}/{number}")),
    }
}

/// Money as a JSON number with the very digits of its text.
fn number(money: &str) -> Box<RawValue> {
    let digits = RawValue::from_string(money.to_owned());
    digits.unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn given(value: &impl Serialize) -> Given {
    to_raw_value(value).map_err(|error| Failure::new(Reason::Internal, error.to_string()))
}

#[derive(Serialize)]
struct Balance {
    balance: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A caller of the older bridge has no session of its own and always sees the latest state.
fn options() -> Options {
    Options { session_token: Some(String::new()), ..Options::default() }
}

async fn balance(house: Arc<House>, form: Form) -> Given {
    let (name, client) = branch(&house, &form, "")?;
    let shown = client.account(&account(name, &form, "account")?, &options()).await?.account;
    given(&Balance { balance: number(&shown.balance), name: Some(shown.name) })
}

async fn deposit(house: Arc<House>, form: Form) -> Given {
    let (name, client) = branch(&house, &form, "")?;
    let account = account(name, &form, "account")?;
    let done = client.deposit(&account, field(&form, "amount")?, &options()).await?;
    given(&Balance { balance: number(&done.balance), name: None })
}

async fn withdraw(house: Arc<House>, form: Form) -> Given {
    let (name, client) = branch(&house, &form, "")?;
    let account = account(name, &form, "account")?;
    let done = client.withdraw(&account, field(&form, "amount")?, &options()).await?;
    given(&Balance { balance: number(&done.balance), name: None })
}

#[derive(Serialize)]
struct Side {
    account: String,
    balance: Box<RawValue>,
}

#[derive(Serialize)]
struct Within {
    from: Side,
    to: Side,
    amount: Box<RawValue>,
}

#[derive(Serialize)]
struct Between {
    status: &'static str,
    txid: String,
    amount: Box<RawValue>,
    from: String,
    to: String,
}

async fn transfer(house: Arc<House>, form: Form) -> Given {
    let (payer, client) = branch(&house, &form, "src_")?;
    let (receiver, _) = branch(&house, &form, "dest_")?;
    let source = account(payer, &form, "src_account")?;
    let destination = account(receiver, &form, "dest_account")?;
    let done = client.transfer(&source, &destination, field(&form, "amount")?, &options()).await?;
    let amount = number(&done.amount);
    match done.state {
        TransferState::Committed if payer == receiver => given(&Within {
            from: Side { account: bare(&source).to_owned(), balance: number(&done.source_balance) },
            to: Side { account: bare(&destination).to_owned(), balance: number(&done.destination_balance) },
            amount,
        }),
        TransferState::Committed => given(&Between {
            status: "transfer_complete",
            txid: done.transfer,
            amount,
            from: source.replace('/', ":"),
            to: destination.replace('/', ":"),
        }),
        TransferState::Pending | TransferState::Aborted | TransferState::Unknown => {
            let state = done.state.as_str().to_ascii_lowercase();
            let what = format!("transfer {} is {state}: {}", done.transfer, done.message);
            Err(Failure::new(Reason::OutcomeUnknown, what))
        }
    }
}

/// An account without its branch.
fn bare(account: &str) -> &str {
    account.rsplit_once('/').map_or(account, |(_, number)| number)
}

#[derive(Serialize)]
struct Log {
    timestamp: String,
    action: &'static str,
    amount: Box<RawValue>,
    result: String,
}

async fn logs(house: Arc<House>, form: Form) -> Given {
    let (name, client) = branch(&house, &form, "")?;
    let account = account(name, &form, "account")?;
    let mut records = Vec::new();
    let mut token = String::new();
    // A page of one account may be short before the end.
    for _ in 0..READS {
        let page = Page { size: LOGS, token: &token };
        let query = JournalQuery { from: 0, account: &account, order: EntryOrder::NewestFirst, page };
        let page = client.journal(query, &options()).await?;
        records.extend(page.records);
        token = page.next_page_token;
        if token.is_empty() || records.len() >= usize::try_from(LOGS).unwrap_or(usize::MAX) {
            break;
        }
    }
    records.truncate(usize::try_from(LOGS).unwrap_or(usize::MAX));
    given(&records.iter().map(|record| log(record, &account)).collect::<Vec<_>>())
}

fn log(record: &JournalRecord, account: &str) -> Log {
    let receives = record.counterparty == account;
    Log {
        timestamp: record.time.map_or_else(String::new, |time| Moment(time).text()),
        action: action(record.kind, receives, record.state),
        amount: number(if record.amount.is_empty() { "0.00" } else { &record.amount }),
        result: match &record.refused {
            None => "success".to_owned(),
            Some(failure) => format!("failed: {}", failure.message),
        },
    }
}

fn action(kind: Kind, receives: bool, state: Option<AccountState>) -> &'static str {
    match kind {
        Kind::Open => "create_account",
        Kind::Deposit => "deposit",
        Kind::Withdraw => "withdraw",
        Kind::Interest => "interest",
        Kind::Transfer if receives => "transfer_in",
        Kind::Transfer | Kind::TransferCommit => "transfer_out",
        Kind::CreditCommit => "transfer_in",
        Kind::TransferBegin => "transfer_begin",
        Kind::TransferAbort => "transfer_abort",
        Kind::TransferClose => "transfer_close",
        Kind::CreditPrepare => "credit_prepare",
        Kind::CreditAbort => "credit_abort",
        Kind::Hold => "hold",
        Kind::Capture => "capture",
        Kind::Release => "release",
        Kind::Expire => "expire",
        Kind::SetState => match state {
            Some(AccountState::Frozen) => "freeze",
            Some(AccountState::Closed) => "close",
            Some(AccountState::Open | AccountState::Unknown) | None => "reopen",
        },
        Kind::Unknown => "unknown",
    }
}

#[derive(Serialize)]
struct Listed {
    account_no: String,
    name: String,
    balance: Box<RawValue>,
}

async fn accounts(house: Arc<House>, form: Form) -> Given {
    let (_, client) = branch(&house, &form, "")?;
    let mut listed = Vec::new();
    let mut token = String::new();
    for _ in 0..READS {
        let page = client.accounts(Page { size: ACCOUNTS, token: &token }, &options()).await?;
        listed.extend(page.accounts.into_iter().map(|account| Listed {
            account_no: bare(&account.account).to_owned(),
            name: account.name,
            balance: number(&account.balance),
        }));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    given(&listed)
}
