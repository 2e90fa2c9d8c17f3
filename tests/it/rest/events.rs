//! The live feed over HTTP: without gap or duplicate, also over a restart.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;

use bank::server::{Config, Limits};
use serde_json::{Value, json};

use super::Http;
use crate::support::Server;

/// The body of an answer that comes in chunks, which may end anywhere.
struct Chunks {
    connection: BufReader<TcpStream>,
    /// Bytes of the chunk that are still to come.
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let mut size = String::new();
            if self.connection.read_line(&mut size)? == 0 || size == "0\r\n" {
                return Ok(0);
            }
            // Behind the bytes of a chunk comes an end of line of its own.
            if !size.trim_end().is_empty() {
                self.left = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
            }
        }
        let wanted = bytes.len().min(self.left);
        let count = self.connection.read(&mut bytes[..wanted])?;
        self.left -= count;
        Ok(count)
    }
}

/// A reader of server-sent events, as a browser has it.
pub(super) struct Feed {
    lines: BufReader<Chunks>,
    pub(super) last_id: String,
}

/// One event.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: Value,
}

impl Feed {
    pub(super) fn open(address: SocketAddr, path: &str, last_id: Option<&str>) -> Feed {
        let mut stream = TcpStream::connect(address).unwrap();
        let resume = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{resume}\r\n")
            .unwrap();
        let mut connection = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        assert_eq!(head[0], "http/1.1 200 ok");
        assert!(head.contains(&"x-accel-buffering: no".to_owned()), "a proxy must pass events on at once");
        Feed { lines: BufReader::new(Chunks { connection, left: 0 }), last_id: String::new() }
    }

    /// A line; none at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).unwrap_or(0);
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event with data; none at the end.
    pub(super) fn next(&mut self) -> Option<Event> {
        let (mut name, mut data) = (String::new(), None);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", text)) => name = text.to_owned(),
                Some(("id", text)) => self.last_id = text.to_owned(),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                // The end of an event is an empty line; a comment is none.
                _ if line.is_empty() && data.is_some() => return Some(Event { name, data: data.unwrap() }),
                _ => {}
            }
        }
    }

    /// Sequences told, up to this one.
    fn up_to(&mut self, last: u64) -> Vec<u64> {
        let mut sequences = Vec::new();
        while sequences.last() != Some(&last) {
            let event = self.next().expect("the feed goes on");
            if event.name == "operations" {
                let records = event.data["records"].as_array().unwrap().clone();
                sequences.extend(records.iter().map(|record| record["sequence"].as_u64().unwrap()));
                assert_eq!(event.data["sequence"].to_string(), self.last_id);
            }
        }
        sequences
    }
}

pub(super) fn deposit(http: Http, account: &str) {
    let answer = http.post(&format!("/v1/accounts/{account}/deposits"), r#"{"amount":"1"}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn durable(folder: &Path, port: u16) -> Server {
    Server::of(&Config {
        port,
        threads: NonZeroUsize::MIN,
        data_dir: Some(folder.to_owned()),
        limits: Limits::default(),
        ..Config::new("main".parse().unwrap())
    })
}

#[tokio::test]
async fn a_feed_goes_on_where_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = durable(folder.path(), 0);
    let address = server.address();
    let http = Http(address);
    http.post("/v1/accounts", "");
    let mut feed = Feed::open(address, "/v1/events", None);
    let ready = feed.next().unwrap();
    assert_eq!((ready.name.as_str(), &ready.data["sequence"]), ("ready", &json!(1)));
    (0..3).for_each(|_| deposit(http, "1"));
    assert_eq!(feed.up_to(4), [2, 3, 4]);
    // Told before the end, but not read by this client any more.
    deposit(http, "1");
    server.stop().await;
    // A stopping server ends the stream.
    while feed.next().is_some() {}
    let server = durable(folder.path(), address.port());
    (0..2).for_each(|_| deposit(http, "1"));
    let mut feed = Feed::open(address, "/v1/events", Some("4"));
    assert_eq!(feed.up_to(7), [5, 6, 7]);
    deposit(http, "1");
    assert_eq!(feed.up_to(8), [8]);
    server.stop().await;
}

#[test]
fn a_feed_begins_where_it_is_told_and_keeps_to_its_account() {
    let server = Server::start();
    let http = Http(server.address());
    for _ in 0..2 {
        http.post("/v1/accounts", "");
    }
    for account in ["1", "2", "1"] {
        deposit(http, account);
    }
    assert_eq!(Feed::open(http.0, "/v1/events?from=2", None).up_to(5), [2, 3, 4, 5]);
    assert_eq!(Feed::open(http.0, "/v1/events?from=1&account=1", None).up_to(5), [1, 3, 5]);
    let refused = http.send("GET", "/v1/events", &[("last-event-id", "x")], "");
    assert_eq!((refused.status, refused.reason().as_str()), (400, "ARGUMENT_INVALID"));
    assert_eq!(http.get("/v1/events?account=nobody").reason(), "ACCOUNT_SYNTAX");
}

#[test]
fn what_comes_fast_is_told_together() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", "");
    let mut feed = Feed::open(http.0, "/v1/events", None);
    assert_eq!(feed.next().unwrap().name, "ready");
    let writer = std::thread::spawn(move || (0..200).for_each(|_| deposit(http, "1")));
    let (mut told, mut events) = (1, 0);
    while told < 201 {
        let records = feed.next().unwrap().data["records"].as_array().unwrap().clone();
        for record in records {
            told += 1;
            assert_eq!(record["sequence"], told);
        }
        events += 1;
    }
    writer.join().unwrap();
    assert!(events < 100, "200 operations came in {events} events");
}
