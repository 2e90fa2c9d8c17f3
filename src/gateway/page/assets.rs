//! The files of the pages, embedded in the program. Each address names the content, so browsers may keep them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// A file: name, media type, content.
type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

const FILES: [File; 8] = [
    ("bank.css", "text/css; charset=utf-8", include_str!("assets/bank.css")),
    ("bank.js", SCRIPT, include_str!("assets/bank.js")),
    ("feed.js", SCRIPT, include_str!("assets/feed.js")),
    ("forms.js", SCRIPT, include_str!("assets/forms.js")),
    ("live.js", SCRIPT, include_str!("assets/live.js")),
    ("theme.js", SCRIPT, include_str!("assets/theme.js")),
    ("icons.svg", DRAWING, include_str!("assets/icons.svg")),
    ("mark.svg", DRAWING, include_str!("assets/mark.svg")),
];

/// The files by name, each with the hash of its content.
static KNOWN: LazyLock<BTreeMap<&'static str, (File, String)>> = LazyLock::new(|| {
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
    FILES.into_iter().map(|file| (file.0, (file, hash(file.2)))).collect()
});

/// Where a file is, with its content in the address.
pub(super) fn address(name: &str) -> String {
    let hash = KNOWN.get(name).map_or("", |(_, hash)| hash);
    format!("/assets/{name}?v={hash}")
}

/// A file as an answer; nothing when there is none of that name.
pub(super) fn answer(name: &str, query: Option<&str>, headers: &HeaderMap) -> Option<Response<Body>> {
    let ((_, kind, content), hash) = KNOWN.get(name)?;
    let tag = format!("\"{hash}\"");
    let same = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if same { Body::empty() } else { Body::from(*content) });
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let keep = match query {
        Some(query) if query == format!("v={hash}") => "public, max-age=31536000, immutable",
        Some(_) | None => "no-cache",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_for_ever_under_the_address_of_its_content() {
        let none = HeaderMap::new();
        let versioned = address("bank.css");
        let query = versioned.split_once('?').unwrap().1;
        let answer_of = |query, headers: &HeaderMap| answer("bank.css", query, headers).unwrap();
        assert!(
            answer_of(Some(query), &none).headers()["cache-control"].to_str().unwrap().contains("immutable")
        );
        assert_eq!(answer_of(Some("v=old"), &none).headers()["cache-control"], "no-cache");
        let mut known = HeaderMap::new();
        known.insert("if-none-match", answer_of(None, &none).headers()["etag"].clone());
        assert_eq!(answer_of(None, &known).status(), StatusCode::NOT_MODIFIED);
        assert!(answer("../Cargo.toml", None, &none).is_none());
    }

    /// The pages promise to ask nobody else for anything.
    #[test]
    fn no_file_names_another_server() {
        for (name, _, content) in FILES {
            let foreign = content.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !foreign.contains("http://") && !foreign.contains("https://") && !foreign.contains("//cdn"),
                "{name}"
            );
        }
    }
}
