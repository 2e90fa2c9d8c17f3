//! `audit`: whether the books of a branch add up, and whether two branches agree on what they owe each other.

use super::Runner;
use crate::cli::grammar::{self, OtherBranch};
use crate::cli::problem::Problem;
use crate::cli::sheet::{Format, Printer, Shape};
use crate::cli::views;
use crate::client::{Audit, BranchStatus, Client, Config, Options, ReplicaRole};
use crate::model::{Exit, Failure, Reason};

/// The books of a branch, and what is wrong with them.
struct Audited {
    audit: Audit,
    findings: Vec<String>,
}

impl Runner {
    /// Adds up and prints; what does not add up is told by the exit code too.
    pub(super) async fn audit(
        &self,
        wish: &grammar::Audit,
        options: &Options,
        format: Format,
    ) -> Result<(), Problem> {
        let mut all = vec![Audited::of(&self.client, options).await?];
        for other in &wish.with {
            let client = Client::new(&Config::new(&other.servers))?;
            let theirs = Audited::of(&client, options).await?;
            check_name(other, &theirs.audit)?;
            let findings = compare(&self.client, &client, options).await?;
            all[0].findings.extend(findings);
            all.push(theirs);
        }
        self.print_audit(&all, format)?;
        let well = all.iter().all(|audited| audited.findings.is_empty());
        if well { Ok(()) } else { Err(Problem::Told(Exit::CheckFailed)) }
    }

    fn print_audit(&self, all: &[Audited], format: Format) -> Result<(), Problem> {
        let mut printer = Printer::new(format, Shape::List, views::AUDIT);
        if !format.is_table() {
            let rows = all.iter().map(|audited| views::audit(&audited.audit, &audited.verdict())).collect();
            let text = printer.rows(rows) + &printer.end();
            return self.screen.data(&text);
        }
        self.screen.data(&printer.rows(all.iter().map(Audited::sums).collect()))?;
        let clearing = all.iter().flat_map(|audited| views::clearing(&audited.audit)).collect();
        self.screen.data(&Printer::new(format, Shape::List, views::CLEARING).rows(clearing))
    }
}

impl Audited {
    async fn of(client: &Client, options: &Options) -> Result<Audited, Failure> {
        let audit = client.audit(options).await?;
        let status = client.branch_status(options).await?;
        let mut findings = Vec::new();
        if !audit.balanced {
            findings.push("the books do not add up to zero".to_owned());
        }
        if audit.held != audit.reserved {
            findings.push(format!(
                "accounts hold {} and holds and transfers reserve {}",
                audit.held, audit.reserved
            ));
        }
        findings.extend(replicas_that_differ(&status));
        Ok(Audited { audit, findings })
    }

    fn verdict(&self) -> String {
        if self.findings.is_empty() { "OK".to_owned() } else { self.findings.join("; ") }
    }

    fn sums(&self) -> Vec<crate::cli::sheet::Cell> {
        views::sums(&self.audit, &self.verdict())
    }
}

/// Replicas that have applied the same and do not have the same digest.
fn replicas_that_differ(status: &BranchStatus) -> Vec<String> {
    let answering = || status.replicas.iter().filter(|replica| replica.role != ReplicaRole::Unreachable);
    let differ = answering().flat_map(|one| {
        answering()
            .filter(move |other| {
                let differ = (one.sequence, &one.digest) != (other.sequence, &other.digest);
                one.id < other.id && one.applied_index == other.applied_index && differ
            })
            .map(move |other| {
                format!(
                    "replicas {} and {} differ after entry {} of the log",
                    one.id, other.id, one.applied_index
                )
            })
    });
    differ.collect()
}

fn check_name(other: &OtherBranch, theirs: &Audit) -> Result<(), Failure> {
    if theirs.branch == other.name.as_str() {
        return Ok(());
    }
    let what = format!("the servers named for {} serve {}", other.name, theirs.branch);
    Err(Failure::new(Reason::ArgumentInvalid, what))
}

/// Compares what two branches have booked against each other. Money moves meanwhile, so each direction is read
/// in an order that allows a statement: the receiver, then the payer, then the receiver again.
async fn compare(one: &Client, other: &Client, options: &Options) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for (payer, receiver) in [(one, other), (other, one)] {
        let before = receiver.audit(options).await?;
        let payer = payer.audit(options).await?;
        let after = receiver.audit(options).await?;
        findings.extend(clearing_wrong(&before, &payer, &after));
    }
    Ok(findings)
}

/// What is wrong with the transfers from a payer to a receiver whose books were read before and after the payer's.
/// Nothing is received that was not paid, and what is confirmed was received.
fn clearing_wrong(before: &Audit, payer: &Audit, after: &Audit) -> Option<String> {
    let (from, to) = (&payer.branch, &before.branch);
    let clearing = |audit: &Audit, branch: &str| {
        audit.clearing.iter().find(|clearing| clearing.branch == branch).cloned()
    };
    let paid = clearing(payer, to);
    let due_to = paid.as_ref().map_or(Some(0), |paid| minor(&paid.due_to));
    let unconfirmed = paid.as_ref().map_or(Some(0), |paid| minor(&paid.unconfirmed));
    let received = |audit| clearing(audit, from).map_or(Some(0), |got| minor(&got.due_from).map(|due| -due));
    let (Some(due_to), Some(unconfirmed), Some(before), Some(after)) =
        (due_to, unconfirmed, received(before), received(after))
    else {
        return Some(format!("what {from} and {to} say of each other is no money"));
    };
    if before > due_to {
        return Some(format!("{to} has received more from {from} than {from} has paid"));
    }
    if due_to - unconfirmed > after {
        return Some(format!("{from} has paid more to {to} than {to} has received"));
    }
    None
}

/// A sum in minor units; it may be beyond the range of one account.
fn minor(text: &str) -> Option<i128> {
    let (whole, cents) = text.split_once('.')?;
    let negative = whole.starts_with('-');
    let (whole, cents): (i128, i128) = (whole.parse().ok()?, cents.parse().ok()?);
    whole.checked_mul(100)?.checked_add(if negative { -cents } else { cents })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Clearing, ReplicaStatus};

    fn books(branch: &str, against: &str, due_to: &str, due_from: &str, unconfirmed: &str) -> Audit {
        Audit {
            branch: branch.to_owned(),
            ledger: String::new(),
            replica: 1,
            sequence: 1,
            time: None,
            digest: String::new(),
            accounts: 0,
            customers: "0.00".to_owned(),
            cash: "0.00".to_owned(),
            interest: "0.00".to_owned(),
            clearing: vec![Clearing {
                branch: against.to_owned(),
                due_to: due_to.to_owned(),
                due_from: due_from.to_owned(),
                unconfirmed: unconfirmed.to_owned(),
            }],
            held: "0.00".to_owned(),
            reserved: "0.00".to_owned(),
            holds: 0,
            open_transfers: 0,
            prepared_credits: 0,
            balanced: true,
        }
    }

    #[test]
    fn money_on_its_way_is_no_finding_and_lost_or_made_money_is() {
        let received = |due_from| books("delhi", "mumbai", "0.00", due_from, "0.00");
        let paid = |due_to, unconfirmed| books("mumbai", "delhi", due_to, "0.00", unconfirmed);
        for (before, payer, after, well) in [
            ("-10.00", paid("10.00", "0.00"), "-10.00", true),
            ("-4.00", paid("10.00", "6.00"), "-4.00", true),
            ("-4.00", paid("10.00", "0.00"), "-12.00", true),
            ("-10.01", paid("10.00", "0.00"), "-10.01", false),
            ("-4.00", paid("10.00", "5.99"), "-4.00", false),
            ("0.50", paid("0.00", "0.00"), "0.50", false),
        ] {
            let wrong = clearing_wrong(&received(before), &payer, &received(after));
            assert_eq!(wrong.is_none(), well, "{before} {payer:?} {after}: {wrong:?}");
        }
        let stranger = books("goa", "mumbai", "0.00", "0.00", "0.00");
        assert!(clearing_wrong(&stranger, &paid("10.00", "0.00"), &stranger).is_none());
    }

    #[test]
    fn replicas_are_compared_after_the_same_entry_whatever_sequence_they_have_reached() {
        let replica = |id, applied_index, sequence, digest: &str| ReplicaStatus {
            id,
            address: String::new(),
            role: ReplicaRole::Follower,
            voter: true,
            term: 1,
            log_index: applied_index,
            committed_index: applied_index,
            applied_index,
            sequence,
            digest: digest.to_owned(),
            lag: 0,
        };
        let differ = |other| {
            let replicas = vec![replica(1, 70, 40, "a"), other];
            let (branch, ledger) = (String::new(), String::new());
            replicas_that_differ(&BranchStatus { branch, ledger, replica: 1, leader: None, replicas })
        };
        assert_eq!(differ(replica(2, 70, 40, "a")), [""; 0]);
        assert_eq!(differ(replica(2, 71, 40, "b")), [""; 0], "one of them is behind");
        let found = ["replicas 1 and 2 differ after entry 70 of the log"];
        assert_eq!(differ(replica(2, 70, 40, "b")), found);
        assert_eq!(differ(replica(2, 70, 39, "b")), found);
    }

    #[test]
    fn sums_are_read_exactly() {
        for (text, expected) in [
            ("0.00", Some(0)),
            ("-0.05", Some(-5)),
            ("12.34", Some(1_234)),
            ("-12.34", Some(-1_234)),
            ("1000000000000000.00", Some(100_000_000_000_000_000)),
            ("x", None),
        ] {
            assert_eq!(minor(text), expected, "{text}");
        }
    }
}
