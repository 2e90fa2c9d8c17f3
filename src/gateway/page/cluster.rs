//! The cluster: the replicas of every branch, how far each is, and who reaches whom.

use maud::{Markup, html};

use super::chart;
use super::lookout::View;
use super::overview::worst_lag;
use super::parts::{Tone, badge, empty, scrolling, trouble};
use super::screen::{Regions, head};
use super::text;
use crate::client::{BranchStatus, ReplicaRole, ReplicaStatus};
use crate::gateway::House;

/// Entries that the axis spans at least, so that a lag of one entry looks like one.
const SPAN: u64 = 100;

/// The frame of the screen.
pub(super) fn body(regions: &Regions) -> Markup {
    html! {
        (head("Cluster", html! { "The replicas of each branch, as they answer themselves." }, html! {}))
        (regions.place("cluster"))
    }
}

/// The living parts.
pub(super) fn regions(house: &House) -> Regions {
    let views = house.lookouts.views();
    let body = html! { @for (branch, view) in &views { (card(branch, view)) } };
    Regions::default().with("cluster", body)
}

fn card(branch: &str, view: &View) -> Markup {
    html! {
        section.card data-key=(branch) aria-label={ "Branch " (branch) } {
            div.card-head {
                h2 { (branch) }
                @match (&view.trouble, &view.status) {
                    (Some(_), _) => (badge(Tone::Bad, "Down")),
                    (None, Some(known)) => @match known.what.leader {
                        Some(leader) => { p.quiet { "replica " (leader) " leads · worst lag " (text::count(worst_lag(view))) } },
                        None => (badge(Tone::Bad, "No leader")),
                    },
                    (None, None) => {}
                }
            }
            @if let Some(failure) = &view.trouble { (trouble("This branch does not answer.", failure, view.age())) }
            @match &view.status {
                Some(known) => {
                    div.old[view.trouble.is_some()] {
                        (replicas(&known.what))
                        @if known.what.replicas.len() > 1 { (reach(view, &known.what)) }
                        @if let Some(audit) = &view.audit { (books(&audit.what)) }
                    }
                }
                None if view.trouble.is_none() => (empty("Asking the replicas", html! { "This takes a moment." })),
                None => {}
            }
        }
    }
}

/// The part of the log that the bars show.
fn axis(status: &BranchStatus) -> (u64, u64) {
    let answering = || status.replicas.iter().filter(|replica| replica.role != ReplicaRole::Unreachable);
    let high = answering().map(|replica| replica.log_index.max(replica.committed_index)).max().unwrap_or(0);
    let low = answering().map(|replica| replica.applied_index).min().unwrap_or(0);
    let span = (high - low.min(high)).max(SPAN);
    // A fifth of the way is left before the one furthest behind, so that its bar is seen.
    (low.saturating_sub(span / 5 + SPAN / 2), high.max(1))
}

fn tone(role: ReplicaRole) -> Tone {
    match role {
        ReplicaRole::Leader => Tone::Good,
        ReplicaRole::Follower | ReplicaRole::Learner | ReplicaRole::Unknown => Tone::Plain,
        ReplicaRole::Candidate => Tone::Warn,
        ReplicaRole::Stopped | ReplicaRole::Removed | ReplicaRole::Unreachable => Tone::Bad,
    }
}

fn replicas(status: &BranchStatus) -> Markup {
    let (low, high) = axis(status);
    scrolling(
        "Replicas",
        html! {
            table.replicas {
                thead { tr {
                    th scope="col" { "Replica" } th scope="col" { "Role" } th.number scope="col" { "Term" }
                    th.number scope="col" { "Log" } th.number scope="col" { "Committed" } th.number scope="col" { "Applied" }
                    th.number scope="col" { "Lag" }
                    th.bars-head scope="col" {
                        span.axis-ends { span { (text::count(low)) } span.legend { i.log {} "log " i.committed {} "committed " i.applied {} "applied" } span { (text::count(high)) } }
                    }
                } }
                tbody { @for replica in &status.replicas { (replica_row(replica, low, high)) } }
            }
        },
    )
}

fn replica_row(replica: &ReplicaStatus, low: u64, high: u64) -> Markup {
    let silent = replica.role == ReplicaRole::Unreachable;
    html! {
        tr data-key=(replica.id) {
            th scope="row" {
                "Replica " (replica.id)
                @if !replica.address.is_empty() { span.quiet.mono.address { (replica.address) } }
            }
            td { (badge(tone(replica.role), &text::spoken(replica.role.as_str()))) @if !replica.voter { " " (badge(Tone::Plain, "no vote")) } }
            @if silent {
                td.quiet colspan="6" { "Does not answer" }
            } @else {
                td.number { (text::count(replica.term)) }
                td.number { (text::count(replica.log_index)) }
                td.number { (text::count(replica.committed_index)) }
                td.number { (text::count(replica.applied_index)) }
                td.number { (text::count(replica.lag)) }
                td.bars-cell { (chart::bars(low, high, replica.log_index, replica.committed_index, replica.applied_index)) }
            }
        }
    }
}

fn reach(view: &View, status: &BranchStatus) -> Markup {
    let ids: Vec<u64> = status.replicas.iter().map(|replica| replica.id).collect();
    html! {
        h3 { "Who reaches whom" }
        (scrolling("Who reaches whom", html! {
            table.reach {
                thead { tr { th scope="col" { "From \\ to" } @for id in &ids { th scope="col" { (id) } } } }
                tbody { @for id in &ids {
                    tr data-key=(id) {
                        th scope="row" { "Replica " (id) }
                        @match view.reach.get(id).and_then(Option::as_ref) {
                            None => { td.quiet colspan=(ids.len()) { "does not say" } }
                            Some(reached) => { @for other in &ids { (reach_cell(*id, *other, reached)) } }
                        }
                    }
                } }
            }
        }))
    }
}

fn reach_cell(from: u64, to: u64, reached: &[(u64, bool)]) -> Markup {
    if from == to {
        return html! { td.quiet { "itself" } };
    }
    match reached.iter().find(|(id, _)| *id == to) {
        Some((_, true)) => html! { td { (badge(Tone::Good, "yes")) } },
        Some((_, false)) => html! { td { (badge(Tone::Bad, "no")) } },
        None => html! { td.quiet { "unknown" } },
    }
}

fn books(audit: &crate::client::Audit) -> Markup {
    use super::parts::money;
    html! {
        h3 { "Books at sequence " (text::count(audit.sequence)) " " (if audit.balanced { badge(Tone::Good, "balance") } else { badge(Tone::Bad, "do not balance") }) }
        dl.facts.across {
            div { dt { "Customers" } dd { (money(&audit.customers)) } }
            div { dt { "Cash" } dd { (money(&audit.cash)) } }
            div { dt { "Interest" } dd { (money(&audit.interest)) } }
            @for clearing in &audit.clearing {
                div { dt { "Due to " (clearing.branch) } dd { (money(&clearing.due_to)) } }
                div { dt { "Due from " (clearing.branch) } dd { (money(&clearing.due_from)) } }
            }
            div { dt { "Held" } dd { (money(&audit.held)) } }
            div { dt { "Active holds" } dd { (text::count(audit.holds)) } }
        }
        p.quiet.digest { "Digest " span.mono { (audit.digest) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: u64, log: u64, applied: u64) -> ReplicaStatus {
        ReplicaStatus {
            id,
            address: String::new(),
            role: ReplicaRole::Follower,
            voter: true,
            term: 1,
            log_index: log,
            committed_index: log,
            applied_index: applied,
            sequence: applied,
            digest: String::new(),
            lag: log - applied,
        }
    }

    #[test]
    fn the_axis_spans_all_replicas_and_shows_the_last_one() {
        let status = |replicas| BranchStatus {
            branch: "main".to_owned(),
            ledger: String::new(),
            replica: 1,
            leader: Some(1),
            replicas,
        };
        assert_eq!(axis(&status(vec![replica(1, 0, 0)])), (0, 1));
        let (low, high) =
            axis(&status(vec![replica(1, 1_000_000, 1_000_000), replica(2, 1_000_000, 999_000)]));
        assert!(low < 999_000 && high == 1_000_000, "{low} {high}");
    }
}
