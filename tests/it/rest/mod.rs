//! The bank over plain HTTP.

mod accounts;
mod contract;
mod events;
mod health;
mod lists;
mod money;
mod older;
mod pages;
mod reasons;
mod security;
mod writes;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bank::model::BranchName;
use bank::server::Config;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::support::Server;

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason of a problem.
    pub(crate) fn reason(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        problem["reason"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A caller of HTTP/1.1, with a connection for each request, as `curl` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http(pub(crate) SocketAddr);

impl Http {
    pub(crate) fn get(self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn post(self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body)
    }

    /// Any request.
    pub(crate) fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request += &format!("host: {}\r\n", self.0);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("content-length: {}\r\n", body.len());
        }
        self.raw((request + "\r\n" + body).as_bytes())
    }

    /// These bytes, and the answer up to the end of the connection.
    pub(crate) fn raw(self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.0).unwrap();
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        parse(&String::from_utf8(answer).unwrap())
    }
}

/// Two branches that know each other, the first of them as configured further.
pub(crate) fn two_branches(further: impl FnOnce(Config) -> Config) -> (Server, Server) {
    let names: [BranchName; 2] = ["mumbai", "delhi"].map(|name| name.parse().unwrap());
    // Ports that nobody listens on: each branch must know the other one before either listens.
    let ports = [(); 2]
        .map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
        .map(|listener| listener.local_addr().unwrap().port());
    let config = |here: usize, there: usize| {
        let routes = [(names[there].clone(), vec![format!("127.0.0.1:{}", ports[there])])].into();
        Config { port: ports[here], routes, ..Config::new(names[here].clone()) }
    };
    (Server::of(&further(config(0, 1))), Server::of(&config(1, 0)))
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HeaderMap = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    Answer { status, headers, text: if chunked { unchunked(body) } else { body.to_owned() } }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}
