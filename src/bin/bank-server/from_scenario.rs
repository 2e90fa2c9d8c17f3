//! `bank-server from-scenario`: the branches of a scenario file as servers, for customers' programs of older courses.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bank::model::{AccountNumber, Failure, Reason};
use bank::scenario::files::{read_scenario, write_together};
use bank::scenario::{Plan, input};
use bank::server::{LocalCluster, LocalConfig, ServerError};
use clap::Args;

use super::{Signals, ended, fail, print, refuse};

/// The name of the branch that all servers of the file are replicas of.
const BRANCH: &str = "scenario";

/// `from-scenario`
#[derive(Args)]
pub(crate) struct FromScenario {
    /// The scenario file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Let branch ID listen on port N + ID, as some customers' programs expect; without it ports are free ones
    #[arg(long, value_name = "N")]
    base_port: Option<u16>,
    /// Write balance and port of each branch into this file, as JSON in the order of the scenario
    #[arg(long, value_name = "FILE")]
    branch_info: Option<PathBuf>,
}

/// Why the servers did not start.
enum NotStarted {
    /// Because of the file or the arguments.
    Failure(Failure),
    /// Because of the servers.
    Server(ServerError),
}

impl From<Failure> for NotStarted {
    fn from(failure: Failure) -> NotStarted {
        NotStarted::Failure(failure)
    }
}

impl From<ServerError> for NotStarted {
    fn from(error: ServerError) -> NotStarted {
        NotStarted::Server(error)
    }
}

impl FromScenario {
    /// Serves the branches of the file until Ctrl-C.
    pub(crate) fn serve(&self) -> ExitCode {
        let signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => return fail(&format!("cannot listen to signals: {error}")),
        };
        let (cluster, told) = match self.start() {
            Ok(started) => started,
            Err(NotStarted::Failure(failure)) => return refuse(&failure.message),
            Err(NotStarted::Server(error)) => return ended(Err(error)),
        };
        print(&told);
        if signals.wait(&cluster.shutdowns()) {
            // What is in memory ends with the process; handing the lead over first would be for nobody.
            std::process::exit(0);
        }
        ended(cluster.stop())
    }

    /// Starts the servers, opens the account with the balance of the file, and says where they are.
    ///
    /// # Errors
    /// [`NotStarted`]; then no server is left.
    fn start(&self) -> Result<(LocalCluster, String), NotStarted> {
        let (plan, warnings) = input::read(&read_scenario(&self.file)?, input::Options::default())?;
        for warning in &warnings {
            eprintln!("{}: warning: {warning}", self.file.display());
        }
        let branch = BRANCH.parse().map_err(Failure::from)?;
        let cluster = LocalCluster::of(&LocalConfig {
            replicas: NonZeroUsize::new(plan.branches.len()).unwrap_or(NonZeroUsize::MIN),
            trace_events: true,
            branch_account: Some(AccountNumber::FIRST),
            branch_balance: Some(plan.balance),
            branch_ids: plan.branches.clone(),
            ports: self.ports(&plan)?,
            ..LocalConfig::new(branch)
        })?;
        let addresses: Vec<SocketAddr> = cluster.addresses().collect();
        if let Some(file) = &self.branch_info {
            write_info(file, &plan, &addresses)?;
        }
        Ok((cluster, told(&plan, &addresses)))
    }

    /// The port of each branch.
    fn ports(&self, plan: &Plan) -> Result<Vec<u16>, Failure> {
        let Some(base) = self.base_port else { return Ok(Vec::new()) };
        let port = |id: &u64| {
            let port = u64::from(base).checked_add(*id).and_then(|port| u16::try_from(port).ok());
            port.filter(|port| *port > 0).ok_or_else(|| {
                let message =
                    format!("branch {id} would listen on port {base} + {id}, and ports go from 1 to 65535");
                Failure::new(Reason::ArgumentInvalid, message)
            })
        };
        plan.branches.iter().map(port).collect()
    }
}

fn told(plan: &Plan, addresses: &[SocketAddr]) -> String {
    let mut told = String::new();
    for (branch, address) in plan.branches.iter().zip(addresses) {
        // Writing to a string cannot fail.
        let _ = writeln!(told, "branch {branch} on {address} with balance {}", plan.balance);
    }
    told + "All share account 1, in memory: data is lost on exit; Ctrl-C ends it\n"
}

/// Writes the file from which customers' programs take the ports.
fn write_info(file: &Path, plan: &Plan, addresses: &[SocketAddr]) -> Result<(), Failure> {
    let balance = plan.balance.to_string();
    let balance = balance.trim_end_matches(".00");
    let entry = |address: &SocketAddr| format!("{{\"balance\": {balance}, \"port\": {}}}", address.port());
    let text = format!("[{}]\n", addresses.iter().map(entry).collect::<Vec<_>>().join(", "));
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
        let message = format!("{} is not the name of a file", file.display());
        return Err(Failure::new(Reason::ArgumentInvalid, message));
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    write_together(folder.unwrap_or(Path::new(".")), &[(name, &text)])
}
