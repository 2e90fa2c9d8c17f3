//! The outputs of every dialect against the oracle, and what holds in a trace whatever the order.

use std::collections::BTreeMap;

use bank::scenario::report::{BRANCH_DEBUG, CUSTOMER_DEBUG, EVENT_OUTPUTS, OUTPUT, Spelling, outputs};
use bank::scenario::{Dialect, check};
use proptest::prelude::*;
use serde_json::Value;

use super::play;
use super::story::{Story, stories};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Reads the story's file, plays it in order and compares the output with the oracle's.
fn agrees(story: &Story) -> Result<(), TestCaseError> {
    let plan = story.plan();
    let files = play::outputs(&plan, &play::in_order(&plan));
    prop_assert_eq!(json(&files[OUTPUT]), story.output(), "{}", story.text());
    let blocks = files[CUSTOMER_DEBUG].split(&format!("{}\n", "-".repeat(100))).count();
    let received = plan.requests().filter(|(.., event)| event.step().is_ok()).count();
    prop_assert_eq!(blocks, received.max(1));
    Ok(())
}

proptest! {
    #[test]
    fn p1_agrees_with_the_oracle(story in stories(Dialect::P1)) {
        agrees(&story)?;
    }

    #[test]
    fn p3_agrees_with_the_oracle(story in stories(Dialect::P3)) {
        agrees(&story)?;
    }

    #[test]
    fn p3old_agrees_with_the_oracle(story in stories(Dialect::P3Old)) {
        agrees(&story)?;
    }

    #[test]
    fn traces_are_sound_in_every_order(story in stories(Dialect::P2), seed: u64) {
        let plan = story.plan();
        let played = play::with_clocks(&plan, seed);
        let files = play::outputs(&plan, &played);
        let verdict = check::check(play::trace_files(&files));
        prop_assert!(verdict.is_sound(), "{}\n{}", verdict, files[EVENT_OUTPUTS]);
        let (n, (changes, others)) = (plan.branches.len(), play::changes(&plan, &played));
        let rows = [changes + others, changes * (2 * n - 1) + others, 2 * n * changes + 2 * others];
        prop_assert_eq!(verdict.counts.rows, rows);
        let received = changes * n + others;
        let blocks = files[BRANCH_DEBUG].split(&format!("{}\n", "-".repeat(100))).count();
        prop_assert_eq!(blocks, received.max(1));
    }

    #[test]
    fn the_older_clocks_increase_and_follow_their_causes(story in stories(Dialect::P2), seed: u64) {
        let mut plan = story.plan();
        plan.dialect = Dialect::P2Old;
        let played = play::with_clocks(&plan, seed);
        let output = json(&play::outputs(&plan, &played)[OUTPUT]);
        older_clocks_are_sound(&output, plan.branches.len())?;
    }

    #[test]
    fn an_older_request_comes_after_the_response_to_the_one_before(story in stories(Dialect::P2), seed: u64) {
        let mut plan = story.plan();
        plan.dialect = Dialect::P2Old;
        // Ids that tell the events apart.
        let events = plan.entries.iter_mut().flat_map(|entry| &mut entry.events);
        (0..).zip(events).for_each(|(id, event)| event.id = Some(id));
        let output = json(&play::outputs(&plan, &play::with_patience(&plan, seed))[OUTPUT]);
        older_clocks_are_sound(&output, plan.branches.len())?;
        let clock_of = |id: Option<u64>, name: &str| {
            let object = output.as_array().unwrap().iter().find(|object| object["eventid"].as_u64() == id && id.is_some())?;
            let mut steps = object["data"].as_array().unwrap().iter();
            let step = steps.find(|step| step["name"].as_str().unwrap().split_once('_').unwrap().1 == name)?;
            step["clock"].as_u64()
        };
        let mut responses = BTreeMap::new();
        for (_, entry, event) in plan.requests() {
            let Some(request) = clock_of(event.id, "request") else { continue };
            let before = responses.insert(entry.customer, clock_of(event.id, "response"));
            prop_assert!(before.flatten().is_none_or(|response| response < request), "{}\n{}", story.text(), output);
        }
    }
}

fn older_clocks_are_sound(output: &Value, n: usize) -> Result<(), TestCaseError> {
    let (mut by_branch, mut by_event) = (0, 0);
    for object in output.as_array().unwrap() {
        let steps = object["data"].as_array().unwrap();
        let clocks: Vec<u64> = steps.iter().map(|step| step["clock"].as_u64().unwrap()).collect();
        if object.get("pid").is_some() {
            by_branch += steps.len();
            prop_assert!(clocks.is_sorted_by(|a, b| a < b), "{}", object);
            continue;
        }
        by_event += steps.len();
        prop_assert!(clocks.is_sorted(), "{}", object);
        let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for step in steps {
            let name = step["name"].as_str().unwrap().split_once('_').unwrap().1;
            times.entry(name).or_default().push(step["clock"].as_u64().unwrap());
        }
        let count = |name| times.get(name).map_or(0, Vec::len);
        prop_assert_eq!((count("request"), count("response")), (1, 1));
        let propagated = count("propagate_request");
        prop_assert!(propagated == 0 || propagated == n - 1);
        prop_assert_eq!(count("propagate_execute"), propagated);
        prop_assert_eq!(count("propagate_response"), propagated);
        prop_assert!(times["request"][0] < times["response"][0]);
        if propagated > 0 {
            prop_assert!(times["propagate_request"].iter().all(|clock| *clock > times["execute"][0]));
            prop_assert!(times["propagate_response"].iter().all(|clock| *clock < times["response"][0]));
        }
    }
    prop_assert_eq!(by_branch, by_event);
    Ok(())
}

#[test]
fn a_customer_with_two_entries_has_two_objects() {
    let text = r#"[{"id":11,"type":"customer","events":[{"id":1,"interface":"deposit","money":40},{"id":2,"interface":"query"}]},
        {"id":12,"type":"customer","events":[{"id":3,"interface":"withdraw","money":300},{"id":4,"interface":"query"}]},
        {"id":11,"type":"customer","events":[{"id":5,"interface":"withdraw","money":90},{"id":6,"interface":"query"}]},
        {"id":5,"type":"customer"},
        {"id":11,"type":"branch","balance":250},{"id":12,"type":"branch","balance":250},{"id":13,"type":"branch","balance":250}]"#;
    let plan = play::plan(text);
    let output = play::outputs(&plan, &play::in_order(&plan))[OUTPUT].replace('\n', "");
    let expected = r#"[{"id":11,"recv":[{"interface":"deposit","result":"success","balance_after":290},{"interface":"query","balance":290}]},{"id":12,"recv":[{"interface":"withdraw","result":"fail","balance_after":290},{"interface":"query","balance":290}]},{"id":11,"recv":[{"interface":"withdraw","result":"success","balance_after":200},{"interface":"query","balance":200}]},{"id":5,"recv":[]}]"#;
    assert_eq!(output, expected);
}

#[test]
fn the_example_of_logical_clocks_has_eight_rows() {
    let text = r#"[{"id":4,"type":"customer","customer-requests":[
        {"customer-request-id":71,"interface":"deposit","money":15},
        {"customer-request-id":72,"interface":"withdraw","money":5}]},
        {"id":4,"type":"branch","balance":60},{"id":9,"type":"branch","balance":60}]"#;
    let plan = play::plan(text);
    let played = play::with_clocks(&plan, 1);
    let files = play::outputs(&plan, &played);
    let rows = json(&files[EVENT_OUTPUTS]);
    assert_eq!(rows.as_array().unwrap().len(), 8);
    assert_eq!(
        rows[0].to_string(),
        r#"{"comment":"event_sent from customer 4","customer-request-id":71,"id":4,"interface":"deposit","logical_clock":1,"type":"customer"}"#
    );
    let comments: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["comment"].as_str().unwrap()).collect();
    assert_eq!(
        comments[..4],
        [
            "event_sent from customer 4",
            "event_recv from customer 4",
            "event_sent to branch 9",
            "event_recv from branch 4",
        ]
    );
    let older = outputs(&plan, &played, Spelling::Propogate);
    let words = older.iter().map(ToString::to_string).collect::<String>();
    assert!(words.contains("\"propogate_deposit\"") && !words.contains("propagate"));
}

#[test]
fn a_query_that_fails_says_so_in_every_dialect() {
    let text = |key: &str| {
        format!(
            r#"[{{"id":1,"type":"customer","events":[{{"interface":"query","{key}":9}},{{"interface":"query","{key}":2}}]}},
            {{"id":2,"type":"branch","balance":4.5}}]"#
        )
    };
    for (key, expected) in [
        (
            "branch",
            r#"[{"id":1,"recv":[{"interface":"query","branch":9,"result":"fail"}]},{"id":1,"recv":[{"interface":"query","branch":2,"balance":4.5}]}]"#,
        ),
        ("dest", r#"[{"id":1,"result":"fail"},{"id":1,"balance":4.5}]"#),
    ] {
        let plan = play::plan(&text(key));
        let files = play::outputs(&plan, &play::in_order(&plan));
        assert_eq!(files[OUTPUT].replace('\n', ""), expected);
    }
}
