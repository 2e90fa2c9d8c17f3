//! Scenario files played on real replicas: every dialect, chains across branches under delay, and generated plans
//! against a model that knows one account.

use std::num::NonZeroUsize;
use std::time::Instant;

use bank::model::Money;
use bank::scenario::{Answer, Plan, Played, Process, RunError, Stage, TraceKind, input, play};
use bank::server::{LocalCluster, LocalConfig};

pub(crate) fn plan(text: &str) -> Plan {
    input::read(text.as_bytes(), input::Options::default()).unwrap().0
}

pub(crate) async fn cluster(replicas: usize, trace_events: bool) -> LocalCluster {
    let config = LocalConfig {
        replicas: NonZeroUsize::new(replicas).unwrap(),
        trace_events,
        ..LocalConfig::new("main".parse().unwrap())
    };
    tokio::task::spawn_blocking(move || LocalCluster::of(&config).unwrap()).await.unwrap()
}

pub(crate) fn stage(cluster: &LocalCluster) -> Stage {
    let servers = cluster.addresses().map(|address| address.to_string()).collect();
    Stage { servers, concurrent: false, seed: None }
}

async fn played(plan: &Plan) -> Played {
    let cluster = cluster(plan.branches.len(), plan.dialect.is_traced()).await;
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
        [success("290"), balance("290"), Answer::Fail, balance("290"), success("200"), balance("200")];
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
    let expected = [success("75"), balance("75"), Answer::Fail, balance("75")];
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
    assert!(matches!(play(&plan, &stage(&cluster), &|_| ()).await, Err(RunError::NotRecording { .. })));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_long_a_large_file_takes() {
    let events: Vec<String> = (0..200)
        .map(|n| match n % 2 {
            0 => format!(r#"{{"id":{n},"interface":"deposit","money":1}}"#),
            _ => format!(r#"{{"id":{n},"interface":"query"}}"#),
        })
        .collect();
    let key = std::env::var("KEY").unwrap_or("events".into());
    let customers: Vec<String> = (1..=100)
        .map(|id| format!(r#"{{"id":{id},"type":"customer","{key}":[{}]}}"#, events.join(",")))
        .collect();
    let branches: Vec<String> =
        (1..=100).map(|id| format!(r#"{{"id":{id},"type":"branch","balance":5}}"#)).collect();
    let plan = plan(&format!("[{},{}]", customers.join(","), branches.join(",")));
    let began = Instant::now();
    let cluster = cluster(100, plan.dialect.is_traced()).await;
    println!("cluster after {:?}", began.elapsed());
    let said = |done: usize| {
        if done % 2000 == 0 {
            println!("{done} after {:?}", began.elapsed());
        }
    };
    let played = play(&plan, &stage(&cluster), &said).await.unwrap();
    println!("{} rows after {:?}", played.trace.len(), began.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("Threads")) {
        println!("{line}");
    }
    println!("{} files", std::fs::read_dir("/proc/self/fd").unwrap().count());
}
