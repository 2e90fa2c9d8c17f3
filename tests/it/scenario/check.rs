//! The checker rejects every broken rule, one at a time, and every small change of one file.

use std::collections::BTreeSet;

use bank::scenario::TraceFiles;
use bank::scenario::check::{Rule, Verdict, check};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The three files of a sound trace with room between its clocks, to be broken.
#[derive(Clone)]
pub(crate) struct Trace {
    pub(crate) customers: Value,
    pub(crate) branches: Value,
    pub(crate) events: Value,
}

fn row(request: u64, clock: u64, interface: &str, comment: &str) -> Value {
    json!({ "customer-request-id": request, "logical_clock": clock, "interface": interface, "comment": comment })
}

impl Trace {
    /// Customer 4 deposits, fails to withdraw and asks at branch 4; customer 8 withdraws at branch 9.
    pub(crate) fn sound() -> Trace {
        let object =
            |id: u64, kind: &str, events: &[Value]| json!({ "id": id, "type": kind, "events": events });
        let four = "event_sent from customer 4";
        let customers = json!([
            object(
                4,
                "customer",
                &[row(71, 1, "deposit", four), row(72, 2, "withdraw", four), row(73, 3, "query", four)]
            ),
            object(8, "customer", &[row(81, 1, "withdraw", "event_sent from customer 8")]),
        ]);
        let branches = json!([
            object(
                4,
                "branch",
                &[
                    row(71, 10, "deposit", "event_recv from customer 4"),
                    row(71, 11, "propagate_deposit", "event_sent to branch 9"),
                    row(71, 12, "propagate_deposit", "event_sent to branch 30"),
                    row(72, 13, "withdraw", "event_recv from customer 4"),
                    row(73, 14, "query", "event_recv from customer 4"),
                    row(81, 30, "propagate_withdraw", "event_recv from branch 9"),
                ]
            ),
            object(
                9,
                "branch",
                &[
                    row(71, 15, "propagate_deposit", "event_recv from branch 4"),
                    row(81, 20, "withdraw", "event_recv from customer 8"),
                    row(81, 21, "propagate_withdraw", "event_sent to branch 4"),
                    row(81, 22, "propagate_withdraw", "event_sent to branch 30"),
                ]
            ),
            object(
                30,
                "branch",
                &[
                    row(71, 16, "propagate_deposit", "event_recv from branch 4"),
                    row(81, 25, "propagate_withdraw", "event_recv from branch 9"),
                ]
            ),
        ]);
        let mut trace = Trace { customers, branches, events: Value::Null };
        trace.rebuild();
        trace
    }

    /// Makes the third file from the other two, so that only the rule meant is broken.
    fn rebuild(&mut self) {
        let mut rows = Vec::new();
        for object in [&self.customers, &self.branches].into_iter().flat_map(|file| file.as_array().unwrap())
        {
            for row in object["events"].as_array().unwrap() {
                let mut row = row.clone();
                row["id"] = object["id"].clone();
                row["type"] = object["type"].clone();
                rows.push(row);
            }
        }
        let key = |row: &Value| (row["customer-request-id"].as_u64(), row["logical_clock"].as_u64());
        rows.sort_by_key(key);
        self.events = Value::from(rows);
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let [customers, branches, events] =
            [&self.customers, &self.branches, &self.events].map(ToString::to_string);
        check(TraceFiles {
            customers: customers.as_bytes(),
            branches: branches.as_bytes(),
            events: events.as_bytes(),
        })
    }

    fn broken(&self) -> BTreeSet<Rule> {
        self.verdict().findings.iter().map(|finding| finding.rule).collect()
    }
}

/// The row of a process's list.
fn at(file: &mut Value, object: usize, row: usize) -> &mut Value {
    &mut file[object]["events"][row]
}

fn list(file: &mut Value, object: usize) -> &mut Vec<Value> {
    file[object]["events"].as_array_mut().unwrap()
}

/// A change to the trace, which the third file follows, breaks exactly these rules.
#[track_caller]
fn breaks(rules: &[Rule], change: impl FnOnce(&mut Trace)) {
    let mut trace = Trace::sound();
    change(&mut trace);
    trace.rebuild();
    assert_eq!(trace.broken(), rules.iter().copied().collect(), "{}", trace.verdict());
}

/// A change to the third file alone.
#[track_caller]
fn breaks_events(rules: &[Rule], change: impl FnOnce(&mut Vec<Value>)) {
    let mut trace = Trace::sound();
    change(trace.events.as_array_mut().unwrap());
    assert_eq!(trace.broken(), rules.iter().copied().collect(), "{}", trace.verdict());
}

#[test]
fn a_sound_trace_is_sound() {
    let verdict = Trace::sound().verdict();
    assert_eq!(verdict.to_string(), "trace sound: 2 customers, 3 branches, 4 requests, 4 + 12 = 16 rows\n");
    let nothing = Trace { customers: json!([]), branches: json!([]), events: json!([]) };
    assert!(nothing.verdict().is_sound());
}

#[test]
fn customers_count_their_requests() {
    breaks(&[Rule::CustomerClocks], |trace| {
        at(&mut trace.customers, 0, 1)["logical_clock"] = json!(3);
        at(&mut trace.customers, 0, 2)["logical_clock"] = json!(4);
    });
    breaks(&[Rule::CustomerClocks], |trace| at(&mut trace.customers, 0, 2)["logical_clock"] = json!(2));
    breaks(&[Rule::CustomerClocks], |trace| at(&mut trace.customers, 1, 0)["logical_clock"] = json!(2));
    // A second object of the same customer goes on counting.
    breaks(&[], |trace| {
        let last = list(&mut trace.customers, 0).pop().unwrap();
        let object = json!({ "id": 4, "type": "customer", "events": [last] });
        trace.customers.as_array_mut().unwrap().push(object);
    });
}

#[test]
fn branch_clocks_increase_in_listed_order() {
    breaks(&[Rule::BranchClocks], |trace| list(&mut trace.branches, 0).swap(3, 4));
    breaks(&[Rule::BranchClocks], |trace| at(&mut trace.branches, 0, 4)["logical_clock"] = json!(13));
}

#[test]
fn a_receive_is_later_than_its_send() {
    for clock in [0, 1] {
        let mut rules = vec![Rule::ReceiveAfterRequest];
        rules.extend((clock == 0).then_some(Rule::BranchClocks));
        breaks(&rules, |trace| at(&mut trace.branches, 0, 0)["logical_clock"] = json!(clock));
    }
    for clock in [11, 12] {
        breaks(&[Rule::ReceiveAfterSend], |trace| {
            at(&mut trace.branches, 2, 0)["logical_clock"] = json!(clock);
        });
    }
}

#[test]
fn a_branch_sends_after_it_has_received() {
    breaks(&[Rule::SendAfterReceive], |trace| {
        at(&mut trace.branches, 0, 1)["logical_clock"] = json!(9);
        list(&mut trace.branches, 0).swap(0, 1);
    });
}

#[test]
fn a_write_is_exactly_2n_rows_and_the_rest_are_two() {
    let both = [Rule::RowsOfRequest, Rule::Totals];
    // A branch that never receives, one that is never sent to, both; one that receives twice.
    breaks(&both, |trace| drop(list(&mut trace.branches, 2).pop()));
    breaks(&both, |trace| drop(list(&mut trace.branches, 1).pop()));
    breaks(&both, |trace| {
        list(&mut trace.branches, 2).pop();
        list(&mut trace.branches, 1).pop();
    });
    breaks(&both, |trace| {
        let row = row(81, 26, "propagate_withdraw", "event_recv from branch 9");
        list(&mut trace.branches, 2).push(row);
    });
    // Two sends to one branch and none to another.
    breaks(&[Rule::RowsOfRequest], |trace| {
        at(&mut trace.branches, 1, 3)["comment"] = json!("event_sent to branch 4");
    });
    // A branch that is sent to and does not exist.
    breaks(&[Rule::RowsOfRequest], |trace| {
        at(&mut trace.branches, 1, 3)["comment"] = json!("event_sent to branch 31");
    });
    // A request that nobody receives, and one that two receive.
    breaks(&both, |trace| drop(list(&mut trace.branches, 0).remove(4)));
    breaks(&both, |trace| {
        list(&mut trace.branches, 2).push(row(73, 40, "query", "event_recv from customer 4"));
    });
    // A query that is told to the others.
    breaks(&[Rule::RowsOfRequest], |trace| {
        let parts = [&mut trace.customers, &mut trace.branches];
        for part in parts.into_iter().flat_map(|file| file.as_array_mut().unwrap()) {
            for row in part["events"].as_array_mut().unwrap() {
                if row["customer-request-id"] == 81 && row["interface"] == "withdraw" {
                    row["interface"] = json!("query");
                }
            }
        }
    });
    // Another operation than the customer asked for.
    breaks(&[Rule::RowsOfRequest], |trace| at(&mut trace.branches, 0, 3)["interface"] = json!("deposit"));
    breaks(&[Rule::RowsOfRequest], |trace| {
        at(&mut trace.branches, 2, 0)["interface"] = json!("propagate_withdraw");
    });
    // Another branch sends than has received.
    breaks(&[Rule::BranchClocks, Rule::RowsOfRequest], |trace| {
        let send = list(&mut trace.branches, 0).remove(2);
        list(&mut trace.branches, 2).push(send);
    });
}

#[test]
fn comments_name_the_sender() {
    breaks(&[Rule::Sender], |trace| {
        at(&mut trace.branches, 2, 0)["comment"] = json!("event_recv from branch 9");
    });
    breaks(&[Rule::Sender], |trace| {
        at(&mut trace.branches, 0, 4)["comment"] = json!("event_recv from customer 8");
    });
    breaks(&[Rule::Sender], |trace| {
        at(&mut trace.customers, 0, 2)["comment"] = json!("event_sent from customer 8");
    });
}

#[test]
fn the_third_file_is_the_union_of_the_others() {
    let last = |rows: &mut Vec<Value>| rows.len() - 1;
    breaks_events(&[Rule::Union], |rows| {
        let last = last(rows);
        rows[last]["logical_clock"] = json!(31);
    });
    breaks_events(&[Rule::Union, Rule::RowsOfRequest, Rule::Totals], |rows| drop(rows.pop()));
    breaks_events(&[Rule::Union, Rule::RowsOfRequest, Rule::Totals], |rows| {
        rows.push(rows.last().unwrap().clone());
    });
    // Three rows are missing in the second file.
    let mut trace = Trace::sound();
    list(&mut trace.branches, 1).truncate(1);
    assert_eq!(trace.broken(), [Rule::Union, Rule::Totals].into());
}

#[test]
fn the_third_file_is_grouped_and_ordered() {
    breaks_events(&[Rule::Grouping], |rows| rows.swap(2, 3));
    breaks_events(&[Rule::Grouping], |rows| {
        let row = rows.remove(5);
        rows.push(row);
    });
}

/// Rows in the order of their clocks instead of by request.
fn ungrouped(trace: &mut Trace) {
    let rows = trace.events.as_array_mut().unwrap();
    rows.sort_by_key(|row| row["logical_clock"].as_u64());
}

#[test]
fn a_third_file_that_is_only_not_grouped_has_one_finding() {
    let mut trace = Trace::sound();
    ungrouped(&mut trace);
    let verdict = trace.verdict();
    let expected = "trace not sound, 1 finding: 2 customers, 3 branches, 4 requests, 4 + 12 = 16 rows\n";
    assert!(verdict.to_string().ends_with(expected), "{verdict}");
    assert_eq!(verdict.findings[0].rule, Rule::Grouping);
    // What is wrong besides is still found, after it.
    at(&mut trace.branches, 2, 0)["comment"] = json!("event_recv from branch 9");
    trace.rebuild();
    ungrouped(&mut trace);
    let rules: Vec<Rule> = trace.verdict().findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::Grouping, Rule::Sender]);
    // Without ids of their own, requests cannot be told apart in such a file.
    let mut trace = Trace::sound();
    let objects = [&mut trace.customers, &mut trace.branches].map(|file| file.as_array_mut().unwrap());
    let parts = objects.into_iter().flatten().flat_map(events_of);
    for row in parts.chain(trace.events.as_array_mut().unwrap()) {
        row["customer-request-id"] = json!(5);
    }
    ungrouped(&mut trace);
    let verdict = trace.verdict();
    assert!(verdict.to_string().ends_with(expected), "{verdict}");
}

#[test]
fn rows_of_requests_with_the_same_id_are_told_apart() {
    let mut trace = Trace::sound();
    let objects = [&mut trace.customers, &mut trace.branches].map(|file| file.as_array_mut().unwrap());
    let parts = objects.into_iter().flatten().flat_map(events_of);
    for row in parts.chain(trace.events.as_array_mut().unwrap()) {
        row["customer-request-id"] = json!(5);
    }
    assert!(trace.verdict().is_sound(), "{}", trace.verdict());
    at(&mut trace.branches, 2, 0)["customer-request-id"] = json!(6);
    trace.events[5]["customer-request-id"] = json!(6);
    assert_eq!(trace.broken(), [Rule::Grouping].into(), "{}", trace.verdict());
}

#[test]
fn the_files_are_traces() {
    for (what, value) in [
        ("interface", "propagate_query"),
        ("interface", "steal"),
        ("interface", "propagate_deposit"),
        ("comment", "event_recv from customer"),
        ("comment", "event_recv from customer +4"),
        ("comment", "event_sent to branch 9"),
    ] {
        let mut trace = Trace::sound();
        at(&mut trace.branches, 0, 0)[what] = json!(value);
        assert!(trace.broken().contains(&Rule::Form), "{what} {value}");
    }
    let mut trace = Trace::sound();
    trace.branches[0]["type"] = json!("customer");
    assert!(trace.broken().contains(&Rule::Form));
    let mut trace = Trace::sound();
    trace.branches.as_array_mut().unwrap().push(json!({ "id": 30, "type": "branch", "events": [] }));
    assert!(trace.broken().contains(&Rule::Form));
    let verdict =
        check(TraceFiles { customers: b"[{\"id\":1}]", branches: b"[", events: &b"[".repeat(1_000_000) });
    let said = verdict.to_string();
    assert!(
        said.contains("customer_outputs.json: form: not a trace: missing field `type` at line 1 column 9")
    );
    assert!(said.contains("branch_outputs.json: form: not a trace: EOF"), "{said}");
    assert!(said.contains("event_outputs.json: form: not a trace:"), "{said}");
    assert!(
        said.ends_with("trace not sound, 3 findings: 0 customers, 0 branches, 0 requests, 0 + 0 = 0 rows\n")
    );
}

#[test]
fn a_finding_names_file_and_row() {
    let mut trace = Trace::sound();
    at(&mut trace.branches, 0, 4)["logical_clock"] = json!(13);
    trace.rebuild();
    assert_eq!(
        trace.verdict().findings[0].to_string(),
        "branch_outputs.json $[0].events[4]: branch-clocks: branch 4 has clock 13 after clock 13; clocks increase"
    );
}

#[test]
fn requests_without_ids_are_told_apart() {
    let mut trace = Trace::sound();
    for file in [&mut trace.customers, &mut trace.branches] {
        for object in file.as_array_mut().unwrap() {
            for row in object["events"].as_array_mut().unwrap() {
                row["before"] = row["customer-request-id"].take();
            }
        }
    }
    for row in trace.events.as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("customer-request-id");
    }
    assert_eq!(trace.verdict().to_string(), Trace::sound().verdict().to_string());
}

proptest! {
    #[test]
    fn no_change_of_one_row_in_one_file_goes_through(file in 0usize..3, place: prop::sample::Index, way in 0usize..7) {
        let mut trace = Trace::sound();
        let lists: Vec<&mut Vec<Value>> = match file {
            0 => trace.customers.as_array_mut().unwrap().iter_mut().map(events_of).collect(),
            1 => trace.branches.as_array_mut().unwrap().iter_mut().map(events_of).collect(),
            _ => vec![trace.events.as_array_mut().unwrap()],
        };
        let mut rows: Vec<_> = lists.into_iter().flat_map(|list| list.iter_mut()).collect();
        let at = place.index(rows.len());
        let row = &mut rows[at];
        match way {
            0 => row["logical_clock"] = json!(row["logical_clock"].as_u64().unwrap() + 1),
            1 => row["logical_clock"] = json!(row["logical_clock"].as_u64().unwrap() - 1),
            2 => row["customer-request-id"] = json!(row["customer-request-id"].as_u64().unwrap() + 1),
            3 => row["comment"] = json!(format!("{}0", row["comment"].as_str().unwrap())),
            4 => row["interface"] = json!("interest"),
            5 => row["interface"] = json!(if row["interface"] == "query" { "deposit" } else { "query" }),
            _ => row["customer-request-id"] = Value::Null,
        }
        prop_assert!(!trace.verdict().is_sound());
    }
}

fn events_of(object: &mut Value) -> &mut Vec<Value> {
    object["events"].as_array_mut().unwrap()
}
