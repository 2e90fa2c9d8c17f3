//! Scenario files played on real replicas: every dialect, chains across branches under delay, and generated plans
//! against a model that knows one account.

use std::num::NonZeroUsize;
use std::time::Instant;

use bank::client::{Client, Config, Consistency, Options};
use bank::model::Money;
use bank::scenario::check::check;
use bank::scenario::report::{BRANCH_DEBUG, OUTPUT};
use bank::scenario::{
    Answer, Dialect, Interface, Plan, Played, Process, RunError, Stage, TraceKind, Untraced, play,
};
use bank::server::{LocalCluster, LocalConfig};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner};

use crate::scenario::play::{changes, outputs, plan, trace_files};
use crate::scenario::story::{Story, stories};

/// How long a cluster that cannot be formed is waited for.
const FORMING: std::time::Duration = std::time::Duration::from_secs(20);
/// Stories of each dialect that are played.
const STORIES: usize = 25;

async fn cluster(replicas: usize, trace_events: bool) -> LocalCluster {
    let config = LocalConfig {
        replicas: NonZeroUsize::new(replicas).unwrap(),
        trace_events,
        ..LocalConfig::new("main".parse().unwrap())
    };
    tokio::task::spawn_blocking(move || LocalCluster::of(&config).unwrap()).await.unwrap()
}

fn stage(cluster: &LocalCluster) -> Stage {
    let servers = cluster.addresses().map(|address| address.to_string()).collect();
    Stage { servers, concurrent: false, seed: None }
}

async fn played(plan: &Plan) -> Played {
    let cluster = cluster(plan.branches.len(), plan.is_traced()).await;
    play(plan, &stage(&cluster), &|_| ()).await.unwrap()
}

fn answers(plan: &Plan, played: &Played) -> Vec<Answer> {
    plan.requests().map(|(request, _, _)| played.answer(request)).collect()
}

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

fn success(balance: &str) -> Answer {
    Answer::Success { balance: money(balance) }
}

fn refused(balance: &str) -> Answer {
    Answer::Fail { balance: Some(money(balance)) }
}

fn balance(balance: &str) -> Answer {
    Answer::Balance(money(balance))
}

const P1: &str = r#"
[{"id":11,"type":"customer","events":[{"id":1,"interface":"deposit","money":40},{"id":2,"interface":"query"}]},
 {"id":12,"type":"customer","events":[{"id":3,"interface":"withdraw","money":300},{"id":4,"interface":"query"}]},
 {"id":11,"type":"customer","events":[{"id":5,"interface":"withdraw","money":90},{"id":6,"interface":"query"}]},
 {"id":11,"type":"branch","balance":250},{"id":12,"type":"branch","balance":250},{"id":13,"type":"branch","balance":250}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn customers_of_one_bank_one_after_another() {
    let plan = plan(P1);
    let expected =
        [success("290"), balance("290"), refused("290"), balance("290"), success("200"), balance("200")];
    assert_eq!(answers(&plan, &played(&plan).await), expected);
}

const P2: &str = r#"
[{"id":4,"type":"customer","customer-requests":[{"customer-request-id":71,"interface":"deposit","money":15},
  {"customer-request-id":72,"interface":"withdraw","money":5}]},
 {"id":4,"type":"branch","balance":60},{"id":9,"type":"branch","balance":60}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_small_trace_has_the_clocks_that_a_person_works_out() {
    let plan = plan(P2);
    let mut played = played(&plan).await;
    assert_eq!(answers(&plan, &played), [success("75"), success("70")]);
    played.trace.sort_by_key(|row| (row.process, row.clock));
    let rows: Vec<_> =
        played.trace.iter().map(|row| (row.process, row.request.event, row.clock, row.kind)).collect();
    let (customer, home, other) = (Process::Customer(0), Process::Branch(0), Process::Branch(1));
    use TraceKind::{Received, Sent};
    assert_eq!(
        rows,
        [
            (customer, 0, 1, Sent(home)),
            (customer, 1, 2, Sent(home)),
            (home, 0, 2, Received(customer)),
            (home, 0, 3, Sent(other)),
            (home, 1, 4, Received(customer)),
            (home, 1, 5, Sent(other)),
            (other, 0, 4, Received(home)),
            (other, 1, 6, Received(home)),
        ]
    );
}

const P3: &str = r#"
[{"id":8,"type":"customer","events":[{"id":1,"interface":"deposit","money":20,"branch":2},
  {"id":2,"interface":"query","branch":3},{"id":3,"interface":"withdraw","money":100,"branch":1},
  {"id":4,"interface":"query","branch":1}]},
 {"id":1,"type":"branch","balance":55},{"id":2,"type":"branch","balance":55},{"id":3,"type":"branch","balance":55}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_its_writes_at_every_branch() {
    let plan = plan(P3);
    let expected = [success("75"), balance("75"), refused("75"), balance("75")];
    assert_eq!(answers(&plan, &played(&plan).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_says_why() {
    let (plan, cluster) = (plan(P2), cluster(2, false).await);
    let few = Stage { servers: stage(&cluster).servers[..1].to_vec(), ..stage(&cluster) };
    assert!(matches!(
        play(&plan, &few, &|_| ()).await,
        Err(RunError::TooFewServers { branches: 2, servers: 1 })
    ));
    assert!(matches!(
        play(&plan, &stage(&cluster), &|_| ()).await,
        Err(RunError::Untraced(Untraced::NotRecording { .. }))
    ));
}

/// A file of three branches, 11 to 13, in each dialect.
fn in_each_dialect() -> Vec<Plan> {
    let plan = plan(P1);
    Dialect::ALL.into_iter().map(|dialect| Plan { dialect, ..plan.clone() }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_not_there_or_named_twice_ends_the_run_by_name() {
    let (cluster, other) = (cluster(3, true).await, cluster(1, true).await);
    let whole = stage(&cluster);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let foreign = other.addresses().next().unwrap().to_string();
    let with = |place: usize, server: &str| {
        let mut stage = whole.clone();
        server.clone_into(&mut stage.servers[place]);
        stage
    };
    let [first, second, _] = whole.servers.as_slice() else { panic!() };
    let table = [
        (with(1, &dead), format!("branch 12 at {dead}: ")),
        (with(2, first), format!("branch 13 at {first} is the replica that branch 11 has already;")),
        (with(0, second), format!("branch 12 at {second} is the replica that branch 11 has already;")),
        (
            with(2, &foreign),
            format!("branch 13 at {foreign} is not a replica of the bank that branch 11 is of;"),
        ),
    ];
    for (stage, message) in &table {
        let plans = in_each_dialect();
        let runs = plans.iter().map(|plan| play(plan, stage, &|_| ()));
        for run in futures::future::join_all(runs).await {
            let error = run.unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
    let client = Client::new(&Config::new([first])).unwrap();
    let page = bank::client::Page { size: 10, token: "" };
    assert_eq!(client.accounts(page, &Options::default()).await.unwrap().accounts.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_has_a_sound_trace_and_debug_files_of_what_was_received() {
    let cluster = cluster(3, true).await;
    for plan in in_each_dialect() {
        let played = play(&plan, &stage(&cluster), &|_| ()).await.unwrap();
        let files = outputs(&plan, &played);
        let verdict = check(trace_files(&files));
        assert!(verdict.is_sound(), "{:?} {verdict}", plan.dialect);
        assert_eq!(verdict.counts.rows, [6, 2 * 5 + 4, 2 * 6 + 8]);
        assert_eq!(files.contains_key(OUTPUT), plan.dialect != Dialect::P2);
        let blocks: Vec<&str> = files[BRANCH_DEBUG].split("-\n").collect();
        assert_eq!(blocks.iter().filter(|block| block.contains("clock: ")).count(), 6 + 2 * 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_did_not_record_is_not_made_up() {
    let cluster = cluster(3, false).await;
    for plan in in_each_dialect().into_iter().filter(|plan| !plan.dialect.is_traced()) {
        let played = play(&plan, &stage(&cluster), &|_| ()).await.unwrap();
        assert!(matches!(played.untraced, Some(Untraced::NotRecording { .. })));
        let files = outputs(&plan, &played);
        let names: Vec<&str> = files.keys().copied().collect();
        assert_eq!(names, [BRANCH_DEBUG, "customerDebug.txt", OUTPUT]);
        assert!(!files[BRANCH_DEBUG].contains("propagate"));
        assert!(files[BRANCH_DEBUG].ends_with("start it with --trace-events\n"), "{}", files[BRANCH_DEBUG]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_trace_has_a_response_before_the_customers_next_request() {
    const BRANCHES: u64 = 6;
    const REQUESTS: u64 = 8;
    let cluster = cluster(6, true).await;
    let request = |id: u64| format!(r#"{{"id":{id},"interface":"deposit","money":1}}"#);
    let customer = |id: u64| {
        let requests: Vec<_> = (0..REQUESTS).map(|place| request(id * 100 + place)).collect();
        format!(r#"{{"id":{id},"type":"customer","events":[{}]}}"#, requests.join(","))
    };
    let branch = |id: u64| format!(r#"{{"id":{id},"type":"branch","balance":0}}"#);
    let objects: Vec<String> = (1..=BRANCHES).map(customer).chain((1..=BRANCHES).map(branch)).collect();
    let plan = Plan { dialect: Dialect::P2Old, ..plan(&format!("[{}]", objects.join(","))) };
    let output = json(&outputs(&plan, &play(&plan, &stage(&cluster), &|_| ()).await.unwrap())[OUTPUT]);
    for customer in 1..=BRANCHES {
        let list = output.as_array().unwrap().iter().find(|object| object["pid"] == customer).unwrap();
        let own: Vec<(u64, &str)> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| (step["id"].as_u64().unwrap(), step["name"].as_str().unwrap()))
            .filter(|(id, name)| {
                id / 100 == customer && ["deposit_request", "deposit_response"].contains(name)
            })
            .collect();
        let expected: Vec<(u64, &str)> = (0..REQUESTS)
            .flat_map(|place| {
                ["deposit_request", "deposit_response"].map(|name| (customer * 100 + place, name))
            })
            .collect();
        assert_eq!(own, expected);
    }
}

/// Stories that a seed repeats.
fn told(dialect: Dialect, count: usize) -> Vec<Story> {
    let given = std::env::var("BANK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| std::process::id().into());
    println!("BANK_TEST_SEED={seed}");
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(32).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Cases::default(), rng);
    (0..count).map(|_| stories(dialect).new_tree(&mut runner).unwrap().current()).collect()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_files_come_out_as_the_oracle_says() {
    let cluster = cluster(6, false).await;
    for dialect in [Dialect::P1, Dialect::P3, Dialect::P3Old] {
        for story in told(dialect, STORIES) {
            let plan = story.plan();
            let played = play(&plan, &stage(&cluster), &|_| ()).await.unwrap();
            assert_eq!(json(&outputs(&plan, &played)[OUTPUT]), story.output(), "{}", story.text());
        }
    }
}

/// What is left when everything was played, whatever came first.
fn left(plan: &Plan, played: &Played) -> Money {
    plan.requests().fold(plan.balance, |left, (request, _, event)| {
        match (&event.interface, played.answer(request)) {
            (Interface::Deposit(amount), Answer::Success { .. }) => left.checked_add(*amount).unwrap(),
            (Interface::Withdraw(amount), Answer::Success { .. }) => left.checked_sub(*amount).unwrap(),
            (_, Answer::Success { balance } | Answer::Balance(balance)) => {
                assert!(!balance.is_negative());
                left
            }
            (_, Answer::Fail { .. }) => left,
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_customers_side_by_side_leave_sound_traces_and_equal_replicas() {
    let cluster = cluster(6, true).await;
    let clients: Vec<Client> = cluster
        .addresses()
        .map(|address| Client::new(&Config::new([address.to_string()])).unwrap())
        .collect();
    for (account, story) in (1..).zip(told(Dialect::P2, STORIES)) {
        let plan = story.plan();
        let played = play(&plan, &stage(&cluster), &|_| ()).await.unwrap();
        let files = outputs(&plan, &played);
        let verdict = check(trace_files(&files));
        assert!(verdict.is_sound(), "{verdict}\n{}", story.text());
        let (n, (changes, others)) = (plan.branches.len(), changes(&plan, &played));
        let rows = [changes + others, changes * (2 * n - 1) + others, 2 * n * changes + 2 * others];
        assert_eq!(verdict.counts.rows, rows, "{}", story.text());
        let latest =
            Options { session_token: Some(String::new()), ..Options::fresh(Consistency::Linearizable) };
        for client in &clients {
            let read = client.balance(&account.to_string(), &latest).await.unwrap();
            assert_eq!(read.balance, left(&plan, &played).to_string(), "{}", story.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_gives_the_same_outputs_with_the_same_clocks() {
    for story in told(Dialect::P2, 4) {
        let plan = story.plan();
        let mut runs = Vec::new();
        for _ in 0..2 {
            let cluster = cluster(plan.branches.len(), true).await;
            let stage = Stage { seed: Some(7), ..stage(&cluster) };
            runs.push(outputs(&plan, &play(&plan, &stage, &|_| ()).await.unwrap()));
        }
        assert_eq!(runs[0], runs[1], "{}", story.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_branches_are_ready_soon_and_all_of_them_serve() {
    let began = Instant::now();
    let cluster = cluster(20, true).await;
    println!("20 replicas serve after {:?}", began.elapsed());
    let events =
        r#"[{"interface":"deposit","money":1},{"interface":"withdraw","money":1},{"interface":"query"}]"#;
    let customer = |id: u64| format!(r#"{{"id":{id},"type":"customer","customer-requests":{events}}}"#);
    let branch = |id: u64| format!(r#"{{"id":{id},"type":"branch","balance":0}}"#);
    let objects: Vec<String> = (1..=20).map(customer).chain((1..=20).map(branch)).collect();
    let plan = plan(&format!("[{}]", objects.join(",")));
    let files = outputs(&plan, &play(&plan, &stage(&cluster), &|_| ()).await.unwrap());
    let verdict = check(trace_files(&files));
    assert!(verdict.is_sound(), "{verdict}");
    assert_eq!(verdict.counts.rows, [60, 40 * 39 + 20, 40 * 40 + 40]);
}

/// Runs a file of so many branches in a shell with a limit of open files.
fn run_with_limit(limit: &str, branches: u32) -> (std::process::Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input.json");
    let branch = |id: u32| format!(r#"{{"id":{id},"type":"branch","balance":5}}"#);
    let branches: Vec<String> = (1..=branches).map(branch).collect();
    let customer = r#"{"id":9,"type":"customer","events":[{"id":1,"interface":"query"}]}"#;
    std::fs::write(&file, format!("[{customer},{}]", branches.join(","))).unwrap();
    let run = format!("ulimit {limit} && exec \"$0\" run \"$1\" --out \"$2\"");
    let ended = std::process::Command::new("sh")
        .args(["-c", &run, env!("CARGO_BIN_EXE_bank-client")])
        .args([file.as_path(), folder.path()])
        .output()
        .unwrap();
    (ended, std::fs::read_to_string(folder.path().join(OUTPUT)).unwrap_or_default())
}

#[test]
fn many_replicas_fit_under_a_low_limit_of_open_files() {
    let (ended, output) = run_with_limit("-Sn 100", 12);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(json(&output), json(r#"[{"id":9,"recv":[{"interface":"query","balance":5}]}]"#));
}

#[test]
fn a_hard_limit_of_open_files_that_is_too_low_is_named_before_anything_starts() {
    let began = Instant::now();
    let (ended, output) = run_with_limit("-n 256", 100);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), output.as_str()), (Some(2), ""), "{told}");
    assert!(told.contains("the hard limit is 256") && told.contains("ulimit -Hn"), "{told}");
    assert!(began.elapsed() < FORMING, "{:?}", began.elapsed());
}
