//! The figures of a server as Prometheus reads them.
//!
//! Invariant: names end in their unit, and no label names an account or a customer, so there are never more
//! series than kinds of calls times reasons.

use std::fmt::Write as _;
use std::time::Duration;

use crate::model::Role;

use super::health::{Figures, Operations};

const NANOS: u128 = 1_000_000_000;

/// The figures as text.
pub(super) fn text(figures: &Figures) -> String {
    let mut page = Page(String::new());
    let vitals = &figures.vitals;
    let status = &vitals.status;
    page.family("bank_info", "gauge", "What this server is; always 1.");
    page.sample(&format!(
        "bank_info{{version=\"{}\",branch=\"{}\",replica=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION"),
        vitals.branch,
        vitals.replica
    ));
    page.operations(&figures.operations);
    let is = u64::from;
    let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for (name, help, value) in [
        ("bank_sequence", "The last command that this replica has applied.", status.sequence.0),
        ("bank_raft_term", "The term that this replica is in.", status.term),
        ("bank_raft_log_index", "The last index in its log.", status.log),
        ("bank_raft_committed_index", "The last index it knows to be committed.", status.committed),
        ("bank_raft_applied_index", "The last index it has applied.", status.applied),
        (
            "bank_raft_lag_entries",
            "Committed entries that it has not applied.",
            status.committed.saturating_sub(status.applied),
        ),
        ("bank_raft_is_leader", "Whether it leads.", is(status.role == Role::Leader)),
        ("bank_raft_has_leader", "Whether it knows who leads.", is(vitals.leader.is_some())),
        (
            "bank_has_quorum",
            "Whether a majority of the replicas answers, so that writes are taken.",
            is(vitals.quorum),
        ),
        ("bank_storage_full", "Whether its disk has no room for more work.", is(vitals.storage_full)),
        ("bank_draining", "Whether the server is being stopped.", is(figures.draining)),
        (
            "bank_open_transfers",
            "Transfers that the branch pays and that are not closed.",
            size(vitals.in_doubt.open_transfers),
        ),
        (
            "bank_prepared_credits",
            "Credits that the branch has promised to other branches and of whose decision it has not heard.",
            size(vitals.in_doubt.prepared_credits),
        ),
        (
            "bank_oldest_transfer_in_doubt_timestamp_seconds",
            "When the oldest of both began, in seconds since 1970; 0 when there is none.",
            vitals.in_doubt.oldest.map_or(0, |since| since.micros() / 1_000_000),
        ),
        ("bank_connections", "Open connections.", size(figures.connections)),
        ("bank_grpc_calls_in_flight", "gRPC calls and streams in flight.", size(figures.calls)),
        ("bank_http_requests_in_flight", "Requests of HTTP in flight.", size(figures.requests)),
    ] {
        page.family(name, "gauge", help);
        page.sample(&format!("{name} {value}"));
    }
    if !vitals.peers.is_empty() {
        page.family(
            "bank_peer_heard",
            "gauge",
            "Whether the other replica was heard in the last five seconds.",
        );
    }
    for (peer, heard) in &vitals.peers {
        page.sample(&format!("bank_peer_heard{{replica=\"{peer}\"}} {}", is(*heard)));
    }
    page.0
}

/// The text that grows.
struct Page(String);

impl Page {
    fn sample(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("text can always grow");
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.sample(&format!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn operations(&mut self, operations: &[Operations]) {
        let name = "bank_operations_total";
        self.family(name, "counter", "Calls by kind and outcome: OK, or a reason of the error catalogue.");
        for Operations { kind, ends, .. } in operations {
            for (end, count) in ends {
                self.sample(&format!("{name}{{kind=\"{kind}\",outcome=\"{end}\"}} {count}"));
            }
        }
        let name = "bank_operation_duration_seconds";
        self.family(name, "histogram", "How long calls took in the server.");
        for Operations { kind, ends, classes, took } in operations {
            let mut so_far = 0;
            for (bound, count) in classes {
                so_far += count;
                let bound = seconds(*bound);
                self.sample(&format!("{name}_bucket{{kind=\"{kind}\",le=\"{bound}\"}} {so_far}"));
            }
            // Calls may end between the two readings; a class must never have more than the next.
            let all = ends.iter().map(|(_, count)| count).sum::<u64>().max(so_far);
            self.sample(&format!("{name}_bucket{{kind=\"{kind}\",le=\"+Inf\"}} {all}"));
            self.sample(&format!("{name}_sum{{kind=\"{kind}\"}} {}", seconds(*took)));
            self.sample(&format!("{name}_count{{kind=\"{kind}\"}} {all}"));
        }
    }
}

/// A duration in seconds as a decimal, exactly.
fn seconds(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let text = format!("{}.{:09}", nanos / NANOS, nanos % NANOS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::health::tests::healthy;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let mut figures = healthy();
        figures.operations = vec![Operations {
            kind: "deposit",
            ends: vec![("OK", 5), ("INSUFFICIENT_FUNDS", 1)],
            classes: vec![(Duration::from_micros(250), 2), (Duration::from_secs(1), 3)],
            took: Duration::from_millis(6_500),
        }];
        let text = text(&figures);
        for line in [
            "bank_operations_total{kind=\"deposit\",outcome=\"INSUFFICIENT_FUNDS\"} 1",
            "bank_operation_duration_seconds_bucket{kind=\"deposit\",le=\"0.00025\"} 2",
            "bank_operation_duration_seconds_bucket{kind=\"deposit\",le=\"1\"} 5",
            "bank_operation_duration_seconds_bucket{kind=\"deposit\",le=\"+Inf\"} 6",
            "bank_operation_duration_seconds_sum{kind=\"deposit\"} 6.5",
            "bank_sequence 640",
            "bank_open_transfers 2",
            "bank_prepared_credits 1",
            "bank_oldest_transfer_in_doubt_timestamp_seconds 1795000000",
            "bank_raft_lag_entries 1",
            "bank_raft_is_leader 1",
            "bank_has_quorum 1",
            "bank_peer_heard{replica=\"1\"} 1",
            "bank_peer_heard{replica=\"3\"} 0",
        ] {
            assert!(text.lines().any(|given| given == line), "{line}\n{text}");
        }
        let name_of = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let family = name_of(line);
            let family =
                family.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
        }
    }
}
