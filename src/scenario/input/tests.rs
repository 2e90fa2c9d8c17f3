//! Every row of the input table: accepted, warned about, or refused with its path.

use super::*;
use crate::model::Reason;

/// A file with one branch 7 of balance 50 and these other entries.
fn with_branch(entries: &str) -> String {
    format!("[{entries}{} {{\"id\":7,\"type\":\"branch\",\"balance\":50}}]", comma(entries))
}

/// A file with branch 7 and customer 7 with these events.
fn with_events(events: &str) -> String {
    with_branch(&format!("{{\"id\":7,\"type\":\"customer\",\"events\":[{events}]}}"))
}

fn comma(entries: &str) -> &str {
    if entries.is_empty() { "" } else { "," }
}

fn plan(text: &str) -> (Plan, Vec<Warning>) {
    read(text.as_bytes(), Options::default()).unwrap_or_else(|failure| panic!("{text}: {failure}"))
}

/// A file that is read without a word.
#[track_caller]
fn quiet(text: &str) -> Plan {
    let (plan, warnings) = plan(text);
    assert_eq!(warnings, [], "{text}");
    plan
}

/// Paths and messages of what is odd; strict reading refuses the first of them.
#[track_caller]
fn warned(text: &str) -> (Plan, Vec<String>) {
    let (plan, warnings) = plan(text);
    let strict = read(text.as_bytes(), Options { strict: true, ..Options::default() }).unwrap_err();
    assert_eq!(strict.message, warnings.first().unwrap().to_string(), "{text}");
    (plan, warnings.into_iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect())
}

#[track_caller]
fn refused(text: &str, path: &str, place: (usize, usize), message: &str) {
    let failure = read(text.as_bytes(), Options::default()).unwrap_err();
    let (line, column) = place;
    assert_eq!(failure.reason, Reason::ScenarioInvalid);
    assert_eq!(failure.message, format!("line {line}, column {column}, {path}: {message}"), "{text}");
    assert_eq!(failure.metadata["path"], path);
    assert_eq!(failure.metadata["line"], line.to_string());
}

fn one_event(text: &str) -> Event {
    quiet(text).entries[0].events[0].clone()
}

#[test]
fn keys_are_compared_without_case_blanks_and_underscores() {
    let text = "[{\" ID \":3,\"Type\":\"customer\",\"customer requests\":[{\" Customer-Request-ID \":9,\" INTERFACE\":\"query\"}],\"branch_id\":5},{\"Id\":5,\"TYPE\":\"branch\",\"Balance\":1}]";
    let plan = quiet(text);
    assert_eq!(plan.dialect, Dialect::P2);
    assert_eq!(
        plan.entries[0].events[0],
        Event { id: Some(9), interface: Interface::Query, target: Target { branch: 5, index: Some(0) } }
    );
}

#[test]
fn types_have_synonyms_in_any_case() {
    for customer in ["customer", "Client", "CUSTOMER", " client "] {
        for branch in ["branch", "Bank", "BRANCH"] {
            let text = format!(
                "[{{\"id\":1,\"type\":\"{branch}\",\"balance\":0}},{{\"id\":1,\"type\":\"{customer}\"}}]"
            );
            let plan = quiet(&text);
            assert_eq!((plan.branches.len(), plan.entries.len()), (1, 1));
        }
    }
    let text = with_branch("{\"id\":1,\"type\":\"teller\"}");
    refused(&text, "$[0].type", (1, 17), "the type \"teller\" is neither customer nor branch");
    refused(&with_branch("{\"id\":1}"), "$[0].type", (1, 2), "this is missing");
    refused(&with_branch("17"), "$[0]", (1, 2), "an object is expected here and this is a number");
}

#[test]
fn entries_come_in_any_order_with_any_ids() {
    let text = "[{\"id\":70000,\"type\":\"branch\",\"balance\":1},{\"id\":345,\"type\":\"customer\"},{\"id\":0,\"type\":\"branch\",\"balance\":1},{\"id\":18446744073709551615,\"type\":\"customer\",\"events\":[]},{\"id\":987,\"type\":\"branch\",\"balance\":1.00}]";
    let plan = quiet(text);
    assert_eq!(plan.branches, [70_000, 0, 987]);
    let customers: Vec<_> = plan.entries.iter().map(|entry| (entry.customer, entry.events.len())).collect();
    assert_eq!(customers, [(345, 0), (u64::MAX, 0)]);
    assert_eq!(plan.balance, Money::from_minor(100).unwrap());
    for wrong in ["-1", "1.5", "18446744073709551616", "1e2"] {
        let text = with_branch(&format!("{{\"type\":\"customer\",\"id\":{wrong}}}"));
        let message = format!("a whole number from 0 is expected here and this is {wrong}");
        refused(&text, "$[0].id", (1, 26), &message);
    }
    let text = with_branch("{\"type\":\"customer\",\"id\":\"1\"}");
    refused(&text, "$[0].id", (1, 26), "a whole number from 0 is expected here and this is a text");
}

#[test]
fn a_customer_may_be_there_twice_and_a_branch_may_not() {
    let customer = "{\"id\":7,\"type\":\"customer\"}";
    let (plan, warnings) = warned(&with_branch(&format!("{customer},{customer}")));
    assert_eq!(plan.entries.len(), 2);
    assert_eq!(warnings, ["$[1]: customer 7 has an entry already; this one runs after it"]);
    let branch = "{\"id\":7,\"type\":\"bank\",\"balance\":50}";
    refused(&with_branch(branch), "$[1].id", (1, 45), "branch 7 is there twice; give each branch its own id");
}

#[test]
fn event_lists_may_be_missing_or_empty() {
    for list in ["", ",\"events\":[]", ",\"events\":null", ",\"customer-requests\":[]"] {
        let plan = quiet(&with_branch(&format!("{{\"id\":7,\"type\":\"customer\"{list}}}")));
        assert_eq!(plan.entries[0].events, []);
    }
    let text = with_branch("{\"id\":7,\"type\":\"customer\",\"events\":3}");
    refused(&text, "$[0].events", (1, 37), "an array is expected here and this is 3");
    let text = with_branch("{\"id\":7,\"type\":\"customer\",\"events\":[],\"customer-requests\":[]}");
    refused(&text, "$[0]", (1, 2), "both events and customer-requests; keep one");
}

#[test]
fn event_ids_may_be_missing_and_repeated() {
    let query = "\"interface\":\"query\"";
    for (key, id) in [("id", 4), ("customer-request-id", 5), ("customer-requests", 6)] {
        assert_eq!(one_event(&with_events(&format!("{{\"{key}\":{id},{query}}}"))).id, Some(id));
    }
    assert_eq!(one_event(&with_events(&format!("{{{query}}}"))).id, None);
    let events = format!("{{\"id\":1,{query}}},{{\"id\":1,{query}}},{{\"id\":1,{query}}}");
    let (plan, warnings) = warned(&with_events(&events));
    assert_eq!(plan.entries[0].events.len(), 3);
    assert_eq!(warnings, ["$[0].events[1]: the id 1 stands at an earlier event of this customer too"]);
}

#[test]
fn interfaces_are_words_in_any_case() {
    for (word, interface) in [
        ("query", Interface::Query),
        ("Query", Interface::Query),
        ("DEPOSIT", Interface::Deposit(Money::from_minor(500).unwrap())),
        (" withdraw", Interface::Withdraw(Money::from_minor(500).unwrap())),
    ] {
        let event = one_event(&with_events(&format!("{{\"interface\":\"{word}\",\"money\":5}}")));
        assert_eq!(event.interface, interface);
    }
    for (word, meant) in [("Read", "query"), ("write", "deposit")] {
        let (plan, warnings) = warned(&with_events(&format!("{{\"interface\":\"{word}\",\"money\":5}}")));
        assert_eq!(plan.entries[0].events[0].interface.name(), meant);
        assert_eq!(warnings, [format!("$[0].events[0]: the interface {word:?} is taken for {meant}")]);
    }
    for (event, word) in [("\"interface\":\"Steal\"", "Steal"), ("\"id\":1", "")] {
        let (plan, warnings) = warned(&with_events(&format!("{{{event}}}")));
        assert_eq!(plan.entries[0].events[0].interface, Interface::Unknown(word.into()));
        assert!(plan.entries[0].events[0].step().is_err());
        assert_eq!(warnings, [format!("$[0].events[0]: the interface {word:?} is unknown; the event fails")]);
    }
    let text = with_events("{\"interface\":1}");
    refused(&text, "$[0].events[0].interface", (1, 51), "a text is expected here and this is 1");
}

#[test]
fn money_is_exact_and_never_negative() {
    for (number, minor) in [("0", 0), ("15", 1_500), ("0.5", 50), ("410.0", 41_000), ("1e2", 10_000)] {
        let event = one_event(&with_events(&format!("{{\"interface\":\"deposit\",\"money\":{number}}}")));
        assert_eq!(event.interface, Interface::Deposit(Money::from_minor(minor).unwrap()));
    }
    // On a query it is nobody's business what stands there.
    for number in ["-1", "0.001", "\"much\"", "null"] {
        let event = one_event(&with_events(&format!("{{\"interface\":\"query\",\"money\":{number}}}")));
        assert_eq!(event.interface, Interface::Query);
    }
    let path = "$[0].events[0].money";
    for (number, message) in [
        ("-1", "an amount is never negative"),
        ("0.001", "an amount has at most two decimals and is never rounded"),
        ("1e12", "an amount is at most 999999999999.99"),
        ("\"5\"", "an amount, as a number, is expected here and this is a text"),
        ("true", "an amount, as a number, is expected here and this is a truth value"),
    ] {
        for interface in ["deposit", "withdraw", "write"] {
            let text = with_events(&format!("{{\"money\":{number},\"interface\":\"{interface}\"}}"));
            refused(&text, path, (1, 47), message);
        }
    }
    for event in ["{\"interface\":\"deposit\"}", "{\"interface\":\"deposit\",\"money\":null}"] {
        refused(&with_events(event), path, (1, 38), "this is missing");
    }
}

#[test]
fn the_target_is_named_or_the_home() {
    let branches =
        "{\"id\":7,\"type\":\"branch\",\"balance\":0},{\"id\":8,\"type\":\"branch\",\"balance\":0}";
    let file = |customer: &str, event: &str| {
        format!(
            "[{{{customer},\"type\":\"customer\",\"events\":[{{\"interface\":\"query\"{event}}}]}},{branches}]"
        )
    };
    for (customer, event, branch) in [
        ("\"id\":7", ",\"branch\":8", 8),
        ("\"id\":7", ",\"dest\":8", 8),
        ("\"id\":7", ",\"branch\":8,\"dest\":7", 8),
        ("\"id\":7", "", 7),
        ("\"id\":7", ",\"branch\":null", 7),
        ("\"id\":1,\"branch_id\":8", "", 8),
        ("\"id\":1,\"branch_id\":8", ",\"dest\":7", 7),
    ] {
        let target = one_event(&file(customer, event)).target;
        assert_eq!(target.branch, branch, "{customer} {event}");
        assert_eq!(target.index, Some(usize::try_from(branch - 7).unwrap()));
    }
    for (customer, event, branch, home) in [
        ("\"id\":7", ",\"branch\":9", 9, ""),
        ("\"id\":1", "", 1, ", the customer's home,"),
        ("\"id\":7,\"branch_id\":3", "", 3, ", the customer's home,"),
    ] {
        let (plan, warnings) = warned(&file(customer, event));
        let event = &plan.entries[0].events[0];
        assert_eq!(event.target, Target { branch, index: None });
        assert!(event.step().is_err());
        assert_eq!(
            warnings,
            [format!("$[0].events[0]: branch {branch}{home} is not in the file; the event fails")]
        );
    }
}

#[test]
fn branches_agree_on_the_balance() {
    let text =
        "[{\"id\":1,\"type\":\"branch\",\"balance\":10},\n {\"id\":5,\"type\":\"branch\",\"balance\":10.5}]";
    let message = "branch 5 begins with 10.50 and branch 1 with 10.00; all must begin with the same balance";
    refused(text, "$[1].balance", (2, 36), message);
    let text = "[{\"id\":1,\"type\":\"branch\",\"balance\":-10}]";
    refused(text, "$[0].balance", (1, 36), "an amount is never negative");
    refused("[{\"id\":1,\"type\":\"branch\"}]", "$[0].balance", (1, 2), "this is missing");
}

#[test]
fn extra_keys_are_ignored_and_double_keys_noted() {
    let text = with_branch("{\"id\":7,\"type\":\"customer\",\"name\":{\"a\":[1]},\"note\":\"x\"}");
    quiet(&text);
    let (plan, warnings) = warned(&with_branch("{\"id\":1,\"ID \":7,\"type\":\"customer\"}"));
    assert_eq!(plan.entries[0].customer, 7);
    assert_eq!(warnings, ["$[0][\"ID \"]: this key is there twice; the last one counts"]);
}

#[test]
fn a_file_needs_branches_and_no_customers() {
    let message = "there is no branch; add an object with the type branch";
    for text in ["[]", "[{\"id\":1,\"type\":\"customer\"}]"] {
        refused(text, "$", (1, 1), message);
    }
    let plan = quiet(&with_branch(""));
    assert_eq!((plan.entries.len(), plan.events(), plan.dialect), (0, 0, Dialect::P1));
    for (text, kind) in [("{}", "an object"), ("3", "a number"), ("\"[]\"", "a text"), ("null", "null")] {
        refused(text, "$", (1, 1), &format!("a scenario is one JSON array and this is {kind}"));
    }
}

#[test]
fn prose_quotes_and_commas() {
    quiet(&format!("\u{feff}{}\n", with_events("{\"interface\":\"query\"}")));
    let text = with_events("") + "\n\nExplanation: see above";
    refused(&text, "$", (3, 1), "the file has something after its JSON value; remove it");
    let text = "[{“id”:7,\"type\":\"branch\",\"balance\":1,},]";
    let (_, warnings) = warned(text);
    assert_eq!(
        warnings,
        ["$[0]: typographic quotes are not JSON", "$[0]: a comma before the closing bracket is not JSON",]
    );
    let failure = read(b"[\n\"\xff\"]", Options::default()).unwrap_err();
    assert_eq!(failure.message, "line 2, column 2, $: not UTF-8 text");
}

#[test]
fn the_dialect_is_found_or_wished_for() {
    let event = |extra: &str| format!("{{\"interface\":\"query\"{extra}}}");
    let requests = with_events(&event("")).replace("events", "customer-requests");
    let mixed = format!("{},{}", event(""), event(",\"branch\":7"));
    let both = format!("{},{}", event(",\"dest\":7"), event(",\"branch\":7"));
    for (text, dialect) in [
        (with_events(&event("")), Dialect::P1),
        (requests, Dialect::P2),
        (with_events(&event(",\"branch\":7")), Dialect::P3),
        (with_events(&mixed), Dialect::P3),
        (with_events(&both), Dialect::P3),
        (with_events(&event(",\"dest\":7")), Dialect::P3Old),
    ] {
        assert_eq!(quiet(&text).dialect, dialect, "{text}");
        for wish in Dialect::ALL {
            let options = Options { dialect: Some(wish), strict: true };
            assert_eq!(read(text.as_bytes(), options).unwrap().0.dialect, wish);
            assert_eq!(Dialect::tagged(wish.tag()), Some(wish));
        }
    }
}

#[test]
fn everything_has_a_limit() {
    let branches: Vec<_> =
        (0..256).map(|id| format!("{{\"id\":{id},\"type\":\"branch\",\"balance\":1}}")).collect();
    assert_eq!(quiet(&format!("[{}]", branches[1..].join(","))).branches.len(), 255);
    refused(&format!("[{}]", branches.join(",")), "$", (1, 1), "a scenario has at most 255 branches");
    let customers = "{\"id\":7,\"type\":\"customer\"},".repeat(ENTRIES + 1);
    let message = "a scenario has at most 10000 customer entries";
    refused(&with_branch(customers.trim_end_matches(',')), "$", (1, 1), message);
    // Words that are unknown in different ways.
    let letter = |number: u8| char::from(b'a' + number % 26);
    let word = |(a, b, c)| format!("{{\"interface\":\"{}{}{}\"}}", letter(a), letter(b), letter(c));
    let words = (0..2).flat_map(|a| (0..26).flat_map(move |b| (0..26).map(move |c| (a, b, c))));
    let (_, warnings) = plan(&with_events(&words.map(word).collect::<Vec<_>>().join(",")));
    assert_eq!(warnings.len(), WARNINGS);
    let large = vec![b' '; INPUT_BYTES + 1];
    assert!(read(&large, Options::default()).unwrap_err().message.starts_with("the file has 67108865 bytes"));
}

#[test]
fn the_largest_course_file_is_read() {
    let events = "{\"id\":3,\"interface\":\"deposit\",\"money\":10,\"branch\":5},".repeat(200);
    let mut text = "[".to_owned();
    for id in 0..100 {
        text += &format!("{{\"id\":{id},\"type\":\"customer\",\"events\":[{events}]}},");
        text += &format!("{{\"id\":{id},\"type\":\"branch\",\"balance\":0}},");
    }
    let (plan, _) = plan(&(text + "]"));
    assert_eq!((plan.branches.len(), plan.events()), (100, 20_000));
    assert_eq!(plan.requests().last().unwrap().0, crate::scenario::RequestIndex { entry: 99, event: 199 });
}

#[test]
fn warnings_that_differ_in_numbers_are_one() {
    let customer = |id: u32| format!("{{\"id\":{id},\"type\":\"customer\"}}");
    let customers: Vec<String> = (1..=50).chain(1..=50).map(customer).collect();
    let (plan, warnings) = plan(&with_branch(&customers.join(",")));
    assert_eq!(plan.entries.len(), 100);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!((warning.path.as_str(), warning.more), ("$[50]", 49));
    assert!(warning.to_string().ends_with("this one runs after it (and 49 more like this)"), "{warning}");
}
