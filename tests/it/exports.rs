//! Exports of a random run, compared with the balances by two programs that nobody here wrote for it: hledger, where
//! it is installed, and a small reader of its own.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use bank::client::{Client, ExportFormat, NewAccount, Options, Page};
use bank::model::Reason;

use crate::proxy::Proxy;
use crate::support::{Server, client_of, two_branches};

const ACCOUNTS: u64 = 6;
const STEPS: usize = 250;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

fn seed() -> u64 {
    let from_environment = std::env::var("BANK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    let seed = from_environment.unwrap_or_else(now) | 1;
    println!("repeat with BANK_TEST_SEED={seed}");
    seed
}

/// Does something at random; a rule may refuse it, which is a record too.
async fn step(clients: &[Client; 2], names: [&str; 2], random: &mut Random) {
    let side = usize::from(random.below(2) == 1);
    let client = &clients[side];
    let mut any = || format!("{}/{}", names[side], 1 + random.below(ACCOUNTS));
    let (account, other) = (any(), any());
    let abroad = format!("{}/{}", names[1 - side], 1 + random.below(ACCOUNTS));
    let amount = format!("{}.{:02}", random.below(60), 1 + random.below(99));
    let options = Options::default();
    let done = match random.below(7) {
        0 => client.deposit(&account, &amount, &options).await.map(drop),
        1 => client.withdraw(&account, &amount, &options).await.map(drop),
        2 => client.add_interest(&account, "2.5", &options).await.map(drop),
        3 => client.transfer(&account, &other, &amount, &options).await.map(drop),
        4 | 5 => client.transfer(&account, &abroad, &amount, &options).await.map(drop),
        _ => match client.place_hold(&account, &amount, None, &options).await {
            Ok(placed) if random.below(2) == 0 => {
                client.capture_hold(&placed.hold.hold, "0.01", &options).await.map(drop)
            }
            Ok(placed) => client.release_hold(&placed.hold.hold, &options).await.map(drop),
            Err(refused) => Err(refused),
        },
    };
    if let Err(failure) = done {
        assert!(matches!(failure.reason, Reason::InsufficientFunds | Reason::SameAccount), "{failure:?}");
    }
}

async fn busy_branches() -> ([Server; 2], [Client; 2]) {
    let servers = two_branches();
    let clients = [client_of(&servers[0]), client_of(&servers[1])];
    let options = Options::default();
    for client in &clients {
        for number in 0..ACCOUNTS {
            let name = if number == 0 { "=HYPERLINK(\"http://x\")" } else { "" };
            let deposit = if number == 5 { "" } else { "100" };
            let new = NewAccount { name, deposit, ..NewAccount::default() };
            client.open_account(new, &options).await.unwrap();
        }
    }
    let odd = Options { request_id: Some("=1+1,date:2020-99-99;[x]".to_owned()), ..Options::default() };
    clients[0].deposit("1", "1", &odd).await.unwrap();
    let mut random = Random(seed());
    for _ in 0..STEPS {
        step(&clients, ["mumbai", "delhi"], &mut random).await;
    }
    (servers, clients)
}

async fn exported(client: &Client, account: &str, format: ExportFormat) -> String {
    let mut export = client.export(account, format, &Options::default()).await.unwrap();
    let total = export.total();
    let (mut text, mut done) = (String::new(), 0);
    while let Some(piece) = export.next().await.unwrap() {
        assert!(done <= piece.done && piece.done <= total);
        done = piece.done;
        text.push_str(&piece.text);
    }
    assert_eq!(done, total);
    text
}

async fn balances(client: &Client) -> BTreeMap<String, String> {
    let page = client.accounts(Page { size: 1_000, token: "" }, &Options::default()).await.unwrap();
    page.accounts.into_iter().map(|account| (account.account, account.balance)).collect()
}

fn cents(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or_else(|| panic!("no money: {text:?}"));
    let size = whole.trim_start_matches('-').parse::<i64>().unwrap() * 100 + fraction.parse::<i64>().unwrap();
    if text.starts_with('-') { -size } else { size }
}

/// Adds up an hledger journal: every transaction must balance and every assertion hold.
fn add_up(journal: &str) -> BTreeMap<String, i64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    let mut open = 0;
    for line in journal.lines() {
        if !line.starts_with("    ") {
            assert_eq!(open, 0, "the transaction before {line:?} does not balance");
            continue;
        }
        let (name, rest) = line.trim().split_once("  ").unwrap();
        let (amount, after) = match rest.split_once(" = ") {
            Some((amount, after)) => (amount, Some(after)),
            None => (rest, None),
        };
        open += cents(amount);
        let sum = sums.entry(name.to_owned()).or_default();
        *sum += cents(amount);
        assert!(after.is_none_or(|after| cents(after) == *sum), "{line:?} says another balance than {sum}");
    }
    assert_eq!(open, 0);
    sums
}

/// The exit code of hledger; none where it is not installed.
fn hledger_check(journal: &str) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.journal");
    std::fs::write(&file, journal).unwrap();
    match Command::new("hledger").arg("check").arg("-f").arg(&file).output() {
        Ok(output) => Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(missing) => {
            println!("SKIPPED: hledger cannot be started ({missing}); apt-get install hledger");
            None
        }
    }
}

#[tokio::test]
async fn other_programs_come_to_the_same_balances() {
    let (_servers, clients) = busy_branches().await;
    let mut both = String::new();
    for (client, branch) in clients.iter().zip(["mumbai", "delhi"]) {
        let journal = exported(client, "", ExportFormat::Hledger).await;
        let sums = add_up(&journal);
        for (account, balance) in balances(client).await {
            let number = account.split_once('/').unwrap().1;
            assert_eq!(sums[&format!("{branch}:customers:{number}")], cents(&balance), "{account}");
        }
        if let Some((well, said)) = hledger_check(&journal) {
            assert!(well, "hledger: {said}");
            let wrong = journal.replacen(" = ", " = 1", 1);
            assert!(!hledger_check(&wrong).unwrap().0, "hledger looks at the assertions");
        }
        both.push_str(&journal);
        let of_one = exported(client, "1", ExportFormat::Hledger).await;
        add_up(&of_one);
        assert!(hledger_check(&of_one).is_none_or(|(well, _)| well));
    }
    let sums = add_up(&both);
    assert_eq!(sums["mumbai:due-to:delhi"], -sums["delhi:due-from:mumbai"], "nothing is on its way");
    assert_eq!(sums["delhi:due-to:mumbai"], -sums["mumbai:due-from:delhi"]);
    assert!(hledger_check(&both).is_none_or(|(well, _)| well));
}

/// Splits a line of CSV (RFC 4180).
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted, mut chars) = (vec![String::new()], false, line.chars().peekable());
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    cells
}

#[tokio::test]
async fn csv_and_json_lines_tell_every_record_in_order() {
    let (_servers, [client, _]) = busy_branches().await;
    let csv = exported(&client, "", ExportFormat::Csv).await;
    let mut lines = csv.lines();
    let columns = cells(lines.next().unwrap());
    let at = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows: Vec<_> = lines.map(cells).collect();
    let mut latest = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(row.len(), columns.len(), "{row:?}");
        assert_eq!(row[at("sequence")], (place + 1).to_string());
        for cell in row {
            let risky = cell.starts_with(['=', '+', '@', '\t', '\r']);
            assert!(!risky && (!cell.starts_with('-') || cell.parse::<f64>().is_ok()), "{cell:?}");
        }
        for (account, balance) in [("account", "balance"), ("counterparty", "counterpartyBalance")] {
            if !row[at(balance)].is_empty() {
                latest.insert(row[at(account)].clone(), row[at(balance)].clone());
            }
        }
    }
    assert_eq!(latest, balances(&client).await, "the last balance of each account is the balance");
    assert!(csv.contains("'=1+1,date:2020-99-99;[x]"));

    let jsonl = exported(&client, "", ExportFormat::Jsonl).await;
    let objects: Vec<serde_json::Value> =
        jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), rows.len());
    for (object, row) in objects.iter().zip(&rows) {
        assert_eq!(object["sequence"].to_string(), row[at("sequence")]);
        assert_eq!(object["kind"].as_str().unwrap(), row[at("kind")]);
        assert_eq!(object["balance"].as_str().unwrap_or_default(), row[at("balance")]);
        assert_eq!(object["error"]["reason"].as_str().unwrap_or_default(), row[at("error")]);
    }
    let of_one = exported(&client, "mumbai/2", ExportFormat::Csv).await;
    for row in of_one.lines().skip(1).map(cells) {
        assert!(row[at("account")] == "mumbai/2" || row[at("counterparty")] == "mumbai/2", "{row:?}");
    }
}

#[tokio::test]
async fn an_export_of_nothing_is_a_header_and_of_nobody_is_refused() {
    let server = Server::start();
    let client = client_of(&server);
    assert_eq!(exported(&client, "", ExportFormat::Csv).await.lines().count(), 1);
    assert_eq!(exported(&client, "", ExportFormat::Jsonl).await, "");
    assert_eq!(exported(&client, "", ExportFormat::Hledger).await, "decimal-mark .\n\n");
    let nobody = client.export("7", ExportFormat::Csv, &Options::default()).await.unwrap_err();
    assert_eq!(nobody.reason, Reason::AccountNotFound);
}

/// What keeps an export from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Interruption {
    Signal(&'static str),
    ServerGone,
}

#[tokio::test]
async fn an_interrupted_export_leaves_nothing() {
    use bank::client::{Batch, BatchCommand};

    let server = Server::start();
    let client = client_of(&server);
    client.open_account(NewAccount::default(), &Options::default()).await.unwrap();
    for _ in 0..4 {
        let commands = vec![BatchCommand::Deposit { account: 1, amount: 1 }; 8_192];
        client.execute_batch(Batch { atomic: false, commands }, &Options::default()).await.unwrap();
    }
    for interruption in [Interruption::Signal("INT"), Interruption::Signal("TERM"), Interruption::ServerGone]
    {
        let proxy = Proxy::to(server.address()).await;
        proxy.slow(std::time::Duration::from_millis(100), 7);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("journal.csv");
        let mut export = Command::new(env!("CARGO_BIN_EXE_bank-client"))
            .args(["--timeout", "3s", "--server", &proxy.address.to_string(), "export", "--out"])
            .arg(&out)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        while files() == 0 {
            assert!(export.try_wait().unwrap().is_none(), "the export ended before its file");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        proxy.mute(true);
        if let Interruption::Signal(name) = interruption {
            let process = export.id().to_string();
            assert!(Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
        }
        let status = tokio::task::spawn_blocking(move || export.wait().unwrap()).await.unwrap();
        assert!(!status.success(), "{interruption:?}");
        assert_eq!(files(), 0, "{interruption:?}");
    }
}
