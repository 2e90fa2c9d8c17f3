//! The guard: who may ask, and what every answer carries.
//!
//! A page of another site must not reach the bank through the visitor's browser. It can make a name of its
//! own lead here, so the `Host` must be a name of ours; and it can send requests with its own `Origin`, so
//! that must be ours too. Programs send no `Origin` and are not concerned.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Request, Response, Version, header};

use crate::model::{Failure, Reason};

/// What each answer says to browsers: nothing but our own files, no script inside pages, no frames, no guesses.
const ARMOUR: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];
/// How the media types of all kinds of gRPC begin.
const GRPC: &[u8] = b"application/grpc";
/// What an answer says that does not say itself how long it may be kept.
const NOT_KEPT: &str = "no-store";

/// The names by which this server may be called.
#[derive(Debug)]
pub(super) struct Hosts {
    names: Vec<String>,
    /// Whether the server listens on every address, so that any address may be one of its own.
    every_address: bool,
}

impl Hosts {
    pub(super) fn new(configured: &[String]) -> Hosts {
        let names: Vec<String> = configured.iter().map(|host| bare(host).to_ascii_lowercase()).collect();
        let unspecified =
            |name: &String| name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        Hosts { every_address: names.iter().any(unspecified), names }
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for a name that is none of ours, or a page of another site.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Failure> {
        let authority = authority(request).ok_or_else(|| {
            refused("the request does not say once and readably for which host it is".to_owned())
        })?;
        if !self.knows(bare(authority.host())) {
            return Err(refused(format!(
                "this server does not answer for host {:?}; call it by its own name, or start it with --http-host {}",
                authority.host(),
                authority.host()
            )));
        }
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        match origins.find(|origin| !same_origin(origin, &authority) && !self.is_ours(origin)) {
            None => Ok(()),
            Some(origin) => Err(refused(format!(
                "pages of {:?} may not use this server; if that is its own name behind a proxy, start it with --http-host and that name",
                String::from_utf8_lossy(origin.as_bytes())
            ))),
        }
    }

    /// Whether a page's origin is a name that the server was started with. A proxy in front of it may pass on another
    /// `Host` than the browser has used.
    fn is_ours(&self, origin: &HeaderValue) -> bool {
        let place = origin.to_str().ok().and_then(place_of);
        let authority = place.and_then(|place| place.parse::<Authority>().ok());
        authority.is_some_and(|authority| {
            let host = bare(authority.host()).to_ascii_lowercase();
            host.parse::<IpAddr>().is_err() && self.names.contains(&host)
        })
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || self.every_address => true,
            Ok(_) | Err(_) => {
                host == "localhost" || host.ends_with(".localhost") || self.names.contains(&host)
            }
        }
    }
}

/// For which host a request is: HTTP/2 says it in the address, HTTP/1 in a header, which does not count beside an
/// absolute address (RFC 9112, section 3.2.2).
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let absolute = request.uri().authority().filter(|_| request.version() < Version::HTTP_2);
    if let Some(authority) = absolute {
        return (!authority.as_str().contains('@')).then(|| authority.clone());
    }
    let mut named = request.headers().get_all(header::HOST).iter();
    let header = match (named.next(), named.next()) {
        (Some(host), None) => Some(host.to_str().ok()?.parse::<Authority>().ok()?),
        (None, None) => None,
        (_, Some(_)) => return None,
    };
    let authority = match (request.uri().authority().cloned(), header) {
        (Some(address), Some(header)) => (address == header).then_some(address)?,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return None,
    };
    (!authority.as_str().contains('@')).then_some(authority)
}

fn same_origin(origin: &HeaderValue, authority: &Authority) -> bool {
    let place = origin.to_str().ok().and_then(place_of);
    place.is_some_and(|place| place.eq_ignore_ascii_case(authority.as_str()))
}

/// The host and port of an origin.
fn place_of(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

/// Whether a request is gRPC of a kind that browsers and others speak and the server does not.
pub(super) fn is_other_grpc(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    given.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn refused(message: String) -> Failure {
    Failure::new(Reason::PermissionDenied, message)
}

/// Puts on an answer what every answer carries.
pub(super) fn armoured(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers_mut();
    for (name, value) in ARMOUR {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
        // A proxy such as nginx would collect events until a buffer is full.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(NOT_KEPT));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(hosts: &[&str], host: &str, origin: Option<&str>) -> bool {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut request = Request::post("/v1/accounts").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        Hosts::new(&hosts).admit(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn a_server_answers_to_its_own_names_only() {
        for host in
            ["localhost", "LOCALHOST:9001", "127.0.0.1:9001", "127.8.8.8", "[::1]:9001", "a.localhost"]
        {
            assert!(admitted(&["127.0.0.1"], host, None), "{host}");
        }
        let foreign =
            ["evil.example", "localhost.evil.example:9001", "10.0.0.1", "localhost@evil", "[::2]", "", "a b"];
        for host in foreign {
            assert!(!admitted(&["127.0.0.1"], host, None), "{host}");
        }
        assert!(admitted(&["Bank.example"], "bank.example:9001", None));
        assert!(admitted(&["192.0.2.1"], "192.0.2.1", None));
        // Listening on every address says nothing about names, which can be made to lead anywhere.
        assert!(admitted(&["0.0.0.0"], "192.0.2.1", None) && admitted(&["[::]"], "[2001:db8::1]:1", None));
        assert!(!admitted(&["0.0.0.0"], "evil.example", None));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        for (origin, ours) in [
            ("http://localhost:9001", true),
            ("https://LocalHost:9001", true),
            ("http://localhost:9002", false),
            ("http://localhost", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(admitted(&[], "localhost:9001", Some(origin)), ours, "{origin:?}");
        }
    }

    #[test]
    fn pages_of_a_configured_name_are_ours_behind_a_proxy_with_another_host() {
        let names = ["127.0.0.1", "bank.example"];
        assert!(admitted(&names, "127.0.0.1:9001", Some("https://bank.example")));
        assert!(admitted(&names, "127.0.0.1:9001", Some("https://Bank.example:8443")));
        for origin in ["https://evil.example", "https://bank.example.evil.example", "http://127.0.0.1:8080"] {
            assert!(!admitted(&names, "127.0.0.1:9001", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let twice = Request::get("/").header("host", "localhost").header("host", "localhost");
        assert!(Hosts::new(&[]).admit(&twice.body(()).unwrap()).is_err());
        let of_version = |version| {
            let differing = Request::get("http://localhost/").header("host", "evil.example").version(version);
            Hosts::new(&[]).admit(&differing.body(()).unwrap()).is_ok()
        };
        assert!(!of_version(Version::HTTP_2));
        assert!(of_version(Version::HTTP_11), "an absolute address stands above the header");
        let foreign = Request::get("http://evil.example/").header("host", "localhost");
        assert!(Hosts::new(&[]).admit(&foreign.body(()).unwrap()).is_err());
        assert!(Hosts::new(&[]).admit(&Request::get("/").body(()).unwrap()).is_err());
    }
}
