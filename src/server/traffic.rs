//! What a demo shows: where its servers are, and a few customers who move money all the time, so that there is something to look at.
//!
//! Invariant: a round moves as much into each account as out of it, so that no balance runs out or grows for ever.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use super::ServerError;
use crate::client::{Client, Config, NewAccount, Options};
use crate::model::{BranchName, Failure};

/// The port on which bank-client looks for a server.
const DEFAULT_PORT: u16 = 9001;
/// The customers of each branch.
const CUSTOMERS: [(&str, &str); 2] = [("2001", "Asha"), ("2002", "Bela")];
/// What each of them begins with.
const FIRST_DEPOSIT: &str = "500.00";
/// Time between two operations.
const PAUSE: Duration = Duration::from_millis(700);
/// After how long a hold ends by itself.
const HOLD: Duration = Duration::from_secs(5);

/// Lets customers of two branches, whose servers are named, move money until the process ends.
///
/// # Errors
/// When there is no thread for them. Whatever the bank refuses later is part of the show.
pub fn start_traffic(branches: [&BranchName; 2], servers: &[Vec<SocketAddr>]) -> Result<(), ServerError> {
    let names = branches.map(ToString::to_string);
    let mut clients = Vec::new();
    for servers in servers {
        let client = Client::new(&Config::new(servers.iter().map(ToString::to_string)));
        clients.push(client.map_err(|failure| ServerError::Refused(failure.to_string()))?);
    }
    let runtime = Builder::new_current_thread().enable_all().build().map_err(ServerError::Thread)?;
    let customers = async move {
        for client in &clients {
            for (account, name) in CUSTOMERS {
                let new = NewAccount { account, name, deposit: FIRST_DEPOSIT, ..NewAccount::default() };
                // An account that is there already is as good.
                let _ = client.open_account(new, &Options::default()).await;
            }
        }
        for step in (0..STEPS).cycle() {
            tokio::time::sleep(PAUSE).await;
            for (client, here, there) in directions(&clients, &names) {
                let _ = act(step, client, here, there).await;
            }
        }
    };
    let thread = thread::Builder::new().name("traffic".to_owned()).spawn(move || runtime.block_on(customers));
    thread.map(drop).map_err(ServerError::Thread)
}

/// Each branch with the other one.
fn directions<'a>(
    clients: &'a [Client],
    names: &'a [String; 2],
) -> impl Iterator<Item = (&'a Client, &'a str, &'a str)> {
    clients
        .iter()
        .zip([(0, 1), (1, 0)])
        .map(|(client, (here, there))| (client, &*names[here], &*names[there]))
}

/// How many operations a round has.
const STEPS: usize = 6;

/// One operation of a round at one branch. What goes to the other branch comes back from there.
async fn act(step: usize, client: &Client, here: &str, there: &str) -> Result<(), Failure> {
    let options = Options::default();
    let [(asha, _), (bela, _)] = CUSTOMERS;
    match step {
        0 => client.deposit(asha, "25.00", &options).await.map(drop),
        1 => client.transfer(asha, bela, "12.50", &options).await.map(drop),
        2 => client.place_hold(bela, "5.00", Some(HOLD), &options).await.map(drop),
        3 => client.withdraw(bela, "12.50", &options).await.map(drop),
        4 => {
            let (from, to) = (format!("{here}/{asha}"), format!("{there}/{asha}"));
            client.transfer(&from, &to, "7.25", &options).await.map(drop)
        }
        _ => client.withdraw(asha, "12.50", &options).await.map(drop),
    }
}

/// Where the servers of a demo are, and what to try.
#[must_use]
pub fn tour(names: [&BranchName; 2], addresses: &[Vec<SocketAddr>], traffic: bool) -> String {
    let mut said = String::new();
    for (name, addresses) in names.iter().zip(addresses) {
        let plural = if addresses.len() == 1 { "" } else { "s" };
        said +=
            &format!("branch {name}, {} replica{plural} in memory: data is lost on exit\n", addresses.len());
        for (replica, address) in (1..).zip(addresses) {
            said += &format!("  replica {replica} on {address}\n");
        }
    }
    said += "Accounts 1001 and 1002 of each branch have 1000.00. Write at one, read at another; Ctrl-C ends it:\n";
    let [here, there] = names;
    let tries = [
        (0, 0, "open --name Ada --deposit 100".to_owned()),
        (0, 1, format!("transfer {here}/1 {there}/1002 25")),
        (1, 0, "balance 1002".to_owned()),
        (0, 1, "statement 1".to_owned()),
        (0, 2, "status".to_owned()),
    ];
    for (branch, replica, command) in tries {
        if let Some(address) = addresses.get(branch).and_then(|addresses| addresses.get(replica)) {
            said += &format!("  bank-client --server {address} {command}\n");
        }
    }
    if let Some(address) = addresses.first().and_then(|addresses| addresses.first()) {
        said += &format!("  a browser at http://{address}/\n");
        if address.port() == DEFAULT_PORT {
            said += "bank-client without --server finds the first replica.\n";
        }
    }
    if traffic {
        said +=
            "Accounts 2001 and 2002 of each branch move money all the time; `bank-client watch` shows it.\n";
    }
    said
}
