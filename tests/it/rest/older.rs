//! The calls of the older REST bridge.

use bank::server::Config;
use serde_json::{Value, json};

use super::{Answer, Http, two_branches};
use crate::support::Server;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn post(http: Http, path: &str, form: &str) -> Value {
    let answer: Answer = http.send("POST", path, &[FORM], form);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Two branches, the first of them with the older calls; account 1001 of each has 1000.00.
fn ready() -> (Server, Server) {
    let (mumbai, delhi) = two_branches(|config| Config { compat_rest: true, ..config });
    for branch in ["mumbai", "delhi"] {
        let body = format!(r#"{{"account":"1001","name":"User_{branch}_1","deposit":"1000"}}"#);
        let opened = Http(mumbai.address()).post(&format!("/v1/accounts?branch={branch}"), &body);
        assert_eq!(opened.status, 201, "{opened:?}");
    }
    (mumbai, delhi)
}

#[test]
fn an_older_page_finds_everything_as_it_was() {
    let (mumbai, delhi) = ready();
    let http = Http(mumbai.address());
    let at = |server: &Server| format!("host=127.0.0.1&port={}", server.address().port());
    let here = at(&mumbai);
    assert_eq!(
        post(http, "/balance", &format!("{here}&account=1001")),
        json!({"status": "ok", "result": {"balance": 1000.0, "name": "User_mumbai_1"}})
    );
    assert_eq!(
        post(http, "/deposit", &format!("{here}&account=1001&amount=20.5")),
        json!({"status": "ok", "result": {"balance": 1020.5}})
    );
    assert_eq!(
        post(http, "/withdraw", &format!("{}&account=1001&amount=0.5", at(&delhi))),
        json!({"status": "ok", "result": {"balance": 999.5}})
    );
    let short =
        post(http, "/withdraw", &format!("host=localhost&port={}&account=1001&amount=9999", http.0.port()));
    assert_eq!(short["status"], "error");
    assert!(short["error"].as_str().unwrap().contains("1020.50 available"), "{short}");
    let sides = |to: &Server| {
        let (from, to) = (http.0.port(), to.address().port());
        format!("src_host=127.0.0.1&src_port={from}&src_account=1001&dest_host=127.0.0.1&dest_port={to}")
    };
    let between = post(http, "/transfer", &format!("{}&dest_account=1001&amount=10", sides(&delhi)));
    let result = &between["result"];
    assert_eq!(
        (&result["status"], &result["from"], &result["to"]),
        (&json!("transfer_complete"), &json!("mumbai:1001"), &json!("delhi:1001")),
        "{between}"
    );
    let opened = http.post("/v1/accounts", r#"{"account":"1002"}"#);
    assert_eq!(opened.status, 201);
    let within = post(http, "/transfer", &format!("{}&dest_account=1002&amount=5", sides(&mumbai)));
    assert_eq!(within["result"]["to"], json!({"account": "1002", "balance": 5.0}), "{within}");
    let logs = post(http, "/get_logs", &format!("{here}&account=1001"))["result"].clone();
    let actions: Vec<&str> =
        logs.as_array().unwrap().iter().map(|log| log["action"].as_str().unwrap()).collect();
    assert_eq!((actions[0], *actions.last().unwrap()), ("transfer_out", "create_account"), "{logs}");
    assert!(actions.contains(&"withdraw") && logs[0]["result"] == "success");
    let listed = http.get(&format!("/list_accounts?{here}")).json()["result"].clone();
    assert_eq!(
        listed,
        json!([
            {"account_no": "1001", "name": "User_mumbai_1", "balance": 1005.5},
            {"account_no": "1002", "name": "", "balance": 5.0},
        ])
    );
}

#[test]
fn an_account_of_another_branch_than_the_server_named_is_refused() {
    let (mumbai, delhi) = ready();
    let http = Http(mumbai.address());
    let at = |server: &Server| format!("host=127.0.0.1&port={}", server.address().port());
    let (here, there) = (at(&mumbai), at(&delhi));
    for (path, form) in [
        ("/deposit", format!("{here}&account=delhi/1001&amount=5")),
        ("/withdraw", format!("{here}&account=delhi/1001&amount=5")),
        ("/balance", format!("{there}&account=mumbai/1001")),
        ("/get_logs", format!("{there}&account=mumbai/1001")),
    ] {
        let told = post(http, path, &form);
        assert_eq!(told["status"], "error", "{path} {told}");
        assert!(told["error"].as_str().unwrap().contains("is of branch"), "{path} {told}");
    }
    let port = |server: &Server| server.address().port();
    let transfer = format!("src_port={}&dest_port={}", port(&mumbai), port(&delhi));
    for accounts in ["src_account=delhi/1001&dest_account=1001", "src_account=1001&dest_account=mumbai/1001"]
    {
        assert_eq!(post(http, "/transfer", &format!("{transfer}&{accounts}&amount=5"))["status"], "error");
    }
    // The right branch by name is welcome, and a form without a host means this machine.
    for form in [format!("{there}&account=delhi/1001"), format!("port={}&account=1001", port(&delhi))] {
        assert_eq!(post(http, "/balance", &form)["result"]["balance"], 1000.0);
    }
    assert_eq!(post(http, "/balance", &format!("{here}&account=1001"))["result"]["balance"], 1000.0);
}

#[test]
fn an_older_page_cannot_make_the_server_call_anybody() {
    let (mumbai, _delhi) = ready();
    let http = Http(mumbai.address());
    for place in ["host=evil.example&port=80", "host=127.0.0.1&port=1", "host=127.0.0.1"] {
        let told = post(http, "/balance", &format!("{place}&account=1001"));
        assert_eq!(told["status"], "error", "{place}");
    }
    let here = format!("host=127.0.0.1&port={}", http.0.port());
    for amount in ["-5", "0", "nan", "1e3", "0.001"] {
        let told = post(http, "/deposit", &format!("{here}&account=1001&amount={amount}"));
        assert_eq!(told["status"], "error", "{amount}");
    }
    let page = http.send("POST", "/deposit", &[FORM, ("origin", "http://evil.example")], &here);
    assert_eq!(page.status, 403);
    // A server that was not asked to has none of this.
    let plain = Server::start();
    let answer = Http(plain.address()).send("POST", "/balance", &[FORM], "account=1");
    assert_eq!(answer.status, 404);
}
